//! Which endpoints one node's kube-proxy chooses from.
//!
//! The rules are those of `CategorizeEndpoints` in kube-proxy's `pkg/proxy/topology.go`: ready endpoints, of one node
//! or zone if all their hints say so (KEP-2433, KEP-3015), and where none is ready those that are ending and still
//! serve (KEP-1669). They are the same in every proxy mode.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::state::{Endpoint, Node, TrafficPolicy};

/// What decided which endpoints may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Every ready endpoint of the cluster.
    Ready,
    /// Every ready endpoint that is meant for the node that chooses.
    SameNode,
    /// Every ready endpoint that is meant for the zone of the node that chooses.
    SameZone,
    /// Every ready endpoint on the node that chooses, by the traffic policy `Local`.
    Local,
    /// None is ready: every endpoint that is ending and still serves.
    Terminating,
    /// None on the node that chooses is ready: every endpoint there that is ending and still serves.
    LocalTerminating,
    /// The request names the endpoints themselves.
    Named,
}

/// What one node chooses from.
#[derive(Debug, Clone)]
pub(super) struct Choice<'s> {
    pub(super) endpoints: Vec<&'s Endpoint>,
    pub(super) selection: Selection,
    /// Whether any node has an endpoint to choose: it is what tells "rejected" from "dropped".
    pub(super) any: bool,
}

/// The choice of `node`, or of a node about which nothing is known, among the endpoints of one port and family.
pub(super) fn choose<'s>(all: &[&'s Endpoint], node: Option<&Node>, policy: TrafficPolicy) -> Choice<'s> {
    let ends = |endpoint: &&&Endpoint| !endpoint.ready && endpoint.serving && endpoint.terminating;
    let ready: Vec<&Endpoint> = all.iter().filter(|endpoint| endpoint.ready).copied().collect();
    let terminating: Vec<&Endpoint> = all.iter().filter(ends).copied().collect();
    let any = !ready.is_empty() || !terminating.is_empty();
    let on_node = |endpoints: Vec<&'s Endpoint>| -> Vec<&'s Endpoint> {
        let here = |endpoint: &&Endpoint| node.is_some_and(|node| endpoint.node.as_ref() == Some(&node.name));
        endpoints.into_iter().filter(here).collect()
    };
    let (endpoints, selection) = match policy {
        TrafficPolicy::Cluster if ready.is_empty() => (terminating, Selection::Terminating),
        TrafficPolicy::Cluster => by_hints(ready, node),
        TrafficPolicy::Local => match on_node(ready) {
            none if none.is_empty() => (on_node(terminating), Selection::LocalTerminating),
            some => (some, Selection::Local),
        },
    };
    Choice { endpoints, selection, any }
}

/// Hints count only if every ready endpoint has one and at least one is for this node, or else for its zone.
fn by_hints<'s>(ready: Vec<&'s Endpoint>, node: Option<&Node>) -> (Vec<&'s Endpoint>, Selection) {
    let Some(node) = node else { return (ready, Selection::Ready) };
    let for_node = |endpoint: &&Endpoint| endpoint.for_nodes.contains(&node.name);
    if ready.iter().all(|endpoint| !endpoint.for_nodes.is_empty()) && ready.iter().any(for_node) {
        return (ready.into_iter().filter(for_node).collect(), Selection::SameNode);
    }
    let for_zone = |endpoint: &&Endpoint| node.zone.as_ref().is_some_and(|zone| endpoint.for_zones.contains(zone));
    if ready.iter().all(|endpoint| !endpoint.for_zones.is_empty()) && ready.iter().any(for_zone) {
        return (ready.into_iter().filter(for_zone).collect(), Selection::SameZone);
    }
    (ready, Selection::Ready)
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "every ready endpoint",
            Self::SameNode => "every ready endpoint that is meant for the node that chooses",
            Self::SameZone => "every ready endpoint that is meant for the zone of the node that chooses",
            Self::Local => "every ready endpoint on the node that chooses",
            Self::Terminating => "every endpoint that is ending and still serves, since none is ready",
            Self::LocalTerminating => {
                "every endpoint on the node that chooses that is ending and still serves, since none there is ready"
            }
            Self::Named => "the endpoints that the request itself names",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::State;

    fn example() -> (State, Vec<Endpoint>) {
        let state = State::example();
        let service = state.service("service-type-test", "nginx-clusterip-service").unwrap();
        let endpoints = state.endpoints_of(service).cloned().collect();
        (state, endpoints)
    }

    fn chosen(endpoints: &[Endpoint], node: &Node, policy: TrafficPolicy) -> (Vec<String>, Selection, bool) {
        let all: Vec<&Endpoint> = endpoints.iter().collect();
        let Choice { endpoints, selection, any } = choose(&all, Some(node), policy);
        let nodes = endpoints.iter().map(|endpoint| endpoint.node.clone().unwrap()).collect();
        (nodes, selection, any)
    }

    #[test]
    fn hints_count_only_if_every_ready_endpoint_has_one() {
        let (state, mut endpoints) = example();
        let mut node = state.node("reachmap-worker").unwrap().clone();
        node.zone = Some("a".to_owned());
        for (endpoint, zone) in endpoints.iter_mut().zip(["a", "a", "b"]) {
            endpoint.for_zones = vec![zone.to_owned()];
        }
        let cluster = TrafficPolicy::Cluster;
        assert_eq!(
            chosen(&endpoints, &node, cluster),
            (vec!["reachmap-worker".to_owned(), "reachmap-worker2".to_owned()], Selection::SameZone, true)
        );
        // A node whose zone no endpoint is meant for sends everywhere.
        node.zone = Some("c".to_owned());
        assert_eq!(chosen(&endpoints, &node, cluster).1, Selection::Ready);
        node.zone = Some("a".to_owned());
        endpoints[2].for_zones.clear();
        assert_eq!(chosen(&endpoints, &node, cluster).1, Selection::Ready);
        // Hints for nodes come first.
        for endpoint in &mut endpoints {
            endpoint.for_nodes = endpoint.node.iter().cloned().collect();
        }
        assert_eq!(chosen(&endpoints, &node, cluster), (vec!["reachmap-worker".to_owned()], Selection::SameNode, true));
    }

    #[test]
    fn what_is_ending_answers_only_where_nothing_is_ready() {
        let (state, mut endpoints) = example();
        let node = state.node("reachmap-worker").unwrap();
        endpoints[0].ready = false;
        endpoints[0].terminating = true;
        let (nodes, selection, _) = chosen(&endpoints, node, TrafficPolicy::Cluster);
        assert_eq!((nodes.len(), selection), (2, Selection::Ready));
        // On its own node nothing else is there: the policies fall back each for itself.
        assert_eq!(
            chosen(&endpoints, node, TrafficPolicy::Local),
            (vec!["reachmap-worker".to_owned()], Selection::LocalTerminating, true)
        );
        for endpoint in &mut endpoints {
            endpoint.ready = false;
        }
        assert_eq!(chosen(&endpoints, node, TrafficPolicy::Cluster).1, Selection::Terminating);
        endpoints[0].serving = false;
        assert_eq!(chosen(&endpoints, node, TrafficPolicy::Cluster), (Vec::new(), Selection::Terminating, false));
    }

    proptest! {
        #[test]
        fn a_choice_is_never_empty_where_the_cluster_policy_has_any(
            conditions in proptest::collection::vec(any::<[bool; 3]>(), 3),
            hints in proptest::collection::vec(proptest::option::of(0_usize..3), 3),
            zone in proptest::option::of(0_usize..3),
        ) {
            let (state, mut endpoints) = example();
            let zones = ["a", "b", "c"];
            for ((endpoint, [ready, serving, terminating]), hint) in endpoints.iter_mut().zip(conditions).zip(hints) {
                (endpoint.ready, endpoint.serving, endpoint.terminating) = (ready, serving, terminating);
                endpoint.for_zones = hint.map(|index| zones[index].to_owned()).into_iter().collect();
            }
            let mut node = state.node("reachmap-worker").unwrap().clone();
            node.zone = zone.map(|index| zones[index].to_owned());
            let all: Vec<&Endpoint> = endpoints.iter().collect();
            let cluster = choose(&all, Some(&node), TrafficPolicy::Cluster);
            prop_assert_eq!(cluster.endpoints.is_empty(), !cluster.any);
            // Ready endpoints and ending ones are never mixed.
            let readies = cluster.endpoints.iter().filter(|endpoint| endpoint.ready).count();
            prop_assert!(readies == 0 || readies == cluster.endpoints.len());
            let local = choose(&all, Some(&node), TrafficPolicy::Local);
            prop_assert_eq!(local.any, cluster.any);
            prop_assert!(local.endpoints.iter().all(|endpoint| endpoint.node.as_deref() == Some("reachmap-worker")));
        }
    }
}
