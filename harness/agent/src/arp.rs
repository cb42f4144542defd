//! Who answers for addresses on the link: asks by ARP, and hears what others say meanwhile.
//!
//! The questions come from hardware addresses that nobody has, as [`reachmap_wire::WatchArp`] wants it. The link takes the
//! answers back to where the questions came from, to a host that its own kernel takes them not to be meant for; a packet
//! socket gets them all the same. It takes the capability `CAP_NET_RAW`, which a container has unless it is taken away.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    num::NonZero,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{LinkAddr, SockaddrIn, bind},
};
use reachmap_wire::{ArpAudience, HeardArp, MOST_ARP_QUESTIONS, SeenArp, WatchArp};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use tokio::sync::watch;

use crate::clock::now_us;

/// An Ethernet address.
type Hardware = [u8; 6];

/// An ARP packet for IPv4 with its Ethernet header.
const LENGTH: usize = 42;

/// The packets that the socket gets: `ETH_P_ARP`, in the order of bytes of the network.
const ARP: Option<NonZero<u32>> = NonZero::new(0x0806_u16.to_be() as u32);

/// The Ethernet type ARP; hardware type Ethernet, protocol type IPv4, six and four bytes long.
const KIND: [u8; 8] = [0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4];

/// How long one look for a packet takes: so exact are the moments of the questions.
const PATIENCE: Duration = Duration::from_millis(5);

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// What questions come from, before the number of their watch and their own: locally administered, so no hardware has it.
const OURS: [u8; 2] = [0x02, b'R'];

/// A packet socket on a link, and the number by which its questions are told from those of other watches.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: OwnedFd,
    number: u8,
}

/// Refuses what is not to be asked.
fn check(what: &WatchArp) -> Result<(), String> {
    if what.addresses.is_empty() {
        return Err("no address to ask about by ARP".to_owned());
    }
    if what.every_ms == 0 {
        return Err("a question every 0 ms is more than any vantage asks".to_owned());
    }
    Ok(())
}

/// Opens a socket on the link that has all of its addresses.
pub(crate) fn open(what: &WatchArp) -> Result<Watch, String> {
    static NUMBER: AtomicU8 = AtomicU8::new(0);
    check(what)?;
    let link = link(&what.addresses)?;
    let tried = |error: Errno| {
        let hint = if error == Errno::PERM { ": it takes the capability CAP_NET_RAW" } else { "" };
        format!("cannot open a packet socket for ARP: {error}{hint}")
    };
    let protocol = ARP.map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol).map_err(tried)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(tried)?;
    bind(socket.as_raw_fd(), &link).map_err(|error| format!("cannot bind to the link: {error}"))?;
    Ok(Watch { socket, number: NUMBER.fetch_add(1, Ordering::Relaxed) })
}

/// The link whose networks have all of these addresses.
fn link(addresses: &[Ipv4Addr]) -> Result<LinkAddr, String> {
    let interfaces = getifaddrs().map_err(|error| format!("cannot list the interfaces: {error}"))?;
    let mut links: HashMap<String, LinkAddr> = HashMap::new();
    let mut networks: Vec<(String, Ipv4Addr, Ipv4Addr)> = Vec::new();
    for interface in interfaces {
        let Some(address) = interface.address else { continue };
        if let Some(link) = address.as_link_addr() {
            links.insert(interface.interface_name, *link);
        } else if let Some((own, mask)) = address.as_sockaddr_in().zip(interface.netmask) {
            let mask = mask.as_sockaddr_in().map_or(Ipv4Addr::BROADCAST, SockaddrIn::ip);
            networks.push((interface.interface_name, own.ip(), mask));
        }
    }
    let has = |(_, own, mask): &&(String, Ipv4Addr, Ipv4Addr)| {
        addresses.iter().all(|address| *address & *mask == *own & *mask && !own.is_loopback())
    };
    let all = || addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (name, ..) =
        networks.iter().find(has).ok_or_else(|| format!("no interface here is on the network of {}", all()))?;
    links.get(name).copied().ok_or_else(|| format!("the interface {name} has no link"))
}

/// Asks and listens, until it is ended or nobody is there to end it. It blocks its thread.
pub(crate) fn watch(by: &Watch, what: &WatchArp, until: Instant, ended: &watch::Receiver<bool>) -> SeenArp {
    let mut seen = SeenArp::default();
    let mut next = Instant::now();
    let mut frame = [0; LENGTH];
    while !*ended.borrow() && ended.has_changed().is_ok() && Instant::now() < until {
        if Instant::now() >= next {
            // A machine that was busy asks no burst afterwards: what is late is left out.
            next = Instant::now() + Duration::from_millis(what.every_ms);
            for address in &what.addresses {
                let number = seen.asked.len() as u64;
                if number >= MOST_ARP_QUESTIONS {
                    return seen;
                }
                seen.asked.push((now_us(), *address));
                // A question that cannot be sent is one that nobody answers.
                let _ = send(&by.socket, &question(asker(by.number, number), *address), SendFlags::empty());
            }
        }
        // Nothing within the patience, or a link that is down for a while.
        if let Ok((length, _)) = recv(&by.socket, &mut frame, RecvFlags::empty()) {
            seen.heard.extend(heard(&frame[..length.min(LENGTH)], by.number, &what.addresses));
        }
    }
    seen
}

/// The hardware address of one question of a watch.
fn asker(watch: u8, number: u64) -> Hardware {
    let [.., a, b, c] = number.to_be_bytes();
    let [first, second] = OURS;
    [first, second, watch, a, b, c]
}

/// The number of the question of that watch that came from there.
fn number(hardware: Hardware, watch: u8) -> Option<u64> {
    let [first, second, own, number @ ..] = hardware;
    let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    ([first, second] == OURS && own == watch).then_some(number)
}

/// Who has `address`? A probe: the sender's own address is 0.0.0.0.
fn question(asker: Hardware, address: Ipv4Addr) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    let mut at = 0;
    for part in [&[0xff; 6][..], &asker, &KIND, &REQUEST.to_be_bytes(), &asker, &[0; 4], &[0; 6], &address.octets()] {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}

/// What a frame says of one of these addresses: that it is the sender's.
fn heard(frame: &[u8], watch: u8, addresses: &[Ipv4Addr]) -> Option<HeardArp> {
    let frame: &[u8; LENGTH] = frame.first_chunk()?;
    let kind = frame.get(12..20)?;
    let operation = u16::from_be_bytes(frame.get(20..22)?.try_into().ok()?);
    let from: Hardware = frame.get(22..28)?.try_into().ok()?;
    let octets = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let (address, to, about) = (octets(28)?, frame.get(32..38)?.try_into().ok()?, octets(38)?);
    if kind != KIND || !addresses.contains(&address) {
        return None;
    }
    let to = match (operation, number(to, watch)) {
        _ if address == about => ArpAudience::Everybody,
        (REPLY, Some(number)) => ArpAudience::Question(number),
        _ => ArpAudience::Other,
    };
    let from = from.map(|byte| format!("{byte:02x}")).join(":");
    Some(HeardArp { at_us: now_us(), address, from, to })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 18, 255, 200);
    const WATCH: u8 = 7;
    const OWNER: Hardware = [0x02, 0x42, 0xac, 0x12, 0, 3];

    /// What the owner of an address sends: to a hardware address, about an address.
    fn said(operation: u16, to: Hardware, about: Ipv4Addr) -> [u8; LENGTH] {
        let mut frame = question(asker(WATCH, 0), about);
        frame[20..22].copy_from_slice(&operation.to_be_bytes());
        frame[22..28].copy_from_slice(&OWNER);
        frame[28..32].copy_from_slice(&ADDRESS.octets());
        frame[32..38].copy_from_slice(&to);
        frame
    }

    fn to(frame: &[u8]) -> Option<ArpAudience> {
        heard(frame, WATCH, &[ADDRESS]).map(|heard| heard.to)
    }

    #[test]
    fn a_question_is_a_probe_of_rfc_5227() {
        let hex = question(asker(WATCH, 258), ADDRESS).map(|byte| format!("{byte:02x}")).concat();
        let header = ["ffffffffffff", "025207000102", "0806"];
        let packet = ["0001", "0800", "06", "04", "0001", "025207000102", "00000000", "000000000000", "ac12ffc8"];
        assert_eq!(hex, header.concat() + &packet.concat());
        // Our own questions say nothing about whose the address is.
        assert_eq!(to(&question(asker(WATCH, 258), ADDRESS)), None);
    }

    #[test]
    fn answers_and_announcements_are_told_apart() {
        let unspecified = Ipv4Addr::UNSPECIFIED;
        assert_eq!(to(&said(REPLY, asker(WATCH, 77), unspecified)), Some(ArpAudience::Question(77)));
        assert_eq!(to(&said(REPLY, [0xff; 6], ADDRESS)), Some(ArpAudience::Everybody));
        assert_eq!(to(&said(REQUEST, [0; 6], ADDRESS)), Some(ArpAudience::Everybody));
        assert_eq!(to(&said(REPLY, OWNER, Ipv4Addr::new(172, 18, 0, 9))), Some(ArpAudience::Other));
        assert_eq!(
            heard(&said(REPLY, asker(WATCH, 77), unspecified), WATCH, &[Ipv4Addr::new(172, 18, 255, 201)]),
            None
        );
        let heard = heard(&said(REPLY, asker(WATCH, 77), unspecified), WATCH, &[ADDRESS]).unwrap();
        assert_eq!((heard.from.as_str(), heard.address), ("02:42:ac:12:00:03", ADDRESS));
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        check(&WatchArp { addresses: vec![ADDRESS], every_ms: 100 }).unwrap();
        check(&WatchArp { addresses: vec![ADDRESS], every_ms: 0 }).unwrap_err();
        check(&WatchArp { addresses: vec![], every_ms: 100 }).unwrap_err();
        // Reserved (RFC 1112, section 4): no host is on that network. And nobody answers for loopback addresses.
        for address in [Ipv4Addr::new(240, 0, 0, 1), Ipv4Addr::LOCALHOST] {
            let error = link(&[address]).unwrap_err();
            assert_eq!(error, format!("no interface here is on the network of {address}"));
        }
    }

    proptest! {
        #[test]
        fn a_question_is_known_by_where_it_came_from(asked in 0..MOST_ARP_QUESTIONS) {
            prop_assert_eq!(number(asker(WATCH, asked), WATCH), Some(asked));
            prop_assert_eq!(number(asker(WATCH + 1, asked), WATCH), None, "another watch's");
            prop_assert_eq!(to(&said(REPLY, asker(WATCH, asked), Ipv4Addr::UNSPECIFIED)), Some(ArpAudience::Question(asked)));
        }

        #[test]
        fn no_frame_makes_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = heard(&frame, WATCH, &[ADDRESS]);
        }
    }
}
