//! DNS as the cluster's pods see it: Corefile, search path, answers.

mod chain;
pub mod corefile;
mod edit;
mod kubernetes;
mod parse;
pub mod search;

use std::{collections::BTreeSet, net::IpAddr};

pub use corefile::{Corefile, HostsEntry};
pub use reachmap_wire::QuestionKind;
pub use search::{Resolution, ResolvConf, resolve, walk};

/// What a DNS server says of one name, for one record type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Addresses, perhaps behind aliases.
    Addresses {
        /// The part of the server that knew the name asked for.
        by: Source,
        /// The aliases from the name asked to the one that has the addresses, in order, absolute.
        aliases: Vec<String>,
        /// The addresses.
        addresses: BTreeSet<IpAddr>,
    },
    /// The name exists, without such a record (RFC 2308 section 2.2).
    NoData {
        /// The aliases that lead nowhere, if there are any.
        aliases: Vec<String>,
    },
    /// The name does not exist.
    NxDomain,
    /// The server says that it cannot answer.
    ServFail,
    /// The server is not responsible for the name.
    Refused,
    /// Another server is asked, about which the state of the cluster says nothing.
    Forwarded {
        /// The aliases that lead out of the cluster, if there are any.
        aliases: Vec<String>,
    },
    /// A part of the server that the model does not know could answer.
    NotCovered {
        /// The CoreDNS plugin.
        plugin: String,
    },
}

/// The part of CoreDNS that knew a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An entry of the `hosts` plugin.
    Hosts,
    /// The `kubernetes` plugin: a Service, an endpoint or a pod.
    Kubernetes,
}

/// `name` in the form in which names are compared: lower case, with the trailing dot.
///
/// ```
/// assert_eq!(reachmap::model::dns::absolute("My-Nginx.External.Local"), "my-nginx.external.local.");
/// assert_eq!(reachmap::model::dns::absolute("."), ".");
/// ```
pub fn absolute(name: &str) -> String {
    let mut name = name.to_ascii_lowercase();
    if !name.ends_with('.') {
        name.push('.');
    }
    name
}

/// Whether the absolute `name` is `zone` or below it.
pub(crate) fn is_in_zone(name: &str, zone: &str) -> bool {
    zone == "." || name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'))
}

/// The longest of `zones` that the absolute `name` is in.
pub(crate) fn longest_zone<'z>(name: &str, zones: impl IntoIterator<Item = &'z str>) -> Option<&'z str> {
    zones.into_iter().filter(|zone| is_in_zone(name, zone)).max_by_key(|zone| zone.len())
}

#[cfg(test)]
mod tests;
