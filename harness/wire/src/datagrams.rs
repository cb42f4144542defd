//! UDP in one direction: somebody sends numbered datagrams and reads no answer, somebody counts what arrives.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::FailureClass;

/// The most datagrams that one sender sends, and that one receiver keeps.
pub const MOST_DATAGRAMS: u64 = 1_000_000;

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
