//! A Deployment of the test's own, made after the tutorial's, and a Service before it.

use std::net::SocketAddr;

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{Pod, Service},
    },
    kube::{
        Api,
        api::{ListParams, Patch, PatchParams},
    },
    kubernetes::{
        conditions,
        wait::{self, Seen},
    },
    model::Target,
    session::Session,
};
use reachmap_suites::changes::{create, delete};
use serde_json::{Value, json};

use super::AT_MOST;

/// How a pod comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grace {
    /// As people should set it: new connections only once it answers, and none any more when it stops.
    AsPeopleShould,
    /// As it is when nobody has thought of it: neither a readiness probe nor a `preStop` hook.
    None,
}

/// How long a pod that is ending still serves: longer than it takes until every node has heard of it.
const PRE_STOP_SECONDS: u64 = 5;

/// A Deployment of nginx with three replicas, and a Service of the same name.
pub(super) struct Workload {
    session: &'static Session,
    pub(super) name: &'static str,
    grace: Grace,
}

impl Workload {
    pub(super) fn new(session: &'static Session, name: &'static str, grace: Grace) -> Self {
        Self { session, name, grace }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.session.client().clone(), NAMESPACE)
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.session.client().clone(), NAMESPACE)
    }

    /// Makes both, and waits until every vantage that is in the cluster is answered through the Service.
    pub(super) async fn deploy(&self) -> Result<()> {
        let tutorial = self.deployments().get("nginx-multiple-nodes").await;
        let tutorial = tutorial.tried(ErrorKind::Environment, || "read the tutorial's Deployment")?;
        let mut spec = serde_json::to_value(tutorial.spec).tried(ErrorKind::Internal, || "write its spec")?;
        let labels = json!({ "app": self.name });
        spec["selector"] = json!({ "matchLabels": labels });
        spec["template"]["metadata"] = json!({ "labels": labels });
        let template = &mut spec["template"]["spec"];
        template["topologySpreadConstraints"][0]["labelSelector"] = json!({ "matchLabels": labels });
        template["terminationGracePeriodSeconds"] = json!(30);
        let container = &mut template["containers"][0];
        match self.grace {
            Grace::AsPeopleShould => {
                container["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": PRE_STOP_SECONDS } } });
            }
            Grace::None => container["readinessProbe"] = Value::Null,
        }
        create(&self.deployments(), json!({ "metadata": { "name": self.name, "labels": labels }, "spec": spec }))
            .await?;
        let ports = json!([{ "port": 80, "targetPort": 80 }]);
        let service = json!({ "metadata": { "name": self.name }, "spec": { "selector": labels, "ports": ports } });
        create(&self.services(), service).await?;
        self.until_rolled_out().await?;
        let address = self.address().await?;
        let target = Target { host: address.ip().to_string(), port: address.port() };
        self.session.until_reached(&target, AT_MOST).await
    }

    /// Deletes both, and waits until no pod is left.
    pub(super) async fn remove(&self) -> Result<()> {
        delete(&self.services(), self.name).await?;
        delete(&self.deployments(), self.name).await?;
        self.until_pods(0).await
    }

    /// Where the Service answers.
    pub(super) async fn address(&self) -> Result<SocketAddr> {
        let tried = || format!("read the cluster IP of {}", self.name);
        let service = self.services().get(self.name).await.tried(ErrorKind::Environment, tried)?;
        let address = service.spec.and_then(|spec| spec.cluster_ip?.parse().ok());
        let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "it has none"))?;
        Ok(SocketAddr::new(address, 80))
    }

    /// The vantages from which cluster IPs can be reached.
    pub(super) fn vantages(&self) -> Vec<String> {
        let all = self.session.handover().vantages.iter().map(|site| site.vantage.id.clone());
        all.filter(|vantage| vantage != "laptop").collect()
    }

    pub(super) async fn scale(&self, replicas: u32) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let scaled = self.deployments().patch(self.name, &PatchParams::default(), &patch).await;
        scaled.map(drop).tried(ErrorKind::Environment, || format!("scale {} to {replicas}", self.name))
    }

    pub(super) async fn restart(&self) -> Result<()> {
        let restarted = self.deployments().restart(self.name).await;
        restarted.map(drop).tried(ErrorKind::Environment, || format!("restart {}", self.name))
    }

    pub(super) async fn pods(&self) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.session.client().clone(), NAMESPACE);
        let selector = ListParams::default().labels(&format!("app={}", self.name));
        let pods = api.list(&selector).await.tried(ErrorKind::Environment, || format!("list {}", self.name))?;
        Ok(pods.items)
    }

    pub(super) async fn until_rolled_out(&self) -> Result<()> {
        wait::until(self.deployments(), self.name, "see it rolled out", AT_MOST, conditions::deployment_rolled_out)
            .await
    }

    /// Waits until there are so many pods and all are ready to stay: those that were ending are gone.
    pub(super) async fn until_pods(&self, wanted: usize) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.session.client().clone(), NAMESPACE);
        let selector = format!("app={}", self.name);
        wait::until_all(api, &selector, "see the last of the pods that end", AT_MOST, |pods| {
            // One that is ending is ready until it ends.
            let stays = |pod: &&Pod| conditions::is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
            let ready = pods.values().filter(stays).count();
            match pods.len() {
                all if (all, ready) == (wanted, wanted) => Seen::Met(()),
                all => Seen::NotYet(format!("{all} pods, {ready} ready, for {wanted}")),
            }
        })
        .await
    }
}
