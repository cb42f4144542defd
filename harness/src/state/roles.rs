//! Addresses and names as parts in the play: what stays the same from cluster to cluster.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use reachmap_wire::{
    Connect, DnsFailure, Failure, FailureClass, Observation, Question, RecordData, Resolve, Respond, Route,
    RouteOutcome,
};
use serde_json::{Map, Value, json};

use super::{Pod, State};
use crate::model::dns::{ResolvConf, absolute, is_in_zone};

/// Who has which address, in words that do not change when addresses do: `pod:nginx-1`, `node:worker-2`,
/// `service:nginx-clusterip-service`, `load-balancer:nginx-loadbalancer`, `dns`, `laptop`, `vantage:testpod`.
///
/// ```
/// use reachmap::state::{Roles, State};
/// let roles = Roles::of(&State::example());
/// assert_eq!(roles.of_address("172.18.0.4".parse().unwrap()), Some("node:worker-2"));
/// assert_eq!(roles.of_address("10.96.10.1".parse().unwrap()), Some("service:nginx-clusterip-service"));
/// assert_eq!(roles.of_name("nginx-single-6d8f9-x2x2x"), Some("pod:nginx-single"));
/// assert_eq!(roles.redact_text("from 10.244.2.5 to 172.18.0.4:30080"), "from vantage:testpod to node:worker-2:node-port");
/// ```
#[derive(Debug, Clone)]
pub struct Roles {
    addresses: BTreeMap<IpAddr, String>,
    names: BTreeMap<String, String>,
    node_ports: Vec<u16>,
    cluster_domain: String,
}

/// The word for an address that nobody in the state has.
const OTHER: &str = "other";

impl Roles {
    /// The roles of everything in a state.
    pub fn of(state: &State) -> Self {
        let mut roles = Self {
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
            node_ports: state
                .services
                .iter()
                .flat_map(|service| &service.ports)
                .filter_map(|port| port.node_port)
                .collect(),
            cluster_domain: absolute(&state.cluster_domain),
        };
        // What is entered first stays: the more telling roles come first.
        for address in state.dns_addresses() {
            roles.add(address, "dns");
        }
        for (role, pod) in pods(state) {
            for address in &pod.addresses {
                if !pod.host_network {
                    roles.add(*address, &role);
                }
            }
            roles.names.entry(pod.name.clone()).or_insert(role);
        }
        for service in &state.services {
            for address in &service.cluster_ips {
                roles.add(*address, &format!("service:{}", service.name));
            }
            for address in &service.load_balancer_addresses {
                roles.add(*address, &format!("load-balancer:{}", service.name));
            }
        }
        for (id, node) in state.named_nodes() {
            let role = format!("node:{id}");
            let gateways = node.pod_networks.iter().flat_map(gateways);
            for address in node.addresses.iter().copied().chain(gateways) {
                roles.add(address, &role);
            }
            roles.names.insert(node.name.clone(), role);
        }
        if let Some(laptop) = state.places.get("laptop") {
            for address in &laptop.addresses {
                roles.add(*address, "laptop");
            }
        }
        for place in state.places.values() {
            for server in ResolvConf::parse(&place.resolv_conf).nameservers {
                roles.add(server, "resolver");
            }
        }
        if let Some(first) = state.planned_pool.as_deref().and_then(super::lookup::first_of_range) {
            roles.add(first, "pool:first");
        }
        roles
    }

    fn add(&mut self, address: IpAddr, role: &str) {
        self.addresses.entry(address).or_insert_with(|| role.to_owned());
    }

    /// The role of whoever has the address.
    pub fn of_address(&self, address: IpAddr) -> Option<&str> {
        self.addresses.get(&address).map(String::as_str)
    }

    /// The role of the pod or node of that name.
    pub fn of_name(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// The text with every address, pod name and node name replaced by its role, and node ports by `node-port`.
    pub fn redact_text(&self, text: &str) -> String {
        let mut redacted = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let is_word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | ':');
            let start = rest.find(is_word).unwrap_or(rest.len());
            let (between, word_on) = rest.split_at(start);
            redacted.push_str(between);
            let end = word_on.find(|character| !is_word(character)).unwrap_or(word_on.len());
            let (word, after) = word_on.split_at(end);
            let bare = word.trim_end_matches(['.', ':', '-']);
            redacted.push_str(&self.word(bare));
            redacted.push_str(word.get(bare.len()..).unwrap_or_default());
            rest = after;
        }
        redacted
    }

    fn word(&self, word: &str) -> String {
        if let Ok(address) = word.parse::<IpAddr>() {
            return self.of_address(address).unwrap_or(word).to_owned();
        }
        if let Ok(at) = word.parse::<SocketAddr>() {
            return self
                .of_address(at.ip())
                .map_or_else(|| word.to_owned(), |role| format!("{role}:{}", self.port(at.port())));
        }
        self.of_name(word).unwrap_or(word).to_owned()
    }

    fn port(&self, port: u16) -> String {
        if self.node_ports.contains(&port) { "node-port".to_owned() } else { port.to_string() }
    }

    /// A role in which it does not show which of a workload's pods was chosen: `pod:nginx-*`.
    fn chosen(&self, address: IpAddr) -> String {
        any_of_its_kind(self.of_address(address).unwrap_or(OTHER))
    }

    /// An observation in roles, step by step, for snapshots that are the same on every cluster and in every run.
    ///
    /// Left out are times, the client's ports, identifiers, TTLs and bodies. Sets are sorted. Which of several
    /// equal pods answered is chance, and becomes `pod:nginx-*`; what a resolver outside the cluster says of a
    /// name, and in which way a packet without a route is lost, depends on the world outside, and becomes
    /// `unknown_outside` and `unreachable`.
    pub fn redact(&self, observation: &Observation) -> Value {
        let Observation { resolve, route, connect, respond, elapsed_us: _ } = observation;
        let steps = [
            resolve.as_ref().map(|resolve| json!({ "resolve": self.resolve(resolve) })),
            route.as_ref().map(|route| json!({ "route": self.route(route) })),
            connect.as_ref().map(|connect| json!({ "connect": self.connect(connect) })),
            respond.as_ref().map(|respond| json!({ "respond": self.respond(respond, connect.as_ref()) })),
        ];
        // A list, because the steps have an order and JSON's objects have none.
        Value::Array(steps.into_iter().flatten().collect())
    }

    fn resolve(&self, resolve: &Resolve) -> Value {
        let outside = resolve.questions.iter().any(|question| self.is_outside(question));
        let mut questions: Vec<Value> = resolve.questions.iter().map(|question| self.question(question)).collect();
        // A question is repeated when an answer is late.
        questions.dedup();
        let mut addresses: Vec<String> = resolve.addresses.iter().map(|address| self.chosen(*address)).collect();
        addresses.sort();
        let mut value = json!({ "name": self.redact_text(&resolve.name), "questions": questions });
        if let Some(answered) = &resolve.answered {
            value["answered"] = json!(answered);
        }
        match resolve.failure {
            Some(_) if outside => value["failure"] = json!("unknown_outside"),
            Some(failure) => value["failure"] = json!(failure),
            None => value["addresses"] = json!(addresses),
        }
        value
    }

    /// Whether the answer is up to a server outside the cluster.
    fn is_outside(&self, question: &Question) -> bool {
        let asks_the_cluster = self.of_address(question.server.ip()) == Some("dns");
        let is_ours = is_in_zone(&absolute(&question.name), &self.cluster_domain);
        question.failure.is_some() && !(asks_the_cluster && is_ours)
    }

    fn question(&self, question: &Question) -> Value {
        let server = self.of_address(question.server.ip()).unwrap_or(OTHER);
        let answer = match &question.failure {
            Some(_) if self.is_outside(question) => "unknown_outside".to_owned(),
            _ => question.rcode.clone().unwrap_or_else(|| dns_failure(question.failure)),
        };
        let (mut addresses, mut others) = (Vec::new(), Vec::new());
        for record in &question.answers {
            match &record.data {
                RecordData::Address(address) => addresses.push(self.chosen(*address)),
                data => others.push(data.to_string()),
            }
        }
        addresses.sort();
        // Aliases come in the order of the chain; addresses are shuffled by the server.
        others.extend(addresses);
        let mut value =
            json!({ "ask": format!("{} {}", question.name, question.kind), "server": server, "answer": answer });
        if !others.is_empty() {
            value["records"] = json!(others);
        }
        value
    }

    fn route(&self, route: &Route) -> Value {
        let destination = self.chosen(route.destination);
        match &route.outcome {
            RouteOutcome::Source(source) => {
                json!({ "destination": destination, "source": self.of_address(*source).unwrap_or(OTHER) })
            }
            RouteOutcome::Failed(failure) => {
                json!({ "destination": destination, "failure": failure_word(failure) })
            }
        }
    }

    fn connect(&self, connect: &Connect) -> Value {
        let destination =
            format!("{}:{}", self.chosen(connect.destination.ip()), self.port(connect.destination.port()));
        match (&connect.failure, connect.local) {
            (Some(failure), _) => {
                json!({ "destination": destination, "failure": failure_word(failure) })
            }
            (None, Some(local)) => {
                json!({ "destination": destination, "source": self.of_address(local.ip()).unwrap_or(OTHER) })
            }
            (None, None) => json!({ "destination": destination }),
        }
    }

    fn respond(&self, respond: &Respond, connect: Option<&Connect>) -> Value {
        let mut value = Map::new();
        if let Some(status) = respond.status {
            value.insert("status".to_owned(), json!(status));
        }
        if let Some(pod) = &respond.served_by {
            value.insert("served_by".to_owned(), json!(any_of_its_kind(self.of_name(pod).unwrap_or(OTHER))));
        }
        if let Some(address) = respond.client_address {
            let balanced = connect.and_then(|connect| self.of_address(connect.destination.ip()));
            let seen = match self.chosen(address) {
                // Which node announces the address, or runs the client, is chance.
                node if node.starts_with("node:") && balanced.is_some_and(|to| to.starts_with("load-balancer:")) => {
                    "node:translating".to_owned()
                }
                seen => seen,
            };
            value.insert("client_address".to_owned(), json!(seen));
        }
        if let Some(failure) = &respond.failure {
            value.insert("failure".to_owned(), json!(failure_word(failure)));
        }
        Value::Object(value)
    }
}

fn dns_failure(failure: Option<DnsFailure>) -> String {
    failure
        .and_then(|failure| serde_json::to_value(failure).ok())
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

/// The failure, as far as it does not depend on the world outside the cluster.
fn failure_word(failure: &Failure) -> Value {
    match failure.class {
        FailureClass::NetworkUnreachable
        | FailureClass::HostUnreachable
        | FailureClass::Timeout
        | FailureClass::Forbidden => {
            json!("unreachable")
        }
        class => json!(class),
    }
}

/// `pod:nginx-2` as `pod:nginx-*`.
fn any_of_its_kind(role: &str) -> String {
    match role.rsplit_once('-') {
        Some((base, number)) if role.starts_with("pod:") && number.parse::<u32>().is_ok() => {
            format!("{base}-*")
        }
        _ => role.to_owned(),
    }
}

/// Every pod's role: `vantage:…` for the test pods, else `pod:` and its `app` label or workload, numbered in the order
/// of nodes and names if it has fellows.
fn pods(state: &State) -> Vec<(String, &Pod)> {
    let mut groups: BTreeMap<(String, String), Vec<&Pod>> = BTreeMap::new();
    let mut named = Vec::new();
    for pod in &state.pods {
        match (pod.name.as_str(), pod.namespace.strip_suffix("-other")) {
            ("testpod", None) => named.push(("vantage:testpod".to_owned(), pod)),
            ("testpod", Some(_)) => named.push(("vantage:testpod-other".to_owned(), pod)),
            _ => {
                let base = pod.app.clone().unwrap_or_else(|| pod.workload.clone());
                groups.entry((pod.namespace.clone(), base)).or_default().push(pod);
            }
        }
    }
    for ((_, base), mut pods) in groups {
        pods.sort_by_key(|pod| (super::lookup::natural(pod.node.as_deref().unwrap_or_default()), pod.name.clone()));
        let alone = pods.len() == 1;
        for (number, pod) in (1_usize..).zip(pods) {
            named.push((if alone { format!("pod:{base}") } else { format!("pod:{base}-{number}") }, pod));
        }
    }
    named
}

/// The addresses that a node itself has in its pod network: the tunnel's, which is the network's own, and the bridge's.
fn gateways(network: &IpNet) -> Vec<IpAddr> {
    let bridge = network.hosts().next();
    [Some(network.network()), bridge].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::verdicts;

    fn redacted(cell: &str, change: impl FnOnce(&mut Observation)) -> Value {
        let verdict = verdicts().into_iter().find(|verdict| verdict.cell() == cell).unwrap();
        let mut observation = verdict.observation.unwrap();
        change(&mut observation);
        Roles::of(&State::example()).redact(&observation)
    }

    #[test]
    fn an_observation_in_roles_reads_as_documentation() {
        insta::assert_json_snapshot!(redacted("load-balancer-pending/testpod/externalname-short", |_| {}), @r#"
    [
      {
        "resolve": {
          "addresses": [
            "service:nginx-clusterip-service"
          ],
          "answered": "nginx-external-service.service-type-test.svc.cluster.local.",
          "name": "nginx-external-service",
          "questions": [
            {
              "answer": "NOERROR",
              "ask": "nginx-external-service.service-type-test.svc.cluster.local. A",
              "records": [
                "CNAME my-nginx.external.local.",
                "service:nginx-clusterip-service"
              ],
              "server": "dns"
            }
          ]
        }
      },
      {
        "route": {
          "destination": "service:nginx-clusterip-service",
          "source": "other"
        }
      },
      {
        "connect": {
          "destination": "service:nginx-clusterip-service:80",
          "source": "other"
        }
      },
      {
        "respond": {
          "client_address": "vantage:testpod",
          "served_by": "pod:nginx-*",
          "status": 200
        }
      }
    ]
    "#);
    }

    #[test]
    fn chance_and_time_leave_no_trace() {
        let cell = "load-balancer-pending/testpod/headless-fqdn";
        let one = redacted(cell, |_| {});
        let other = redacted(cell, |observation| {
            observation.elapsed_us = 99;
            let resolve = observation.resolve.as_mut().unwrap();
            resolve.addresses.reverse();
            resolve.questions.last_mut().unwrap().answers.reverse();
            let repeated = resolve.questions[0].clone();
            resolve.questions.insert(0, repeated);
            let connect = observation.connect.as_mut().unwrap();
            connect.destination = "10.244.3.4:80".parse().unwrap();
            connect.local = Some("10.9.9.9:55555".parse().unwrap());
            observation.route.as_mut().unwrap().destination = "10.244.3.4".parse().unwrap();
            observation.respond.as_mut().unwrap().served_by = Some("nginx-multiple-nodes-7c5ddbdf54-zlwqv".to_owned());
        });
        assert_eq!(one, other);
    }

    #[test]
    fn every_part_of_the_example_has_a_role() {
        let state = State::example();
        let roles = Roles::of(&state);
        let address = |text: &str| roles.of_address(text.parse().unwrap()).unwrap_or(OTHER).to_owned();
        assert_eq!(address("10.244.2.4"), "pod:nginx-2");
        assert_eq!(address("10.244.2.0"), "node:worker-2", "the tunnel's end");
        assert_eq!(address("10.244.2.1"), "node:worker-2", "the bridge");
        assert_eq!(address("10.96.0.10"), "dns");
        assert_eq!(address("172.18.255.200"), "load-balancer:nginx-loadbalancer");
        assert_eq!(address("172.18.0.6"), "laptop");
        assert_eq!(address("172.18.0.1"), "resolver");
        assert_eq!(roles.of_name("reachmap-control-plane"), Some("node:control-plane"));
    }

    #[test]
    fn what_the_world_outside_says_is_not_in_a_snapshot() {
        let cell = "load-balancer-pending/laptop/clusterip-fqdn";
        let outside = |rcode: &str, failure: DnsFailure| {
            redacted(cell, |observation| {
                let resolve = observation.resolve.as_mut().unwrap();
                resolve.failure = Some(failure);
                for question in &mut resolve.questions {
                    question.server = "172.18.0.1:53".parse().unwrap();
                    question.rcode = Some(rcode.to_owned());
                    question.failure = Some(failure);
                }
            })
        };
        let nxdomain = outside("NXDOMAIN", DnsFailure::NxDomain);
        assert_eq!(nxdomain[0]["resolve"]["failure"], "unknown_outside");
        assert_eq!(nxdomain, outside("SERVFAIL", DnsFailure::ServFail));
    }

    proptest! {
        #[test]
        fn text_without_addresses_and_names_stays(text in "[a-z :.\\[\\]é-]{0,40}") {
            let roles = Roles::of(&State::example());
            prop_assume!(!text.contains("::"));
            prop_assert_eq!(roles.redact_text(&text), text);
        }
    }
}
