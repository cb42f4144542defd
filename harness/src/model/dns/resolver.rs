//! The resolvers that programs use: what each of them asks for a name, and what it makes of the answers.
//!
//! They read the same `resolv.conf` and ask different questions. Each is modelled in a module of its own, which says
//! where its rules come from; [`resolve_plan`] is what it asks if nothing is ever found, and [`predict`] what it asks,
//! and what the program sees, with a server that gives certain answers.

mod amplification;
mod bind;
mod compare;
mod ended;
mod glibc;
mod go;
mod hickory;
mod musl;
mod seen;
mod wire;

use std::{fmt, net::IpAddr};

use reachmap_wire::QuestionKind;

use self::wire::Wire;
pub use self::{
    amplification::{Amplification, amplification},
    compare::{Mismatch, compare},
    seen::{Failure, Seen},
    wire::{Order, Query, Round},
};
use super::{Question, ResolvConf, Response};
use crate::{Error, ErrorKind, Result};

/// A resolver, or a lookup tool as people type it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolver {
    /// `getaddrinfo` of the GNU C library, with `AI_ADDRCONFIG`, as `getent ahosts` calls it.
    Glibc,
    /// `getaddrinfo` of musl.
    Musl,
    /// Go's own resolver, `net.Resolver.LookupHost` with `GODEBUG=netdns=go`.
    Go,
    /// The Rust resolver hickory, `lookup_ip` with the system's configuration.
    Hickory,
    /// `nslookup NAME` of BIND.
    Nslookup,
    /// `dig NAME` of BIND, or `dig +search NAME`.
    Dig {
        /// Whether the search path is used.
        search: bool,
    },
}

impl Resolver {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Glibc,
        Self::Musl,
        Self::Go,
        Self::Hickory,
        Self::Nslookup,
        Self::Dig { search: false },
        Self::Dig { search: true },
    ];

    /// The name that options and reports use.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
            Self::Go => "go",
            Self::Hickory => "hickory",
            Self::Nslookup => "nslookup",
            Self::Dig { search: false } => "dig",
            Self::Dig { search: true } => "dig-search",
        }
    }

    /// The resolver of that id.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is none.
    ///
    /// ```
    /// use reachmap::model::dns::Resolver;
    /// assert_eq!(Resolver::find("dig-search")?, Resolver::Dig { search: true });
    /// assert!(Resolver::find("host").is_err());
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    pub fn find(id: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|resolver| resolver.id() == id).ok_or_else(|| {
            let known = Self::ALL.map(Self::id).join(", ");
            Error::new(ErrorKind::Usage, format!("find the resolver `{id}`"), format!("there are {known}"))
        })
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The address families that a program asks `getaddrinfo` for.
///
/// Only [`Resolver::Glibc`] and [`Resolver::Musl`] look at them: Go and hickory always ask for both, `nslookup` asks
/// for AAAA once it has an answer for A, and `dig` asks for A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Families {
    /// A is asked.
    pub v4: bool,
    /// AAAA is asked.
    pub v6: bool,
}

impl Families {
    /// Both.
    pub const BOTH: Self = Self { v4: true, v6: true };
    /// IPv4 alone.
    pub const V4: Self = Self { v4: true, v6: false };

    /// What `AI_ADDRCONFIG` makes of a host with these addresses: the families that it has beyond loopback,
    /// link-local addresses counted (`getaddrinfo(3)`; glibc's `__check_pf` leaves out loopback alone).
    ///
    /// ```
    /// use reachmap::model::dns::Families;
    /// let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    /// assert_eq!(Families::of(&addresses(&["127.0.0.1", "::1", "10.244.1.4"])), Families::V4);
    /// assert_eq!(Families::of(&addresses(&["10.244.1.4", "fe80::1"])), Families::BOTH);
    /// ```
    pub fn of(addresses: &[IpAddr]) -> Self {
        let has =
            |wanted: fn(&IpAddr) -> bool| addresses.iter().any(|address| wanted(address) && !address.is_loopback());
        match (has(IpAddr::is_ipv4), has(IpAddr::is_ipv6)) {
            // A host with neither is asked for both, as one that says nothing.
            (false, false) => Self::BOTH,
            (v4, v6) => Self { v4, v6 },
        }
    }

    /// What the panel's program for `resolver` asks for on a host with these addresses: glibc's, which gives the flag of
    /// `getent ahosts`, for the families that the host has, all others, which give no flags, for both.
    pub fn asked_by(resolver: Resolver, addresses: &[IpAddr]) -> Self {
        if resolver == Resolver::Glibc { Self::of(addresses) } else { Self::BOTH }
    }

    fn kinds(self, conf: &ResolvConf) -> Vec<QuestionKind> {
        let mut kinds = Vec::new();
        if self.v4 {
            kinds.push(QuestionKind::A);
        }
        if self.v6 && !conf.options.no_aaaa {
            kinds.push(QuestionKind::Aaaa);
        }
        kinds
    }
}

/// The questions for a name, in rounds, if no name is ever found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rounds, in order: each is over before the next begins.
    pub rounds: Vec<PlannedRound>,
}

/// One name of a plan, and the record types that are asked together for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRound {
    /// The name, absolute.
    pub name: String,
    /// The record types, in the order in which they are asked if that is fixed.
    pub kinds: Vec<QuestionKind>,
    /// Whether the record types always go over the wire in that order.
    pub is_ordered: bool,
}

impl Plan {
    /// How many questions it has.
    pub fn questions(&self) -> usize {
        self.rounds.iter().map(|round| round.kinds.len()).sum()
    }
}

/// What a resolver asks, with certain answers, and what the program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// Whose it is.
    pub resolver: Resolver,
    /// The questions, in rounds: each is over before the next begins. Retransmissions are questions too.
    pub rounds: Vec<Round>,
    /// What the program sees.
    pub seen: Seen,
}

impl Prediction {
    /// Every question, in order.
    pub fn queries(&self) -> impl Iterator<Item = &Query> {
        self.rounds.iter().flat_map(|round| &round.queries)
    }
}

/// The questions that `resolver` asks for `name` if every name is said not to exist (NXDOMAIN), for both families.
///
/// ```
/// use reachmap::model::dns::{ResolvConf, Resolver, resolve_plan};
/// let pod = ResolvConf::of_pod("shop", "cluster.local", "10.96.0.10".parse().unwrap());
/// // Four names, each with A and AAAA; with the trailing dot it is one.
/// assert_eq!(resolve_plan("api.example.com", &pod, Resolver::Glibc).questions(), 8);
/// assert_eq!(resolve_plan("api.example.com.", &pod, Resolver::Glibc).questions(), 2);
/// // musl does not search at all for a name with enough dots.
/// assert_eq!(resolve_plan("a.b.c.d.example.com", &pod, Resolver::Musl).questions(), 2);
/// ```
pub fn resolve_plan(name: &str, conf: &ResolvConf, resolver: Resolver) -> Plan {
    let nothing = Response::empty(super::Rcode::NxDomain).with_soa();
    // One server stands for all: what does not exist is asked of one alone, by all but musl, which asks all at once.
    let one = ResolvConf { nameservers: conf.nameservers.iter().take(1).copied().collect(), ..conf.clone() };
    let prediction = predict(name, &one, resolver, Families::BOTH, |_| Some(nothing.clone()));
    let rounds = prediction.rounds.into_iter().map(|round| PlannedRound {
        name: round.queries.first().map(|query| query.question.name.clone()).unwrap_or_default(),
        kinds: round.queries.iter().map(|query| query.question.kind).collect(),
        is_ordered: round.order == Order::Fixed,
    });
    Plan { rounds: rounds.collect() }
}

/// What `resolver` asks for `name`, and what the program sees, if each question has this answer; `None` is silence.
///
/// All servers of the configuration answer alike: [`predict_each`] tells them apart.
///
/// ```
/// use reachmap::{model::dns::{Corefile, Families, ResolvConf, Resolver, predict}, state::State};
/// let state = State::example();
/// let corefile: Corefile = ".:53 {\n  hosts {\n    10.0.0.1 my-nginx.external.local\n  }\n  kubernetes cluster.local\n}\n".parse()?;
/// let pod = ResolvConf::of_pod("service-type-test", "cluster.local", "10.96.0.10".parse().unwrap());
/// let prediction = predict("my-nginx.external.local", &pod, Resolver::Nslookup, Families::BOTH, |question| {
///     corefile.answer(question, &state).response().cloned()
/// });
/// assert_eq!(
///     prediction.seen.line.as_deref(),
///     Some("** server can't find my-nginx.external.local.service-type-test.svc.cluster.local: SERVFAIL"),
/// );
/// # Ok::<(), reachmap::Error>(())
/// ```
pub fn predict(
    name: &str,
    conf: &ResolvConf,
    resolver: Resolver,
    families: Families,
    mut answer: impl FnMut(&Question) -> Option<Response>,
) -> Prediction {
    predict_each(name, conf, resolver, families, |query| answer(&query.question))
}

/// The same with an answer for each [`Query`]: server, transport and question.
pub fn predict_each(
    name: &str,
    conf: &ResolvConf,
    resolver: Resolver,
    families: Families,
    mut answer: impl FnMut(&Query) -> Option<Response>,
) -> Prediction {
    let mut wire = Wire::new(&mut answer);
    let seen = match resolver {
        Resolver::Glibc => glibc::lookup(name, conf, &families.kinds(conf), &mut wire),
        Resolver::Musl => musl::lookup(name, conf, families, &mut wire),
        Resolver::Go => go::lookup(name, conf, &mut wire),
        Resolver::Hickory => hickory::lookup(name, conf, &mut wire),
        Resolver::Nslookup => bind::nslookup(name, conf, &mut wire),
        Resolver::Dig { search } => bind::dig(name, conf, search, &mut wire),
    };
    Prediction { resolver, rounds: wire.rounds(), seen }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
