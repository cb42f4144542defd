//! Go's own resolver, 1.26: `net.Resolver.LookupHost` with `GODEBUG=netdns=go`.
//!
//! Sources: <https://pkg.go.dev/net#hdr-Name_Resolution>; the walk is `nameList` and `goLookupIPCNAMEOrder`, attempts
//! and servers are `tryOneName` in <https://cs.opensource.google/go/go/+/refs/tags/go1.26.0:src/net/dnsclient_unix.go>,
//! and what is read of the configuration is
//! <https://cs.opensource.google/go/go/+/refs/tags/go1.26.0:src/net/dnsconfig_unix.go>.
//!
//! A and AAAA run side by side, each with attempts of its own; any failure moves on to the next name, and that of the
//! name itself is the one that is reported.

use reachmap_wire::{QuestionKind, Transport};

use super::{
    Failure, Seen,
    wire::{Order, Wire},
};
use crate::model::dns::{Rcode, ResolvConf, Response, absolute};

/// A name longer than this is not asked.
const MAX_NAME: usize = 254;

pub(super) fn lookup(name: &str, conf: &ResolvConf, wire: &mut Wire<'_>) -> Seen {
    let itself = absolute(name);
    let mut failure = None;
    let one_by_one = conf.options.single_request || conf.options.single_request_reopen;
    for full in names(name, &itself, conf) {
        wire.round(if one_by_one { Order::Fixed } else { Order::PerKind });
        let mut addresses = Vec::new();
        for kind in [QuestionKind::A, QuestionKind::Aaaa] {
            match try_one_name(&full, kind, conf, wire) {
                Ok(answer) => addresses.extend(answer.addresses()),
                Err(failed) => {
                    // With the trailing dot the name as given is not the name that is compared with, but it is alone.
                    if failure.is_none() || full == itself && !name.ends_with('.') {
                        failure = Some(failed);
                    }
                }
            }
        }
        if !addresses.is_empty() {
            return Seen::found(addresses);
        }
    }
    let failure = failure.unwrap_or(Failure::NotFound);
    let text = match failure {
        Failure::NotFound | Failure::NoData => "no such host",
        Failure::TryAgain | Failure::ServerFailure => "server misbehaving",
        Failure::Timeout => "i/o timeout",
    };
    Seen::failed(failure, text)
}

fn names(name: &str, itself: &str, conf: &ResolvConf) -> Vec<String> {
    let is_avoided = |full: &str| full.ends_with(".onion.") || full.len() > MAX_NAME;
    let mut names = Vec::new();
    if name.ends_with('.') {
        names.push(itself.to_owned());
    } else {
        let first = name.matches('.').count() >= conf.ndots;
        if first {
            names.push(itself.to_owned());
        }
        // The root on the search list is left out.
        names.extend(
            conf.search
                .iter()
                .map(|domain| absolute(domain))
                .filter(|domain| domain != ".")
                .map(|domain| format!("{itself}{domain}")),
        );
        if !first {
            names.push(itself.to_owned());
        }
    }
    names.retain(|full| !is_avoided(full));
    names
}

fn try_one_name(full: &str, kind: QuestionKind, conf: &ResolvConf, wire: &mut Wire<'_>) -> Result<Response, Failure> {
    let mut failure = Failure::NotFound;
    for _ in 0..conf.options.attempts().max(1) {
        for server in 0..conf.servers() {
            let mut answer = None;
            if !conf.options.use_vc {
                answer = wire.ask(full, kind, server, Transport::Udp);
            }
            if conf.options.use_vc || answer.as_ref().is_some_and(|answer| answer.truncated) {
                answer = wire.ask(full, kind, server, Transport::Tcp);
            }
            let Some(answer) = answer else {
                failure = Failure::Timeout;
                continue;
            };
            match answer.rcode {
                Rcode::ServFail => failure = Failure::TryAgain,
                Rcode::NoError if answer.addresses().next().is_some() => return Ok(answer),
                // No record of the wanted type is "no such host" to Go, an alias or not.
                Rcode::NoError | Rcode::NxDomain => return Err(Failure::NotFound),
                Rcode::FormErr | Rcode::NotImp | Rcode::Refused => failure = Failure::ServerFailure,
            }
        }
    }
    Err(failure)
}
