//! The interface by which a packet leaves a node towards a pod, and its address.
//!
//! A masqueraded packet gets the address that the kernel prefers on the interface that it leaves by
//! (`nf_nat_masquerade_ipv4`: the one on the next hop's link, else the interface's first), and so does a node's own
//! packet to a pod.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Interface;
use crate::state::{Cni, Node, State};

/// The interface, and its address, by which packets to the pod with that address, on that node, leave `node`.
///
/// # Errors
/// Why it is not known.
pub(super) fn leaving(state: &State, node: &Node, to: IpAddr, on: Option<&str>) -> Result<(IpAddr, Interface), String> {
    let interface = if on == Some(&node.name) { to_own_pod(state) } else { to_other(state, node, to) }?;
    let of_pods = || {
        let network = node.pod_networks.iter().find(|network| network.addr().is_ipv4() == to.is_ipv4());
        network.ok_or_else(|| format!("{} owns no pod network of that family", node.name))
    };
    let address = match interface {
        // The bridge and the pod's link are the pods' gateway: the network's first address, which the IPAM plugin
        // `host-local` sets aside.
        Interface::Bridge | Interface::PodLink => {
            let network = of_pods()?;
            network.hosts().find(|address| *address != network.network())
        }
        // `EnsureV4AddressOnLink` in flannel's `pkg/backend/vxlan/device.go`: the lease's own address.
        Interface::Tunnel => Some(of_pods()?.network()),
        Interface::NodeNetwork => Some(on_nodes_network(node, to.is_ipv4())?),
    };
    let address = address.ok_or_else(|| format!("the pod network of {} has one address only", node.name))?;
    Ok((address, interface))
}

/// The node's one address on the nodes' network.
pub(super) fn on_nodes_network(node: &Node, is_ipv4: bool) -> Result<IpAddr, String> {
    let mut own = node.addresses.iter().filter(|address| address.is_ipv4() == is_ipv4);
    match (own.next(), own.next()) {
        (Some(address), None) => Ok(*address),
        (None, _) => Err(format!("{} has no address of that family", node.name)),
        (Some(_), Some(_)) => Err(format!("{} has several addresses of that family", node.name)),
    }
}

fn to_own_pod(state: &State) -> Result<Interface, String> {
    match &state.cni {
        Cni::Flannel { .. } => Ok(Interface::Bridge),
        // kindnet configures the plugin `ptp`, whose host end of the link has the gateway's address (`setupHostVeth`
        // in https://github.com/containernetworking/plugins/blob/main/plugins/main/ptp/ptp.go).
        Cni::Kindnet => Ok(Interface::PodLink),
        Cni::Other(name) => Err(format!("how the network plugin ({name}) links a node with its pods is not known")),
    }
}

/// By the node's own routing table, if an agent there told it, else by what the plugin's configuration says.
fn to_other(state: &State, node: &Node, to: IpAddr) -> Result<Interface, String> {
    let configured = match &state.cni {
        Cni::Flannel { backend } if backend == "vxlan" => Ok(Interface::Tunnel),
        Cni::Flannel { backend } if backend == "host-gw" => Ok(Interface::NodeNetwork),
        Cni::Flannel { backend } => Err(format!("the addresses of Flannel's backend {backend} are not known")),
        Cni::Kindnet => Ok(Interface::NodeNetwork),
        Cni::Other(name) => Err(format!("how the network plugin ({name}) leads to other nodes is not known")),
    };
    // Only Flannel's and kindnet's rules are known besides; and only the first knows two ways, its `DirectRouting`.
    match (&state.cni, route(state, node, to)) {
        (Cni::Flannel { backend }, Some(name)) if backend == "vxlan" => {
            Ok(if name.starts_with("flannel") { Interface::Tunnel } else { Interface::NodeNetwork })
        }
        _ => configured,
    }
}

/// The interface of the node's most specific route, if it is one for pods.
fn route<'s>(state: &'s State, node: &Node, to: IpAddr) -> Option<&'s str> {
    let id = state.named_nodes().into_iter().find(|(_, known)| known.name == node.name)?.0;
    let routes = state.places.get(&id)?.routes.iter();
    let for_pods =
        |network: &IpNet| network.contains(&to) && state.pod_networks.iter().any(|all| all.contains(network));
    routes
        .filter_map(|route| Some((route.destination.parse::<IpNet>().ok()?, route.interface.as_str())))
        .filter(|(network, _)| for_pods(network))
        .max_by_key(|(network, _)| network.prefix_len())
        .map(|(_, interface)| interface)
}
