//! DNS as the cluster's pods see it: Corefile, search path, answers.

mod answer;
mod chain;
mod check;
pub mod corefile;
mod edit;
mod kubernetes;
mod parse;
mod plugins;
mod resolv_conf;
pub mod resolver;
pub mod search;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use answer::{Answer, Question, Rcode, Response, Source, said};
pub use chain::{Outside, Passed};
pub use corefile::{Corefile, HostsEntry};
pub use reachmap_wire::QuestionKind;
pub use resolv_conf::{Options, ResolvConf};
pub use resolver::{Families, Plan, Prediction, Resolver, compare, predict, resolve_plan};
pub use search::{Resolution, resolve, walk};

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

/// Whether the address can be the data of such a record.
pub(crate) fn is_of(address: IpAddr, kind: QuestionKind) -> bool {
    match kind {
        QuestionKind::A => address.is_ipv4(),
        QuestionKind::Aaaa => address.is_ipv6(),
        _ => false,
    }
}

/// The name whose PTR record names an address (RFC 1035 section 3.5, RFC 3596 section 2.5), absolute.
///
/// ```
/// use reachmap::model::dns::{address_of_reverse, reverse};
/// assert_eq!(reverse("10.96.10.1".parse().unwrap()), "1.10.96.10.in-addr.arpa.");
/// let address = "fd00:10:96::a".parse().unwrap();
/// assert_eq!(address_of_reverse(&reverse(address)), Some(address));
/// ```
pub fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let digits: Vec<String> = format!("{:032x}", address.to_bits()).chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa.", digits.join("."))
        }
    }
}

/// The address that a name of the reverse tree is for (RFC 1035 section 3.5, RFC 3596 section 2.5).
///
/// ```
/// use reachmap::model::dns::address_of_reverse;
/// assert_eq!(address_of_reverse("1.10.96.10.in-addr.arpa."), Some("10.96.10.1".parse().unwrap()));
/// assert_eq!(address_of_reverse("96.10.in-addr.arpa."), None);
/// ```
pub fn address_of_reverse(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa.") {
        let bytes: Vec<&str> = labels.rsplit('.').collect();
        return bytes.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let labels = name.strip_suffix(".ip6.arpa.")?;
    let digits: Vec<&str> = labels.rsplit('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    let groups: Vec<String> = digits.chunks(4).map(<[&str]>::concat).collect();
    groups.join(":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests;
