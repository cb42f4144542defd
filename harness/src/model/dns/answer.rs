//! Questions and what a DNS server answers them with.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use reachmap_wire::{DnsFailure, QuestionKind, Record, RecordData};

use super::absolute;

/// One question (RFC 1035 section 4.1.2), class IN.
///
/// ```
/// use reachmap::model::dns::{Question, QuestionKind};
/// let question = Question::new("My-Nginx.External.Local", QuestionKind::Aaaa);
/// assert_eq!(question.to_string(), "my-nginx.external.local. AAAA");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name, absolute and in lower case.
    pub name: String,
    /// The record type.
    pub kind: QuestionKind,
}

impl Question {
    /// The question for the records of that type of that name, relative to the root.
    pub fn new(name: &str, kind: QuestionKind) -> Self {
        Self { name: absolute(name), kind }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// An answer's code (RFC 1035 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rcode {
    /// No error.
    NoError,
    /// The server could not read the question.
    FormErr,
    /// The server could not answer.
    ServFail,
    /// The name does not exist.
    NxDomain,
    /// The server does not do that kind of question.
    NotImp,
    /// The server would not answer.
    Refused,
}

impl Rcode {
    /// Every code that the model knows.
    pub const ALL: [Self; 6] =
        [Self::NoError, Self::FormErr, Self::ServFail, Self::NxDomain, Self::NotImp, Self::Refused];

    /// The mnemonic as `dig` prints it and recordings have it.
    pub const fn mnemonic(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::FormErr => "FORMERR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
        }
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mnemonic())
    }
}

/// One answer message, as far as resolvers look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The code.
    pub rcode: Rcode,
    /// The answer section, in order.
    pub answers: Vec<Record>,
    /// Whether the authority section has the zone's SOA record, as a negative answer should (RFC 2308 section 3).
    pub soa: bool,
    /// Whether it is cut short when it travels as a datagram (TC, RFC 2181 section 9).
    pub truncated: bool,
}

impl Response {
    /// A response with these records.
    pub fn records(answers: Vec<Record>) -> Self {
        Self { rcode: Rcode::NoError, answers, soa: false, truncated: false }
    }

    /// A response that is only a code; NOERROR is NODATA.
    ///
    /// ```
    /// use reachmap::{model::dns::{Rcode, Response}, wire::DnsFailure};
    /// assert_eq!(Response::empty(Rcode::NoError).failure(), Some(DnsFailure::NoData));
    /// assert_eq!(Response::empty(Rcode::NxDomain).failure(), Some(DnsFailure::NxDomain));
    /// ```
    pub const fn empty(rcode: Rcode) -> Self {
        Self { rcode, answers: Vec::new(), soa: false, truncated: false }
    }

    /// The same with the zone's SOA record in the authority section.
    #[must_use]
    pub fn with_soa(mut self) -> Self {
        self.soa = true;
        self
    }

    /// The addresses in the answer section.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.answers.iter().filter_map(|record| match record.data {
            RecordData::Address(address) => Some(address),
            _ => None,
        })
    }

    /// The aliases in the answer section, from the name asked to the last one.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().filter_map(|record| match &record.data {
            RecordData::Cname(target) => Some(target.as_str()),
            _ => None,
        })
    }

    /// How the question failed, if there is neither a record nor an alias.
    pub fn failure(&self) -> Option<DnsFailure> {
        match self.rcode {
            Rcode::NoError if self.answers.is_empty() => Some(DnsFailure::NoData),
            Rcode::NoError => None,
            Rcode::NxDomain => Some(DnsFailure::NxDomain),
            Rcode::ServFail => Some(DnsFailure::ServFail),
            Rcode::Refused => Some(DnsFailure::Refused),
            Rcode::FormErr | Rcode::NotImp => Some(DnsFailure::Malformed),
        }
    }
}

/// What records say: without their TTLs, which a cache counts down, and in one order, which CoreDNS shuffles.
pub fn said(records: &[Record]) -> Vec<String> {
    let mut said: Vec<String> =
        records.iter().map(|record| format!("{} {}", record.name.to_ascii_lowercase(), record.data)).collect();
    said.sort();
    said
}

impl fmt::Display for Response {
    /// The code and the records' data, such as `NOERROR 10.96.10.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rcode {
            Rcode::NoError if self.answers.is_empty() => f.write_str("NODATA")?,
            rcode => write!(f, "{rcode}")?,
        }
        for record in &self.answers {
            write!(f, " {}", record.data)?;
        }
        if self.truncated { f.write_str(" (truncated)") } else { Ok(()) }
    }
}

/// What a DNS server says to a question, and which of its parts says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The server answers by itself, or with what the upstream server is known to say.
    Answered {
        /// The part that knew the name, or refused it.
        by: Source,
        /// The message.
        response: Response,
    },
    /// Another server is asked, of which nothing is known.
    Forwarded {
        /// The aliases that lead out of the cluster, if there are any: they come first in the answer.
        aliases: Vec<Record>,
        /// What the other server is asked.
        question: Question,
    },
    /// A part of the server that the model does not know could answer.
    NotCovered {
        /// The CoreDNS plugin.
        plugin: String,
    },
}

impl Answer {
    /// The message, if the model knows it.
    pub const fn response(&self) -> Option<&Response> {
        match self {
            Self::Answered { response, .. } => Some(response),
            Self::Forwarded { .. } | Self::NotCovered { .. } => None,
        }
    }

    /// The addresses and aliases, if there is at least one address.
    pub(crate) fn found(&self) -> Option<(Source, Vec<String>, BTreeSet<IpAddr>)> {
        let Self::Answered { by, response } = self else { return None };
        let addresses: BTreeSet<IpAddr> = response.addresses().collect();
        (!addresses.is_empty()).then(|| (*by, response.aliases().map(str::to_owned).collect(), addresses))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { by, response } => write!(f, "{response}, by {by}"),
            Self::Forwarded { question, .. } => write!(f, "passed on to the upstream server: {question}"),
            Self::NotCovered { plugin } => write!(f, "not covered by the model: `{plugin}`"),
        }
    }
}

/// The part of CoreDNS that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The `hosts` plugin.
    Hosts,
    /// The `kubernetes` plugin: a Service, an endpoint, a pod, or no such name.
    Kubernetes,
    /// The `template` plugin.
    Template,
    /// The `forward` plugin, with what the upstream server is known to say.
    Forward,
    /// The `any` plugin (RFC 8482).
    Any,
    /// The server itself: no block is for the name, or no plugin was left to ask.
    Server,
}

impl Source {
    /// The plugin's name, or `server`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Kubernetes => "kubernetes",
            Self::Template => "template",
            Self::Forward => "forward",
            Self::Any => "any",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
