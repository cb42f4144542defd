//! Who answers for an IPv4 address on the link: the Address Resolution Protocol
//! ([RFC 826](https://www.rfc-editor.org/rfc/rfc826)), asked again and again, and listened to meanwhile.
//!
//! The questions are probes of [RFC 5227](https://www.rfc-editor.org/rfc/rfc5227#section-2.1.1): the sender has no IPv4 address,
//! so nobody learns one from them. Each question comes from a hardware address of its own that no host has: an answer
//! tells by where it is sent to which question it belongs, and the kernel of the host that asks learns nothing from it. So
//! whoever sends to the address at the same time still depends on what everybody else on the link depends on.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// The most questions of one watch.
pub const MOST_ARP_QUESTIONS: u64 = 100_000;

/// Whom to ask about, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchArp {
    /// The addresses, all on one link of the vantage.
    pub addresses: Vec<Ipv4Addr>,
    /// How long after a question about each of them the next is asked, in milliseconds.
    pub every_ms: u64,
}

/// What a watch has to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeenArp {
    /// When each question was sent, in microseconds since 1970, and about which address, in the order of their numbers.
    pub asked: Vec<(u64, Ipv4Addr)>,
    /// What was heard of the addresses, in the order in which it came.
    pub heard: Vec<HeardArp>,
}

/// One packet in which somebody says that an address is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardArp {
    /// When it came, in microseconds since 1970.
    pub at_us: u64,
    /// The address.
    pub address: Ipv4Addr,
    /// The hardware address that says so, as in `02:42:ac:12:00:03`.
    pub from: String,
    /// To whom.
    pub to: ArpAudience,
}

/// Whom a packet was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArpAudience {
    /// An answer to the question of that number.
    Question(u64),
    /// Everybody: a gratuitous one, which nobody asked for
    /// ([RFC 5944, section 4.6](https://www.rfc-editor.org/rfc/rfc5944#section-4.6)).
    Everybody,
    /// Somebody else.
    Other,
}
