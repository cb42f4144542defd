//! From an address and a port to the pods that answer, or to how the connection fails.
//!
//! The rules are kube-proxy's (<https://kubernetes.io/docs/reference/networking/virtual-ips/>): a Service address is
//! translated on the first node that handles the packet.

mod translate;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use reachmap_wire::FailureClass;

use self::translate::{fails, port_name, succeeds, translate};
use super::{
    Fact, Reason,
    route::{Hop, Origin},
};
use crate::{
    Result,
    state::{Node, Pod, ProxyMode, Service, State, TrafficPolicy},
};

/// What happens to packets to one address, or to several that a name resolved to.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) reachable: bool,
    pub(super) reason: Reason,
    pub(super) facts: Vec<Fact>,
}

/// Nobody has the address, on the link or behind the first hop.
const NOBODY: &[FailureClass] =
    &[FailureClass::HostUnreachable, FailureClass::Timeout, FailureClass::NetworkUnreachable, FailureClass::Refused];

/// The packet leaves the cluster's world: whatever the routers there do with it.
const NO_ROUTE: &[FailureClass] = &[
    FailureClass::NetworkUnreachable,
    FailureClass::HostUnreachable,
    FailureClass::Timeout,
    FailureClass::Refused,
    FailureClass::Forbidden,
];

/// A load balancer, or a node, that has nobody to pass a connection on to: kube-proxy rejects it where it sees it,
/// and MetalLB stops announcing the address.
const NO_ENDPOINT_OUTSIDE: &[FailureClass] =
    &[FailureClass::Refused, FailureClass::Timeout, FailureClass::HostUnreachable];

/// What an address belongs to.
enum Destination<'s> {
    ClusterIp(&'s Service),
    LoadBalancer(&'s Service),
    Node(&'s Node),
    Pod(&'s Pod),
    /// In the Service network, but of no Service.
    NoService,
    /// In the pod network, but of no pod.
    NoPod,
    /// In a pool of the load balancer, but not given to a Service.
    Pool,
}

fn destination(state: &State, address: IpAddr) -> Option<Destination<'_>> {
    let service =
        |has: fn(&Service) -> &Vec<IpAddr>| state.services.iter().find(|service| has(service).contains(&address));
    let in_networks = |networks: &[ipnet::IpNet]| networks.iter().any(|network| network.contains(&address));
    let in_pool = || {
        state.load_balancer.as_ref().is_some_and(|provider| provider.holds(address))
            || state.planned_pool.as_ref().is_some_and(|range| {
                crate::state::LoadBalancer { pools: vec![range.clone()], advertised: false }.holds(address)
            })
    };
    if let Some(service) = service(|service| &service.cluster_ips) {
        Some(Destination::ClusterIp(service))
    } else if let Some(service) = service(|service| &service.load_balancer_addresses) {
        Some(Destination::LoadBalancer(service))
    } else if let Some(node) = state.node_at(address) {
        Some(Destination::Node(node))
    } else if let Some(pod) = state.pod_at(address) {
        Some(Destination::Pod(pod))
    } else if in_networks(&state.service_networks) {
        Some(Destination::NoService)
    } else if in_networks(&state.pod_networks) {
        Some(Destination::NoPod)
    } else if in_pool() {
        Some(Destination::Pool)
    } else {
        None
    }
}

/// What happens to a connection from `origin` to `address`. `named` is what the request names.
///
/// # Errors
/// If the address is none that the state knows anything about.
pub(super) fn deliver(state: &State, origin: &Origin<'_>, address: IpAddr, port: u16, named: &str) -> Result<Delivery> {
    let at = SocketAddr::new(address, port);
    let Some(destination) = destination(state, address) else {
        return Err(super::expect::not_covered(
            format!("derive what answers at {at}"),
            "it is neither a node's, a pod's nor a Service's address, nor in their networks",
        ));
    };
    let elsewhere = || Reason::LeadsElsewhere { name: named.to_owned(), address };
    Ok(match destination {
        Destination::ClusterIp(service) => cluster_ip(state, origin, service, at, elsewhere()),
        Destination::LoadBalancer(service) => load_balancer(state, origin, service, at, elsewhere()),
        Destination::Node(node) => node_address(state, origin, node, at, elsewhere()),
        Destination::Pod(pod) => pod_address(state, origin, pod, at, elsewhere()),
        Destination::NoService => match first_node(state, origin, address) {
            Some(_) => fails(elsewhere(), NOBODY),
            None => fails(Reason::NoRouteToServices { cluster_ip: address }, NO_ROUTE),
        },
        Destination::NoPod => match first_node(state, origin, address) {
            Some(_) => fails(elsewhere(), NOBODY),
            None => fails(Reason::NoRouteToPods { address }, NO_ROUTE),
        },
        Destination::Pool => fails(Reason::NoLoadBalancerAddress { tried: address }, NOBODY),
    })
}

/// The first node that handles a packet to an address inside the cluster, and whether it is the client's own.
fn first_node<'s>(state: &'s State, origin: &Origin<'s>, address: IpAddr) -> Option<(&'s str, bool)> {
    match (origin.node, origin.hop(state, address)) {
        (Some(own), _) => Some((own, true)),
        (None, Hop::Via(node)) => Some((node.name.as_str(), false)),
        // On the link nobody answers for these addresses; elsewhere nobody knows them.
        (None, Hop::OnLink | Hop::Nowhere) => None,
    }
}

fn cluster_ip(state: &State, origin: &Origin<'_>, service: &Service, at: SocketAddr, elsewhere: Reason) -> Delivery {
    let cluster_ip = at.ip();
    let Some((node, own)) = first_node(state, origin, cluster_ip) else {
        return fails(Reason::NoRouteToServices { cluster_ip }, NO_ROUTE);
    };
    let Some(name) = port_name(service, at.port()) else {
        return fails(elsewhere, NOBODY);
    };
    let node = node.to_owned();
    let reason = if own {
        Reason::ClusterIp { cluster_ip, node: node.clone() }
    } else {
        Reason::RoutedToService { cluster_ip, node: node.clone() }
    };
    let local_only = service.internal_traffic_policy == TrafficPolicy::Local;
    let no_endpoint: &[FailureClass] = match state.proxy_mode {
        // Both reject with an ICMP "port unreachable", which the client's kernel reports as a refused connection.
        ProxyMode::Iptables | ProxyMode::Nftables => &[FailureClass::Refused],
        ProxyMode::Ipvs | ProxyMode::Unknown => NO_ENDPOINT_OUTSIDE,
    };
    translate(state, service, name, at, local_only.then_some(node), reason, no_endpoint)
}

fn load_balancer(state: &State, origin: &Origin<'_>, service: &Service, at: SocketAddr, elsewhere: Reason) -> Delivery {
    let address = at.ip();
    let Some(name) = port_name(service, at.port()) else {
        return fails(elsewhere, NOBODY);
    };
    let local_only = service.external_traffic_policy == TrafficPolicy::Local;
    // kube-proxy takes the packet on the client's own node; inside the cluster the external policy does not count.
    if let Some(own) = origin.node {
        let reason = Reason::LoadBalancerShortCircuit { address, node: own.to_owned() };
        return translate(state, service, name, at, None, reason, NO_ENDPOINT_OUTSIDE);
    }
    match origin.hop(state, address) {
        Hop::Nowhere => fails(Reason::NoRoute { address }, NO_ROUTE),
        Hop::Via(node) => {
            let reason = Reason::LoadBalancerAnnounced { address, node: Some(node.name.clone()) };
            translate(state, service, name, at, local_only.then(|| node.name.clone()), reason, NO_ENDPOINT_OUTSIDE)
        }
        Hop::OnLink => {
            let ours = state.load_balancer.as_ref();
            if ours.is_some_and(|provider| !provider.advertised || !provider.holds(address)) {
                return fails(Reason::NotAnnounced { address }, NOBODY);
            }
            let reason = Reason::LoadBalancerAnnounced { address, node: service.announced_by.clone() };
            // Whoever announces the address under the Local policy has an endpoint; if it is not said who does,
            // any ready endpoint may be the one.
            let only = if local_only { service.announced_by.clone() } else { None };
            translate(state, service, name, at, only, reason, NO_ENDPOINT_OUTSIDE)
        }
    }
}

fn node_address(state: &State, origin: &Origin<'_>, node: &Node, at: SocketAddr, elsewhere: Reason) -> Delivery {
    if origin.node.is_none() && origin.hop(state, at.ip()) == Hop::Nowhere {
        return fails(Reason::NoRoute { address: at.ip() }, NO_ROUTE);
    }
    let found = state.services.iter().find_map(|service| {
        let port = service.ports.iter().find(|port| port.protocol == "TCP" && port.node_port == Some(at.port()))?;
        Some((service, port.name.as_str()))
    });
    let Some((service, name)) = found else {
        return fails(elsewhere, NOBODY);
    };
    // From the node itself, and from its own pods, the external policy does not count; from other nodes it does,
    // because what they send on carries their own address.
    let local_only = service.external_traffic_policy == TrafficPolicy::Local && origin.node != Some(node.name.as_str());
    let reason = Reason::NodePort { node: node.name.clone(), port: at.port() };
    translate(state, service, name, at, local_only.then(|| node.name.clone()), reason, NO_ENDPOINT_OUTSIDE)
}

fn pod_address(state: &State, origin: &Origin<'_>, pod: &Pod, at: SocketAddr, elsewhere: Reason) -> Delivery {
    let address = at.ip();
    let Some((first, own)) = first_node(state, origin, address) else {
        return fails(Reason::NoRouteToPods { address }, NO_ROUTE);
    };
    let listens = pod.ports.contains(&at.port())
        || state
            .endpoints
            .iter()
            .any(|endpoint| endpoint.address == address && endpoint.ports.values().any(|port| *port == at.port()));
    if !listens {
        return fails(elsewhere, NOBODY);
    }
    let reason = if own {
        let node = pod.node.clone().unwrap_or_default();
        Reason::PodRoute { pod: pod.name.clone(), same_node: node == first, node }
    } else {
        Reason::RoutedToPod { pod: pod.name.clone(), node: first.to_owned() }
    };
    let mut delivery = succeeds(reason, at, [pod.name.clone()].into());
    // Pods talk to pods without address translation, on whatever node they are: the network model of
    // https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model.
    let seen: BTreeSet<IpAddr> =
        origin.pod_addresses.iter().copied().filter(|own| own.is_ipv4() == address.is_ipv4()).collect();
    if !seen.is_empty() {
        delivery.facts.push(Fact::SeenAs(seen));
    }
    delivery
}

/// Several addresses of one name: tried until one connects. `None` if there are none.
pub(super) fn any_of(deliveries: Vec<Delivery>) -> Option<Delivery> {
    let reachable = deliveries.iter().any(|delivery| delivery.reachable);
    let mut kept = deliveries.into_iter().filter(|delivery| delivery.reachable == reachable);
    let mut whole = kept.next()?;
    for delivery in kept {
        for fact in delivery.facts {
            merge(&mut whole.facts, fact);
        }
    }
    Some(whole)
}

fn merge(facts: &mut Vec<Fact>, fact: Fact) {
    for known in facts.iter_mut() {
        match (known, &fact) {
            (Fact::Connects(known), Fact::Connects(more)) => return known.extend(more),
            (Fact::DoesNotConnect(known), Fact::DoesNotConnect(more)) => return known.extend(more),
            (Fact::ServedBy(known), Fact::ServedBy(more)) => {
                return known.extend(more.iter().cloned());
            }
            (Fact::SeenAs(known), Fact::SeenAs(more)) => return known.extend(more),
            _ => {}
        }
    }
    facts.push(fact);
}
