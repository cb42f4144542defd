//! Where packets from a vantage go first.

use std::net::IpAddr;

use ipnet::IpNet;
use reachmap_wire::RouteEntry;

use super::{Vantage, VantageKind};
use crate::{
    Error, ErrorKind, Result,
    state::{Node, State},
};

/// Where a request starts, as far as packets care.
#[derive(Debug, Clone)]
pub(super) struct Origin<'s> {
    /// The node that the client runs on; none if it is no member of the cluster.
    pub(super) node: Option<&'s str>,
    /// The client's own pod address, if it has one: what a pod that it talks to directly sees.
    pub(super) pod_addresses: Vec<IpAddr>,
    /// The client's routes; only looked at outside the cluster.
    routes: &'s [RouteEntry],
}

/// How an address is reached from outside the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop<'s> {
    /// It is on the client's own link.
    OnLink,
    /// Over this node.
    Via(&'s Node),
    /// Over something that is no node, or not at all.
    Nowhere,
}

impl<'s> Origin<'s> {
    pub(super) fn of(state: &'s State, vantage: &Vantage) -> Result<Self> {
        let missing = |cause: String| Error::new(ErrorKind::Usage, format!("find the vantage {vantage}"), cause);
        let mut origin = Self { node: None, pod_addresses: Vec::new(), routes: &[] };
        match &vantage.kind {
            VantageKind::Pod { namespace, pod } => {
                let found = state
                    .pod(namespace, pod)
                    .ok_or_else(|| missing(format!("there is no pod {pod} in {namespace}")))?;
                let node = found.node.as_deref().ok_or_else(|| missing(format!("pod {pod} is not on any node")))?;
                origin.node = Some(node);
                if !found.host_network {
                    origin.pod_addresses.clone_from(&found.addresses);
                }
            }
            VantageKind::Node { node, .. } => {
                let found = state.node(node).ok_or_else(|| missing(format!("there is no node {node}")))?;
                origin.node = Some(&found.name);
            }
            VantageKind::Laptop => {
                let place = state
                    .places
                    .get(&vantage.id)
                    .ok_or_else(|| missing("its routes are not known: no agent stands there".to_owned()))?;
                origin.routes = &place.routes;
            }
        }
        Ok(origin)
    }

    /// The first hop to `address` by the client's routing table: the most specific entry counts.
    ///
    /// The table holds IPv4 only. IPv6 addresses of nodes, and of load balancers, which are announced on the
    /// nodes' network, are taken to be on the link, because that is where this vantage stands.
    pub(super) fn hop(&self, state: &'s State, address: IpAddr) -> Hop<'s> {
        let best = self
            .routes
            .iter()
            .filter_map(|route| route.destination.parse::<IpNet>().ok().map(|network| (network, route)))
            .filter(|(network, _)| network.contains(&address))
            .max_by_key(|(network, _)| network.prefix_len());
        match best {
            Some((_, RouteEntry { gateway: None, .. })) => Hop::OnLink,
            Some((_, RouteEntry { gateway: Some(gateway), .. })) => {
                state.node_at(*gateway).map_or(Hop::Nowhere, Hop::Via)
            }
            None if address.is_ipv6() && is_on_nodes_network(state, address) => Hop::OnLink,
            None => Hop::Nowhere,
        }
    }
}

fn is_on_nodes_network(state: &State, address: IpAddr) -> bool {
    state.node_at(address).is_some()
        || state.services.iter().any(|service| service.load_balancer_addresses.contains(&address))
        || state.load_balancer.as_ref().is_some_and(|provider| provider.holds(address))
}
