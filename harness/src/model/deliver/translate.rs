//! kube-proxy's translation, and the two ends that it can come to.

use std::{collections::BTreeSet, net::SocketAddr};

use reachmap_wire::FailureClass;

use super::{Delivery, NO_ENDPOINT_OUTSIDE};
use crate::{
    model::{Fact, Reason},
    state::{Endpoint, ProxyMode, Service, State},
};

/// The name of the Service's TCP port of that number; names may be empty.
pub(super) fn port_name(service: &Service, number: u16) -> Option<&str> {
    service.ports.iter().find(|port| port.protocol == "TCP" && port.port == number).map(|port| port.name.as_str())
}

/// kube-proxy's choice: any ready endpoint of the address's family, of one node only if the policy says so.
pub(super) fn translate(
    state: &State,
    service: &Service,
    port_name: &str,
    at: SocketAddr,
    only_on: Option<String>,
    reason: Reason,
    no_endpoint: &[FailureClass],
) -> Delivery {
    let ready: Vec<&Endpoint> = state
        .endpoints_of(service)
        .filter(|endpoint| {
            endpoint.ready && endpoint.address.is_ipv4() == at.ip().is_ipv4() && endpoint.ports.contains_key(port_name)
        })
        .collect();
    if ready.is_empty() {
        return fails(Reason::NoReadyEndpoint { service: service.name.clone() }, no_endpoint);
    }
    let served: BTreeSet<String> = ready
        .iter()
        .filter(|endpoint| only_on.is_none() || endpoint.node == only_on)
        .filter_map(|endpoint| served_by(state, endpoint))
        .collect();
    match only_on {
        Some(node) if served.is_empty() => {
            // With endpoints elsewhere, kube-proxy drops what the policy keeps here.
            let classes: &[FailureClass] = match state.proxy_mode {
                ProxyMode::Iptables | ProxyMode::Nftables => &[FailureClass::Timeout],
                ProxyMode::Ipvs | ProxyMode::Unknown => NO_ENDPOINT_OUTSIDE,
            };
            fails(Reason::NoLocalEndpoint { service: service.name.clone(), node }, classes)
        }
        _ if served.is_empty() => fails(Reason::NoReadyEndpoint { service: service.name.clone() }, no_endpoint),
        _ => succeeds(reason, at, served),
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

pub(super) fn succeeds(reason: Reason, at: SocketAddr, served: BTreeSet<String>) -> Delivery {
    Delivery { reachable: true, reason, facts: vec![Fact::Connects([at].into()), Fact::ServedBy(served)] }
}

pub(super) fn fails(reason: Reason, classes: &[FailureClass]) -> Delivery {
    Delivery { reachable: false, reason, facts: vec![Fact::DoesNotConnect(classes.iter().copied().collect())] }
}
