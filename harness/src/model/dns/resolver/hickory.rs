//! The Rust resolver hickory, 0.26: `Resolver::builder_tokio()` and `lookup_ip`.
//!
//! Sources: <https://docs.rs/hickory-resolver/0.26.3/hickory_resolver/>; the walk is `build_names` in `resolver.rs`
//! and `LookupIpFuture` in `lookup_ip.rs`, aliases are followed in `caching_client.rs`, servers and the way to TCP are
//! `name_server_pool.rs`, and attempts are `xfer/retry_dns_handle.rs` of `hickory-net` and its `udp_client_stream.rs`.
//!
//! A and AAAA run side by side; any failure moves on to the next name; an alias without an address is asked after. Of
//! several servers, two are asked at once, and which depends on their past speed: the model is exact for one server.

use std::collections::BTreeMap;

use reachmap_wire::{QuestionKind, Transport};

use super::{
    Failure, Seen,
    wire::{Order, Wire},
};
use crate::model::dns::{Question, Rcode, ResolvConf, Response, absolute, is_in_zone};

/// Aliases are not followed further than this (`MAX_QUERY_DEPTH`).
const MAX_DEPTH: usize = 8;
/// A datagram that is not answered is sent again after this share of a second, and then again (`DEFAULT_RETRY_FLOOR`).
const RETRY_MILLISECONDS: u64 = 333;
/// How often it is sent again at most (`max_retries`).
const MAX_RETRIES: u64 = 3;

struct Lookup<'c, 'w, 'a> {
    conf: &'c ResolvConf,
    wire: &'w mut Wire<'a>,
    known: BTreeMap<Question, Result<Response, Failure>>,
}

pub(super) fn lookup(name: &str, conf: &ResolvConf, wire: &mut Wire<'_>) -> Seen {
    let mut lookup = Lookup { conf, wire, known: BTreeMap::new() };
    let mut failure = Failure::NotFound;
    for full in names(name, conf) {
        lookup.wire.round(Order::PerKind);
        let answers = [QuestionKind::Aaaa, QuestionKind::A].map(|kind| lookup.follow(&full, kind, 0));
        let addresses: Vec<_> = answers.iter().flatten().flatten().copied().collect();
        if !addresses.is_empty() {
            return Seen::found(addresses);
        }
        // When both fail it is the first, AAAA, that is reported.
        if let [Err(first), _] = answers {
            failure = first;
        }
    }
    let text = match failure {
        Failure::NotFound | Failure::NoData => "no records found",
        Failure::TryAgain => "Server Failure",
        Failure::ServerFailure => "error response",
        Failure::Timeout => "timed out",
    };
    Seen::failed(failure, text)
}

/// In order, each name once.
fn names(name: &str, conf: &ResolvConf) -> Vec<String> {
    let itself = absolute(name);
    if name.ends_with('.') {
        return vec![itself];
    }
    let first = name.matches('.').count() >= conf.ndots || is_in_zone(&itself, "localhost.");
    let mut names: Vec<String> = if first { vec![itself.clone()] } else { Vec::new() };
    // The list is built from its end, so that of two entries for one name the last one stays.
    let mut searched: Vec<String> = Vec::new();
    for domain in conf.search.iter().rev() {
        let domain = absolute(domain);
        let full = if domain == "." { itself.clone() } else { format!("{itself}{domain}") };
        if !searched.contains(&full) && (first || full != itself) {
            searched.push(full);
        }
    }
    names.extend(searched.into_iter().rev());
    if !first {
        names.push(itself);
    }
    names
}

impl Lookup<'_, '_, '_> {
    /// The addresses at the end of the aliases.
    fn follow(&mut self, name: &str, kind: QuestionKind, depth: usize) -> Result<Vec<std::net::IpAddr>, Failure> {
        if is_in_zone(name, "localhost.") {
            return Ok(vec![match kind {
                QuestionKind::Aaaa => std::net::Ipv6Addr::LOCALHOST.into(),
                _ => std::net::Ipv4Addr::LOCALHOST.into(),
            }]);
        }
        if ["invalid.", "onion."].iter().any(|zone| is_in_zone(name, zone)) {
            return Err(Failure::NotFound);
        }
        let answer = self.ask(name, kind)?;
        let addresses: Vec<_> = answer.addresses().collect();
        match answer.aliases().last() {
            Some(alias) if addresses.is_empty() && depth < MAX_DEPTH => {
                let alias = absolute(alias);
                self.follow(&alias, kind, depth + 1)
            }
            _ if addresses.is_empty() => Err(Failure::NoData),
            _ => Ok(addresses),
        }
    }

    /// One question, with its attempts; what was answered is not asked again.
    fn ask(&mut self, name: &str, kind: QuestionKind) -> Result<Response, Failure> {
        let question = Question::new(name, kind);
        if let Some(known) = self.known.get(&question) {
            return known.clone();
        }
        let mut failure = Failure::Timeout;
        // The first attempt is not counted.
        for _ in 0..=self.conf.options.attempts() {
            match self.attempt(name, kind) {
                None => failure = Failure::Timeout,
                Some(answer) => match answer.rcode {
                    Rcode::NoError if answer.answers.is_empty() => return self.keep(question, Err(Failure::NoData)),
                    Rcode::NxDomain if answer.answers.is_empty() => return self.keep(question, Err(Failure::NotFound)),
                    Rcode::NoError | Rcode::NxDomain => return self.keep(question, Ok(answer)),
                    Rcode::ServFail => failure = Failure::TryAgain,
                    Rcode::FormErr | Rcode::NotImp | Rcode::Refused => failure = Failure::ServerFailure,
                },
            }
        }
        Err(failure)
    }

    fn keep(&mut self, question: Question, answer: Result<Response, Failure>) -> Result<Response, Failure> {
        self.known.insert(question, answer.clone());
        answer
    }

    fn attempt(&mut self, name: &str, kind: QuestionKind) -> Option<Response> {
        let mut answer = self.wire.ask(name, kind, 0, Transport::Udp);
        if self.conf.servers() > 1 {
            let other = self.wire.may_ask(name, kind, 1, Transport::Udp);
            answer = answer.or(other);
        }
        let retries = (self.conf.options.timeout.max(1) * 1000 / RETRY_MILLISECONDS).min(MAX_RETRIES);
        for _ in 0..retries {
            if answer.is_some() {
                break;
            }
            // Whether there is time for another depends on how fast the server has been.
            answer = self.wire.may_ask(name, kind, 0, Transport::Udp);
        }
        match answer {
            Some(answer) if answer.truncated => self.wire.ask(name, kind, 0, Transport::Tcp),
            answer => answer,
        }
    }
}
