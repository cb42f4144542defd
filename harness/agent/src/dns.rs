//! The agent's own stub resolver: asks what glibc's would ask, and reports every question.
//!
//! - Configuration and walk are glibc's: [`resolv_conf`] and [`walk`]. The configuration is read
//!   anew for each name, as glibc does when the file has changed.
//! - `A` only, unless the vantage has an IPv6 address that reaches beyond its link; then `AAAA` too,
//!   with both questions under way together, `A` reported first, IPv4 addresses first.
//! - UDP, and TCP when an answer says that it was truncated; both count as one question.
//! - `/etc/hosts` is not read: the observation is of DNS.

mod exchange;
pub(crate) mod message;
mod resolv_conf;
mod walk;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use reachmap_wire::{DnsFailure, Question, QuestionKind, Resolve};
use tokio::time::Instant;

use self::{exchange::ask, message::addresses, resolv_conf::ResolvConf, walk::Walk};
use crate::{place, probe::micros};

/// Where the resolver's configuration is; tests name another file.
pub(crate) fn configuration_path() -> PathBuf {
    std::env::var_os("REACHMAP_RESOLV_CONF").map_or_else(|| PathBuf::from("/etc/resolv.conf"), PathBuf::from)
}

/// The port on which the vantage's servers are asked: only tests, which cannot have port 53, name another.
pub(crate) fn port() -> u16 {
    std::env::var("REACHMAP_DNS_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(53)
}

fn configuration(server: Option<SocketAddr>) -> ResolvConf {
    let port = port();
    let text = std::fs::read_to_string(configuration_path()).unwrap_or_default();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut configuration = ResolvConf::parse(&text, hostname.trim_end(), port);
    if let Some(server) = server {
        configuration.servers = vec![server];
    }
    configuration
}

/// How the question for one full name ended.
enum Asked {
    /// With records; they may hold no address, as a CNAME without a target does.
    Answered(Vec<IpAddr>),
    Failed(DnsFailure),
}

/// Resolves `name`, at `server` alone if one is given, until `deadline` at the latest.
pub(crate) async fn resolve(name: &str, server: Option<SocketAddr>, deadline: Instant) -> Resolve {
    let started = Instant::now();
    let configuration = configuration(server);
    let kinds: &[QuestionKind] = if !configuration.no_aaaa && place::has_ipv6() {
        &[QuestionKind::A, QuestionKind::Aaaa]
    } else {
        &[QuestionKind::A]
    };
    let mut resolve = Resolve {
        name: name.to_owned(),
        questions: Vec::new(),
        addresses: Vec::new(),
        answered: None,
        failure: None,
        elapsed_us: 0,
    };
    let mut walk = Walk::new(name, &configuration.search, configuration.ndots);
    loop {
        let Some(full) = walk.next() else {
            resolve.failure = Some(walk.failure());
            break;
        };
        let mut outcomes = Vec::new();
        for questions in ask_each(&configuration, &full, kinds, deadline).await {
            outcomes.push(outcome(&full, &questions));
            resolve.questions.extend(questions);
        }
        match combine(outcomes) {
            Asked::Answered(addresses) => {
                // As in glibc, an answer ends the walk also if it leads nowhere.
                resolve.failure = addresses.is_empty().then_some(DnsFailure::NoData);
                resolve.addresses = addresses;
                resolve.answered = Some(full);
                break;
            }
            Asked::Failed(_) if Instant::now() >= deadline => {
                resolve.failure = Some(DnsFailure::Timeout);
                break;
            }
            Asked::Failed(failure) => walk.failed(failure),
        }
    }
    resolve.elapsed_us = micros(started.elapsed());
    resolve
}

/// The questions for `full`, for each kind: together, as glibc asks.
async fn ask_each(
    configuration: &ResolvConf,
    full: &str,
    kinds: &[QuestionKind],
    deadline: Instant,
) -> Vec<Vec<Question>> {
    match kinds {
        [first, second] => {
            let (first, second) = tokio::join!(
                ask_servers(configuration, full, *first, deadline),
                ask_servers(configuration, full, *second, deadline)
            );
            vec![first, second]
        }
        kinds => {
            let mut all = Vec::new();
            for kind in kinds {
                all.push(ask_servers(configuration, full, *kind, deadline).await);
            }
            all
        }
    }
}

/// One name and one kind: the rounds over all servers, until one gives an answer that counts.
async fn ask_servers(configuration: &ResolvConf, full: &str, kind: QuestionKind, deadline: Instant) -> Vec<Question> {
    let mut questions = Vec::new();
    for _ in 0..configuration.attempts.max(1) {
        for (index, server) in configuration.servers.iter().enumerate() {
            // As in glibc: the server at position n is waited for 2^n times as long, shared among all.
            let share = if index == 0 { 1 } else { configuration.servers.len() as u64 };
            let seconds = ((configuration.timeout << index) / share).max(1);
            let until = deadline.min(Instant::now() + Duration::from_secs(seconds));
            let question = ask(full, kind, *server, configuration.use_tcp, configuration.edns0, until).await;
            let is_final = !matches!(
                question.failure,
                Some(
                    DnsFailure::ServFail
                        | DnsFailure::Refused
                        | DnsFailure::Timeout
                        | DnsFailure::NoServer
                        | DnsFailure::Malformed
                )
            );
            questions.push(question);
            if is_final || Instant::now() >= deadline {
                return questions;
            }
        }
    }
    questions
}

fn outcome(full: &str, questions: &[Question]) -> Asked {
    match questions.last() {
        Some(Question { failure: None, answers, .. }) => Asked::Answered(addresses(full, answers)),
        Some(Question { failure: Some(failure @ (DnsFailure::NxDomain | DnsFailure::NoData)), .. }) => {
            Asked::Failed(*failure)
        }
        _ => {
            let attempts: Vec<(DnsFailure, bool)> = questions
                .iter()
                .filter_map(|question| question.failure.map(|failure| (failure, question.rcode.is_some())))
                .collect();
            Asked::Failed(walk::sum_up(&attempts))
        }
    }
}

/// The outcome for a name of which several kinds were asked: any answer is one.
fn combine(outcomes: Vec<Asked>) -> Asked {
    let mut found: Option<Vec<IpAddr>> = None;
    let mut failures = Vec::new();
    for outcome in outcomes {
        match outcome {
            Asked::Answered(addresses) => found.get_or_insert_default().extend(addresses),
            Asked::Failed(failure) => failures.push(failure),
        }
    }
    match found {
        Some(addresses) => Asked::Answered(addresses),
        None => Asked::Failed(
            [DnsFailure::NoData, DnsFailure::ServFail]
                .into_iter()
                .find(|failure| failures.contains(failure))
                .or_else(|| failures.first().copied())
                .unwrap_or(DnsFailure::NoServer),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_that_answers_is_an_answer() {
        let v6: IpAddr = "fd00::7".parse().unwrap();
        let combined = combine(vec![Asked::Failed(DnsFailure::NoData), Asked::Answered(vec![v6])]);
        assert!(matches!(combined, Asked::Answered(addresses) if addresses == [v6]));
    }

    #[test]
    fn two_families_that_fail_have_the_failure_that_says_most() {
        let combined = |first, second| match combine(vec![Asked::Failed(first), Asked::Failed(second)]) {
            Asked::Failed(failure) => failure,
            Asked::Answered(_) => panic!("nothing answered"),
        };
        assert_eq!(combined(DnsFailure::NxDomain, DnsFailure::NoData), DnsFailure::NoData);
        assert_eq!(combined(DnsFailure::NxDomain, DnsFailure::ServFail), DnsFailure::ServFail);
        assert_eq!(combined(DnsFailure::Timeout, DnsFailure::Refused), DnsFailure::Timeout);
    }
}
