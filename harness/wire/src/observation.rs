//! What a probe saw, step by step: resolve, route, connect, respond.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Everything that one probe saw, in the order in which it happened.
///
/// A step that was not reached is absent; the last step that is there is where the probe ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Observation {
    /// The name's resolution; absent if the request named an address.
    pub resolve: Option<Resolve>,
    /// The kernel's route to the first address.
    pub route: Option<Route>,
    /// The TCP connection; the last attempt if there were several addresses.
    pub connect: Option<Connect>,
    /// The HTTP exchange.
    pub respond: Option<Respond>,
    /// From the start of the probe to its end, in microseconds.
    pub elapsed_us: u64,
}

/// The steps of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// From the name to addresses.
    Resolve,
    /// From the address to a source address and a next hop.
    Route,
    /// The TCP handshake.
    Connect,
    /// The HTTP exchange.
    Respond,
}

/// How a name was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resolve {
    /// The name as it was given, with its trailing dot if it had one.
    pub name: String,
    /// Every question in the order in which it was asked, with its answer.
    pub questions: Vec<Question>,
    /// The addresses that the walk ended with; empty if it failed.
    pub addresses: Vec<IpAddr>,
    /// The full name that was answered, after the search path, before any CNAME.
    pub answered: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<DnsFailure>,
    /// How long the walk took, in microseconds.
    pub elapsed_us: u64,
}

/// How a resolution fails, told apart as no `getaddrinfo` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DnsFailure {
    /// Every name of the walk is said not to exist (RFC 1035 rcode 3).
    NxDomain,
    /// A name exists, without an address of the wanted family (RFC 2308 section 2.2).
    NoData,
    /// The server could not answer (rcode 2).
    ServFail,
    /// The server would not answer (rcode 5).
    Refused,
    /// No answer came in time.
    Timeout,
    /// No server could be asked at all: none configured, or the socket failed.
    NoServer,
    /// The answer could not be understood.
    Malformed,
}

/// One question put to a DNS server, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Question {
    /// The name asked, absolute, with the trailing dot.
    pub name: String,
    /// The record type asked for.
    pub kind: QuestionKind,
    /// The server asked.
    pub server: SocketAddr,
    /// The answer's code, such as `NOERROR`, `NXDOMAIN`, `SERVFAIL`; absent if no answer came.
    pub rcode: Option<String>,
    /// The answer section, in order.
    pub answers: Vec<Record>,
    /// Why there was no usable answer, if there was none.
    pub failure: Option<DnsFailure>,
    /// How long the answer took, in microseconds.
    pub elapsed_us: u64,
}

/// The record types that are asked for and told apart (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum QuestionKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// An alias.
    Cname,
    /// The name behind an address.
    Ptr,
    /// Where a service is: priority, weight, port and target.
    Srv,
    /// Text.
    Txt,
    /// The servers of a zone.
    Ns,
    /// The start of a zone.
    Soa,
    /// Whatever there is.
    Any,
    /// Any other type, by its number.
    Other(u16),
}

impl std::fmt::Display for QuestionKind {
    /// The type's mnemonic, or `TYPE…` (RFC 3597 section 5).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
            Self::Ns => "NS",
            Self::Soa => "SOA",
            Self::Any => "ANY",
            Self::Other(number) => return write!(f, "TYPE{number}"),
        })
    }
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// The record's owner name, absolute.
    pub name: String,
    /// Time to live, in seconds.
    pub ttl: u32,
    /// The record's data.
    pub data: RecordData,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RecordData {
    /// An address (A or AAAA).
    Address(IpAddr),
    /// An alias (CNAME), absolute.
    Cname(String),
    /// The name behind an address (PTR), absolute.
    Ptr(String),
    /// Where a service is (SRV).
    Srv {
        /// Lower ones are to be tried first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host, absolute.
        target: String,
    },
    /// Any other type, in presentation format.
    Other(String),
}

impl std::fmt::Display for RecordData {
    /// In presentation format, with the type before it where the data does not tell.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Cname(name) => write!(f, "CNAME {name}"),
            Self::Ptr(name) => write!(f, "PTR {name}"),
            Self::Srv { priority, weight, port, target } => write!(f, "SRV {priority} {weight} {port} {target}"),
            Self::Other(data) => f.write_str(data),
        }
    }
}

/// The route that the kernel would take to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Route {
    /// The destination asked about.
    pub destination: IpAddr,
    /// What the kernel said.
    pub outcome: RouteOutcome,
}

/// What the kernel says of a route, learned by connecting a UDP socket: nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteOutcome {
    /// There is one, and packets would leave from this address.
    Source(IpAddr),
    /// There is none.
    Failed(Failure),
}

/// A TCP connection attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Connect {
    /// Where to.
    pub destination: SocketAddr,
    /// Where from, if it was established.
    pub local: Option<SocketAddr>,
    /// Why it was not, if it was not.
    pub failure: Option<Failure>,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
}

/// A network failure: its class and the system's own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// The operating system's message.
    pub message: String,
}

/// The classes of network failure that tell causes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// `ENETUNREACH`: no route, here or at a router that said so.
    NetworkUnreachable,
    /// `EHOSTUNREACH`: the last router, or the neighbour table, found nobody there.
    HostUnreachable,
    /// `ECONNREFUSED`: somebody answered with a reset, or a rule rejected it.
    Refused,
    /// `ECONNRESET`: an established connection was torn down.
    Reset,
    /// `EACCES` or `EPERM`: a rule or a permission forbade it.
    Forbidden,
    /// Nothing came back in time.
    Timeout,
    /// The other end closed before it had answered in full.
    Closed,
    /// What came back was not HTTP.
    Malformed,
    /// Anything else.
    Other,
}

/// An HTTP exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Respond {
    /// The status code, if an answer came.
    pub status: Option<u16>,
    /// The `X-Served-By` header: the pod that answered.
    pub served_by: Option<String>,
    /// The `X-Client-Address` header: the source address that the pod saw.
    pub client_address: Option<IpAddr>,
    /// The first bytes of the body, at most 256, as text.
    pub body_start: String,
    /// The length of the body, in bytes.
    pub body_length: u64,
    /// Why the exchange failed, if it did.
    pub failure: Option<Failure>,
    /// How long it took from the first byte sent, in microseconds.
    pub elapsed_us: u64,
}

impl Observation {
    /// The last step that was reached.
    ///
    /// ```
    /// assert_eq!(reachmap_wire::Observation::default().last_step(), None);
    /// ```
    pub fn last_step(&self) -> Option<Step> {
        [
            self.respond.as_ref().map(|_| Step::Respond),
            self.connect.as_ref().map(|_| Step::Connect),
            self.route.as_ref().map(|_| Step::Route),
            self.resolve.as_ref().map(|_| Step::Resolve),
        ]
        .into_iter()
        .flatten()
        .next()
    }

    /// Whether an HTTP answer with status 200 came back.
    pub fn is_reached(&self) -> bool {
        self.respond.as_ref().is_some_and(|respond| respond.status == Some(200) && respond.failure.is_none())
    }
}
