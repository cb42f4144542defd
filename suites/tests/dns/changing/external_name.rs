//! ExternalName Services of the tests' own: changed, leading nowhere, and being an address.

use reachmap::{
    Context as _, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    k8s_openapi::api::core::v1::Service,
    kube::{
        Api,
        api::{Patch, PatchParams},
    },
    session::Session,
    wire::DnsFailure,
};
use serde_json::json;

use reachmap_suites::changes::{changed, create, delete};

use super::{CONVERGENCE, ONE_AT_A_TIME, until_answered};

/// An ExternalName Service of the test's own.
struct Alias {
    api: Api<Service>,
    name: &'static str,
}

impl Alias {
    fn new(session: &Session, name: &'static str) -> Self {
        Self { api: Api::namespaced(session.client().clone(), NAMESPACE), name }
    }

    async fn create(&self, target: &str) -> Result<()> {
        let spec = json!({ "type": "ExternalName", "externalName": target });
        create(&self.api, json!({ "metadata": { "name": self.name }, "spec": spec })).await
    }

    async fn point_to(&self, target: &str) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "externalName": target } }));
        let patched = self.api.patch(self.name, &PatchParams::default(), &patch).await;
        patched.map(drop).tried(ErrorKind::Environment, || format!("change the Service {}", self.name))
    }

    async fn delete(&self) -> Result<()> {
        delete(&self.api, self.name).await
    }

    fn fqdn(&self) -> String {
        format!("{}.{NAMESPACE}.svc.cluster.local", self.name)
    }
}

/// The CNAME of an ExternalName follows its Service within the record's TTL.
#[tokio::test]
async fn an_external_name_is_followed_when_it_changes() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let alias = Alias::new(session, "reachmap-alias");
    let targets = ["nginx-clusterip-service", "nginx-loadbalancer"]
        .map(|name| (format!("{name}.{NAMESPACE}.svc.cluster.local"), session.state().service(NAMESPACE, name)));
    let addresses = |index: usize| targets[index].1.map(|service| service.cluster_ips.clone()).unwrap_or_default();
    changed(
        || alias.create(&targets[0].0),
        || async {
            until_answered(session, &alias.fqdn(), |seen| seen.addresses == addresses(0)).await?;
            alias.point_to(&targets[1].0).await?;
            let took = until_answered(session, &alias.fqdn(), |seen| seen.addresses == addresses(1)).await?;
            assert!(took <= CONVERGENCE, "it took {took:?}");
            Ok(())
        },
        || alias.delete(),
    )
    .await
}

/// An alias to a name that does not exist is a name without an address; an alias that is an address is none at all.
#[tokio::test]
async fn an_external_name_that_leads_nowhere_says_so() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let alias = Alias::new(session, "reachmap-alias");
    let nowhere = format!("nobody.{NAMESPACE}.svc.cluster.local");
    changed(
        || alias.create(&nowhere),
        || async {
            until_answered(session, &alias.fqdn(), |seen| seen.failure == Some(DnsFailure::NoData)).await?;
            alias.point_to("10.96.0.1").await?;
            until_answered(session, &alias.fqdn(), |seen| seen.failure == Some(DnsFailure::NxDomain)).await
        },
        || alias.delete(),
    )
    .await
    .map(drop)
}
