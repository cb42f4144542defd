//! What a program sees of a lookup.

use std::{fmt, net::IpAddr};

/// What a program sees of a lookup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The addresses, in the order of the answers; programs sort them by rules of their own (RFC 6724).
    pub addresses: Vec<IpAddr>,
    /// Why there is none, or, for `nslookup`, why there are not more.
    pub failure: Option<Failure>,
    /// The exit code of a tool: `nslookup`, `dig`.
    pub exit: Option<i32>,
    /// A line, or its telling part, that the tool prints; for a library, the text of its error.
    pub line: Option<String>,
}

/// The classes of failure that resolvers tell their callers apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The name does not exist (`EAI_NONAME`, Go's `IsNotFound`, NXDOMAIN).
    NotFound,
    /// The name exists, without an address (`EAI_NODATA`).
    NoData,
    /// It may work later: a server failed, or nobody answered (`EAI_AGAIN`, Go's `IsTemporary`).
    TryAgain,
    /// A server will not or cannot answer this (`EAI_FAIL`, "server misbehaving").
    ServerFailure,
    /// Nobody answered, where that is told apart from a server's failure.
    Timeout,
}

impl Failure {
    /// The name that reports use.
    pub const fn id(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::NoData => "no-data",
            Self::TryAgain => "try-again",
            Self::ServerFailure => "server-failure",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the name does not exist",
            Self::NoData => "the name has no address",
            Self::TryAgain => "a temporary failure",
            Self::ServerFailure => "the server fails",
            Self::Timeout => "nobody answers",
        })
    }
}

impl Seen {
    pub(super) fn found(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }

    pub(super) fn failed(failure: Failure, line: impl Into<String>) -> Self {
        Self { failure: Some(failure), line: Some(line.into()), ..Self::default() }
    }

    #[must_use]
    pub(super) fn exit(mut self, code: i32) -> Self {
        self.exit = Some(code);
        self
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        match (&self.failure, addresses.is_empty()) {
            (None, true) => f.write_str("nothing")?,
            (None, false) => f.write_str(&addresses.join(" "))?,
            (Some(failure), true) => write!(f, "{failure}")?,
            (Some(failure), false) => write!(f, "{}, and then {failure}", addresses.join(" "))?,
        }
        if let Some(line) = &self.line {
            write!(f, ": {line}")?;
        }
        match self.exit {
            Some(code) => write!(f, " (exit code {code})"),
            None => Ok(()),
        }
    }
}
