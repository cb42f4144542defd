//! `nslookup` and `dig` of BIND 9.18, as people type them.
//!
//! Sources: <https://bind9.readthedocs.io/en/v9.18.36/manpages.html> (`dig(1)`, `nslookup(1)`), and
//! <https://gitlab.isc.org/isc-projects/bind9/-/blob/v9.18.36/bin/dig/dighost.c>, which both are built on, with
//! `nslookup.c` and `dig.c` beside it.
//!
//! Only NXDOMAIN moves on to the next name: any other answer ends the search. A name with enough dots is not searched
//! for. `nslookup` asks for A, and for AAAA once there is an answer.

use reachmap_wire::{QuestionKind, Transport};

use super::{
    Failure, Seen,
    wire::{Order, Wire},
};
use crate::model::dns::{Rcode, ResolvConf, Response, absolute};

/// How often a server is asked that keeps silent, if the configuration does not say.
const ATTEMPTS: usize = 3;

/// How one name's question ended.
enum Ended {
    Answered(Response),
    Silent,
}

/// The names that are asked until one is not NXDOMAIN.
fn names(name: &str, conf: &ResolvConf, search: bool) -> Vec<String> {
    let itself = absolute(name);
    if !search || name.ends_with('.') || name.matches('.').count() >= conf.ndots {
        return vec![itself];
    }
    let mut names: Vec<String> = conf.search.iter().map(|domain| format!("{itself}{}", absolute(domain))).collect();
    names.push(itself);
    names
}

/// How the tools differ in asking.
struct Asking<'c> {
    conf: &'c ResolvConf,
    /// SERVFAIL is the last word, and no other server is asked.
    servfail_stops: bool,
    /// What needed TCP once goes on by TCP.
    by_tcp: bool,
}

impl Asking<'_> {
    /// One question, to one server after the other while they keep silent: the first has more than one chance.
    fn ask(&mut self, name: &str, kind: QuestionKind, wire: &mut Wire<'_>) -> Ended {
        wire.round(Order::Fixed);
        let mut last = Ended::Silent;
        for server in 0..self.conf.servers() {
            let attempts = if server == 0 { self.conf.options.attempts.unwrap_or(ATTEMPTS).max(1) } else { 1 };
            for _ in 0..attempts {
                let transport = if self.by_tcp { Transport::Tcp } else { Transport::Udp };
                let Some(mut answer) = wire.ask(name, kind, server, transport) else { continue };
                if answer.truncated {
                    self.by_tcp = true;
                    match wire.ask(name, kind, server, Transport::Tcp) {
                        Some(whole) => answer = whole,
                        None => continue,
                    }
                }
                if answer.rcode != Rcode::ServFail || self.servfail_stops {
                    return Ended::Answered(answer);
                }
                last = Ended::Answered(answer);
                break;
            }
        }
        last
    }

    /// The first answer that is not NXDOMAIN, with the name that it is for.
    fn search(&mut self, names: Vec<String>, wire: &mut Wire<'_>) -> (String, Ended) {
        let mut last = (String::new(), Ended::Silent);
        for name in names {
            let ended = self.ask(&name, QuestionKind::A, wire);
            let goes_on = matches!(&ended, Ended::Answered(answer) if answer.rcode == Rcode::NxDomain);
            last = (name, ended);
            if !goes_on {
                break;
            }
        }
        last
    }
}

fn shown(name: &str) -> &str {
    name.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(name)
}

fn failure_of(rcode: Rcode) -> Failure {
    match rcode {
        Rcode::NxDomain => Failure::NotFound,
        Rcode::NoError => Failure::NoData,
        Rcode::ServFail | Rcode::Refused | Rcode::FormErr | Rcode::NotImp => Failure::ServerFailure,
    }
}

fn nobody() -> Seen {
    Seen::failed(Failure::Timeout, "no servers could be reached")
}

fn cannot_find(name: &str, rcode: Rcode) -> Seen {
    Seen::failed(failure_of(rcode), format!("** server can't find {}: {rcode}", shown(name))).exit(1)
}

pub(super) fn nslookup(name: &str, conf: &ResolvConf, wire: &mut Wire<'_>) -> Seen {
    let mut asking = Asking { conf, servfail_stops: false, by_tcp: false };
    let (full, ended) = asking.search(names(name, conf, true), wire);
    let first = match ended {
        Ended::Silent => return nobody().exit(1),
        Ended::Answered(answer) if answer.rcode != Rcode::NoError => return cannot_find(&full, answer.rcode),
        Ended::Answered(answer) => answer,
    };
    // The alias's target is what AAAA is asked for.
    let target = first.aliases().last().map_or_else(|| full.clone(), absolute);
    let mut addresses: Vec<_> = first.addresses().collect();
    match asking.ask(&target, QuestionKind::Aaaa, wire) {
        Ended::Silent => Seen { addresses, ..nobody() }.exit(1),
        Ended::Answered(answer) if answer.rcode != Rcode::NoError => {
            Seen { addresses, ..cannot_find(&target, answer.rcode) }
        }
        Ended::Answered(answer) => {
            addresses.extend(answer.addresses());
            if addresses.is_empty() && first.answers.is_empty() && answer.answers.is_empty() {
                Seen::failed(Failure::NoData, format!("*** Can't find {}: No answer", shown(&target))).exit(0)
            } else {
                Seen::found(addresses).exit(0)
            }
        }
    }
}

pub(super) fn dig(name: &str, conf: &ResolvConf, use_search: bool, wire: &mut Wire<'_>) -> Seen {
    let mut asking = Asking { conf, servfail_stops: true, by_tcp: false };
    match asking.search(names(name, conf, use_search), wire).1 {
        Ended::Silent => nobody().exit(9),
        Ended::Answered(answer) => {
            let addresses: Vec<_> = answer.addresses().collect();
            let failure = addresses.is_empty().then(|| failure_of(answer.rcode));
            Seen { addresses, failure, exit: Some(0), line: Some(format!("status: {}", answer.rcode)) }
        }
    }
}
