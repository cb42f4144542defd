//! The `kubernetes` plugin of CoreDNS over a [`State`]: <https://coredns.io/plugins/kubernetes/> and
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Answer, QuestionKind, Source, absolute,
    chain::{MAX_ALIASES, falls_through, is_of, zones},
    corefile::{Corefile, Plugin, ServerBlock},
    is_in_zone, longest_zone,
};
use crate::state::{Endpoint, Service, ServiceType, State};

/// Options that change what is answered in ways that the model does not know.
const NOT_COVERED: &[&str] =
    &["endpoint", "kubeconfig", "labels", "multicluster", "namespace_labels", "noendpoints", "tls", "zonal"];

/// What the plugin finds under one name, before the record type is looked at.
enum Found {
    /// The name exists: these addresses of both families, perhaps none.
    Addresses(BTreeSet<IpAddr>),
    /// The name is another name for this one.
    Alias(String),
    /// No such name.
    Nothing,
    /// The model does not know.
    NotCovered(String),
}

/// The plugin's answer; `None` if the next plugin is asked.
pub(super) fn answer(
    corefile: &Corefile,
    block: &ServerBlock,
    plugin: &Plugin,
    name: &str,
    kind: QuestionKind,
    state: &State,
    depth: usize,
) -> Option<Answer> {
    let zones = zones(&plugin.arguments, block);
    let zone = longest_zone(name, zones.iter().map(String::as_str))?;
    if let Some(option) =
        plugin.body.iter().filter_map(|words| words.first()).find(|word| NOT_COVERED.contains(&word.as_str()))
    {
        return Some(Answer::NotCovered { plugin: format!("kubernetes ({option})") });
    }
    match find(plugin, name, zone, state) {
        Found::Nothing => (!falls_through(plugin, name)).then_some(Answer::NxDomain),
        Found::NotCovered(what) => Some(Answer::NotCovered { plugin: format!("kubernetes ({what})") }),
        Found::Addresses(addresses) => Some(of_kind(addresses, kind, Vec::new())),
        Found::Alias(alias) => Some(follow(corefile, plugin, zone, &alias, kind, state, depth)),
    }
}

/// What an `ExternalName` gives: inside the plugin's own zone only this plugin is asked, else the whole server is.
fn follow(
    corefile: &Corefile,
    plugin: &Plugin,
    zone: &str,
    alias: &str,
    kind: QuestionKind,
    state: &State,
    depth: usize,
) -> Answer {
    // An alias into the zone that ends nowhere is left out of the answer altogether.
    let nowhere = Answer::NoData { aliases: Vec::new() };
    if depth > MAX_ALIASES {
        return nowhere;
    }
    let alias = absolute(alias);
    if is_in_zone(&alias, zone) {
        let mut aliases = vec![alias.clone()];
        let mut current = alias;
        loop {
            match find(plugin, &current, zone, state) {
                Found::Addresses(addresses) => {
                    return match of_kind(addresses, kind, aliases) {
                        Answer::NoData { .. } => nowhere,
                        answer => answer,
                    };
                }
                Found::Alias(next) if aliases.len() <= MAX_ALIASES && is_in_zone(&absolute(&next), zone) => {
                    current = absolute(&next);
                    aliases.push(current.clone());
                }
                Found::Alias(next) if aliases.len() <= MAX_ALIASES => {
                    let answer = corefile.answer_at(&absolute(&next), kind, state, depth + aliases.len());
                    aliases.push(absolute(&next));
                    return behind(aliases, answer);
                }
                Found::Alias(_) | Found::Nothing => return nowhere,
                Found::NotCovered(what) => {
                    return Answer::NotCovered { plugin: format!("kubernetes ({what})") };
                }
            }
        }
    }
    let answer = corefile.answer_at(&alias, kind, state, depth + 1);
    behind(vec![alias], answer)
}

/// An answer that was found at the end of these aliases, as the client sees it.
///
/// Whatever went wrong behind the alias, the alias alone comes back with NOERROR.
fn behind(mut aliases: Vec<String>, answer: Answer) -> Answer {
    match answer {
        Answer::Addresses { by, aliases: more, addresses } => {
            aliases.extend(more);
            Answer::Addresses { by, aliases, addresses }
        }
        Answer::Forwarded { aliases: more } => {
            aliases.extend(more);
            Answer::Forwarded { aliases }
        }
        Answer::NoData { aliases: more } => {
            aliases.extend(more);
            Answer::NoData { aliases }
        }
        Answer::NxDomain | Answer::ServFail | Answer::Refused => Answer::NoData { aliases },
        Answer::NotCovered { plugin } => Answer::NotCovered { plugin },
    }
}

fn of_kind(addresses: BTreeSet<IpAddr>, kind: QuestionKind, aliases: Vec<String>) -> Answer {
    let addresses: BTreeSet<IpAddr> = addresses.into_iter().filter(|address| is_of(*address, kind)).collect();
    if addresses.is_empty() {
        Answer::NoData { aliases }
    } else {
        Answer::Addresses { by: Source::Kubernetes, aliases, addresses }
    }
}

/// What `name` is in `zone`: `[[port.protocol.]|endpoint.]service.namespace.svc.zone`, or `address.namespace.pod.zone`.
fn find(plugin: &Plugin, name: &str, zone: &str, state: &State) -> Found {
    let base = name.strip_suffix(zone).unwrap_or_default().trim_end_matches('.');
    let labels: Vec<&str> = if base.is_empty() { Vec::new() } else { base.split('.').rev().collect() };
    let exists = || Found::Addresses(BTreeSet::new());
    if zone.ends_with(".arpa.") {
        return Found::Nothing;
    }
    let (kind, namespace, rest) = match labels.as_slice() {
        // The zone itself, and the two branches below it, exist and have no address.
        [] | ["svc" | "pod"] => return exists(),
        ["dns", "ns"] => return Found::NotCovered("ns.dns".to_owned()),
        [kind @ ("svc" | "pod"), namespace, rest @ ..] => (*kind, *namespace, rest),
        _ => return Found::Nothing,
    };
    let listed: Vec<&String> = options(plugin, "namespaces").collect();
    if !listed.is_empty() && !listed.iter().any(|listed| *listed == namespace) {
        return Found::Nothing;
    }
    if !state.has_namespace(namespace) {
        return Found::Nothing;
    }
    match (kind, rest) {
        (_, []) => exists(),
        ("pod", [address]) => pod(plugin, namespace, address, state),
        ("pod", _) => Found::Nothing,
        (_, [service]) => find_service(plugin, namespace, service, None, state),
        (_, [service, endpoint]) => find_service(plugin, namespace, service, Some(Part::Endpoint(endpoint)), state),
        (_, [service, protocol, port]) => {
            find_service(plugin, namespace, service, Some(Part::Port { port, protocol }), state)
        }
        _ => Found::Nothing,
    }
}

/// What stands before the Service in a name.
#[derive(Clone, Copy)]
enum Part<'n> {
    Endpoint(&'n str),
    Port { port: &'n str, protocol: &'n str },
}

fn find_service(plugin: &Plugin, namespace: &str, name: &str, part: Option<Part<'_>>, state: &State) -> Found {
    let Some(service) = state.service(namespace, name) else {
        return Found::Nothing;
    };
    let ready: Vec<&Endpoint> = state.endpoints_of(service).filter(|endpoint| endpoint.ready).collect();
    let has_port = || match part {
        Some(Part::Port { port, protocol }) => service.ports.iter().any(|candidate| {
            candidate.name.eq_ignore_ascii_case(port.trim_start_matches('_'))
                && candidate.protocol.eq_ignore_ascii_case(protocol.trim_start_matches('_'))
        }),
        _ => true,
    };
    if service.kind == ServiceType::ExternalName {
        return match (&service.external_name, part) {
            (Some(alias), None) if alias.parse::<IpAddr>().is_err() => Found::Alias(alias.clone()),
            _ => Found::Nothing,
        };
    }
    if ready.is_empty() && !service.headless && options(plugin, "ignore").any(|what| what == "empty_service") {
        return Found::Nothing;
    }
    if service.headless || matches!(part, Some(Part::Endpoint(_))) {
        let addresses: BTreeSet<IpAddr> = ready
            .iter()
            .filter(|endpoint| match part {
                Some(Part::Endpoint(wanted)) => host_name(plugin, endpoint).eq_ignore_ascii_case(wanted),
                _ => true,
            })
            .map(|endpoint| endpoint.address)
            .collect();
        // A headless Service without a ready endpoint is a name that does not exist, not one without an address.
        return if addresses.is_empty() || !has_port() { Found::Nothing } else { Found::Addresses(addresses) };
    }
    if service.ports.is_empty() || !has_port() {
        return Found::Nothing;
    }
    Found::Addresses(cluster_ips(service))
}

fn cluster_ips(service: &Service) -> BTreeSet<IpAddr> {
    service.cluster_ips.iter().copied().collect()
}

/// The name of an endpoint under its Service: its host name, else its address with dashes.
fn host_name(plugin: &Plugin, endpoint: &Endpoint) -> String {
    let by_pod = plugin.body.iter().any(|words| words.first().is_some_and(|word| word == "endpoint_pod_names"));
    match (&endpoint.hostname, &endpoint.pod) {
        (Some(hostname), _) => hostname.clone(),
        (None, Some(pod)) if by_pod => pod.clone(),
        _ => {
            let dashed = endpoint.address.to_string().replace(['.', ':'], "-");
            if dashed.ends_with('-') { format!("{dashed}0") } else { dashed }
        }
    }
}

/// `10-244-1-4.namespace.pod`: off unless the plugin says otherwise, and with `insecure` true of any address.
fn pod(plugin: &Plugin, namespace: &str, dashed: &str, state: &State) -> Found {
    let v4 = dashed.matches('-').count() == 3 && !dashed.contains("--");
    let Ok(address) = dashed.replace('-', if v4 { "." } else { ":" }).parse::<IpAddr>() else {
        return Found::Nothing;
    };
    match options(plugin, "pods").next().map(String::as_str) {
        Some("insecure") => Found::Addresses([address].into()),
        Some("verified")
            if state.pods.iter().any(|pod| pod.namespace == namespace && pod.addresses.contains(&address)) =>
        {
            Found::Addresses([address].into())
        }
        _ => Found::Nothing,
    }
}

fn options<'p>(plugin: &'p Plugin, name: &'p str) -> impl Iterator<Item = &'p String> {
    plugin
        .body
        .iter()
        .filter(move |words| words.first().is_some_and(|word| word == name))
        .flat_map(|words| words.iter().skip(1))
}
