//! A question's way through CoreDNS: server block, then plugins in their built-in order.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Answer, QuestionKind, Source, absolute,
    corefile::{Corefile, Plugin, ServerBlock, split_port},
    is_in_zone, kubernetes, longest_zone,
    parse::hosts_line,
};
use crate::state::State;

/// Plugins that change no answer to a question for an address: they observe, or tune the server.
///
/// `cache` only delays a change, and `loadbalance` only shuffles records.
const TRANSPARENT: &[&str] = &[
    "any",
    "bufsize",
    "cache",
    "cancel",
    "chaos",
    "debug",
    "dnstap",
    "errors",
    "health",
    "log",
    "loadbalance",
    "loop",
    "metadata",
    "minimal",
    "multisocket",
    "nsid",
    "on",
    "pprof",
    "prometheus",
    "ready",
    "reload",
    "root",
    "timeouts",
    "trace",
    "transfer",
];

/// The plugins that can answer, and that this model knows, in the order of
/// <https://github.com/coredns/coredns/blob/master/plugin.cfg>.
const ANSWERING: &[&str] = &["hosts", "kubernetes", "forward"];

/// A chain of aliases longer than this is given up, as in CoreDNS.
pub(super) const MAX_ALIASES: usize = 10;

impl Corefile {
    /// What CoreDNS with this Corefile, in a cluster in this `state`, answers for `name` on port 53.
    ///
    /// ```
    /// use reachmap::{model::dns::{Answer, Corefile, QuestionKind}, state::State};
    /// let swallows: Corefile = ".:53 {\n  hosts {\n    10.0.0.1 my-nginx.external.local\n  }\n  kubernetes cluster.local\n}\n".parse()?;
    /// let state = State::example();
    /// // `hosts` without `fallthrough` lets no other name of its zones pass, and its zone here is the root.
    /// let answer = swallows.answer("nginx-clusterip-service.service-type-test.svc.cluster.local", QuestionKind::A, &state);
    /// assert_eq!(answer, Answer::ServFail);
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    pub fn answer(&self, name: &str, kind: QuestionKind, state: &State) -> Answer {
        self.answer_at(&absolute(name), kind, state, 0)
    }

    /// The same for a name that `depth` aliases led to.
    pub(super) fn answer_at(&self, name: &str, kind: QuestionKind, state: &State, depth: usize) -> Answer {
        if self.imports.is_some() {
            return Answer::NotCovered { plugin: "import".to_owned() };
        }
        let Some(block) = self.block_for(name) else {
            return Answer::Refused;
        };
        if block.plugins.is_empty() {
            return Answer::Refused;
        }
        // A plugin that is not known stands somewhere in the built-in order: before the known ones, or behind
        // them, where it would still be asked for what falls through.
        if let Some(plugin) = block
            .plugins
            .iter()
            .find(|plugin| !TRANSPARENT.contains(&plugin.name.as_str()) && !ANSWERING.contains(&plugin.name.as_str()))
        {
            return Answer::NotCovered { plugin: plugin.name.clone() };
        }
        for name_of_plugin in ANSWERING {
            for plugin in block.plugins.iter().filter(|plugin| plugin.name == *name_of_plugin) {
                let answer = match *name_of_plugin {
                    "hosts" => hosts(block, plugin, name, kind, state),
                    "kubernetes" => kubernetes::answer(self, block, plugin, name, kind, state, depth),
                    _ => forward(plugin, name),
                };
                if let Some(answer) = answer {
                    return answer;
                }
            }
        }
        // The chain ends with nobody left to ask.
        Answer::ServFail
    }
}

/// The zones given as arguments, else those of the block.
pub(super) fn zones(arguments: &[String], block: &ServerBlock) -> Vec<String> {
    if arguments.is_empty() {
        block.zones()
    } else {
        arguments.iter().map(|zone| absolute(split_port(zone).0)).collect()
    }
}

/// Whether `fallthrough` is there, and for this name.
pub(super) fn falls_through(plugin: &Plugin, name: &str) -> bool {
    // Said twice, the last one counts.
    match plugin.body.iter().rev().find(|words| words.first().is_some_and(|word| word == "fallthrough")) {
        None => false,
        Some(words) if words.len() == 1 => true,
        Some(words) => words.iter().skip(1).any(|zone| is_in_zone(name, &absolute(zone))),
    }
}

/// The `hosts` plugin: `None` if the next plugin is asked.
///
/// Without `fallthrough`, every name of its zones that it does not know is SERVFAIL: it has no SOA record to say
/// NXDOMAIN with (<https://github.com/coredns/coredns/blob/master/plugin/hosts/hosts.go>).
fn hosts(block: &ServerBlock, plugin: &Plugin, name: &str, kind: QuestionKind, state: &State) -> Option<Answer> {
    let zones = zones(plugin.arguments.get(1..).unwrap_or_default(), block);
    longest_zone(name, zones.iter().map(String::as_str))?;
    let mut known = false;
    let mut addresses = BTreeSet::new();
    for (address, names) in plugin.body.iter().filter_map(|words| hosts_line(words)) {
        if names.iter().any(|candidate| absolute(candidate) == name) {
            known = true;
            if is_of(address, kind) {
                addresses.insert(address);
            }
        }
        if names.iter().any(|candidate| candidate.starts_with("*.")) {
            return Some(Answer::NotCovered { plugin: "hosts (wildcard)".to_owned() });
        }
    }
    if !addresses.is_empty() {
        return Some(Answer::Addresses { by: Source::Hosts, aliases: Vec::new(), addresses });
    }
    if known {
        return Some(Answer::NoData { aliases: Vec::new() });
    }
    // The plugin also reads a file: the one that is named, else its pod's `/etc/hosts`, which the kubelet writes.
    if !plugin.arguments.is_empty() || is_in_kubelets_hosts(name, state) {
        return Some(Answer::NotCovered { plugin: "hosts (file)".to_owned() });
    }
    if falls_through(plugin, name) { None } else { Some(Answer::ServFail) }
}

/// Whether the kubelet puts the name into the `/etc/hosts` of CoreDNS's pod: loopback and multicast names, and the pod's own.
fn is_in_kubelets_hosts(name: &str, state: &State) -> bool {
    const ALWAYS: [&str; 7] = [
        "localhost",
        "ip6-localhost",
        "ip6-loopback",
        "ip6-localnet",
        "ip6-mcastprefix",
        "ip6-allnodes",
        "ip6-allrouters",
    ];
    let label = name.strip_suffix('.').unwrap_or(name);
    ALWAYS.contains(&label) || state.pods.iter().any(|pod| pod.namespace == "kube-system" && pod.name == label)
}

/// The `forward` plugin: `None` if the name is not in the zone that it forwards.
fn forward(plugin: &Plugin, name: &str) -> Option<Answer> {
    let from = absolute(split_port(plugin.arguments.first()?).0);
    let excepted = plugin
        .body
        .iter()
        .filter(|words| words.first().is_some_and(|word| word == "except"))
        .flat_map(|words| words.iter().skip(1))
        .any(|zone| is_in_zone(name, &absolute(zone)));
    (is_in_zone(name, &from) && !excepted).then_some(Answer::Forwarded { aliases: Vec::new() })
}

/// Whether the address can be the data of such a record.
pub(super) fn is_of(address: IpAddr, kind: QuestionKind) -> bool {
    match kind {
        QuestionKind::A => address.is_ipv4(),
        QuestionKind::Aaaa => address.is_ipv6(),
        _ => false,
    }
}
