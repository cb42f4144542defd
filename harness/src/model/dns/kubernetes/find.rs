//! What the `kubernetes` plugin finds under a name, before the record type is looked at:
//! <https://github.com/coredns/coredns/blob/v1.14.7/plugin/kubernetes/kubernetes.go> and its `parse.go`.

use std::net::IpAddr;

use super::{is_address, target};
use crate::{
    model::dns::corefile::Plugin,
    state::{Endpoint, Service, ServiceType, State},
};

/// The plugin with its configuration, for names of one zone.
pub(super) struct Backend<'b> {
    pub(super) plugin: &'b Plugin,
    pub(super) state: &'b State,
    /// The zone that the name is in.
    pub(super) zone: &'b str,
    /// The zone that names are given in to questions for addresses.
    pub(super) primary: &'b str,
    pub(super) ttl: u32,
}

/// One thing that a name stands for.
pub(super) enum Entry {
    /// An address, with the name that SRV gives it, and its port if it has one.
    Address { address: IpAddr, owner: String, port: Option<u16> },
    /// Another name.
    Alias(String),
}

/// Why there is no entry, where the name does not even exist.
pub(super) enum NoSuchName {
    /// It does not exist.
    Known,
    /// The state does not say.
    NotCovered(String),
}

type Found = Result<Vec<Entry>, NoSuchName>;

/// What stands before the Service in a name.
#[derive(Clone, Copy)]
struct Part<'n> {
    endpoint: Option<&'n str>,
    port: Option<(&'n str, &'n str)>,
}

impl Part<'_> {
    fn is_port(&self, name: &str, protocol: &str) -> bool {
        self.port.is_none_or(|(wanted, by)| {
            (wanted.is_empty() || wanted.eq_ignore_ascii_case(name))
                && (by.is_empty() || by.eq_ignore_ascii_case(protocol))
        })
    }
}

fn without_underscore(label: &str) -> &str {
    label.strip_prefix('_').unwrap_or(label)
}

impl Backend<'_> {
    /// The name without the zone and its dot.
    pub(super) fn below_zone<'n>(&self, name: &'n str) -> &'n str {
        let below = if self.zone == "." { name } else { name.strip_suffix(self.zone).unwrap_or_default() };
        below.trim_end_matches('.')
    }

    /// `[[port.protocol.]|endpoint.]service.namespace.svc.zone`, or `address.namespace.pod.zone`; an empty list is a
    /// name that exists and stands for nothing.
    pub(super) fn find(&self, name: &str) -> Found {
        let below = self.below_zone(name);
        let labels: Vec<&str> = if below.is_empty() { Vec::new() } else { below.split('.').rev().collect() };
        if labels == ["dns", "ns"] {
            return Ok(self
                .own_services()
                .into_iter()
                .flat_map(|service| self.cluster_entries(service, None))
                .collect());
        }
        let (branch, namespace, rest) = match labels.as_slice() {
            // The zone itself, and the two branches below it, exist and have no address.
            [] | ["svc" | "pod"] => return Ok(Vec::new()),
            [branch @ ("svc" | "pod"), namespace, rest @ ..] if rest.len() <= 3 => (*branch, *namespace, rest),
            _ => return Err(NoSuchName::Known),
        };
        if name.ends_with(".in-addr.arpa.") || name.ends_with(".ip6.arpa.") || !self.is_exposed(namespace) {
            return Err(NoSuchName::Known);
        }
        match (branch, rest) {
            (_, []) => Ok(Vec::new()),
            // What stands before a pod's address is not looked at.
            ("pod", [address, ..]) => self.pod(namespace, address),
            (_, [service, rest @ ..]) => {
                let part = match rest {
                    [protocol, port] => {
                        Part { endpoint: None, port: Some((without_underscore(port), without_underscore(protocol))) }
                    }
                    rest => Part { endpoint: rest.first().copied(), port: None },
                };
                self.service(namespace, service, part)
            }
        }
    }

    pub(super) fn is_exposed(&self, namespace: &str) -> bool {
        let mut listed = self.options("namespaces").peekable();
        (listed.peek().is_none() || listed.any(|listed| listed == namespace)) && self.state.has_namespace(namespace)
    }

    fn service(&self, namespace: &str, name: &str, part: Part<'_>) -> Found {
        let Some(service) = self.state.service(namespace, name) else {
            return Err(NoSuchName::Known);
        };
        if service.kind == ServiceType::ExternalName {
            return match &service.external_name {
                // An address is no alias, and then there is nothing.
                Some(alias) if part.endpoint.is_none() && part.port.is_none() && !is_address(alias) => {
                    Ok(vec![Entry::Alias(target(alias))])
                }
                _ => Err(NoSuchName::Known),
            };
        }
        let mut ready = self.state.endpoints_of(service).filter(|endpoint| endpoint.ready).peekable();
        if ready.peek().is_none() && !service.headless && self.options("ignore").any(|what| what == "empty_service") {
            return Err(NoSuchName::Known);
        }
        let entries: Vec<Entry> = if service.headless || part.endpoint.is_some() {
            ready.flat_map(|endpoint| self.endpoint_entries(service, endpoint, part)).collect()
        } else {
            self.cluster_entries(service, Some(part))
        };
        // A headless Service without a ready endpoint is a name that does not exist, not one without an address.
        if entries.is_empty() { Err(NoSuchName::Known) } else { Ok(entries) }
    }

    fn cluster_entries(&self, service: &Service, part: Option<Part<'_>>) -> Vec<Entry> {
        let owner = format!("{}.{}.svc.{}", service.name, service.namespace, dotted(self.zone));
        service
            .ports
            .iter()
            .filter(|port| part.is_none_or(|part| part.is_port(&port.name, &port.protocol)))
            .flat_map(|port| {
                let owner = owner.clone();
                service.cluster_ips.iter().map(move |address| Entry::Address {
                    address: *address,
                    owner: owner.clone(),
                    port: Some(port.port),
                })
            })
            .collect()
    }

    fn endpoint_entries(&self, service: &Service, endpoint: &Endpoint, part: Part<'_>) -> Vec<Entry> {
        let host = self.host_name(endpoint);
        if part.endpoint.is_some_and(|wanted| !host.eq_ignore_ascii_case(wanted)) {
            return Vec::new();
        }
        let owner =
            format!("{host}.{}.{}.svc.{}", service.name, service.namespace, dotted(self.zone)).to_ascii_lowercase();
        let entry = |port| Entry::Address { address: endpoint.address, owner: owner.clone(), port };
        if endpoint.ports.is_empty() {
            // A slice without ports counts as one port without a number.
            return if part.is_port("", "") { vec![entry(None)] } else { Vec::new() };
        }
        let protocol = |name: &str| {
            service.ports.iter().find(|port| port.name == name).map_or("TCP", |port| port.protocol.as_str())
        };
        let ports = endpoint.ports.iter().filter(|(name, _)| part.is_port(name, protocol(name)));
        ports.map(|(_, port)| entry(Some(*port))).collect()
    }

    /// The name of an endpoint under its Service: its host name, else its address with dashes.
    pub(super) fn host_name(&self, endpoint: &Endpoint) -> String {
        let by_pod =
            self.plugin.body.iter().any(|words| words.first().is_some_and(|word| word == "endpoint_pod_names"));
        match (&endpoint.hostname, &endpoint.pod) {
            (Some(hostname), _) if !hostname.is_empty() => hostname.clone(),
            // A pod's name that is no label does not count.
            (_, Some(pod)) if by_pod && pod.len() < 64 => pod.clone(),
            _ => {
                let dashed = endpoint.address.to_string().replace(['.', ':'], "-");
                if dashed.ends_with('-') { format!("{dashed}0") } else { dashed }
            }
        }
    }

    /// `10-244-1-4.namespace.pod`: off unless the plugin says otherwise, and with `insecure` true of any address.
    fn pod(&self, namespace: &str, dashed: &str) -> Found {
        let mode = self.options("pods").last().map_or("disabled", String::as_str);
        if mode == "disabled" {
            return Err(NoSuchName::Known);
        }
        let v4 = dashed.matches('-').count() == 3 && !dashed.contains("--");
        let Ok(address) = dashed.replace('-', if v4 { "." } else { ":" }).parse::<IpAddr>() else {
            return Err(NoSuchName::Known);
        };
        let entry = || {
            let owner = format!("{dashed}.{namespace}.pod.{}", dotted(self.zone));
            Ok(vec![Entry::Address { address, owner, port: Some(0) }])
        };
        let mut pods = self.state.pods.iter().filter(|pod| pod.namespace == namespace).peekable();
        match mode {
            "insecure" => entry(),
            // The state has the pods of some namespaces only.
            _ if pods.peek().is_none() => Err(NoSuchName::NotCovered(format!("the pods of {namespace}"))),
            _ if pods.any(|pod| pod.addresses.first() == Some(&address)) => entry(),
            _ => Err(NoSuchName::Known),
        }
    }

    pub(super) fn options<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p String> {
        self.plugin
            .body
            .iter()
            .filter(move |words| words.first().is_some_and(|word| word == name))
            .flat_map(|words| words.iter().skip(1))
    }
}

/// The zone as it follows another label.
pub(super) fn dotted(zone: &str) -> &str {
    zone.trim_start_matches('.')
}
