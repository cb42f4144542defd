//! A shop on Kubernetes, and what its owner wants to know: who can reach it, by which way, and why.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, discovery::v1::EndpointSlice};
use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads,
    kube::Api,
    kubernetes::{
        apply::{Manifest, render},
        conditions, wait,
    },
    model::{Method, NameForm, ServiceRef, Target, Way},
    probe::{Timeouts, probe_target},
    session::Session,
    state::State,
    verdict::Verdict,
};
use tokio::sync::OnceCell;

/// The namespace of the shop.
pub const NAMESPACE: &str = "shop";

/// The Deployment, and the Service before it.
pub const STOREFRONT: &str = "storefront";

/// How many pods the storefront has.
pub const REPLICAS: usize = 2;

/// How long the pods may take until they are ready.
const READY: Duration = Duration::from_secs(120);

const MANIFEST: &str = include_str!("../manifests/shop.yaml");

/// The shop in the session's cluster.
#[derive(Debug)]
pub struct Shop {
    session: &'static Session,
    /// What the cluster looks like with the shop in it: every expectation is derived from this.
    pub state: State,
}

impl Shop {
    /// The shop of this process, deployed at the first call.
    ///
    /// # Errors
    /// If there is no session, or the pods do not become ready.
    pub async fn open() -> Result<&'static Self> {
        static SHOP: OnceCell<Shop> = OnceCell::const_new();
        SHOP.get_or_try_init(async || {
            let session = Session::current()?;
            // The session's client lives on the session's runtime, and each test has a runtime of its own.
            let deployed = session.runtime().spawn(deploy(session)).await;
            Ok(Self { session, state: deployed.tried(ErrorKind::Internal, || "deploy the shop")?? })
        })
        .await
    }

    /// The session that it was opened in.
    pub fn session(&self) -> &'static Session {
        self.session
    }

    /// Sends a request from `vantage` by `method`, holds what was seen against what the state says must happen, and puts the
    /// verdict into the report.
    ///
    /// # Errors
    /// If there is no such vantage, or no request could be sent.
    pub async fn check(&self, vantage: &str, method: Method) -> Result<Verdict> {
        let verdict = self.session.judge(&self.state, vantage, method).await?;
        self.session.record(&verdict)?;
        Ok(verdict)
    }
}

/// The Service by its name, as somebody in another namespace writes it.
pub fn by_name() -> Method {
    let service = ServiceRef::new(NAMESPACE, STOREFRONT);
    Method { id: "shop-name".to_owned(), way: Way::ServiceName { service, form: NameForm::Full } }
}

/// The Service by its cluster IP.
pub fn by_cluster_ip() -> Method {
    Method { id: "shop-cluster-ip".to_owned(), way: Way::ClusterIp { service: ServiceRef::new(NAMESPACE, STOREFRONT) } }
}

async fn deploy(session: &Session) -> Result<State> {
    let client = session.client();
    let (image, pull_policy) = nginx(client).await?;
    let text = render("shop.yaml", MANIFEST, &[("image", &image), ("pull_policy", &pull_policy)])?;
    Manifest::parse("shop.yaml", &text)?.labelled(&session.handover().run).apply(client).await?;
    let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    wait::until(deployments, STOREFRONT, "see the storefront run", READY, conditions::deployment_rolled_out).await?;
    wait::until_all(
        Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE),
        &format!("kubernetes.io/service-name={STOREFRONT}"),
        "see the storefront's endpoints ready",
        READY,
        conditions::has_ready_endpoints(REPLICAS),
    )
    .await?;
    let state = session.snapshot_with(&[NAMESPACE]).await?;
    let target = by_cluster_ip().way.target(&state)?;
    session.until_reached(&target, READY).await?;
    until_every_pod_answers(session, &target).await?;
    Ok(state)
}

/// A Service is reached as soon as a node knows one of its endpoints; the other one may come a moment later.
async fn until_every_pod_answers(session: &Session, target: &Target) -> Result<()> {
    let agent = session.agent("testpod")?;
    let mut answered = BTreeSet::new();
    let all = async {
        while answered.len() < REPLICAS {
            let seen = probe_target(agent, target, Timeouts::default()).await?;
            answered.extend(seen.respond.and_then(|response| response.served_by));
        }
        Ok(())
    };
    match tokio::time::timeout(READY, all).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            let cause = format!("after {READY:?}, those that did are {answered:?}");
            Err(Error::new(ErrorKind::Deadline, "see every pod of the storefront answer", cause))
        }
    }
}

/// The nginx that this cluster can run, with its pull policy: a cluster without a registry has the one of the run's own
/// workloads and no other.
async fn nginx(client: &reachmap::kube::Client) -> Result<(String, String)> {
    let tried = || "find out which nginx this cluster has";
    let deployments = Api::<Deployment>::namespaced(client.clone(), workloads::NAMESPACE);
    let deployment = deployments.get("nginx-multiple-nodes").await.tried(ErrorKind::Environment, tried)?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    let container = pod.and_then(|pod| pod.containers.into_iter().next());
    let found = container.and_then(|container| Some((container.image?, container.image_pull_policy?)));
    found.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "its Deployment names no image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_the_shop_and_nothing_that_is_not_in_it() {
        let text = render("shop.yaml", MANIFEST, &[("image", "nginx"), ("pull_policy", "Never")]).unwrap();
        let manifest = Manifest::parse("shop.yaml", &text).unwrap();
        let inside = manifest.objects().iter().filter(|object| object.metadata.namespace.as_deref() == Some(NAMESPACE));
        assert_eq!(inside.count(), manifest.objects().len() - 1, "all but the namespace itself");
    }
}
