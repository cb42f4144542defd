//! What a program saw of a lookup, by how it ended.
//!
//! `nslookup` and `dig` say it to people, by exit code and words. A library says it to its caller, and the panel's programs
//! pass that on: the C programs by an exit code for each error of `getaddrinfo(3)` (`fixtures/panel/lookup.c`), the Go program
//! by the flags of [`net.DNSError`](https://pkg.go.dev/net#DNSError), and hickory, in the agent, by its error's type.

use std::{collections::BTreeSet, net::IpAddr};

use reachmap_wire::{DnsFailure, End};

use super::{Failure, Prediction, Resolver, Seen};

/// Whether the program saw what was predicted: the addresses, or the class of failure that it tells its caller.
pub(super) fn judge(prediction: &Prediction, end: &End) -> Result<(), String> {
    let Prediction { resolver, seen, .. } = prediction;
    let addresses: BTreeSet<IpAddr> = seen.addresses.iter().copied().collect();
    let is_so = match end {
        End::Exited { code, stdout, stderr } => {
            let ended = match resolver {
                Resolver::Nslookup | Resolver::Dig { .. } => *code == seen.exit && says(seen, stdout),
                library => match (*code, expected(*library, seen)) {
                    (Some(0), class) => class.is_none(),
                    (Some(code), Some(class)) => failure(*library, code, stderr) == Some(class),
                    _ => false,
                },
            };
            ended && printed(stdout) == addresses
        }
        End::Addresses(found) => seen.failure.is_none() && found.iter().copied().collect::<BTreeSet<_>>() == addresses,
        End::Failed { failure, .. } => Some(of_hickory(*failure)) == expected(*resolver, seen),
        End::TimedOut | End::NoSuchProgram => false,
    };
    if is_so { Ok(()) } else { Err(format!("it saw {seen} by the prediction, and {}", words(end))) }
}

fn says(seen: &Seen, stdout: &str) -> bool {
    seen.line.as_ref().is_none_or(|line| stdout.contains(line.as_str()))
}

fn printed(stdout: &str) -> BTreeSet<IpAddr> {
    stdout
        .lines()
        // nslookup first says which server it asks.
        .filter(|line| !line.starts_with("Server:") && !line.starts_with(";;") && !line.contains('#'))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The predicted class of failure, as far as the caller of this library can tell it from others.
fn expected(resolver: Resolver, seen: &Seen) -> Option<Failure> {
    seen.failure.map(|failure| match (resolver, failure) {
        // There is one error for a server that failed and for none that answered: `EAI_AGAIN`.
        (Resolver::Glibc | Resolver::Musl, Failure::Timeout) => Failure::TryAgain,
        // Either is `IsNotFound`.
        (Resolver::Go, Failure::NoData) => Failure::NotFound,
        (_, failure) => failure,
    })
}

/// How the panel's program for a library says that the lookup failed, with an exit code other than 0.
fn failure(library: Resolver, code: i32, stderr: &str) -> Option<Failure> {
    match (library, code) {
        (Resolver::Glibc | Resolver::Musl, code) => by_exit_code(code),
        (Resolver::Go, 1) => Some(by_flags(stderr)),
        _ => None,
    }
}

/// The exit codes of `fixtures/panel/lookup.c`.
const fn by_exit_code(code: i32) -> Option<Failure> {
    match code {
        2 => Some(Failure::NotFound),
        3 => Some(Failure::NoData),
        4 => Some(Failure::TryAgain),
        5 => Some(Failure::ServerFailure),
        _ => None,
    }
}

/// The flags that `fixtures/go/lookup/main.go` writes.
fn by_flags(stderr: &str) -> Failure {
    let has = |flag: &str| stderr.contains(&format!("{flag}=true"));
    // A timeout is temporary, too.
    let classes =
        [("IsNotFound", Failure::NotFound), ("IsTimeout", Failure::Timeout), ("IsTemporary", Failure::TryAgain)];
    classes.into_iter().find(|(flag, _)| has(flag)).map_or(Failure::ServerFailure, |(_, class)| class)
}

fn of_hickory(failure: DnsFailure) -> Failure {
    match failure {
        DnsFailure::NxDomain => Failure::NotFound,
        DnsFailure::NoData => Failure::NoData,
        DnsFailure::ServFail => Failure::TryAgain,
        DnsFailure::Timeout => Failure::Timeout,
        DnsFailure::Refused | DnsFailure::NoServer | DnsFailure::Malformed => Failure::ServerFailure,
    }
}

fn words(end: &End) -> String {
    match end {
        End::Exited { code: Some(code), stdout, stderr } => format!("ended with exit code {code}: {stdout}{stderr}"),
        End::Exited { code: None, stdout, stderr } => format!("was ended by a signal: {stdout}{stderr}"),
        End::Addresses(found) => {
            format!("found {}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        End::Failed { failure, text } => format!("failed with {failure:?}: {text}"),
        End::TimedOut => "was ended because its time was up".to_owned(),
        End::NoSuchProgram => "could not be started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(resolver: Resolver, failure: Failure) -> Prediction {
        Prediction { resolver, rounds: Vec::new(), seen: Seen::failed(failure, "whatever it says") }
    }

    fn exited(code: i32, stderr: &str) -> End {
        End::Exited { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() }
    }

    fn failed(failure: DnsFailure) -> End {
        End::Failed { failure, text: "in its own words".to_owned() }
    }

    /// Every way in which a library says that a lookup failed, and the class.
    fn ways(resolver: Resolver) -> Vec<(End, Failure)> {
        let go = |flag: &str| exited(1, &format!("lookup web: whatever\n{flag}=true"));
        match resolver {
            Resolver::Go => vec![
                (go("IsNotFound"), Failure::NotFound),
                (go("IsTimeout=true IsTemporary"), Failure::Timeout),
                (go("IsTemporary"), Failure::TryAgain),
                (go("IsNothing"), Failure::ServerFailure),
            ],
            Resolver::Hickory => vec![
                (failed(DnsFailure::NxDomain), Failure::NotFound),
                (failed(DnsFailure::NoData), Failure::NoData),
                (failed(DnsFailure::ServFail), Failure::TryAgain),
                (failed(DnsFailure::Timeout), Failure::Timeout),
                (failed(DnsFailure::Refused), Failure::ServerFailure),
            ],
            _ => vec![
                (exited(2, ""), Failure::NotFound),
                (exited(3, ""), Failure::NoData),
                (exited(4, ""), Failure::TryAgain),
                (exited(5, ""), Failure::ServerFailure),
            ],
        }
    }

    #[test]
    fn a_library_is_held_to_the_class_of_failure() {
        for resolver in [Resolver::Glibc, Resolver::Musl, Resolver::Go, Resolver::Hickory] {
            let ways = ways(resolver);
            for (end, class) in &ways {
                for (_, predicted) in &ways {
                    let judged = judge(&prediction(resolver, *predicted), end);
                    assert_eq!(
                        judged.is_ok(),
                        class == predicted,
                        "{resolver}: {predicted} by the prediction, {end:?}"
                    );
                }
            }
            assert!(judge(&prediction(resolver, Failure::NotFound), &End::Addresses(Vec::new())).is_err());
            for end in [exited(6, ""), exited(64, ""), End::TimedOut, End::NoSuchProgram] {
                assert!(judge(&prediction(resolver, Failure::NotFound), &end).is_err(), "{resolver}: {end:?}");
            }
        }
    }

    #[test]
    fn what_a_caller_cannot_tell_apart_is_one_class() {
        assert_eq!(judge(&prediction(Resolver::Glibc, Failure::Timeout), &exited(4, "")), Ok(()));
        assert_eq!(judge(&prediction(Resolver::Go, Failure::NoData), &exited(1, "IsNotFound=true")), Ok(()));
    }
}
