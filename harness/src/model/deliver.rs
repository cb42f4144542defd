//! From an address and a port to the pods that answer, or to how the connection fails.
//!
//! The rules are kube-proxy's (<https://kubernetes.io/docs/reference/networking/virtual-ips/>): a Service address is
//! translated on the first node that handles the packet.

mod translate;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use reachmap_wire::FailureClass;

use self::translate::{Translation, fails, port_of, translate};
use super::{
    Answering, Fact, Law, Reason, Seen, Selection,
    route::{Hop, Origin},
    source::{self, Access},
};
use crate::{
    Result,
    state::{Endpoint, Node, Pod, ProxyMode, Service, State},
};

/// What happens to packets to one address, or to several that a name resolved to.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) reachable: bool,
    pub(super) reason: Reason,
    pub(super) facts: Vec<Fact>,
    /// Who may answer, and what each of them sees.
    pub(super) answering: Vec<Answering>,
    /// The nodes that may handle the packets first.
    pub(super) entries: BTreeSet<String>,
    pub(super) selection: Option<Selection>,
    pub(super) law: Law,
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

/// kube-proxy has nobody to pass a connection on to, and says so: an ICMP "port unreachable", which the client's kernel
/// reports as a refused connection.
const REJECTED: &[FailureClass] = &[FailureClass::Refused];

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
    // Of an address that is named as such, it is the port that is wrong, and not the name.
    let by_address = named.parse() == Ok(address);
    let no_port = |missing: Reason| if by_address { missing } else { elsewhere() };
    let no_port_of = |service: &Service| no_port(Reason::NoSuchPort { service: service.name.clone(), port });
    Ok(match destination {
        Destination::ClusterIp(service) => cluster_ip(state, origin, service, at, no_port_of(service)),
        Destination::LoadBalancer(service) => load_balancer(state, origin, service, at, no_port_of(service)),
        Destination::Node(node) => {
            let missing = Reason::NoSuchNodePort { node: node.name.clone(), port };
            node_address(state, origin, node, at, no_port(missing))
        }
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
fn first_node<'s>(state: &'s State, origin: &Origin<'s>, address: IpAddr) -> Option<(&'s Node, bool)> {
    match (origin.node, origin.hop(state, address)) {
        (Some(own), _) => Some((own, true)),
        (None, Hop::Via(node)) => Some((node, false)),
        // On the link nobody answers for these addresses; elsewhere nobody knows them.
        (None, Hop::OnLink | Hop::Nowhere) => None,
    }
}

fn cluster_ip(state: &State, origin: &Origin<'_>, service: &Service, at: SocketAddr, no_port: Reason) -> Delivery {
    let cluster_ip = at.ip();
    let Some((entry, own)) = first_node(state, origin, cluster_ip) else {
        return fails(Reason::NoRouteToServices { cluster_ip }, NO_ROUTE);
    };
    let Some(port) = port_of(service, at.port()) else {
        // nftables rejects what is to a cluster IP and to no port of its Service (`cluster-ips` in `nftables/proxier.go`);
        // iptables has no rule for it, and it leaves the node as it came.
        return fails(no_port, if state.proxy_mode == ProxyMode::Nftables { REJECTED } else { NOBODY });
    };
    let node = entry.name.clone();
    let reason =
        if own { Reason::ClusterIp { cluster_ip, node } } else { Reason::RoutedToService { cluster_ip, node } };
    let access = Access::ClusterIp(service.internal_traffic_policy);
    let no_endpoint = if rejects(state) { REJECTED } else { NO_ENDPOINT_OUTSIDE };
    translate(state, origin, Translation { service, port, at, access, entries: vec![entry], no_endpoint }, reason)
}

/// Whether kube-proxy rejects what has no endpoint at all: "has no endpoints" in its `iptables/proxier.go`, and its map
/// `no-endpoint-services` in `nftables/proxier.go`.
fn rejects(state: &State) -> bool {
    matches!(state.proxy_mode, ProxyMode::Iptables | ProxyMode::Nftables)
}

fn load_balancer(state: &State, origin: &Origin<'_>, service: &Service, at: SocketAddr, no_port: Reason) -> Delivery {
    let address = at.ip();
    let Some(port) = port_of(service, at.port()) else {
        return fails(no_port, NOBODY);
    };
    let access = Access::External(service.external_traffic_policy);
    let on = |entries: Vec<_>, no_endpoint, reason| {
        translate(state, origin, Translation { service, port, at, access, entries, no_endpoint }, reason)
    };
    // kube-proxy takes the packet on the client's own node.
    if let Some(own) = origin.node {
        // iptables looks for these rules in INPUT and FORWARD only (`iptablesJumpChains`): a node's own packet passes
        // them by. nftables looks in the output hook too (`nftablesJumpChains`).
        let seen = !origin.on_host || state.proxy_mode == ProxyMode::Nftables;
        let no_endpoint = if rejects(state) && seen { REJECTED } else { NO_ENDPOINT_OUTSIDE };
        return on(vec![own], no_endpoint, Reason::LoadBalancerShortCircuit { address, node: own.name.clone() });
    }
    match origin.hop(state, address) {
        Hop::Nowhere => fails(Reason::NoRoute { address }, NO_ROUTE),
        Hop::Via(node) => {
            let reason = Reason::LoadBalancerAnnounced { address, node: Some(node.name.clone()) };
            on(vec![node], NO_ENDPOINT_OUTSIDE, reason)
        }
        Hop::OnLink => {
            let ours = state.load_balancer.as_ref();
            if ours.is_some_and(|provider| !provider.advertised || !provider.holds(address)) {
                return fails(Reason::NotAnnounced { address }, NOBODY);
            }
            let reason = Reason::LoadBalancerAnnounced { address, node: service.announced_by.clone() };
            // If it is not said who announces the address, any node may be the one; under the Local policy, any that
            // has an endpoint.
            let announcer = service.announced_by.as_deref().and_then(|name| state.node(name));
            let entries = announcer.map_or_else(|| state.nodes.iter().collect(), |node| vec![node]);
            on(entries, NO_ENDPOINT_OUTSIDE, reason)
        }
    }
}

fn node_address(state: &State, origin: &Origin<'_>, node: &Node, at: SocketAddr, no_port: Reason) -> Delivery {
    if origin.node.is_none() && origin.hop(state, at.ip()) == Hop::Nowhere {
        return fails(Reason::NoRoute { address: at.ip() }, NO_ROUTE);
    }
    let found = state.services.iter().find_map(|service| {
        let port = service.ports.iter().find(|port| port.protocol == "TCP" && port.node_port == Some(at.port()))?;
        Some((service, port))
    });
    let Some((service, port)) = found else {
        // Its kernel resets what nobody listens for.
        let classes = if matches!(no_port, Reason::NoSuchNodePort { .. }) { REJECTED } else { NOBODY };
        return fails(no_port, classes);
    };
    let reason = Reason::NodePort { node: node.name.clone(), port: at.port() };
    let access = Access::External(service.external_traffic_policy);
    // Whoever sends it, it comes in by the node's INPUT, where both modes reject it.
    let no_endpoint = if rejects(state) { REJECTED } else { NO_ENDPOINT_OUTSIDE };
    translate(state, origin, Translation { service, port, at, access, entries: vec![node], no_endpoint }, reason)
}

fn pod_address(state: &State, origin: &Origin<'_>, pod: &Pod, at: SocketAddr, elsewhere: Reason) -> Delivery {
    let address = at.ip();
    let Some((first, own)) = first_node(state, origin, address) else {
        return fails(Reason::NoRouteToPods { address }, NO_ROUTE);
    };
    let endpoints = || {
        let of_pod = |endpoint: &&Endpoint| endpoint.address == address;
        state.endpoints.iter().filter(of_pod)
    };
    let listens =
        pod.ports.contains(&at.port()) || endpoints().any(|found| found.ports.values().any(|port| *port == at.port()));
    if !listens {
        return fails(elsewhere, NOBODY);
    }
    let node = pod.node.clone();
    let reason = if own {
        let node = node.clone().unwrap_or_default();
        Reason::PodRoute { pod: pod.name.clone(), same_node: node == first.name, node }
    } else {
        Reason::RoutedToPod { pod: pod.name.clone(), node: first.name.clone() }
    };
    let arriving = origin.arriving(state, first, address);
    let seen = source::direct(state, first, &arriving, address, node.as_deref());
    let answering = Answering { pod: pod.name.clone(), node, address, port: at.port(), seen };
    let entries = [first.name.clone()].into();
    let (selection, law) = (Some(Selection::Named), Law::OneConnection);
    Delivery { entries, selection, law, ..answers(reason, at, vec![answering]) }
}

/// These may answer; whoever calls knows how it is chosen.
fn answers(reason: Reason, at: SocketAddr, answering: Vec<Answering>) -> Delivery {
    let mut facts = vec![
        Fact::Connects([at].into()),
        Fact::ServedBy(answering.iter().map(|answering| answering.pod.clone()).collect()),
    ];
    facts.extend(seen_by(&answering));
    Delivery {
        reachable: true,
        reason,
        facts,
        answering,
        entries: BTreeSet::new(),
        selection: None,
        law: Law::NotCovered,
    }
}

/// What each pod sees; a pod of which the model does not say it for every way is left out.
fn seen_by(answering: &[Answering]) -> Option<Fact> {
    let mut by_pod: BTreeMap<&String, Seen> = BTreeMap::new();
    for one in answering {
        let seen = match by_pod.remove(&one.pod) {
            Some(before) => before.or(one.seen.clone()),
            None => one.seen.clone(),
        };
        by_pod.insert(&one.pod, seen);
    }
    let known: BTreeMap<_, _> = by_pod
        .into_iter()
        .filter_map(|(pod, seen)| match seen {
            Seen::As(sources) => Some((pod.clone(), sources)),
            Seen::NotCovered { .. } => None,
        })
        .collect();
    (!known.is_empty()).then_some(Fact::SeenBy(known))
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
        whole.answering.extend(delivery.answering);
        whole.entries.extend(delivery.entries);
        if whole.selection != delivery.selection {
            whole.selection = None;
        }
    }
    // What a pod sees may depend on the address that was taken: it is put together anew.
    whole.facts.retain(|fact| !matches!(fact, Fact::SeenBy(_)));
    whole.facts.extend(seen_by(&whole.answering));
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
            _ => {}
        }
    }
    facts.push(fact);
}

#[cfg(test)]
mod tests;
