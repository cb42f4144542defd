//! What the harness and the probe agent say to each other: one JSON line a message.
//!
//! The harness writes [`Request`]s to the agent's standard input and reads [`Reply`]s from its
//! standard output, in any order, matched by id: one for each, but for a [`Load`], which has many. The agent ends when its standard input ends,
//! or when it has heard nothing for [`IDLE_LIMIT_SECONDS`].

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

mod arp;
mod background;
mod datagrams;
mod load;
mod observation;
mod recording;

pub use arp::{ArpAudience, HeardArp, MOST_ARP_QUESTIONS, SeenArp, WatchArp};
pub use background::{Background, Ended, MOST_BACKGROUND_MS};
pub use datagrams::{MOST_DATAGRAMS, ReceivedDatagrams, SendDatagrams, SentDatagrams};
pub use load::{
    Answer, ConnectionEnd, Extent, Fate, Load, LoadPart, Loaded, LoadedConnection, LoadedRequest, MOST_CONNECTIONS,
    Spread,
};
pub use observation::{
    Connect, DnsFailure, Failure, FailureClass, Observation, Question, QuestionKind, Record, RecordData, Resolve,
    Respond, Route, RouteOutcome, Step,
};
pub use recording::{Asker, End, Recorded, RecordedQuestion, Recording, Transport};

/// The version of this protocol; harness and agent must agree on it.
pub const PROTOCOL: u32 = 7;

/// An agent that has heard nothing for this many seconds ends: its harness is gone.
pub const IDLE_LIMIT_SECONDS: u64 = 30;

/// One message to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the harness; the reply carries the same.
    pub id: u64,
    /// What the agent should do.
    pub action: Action,
}

/// What an agent can be asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Describe the place where the agent stands.
    Hello,
    /// Nothing; proves that the harness still lives.
    Ping,
    /// Send one HTTP request over a new connection and report every step.
    Probe(Probe),
    /// Only resolve a name, as the first step of a probe does.
    Resolve(Lookup),
    /// Let another resolver look a name up, and record what it asks.
    Record(Recording),
    /// Send many HTTP requests; answered piece by piece.
    Load(Load),
    /// Let the load of that request start no further request; what is under way ends, and then the load does.
    StopLoad(u64),
    /// Go on with something in the background.
    Start(Background),
    /// End what the request of that id has started, and tell what there was.
    End(u64),
}

/// A name to resolve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name, with or without trailing dot.
    pub name: String,
    /// Ask this server in place of the vantage's own (port 53 if it is the vantage's own).
    pub server: Option<SocketAddr>,
}

/// One HTTP request to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What the request names: a DNS name (a trailing dot is kept) or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The path, `/` for the front page.
    pub path: String,
    /// Sent as `X-Request-Id`, so that both ends can be matched.
    pub request_id: String,
    /// How long one connection attempt may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the whole probe may take, in milliseconds.
    pub timeout_ms: u64,
    /// Connect from a port that the kernel never picks by itself: what an attempt leaves in connection tables on its
    /// way then meets no later connection.
    pub aside: bool,
}

/// One message from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The id of the request that this answers.
    pub id: u64,
    /// The answer.
    pub outcome: Outcome,
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// To [`Action::Hello`].
    Hello(Hello),
    /// To [`Action::Ping`] and [`Action::StopLoad`].
    Pong,
    /// To [`Action::Probe`].
    Observation(Box<Observation>),
    /// To [`Action::Resolve`].
    Resolve(Resolve),
    /// To [`Action::Record`].
    Recorded(Recorded),
    /// To [`Action::Load`], as often as there is something to tell; more follows.
    LoadPart(Box<LoadPart>),
    /// To [`Action::Load`], at last.
    Loaded(Box<Loaded>),
    /// To [`Action::Start`]: the socket's own address, if it has one.
    Started(Option<SocketAddr>),
    /// To [`Action::End`].
    Ended(Ended),
    /// The request could not be understood or carried out; says why.
    Error(String),
}

/// The place where an agent stands, as its own kernel and files tell it: configuration, not measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    /// The protocol that the agent speaks, [`PROTOCOL`].
    pub protocol: u32,
    /// The host name.
    pub hostname: String,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// The addresses of its interfaces, loopback left out.
    pub addresses: Vec<IpAddr>,
    /// The main IPv4 routing table, as in `/proc/net/route`, most specific first.
    pub routes: Vec<RouteEntry>,
}

/// One entry of a routing table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteEntry {
    /// The destination network, `0.0.0.0/0` for the default route.
    pub destination: String,
    /// The next hop, if the destination is not on the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: String,
}
