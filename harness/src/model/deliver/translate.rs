//! kube-proxy's translation, and the two ends that it can come to.

use std::{collections::BTreeSet, net::SocketAddr};

use reachmap_wire::FailureClass;

use super::{Answering, Delivery, NO_ENDPOINT_OUTSIDE, answers};
use crate::{
    model::{
        Fact, Law, Reason, Selection,
        endpoints::choose,
        route::Origin,
        source::{self, Access},
    },
    state::{Endpoint, Node, ProxyMode, Service, ServicePort, SessionAffinity, State, TrafficPolicy},
};

/// The Service's TCP port of that number.
pub(super) fn port_of(service: &Service, number: u16) -> Option<&ServicePort> {
    service.ports.iter().find(|port| port.protocol == "TCP" && port.port == number)
}

/// What is to be translated, and where.
pub(super) struct Translation<'s> {
    pub(super) service: &'s Service,
    pub(super) port: &'s ServicePort,
    pub(super) at: SocketAddr,
    pub(super) access: Access,
    /// The nodes that may do it: one, or any of several if it is not known which.
    pub(super) entries: Vec<&'s Node>,
    /// How it fails where no node has an endpoint.
    pub(super) no_endpoint: &'static [FailureClass],
}

/// kube-proxy's choice on each node that may translate, and what each endpoint sees of it.
pub(super) fn translate(state: &State, origin: &Origin<'_>, translation: Translation<'_>, reason: Reason) -> Delivery {
    let Translation { service, port, at, access, mut entries, no_endpoint } = translation;
    let all: Vec<&Endpoint> = state
        .endpoints_of(service)
        .filter(|endpoint| endpoint.address.is_ipv4() == at.ip().is_ipv4() && endpoint.ports.contains_key(&port.name))
        .collect();
    let several = entries.len() > 1;
    let mut answering: Vec<Answering> = Vec::new();
    let mut selections: Vec<Selection> = Vec::new();
    let mut any = false;
    let mut kept_here = None;
    entries.retain(|entry| {
        let arriving = origin.arriving(state, entry, at.ip());
        let policy = access.policy(state, &arriving);
        let choice = choose(&all, Some(entry), policy);
        any |= choice.any;
        if policy == TrafficPolicy::Local {
            kept_here = Some(entry.name.clone());
        }
        if choice.endpoints.is_empty() {
            // Of several nodes the load balancer takes none that has nothing to send to.
            return false;
        }
        selections.push(choice.selection);
        for endpoint in choice.endpoints {
            let Some(pod) = served_by(state, endpoint) else { continue };
            let seen = source::translated(state, entry, &arriving, access, endpoint);
            Answering::add(&mut answering, pod, endpoint, endpoint.ports[&port.name], seen);
        }
        true
    });
    selections.dedup();
    match (any, kept_here) {
        _ if !answering.is_empty() => Delivery {
            law: law(state, service),
            selection: if let [one] = selections.as_slice() { Some(*one) } else { None },
            entries: entries.iter().map(|entry| entry.name.clone()).collect(),
            ..answers(reason, at, answering)
        },
        // With endpoints elsewhere, kube-proxy drops what the policy keeps here.
        (true, Some(node)) if !several => {
            let classes: &[FailureClass] = match state.proxy_mode {
                // "has no local endpoints" is a DROP (`iptables/proxier.go`), or the verdict `drop` (`nftables/proxier.go`).
                ProxyMode::Iptables | ProxyMode::Nftables => &[FailureClass::Timeout],
                ProxyMode::Ipvs | ProxyMode::Unknown => NO_ENDPOINT_OUTSIDE,
            };
            fails(Reason::NoLocalEndpoint { service: service.name.clone(), node }, classes)
        }
        _ => fails(Reason::NoReadyEndpoint { service: service.name.clone() }, no_endpoint),
    }
}

fn law(state: &State, service: &Service) -> Law {
    match (service.session_affinity, state.proxy_mode) {
        (_, ProxyMode::Unknown) => Law::NotCovered,
        (SessionAffinity::ClientIp { timeout_seconds }, _) => Law::Affinity { timeout_seconds },
        (SessionAffinity::None, ProxyMode::Iptables | ProxyMode::Nftables) => Law::Random,
        (SessionAffinity::None, ProxyMode::Ipvs) => Law::RoundRobin,
    }
}

/// The host name with which the endpoint answers: its pod's, or its node's if it uses the node's network.
fn served_by(state: &State, endpoint: &Endpoint) -> Option<String> {
    let pod = endpoint.pod.as_ref()?;
    match state.pod(&endpoint.namespace, pod) {
        Some(found) if found.host_network => found.node.clone(),
        _ => Some(pod.clone()),
    }
}

pub(super) fn fails(reason: Reason, classes: &[FailureClass]) -> Delivery {
    Delivery {
        reachable: false,
        reason,
        facts: vec![Fact::DoesNotConnect(classes.iter().copied().collect())],
        answering: Vec::new(),
        entries: BTreeSet::new(),
        selection: None,
        law: Law::Nobody,
    }
}
