//! Where a request starts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::state::NodeRole;

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

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
