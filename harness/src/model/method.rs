//! What a request names: the access methods.

use std::{fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

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
    /// An address and a port as written, such as those of a Service's second port.
    Address {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
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

/// The tutorial's namespace.
const NAMESPACE: &str = "service-type-test";

impl ServiceRef {
    /// The Service of that namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Method {
    /// A way under a name of the caller's own.
    ///
    /// ```
    /// use reachmap::model::{Method, ServiceRef, Way};
    /// let method = Method::new("shop-cluster-ip", Way::ClusterIp { service: ServiceRef::new("shop", "storefront") });
    /// assert_eq!(method.to_string(), "shop-cluster-ip");
    /// ```
    pub fn new(id: impl Into<String>, way: Way) -> Self {
        Self { id: id.into(), way }
    }

    /// Every access method that the tutorial's Services give in a cluster with so many workers.
    ///
    /// ```
    /// let methods = reachmap::model::Method::all(3);
    /// assert!(methods.iter().any(|method| method.id == "nodeport-worker-3"));
    /// ```
    pub fn all(workers: u8) -> Vec<Self> {
        let service = |name: &str| ServiceRef::new(NAMESPACE, name);
        let by_name = |id: &str, name: &str, form| (id.to_owned(), Way::ServiceName { service: service(name), form });
        let by_domain = |id: &str, name: &str| (id.to_owned(), Way::Name { name: name.to_owned() });
        let pod = |id: &str, workload: &str| {
            let (namespace, workload) = (NAMESPACE.to_owned(), workload.to_owned());
            (id.to_owned(), Way::PodIp { namespace, workload, ordinal: 0 })
        };
        let (cluster_ip, external) = ("nginx-clusterip-service", "nginx-external-service");
        let (balanced, headless) = ("nginx-loadbalancer", "nginx-headless-service");
        let node_port = "nginx-nodeport-service";
        let mut ways = vec![
            by_name("clusterip-short", cluster_ip, NameForm::Short),
            by_name("clusterip-namespace", cluster_ip, NameForm::Namespace),
            by_name("clusterip-svc", cluster_ip, NameForm::Svc),
            by_name("clusterip-fqdn", cluster_ip, NameForm::Full),
            by_name("clusterip-absolute", cluster_ip, NameForm::Absolute),
            ("clusterip-address".to_owned(), Way::ClusterIp { service: service(cluster_ip) }),
            by_name("externalname-short", external, NameForm::Short),
            by_name("externalname-namespace", external, NameForm::Namespace),
            by_name("externalname-fqdn", external, NameForm::Full),
            by_domain("external-domain", "my-nginx.external.local"),
            by_domain("external-domain-absolute", "my-nginx.external.local."),
            pod("pod-ip", "nginx-single"),
            pod("pod-ip-multiple", "nginx-multiple-nodes"),
            by_name("headless-short", headless, NameForm::Short),
            by_name("headless-fqdn", headless, NameForm::Full),
            by_name("nodeport-name", node_port, NameForm::Full),
        ];
        let workers = (1..=workers).map(|number| format!("worker-{number}"));
        for node in workers.chain(["control-plane".to_owned()]) {
            ways.push((format!("nodeport-{node}"), Way::NodePort { service: service(node_port), node }));
        }
        ways.push(("loadbalancer-address".to_owned(), Way::LoadBalancer { service: service(balanced) }));
        ways.push(by_name("loadbalancer-name", balanced, NameForm::Full));
        ways.into_iter().map(|(id, way)| Self { id, way }).collect()
    }

    /// The access method of that id.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if a cluster with so many workers has none of that id.
    pub fn find(id: &str, workers: u8) -> Result<Self> {
        Self::all(workers).into_iter().find(|method| method.id == id).ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!("find the access method `{id}`"),
                format!("with {workers} workers there is none"),
            )
        })
    }
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
