//! What the kernels on the way hold: rules, routes, neighbours, connections.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Bearing, MOST, Trail};
use crate::{bundle::rules, state::ProxyMode};

/// All of them, node by node.
pub(super) fn bearing(trail: &Trail<'_>) -> Vec<Bearing> {
    let mut found = Vec::new();
    for node in &trail.nodes {
        found.extend(rules_of(trail, node));
        found.extend(routes_of(trail, node));
        found.extend(neighbours_of(trail, node));
        found.extend(connections_of(trail, node));
    }
    found
}

/// Whether a line has the word, and not only something that contains it: `10.96.0.1` is not in `10.96.0.10/32`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == ':';
        let before = line[..start].chars().next_back().is_some_and(part);
        let after = line[start + word.len()..].chars().next();
        // `10.96.0.1:80` and `10.96.0.1 . tcp` have it.
        !before && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
    })
}

/// The words by which a rule is about the request: its addresses, and the node port.
fn words(trail: &Trail<'_>) -> Vec<String> {
    let mut words: Vec<String> = trail.addresses.iter().map(IpAddr::to_string).collect();
    let port = trail.verdict.expectation.as_ref().map(|expectation| expectation.target.port);
    let is_node_port =
        |port: u16| trail.services.iter().any(|service| service.ports.iter().any(|one| one.node_port == Some(port)));
    words.extend(port.filter(|port| is_node_port(*port)).map(|port| port.to_string()));
    words
}

fn rules_of(trail: &Trail<'_>, node: &str) -> Vec<Bearing> {
    let is_v6 = trail.addresses.first().is_some_and(IpAddr::is_ipv6);
    let name = match (trail.state.proxy_mode, is_v6) {
        (ProxyMode::Nftables, _) => "nft-ruleset.txt",
        (_, true) => "ip6tables-save.txt",
        (_, false) => "iptables-save.txt",
    };
    let Some((path, own)) = trail.file(&format!("nodes/{node}/{name}")) else { return Vec::new() };
    let suffix = format!("/{name}");
    let all: BTreeMap<&str, &str> =
        trail.files_below("nodes/").filter_map(|(_, rest, text)| Some((rest.strip_suffix(&suffix)?, text))).collect();
    let words = words(trail);
    let about = |line: &&str| words.iter().any(|word| has_word(line, word));
    let mut found = Vec::new();
    if let Some(apart) = rules::apart(node, &all, &trail.state.nodes) {
        // What names the request's own address comes first.
        let first = |mut lines: Vec<String>| {
            lines.sort_by_key(|line| !about(&line.as_str()));
            lines
        };
        for (what, lines) in [
            (format!("Rules that every other node has, and {node} has not"), first(apart.missing)),
            (format!("Rules that no node has but {node}"), first(apart.only)),
        ] {
            found.extend(some(what, &path, lines));
        }
    }
    let lines: Vec<String> = own.lines().filter(about).map(|line| line.trim().to_owned()).collect();
    let elsewhere = all.values().any(|text| text.lines().any(|line| about(&line)));
    let named = words.join(" or ");
    if lines.is_empty() && elsewhere {
        let what = format!("No rule on {node} is about {named}, and there are such rules on other nodes");
        found.push(Bearing { what, path, lines });
    } else {
        let is_shown = |line: &String| found.iter().any(|bearing: &Bearing| bearing.lines.contains(line));
        let others = lines.into_iter().filter(|line| !is_shown(line)).collect();
        let other = some(format!("Other rules on {node} that are about {named}"), &path, others);
        found.extend(other);
    }
    found
}

/// The route that the node takes: the one with the longest prefix, of the main table.
fn routes_of(trail: &Trail<'_>, node: &str) -> Vec<Bearing> {
    let mut found = Vec::new();
    for address in &trail.addresses {
        let name = if address.is_ipv6() { "ip6-route.txt" } else { "ip-route.txt" };
        let Some((path, text)) = trail.file(&format!("nodes/{node}/{name}")) else { continue };
        // Lines of other tables say which.
        let main = text.lines().filter(|line| !line.contains(" table ") || line.contains(" table main"));
        let best = main.filter_map(|line| Some((prefix(line, *address)?, line))).max_by_key(|(length, _)| *length);
        let local = text.lines().find(|line| line.starts_with("local ") && has_word(line, &address.to_string()));
        let line = local.or_else(|| best.map(|(_, line)| line));
        let what = match line {
            Some(_) => format!("The route of {node} to {address}"),
            None => format!("{node} has no route to {address}"),
        };
        found.push(Bearing { what, path, lines: line.map(|line| line.trim().to_owned()).into_iter().collect() });
    }
    found
}

/// How long the prefix of a route is that leads to the address; none if it does not.
fn prefix(line: &str, address: IpAddr) -> Option<u8> {
    let kinds = ["unicast", "blackhole", "unreachable", "prohibit", "throw"];
    let destination = line.split_whitespace().find(|word| !kinds.contains(word))?;
    if destination == "default" {
        return Some(0);
    }
    let network: IpNet = destination.parse().or_else(|_| destination.parse::<IpAddr>().map(IpNet::from)).ok()?;
    network.contains(&address).then(|| network.prefix_len())
}

fn neighbours_of(trail: &Trail<'_>, node: &str) -> Option<Bearing> {
    let (path, text) = trail.file(&format!("nodes/{node}/ip-neigh.txt"))?;
    let about = |line: &&str| {
        trail.addresses.iter().any(|address| line.split_whitespace().next() == Some(&address.to_string()))
    };
    let lines = text.lines().filter(about).map(|line| line.trim().to_owned()).collect();
    some(format!("Neighbours of {node}"), &path, lines)
}

fn connections_of(trail: &Trail<'_>, node: &str) -> Option<Bearing> {
    let (path, text) = trail.file(&format!("nodes/{node}/conntrack.txt"))?;
    let about = |line: &&str| trail.addresses.iter().any(|address| has_word(line, &format!("dst={address}")));
    // What was never answered says the most.
    let mut lines: Vec<String> = text.lines().filter(about).map(|line| line.trim().to_owned()).collect();
    lines.sort_by_key(|line| !line.contains("[UNREPLIED]"));
    some(format!("Connections that {node} tracks"), &path, lines)
}

/// Some lines of a file, if there are any, and how many more there are.
pub(super) fn some(what: String, path: &str, mut lines: Vec<String>) -> Option<Bearing> {
    if lines.is_empty() {
        return None;
    }
    let more = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    let what = if more > 0 { format!("{what} ({more} more)") } else { what };
    Some(Bearing { what, path: path.to_owned(), lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_found_in_a_longer_one() {
        assert!(has_word("-d 10.96.0.1/32 -j X", "10.96.0.1"));
        assert!(has_word("ip daddr . th dport { 10.96.0.1 . 80 : goto x }", "10.96.0.1"));
        assert!(has_word("--to-destination 10.96.0.1:80", "10.96.0.1"));
        assert!(!has_word("-d 10.96.0.10/32 -j X", "10.96.0.1"));
        assert!(!has_word("-d 110.96.0.1/32 -j X", "10.96.0.1"));
    }

    #[test]
    fn the_longest_prefix_is_found_in_every_way_of_writing_a_route() {
        let address = "10.244.1.3".parse().unwrap();
        assert_eq!(prefix("default via 172.18.0.1 dev eth0", address), Some(0));
        assert_eq!(prefix("10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink", address), Some(24));
        assert_eq!(prefix("blackhole 10.244.0.0/16", address), Some(16));
        assert_eq!(prefix("10.244.1.3 dev veth0 scope link", address), Some(32));
        assert_eq!(prefix("10.244.2.0/24 dev cni0", address), None);
    }
}
