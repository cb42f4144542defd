//! `getaddrinfo` of the GNU C library, 2.36.
//!
//! Sources: `resolv.conf(5)`, `getaddrinfo(3)`; the walk is `__res_context_search` and what counts as an answer
//! `__res_context_query` in <https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/res_query.c>; attempts, servers
//! and the way to TCP are `__res_context_send` in
//! <https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/res_send.c>; what the caller sees is
//! `_nss_dns_gethostbyname4_r` in <https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/nss_dns/dns-host.c>; that the whole is
//! done again when there are more addresses than there is room for is `get_nss_addresses` in
//! <https://sourceware.org/git/?p=glibc.git;a=blob;f=sysdeps/posix/getaddrinfo.c>.

use reachmap_wire::{QuestionKind, Transport};

use super::{
    Failure, Seen,
    wire::{Order, Wire},
};
use crate::model::dns::{Rcode, ResolvConf, Response, absolute};

/// The bytes that `getaddrinfo` first has for what is found (`scratch_buffer`): if they are too few it takes twice as
/// many, and looks the name up again from the start.
const ROOM: usize = 1024;

/// The bytes that one address takes of them (`struct gaih_addrtuple`, where pointers have 64 bits).
const ADDRESS: usize = 40;

/// What a name's questions came to: `h_errno`, and the code that is left in the first buffer.
struct Failed {
    failure: Failure,
    left_over: Rcode,
}

/// The answers that count: that of the first record type, and that of the second.
type Answers = Vec<Response>;

struct Lookup<'c, 'w, 'a> {
    conf: &'c ResolvConf,
    kinds: &'c [QuestionKind],
    wire: &'w mut Wire<'a>,
    /// A and AAAA one after the other: as configured, or since a server answered only one of them.
    one_by_one: u8,
    /// A connection on which nothing comes is waited for without end.
    hangs: bool,
}

pub(super) fn lookup(name: &str, conf: &ResolvConf, kinds: &[QuestionKind], wire: &mut Wire<'_>) -> Seen {
    let one_by_one = match (conf.options.single_request_reopen, conf.options.single_request) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    };
    let mut lookup = Lookup { conf, kinds, wire, one_by_one, hangs: false };
    let mut found = lookup.search(name);
    let mut room = ROOM;
    while found.as_ref().is_ok_and(|answers| needed(answers) > room) {
        room *= 2;
        found = lookup.search(name);
    }
    match found {
        Ok(answers) => {
            let addresses: Vec<_> = answers.iter().flat_map(Response::addresses).collect();
            if addresses.is_empty() {
                // An alias alone is an answer, and ends the walk.
                failed(if kinds.len() == 1 { Failure::NoData } else { Failure::NotFound })
            } else {
                Seen::found(addresses)
            }
        }
        // The caller is not told that a server would not answer: to it, there is no such name.
        Err(Failure::ServerFailure) => failed(Failure::NotFound),
        Err(failure) => failed(failure),
    }
}

/// How many bytes the addresses and the name that they are found under take in the caller's buffer.
fn needed(answers: &Answers) -> usize {
    let addresses = answers.iter().flat_map(Response::addresses).count();
    let name = answers.iter().flat_map(|answer| &answer.answers).map(|record| record.name.len()).max().unwrap_or(0);
    addresses * ADDRESS + name
}

fn failed(failure: Failure) -> Seen {
    let text = match failure {
        Failure::NotFound => "Name or service not known",
        Failure::NoData => "No address associated with hostname",
        Failure::TryAgain | Failure::Timeout => "Temporary failure in name resolution",
        Failure::ServerFailure => "Non-recoverable failure in name resolution",
    };
    Seen::failed(failure, text)
}

impl Lookup<'_, '_, '_> {
    fn search(&mut self, name: &str) -> Result<Answers, Failure> {
        let itself = absolute(name);
        let dots = name.matches('.').count();
        let trailing_dot = name.ends_with('.');
        let mut as_is = None;
        if dots >= self.conf.ndots || trailing_dot {
            match self.query(&itself) {
                Ok(answers) => return Ok(answers),
                Err(failed) if trailing_dot || self.hangs => return Err(failed.failure),
                Err(failed) => as_is = Some(failed.failure),
            }
        }
        let (mut no_data, mut server_failed, mut root_on_list, mut last) = (false, false, false, None);
        for domain in &self.conf.search {
            let domain = domain.strip_prefix('.').unwrap_or(domain);
            root_on_list |= domain.is_empty();
            let full = if domain.is_empty() { itself.clone() } else { format!("{itself}{}", absolute(domain)) };
            let failed = match self.query(&full) {
                Ok(answers) => return Ok(answers),
                Err(failed) => failed,
            };
            if self.hangs {
                return Err(Failure::Timeout);
            }
            last = Some(failed.failure);
            match failed.failure {
                Failure::NoData => no_data = true,
                Failure::NotFound => {}
                Failure::TryAgain if failed.left_over == Rcode::ServFail => server_failed = true,
                // Anything else ends the search; the name itself still has its turn.
                _ => break,
            }
        }
        let may_be_last = dots > 0 || self.conf.search.is_empty() || !self.conf.options.no_tld_query;
        if may_be_last && as_is.is_none() && !root_on_list {
            match self.query(&itself) {
                Ok(answers) => return Ok(answers),
                Err(failed) => last = Some(failed.failure),
            }
        }
        Err(match (as_is, last) {
            (Some(failure), _) => failure,
            _ if no_data => Failure::NoData,
            _ if server_failed => Failure::TryAgain,
            (None, Some(failure)) => failure,
            (None, None) => Failure::NotFound,
        })
    }

    /// One full name: what its answers mean together.
    fn query(&mut self, name: &str) -> Result<Answers, Failed> {
        let mut left_over = Rcode::NoError;
        let Some(answers) = self.send(name, &mut left_over) else {
            return Err(Failed { failure: Failure::TryAgain, left_over });
        };
        if answers.iter().any(|answer| answer.rcode == Rcode::NoError && !answer.answers.is_empty()) {
            return Ok(answers);
        }
        // The first code that is none of NOERROR decides.
        let rcode = answers.iter().map(|answer| answer.rcode).find(|rcode| *rcode != Rcode::NoError);
        let failure = match rcode {
            None => Failure::NoData,
            Some(Rcode::NxDomain) => Failure::NotFound,
            Some(Rcode::ServFail) => Failure::TryAgain,
            Some(_) => Failure::ServerFailure,
        };
        let left_over = answers.first().map_or(Rcode::NoError, |answer| answer.rcode);
        Err(Failed { failure, left_over })
    }

    /// The rounds over servers and attempts, until one gives an answer that counts.
    fn send(&mut self, name: &str, left_over: &mut Rcode) -> Option<Answers> {
        let by_tcp = self.conf.options.use_vc;
        for _ in 0..self.conf.options.attempts().max(1) {
            for server in 0..self.conf.servers() {
                if !by_tcp {
                    match self.datagrams(name, server, left_over) {
                        Datagrams::Answers(answers) => return Some(answers),
                        Datagrams::Truncated => {}
                        Datagrams::Nothing => continue,
                    }
                }
                self.wire.round(Order::Fixed);
                let answers: Vec<Option<Response>> =
                    self.kinds.iter().map(|kind| self.wire.ask(name, *kind, server, Transport::Tcp)).collect();
                self.hangs = answers.iter().any(Option::is_none);
                return (!self.hangs).then(|| answers.into_iter().flatten().collect());
            }
        }
        None
    }

    fn datagrams(&mut self, name: &str, server: usize, left_over: &mut Rcode) -> Datagrams {
        loop {
            self.wire.round(Order::Fixed);
            let mut received: Vec<Response> = Vec::new();
            let mut seen = 0;
            let mut asked = Vec::new();
            let one_by_one = self.one_by_one > 0 && self.kinds.len() > 1;
            if !one_by_one {
                asked = self.kinds.iter().map(|kind| self.wire.ask(name, *kind, server, Transport::Udp)).collect();
            }
            for (index, kind) in self.kinds.iter().enumerate() {
                let answer = if one_by_one {
                    self.wire.ask(name, *kind, server, Transport::Udp)
                } else {
                    asked.get_mut(index).and_then(Option::take)
                };
                let Some(answer) = answer else {
                    if one_by_one {
                        break;
                    }
                    continue;
                };
                if matches!(answer.rcode, Rcode::ServFail | Rcode::NotImp | Rcode::Refused) {
                    if seen == 0 {
                        *left_over = answer.rcode;
                    }
                    seen += 1;
                    if one_by_one {
                        // The other question is waited for, and was never sent.
                        break;
                    }
                    continue;
                }
                if answer.truncated {
                    return Datagrams::Truncated;
                }
                if seen == 0 {
                    *left_over = answer.rcode;
                }
                seen += 1;
                received.push(answer);
            }
            if received.is_empty() {
                return Datagrams::Nothing;
            }
            if seen == self.kinds.len() || self.one_by_one > 1 {
                return Datagrams::Answers(received);
            }
            // A server that answers only one of two questions may do better with one at a time, and from another port.
            self.one_by_one += 1;
        }
    }
}

enum Datagrams {
    Answers(Answers),
    Truncated,
    Nothing,
}
