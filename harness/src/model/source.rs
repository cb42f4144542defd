//! Which source address a pod sees, and why.
//!
//! The way of a packet in three steps, each with its rule: how it arrives at the node that translates it, whether
//! kube-proxy there masquerades it, and if not, whether the network plugin does. What is masqueraded gets the address of
//! the interface by which it leaves towards the endpoint.

mod interface;
mod masquerade;
mod reason;

use std::{collections::BTreeSet, net::IpAddr};

pub use self::reason::{Interface, Seen, Source, SourceReason};
use self::{
    interface::leaving,
    masquerade::{by_network, by_proxy},
};
use crate::state::{Endpoint, Node, ProxyMode, State, TrafficPolicy};

/// How a packet arrives at the node that handles it first.
#[derive(Debug, Clone)]
pub(super) enum Arriving {
    /// From a pod of this node, with this address.
    Pod(IpAddr),
    /// From a process on the node's own network.
    Host,
    /// From elsewhere, with the address that the client has.
    Outside(IpAddr),
    /// From another node, with an address that it got there, for this reason.
    Changed(IpAddr, SourceReason),
    /// From elsewhere, with an address that is not known because of this.
    Unknown(String),
}

/// Which of a Service's addresses a packet is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ClusterIp(TrafficPolicy),
    /// A node port, or a load balancer's address.
    External(TrafficPolicy),
}

impl Access {
    /// The policy that counts for what arrives so.
    ///
    /// Traffic of the node's own pods and of the node itself to an external address is subject to neither policy: the
    /// rules "pod traffic for … external destinations" and "route LOCAL traffic for … external destinations" of
    /// kube-proxy's `iptables/proxier.go`, and "short-circuit" in its `nftables/proxier.go`.
    pub(super) fn policy(self, state: &State, arriving: &Arriving) -> TrafficPolicy {
        match (self, arriving) {
            (Self::External(_), Arriving::Host) => TrafficPolicy::Cluster,
            (Self::External(_), Arriving::Pod(_)) if masquerade::detects_pods(state) => TrafficPolicy::Cluster,
            (Self::ClusterIp(policy) | Self::External(policy), _) => policy,
        }
    }
}

/// What the endpoint's pod sees of a packet that `entry` translated to it.
pub(super) fn translated(
    state: &State,
    entry: &Node,
    arriving: &Arriving,
    access: Access,
    endpoint: &Endpoint,
) -> Seen {
    let (to, on) = (endpoint.address, endpoint.node.as_deref());
    match state.proxy_mode {
        ProxyMode::Iptables | ProxyMode::Nftables => {}
        ProxyMode::Ipvs => return Seen::not_covered("what IPVS makes of source addresses"),
        ProxyMode::Unknown => return Seen::not_covered("how Services are translated here is not known"),
    }
    if state.node_at(to).is_some() {
        return Seen::not_covered("the endpoint is on its node's own network");
    }
    if matches!(arriving, Arriving::Pod(own) if *own == to) {
        // "Handle traffic that loops back to the originator with SNAT": both proxiers, whatever the policy.
        return masqueraded(state, entry, to, on, |interface| SourceReason::Hairpin {
            node: entry.name.clone(),
            interface,
        });
    }
    if by_proxy(state, arriving, access) {
        return masqueraded(state, entry, to, on, |interface| SourceReason::MasqueradedByProxy {
            node: entry.name.clone(),
            interface,
        });
    }
    let kept_outside = match access {
        Access::External(TrafficPolicy::Local) => SourceReason::KeptByLocalPolicy { node: entry.name.clone() },
        _ => SourceReason::KeptUndetected { node: entry.name.clone() },
    };
    untranslated(state, entry, arriving, (to, on), &kept_outside)
}

/// What the pod sees of a packet that nobody translated, or whose source its translation left alone.
///
/// `kept_outside` is the reason for which an address from outside is still there.
fn untranslated(
    state: &State,
    entry: &Node,
    arriving: &Arriving,
    (to, on): (IpAddr, Option<&str>),
    kept_outside: &SourceReason,
) -> Seen {
    let (from, kept) = match arriving {
        // Pods talk to pods without address translation, on whatever node they are: the network model of
        // https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model.
        Arriving::Pod(own) => return Seen::one(*own, SourceReason::KeptPodToPod),
        // It started for an address that is on the way out of the nodes' network, and so with the node's own.
        Arriving::Host => match interface::on_nodes_network(entry, to.is_ipv4()) {
            Ok(own) => {
                let (node, interface) = (entry.name.clone(), Interface::NodeNetwork);
                (own, SourceReason::NodeOwnAddress { node, interface })
            }
            Err(because) => return Seen::NotCovered { because },
        },
        Arriving::Outside(from) => (*from, kept_outside.clone()),
        Arriving::Changed(from, reason) => (*from, reason.clone()),
        Arriving::Unknown(because) => return Seen::not_covered(because),
    };
    match by_network(state, entry, from, to) {
        Ok(true) => masqueraded(state, entry, to, on, |interface| SourceReason::MasqueradedByNetwork {
            node: entry.name.clone(),
            interface,
        }),
        Ok(false) => Seen::one(from, kept),
        Err(because) => Seen::NotCovered { because },
    }
}

/// What the pod sees of a packet that goes to its own address. `first` is the first node that handles it.
pub(super) fn direct(state: &State, first: &Node, arriving: &Arriving, to: IpAddr, on: Option<&str>) -> Seen {
    if matches!(arriving, Arriving::Host) {
        // Its source is chosen by the route to the pod, and such an address no rule of the plugins touches; where it
        // leaves by the nodes' network, masquerading it would give the same.
        return masqueraded(state, first, to, on, |interface| SourceReason::NodeOwnAddress {
            node: first.name.clone(),
            interface,
        });
    }
    let kept = SourceReason::KeptForwarded { node: first.name.clone() };
    untranslated(state, first, arriving, (to, on), &kept)
}

/// How a pod's packet arrives at another node: with what its own node's plugin makes of it on the way out.
pub(super) fn from_pod_to_node(state: &State, own: &Node, pod: IpAddr, to: IpAddr) -> Arriving {
    match by_network(state, own, pod, to) {
        Ok(true) => match interface::on_nodes_network(own, to.is_ipv4()) {
            Ok(address) => {
                let (node, interface) = (own.name.clone(), Interface::NodeNetwork);
                Arriving::Changed(address, SourceReason::MasqueradedByNetwork { node, interface })
            }
            Err(because) => Arriving::Unknown(because),
        },
        Ok(false) => Arriving::Outside(pod),
        Err(because) => Arriving::Unknown(because),
    }
}

/// How a node's own packet arrives at another node.
pub(super) fn from_node_to_node(own: &Node, to: IpAddr) -> Arriving {
    match interface::on_nodes_network(own, to.is_ipv4()) {
        Ok(address) => {
            let (node, interface) = (own.name.clone(), Interface::NodeNetwork);
            Arriving::Changed(address, SourceReason::NodeOwnAddress { node, interface })
        }
        Err(because) => Arriving::Unknown(because),
    }
}

/// The address of the interface by which the packet leaves `node` towards the pod with that address on that node.
fn masqueraded(
    state: &State,
    node: &Node,
    to: IpAddr,
    on: Option<&str>,
    reason: impl FnOnce(Interface) -> SourceReason,
) -> Seen {
    match leaving(state, node, to, on) {
        Ok((address, interface)) => Seen::one(address, reason(interface)),
        Err(because) => Seen::NotCovered { because },
    }
}

impl Seen {
    fn one(address: IpAddr, reason: SourceReason) -> Self {
        Self::As(BTreeSet::from([Source { address, reason }]))
    }

    fn not_covered(because: impl Into<String>) -> Self {
        Self::NotCovered { because: because.into() }
    }
}

#[cfg(test)]
mod tests;
