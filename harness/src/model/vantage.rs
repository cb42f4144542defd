//! Where a request starts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, Result,
    state::{NodeRole, State},
};

/// A place where a person, or a program, stands when it sends a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Vantage {
    /// Its name in reports and filters, stable from cluster to cluster: `testpod`, `worker-1`, `laptop`.
    pub id: String,
    /// What kind of place it is.
    pub kind: VantageKind,
}

/// The kinds of place that differ in how they reach a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VantageKind {
    /// A pod on the pod network, with the cluster's DNS.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// A node: its own network and its own resolver.
    Node {
        /// The node's name in this cluster.
        node: String,
        /// Its part in the cluster.
        role: NodeRole,
    },
    /// A machine on the nodes' network that is no member of the cluster.
    Laptop,
}

/// The test pods: vantage id and namespace. The pod has the same name in both.
const TEST_PODS: [(&str, &str); 2] = [("testpod", "service-type-test"), ("testpod-other", "service-type-test-other")];

impl Vantage {
    /// The vantages that this cluster has: test pods, workers, control plane, and the laptop if an agent stands there.
    pub fn all(state: &State) -> Vec<Self> {
        let pods = TEST_PODS
            .iter()
            .filter(|(_, namespace)| state.pod(namespace, "testpod").is_some())
            .map(|(id, namespace)| Self::pod(*id, *namespace, "testpod"));
        let nodes = state.named_nodes();
        let (control_plane, workers): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|(_, node)| node.role == NodeRole::ControlPlane);
        let nodes = workers
            .into_iter()
            .chain(control_plane)
            .map(|(id, node)| Self { id, kind: VantageKind::Node { node: node.name.clone(), role: node.role } });
        let laptop =
            state.places.contains_key("laptop").then(|| Self { id: "laptop".to_owned(), kind: VantageKind::Laptop });
        pods.chain(nodes).chain(laptop).collect()
    }

    /// The vantage of that id.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if this cluster has none of that id.
    pub fn find(state: &State, id: &str) -> Result<Self> {
        let all = Self::all(state);
        let known = all.iter().map(|vantage| vantage.id.as_str()).collect::<Vec<_>>().join(", ");
        all.into_iter().find(|vantage| vantage.id == id).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("find the vantage `{id}`"), format!("there are {known}"))
        })
    }

    /// A pod as a vantage.
    pub fn pod(id: impl Into<String>, namespace: impl Into<String>, pod: impl Into<String>) -> Self {
        Self { id: id.into(), kind: VantageKind::Pod { namespace: namespace.into(), pod: pod.into() } }
    }
}

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
