//! UDP in one direction: somebody sends numbered datagrams and reads no answer, somebody counts what arrives.
//!
//! Both are started ([`Action::StartDatagrams`](crate::Action)), go on in the background, and tell what there was when they are
//! ended ([`Action::EndDatagrams`](crate::Action)).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::FailureClass;

/// The longest that a sender or a receiver goes on, in milliseconds, if nobody ends it.
pub const MOST_DATAGRAM_MS: u64 = 10 * 60 * 1_000;

/// The most datagrams that one sender sends, and that one receiver keeps.
pub const MOST_DATAGRAMS: u64 = 1_000_000;

/// What is to be done with datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Datagrams {
    /// Send them.
    Send(SendDatagrams),
    /// Receive them.
    Receive {
        /// At this port, on every address.
        port: u16,
    },
}

/// Numbered datagrams to one destination, all from one socket: one flow, to whoever tracks connections.
///
/// Datagram `n` (from 0) is the text `<id> <n>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDatagrams {
    /// Where to.
    pub destination: SocketAddr,
    /// What each datagram starts with: letters, digits and hyphens.
    pub id: String,
    /// How long after one the next is sent, in milliseconds.
    pub every_ms: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatagramsDone {
    /// What was sent.
    Sent(SentDatagrams),
    /// What arrived.
    Received(Vec<ReceivedDatagrams>),
}

/// What a sender has to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SentDatagrams {
    /// When each datagram was given to the kernel, in microseconds since 1970, in the order of their numbers.
    pub at_us: Vec<u64>,
    /// What the kernel said: the number of the datagram that could not be sent, or, for [`FailureClass::Refused`], of the
    /// last one before somebody said (ICMP "port unreachable") that an earlier one was not wanted.
    pub failed: Vec<(u64, FailureClass)>,
}

/// What a receiver got from one sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedDatagrams {
    /// What its datagrams start with.
    pub id: String,
    /// Where they came from, as the receiver saw it.
    pub source: SocketAddr,
    /// Their numbers, in the order in which they came.
    pub numbers: Vec<u64>,
    /// When they came, in microseconds since 1970.
    pub at_us: Vec<u64>,
}
