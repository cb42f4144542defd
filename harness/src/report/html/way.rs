//! The way of a request through the nodes, as far as the record tells it.
//!
//! What the probe saw (addresses, the pod that answered, whom that pod saw) and what the model's reason says of it (which node
//! announces or translates an address) are told apart in the drawing. Where a pod stands is read from the recorded state.
//! What none of them tells is not drawn.

mod draw;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use reachmap_wire::{Observation, Resolve, Respond, RouteOutcome};

pub(super) use self::draw::{draw, style};
use crate::{
    model::{Fact, Reason, SourceReason, VantageKind},
    report::words,
    state::State,
    verdict::{Judgement, Verdict},
};

/// Where a part of the way is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A node, by its name in the cluster.
    Node(String),
    /// A machine that is no member of the cluster.
    Outside,
    /// The record does not tell.
    NotTold,
}

/// Who tells of a part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The probe saw it.
    Seen,
    /// The model's reason says so.
    Reasoned,
    /// Here the way ends.
    Ends,
    /// It had to be, and was not.
    Owed,
}

/// One part of the way: at most two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stop {
    place: Place,
    told: Told,
    lines: Vec<String>,
}

/// All parts of the way, from the client on; none if nothing was sent or asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::report) struct Way {
    stops: Vec<Stop>,
    /// What people call each node, by its name in the cluster.
    names: Vec<(String, String)>,
}

impl Way {
    /// The way that `verdict` tells of, in a cluster of that state, if the state was recorded.
    pub(in crate::report) fn of(verdict: &Verdict, state: Option<&State>) -> Self {
        let named = |state: &State| {
            state.named_nodes().into_iter().map(|(id, node)| (node.name.clone(), id)).collect::<Vec<_>>()
        };
        let mut way = Self { stops: Vec::new(), names: state.map(named).unwrap_or_default() };
        let Some(seen) = &verdict.observation else { return way };
        let client = client(verdict, state);
        way.stop(&client, Told::Seen, [verdict.vantage.id.clone(), who(verdict, seen)]);
        let answered = way.resolve(&client, seen, state) && way.connect(&client, verdict, seen);
        if answered && let Some(respond) = &seen.respond {
            way.translated(verdict, Told::Reasoned);
            way.respond(respond, state);
        }
        way.owed(verdict, seen);
        way
    }

    /// Whether there is anything to draw.
    pub(super) const fn is_empty(&self) -> bool {
        self.stops.is_empty()
    }

    /// From how many places to the next it leads.
    pub(in crate::report) fn places(&self) -> usize {
        self.stops.chunk_by(|one, next| one.place == next.place).count()
    }

    fn stop(&mut self, place: &Place, told: Told, lines: impl IntoIterator<Item = String>) {
        let lines = lines.into_iter().filter(|line| !line.is_empty()).collect();
        self.stops.push(Stop { place: place.clone(), told, lines });
    }

    /// The questions and what came of them; false if the way ends here.
    fn resolve(&mut self, client: &Place, seen: &Observation, state: Option<&State>) -> bool {
        let Some(resolve) = &seen.resolve else { return true };
        let asked = match servers(resolve).as_slice() {
            [] => "asks nobody".to_owned(),
            [server] if state.is_some_and(|state| state.dns_addresses().contains(server)) => {
                format!("asks the cluster's DNS {server}: {}", words::count(resolve.questions.len(), "question"))
            }
            servers => {
                let all: Vec<String> = servers.iter().map(ToString::to_string).collect();
                format!("asks {}: {}", all.join(", "), words::count(resolve.questions.len(), "question"))
            }
        };
        let addresses: Vec<String> = resolve.addresses.iter().map(ToString::to_string).collect();
        if let Some(failure) = resolve.failure {
            self.stop(client, Told::Seen, [asked]);
            self.stop(client, Told::Ends, [format!("{}: nothing is sent", words::dns(failure))]);
            return false;
        }
        self.stop(client, Told::Seen, [asked, format!("and learns {}", addresses.join(", "))]);
        true
    }

    /// The connection; false if the way ends here.
    fn connect(&mut self, client: &Place, verdict: &Verdict, seen: &Observation) -> bool {
        let Some(connect) = &seen.connect else {
            if let Some((route, RouteOutcome::Failed(failure))) =
                seen.route.as_ref().map(|route| (route, &route.outcome))
            {
                let why = format!("to {}: {}", route.destination, words::network(failure.class));
                self.stop(client, Told::Ends, [why]);
            }
            return false;
        };
        self.stop(client, Told::Seen, [format!("connects to {}", connect.destination)]);
        let Some(failure) = &connect.failure else { return true };
        let why = format!("{} after {}", words::network(failure.class), words::time(connect.elapsed_us));
        match verdict.expectation.as_ref().map(|expectation| &expectation.reason) {
            Some(Reason::NoLocalEndpoint { node, .. }) if verdict.is_as_expected() => {
                let place = Place::Node(node.clone());
                self.stop(&place, Told::Reasoned, ["has no ready endpoint of its own".to_owned()]);
                self.stop(&place, Told::Ends, [why]);
            }
            _ => self.stop(&Place::NotTold, Told::Ends, [why]),
        }
        false
    }

    /// The node that passes the packet on, and as what, by the model.
    fn translated(&mut self, verdict: &Verdict, told: Told) {
        let Some(expectation) = &verdict.expectation else { return };
        let at = |node: &str, says: String| Some((Place::Node(node.to_owned()), says));
        let by_reason = match &expectation.reason {
            Reason::ClusterIp { cluster_ip, node } | Reason::ClusterIpByName { cluster_ip, node, .. } => {
                at(node, format!("translates cluster IP {cluster_ip}"))
            }
            Reason::NodePort { node, port } => at(node, format!("translates node port {port}")),
            Reason::LoadBalancerShortCircuit { address, node } => at(node, format!("translates {address} right here")),
            Reason::LoadBalancerAnnounced { address, node: Some(node) } => {
                at(node, format!("announces and translates {address}"))
            }
            Reason::RoutedToService { cluster_ip, node } => at(node, format!("translates cluster IP {cluster_ip}")),
            Reason::RoutedToPod { node, .. } => at(node, "passes the packet on".to_owned()),
            _ => None,
        };
        // An alias or a name of CoreDNS's own says nothing of nodes; the reason for the source address does.
        let by_source = || match source_reason(verdict)? {
            SourceReason::MasqueradedByProxy { node, .. }
            | SourceReason::Hairpin { node, .. }
            | SourceReason::KeptByLocalPolicy { node } => at(node, "translates the address".to_owned()),
            _ => None,
        };
        if let Some((place, says)) = by_reason.or_else(by_source) {
            self.stop(&place, told, [says]);
        }
    }

    fn respond(&mut self, respond: &Respond, state: Option<&State>) {
        let by = respond.served_by.as_deref();
        let place = by.zip(state).and_then(|(pod, state)| node_of(state, pod)).map_or(Place::NotTold, Place::Node);
        let saw = respond.client_address.map_or_else(String::new, |address| format!("sees the client as {address}"));
        let pod = by.map_or_else(|| "a server that does not name itself".to_owned(), words::plain);
        if let Some(status) = respond.status {
            let pod = if status == 200 { pod } else { format!("{pod}: status {status}") };
            self.stop(&place, Told::Seen, [pod, saw]);
        }
        if let Some(failure) = &respond.failure {
            self.stop(&place, Told::Ends, [format!("{} before the answer was whole", words::network(failure.class))]);
        }
    }

    /// What had to follow, or to be otherwise, where the cell is not as expected.
    fn owed(&mut self, verdict: &Verdict, seen: &Observation) {
        let (Judgement::NotAsExpected { .. }, Some(expectation)) = (&verdict.outcome, &verdict.expectation) else {
            return;
        };
        if !expectation.reachable {
            self.stop(&Place::NotTold, Told::Owed, ["no answer had to come".to_owned()]);
            return;
        }
        if seen.respond.is_none() {
            self.translated(verdict, Told::Owed);
        }
        let by = seen.respond.as_ref().and_then(|respond| respond.served_by.as_ref());
        for fact in &expectation.facts {
            match fact {
                Fact::ServedBy(pods) if by.is_none_or(|pod| !pods.contains(pod)) => {
                    let one = match pods.first() {
                        Some(pod) if pods.len() == 1 => words::visible(pod),
                        _ => format!("one of {}", words::count(pods.len(), "ready pod")),
                    };
                    self.stop(&Place::NotTold, Told::Owed, [format!("{one} had to answer")]);
                }
                Fact::SeenBy(by_pod) => {
                    let may = by.and_then(|pod| by_pod.get(pod));
                    let saw = seen.respond.as_ref().and_then(|respond| respond.client_address);
                    let Some(may) = may.filter(|may| may.iter().all(|source| Some(source.address) != saw)) else {
                        continue;
                    };
                    let may: Vec<String> = may.iter().map(|source| source.address.to_string()).collect();
                    self.stop(&Place::NotTold, Told::Owed, [format!("it had to see {}", may.join(" or "))]);
                }
                _ => {}
            }
        }
    }
}

/// Where the client is.
fn client(verdict: &Verdict, state: Option<&State>) -> Place {
    match &verdict.vantage.kind {
        VantageKind::Laptop => Place::Outside,
        VantageKind::Node { node, .. } if node.is_empty() => Place::NotTold,
        VantageKind::Node { node, .. } => Place::Node(node.clone()),
        VantageKind::Pod { namespace, pod } => state
            .and_then(|state| state.pod(namespace, pod))
            .and_then(|pod| pod.node.clone())
            .map_or(Place::NotTold, Place::Node),
    }
}

/// What the client is, and its own address if the probe learned it.
fn who(verdict: &Verdict, seen: &Observation) -> String {
    let by_route = seen.route.as_ref().and_then(|route| match route.outcome {
        RouteOutcome::Source(address) => Some(address),
        RouteOutcome::Failed(_) => None,
    });
    let address = seen.connect.as_ref().and_then(|connect| connect.local.map(|local| local.ip())).or(by_route);
    let kind = match &verdict.vantage.kind {
        VantageKind::Pod { namespace, .. } => format!("a pod in {namespace}"),
        VantageKind::Node { .. } => "the node itself".to_owned(),
        VantageKind::Laptop => "no member, on the nodes’ network".to_owned(),
    };
    address.map_or_else(|| kind.clone(), |address| format!("{address}, {kind}"))
}

/// The servers that were asked, each once, in order.
fn servers(resolve: &Resolve) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = Vec::new();
    for question in &resolve.questions {
        if !servers.contains(&question.server.ip()) {
            servers.push(question.server.ip());
        }
    }
    servers
}

/// The node of the pod of that name, if only one node has such a pod.
fn node_of(state: &State, pod: &str) -> Option<String> {
    let mut nodes = state.pods.iter().filter(|known| known.name == pod).map(|known| known.node.as_ref());
    let first = nodes.next()??;
    nodes.all(|other| other == Some(first)).then(|| first.clone())
}

/// The model's reason for the source address that the pod that answered did see.
fn source_reason(verdict: &Verdict) -> Option<&SourceReason> {
    let respond = verdict.observation.as_ref()?.respond.as_ref()?;
    let (pod, address) = (respond.served_by.as_ref()?, respond.client_address?);
    let sources = verdict.expectation.as_ref()?.facts.iter().find_map(|fact| match fact {
        Fact::SeenBy(by_pod) => by_pod.get(pod),
        _ => None,
    })?;
    sources.iter().find(|source| source.address == address).map(|source| &source.reason)
}
