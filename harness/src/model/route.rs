//! Where packets from a vantage go first.

use std::net::IpAddr;

use ipnet::IpNet;
use reachmap_wire::RouteEntry;

use super::{
    Vantage, VantageKind,
    source::{self, Arriving},
};
use crate::{
    Error, ErrorKind,
    state::{Node, State},
};

/// Where a request starts, as far as packets care.
#[derive(Debug, Clone)]
pub(super) struct Origin<'s> {
    /// The node that the client runs on; none if it is no member of the cluster.
    pub(super) node: Option<&'s Node>,
    /// Whether it is on that node's own network, and no pod on the pod network.
    pub(super) on_host: bool,
    /// The client's own addresses: a pod's, or those of a machine outside the cluster.
    addresses: &'s [IpAddr],
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
    pub(super) fn of(state: &'s State, vantage: &Vantage) -> crate::Result<Self> {
        let missing = |cause: String| Error::new(ErrorKind::Usage, format!("find the vantage {vantage}"), cause);
        let mut origin = Self { node: None, on_host: false, addresses: &[], routes: &[] };
        match &vantage.kind {
            VantageKind::Pod { namespace, pod } => {
                let found = state
                    .pod(namespace, pod)
                    .ok_or_else(|| missing(format!("there is no pod {pod} in {namespace}")))?;
                let node = found.node.as_deref().ok_or_else(|| missing(format!("pod {pod} is not on any node")))?;
                origin.node = Some(state.node(node).ok_or_else(|| missing(format!("there is no node {node}")))?);
                origin.on_host = found.host_network;
                origin.addresses = &found.addresses;
            }
            VantageKind::Node { node, .. } => {
                let found = state.node(node).ok_or_else(|| missing(format!("there is no node {node}")))?;
                origin.node = Some(found);
                origin.on_host = true;
            }
            VantageKind::Laptop => {
                let place = state
                    .places
                    .get(&vantage.id)
                    .ok_or_else(|| missing("its routes are not known: no agent stands there".to_owned()))?;
                origin.routes = &place.routes;
                origin.addresses = &place.addresses;
            }
        }
        Ok(origin)
    }

    /// How its packets to `address` arrive at the node that handles them first.
    pub(super) fn arriving(&self, state: &State, first: &Node, address: IpAddr) -> Arriving {
        match self.node {
            None => self.source(address).map_or_else(Arriving::Unknown, Arriving::Outside),
            Some(own) if self.on_host && own.name == first.name => Arriving::Host,
            Some(own) if self.on_host => source::from_node_to_node(own, address),
            Some(own) => match self.source(address) {
                Ok(pod) if own.name == first.name => Arriving::Pod(pod),
                Ok(pod) => source::from_pod_to_node(state, own, pod, address),
                Err(because) => Arriving::Unknown(because),
            },
        }
    }

    /// The client's own address towards `address`: the only one of that family, or the one on the link that the
    /// route leaves by.
    fn source(&self, address: IpAddr) -> Result<IpAddr, String> {
        let own: Vec<IpAddr> =
            self.addresses.iter().copied().filter(|own| own.is_ipv4() == address.is_ipv4()).collect();
        if let [only] = own.as_slice() {
            return Ok(*only);
        }
        let interface = self.best(address).map(|route| route.interface.as_str());
        let links: Vec<IpNet> = self
            .routes
            .iter()
            .filter(|route| route.gateway.is_none() && Some(route.interface.as_str()) == interface)
            .filter_map(|route| route.destination.parse().ok())
            .collect();
        let mut on_link = own.into_iter().filter(|own| links.iter().any(|link| link.contains(own)));
        match (on_link.next(), on_link.next()) {
            (Some(source), None) => Ok(source),
            _ => Err(format!("which of its addresses the client uses towards {address} is not known")),
        }
    }

    /// The first hop to `address` by the client's routing table: the most specific entry counts.
    ///
    /// The table holds IPv4 only. IPv6 addresses of nodes, and of load balancers, which are announced on the
    /// nodes' network, are taken to be on the link, because that is where this vantage stands.
    pub(super) fn hop(&self, state: &'s State, address: IpAddr) -> Hop<'s> {
        match self.best(address) {
            Some(RouteEntry { gateway: None, .. }) => Hop::OnLink,
            Some(RouteEntry { gateway: Some(gateway), .. }) => state.node_at(*gateway).map_or(Hop::Nowhere, Hop::Via),
            None if address.is_ipv6() && is_on_nodes_network(state, address) => Hop::OnLink,
            None => Hop::Nowhere,
        }
    }

    fn best(&self, address: IpAddr) -> Option<&'s RouteEntry> {
        self.routes
            .iter()
            .filter_map(|route| route.destination.parse::<IpNet>().ok().map(|network| (network, route)))
            .filter(|(network, _)| network.contains(&address))
            .max_by_key(|(network, _)| network.prefix_len())
            .map(|(_, route)| route)
    }
}

fn is_on_nodes_network(state: &State, address: IpAddr) -> bool {
    state.node_at(address).is_some()
        || state.services.iter().any(|service| service.load_balancer_addresses.contains(&address))
        || state.load_balancer.as_ref().is_some_and(|provider| provider.holds(address))
}
