//! `getaddrinfo` of musl 1.2.3.
//!
//! Sources: <https://wiki.musl-libc.org/functional-differences-from-glibc.html> (Name Resolver/DNS); the walk is
//! `name_from_dns_search` in <https://git.musl-libc.org/cgit/musl/tree/src/network/lookup_name.c?h=v1.2.3>, attempts
//! and servers are <https://git.musl-libc.org/cgit/musl/tree/src/network/res_msend.c?h=v1.2.3>, and what is read of
//! the configuration is <https://git.musl-libc.org/cgit/musl/tree/src/network/resolvconf.c?h=v1.2.3>.
//!
//! A name with `ndots` dots is never searched for, a name that exists without an address ends the search, all servers
//! are asked at once, and before 1.2.4 there is no TCP.

use std::collections::VecDeque;

use reachmap_wire::{QuestionKind, Transport};

use super::{
    Failure, Families, Seen,
    wire::{Order, Wire},
};
use crate::model::dns::{Rcode, ResolvConf, Response, absolute};

/// A line of the configuration that is as long as this is not read.
const LINE_LIMIT: usize = 256;
/// No more attempts than this.
const MAX_ATTEMPTS: usize = 10;

pub(super) fn lookup(name: &str, conf: &ResolvConf, families: Families, wire: &mut Wire<'_>) -> Seen {
    // The configuration has no option against AAAA.
    let kinds: Vec<QuestionKind> = [(families.v4, QuestionKind::A), (families.v6, QuestionKind::Aaaa)]
        .into_iter()
        .filter_map(|(asked, kind)| asked.then_some(kind))
        .collect();
    let itself = absolute(name);
    let mut names = Vec::new();
    let line: usize = "search".len() + conf.search.iter().map(|domain| domain.len() + 1).sum::<usize>() + 1;
    if !name.ends_with('.') && name.matches('.').count() < conf.ndots && line < LINE_LIMIT {
        names.extend(conf.search.iter().map(|domain| match domain.as_str() {
            "." => itself.clone(),
            domain => format!("{itself}{}", absolute(domain)),
        }));
    }
    names.push(itself);
    for full in names {
        let answers = ask(&full, &kinds, conf, wire);
        // The first record type that has no NOERROR decides for all: an address of the other does not count then.
        let rcode = answers.iter().map(|answer| answer.as_ref().map(|answer| answer.rcode));
        match rcode.into_iter().find(|rcode| *rcode != Some(Rcode::NoError)) {
            Some(None | Some(Rcode::ServFail)) => return Seen::failed(Failure::TryAgain, "Try again"),
            Some(Some(Rcode::NxDomain)) => {}
            Some(Some(_)) => return Seen::failed(Failure::ServerFailure, "Non-recoverable error"),
            None => {
                let addresses: Vec<_> = answers.iter().flatten().flat_map(Response::addresses).collect();
                if addresses.is_empty() {
                    return Seen::failed(Failure::NotFound, "Name does not resolve");
                }
                return Seen::found(addresses);
            }
        }
    }
    Seen::failed(Failure::NotFound, "Name does not resolve")
}

/// Sends to all servers, again after each share of the time, and at once to a server that failed.
fn ask(name: &str, kinds: &[QuestionKind], conf: &ResolvConf, wire: &mut Wire<'_>) -> Vec<Option<Response>> {
    // The repetitions after SERVFAIL are counted for all record types together.
    wire.round(Order::Shared);
    let mut answers: Vec<Option<Response>> = vec![None; kinds.len()];
    for _ in 0..conf.options.attempts().clamp(1, MAX_ATTEMPTS) {
        let mut failures_left = 2 * kinds.len();
        let mut arriving = VecDeque::new();
        for (index, kind) in
            kinds.iter().enumerate().filter(|(index, _)| answers.get(*index).is_some_and(Option::is_none))
        {
            arriving.push_back((index, 0, wire.ask(name, *kind, 0, Transport::Udp)));
            for server in 1..conf.servers() {
                // Whoever answers first counts, and what is not sent by then is not sent.
                arriving.push_back((index, server, wire.may_ask(name, *kind, server, Transport::Udp)));
            }
        }
        while let Some((index, server, answer)) = arriving.pop_front() {
            let (Some(answer), Some(slot), Some(kind)) = (answer, answers.get_mut(index), kinds.get(index)) else {
                continue;
            };
            if slot.is_some() {
                continue;
            }
            match answer.rcode {
                Rcode::NoError | Rcode::NxDomain => *slot = Some(answer),
                Rcode::ServFail if failures_left > 0 => {
                    failures_left -= 1;
                    arriving.push_back((index, server, wire.ask(name, *kind, server, Transport::Udp)));
                }
                _ => {}
            }
            if answers.iter().all(Option::is_some) {
                return answers;
            }
        }
    }
    answers
}
