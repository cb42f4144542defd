//! A typed snapshot of everything that decides who can reach a Service.
//!
//! The model is a pure function of this; nothing here is measured by sending packets.

mod collect;
pub(crate) mod convert;
mod example;
pub(crate) mod lookup;
mod roles;

pub use collect::collect;
pub use roles::Roles;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use reachmap_wire::Hello;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a cluster, and of the places around it, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// The API server's version, such as `v1.37.2`.
    pub kubernetes: String,
    /// The cluster's DNS domain, `cluster.local` unless configured otherwise.
    pub cluster_domain: String,
    /// How kube-proxy programs Services.
    pub proxy_mode: ProxyMode,
    /// What else of kube-proxy's configuration decides source addresses.
    #[serde(default)]
    pub proxy: ProxySettings,
    /// The network plugin.
    pub cni: Cni,
    /// Where cluster IPs come from.
    #[schemars(with = "Vec<String>")]
    pub service_networks: Vec<IpNet>,
    /// Where pod addresses come from.
    #[schemars(with = "Vec<String>")]
    pub pod_networks: Vec<IpNet>,
    /// The names of all namespaces.
    pub namespaces: Vec<String>,
    /// The nodes, control plane first, then by name.
    pub nodes: Vec<Node>,
    /// Every Service of the cluster, by namespace and name.
    pub services: Vec<Service>,
    /// Every endpoint of every EndpointSlice.
    pub endpoints: Vec<Endpoint>,
    /// The pods of the run's namespaces and of `kube-system`.
    pub pods: Vec<Pod>,
    /// The text of CoreDNS's Corefile.
    pub corefile: String,
    /// MetalLB's configuration, if it is installed.
    pub load_balancer: Option<LoadBalancer>,
    /// The address range that the run gives MetalLB, or will: `first-last`.
    #[serde(default)]
    pub planned_pool: Option<String>,
    /// The place where each agent stands, by vantage id.
    pub places: BTreeMap<String, Hello>,
}

/// How kube-proxy programs Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyMode {
    /// Rules in the `nat` table, a random endpoint per connection.
    Iptables,
    /// Rules in nftables maps, a random endpoint per connection (KEP-3866).
    Nftables,
    /// The kernel's virtual server, round robin by default.
    Ipvs,
    /// Not known, or no kube-proxy at all.
    Unknown,
}

/// What of kube-proxy's configuration decides which source address a pod sees.
///
/// The default is kubeadm's, and kind's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProxySettings {
    /// Whether everything to a cluster IP is masqueraded (`masqueradeAll`), and not only what comes from outside.
    pub masquerade_all: bool,
    /// How it tells the cluster's own pods from everybody else (`detectLocalMode`).
    pub local_detection: LocalDetection,
}

/// How kube-proxy tells traffic of the cluster's own pods from other traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LocalDetection {
    /// By a source in the cluster's pod network.
    #[default]
    ClusterCidr,
    /// By a source in the node's own pod network.
    NodeCidr,
    /// By the bridge that it comes from.
    BridgeInterface,
    /// By the name of the interface that it comes from.
    InterfacePrefix,
    /// Not at all: no pod network is configured.
    None,
}

/// The network plugin, as far as it decides routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cni {
    /// Flannel with the named backend, such as `vxlan`.
    Flannel {
        /// The backend's type.
        backend: String,
    },
    /// kind's own plugin: plain host routes.
    Kindnet,
    /// Another one, by what could be learned of its name.
    Other(String),
}

/// A node's part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Runs the control plane.
    ControlPlane,
    /// Runs workloads.
    Worker,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its part.
    pub role: NodeRole,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// The pod networks that it owns.
    #[schemars(with = "Vec<String>")]
    pub pod_networks: Vec<IpNet>,
    /// Whether it is Ready.
    pub ready: bool,
    /// Its zone, by the label `topology.kubernetes.io/zone`.
    #[serde(default)]
    pub zone: Option<String>,
}

/// A Service's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub enum ServiceType {
    /// A virtual address inside the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// The same, and a port on every node.
    NodePort,
    /// The same, and an address of a load balancer.
    LoadBalancer,
    /// Only a DNS alias.
    ExternalName,
}

/// A traffic policy of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub enum TrafficPolicy {
    /// Any endpoint of the cluster.
    Cluster,
    /// Only endpoints of the node that the packet is on.
    Local,
}

/// Whether connections of one client stay with one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionAffinity {
    /// Each connection is a new choice.
    #[default]
    None,
    /// They stay, by the client's address, until none came for so long.
    ClientIp {
        /// How long, in seconds.
        timeout_seconds: u32,
    },
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ServiceType,
    /// Its cluster IPs; empty if it is headless or an ExternalName.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether it was asked to have no cluster IP.
    pub headless: bool,
    /// The alias of an ExternalName Service.
    pub external_name: Option<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// The addresses in its load-balancer status.
    pub load_balancer_addresses: Vec<IpAddr>,
    /// The node that announces the load-balancer address, if the provider says so.
    pub announced_by: Option<String>,
    /// Policy for traffic from outside.
    pub external_traffic_policy: TrafficPolicy,
    /// Policy for traffic from inside.
    pub internal_traffic_policy: TrafficPolicy,
    /// Whether endpoints that are not ready are published.
    pub publish_not_ready_addresses: bool,
    /// Whether connections of one client stay with one endpoint.
    #[serde(default)]
    pub session_affinity: SessionAffinity,
    /// Which endpoints its hints are to prefer, such as `PreferSameZone`: it decides nothing by itself, the hints do.
    #[serde(default)]
    pub traffic_distribution: Option<String>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServicePort {
    /// Its name, empty if it has none.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port on the Service's addresses.
    pub port: u16,
    /// The port on every node, if there is one.
    pub node_port: Option<u16>,
}

/// One endpoint of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// Its address.
    pub address: IpAddr,
    /// The port for each of the Service's ports, by port name.
    pub ports: BTreeMap<String, u16>,
    /// Whether it takes new connections.
    pub ready: bool,
    /// Whether it would, were it not ending.
    #[serde(default)]
    pub serving: bool,
    /// Whether it is ending.
    #[serde(default)]
    pub terminating: bool,
    /// The zones whose traffic it is meant for (`hints.forZones`).
    #[serde(default)]
    pub for_zones: Vec<String>,
    /// The nodes whose traffic it is meant for (`hints.forNodes`, KEP-3015).
    #[serde(default)]
    pub for_nodes: Vec<String>,
    /// The pod behind it, if it is one.
    pub pod: Option<String>,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its host name in a headless Service, if it has one.
    pub hostname: Option<String>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The node that it is on.
    pub node: Option<String>,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether it uses its node's network.
    pub host_network: bool,
    /// The name of the workload that it belongs to: its `Deployment` or `DaemonSet`, else its own.
    pub workload: String,
    /// The value of its `app` label.
    pub app: Option<String>,
    /// The TCP ports that its containers declare.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// MetalLB's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadBalancer {
    /// The address ranges of its pools, as written (`a-b` or CIDR).
    pub pools: Vec<String>,
    /// Whether there is at least one `L2Advertisement`.
    pub advertised: bool,
}
