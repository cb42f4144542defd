//! Who masquerades what.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Access, Arriving};
use crate::state::{Cni, LocalDetection, Node, State, TrafficPolicy};

/// Whether kube-proxy can tell the cluster's pods from others: `LocalTrafficDetector.IsImplemented`.
pub(super) fn detects_pods(state: &State) -> bool {
    state.proxy.local_detection != LocalDetection::None
}

/// Whether kube-proxy masquerades what it translates.
///
/// The same in `pkg/proxy/iptables/proxier.go` and `pkg/proxy/nftables/proxier.go`. A cluster IP: all of it with
/// `masqueradeAll`, else what is not of the cluster's pods. An external address: all of it under the policy
/// `Cluster` ("in case we cross nodes"); under `Local` only what comes from the node itself.
pub(super) fn by_proxy(state: &State, arriving: &Arriving, access: Access) -> bool {
    let of_a_pod = matches!(arriving, Arriving::Pod(_));
    match access {
        Access::ClusterIp(_) => state.proxy.masquerade_all || (detects_pods(state) && !of_a_pod),
        Access::External(TrafficPolicy::Cluster) => true,
        Access::External(TrafficPolicy::Local) => matches!(arriving, Arriving::Host),
    }
}

/// Whether the network plugin on `node` masquerades a packet that leaves it, and that kube-proxy does not masquerade.
///
/// # Errors
/// Why it is not known.
pub(super) fn by_network(state: &State, node: &Node, from: IpAddr, to: IpAddr) -> Result<bool, String> {
    let within = |networks: &[IpNet], address: &IpAddr| networks.iter().any(|network| network.contains(address));
    let in_cluster = |address: &IpAddr| within(&state.pod_networks, address);
    let on_node = |address: &IpAddr| within(&node.pod_networks, address);
    match &state.cni {
        // The chain FLANNEL-POSTRTG, rule by rule: `masqRules` in flannel's `pkg/trafficmngr/iptables/iptables.go`.
        // Its first rule returns what kube-proxy marked, which never comes here.
        Cni::Flannel { .. } => Ok(if (on_node(&from) && in_cluster(&to)) || on_node(&to) {
            false
        } else {
            in_cluster(&from) || in_cluster(&to)
        }),
        // The chain KIND-MASQ-AGENT of https://github.com/kubernetes-sigs/kind/tree/main/images/kindnetd: whatever
        // does not go to a pod.
        Cni::Kindnet => Ok(!in_cluster(&to)),
        Cni::Other(name) => Err(format!("what the network plugin ({name}) masquerades is not known")),
    }
}
