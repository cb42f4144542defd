//! What a resolver really asked: one lookup by a program that is not ours, recorded on its way to the DNS server.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{DnsFailure, QuestionKind, Record};

/// One lookup to make behind the agent's recorder.
///
/// The recorder listens on port 53 of the vantage's loopback address, which the vantage's `resolv.conf` must
/// name as its only server; it passes every message on as it is, and writes down what it was. One lookup is made at a
/// time, so that whatever is asked meanwhile belongs to it; beside it, any number of those that keep their socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Who asks.
    pub asker: Asker,
    /// Where the recorder passes the questions on to: UDP and TCP.
    pub server: SocketAddr,
    /// How long the lookup may take, in milliseconds; then the program is ended.
    pub timeout_ms: u64,
    /// Whether the asker is a program that has its socket open as long as it waits for an answer, and repeats a question
    /// from the same socket, as musl does: its questions can be told from others' by looking whose socket they come from.
    pub keeps_socket: bool,
}

/// Who makes a recorded lookup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// A program that is started for this one lookup.
    Program {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// The Rust resolver hickory, which is built into the agent, with the vantage's own `resolv.conf`.
    Hickory {
        /// The name, with or without trailing dot.
        name: String,
    },
}

/// What a recorded lookup asked, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Recorded {
    /// Every question in the order in which the recorder got it, repetitions included.
    pub questions: Vec<RecordedQuestion>,
    /// How many messages came that ask nothing that can be read; they were passed on, too.
    pub unreadable: u32,
    /// How many messages came that belong to none of the lookups under way, all of which keep their sockets; they were
    /// not passed on.
    pub strays: u32,
    /// How the asker ended.
    pub end: End,
    /// From the start of the asker to its end, in microseconds.
    pub elapsed_us: u64,
    /// The longest time for which the machine did not run the recorder although it had to run, in microseconds: timers
    /// that are shorter may have run out in the asker, too, whose questions then say more of the machine than of it.
    pub starved_us: u64,
}

/// One question as it went over the wire, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecordedQuestion {
    /// When it came, in microseconds from the start of the asker.
    pub at_us: u64,
    /// The message's id.
    pub id: u16,
    /// How it was sent.
    pub transport: Transport,
    /// The name asked, absolute, with the trailing dot, in the case in which it was asked.
    pub name: String,
    /// The record type asked for.
    pub kind: QuestionKind,
    /// The first answer's code, such as `NOERROR`; absent if none that can be read came before the asker ended.
    pub rcode: Option<String>,
    /// Whether the answer said that it was cut short (RFC 1035 section 4.1.1, TC).
    pub truncated: bool,
    /// The answer section, in order.
    pub answers: Vec<Record>,
    /// Whether the authority section had the SOA record of a zone, as a negative answer's should (RFC 2308 section 3).
    #[serde(default)]
    pub soa: bool,
    /// From the question to its first answer, in microseconds; absent without one.
    pub elapsed_us: Option<u64>,
}

/// How a DNS message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// As a datagram.
    Udp,
    /// Over a connection (RFC 7766).
    Tcp,
}

/// How an asker ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A program ended by itself, or by a signal.
    Exited {
        /// Its exit code; absent if a signal ended it.
        code: Option<i32>,
        /// What it wrote to its standard output, at most 64 KiB, as text.
        stdout: String,
        /// What it wrote to its standard error, at most 64 KiB, as text.
        stderr: String,
    },
    /// The built-in resolver found addresses, in its order.
    Addresses(Vec<std::net::IpAddr>),
    /// The built-in resolver failed.
    Failed {
        /// How, as far as it tells its caller.
        failure: DnsFailure,
        /// Its own words.
        text: String,
    },
    /// It was ended because its time was up.
    TimedOut,
    /// The program is not there, or what loads it is not (`execve(2)`, ENOENT).
    NoSuchProgram,
}
