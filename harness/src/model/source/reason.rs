//! The closed set of reasons for a source address.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a pod may see as the source address of its clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// One of these; more than one only where it is not known which node translates the packet.
    As(BTreeSet<Source>),
    /// The model does not say: nothing is asserted.
    NotCovered {
        /// Why.
        because: String,
    },
}

/// One source address, and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// Why.
    pub reason: SourceReason,
}

/// Why a pod sees the source address that it sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceReason {
    /// It is the client pod's own: nothing between pods of a cluster changes it.
    KeptPodToPod,
    /// It is the client's own: under `externalTrafficPolicy: Local` the node leaves it alone.
    KeptByLocalPolicy {
        /// The node that translates the destination.
        node: String,
    },
    /// It is the client's own: the node passes the packet on to one of its own pods, or to another node, as it is.
    KeptForwarded {
        /// The node.
        node: String,
    },
    /// It is the client's own: kube-proxy was given nothing by which to tell pods from others, and so leaves it alone.
    KeptUndetected {
        /// The node that translates the destination.
        node: String,
    },
    /// The client is on a node's own network: it is that node's address by the route that the packet takes.
    NodeOwnAddress {
        /// The client's node.
        node: String,
        /// The interface that has the address.
        interface: Interface,
    },
    /// kube-proxy masquerades: it is the address of the interface by which the packet leaves the node that translates it.
    MasqueradedByProxy {
        /// The node that translates the destination.
        node: String,
        /// The interface that has the address.
        interface: Interface,
    },
    /// The network plugin masquerades: it is the address of the interface by which the packet leaves that node.
    MasqueradedByNetwork {
        /// The node whose rule it is.
        node: String,
        /// The interface that has the address.
        interface: Interface,
    },
    /// The pod is its own client: without masquerade it would answer itself directly.
    Hairpin {
        /// Its node.
        node: String,
        /// The interface that has the address.
        interface: Interface,
    },
}

/// The interface of a node by which packets leave it towards a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// The bridge to the node's own pods, `cni0`: it has the first address of the node's pod network.
    Bridge,
    /// The host's end of the pod's own link: it has the first address of the node's pod network too.
    PodLink,
    /// Flannel's tunnel to the other nodes, `flannel.1`: it has the very address of the node's pod network.
    Tunnel,
    /// The one on the nodes' network, with the node's own address.
    NodeNetwork,
}

impl Seen {
    /// The addresses; none if the model does not say.
    pub fn addresses(&self) -> Option<BTreeSet<IpAddr>> {
        match self {
            Self::As(sources) => Some(sources.iter().map(|source| source.address).collect()),
            Self::NotCovered { .. } => None,
        }
    }

    /// Either of the two: what is known only of one way is not known.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::As(mut sources), Self::As(more)) => {
                sources.extend(more);
                Self::As(sources)
            }
            (unknown @ Self::NotCovered { .. }, _) | (_, unknown) => unknown,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.address, self.reason)
    }
}

impl fmt::Display for SourceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeptPodToPod => f.write_str("the client pod's own address"),
            Self::KeptByLocalPolicy { node } => {
                write!(f, "the client's own address, which {node} keeps by externalTrafficPolicy Local")
            }
            Self::KeptForwarded { node } => write!(f, "the client's own address, as {node} passes it on"),
            Self::KeptUndetected { node } => {
                write!(f, "the client's own address, which kube-proxy on {node} has no rule to change")
            }
            Self::NodeOwnAddress { node, interface } => write!(f, "the client node's own on {node}'s {interface}"),
            Self::MasqueradedByProxy { node, interface } => {
                write!(f, "masqueraded by kube-proxy on {node} as its {interface}")
            }
            Self::MasqueradedByNetwork { node, interface } => {
                write!(f, "masqueraded by the network plugin on {node} as its {interface}")
            }
            Self::Hairpin { node, interface } => {
                write!(f, "masqueraded on {node} as its {interface}, since the pod is its own client")
            }
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge cni0",
            Self::PodLink => "end of the pod's link",
            Self::Tunnel => "tunnel flannel.1",
            Self::NodeNetwork => "interface on the nodes' network",
        })
    }
}
