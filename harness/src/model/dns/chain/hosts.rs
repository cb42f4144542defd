//! The `hosts` plugin: <https://coredns.io/plugins/hosts/>.

use std::net::IpAddr;

use reachmap_wire::{QuestionKind, Record, RecordData};

use super::{
    super::{
        Answer, Question, Rcode, Response, Source, absolute, address_of_reverse,
        corefile::{Plugin, ServerBlock},
        is_in_zone, is_of, longest_zone,
        parse::hosts_line,
    },
    Evaluation, answered, falls_through, option, zones,
};
use crate::state::State;

/// How long an entry may be kept, in seconds, if the plugin does not say.
const TTL: u32 = 3600;
/// The file that is read if none is named.
const FILE: &str = "/etc/hosts";

impl Evaluation<'_> {
    /// `None` if the next plugin is asked.
    ///
    /// Without `fallthrough`, every name of its zones that it does not know is SERVFAIL: it has no SOA record to say
    /// NXDOMAIN with (<https://github.com/coredns/coredns/blob/v1.14.7/plugin/hosts/hosts.go>).
    pub(super) fn hosts(&mut self, block: &ServerBlock, plugin: &Plugin, question: &Question) -> Option<Answer> {
        let zones = zones(plugin.arguments.get(1..).unwrap_or_default(), block);
        let name = &question.name;
        let in_zone = longest_zone(name, zones.iter().map(String::as_str)).is_some();
        if !in_zone && question.kind != QuestionKind::Ptr {
            self.pass(plugin.line, "hosts", format!("passes: the name is not in {}", zones.join(" ")));
            return None;
        }
        let path = plugin.arguments.first().map_or(FILE, String::as_str);
        let file = self.outside.text(path);
        if file.is_none() && (!plugin.arguments.is_empty() || is_in_kubelets_hosts(question, self.state)) {
            return Some(self.not_covered("hosts (file)", plugin.line, &format!("{path} could have an entry")));
        }
        let entries = entries(file.unwrap_or_default(), plugin, &zones);
        let ttl = option(plugin, "ttl").and_then(|text| text.parse().ok()).unwrap_or(TTL);
        let record = |data| Record { name: name.clone(), ttl, data };
        let mut found: Vec<Record> = Vec::new();
        if question.kind == QuestionKind::Ptr {
            let address = address_of_reverse(name);
            let reverse = plugin.body.iter().all(|words| words.first().is_none_or(|word| word != "no_reverse"));
            found.extend(
                entries
                    .iter()
                    .filter(|(entry, owner)| reverse && Some(*entry) == address && !owner.starts_with("*."))
                    .map(|(_, owner)| record(RecordData::Ptr(owner.clone()))),
            );
            if found.is_empty() {
                // An address that it does not know passes whatever `fallthrough` says.
                self.pass(plugin.line, "hosts", "passes: it has no entry for this address");
                return None;
            }
        }
        let of_name = addresses(&entries, name);
        found.extend(
            of_name
                .iter()
                .filter(|address| is_of(**address, question.kind))
                .map(|address| record(RecordData::Address(*address))),
        );
        if !found.is_empty() {
            self.pass(plugin.line, "hosts", "has an entry");
            return Some(answered(Source::Hosts, Response::records(found)));
        }
        let has_records = matches!(question.kind, QuestionKind::A | QuestionKind::Aaaa);
        let unsupported =
            plugin.body.iter().any(|words| words.first().is_some_and(|word| word == "fallthrough_unsupported"));
        let through = falls_through(plugin, name);
        if !has_records && unsupported && through {
            self.pass(plugin.line, "hosts", "passes: `fallthrough_unsupported`, and it never has such records");
            return None;
        }
        if !of_name.is_empty() {
            self.pass(plugin.line, "hosts", "has an entry, of another type: NODATA");
            return Some(answered(Source::Hosts, Response::empty(Rcode::NoError)));
        }
        if through {
            self.pass(plugin.line, "hosts", "passes: no entry, and `fallthrough`");
            return None;
        }
        self.pass(plugin.line, "hosts", "SERVFAIL: no entry, and no `fallthrough` for this name");
        Some(answered(Source::Hosts, Response::empty(Rcode::ServFail)))
    }
}

/// The entries of the file, then those in the Corefile, one per name; names outside the zones do not count.
fn entries(file: &str, plugin: &Plugin, zones: &[String]) -> Vec<(IpAddr, String)> {
    let in_file = file.lines().map(|line| {
        line.split('#').next().unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
    });
    let mut entries = Vec::new();
    for words in in_file.chain(plugin.body.iter().cloned()) {
        let Some((address, names)) = hosts_line(&words) else { continue };
        let names = names.iter().map(|name| absolute(name));
        let ours = names.filter(|name| zones.iter().any(|zone| is_in_zone(name, zone)));
        entries.extend(ours.map(|name| (address, name)));
    }
    entries
}

/// The addresses of a name; `*.zone` stands for every name one label below, unless that has an entry of its family.
fn addresses(entries: &[(IpAddr, String)], name: &str) -> Vec<IpAddr> {
    let wildcard = name.split_once('.').filter(|(_, rest)| !rest.is_empty()).map(|(_, rest)| format!("*.{rest}"));
    let of = |wanted: Option<&str>, v4: bool| -> Vec<IpAddr> {
        let matches =
            entries.iter().filter(|(address, owner)| Some(owner.as_str()) == wanted && address.is_ipv4() == v4);
        matches.map(|(address, _)| *address).collect()
    };
    [true, false]
        .into_iter()
        .flat_map(|v4| match of(Some(name), v4) {
            own if own.is_empty() => of(wildcard.as_deref(), v4),
            own => own,
        })
        .collect()
}

/// Whether the kubelet puts the name or the address into the `/etc/hosts` of CoreDNS's pod: loopback and multicast, and
/// the pod's own.
fn is_in_kubelets_hosts(question: &Question, state: &State) -> bool {
    const ALWAYS: [&str; 7] = [
        "localhost",
        "ip6-localhost",
        "ip6-loopback",
        "ip6-localnet",
        "ip6-mcastprefix",
        "ip6-allnodes",
        "ip6-allrouters",
    ];
    let mut own = state.pods.iter().filter(|pod| pod.namespace == "kube-system" && pod.workload == "coredns");
    if question.kind == QuestionKind::Ptr {
        return address_of_reverse(&question.name)
            .is_some_and(|address| address.is_loopback() || own.any(|pod| pod.addresses.contains(&address)));
    }
    let label = question.name.strip_suffix('.').unwrap_or(&question.name);
    ALWAYS.contains(&label) || own.any(|pod| pod.name == label)
}
