//! Which of the facts in a bundle bear on a cell: the lines that a person would look for first.
//!
//! It is a reading aid and no verdict: what is shown was found on the packet's way, by its addresses and by the nodes
//! that it passes; nothing is concluded from it.

mod cluster;
mod kernel;

use std::{collections::BTreeMap, net::IpAddr};

use reachmap_wire::Step;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    model::{Fact, VantageKind},
    state::{Service, State},
    verdict::{Judgement, Verdict},
};

/// The most lines of one kind that are shown.
const MOST: usize = 8;

/// Lines of a file in a bundle that bear on a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Bearing {
    /// What they are, in a sentence.
    pub what: String,
    /// The file in the bundle.
    pub path: String,
    /// The lines; none if it is the point that there are none.
    pub lines: Vec<String>,
}

/// What is looked for.
struct Trail<'a> {
    files: &'a BTreeMap<String, String>,
    root: String,
    state: &'a State,
    verdict: &'a Verdict,
    step: Option<Step>,
    addresses: Vec<IpAddr>,
    nodes: Vec<String>,
    services: Vec<&'a Service>,
}

/// The facts in `files` that bear on a cell, in the order in which a packet would meet them.
pub(super) fn bearing(files: &BTreeMap<String, String>, state: &State, verdict: &Verdict) -> Vec<Bearing> {
    let trail = Trail::of(files, state, verdict);
    if !files.keys().any(|path| path.starts_with(&trail.root)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if trail.step == Some(Step::Resolve) {
        found.extend(cluster::dns(&trail));
    }
    found.extend(kernel::bearing(&trail));
    found.extend(cluster::bearing(&trail));
    found
}

impl<'a> Trail<'a> {
    fn of(files: &'a BTreeMap<String, String>, state: &'a State, verdict: &'a Verdict) -> Self {
        let step = match &verdict.outcome {
            Judgement::NotAsExpected { step, .. } => Some(*step),
            _ => None,
        };
        let addresses = addresses(verdict, step);
        let port = verdict.expectation.as_ref().map(|expectation| expectation.target.port);
        let is_meant = |service: &&Service| {
            let own = service.cluster_ips.iter().chain(&service.load_balancer_addresses);
            own.clone().any(|address| addresses.contains(address))
                || service.ports.iter().any(|one| one.node_port.is_some() && one.node_port == port)
        };
        let services: Vec<&Service> = state.services.iter().filter(is_meant).collect();
        let nodes = nodes(state, verdict, &addresses, &services);
        let root = format!("facts/{}.{}/", verdict.suite, verdict.stage);
        Self { files, root, state, verdict, step, addresses, nodes, services }
    }

    /// A file of this suite and stage.
    fn file(&self, path: &str) -> Option<(String, &'a str)> {
        let path = format!("{}{path}", self.root);
        self.files.get(&path).map(|text| (path, text.as_str()))
    }

    /// The files whose paths begin like this, each with what follows.
    fn files_below(&self, path: &str) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let start = format!("{}{path}", self.root);
        self.files
            .iter()
            .filter_map(move |(path, text)| Some((path.as_str(), path.strip_prefix(&start)?, text.as_str())))
    }
}

/// The addresses that the request was sent to, or had to be; where a name did not resolve, those that were asked.
fn addresses(verdict: &Verdict, step: Option<Step>) -> Vec<IpAddr> {
    let mut all = Vec::new();
    let mut add = |address: IpAddr| {
        if !all.contains(&address) {
            all.push(address);
        }
    };
    if let Some(observation) = &verdict.observation {
        if step == Some(Step::Resolve) {
            let questions = observation.resolve.iter().flat_map(|resolve| &resolve.questions);
            questions.for_each(|question| add(question.server.ip()));
        }
        observation.connect.iter().for_each(|connect| add(connect.destination.ip()));
        observation.route.iter().for_each(|route| add(route.destination));
    }
    if let Some(expectation) = &verdict.expectation {
        expectation.target.host.parse().into_iter().for_each(&mut add);
        for fact in &expectation.facts {
            if let Fact::Connects(destinations) = fact {
                for destination in destinations {
                    add(destination.ip());
                }
            }
        }
    }
    all
}

/// The nodes that the packet passes: the client's, those that translate, and the one that is named or announces.
fn nodes(state: &State, verdict: &Verdict, addresses: &[IpAddr], services: &[&Service]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |node: Option<String>| {
        if let Some(node) = node.filter(|node| state.node(node).is_some() && !all.contains(node)) {
            all.push(node);
        }
    };
    match &verdict.vantage.kind {
        VantageKind::Pod { namespace, pod } => add(state.pod(namespace, pod).and_then(|pod| pod.node.clone())),
        VantageKind::Node { node, .. } => add(Some(node.clone())),
        VantageKind::Laptop => {}
    }
    let reason = verdict.expectation.as_ref().and_then(|expectation| serde_json::to_value(&expectation.reason).ok());
    // Every reason that speaks of a node calls it so.
    let fields = reason.as_ref().and_then(serde_json::Value::as_object).into_iter().flat_map(|reason| reason.values());
    fields.for_each(|fields| add(fields["node"].as_str().map(str::to_owned)));
    for address in addresses {
        add(state.node_at(*address).map(|node| node.name.clone()));
        if services.iter().any(|service| service.load_balancer_addresses.contains(address)) {
            for service in services {
                add(service.announced_by.clone());
            }
        }
    }
    all
}
