//! A load: many requests from one place, and what became of each.
//!
//! The answer to one [`Load`] is a stream: any number of [`LoadPart`]s, then one [`Loaded`], all with the request's id.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Failure;

mod pack;

/// The most connections at once: what one vantage's local ports carry with ease (`ip_local_port_range`, 28,232 by default).
pub const MOST_CONNECTIONS: u32 = 20_000;

/// Many HTTP requests to one destination.
///
/// Request `n` (from 0) has the id `<id_prefix>-<n>`. It is sent as `X-Request-Id` and stands in the path, so that any
/// access log shows it: `GET /?id=<id_prefix>-<n> HTTP/1.1`. No id is sent twice: a request that fails is
/// reported, and is not repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Where to: never a name, so that the harness knows whom it loads.
    pub destination: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// What the path starts with, `/` for the front page.
    pub path: String,
    /// When it has done enough.
    pub extent: Extent,
    /// How many requests are under way at once, each on a connection of its own.
    pub connections: u32,
    /// Whether a connection is kept for the next request; else each request has a new one.
    pub keep_alive: bool,
    /// How many requests a second are to start, over all connections; without it, each starts when the one before it on
    /// its connection has ended.
    pub rate_per_second: Option<f64>,
    /// What the ids start with.
    pub id_prefix: String,
    /// How long one connection attempt may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long one request may take, the connection included, in milliseconds.
    pub timeout_ms: u64,
    /// Wait until this moment, in microseconds since 1970: several agents start together.
    pub start_at_unix_us: Option<u64>,
    /// The longest body that is read, in bytes.
    pub max_body: u64,
    /// Whether connections leave from ports of the agent's own, one after the other, of which none is used again for as long as
    /// connection tables may remember what failed.
    #[serde(default)]
    pub fresh_ports: bool,
}

/// When a load has done enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// After that many requests.
    Requests(u64),
    /// When no request may start any more, in milliseconds from the start.
    DurationMs(u64),
}

/// Some of a load's requests and connections, those that have ended; packed, and complete in itself.
///
/// [`LoadPart::pack`] and [`LoadPart::unpack`] translate. The columns have an entry for each request or connection; each
/// that counts up has the difference to the entry before it, the first one to 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadPart {
    /// What the numbers in `answers` mean.
    pub table: Vec<Answer>,
    /// The requests' numbers, as differences.
    pub numbers: Vec<i64>,
    /// The requests' connections, as differences.
    pub connections: Vec<i64>,
    /// When the requests started, as differences.
    pub starts_us: Vec<i64>,
    /// How long the requests took.
    pub took_us: Vec<u64>,
    /// The requests' answers: places in the table.
    pub answers: Vec<u32>,
    /// How much later than intended the requests started; empty if there is no rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_us: Vec<u64>,
    /// The connections that have ended: number and start as differences, time to connect (-1 if it was not established),
    /// local port (0 if there is none), requests carried, and how it ended: 0 by us, 1 by the server, else 2 and the
    /// place in `failures`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<[i64; 6]>,
    /// What the ends of the connections mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

/// What became of one request of a load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoadedRequest {
    /// Its number: its id is `<id_prefix>-<number>`.
    pub number: u64,
    /// The number of the connection that was to carry it.
    pub connection: u64,
    /// When it started, connecting included, in microseconds from the load's start.
    pub start_us: u64,
    /// How much later that was than intended, in microseconds, if there is a rate.
    pub late_us: Option<u64>,
    /// From its start to its end, in microseconds.
    pub took_us: u64,
    /// How it ended.
    pub answer: Answer,
}

impl LoadedRequest {
    /// From the intended start to the end, in microseconds.
    ///
    /// With a rate, a request that had to wait for its turn counts its wait: whoever leaves it out hides just the
    /// requests that a slow server has delayed (coordinated omission: Gil Tene, "How NOT to Measure Latency"; the
    /// README of wrk2).
    pub const fn latency_us(&self) -> u64 {
        match self.late_us {
            Some(late) => self.took_us.saturating_add(late),
            None => self.took_us,
        }
    }
}

/// How a request of a load ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The status code, if an answer's head came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `X-Served-By` header: the pod that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    /// The `X-Client-Address` header: the source address that the pod saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<IpAddr>,
    /// Why it failed, if it did: a status is no failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How far it had got.
    pub fate: Fate,
}

/// How far a request has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// No byte of it was given to the kernel: the server cannot have seen it.
    #[default]
    Unsent,
    /// The kernel took some of it.
    PartlySent,
    /// The kernel took all of it, and nothing came back: the server may have answered it, and logged so.
    Sent,
    /// Some of the answer came.
    Answering,
    /// All of the answer came.
    Answered,
}

/// One connection of a load, once it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoadedConnection {
    /// Its number, from 0 in the order of the attempts.
    pub number: u64,
    /// When it was started, in microseconds from the load's start.
    pub start_us: u64,
    /// How long it took to establish, in microseconds; absent if it was not.
    pub connect_us: Option<u64>,
    /// The local port, if it was established.
    pub local_port: Option<u16>,
    /// How many requests were written to it, in part at least.
    pub requests: u32,
    /// How it ended.
    pub end: ConnectionEnd,
}

/// How a connection of a load ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConnectionEnd {
    /// We had no more use for it.
    Ours,
    /// The server closed it between two requests, or said that it would.
    Servers,
    /// It could not be established, or broke.
    Failed(Failure),
}

/// The end of a load, and what is known of it as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Loaded {
    /// When it started, in microseconds since 1970, by the vantage's clock.
    pub started_at_unix_us: u64,
    /// From its start to the end of its last request, in microseconds.
    pub elapsed_us: u64,
    /// How many requests the parts tell of.
    pub requests: u64,
    /// How many connections the parts tell of.
    pub connections: u64,
    /// How many parts there were.
    pub parts: u64,
    /// The bodies' bytes, all together.
    pub body_bytes: u64,
    /// Writing a request that was answered.
    pub write: Spread,
    /// From a request that was answered to its answer's first byte.
    pub wait: Spread,
    /// From an answer's first byte to its last.
    pub read: Spread,
    /// How long requests waited because nobody took the results, in microseconds: not 0 if the load was not what was
    /// asked for, and the harness is why.
    pub held_us: u64,
    /// Whether it was ended before it had done enough.
    pub cancelled: bool,
}

/// Times of which only the outline is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Their sum, in microseconds.
    pub sum_us: u64,
    /// The shortest, in microseconds; 0 if there is none.
    pub min_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

impl Spread {
    /// Adds one time, in microseconds.
    pub fn add(&mut self, us: u64) {
        self.merge(Self { count: 1, sum_us: us, min_us: us, max_us: us });
    }

    /// Adds all of another's times.
    ///
    /// ```
    /// let mut spread = reachmap_wire::Spread::default();
    /// for us in [7, 3] {
    ///     spread.add(us);
    /// }
    /// assert_eq!((spread.count, spread.sum_us, spread.min_us, spread.max_us), (2, 10, 3, 7));
    /// ```
    pub fn merge(&mut self, other: Self) {
        self.min_us = match (self.count, other.count) {
            (0, _) => other.min_us,
            (_, 0) => self.min_us,
            _ => self.min_us.min(other.min_us),
        };
        self.count += other.count;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }
}
