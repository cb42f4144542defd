//! Questions that a state answers about itself.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Endpoint, LoadBalancer, Node, NodeRole, Pod, Service, State};
use crate::{Error, ErrorKind, Result};

impl State {
    /// The Service of that namespace and name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.namespace == namespace && service.name == name)
    }

    /// The endpoints of a Service, ready or not.
    pub fn endpoints_of<'s>(&'s self, service: &'s Service) -> impl Iterator<Item = &'s Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.namespace == service.namespace && endpoint.service == service.name)
    }

    /// The pod of that namespace and name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.namespace == namespace && pod.name == name)
    }

    /// The pod on the pod network that has this address.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        self.pods.iter().find(|pod| !pod.host_network && pod.addresses.contains(&address))
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The node that has this address.
    pub fn node_at(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.iter().find(|node| node.addresses.contains(&address))
    }

    /// Whether there is such a namespace.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|known| known == namespace)
    }

    /// The ready pods of a workload, in the order of their nodes and names.
    pub fn ready_pods_of(&self, namespace: &str, workload: &str) -> Vec<&Pod> {
        let mut pods: Vec<&Pod> = self
            .pods
            .iter()
            .filter(|pod| {
                pod.namespace == namespace && pod.workload == workload && pod.ready && !pod.addresses.is_empty()
            })
            .collect();
        pods.sort_by_key(|pod| (natural(pod.node.as_deref().unwrap_or_default()), pod.name.clone()));
        pods
    }

    /// The nodes with the names that vantages and methods give them: `control-plane`, then `worker-1` and so on.
    ///
    /// Workers are counted in the natural order of their names; with several control-plane nodes the second is
    /// `control-plane-2`.
    pub fn named_nodes(&self) -> Vec<(String, &Node)> {
        named(&self.nodes)
    }

    /// The node that a vantage id such as `worker-1` or `control-plane` means.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the cluster has no such node.
    pub fn node_by_id(&self, id: &str) -> Result<&Node> {
        self.named_nodes().into_iter().find(|(name, _)| name == id).map(|(_, node)| node).ok_or_else(|| {
            let known: Vec<String> = self.named_nodes().into_iter().map(|(name, _)| name).collect();
            Error::new(
                ErrorKind::Usage,
                format!("find the node `{id}`"),
                format!("the cluster has {}", known.join(", ")),
            )
        })
    }

    /// The addresses of the cluster's DNS: its Service's, and its pods'.
    pub fn dns_addresses(&self) -> Vec<IpAddr> {
        let Some(service) = self.service("kube-system", "kube-dns") else {
            return Vec::new();
        };
        let endpoints = self.endpoints_of(service).filter(|endpoint| endpoint.ready).map(|endpoint| endpoint.address);
        service.cluster_ips.iter().copied().chain(endpoints).collect()
    }
}

impl LoadBalancer {
    /// Whether one of the pools holds the address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.pools.iter().any(|pool| range_holds(pool, address))
    }
}

/// Whether `first-last` or a CIDR block holds the address.
fn range_holds(range: &str, address: IpAddr) -> bool {
    if let Some((first, last)) = range.split_once('-') {
        return match (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>()) {
            (Ok(first), Ok(last)) => first.is_ipv4() == address.is_ipv4() && first <= address && address <= last,
            _ => false,
        };
    }
    range.trim().parse::<IpNet>().is_ok_and(|network| network.contains(&address))
}

/// The first address of `first-last` or of a CIDR block.
pub(crate) fn first_of_range(range: &str) -> Option<IpAddr> {
    match range.split_once('-') {
        Some((first, _)) => first.trim().parse().ok(),
        None => range.trim().parse::<IpNet>().ok().map(|network| network.addr()),
    }
}

/// The nodes with the names that vantages and methods give them: see [`State::named_nodes`].
pub(crate) fn named(nodes: &[Node]) -> Vec<(String, &Node)> {
    let mut named = Vec::new();
    for (role, base) in [(NodeRole::ControlPlane, "control-plane"), (NodeRole::Worker, "worker")] {
        let mut nodes: Vec<&Node> = nodes.iter().filter(|node| node.role == role).collect();
        nodes.sort_by_key(|node| natural(&node.name));
        for (number, node) in (1_usize..).zip(nodes) {
            let first_control_plane = role == NodeRole::ControlPlane && number == 1;
            named.push((if first_control_plane { base.to_owned() } else { format!("{base}-{number}") }, node));
        }
    }
    named
}

/// A key that sorts `worker9` before `worker10`.
pub(crate) fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let number_end = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(number_end);
        // The number belongs to the text before it: compare texts first, then numbers.
        parts.push((0, text.to_owned()));
        parts.push((number.parse().unwrap_or(0), String::new()));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_counted_in_natural_order() {
        let mut names = vec!["kind-worker10", "kind-worker2", "kind-worker", "kind-worker9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["kind-worker", "kind-worker2", "kind-worker9", "kind-worker10"]);
    }

    #[test]
    fn ranges_hold_what_lies_between_their_ends() {
        let holds = |range, address: &str| range_holds(range, address.parse().unwrap());
        assert!(holds("172.18.255.200-172.18.255.210", "172.18.255.205"));
        assert!(!holds("172.18.255.200-172.18.255.210", "172.18.255.211"));
        assert!(holds("172.18.255.200/29", "172.18.255.207"));
        assert!(!holds("fd00::1-fd00::9", "172.18.255.205"));
        assert!(!holds("nonsense", "172.18.255.205"));
    }
}
