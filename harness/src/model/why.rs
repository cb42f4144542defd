//! Reasons as sentences.

use std::fmt;

use reachmap_wire::DnsFailure;

use super::{Expectation, Reason};

impl Reason {
    /// The reason as one plain sentence, for the *why* column of a table.
    ///
    /// ```
    /// use reachmap::model::Reason;
    /// let reason = Reason::ClusterIp { cluster_ip: "10.96.7.7".parse().unwrap(), node: "worker-2".to_owned() };
    /// assert_eq!(reason.why(), "Cluster IP 10.96.7.7 is translated on worker-2 (the client's node) to a ready endpoint.");
    /// ```
    pub fn why(&self) -> String {
        self.to_string()
    }

    /// The name of this kind of reason, as in reports: `cluster_ip_by_name`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClusterIpByName { .. } => "cluster_ip_by_name",
            Self::ClusterIp { .. } => "cluster_ip",
            Self::ExternalName { .. } => "external_name",
            Self::HostsEntry { .. } => "hosts_entry",
            Self::HeadlessByName { .. } => "headless_by_name",
            Self::PodRoute { .. } => "pod_route",
            Self::NodePort { .. } => "node_port",
            Self::LoadBalancerShortCircuit { .. } => "load_balancer_short_circuit",
            Self::LoadBalancerAnnounced { .. } => "load_balancer_announced",
            Self::NoLoadBalancerAddress { .. } => "no_load_balancer_address",
            Self::NotAnnounced { .. } => "not_announced",
            Self::RoutedToService { .. } => "routed_to_service",
            Self::RoutedToPod { .. } => "routed_to_pod",
            Self::NoRouteToServices { .. } => "no_route_to_services",
            Self::NoRouteToPods { .. } => "no_route_to_pods",
            Self::NoRoute { .. } => "no_route",
            Self::NameUnknownOutside { .. } => "name_unknown_outside",
            Self::NameUnknownUpstream { .. } => "name_unknown_upstream",
            Self::NameDoesNotExist { .. } => "name_does_not_exist",
            Self::NoReadyEndpoint { .. } => "no_ready_endpoint",
            Self::NoLocalEndpoint { .. } => "no_local_endpoint",
            Self::NoSuchPort { .. } => "no_such_port",
            Self::NoSuchNodePort { .. } => "no_such_node_port",
            Self::LeadsElsewhere { .. } => "leads_elsewhere",
        }
    }
}

impl Expectation {
    /// The reason as one plain sentence that starts with the name that the request uses, if it uses one.
    pub fn why(&self) -> String {
        match &self.reason {
            Reason::ClusterIpByName { answered, searched: true, cluster_ip, node } => format!(
                "`{}` + search domain = {} → cluster IP {cluster_ip}, translated on {node} (the client's node) to a ready endpoint.",
                self.target.host,
                shown(answered),
            ),
            reason => reason.why(),
        }
    }
}

/// A full name without the trailing dot, which no reader expects.
fn shown(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterIpByName { answered, searched, cluster_ip, node } => {
                let how = if *searched { " with a search domain appended" } else { "" };
                write!(
                    f,
                    "Resolves{how} as {} to cluster IP {cluster_ip}, translated on {node} (the client's node) to a ready endpoint.",
                    shown(answered)
                )
            }
            Self::ClusterIp { cluster_ip, node } => {
                write!(f, "Cluster IP {cluster_ip} is translated on {node} (the client's node) to a ready endpoint.")
            }
            Self::ExternalName { answered, alias, address } => {
                write!(f, "{} is a CNAME for {}, which CoreDNS resolves to {address}.", shown(answered), shown(alias))
            }
            Self::HostsEntry { answered, address } => {
                write!(f, "CoreDNS's `hosts` block gives {} the address {address}.", shown(answered))
            }
            Self::HeadlessByName { answered, endpoints } => write!(
                f,
                "Headless: {} resolves to the {endpoints} ready pods themselves, and the pod network leads there.",
                shown(answered)
            ),
            Self::PodRoute { pod, node, same_node } => {
                let where_ = if *same_node { "the client's own node" } else { "another node" };
                write!(f, "The pod network leads to {pod} on {node}, {where_}.")
            }
            Self::NodePort { node, port } => write!(f, "Node port {port} is translated on {node} to a ready endpoint."),
            Self::LoadBalancerShortCircuit { address, node } => write!(
                f,
                "Load-balancer address {address} is translated on {node} (the client's node): the packet never leaves it for the load balancer."
            ),
            Self::LoadBalancerAnnounced { address, node: Some(node) } => {
                write!(f, "{node} announces {address} to the network and translates it to a ready endpoint.")
            }
            Self::LoadBalancerAnnounced { address, node: None } => {
                write!(f, "A node announces {address} to the network and translates it to a ready endpoint.")
            }
            Self::NoLoadBalancerAddress { tried } => {
                write!(
                    f,
                    "The Service has no load-balancer address: nobody answers at {tried}, the first that its pool would give."
                )
            }
            Self::NotAnnounced { address } => {
                write!(f, "No node announces the load-balancer address {address} to the network.")
            }
            Self::RoutedToService { cluster_ip, node } => write!(
                f,
                "The client's route to {cluster_ip} leads to {node}, which translates it to a ready endpoint."
            ),
            Self::RoutedToPod { pod, node } => {
                write!(f, "The client's route leads to {node}, which passes the packet on to {pod}.")
            }
            Self::NoRouteToServices { cluster_ip } => {
                write!(f, "No route leads from outside the cluster to cluster IP {cluster_ip}.")
            }
            Self::NoRouteToPods { address } => {
                write!(f, "No route leads from outside the cluster to pod address {address}.")
            }
            Self::NoRoute { address } => write!(f, "No route of the client leads to {address}."),
            Self::NameUnknownOutside { name } => {
                write!(
                    f,
                    "{} is known to the cluster's DNS only, and the client's resolver does not ask it.",
                    shown(name)
                )
            }
            Self::NameUnknownUpstream { name } => write!(
                f,
                "The cluster's DNS does not know {} itself, and the server outside that it asks does not know it either.",
                shown(name)
            ),
            Self::NameDoesNotExist { name, failure } => {
                write!(f, "The cluster's DNS does not resolve {name}: {}.", dns_words(*failure))
            }
            Self::NoReadyEndpoint { service } => {
                write!(f, "{service} has no ready endpoint: the connection is rejected.")
            }
            Self::NoLocalEndpoint { service, node } => write!(
                f,
                "{service} keeps traffic on {node}, which has no ready endpoint of its own: the packet is dropped."
            ),
            Self::NoSuchPort { service, port } => {
                write!(f, "{service} has no port {port}: its address is translated for its own ports only.")
            }
            Self::NoSuchNodePort { node, port } => {
                write!(f, "No Service has the node port {port}: {node} itself answers, and nothing listens there.")
            }
            Self::LeadsElsewhere { name, address } if *name == address.to_string() => {
                write!(f, "Nothing of this cluster answers at {address}.")
            }
            Self::LeadsElsewhere { name, address } => {
                write!(f, "{} leads to {address}, where nothing of this cluster answers.", shown(name))
            }
        }
    }
}

/// The failure in the words of DNS.
pub(crate) fn dns_words(failure: DnsFailure) -> &'static str {
    match failure {
        DnsFailure::NxDomain => "no such name (NXDOMAIN)",
        DnsFailure::NoData => "no address under that name (NODATA)",
        DnsFailure::ServFail => "the server cannot answer (SERVFAIL)",
        DnsFailure::Refused => "the server will not answer (REFUSED)",
        DnsFailure::Timeout => "no answer in time",
        DnsFailure::NoServer => "no server to ask",
        DnsFailure::Malformed => "an answer that makes no sense",
    }
}
