//! Where the agent stands: host name, resolver configuration, addresses, routes.
//!
//! Everything is read from `/proc` and `/etc`, which any container has, without privileges.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use reachmap_wire::{Hello, PROTOCOL, RouteEntry};

use crate::dns;

/// `IPV6_ADDR_LOOPBACK` and `IPV6_ADDR_LINKLOCAL` of the Linux kernel's `net/ipv6.h`:
/// the scopes, in `/proc/net/if_inet6`, of addresses that reach nobody beyond the link.
const NARROW_SCOPES: [u8; 2] = [0x10, 0x20];

/// `RTF_UP` of Linux's `route.h`: the route is usable.
const ROUTE_UP: u32 = 1;

/// Describes this place.
pub(crate) fn hello() -> Result<Hello, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    let mut addresses: Vec<IpAddr> = read("/proc/net/fib_trie").map(|text| ipv4_addresses(&text))?;
    addresses.extend(interface_addresses6().into_iter().map(|address| IpAddr::V6(address.address)));
    Ok(Hello {
        protocol: PROTOCOL,
        hostname: read("/proc/sys/kernel/hostname")?.trim_end().to_owned(),
        // A place without the file is a place without it, not a failure: glibc then has defaults.
        resolv_conf: fs::read_to_string(dns::configuration_path()).unwrap_or_default(),
        addresses,
        routes: routes(&read("/proc/net/route")?),
    })
}

/// Whether this place has an IPv6 address that reaches beyond its link: glibc's `AI_ADDRCONFIG`,
/// except that a link-local address does not count.
pub(crate) fn has_ipv6() -> bool {
    interface_addresses6().iter().any(|address| !NARROW_SCOPES.contains(&address.scope))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct InterfaceAddress6 {
    address: Ipv6Addr,
    scope: u8,
}

fn interface_addresses6() -> Vec<InterfaceAddress6> {
    // Absent where the kernel has no IPv6.
    fs::read_to_string("/proc/net/if_inet6").map(|text| parse_if_inet6(&text)).unwrap_or_default()
}

/// The lines of `/proc/net/if_inet6`, loopback left out: address, index, prefix, scope, flags, name.
fn parse_if_inet6(text: &str) -> Vec<InterfaceAddress6> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let bits = u128::from_str_radix(fields.next()?, 16).ok()?;
            let scope = u8::from_str_radix(fields.nth(2)?, 16).ok()?;
            let address = Ipv6Addr::from_bits(bits);
            (!address.is_loopback()).then_some(InterfaceAddress6 { address, scope })
        })
        .collect()
}

/// The addresses that the kernel calls local in `/proc/net/fib_trie`, loopback left out.
fn ipv4_addresses(text: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in text.lines().map(str::trim_start) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim_end().parse().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = leaf
            && !address.is_loopback()
            && !addresses.contains(&IpAddr::V4(address))
        {
            addresses.push(IpAddr::V4(address));
        }
    }
    addresses
}

/// The usable entries of `/proc/net/route`, most specific first.
fn routes(text: &str) -> Vec<RouteEntry> {
    let mut routes: Vec<(u32, RouteEntry)> = text.lines().skip(1).filter_map(route).collect();
    routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(*prefix));
    routes.into_iter().map(|(_, route)| route).collect()
}

fn route(line: &str) -> Option<(u32, RouteEntry)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, destination, gateway, flags, _, _, _, mask, ..] = fields.as_slice() else {
        return None;
    };
    // The kernel prints addresses as it holds them: network order seen as one native number.
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let prefix = address(mask)?.to_bits().count_ones();
    let gateway = address(gateway)?;
    let entry = RouteEntry {
        destination: format!("{}/{prefix}", address(destination)?),
        gateway: (!gateway.is_unspecified()).then_some(IpAddr::V4(gateway)),
        interface: (*interface).to_owned(),
    };
    (flags & ROUTE_UP != 0).then_some((prefix, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_once_each_and_without_loopback() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.244.1.0\n        /24 universe UNICAST\n     |-- 10.244.1.5\n        /32 host LOCAL\n     |-- 10.244.1.255\n        /32 link BROADCAST\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.244.1.5\n        /32 host LOCAL\n     |-- 172.18.0.3\n        /32 host LOCAL\n";
        assert_eq!(ipv4_addresses(text), ["10.244.1.5", "172.18.0.3"].map(|text| text.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn routes_come_most_specific_first() {
        if cfg!(target_endian = "big") {
            return; // The recorded text is a little-endian machine's.
        }
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0101F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    eth0\t0000F40A\t0101F40A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                    down\t0000010A\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let shown: Vec<String> = routes(text)
            .iter()
            .map(|route| format!("{} {:?} {}", route.destination, route.gateway, route.interface))
            .collect();
        assert_eq!(
            shown,
            ["10.244.1.0/24 None eth0", "10.244.0.0/16 Some(10.244.1.1) eth0", "0.0.0.0/0 Some(10.244.1.1) eth0"]
        );
    }

    #[test]
    fn only_addresses_that_reach_beyond_the_link_make_a_place_speak_ipv6() {
        let link_local = "fe80000000000000a8c1abfffe3f1e2d 02 40 20 80     eth0\n";
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let unique_local = "fd00001000000000000000000000000a 02 40 00 80     eth0\n";
        let scopes = |text: &str| parse_if_inet6(text).iter().map(|address| address.scope).collect::<Vec<_>>();
        assert_eq!(scopes(&format!("{loopback}{link_local}")), [0x20]);
        assert_eq!(scopes(&format!("{loopback}{unique_local}")), [0x00]);
        assert_eq!(parse_if_inet6(unique_local)[0].address.to_string(), "fd00:10::a");
    }

    #[test]
    fn this_machine_can_be_described() {
        let hello = hello().unwrap();
        assert_eq!(hello.protocol, PROTOCOL);
        assert!(!hello.hostname.is_empty());
    }
}
