//! The rules that kube-proxy writes on every node: waited for until they are newer than a change.

use k8s_openapi::api::core::v1::Service;
use kube::Api;

use super::{
    Environment, READY, barrier,
    workloads::{NAMESPACE, service_address},
};
use crate::{
    Result,
    kubernetes::{apply, conditions, wait},
    model::Target,
};

const BARRIER: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/manifests/barrier.yaml"));
const BARRIER_SERVICE: &str = "barrier";

impl Environment {
    /// Waits until every node's rules are newer than now; `change` is what was changed before.
    ///
    /// kube-proxy takes changes in the order in which the API server makes them: a node that knows a Service which was made
    /// after the change knows the change, too.
    pub(super) async fn until_rules_are_new(&mut self, change: &str) -> Result<()> {
        let client = &self.client;
        let barrier = apply::Manifest::parse("barrier.yaml", BARRIER)?.labelled(&self.run);
        let services = || Api::<Service>::namespaced(client.clone(), NAMESPACE);
        // One that a killed run left has been known everywhere for long.
        barrier.delete(client).await?;
        wait::until(services(), BARRIER_SERVICE, "see an earlier barrier go", READY, conditions::is_gone).await?;
        barrier.apply(client).await?;
        let address = service_address(&services(), BARRIER_SERVICE).await?;
        let target = Target { host: address.to_string(), port: 80 };
        let inside = barrier::inside(self.agents.iter().map(|(vantage, agent)| (vantage, agent)));
        let unseen = barrier::until_reached(&inside, &target, true, barrier::PATIENCE).await;
        barrier.delete(client).await?;
        self.note_unseen(&format!("a Service made after {change}, at {target}"), &unseen);
        Ok(())
    }
}
