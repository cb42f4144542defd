//! What a request names: the access methods.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to a Service that a request can take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// Its name in reports and filters, stable from cluster to cluster: `clusterip-fqdn`, `pod-ip`.
    pub id: String,
    /// What is named.
    pub way: Way,
}

/// A Service by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How much of a Service's DNS name is written out.
///
/// See <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameForm {
    /// `name`.
    Short,
    /// `name.namespace`.
    Namespace,
    /// `name.namespace.svc`.
    Svc,
    /// `name.namespace.svc.cluster.local`.
    Full,
    /// `name.namespace.svc.cluster.local.`, with the trailing dot.
    Absolute,
}

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A Service's DNS name: of whatever type the Service is.
    ServiceName {
        /// The Service.
        service: ServiceRef,
        /// How much of its name is written out.
        form: NameForm,
    },
    /// A DNS name that is no Service's, as written, on port 80.
    Name {
        /// The name, with or without trailing dot.
        name: String,
    },
    /// A Service's cluster IP.
    ClusterIp {
        /// The Service.
        service: ServiceRef,
    },
    /// The address of a pod, on port 80.
    PodIp {
        /// The pod's namespace.
        namespace: String,
        /// The workload (Deployment) that the pod belongs to.
        workload: String,
        /// Which of its pods, in the order of their nodes and names, from 0.
        ordinal: usize,
    },
    /// A Service's node port on the address of a node.
    NodePort {
        /// The Service.
        service: ServiceRef,
        /// The node's vantage id: `worker-1`, `control-plane`.
        node: String,
    },
    /// A Service's load-balancer address; while it has none, the address that the run's pool would give it first.
    LoadBalancer {
        /// The Service.
        service: ServiceRef,
    },
}

/// What a probe connects to: the request's authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// A DNS name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
