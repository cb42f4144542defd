//! The traffic policies of the tutorial's Services: set, and waited for until every node translates by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Environment, READY,
    workloads::{CLUSTER_IP, LOAD_BALANCER, NAMESPACE, NODE_PORT},
    zones,
};
use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    progress::Progress,
    report::Retry,
    state::{self, Endpoint, State, TrafficPolicy},
};

/// How long a client may be silent before its endpoint is chosen anew, in the stage that has affinity: short, so that
/// a test can wait for it. Kubernetes' default is three hours.
pub const AFFINITY_SECONDS: u16 = 3;

/// What a Service says of which endpoints its traffic may go to
/// (<https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-policies>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    /// `externalTrafficPolicy`, of Services that have one.
    pub external: TrafficPolicy,
    /// `internalTrafficPolicy`.
    pub internal: TrafficPolicy,
    /// `trafficDistribution`, if it is set.
    pub distribution: Option<Distribution>,
    /// The timeout of `sessionAffinity: ClientIP`, in seconds.
    pub affinity_seconds: Option<u16>,
}

/// Endpoints that a Service prefers, where there are any
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#traffic-distribution>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Those on the node that translates (KEP-3015).
    SameNode,
    /// Those in its zone (KEP-4444), by the word that every version has; v1.34 calls it `PreferSameZone`, too.
    Close,
}

impl Distribution {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SameNode => "PreferSameNode",
            Self::Close => "PreferClose",
        }
    }
}

/// After how long without hints for zones the Services are changed again.
const AGAIN: Duration = Duration::from_secs(5);

impl Policies {
    /// What the tutorial's Services have: the defaults.
    pub const TUTORIAL: Self = Self {
        external: TrafficPolicy::Cluster,
        internal: TrafficPolicy::Cluster,
        distribution: None,
        affinity_seconds: None,
    };

    /// The change that gives a Service these policies, as a merge patch.
    ///
    /// ```
    /// use reachmap::environment::policies::Policies;
    /// let patch = Policies::TUTORIAL.patch(false);
    /// assert_eq!(patch["spec"]["internalTrafficPolicy"], "Cluster");
    /// // A ClusterIP Service is refused with an externalTrafficPolicy.
    /// assert!(patch["spec"].get("externalTrafficPolicy").is_none());
    /// ```
    pub fn patch(self, takes_traffic_from_outside: bool) -> Value {
        let mut spec = json!({
            "internalTrafficPolicy": self.internal,
            "trafficDistribution": self.distribution.map(Distribution::as_str),
            "sessionAffinity": if self.affinity_seconds.is_some() { "ClientIP" } else { "None" },
            "sessionAffinityConfig": self.affinity_seconds.map(|seconds| json!({"clientIP": {"timeoutSeconds": seconds}})),
        });
        if takes_traffic_from_outside {
            spec["externalTrafficPolicy"] = json!(self.external);
        }
        json!({ "spec": spec })
    }

    /// Whether an endpoint has the hints that these policies give it. Where nodes have zones, those for nodes come with hints
    /// for zones.
    fn has_hints_of(self, endpoint: &Endpoint) -> bool {
        let (for_nodes, for_zones) = (!endpoint.for_nodes.is_empty(), !endpoint.for_zones.is_empty());
        match self.distribution {
            None => !for_nodes && !for_zones,
            Some(Distribution::SameNode) => for_nodes,
            Some(Distribution::Close) => !for_nodes && for_zones,
        }
    }

    /// What of `state` is not yet as these policies make it, beside the Services themselves; `None` if all is.
    fn missing(self, state: &State) -> Option<String> {
        let services = SERVICES.iter().filter_map(|(name, _)| state.service(NAMESPACE, name));
        for service in services {
            let ready: Vec<_> = state.endpoints_of(service).filter(|endpoint| endpoint.ready).collect();
            if !ready.iter().all(|endpoint| self.has_hints_of(endpoint)) {
                return Some(format!("the endpoints of {} have other hints", service.name));
            }
            if service.load_balancer_addresses.is_empty() {
                continue;
            }
            let local: BTreeSet<_> = ready.iter().filter_map(|endpoint| endpoint.node.as_ref()).collect();
            match &service.announced_by {
                None => return Some(format!("no node, or more than one, announces {}", service.name)),
                Some(node) if self.external == TrafficPolicy::Local && !local.contains(node) => {
                    return Some(format!("{node} announces {} and has no endpoint", service.name));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// The Services that have policies, each with whether it takes traffic from outside.
const SERVICES: [(&str, bool); 3] = [(CLUSTER_IP, false), (NODE_PORT, true), (LOAD_BALANCER, true)];

impl Environment {
    /// Gives the Services the tutorial's policies again.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn reset_policies(&mut self, progress: &Progress) -> Result<()> {
        match self.so_far.policies {
            Some(_) => self.have_policies(Policies::TUTORIAL, progress).await,
            None => Ok(()),
        }
    }

    /// Gives the Services `policies`, and returns when every node translates by them.
    pub(super) async fn have_policies(&mut self, policies: Policies, progress: &Progress) -> Result<()> {
        if self.so_far.policies == Some(policies) {
            return Ok(());
        }
        let client = self.client.clone();
        if policies.distribution == Some(Distribution::Close) {
            if self.owns_nodes() {
                zones::give(&client, &self.run).await?;
            }
        } else {
            // Also those that a killed run has left; on a cluster that is not ours there are none.
            zones::take_off(&client).await?;
        }
        let changed = patch(&client, policies).await?;
        // What a kept cluster had before is not known; if it was the same, there is nothing to wait for.
        if changed {
            let step = progress.step("Change the Services' policies", Some(Duration::from_secs(3)));
            self.until_published(policies).await?;
            self.until_rules_are_new("the change of policies").await?;
            step.done();
        }
        self.so_far.policies = Some(policies);
        Ok(())
    }

    /// Waits until what others make of the policies can be read: hints, and who announces the load balancer's address.
    ///
    /// The EndpointSlice controller hears of nodes and of Services over two watches. Of a Service that it heard of first, it
    /// knows no zones, and makes no hints until that Service changes again.
    async fn until_published(&mut self, policies: Policies) -> Result<()> {
        let deadline = Instant::now() + READY;
        let mut again = Instant::now() + AGAIN;
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        loop {
            looks.tick().await;
            let state = state::collect(&self.client, &[NAMESPACE], BTreeMap::new(), None).await?;
            match policies.missing(&state) {
                None => return Ok(()),
                Some(missing) if Instant::now() > deadline => {
                    return Err(Error::new(ErrorKind::Deadline, "see the Services' policies take effect", missing)
                        .with_code(ErrorCode::Policies));
                }
                Some(missing) if policies.distribution == Some(Distribution::Close) && Instant::now() > again => {
                    patch(&self.client, Policies::TUTORIAL).await?;
                    patch(&self.client, policies).await?;
                    again = Instant::now() + AGAIN;
                    let what = "let the Services prefer their clients' zones".to_owned();
                    self.so_far.retries.push(Retry { what, times: 2, why: missing });
                }
                Some(_) => {}
            }
        }
    }
}

/// Patches every Service that has policies; returns whether that changed any.
async fn patch(client: &Client, policies: Policies) -> Result<bool> {
    let api: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let mut changed = false;
    for (name, from_outside) in SERVICES {
        let tried = || format!("change the policies of {name}");
        let before = api.get(name).await.tried(ErrorKind::Environment, tried)?;
        let patch = Patch::Merge(policies.patch(from_outside));
        let after = api.patch(name, &PatchParams::default(), &patch).await.tried(ErrorKind::Environment, tried)?;
        changed |= before.metadata.resource_version != after.metadata.resource_version;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Stage;

    #[test]
    fn every_policy_differs_from_the_tutorials_in_one_thing() {
        let tutorial = Policies::TUTORIAL.patch(true);
        for stage in Stage::OF_POLICIES {
            let patch = stage.policies().patch(true);
            let fields = patch["spec"].as_object().unwrap().iter();
            let differ: Vec<_> = fields.filter(|(name, value)| tutorial["spec"][name] != **value).collect();
            let names: BTreeSet<&str> = differ.iter().map(|(name, _)| name.trim_end_matches("Config")).collect();
            assert_eq!(names.len(), 1, "{stage}: {differ:?}");
        }
    }

    #[test]
    fn it_is_told_what_is_not_there_yet() {
        let mut state = State::example();
        assert_eq!(Policies::TUTORIAL.missing(&state), None);
        let same_node = Stage::PolicySameNode.policies();
        assert!(same_node.missing(&state).unwrap().contains("hints"));
        for endpoint in &mut state.endpoints {
            endpoint.for_nodes = endpoint.node.iter().cloned().collect();
        }
        assert_eq!(same_node.missing(&state), None);
        assert!(Policies::TUTORIAL.missing(&state).unwrap().contains("hints"));
        let close = Stage::PolicySameZone.policies();
        assert!(close.missing(&state).unwrap().contains("hints"), "those for nodes are no hints for zones");
        for endpoint in &mut state.endpoints {
            endpoint.for_zones = vec!["a".to_owned()];
        }
        assert_eq!(same_node.missing(&state), None, "where nodes have zones, hints for both come together");
        state.endpoints.iter_mut().for_each(|endpoint| endpoint.for_nodes.clear());
        assert_eq!(close.missing(&state), None);
    }

    #[test]
    fn a_node_without_an_endpoint_may_not_announce_under_the_local_policy() {
        let mut state = State::example();
        let local = Stage::PolicyExternalLocal.policies();
        assert_eq!(local.missing(&state), None);
        let balanced = state.services.iter_mut().find(|service| service.name == LOAD_BALANCER).unwrap();
        balanced.announced_by = Some("reachmap-control-plane".to_owned());
        assert!(local.missing(&state).unwrap().contains("reachmap-control-plane announces"));
        assert_eq!(Policies::TUTORIAL.missing(&state), None);
    }
}
