//! The `kubernetes` plugin of CoreDNS over a [`State`](crate::state::State): <https://coredns.io/plugins/kubernetes/>,
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>, and for each record type
//! <https://github.com/coredns/coredns/blob/v1.14.7/plugin/backend_lookup.go>.

mod find;
mod reverse;

use std::net::IpAddr;

use reachmap_wire::{QuestionKind, Record, RecordData};

use self::find::{Backend, Entry, NoSuchName};
use super::{
    Answer, Question, Rcode, Response, Source, absolute,
    chain::{Evaluation, MAX_ALIASES, answered, falls_through, option, zones},
    corefile::{Plugin, ServerBlock},
    is_in_zone, is_of, longest_zone,
};

/// Options that change what is answered in ways that the model does not know.
const NOT_COVERED: &[&str] =
    &["endpoint", "kubeconfig", "labels", "multicluster", "namespace_labels", "noendpoints", "tls", "zonal"];
/// How long a record may be kept, in seconds, if the plugin does not say.
const TTL: u32 = 5;
/// The same for the version of the specification.
const VERSION_TTL: u32 = 28_800;
/// The record types AXFR and IXFR (RFC 1035 section 3.2.3, RFC 1995).
const TRANSFERS: [QuestionKind; 2] = [QuestionKind::Other(252), QuestionKind::Other(251)];

/// What the plugin makes of a question.
enum Outcome {
    /// These records; none is NODATA.
    Records(Vec<Record>),
    /// The aliases so far, and the question that leaves the cluster.
    Outside(Vec<Record>, Question),
    NoSuchName,
    Refused,
    NotCovered(String),
}

/// The plugin's answer; `None` if the next plugin is asked.
pub(super) fn answer(
    evaluation: &mut Evaluation<'_>,
    block: &ServerBlock,
    plugin: &Plugin,
    question: &Question,
    depth: usize,
) -> Option<Answer> {
    let zones = zones(&plugin.arguments, block);
    let Some(zone) = longest_zone(&question.name, zones.iter().map(String::as_str)) else {
        evaluation.pass(plugin.line, "kubernetes", format!("passes: the name is not in {}", zones.join(" ")));
        return None;
    };
    if let Some(option) =
        plugin.body.iter().filter_map(|words| words.first()).find(|word| NOT_COVERED.contains(&word.as_str()))
    {
        let what = format!("kubernetes ({option})");
        return Some(evaluation.not_covered(&what, plugin.line, "the model does not know what the option changes"));
    }
    let primary = zones.iter().find(|zone| !zone.ends_with(".arpa.")).map_or(zone, String::as_str);
    let ttl = option(plugin, "ttl").and_then(|text| text.parse().ok()).unwrap_or(TTL);
    let backend = Backend { plugin, state: evaluation.state, zone, primary, ttl };
    let outcome = backend.records(evaluation, question, depth);
    let line = plugin.line;
    Some(match outcome {
        Outcome::Records(records) if records.is_empty() => {
            evaluation.pass(line, "kubernetes", "knows the name, and has no such record: NODATA");
            answered(Source::Kubernetes, Response::empty(Rcode::NoError).with_soa())
        }
        Outcome::Records(records) => {
            evaluation.pass(line, "kubernetes", "has it");
            answered(Source::Kubernetes, Response::records(records))
        }
        Outcome::Outside(aliases, question) => Answer::Forwarded { aliases, question },
        Outcome::NoSuchName if falls_through(plugin, &question.name) => {
            evaluation.pass(line, "kubernetes", format!("passes: no such name in {zone}, and `fallthrough`"));
            return None;
        }
        Outcome::NoSuchName => {
            evaluation.pass(line, "kubernetes", format!("NXDOMAIN: no such name in {zone}"));
            answered(Source::Kubernetes, Response::empty(Rcode::NxDomain).with_soa())
        }
        Outcome::Refused => {
            evaluation.pass(line, "kubernetes", "REFUSED: it transfers no zones");
            answered(Source::Kubernetes, Response::empty(Rcode::Refused))
        }
        Outcome::NotCovered(what) => {
            evaluation.not_covered(&format!("kubernetes ({what})"), line, "it depends on what the state does not say")
        }
    })
}

impl Backend<'_> {
    fn record(&self, name: &str, data: RecordData) -> Record {
        Record { name: name.to_owned(), ttl: self.ttl, data }
    }

    fn records(&self, evaluation: &mut Evaluation<'_>, question: &Question, depth: usize) -> Outcome {
        let name = &question.name;
        let is_apex = *name == self.zone;
        match question.kind {
            kind @ (QuestionKind::A | QuestionKind::Aaaa) => {
                self.addresses(evaluation, name, kind, &mut Vec::new(), depth)
            }
            QuestionKind::Txt => self.text(name),
            QuestionKind::Cname => self.alias(name),
            QuestionKind::Ptr => self.names_of(name),
            QuestionKind::Srv => self.servers(name),
            QuestionKind::Soa => {
                let data = RecordData::Other(format!(
                    "SOA ns.dns.{0} hostmaster.{0} 0 7200 1800 86400 {1}",
                    self.zone.trim_start_matches('.'),
                    self.ttl
                ));
                Outcome::Records(if is_apex { vec![self.record(name, data)] } else { Vec::new() })
            }
            QuestionKind::Ns if is_apex => self.name_servers(),
            kind if TRANSFERS.contains(&kind) => Outcome::Refused,
            QuestionKind::Ns | QuestionKind::Any | QuestionKind::Other(_) => match self.find(name) {
                Ok(_) => Outcome::Records(Vec::new()),
                Err(reason) => reason.into(),
            },
        }
    }

    /// A and AAAA, through aliases: inside the zone by this plugin alone, else by the whole server.
    fn addresses(
        &self,
        evaluation: &mut Evaluation<'_>,
        name: &str,
        kind: QuestionKind,
        before: &mut Vec<Record>,
        depth: usize,
    ) -> Outcome {
        let mut records = Vec::new();
        let entries = match self.find(name) {
            Ok(entries) => entries,
            Err(reason) => return reason.into(),
        };
        for entry in entries {
            let target = match entry {
                Entry::Address { address, .. } => {
                    let record = self.record(name, RecordData::Address(address));
                    if is_of(address, kind) && !records.contains(&record) {
                        records.push(record);
                    }
                    continue;
                }
                Entry::Alias(target) => target,
            };
            let alias = self.record(name, RecordData::Cname(target.clone()));
            // An alias to itself, or below itself, is left out, and so is one that was there before.
            if is_in_zone(&target, name) || before.len() > MAX_ALIASES || before.contains(&alias) {
                continue;
            }
            if is_in_zone(&target, self.zone) {
                before.push(alias.clone());
                match self.addresses(evaluation, &target, kind, before, depth) {
                    // An alias into the zone that ends nowhere is left out of the answer altogether.
                    Outcome::Records(more) if more.is_empty() => {}
                    Outcome::Records(more) => {
                        records.push(alias);
                        records.extend(more);
                    }
                    Outcome::Outside(more, question) => {
                        records.push(alias);
                        records.extend(more);
                        return Outcome::Outside(records, question);
                    }
                    Outcome::NoSuchName | Outcome::Refused => {}
                    not_covered @ Outcome::NotCovered(_) => return not_covered,
                }
                continue;
            }
            // Whatever goes wrong behind an alias out of the zone, the alias comes back with NOERROR.
            match evaluation.server(&Question::new(&target, kind), depth + 1) {
                Answer::Answered { response, .. } => {
                    records.push(alias);
                    records.extend(response.answers);
                }
                Answer::Forwarded { aliases, question } => {
                    records.push(alias);
                    records.extend(aliases);
                    return Outcome::Outside(records, question);
                }
                Answer::NotCovered { plugin } => return Outcome::NotCovered(plugin),
            }
        }
        Outcome::Records(records)
    }

    fn alias(&self, name: &str) -> Outcome {
        match self.find(name) {
            Ok(entries) => Outcome::Records(match entries.into_iter().next() {
                Some(Entry::Alias(target)) => vec![self.record(name, RecordData::Cname(target))],
                _ => Vec::new(),
            }),
            Err(reason) => reason.into(),
        }
    }

    /// The version of the specification, and nothing else; a name without any other record does not exist.
    fn text(&self, name: &str) -> Outcome {
        if self.below_zone(name) == "dns-version" {
            let data = RecordData::Other("TXT \"1.1.0\"".to_owned());
            return Outcome::Records(vec![Record { name: name.to_owned(), ttl: VERSION_TTL, data }]);
        }
        match self.find(name) {
            Ok(entries) if !entries.is_empty() => Outcome::Records(Vec::new()),
            Ok(_) => Outcome::NoSuchName,
            Err(reason) => reason.into(),
        }
    }

    /// SRV: the target is the Service, or each endpoint of a headless one, by name.
    fn servers(&self, name: &str) -> Outcome {
        let entries = match self.find(name) {
            Ok(entries) => entries,
            Err(reason) => return reason.into(),
        };
        let servers: Vec<(String, u16)> = entries
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Address { owner, port: Some(port), .. } => Some((owner, port)),
                Entry::Address { .. } | Entry::Alias(_) => None,
            })
            .collect();
        // Each has the same share of 100, which is rounded down, and is at least 1.
        let weight = u16::try_from(100 / servers.len().max(1)).unwrap_or(100).max(1);
        let mut records: Vec<Record> = Vec::new();
        for (target, port) in servers {
            let record = self.record(name, RecordData::Srv { priority: 0, weight, port, target });
            if !records.contains(&record) {
                records.push(record);
            }
        }
        Outcome::Records(records)
    }
}

impl From<NoSuchName> for Outcome {
    fn from(reason: NoSuchName) -> Self {
        match reason {
            NoSuchName::Known => Self::NoSuchName,
            NoSuchName::NotCovered(what) => Self::NotCovered(what),
        }
    }
}

/// Whether the text is an address, and so no alias.
fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// The alias's target in the form in which names are compared.
fn target(text: &str) -> String {
    absolute(text)
}
