//! Who answers for addresses on the link: asks by ARP, and hears what others say meanwhile.
//!
//! The questions come from hardware addresses that nobody has, as [`reachmap_wire::WatchArp`] wants it. The link takes the
//! answers back to where the questions came from, to a host that its own kernel takes them not to be meant for; a packet
//! socket gets them all the same. It takes the capability `CAP_NET_RAW`, which a container has unless it is taken away.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::Ipv4Addr,
    num::NonZero,
    os::fd::{AsRawFd as _, OwnedFd},
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

/// What hardware addresses of questions begin with: locally administered, so no hardware has them.
const LOCAL: u8 = 0x02;

/// How long an answer may take once nothing is asked any more.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// By chance: what questions of one watch are told by from those of others, here and anywhere else on the link.
type Mark = [u8; 2];

/// A packet socket on a link.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: OwnedFd,
    mark: Mark,
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
    let [first, second, ..] = RandomState::new().hash_one(()).to_be_bytes();
    Ok(Watch { socket, mark: [first, second] })
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

/// Asks and listens, until it is ended or nobody is there to end it, and a little longer for the last answers. It blocks its
/// thread.
pub(crate) fn watch(by: &Watch, what: &WatchArp, until: Instant, ended: &watch::Receiver<bool>) -> SeenArp {
    let mut seen = SeenArp::default();
    let mut next = Instant::now();
    let mut last: Option<Instant> = None;
    let mut frame = [0; LENGTH];
    while last.is_none_or(|last| Instant::now() < last) {
        let is_over = *ended.borrow() || ended.has_changed().is_err() || Instant::now() >= until;
        if is_over || seen.asked.len() as u64 >= MOST_ARP_QUESTIONS {
            last.get_or_insert_with(|| Instant::now() + LAST_ANSWERS);
        } else if Instant::now() >= next {
            // A machine that was busy asks no burst afterwards: what is late is left out.
            next = Instant::now() + Duration::from_millis(what.every_ms);
            for address in &what.addresses {
                let number = seen.asked.len() as u64;
                seen.asked.push((now_us(), *address));
                // A question that cannot be sent is one that nobody answers.
                let _ = send(&by.socket, &question(asker(by.mark, number), *address), SendFlags::empty());
            }
        }
        // Nothing within the patience, or a link that is down for a while.
        if let Ok((length, _)) = recv(&by.socket, &mut frame, RecvFlags::empty()) {
            seen.heard.extend(heard(&frame[..length], by.mark, &what.addresses));
        }
    }
    seen
}

/// The hardware address of one question of a watch.
fn asker(mark: Mark, number: u64) -> Hardware {
    let [.., a, b, c] = number.to_be_bytes();
    let [first, second] = mark;
    [LOCAL, first, second, a, b, c]
}

/// The number of the question of that watch that came from there.
fn number(hardware: Hardware, mark: Mark) -> Option<u64> {
    let [local, first, second, number @ ..] = hardware;
    let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (local == LOCAL && [first, second] == mark).then_some(number)
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
fn heard(frame: &[u8], mark: Mark, addresses: &[Ipv4Addr]) -> Option<HeardArp> {
    let frame: &[u8; LENGTH] = frame.first_chunk()?;
    let kind = frame.get(12..20)?;
    let operation = u16::from_be_bytes(frame.get(20..22)?.try_into().ok()?);
    let from: Hardware = frame.get(22..28)?.try_into().ok()?;
    let octets = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let (address, to, about) = (octets(28)?, frame.get(32..38)?.try_into().ok()?, octets(38)?);
    if kind != KIND || !addresses.contains(&address) {
        return None;
    }
    let to = match (operation, number(to, mark)) {
        _ if address == about => ArpAudience::Everybody,
        (REPLY, Some(number)) => ArpAudience::Question(number),
        _ => ArpAudience::Other,
    };
    let from = from.map(|byte| format!("{byte:02x}")).join(":");
    Some(HeardArp { at_us: now_us(), address, from, to })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use proptest::prelude::*;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 18, 255, 200);
    const MARK: Mark = [b'R', 7];
    const OWNER: Hardware = [0x02, 0x42, 0xac, 0x12, 0, 3];

    /// What the owner of an address sends: to a hardware address, about an address.
    fn said(operation: u16, to: Hardware, about: Ipv4Addr) -> [u8; LENGTH] {
        let mut frame = question(asker(MARK, 0), about);
        frame[20..22].copy_from_slice(&operation.to_be_bytes());
        frame[22..28].copy_from_slice(&OWNER);
        frame[28..32].copy_from_slice(&ADDRESS.octets());
        frame[32..38].copy_from_slice(&to);
        frame
    }

    fn to(frame: &[u8]) -> Option<ArpAudience> {
        heard(frame, MARK, &[ADDRESS]).map(|heard| heard.to)
    }

    #[test]
    fn a_question_is_a_probe_of_rfc_5227() {
        let hex = question(asker(MARK, 258), ADDRESS).map(|byte| format!("{byte:02x}")).concat();
        let header = ["ffffffffffff", "025207000102", "0806"];
        let packet = ["0001", "0800", "06", "04", "0001", "025207000102", "00000000", "000000000000", "ac12ffc8"];
        assert_eq!(hex, header.concat() + &packet.concat());
        // Our own questions say nothing about whose the address is.
        assert_eq!(to(&question(asker(MARK, 258), ADDRESS)), None);
    }

    #[test]
    fn answers_and_announcements_are_told_apart() {
        let unspecified = Ipv4Addr::UNSPECIFIED;
        assert_eq!(to(&said(REPLY, asker(MARK, 77), unspecified)), Some(ArpAudience::Question(77)));
        assert_eq!(to(&said(REPLY, [0xff; 6], ADDRESS)), Some(ArpAudience::Everybody));
        assert_eq!(to(&said(REQUEST, [0; 6], ADDRESS)), Some(ArpAudience::Everybody));
        assert_eq!(to(&said(REPLY, OWNER, Ipv4Addr::new(172, 18, 0, 9))), Some(ArpAudience::Other));
        assert_eq!(heard(&said(REPLY, asker(MARK, 77), unspecified), MARK, &[Ipv4Addr::new(172, 18, 255, 201)]), None);
        let heard = heard(&said(REPLY, asker(MARK, 77), unspecified), MARK, &[ADDRESS]).unwrap();
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

    /// A watch whose link is a pair of sockets, and the other one of them.
    fn linked() -> (Watch, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (Watch { socket: ours.into(), mark: MARK }, theirs)
    }

    #[test]
    fn the_answer_to_the_last_question_is_waited_for() {
        let (by, theirs) = linked();
        let (end, ended) = watch::channel(false);
        let other = std::thread::spawn(move || {
            let mut frame = [0; LENGTH];
            assert_eq!(theirs.recv(&mut frame).unwrap(), LENGTH);
            // It is answered only after nothing is asked any more.
            end.send(true).unwrap();
            let asker: Hardware = frame[22..28].try_into().unwrap();
            theirs.send(&said(REPLY, asker, Ipv4Addr::UNSPECIFIED)).unwrap();
        });
        let what = WatchArp { addresses: vec![ADDRESS], every_ms: 60_000 };
        let seen = watch(&by, &what, Instant::now() + Duration::from_secs(60), &ended);
        other.join().unwrap();
        assert_eq!(seen.asked.len(), 1);
        let to: Vec<ArpAudience> = seen.heard.iter().map(|heard| heard.to).collect();
        assert_eq!(to, [ArpAudience::Question(0)]);
    }

    #[test]
    fn it_ends_when_nobody_is_there_to_end_it() {
        let (by, _theirs) = linked();
        let (end, ended) = watch::channel(false);
        drop(end);
        let what = WatchArp { addresses: vec![ADDRESS], every_ms: 60 };
        assert_eq!(watch(&by, &what, Instant::now() + Duration::from_secs(60), &ended), SeenArp::default());
    }

    proptest! {
        #[test]
        fn a_question_is_known_by_where_it_came_from(asked in 0..MOST_ARP_QUESTIONS) {
            prop_assert_eq!(number(asker(MARK, asked), MARK), Some(asked));
            prop_assert_eq!(number(asker([b'R', 8], asked), MARK), None, "another watch's");
            prop_assert_eq!(to(&said(REPLY, asker(MARK, asked), Ipv4Addr::UNSPECIFIED)), Some(ArpAudience::Question(asked)));
        }

        #[test]
        fn no_frame_makes_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = heard(&frame, MARK, &[ADDRESS]);
        }
    }
}
