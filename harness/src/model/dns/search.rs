//! The names that glibc asks for, and what comes of them.
//!
//! The semantics are glibc's: `resolv.conf(5)`, and `__res_context_search` in
//! <https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/res_query.c>.

use std::{collections::BTreeSet, net::IpAddr};

use reachmap_wire::{DnsFailure, QuestionKind};

use super::{Answer, Question, ResolvConf, Source, absolute};

/// The full names that are asked for until one has an address, in order, absolute.
///
/// ```
/// use reachmap::model::dns::{ResolvConf, walk};
/// let conf = ResolvConf::parse("search a.test b.test\noptions ndots:2\n");
/// assert_eq!(walk("web", &conf), ["web.a.test.", "web.b.test.", "web."]);
/// assert_eq!(walk("web.x.test", &conf), ["web.x.test.", "web.x.test.a.test.", "web.x.test.b.test."]);
/// assert_eq!(walk("web.", &conf), ["web."]);
/// ```
pub fn walk(name: &str, conf: &ResolvConf) -> Vec<String> {
    let itself = absolute(name);
    if name.ends_with('.') {
        return vec![itself];
    }
    let mut names = Vec::new();
    let first = name.matches('.').count() >= conf.ndots;
    if first {
        names.push(itself.clone());
    }
    let mut root_in_list = false;
    for domain in &conf.search {
        let domain = domain.trim_start_matches('.');
        root_in_list |= domain.is_empty();
        names.push(if domain.is_empty() { itself.clone() } else { format!("{itself}{}", absolute(domain)) });
    }
    if !first && !root_in_list {
        names.push(itself);
    }
    names
}

/// A walk with its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The names asked for, in order, absolute, up to the last that was asked.
    pub asked: Vec<String>,
    /// How the walk ends.
    pub outcome: Outcome,
}

/// How a walk ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With addresses.
    Found {
        /// The full name that was answered.
        answered: String,
        /// The aliases from there on, in order.
        aliases: Vec<String>,
        /// The addresses of all families.
        addresses: BTreeSet<IpAddr>,
        /// What knew the name.
        by: Source,
    },
    /// Without; nothing on the way left the cluster, so that it fails in exactly this way.
    Failed(DnsFailure),
    /// Some of the questions are for servers outside the cluster, which decide.
    Outside {
        /// The names that are passed on, in order: those asked for, or the aliases that they lead to.
        names: Vec<String>,
        /// The place of the first of them in the order of questions, from 0.
        first: usize,
    },
    /// The model cannot say.
    NotCovered {
        /// The CoreDNS plugin that it does not know.
        plugin: String,
    },
}

/// Walks through the search path with `answer` as the server, asking for each of `kinds`.
///
/// A name passed on to a server outside the cluster is taken not to exist there while other names follow:
/// names below the cluster's search domains are nobody else's.
pub fn resolve(
    name: &str,
    conf: &ResolvConf,
    kinds: &[QuestionKind],
    answer: impl Fn(&Question) -> Answer,
) -> Resolution {
    let mut asked = Vec::new();
    let as_is_first = name.ends_with('.') || name.matches('.').count() >= conf.ndots;
    let mut failures = Vec::new();
    let mut outside: Vec<(usize, String)> = Vec::new();
    for full_name in walk(name, conf) {
        asked.push(full_name.clone());
        let mut found = (Vec::new(), BTreeSet::new(), None);
        let mut failure = None;
        for kind in kinds {
            let answer = answer(&Question::new(&full_name, *kind));
            if let Some((by, aliases, addresses)) = answer.found() {
                found.0 = aliases;
                found.1.extend(addresses);
                found.2 = Some(by);
                continue;
            }
            match answer {
                Answer::NotCovered { plugin } => {
                    return Resolution { asked, outcome: Outcome::NotCovered { plugin } };
                }
                Answer::Forwarded { question, .. } => {
                    outside.push((asked.len() - 1, question.name));
                    failure = failure.or(Some(DnsFailure::NxDomain));
                }
                // One family's NODATA does not hide that the name exists; an alias without an address is no more.
                Answer::Answered { response, .. } => match response.failure().unwrap_or(DnsFailure::NoData) {
                    DnsFailure::NoData => failure = Some(DnsFailure::NoData),
                    other => failure = failure.or(Some(other)),
                },
            }
        }
        if let (aliases, addresses, Some(by)) = found {
            return Resolution { asked, outcome: Outcome::Found { answered: full_name, aliases, addresses, by } };
        }
        let failure = failure.unwrap_or(DnsFailure::NoServer);
        failures.push(failure);
        // Anything but "not here" and SERVFAIL ends the search through the domains; the name itself is still asked.
        if failure == DnsFailure::Refused {
            let itself = absolute(name);
            if full_name != itself && !as_is_first && !asked.contains(&itself) {
                let rest = ResolvConf { search: Vec::new(), ..conf.clone() };
                let last = resolve(&itself, &rest, kinds, answer);
                asked.extend(last.asked);
                return Resolution { asked, outcome: last.outcome };
            }
            break;
        }
    }
    let outcome = match outside.first() {
        Some((first, _)) => {
            Outcome::Outside { first: *first, names: outside.iter().map(|(_, name)| name.clone()).collect() }
        }
        None => Outcome::Failed(final_failure(&failures, as_is_first)),
    };
    Resolution { asked, outcome }
}

/// Which of the failures counts: that of the name itself if it was asked first, else NODATA, SERVFAIL, the last one.
fn final_failure(failures: &[DnsFailure], as_is_first: bool) -> DnsFailure {
    let has = |failure| failures.contains(&failure);
    match (failures.first(), failures.last()) {
        (Some(first), _) if as_is_first => *first,
        _ if has(DnsFailure::NoData) => DnsFailure::NoData,
        _ if has(DnsFailure::ServFail) => DnsFailure::ServFail,
        (_, Some(last)) => *last,
        _ => DnsFailure::NoServer,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use reachmap_wire::{Record, RecordData};

    use super::*;
    use crate::model::dns::{Rcode, Response};

    fn said(response: Response) -> Answer {
        Answer::Answered { by: Source::Hosts, response }
    }

    fn conf() -> impl Strategy<Value = ResolvConf> {
        (proptest::collection::btree_set("[a-d]{1,2}(\\.[e-h]{1,2}){0,2}", 0..4), 0_usize..6).prop_map(
            |(search, ndots)| ResolvConf { search: search.into_iter().collect(), ndots, ..ResolvConf::default() },
        )
    }

    proptest! {
        #[test]
        fn a_trailing_dot_asks_for_exactly_one_name(name in "[a-z]{1,3}(\\.[a-z]{1,3}){0,5}", conf in conf()) {
            prop_assert_eq!(walk(&format!("{name}."), &conf), [format!("{name}.")]);
        }

        #[test]
        fn each_name_is_asked_at_most_once_and_the_name_itself_exactly_once(
            name in "[a-z]{1,3}(\\.[a-z]{1,3}){0,5}", conf in conf(),
        ) {
            let names = walk(&name, &conf);
            let distinct: BTreeSet<&String> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
            prop_assert_eq!(names.len(), conf.search.len() + 1);
            let itself = format!("{name}.");
            let place = names.iter().position(|asked| *asked == itself);
            let enough = name.matches('.').count() >= conf.ndots;
            prop_assert_eq!(place, Some(if enough { 0 } else { conf.search.len() }));
        }

        #[test]
        fn a_walk_stops_at_the_first_name_that_is_known(
            name in "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}", conf in conf(), known in any::<prop::sample::Index>(),
        ) {
            let names = walk(&name, &conf);
            let known = known.get(&names).clone();
            let resolution = resolve(&name, &conf, &[QuestionKind::A], |asked| {
                if asked.name == known {
                    let data = RecordData::Address(IpAddr::from([10, 0, 0, 1]));
                    said(Response::records(vec![Record { name: known.clone(), ttl: 5, data }]))
                } else {
                    said(Response::empty(Rcode::NxDomain))
                }
            });
            prop_assert_eq!(resolution.asked.last(), Some(&known));
            prop_assert!(names.starts_with(&resolution.asked));
        }
    }

    #[test]
    fn the_root_in_the_search_list_stands_for_the_name_itself() {
        let conf = ResolvConf { search: vec!["a.test".to_owned(), ".".to_owned()], ..ResolvConf::default() };
        assert_eq!(walk("web", &conf), ["web.a.test.", "web."]);
    }

    #[test]
    fn the_failure_that_counts_is_the_one_glibc_reports() {
        let conf = ResolvConf { search: vec!["a.test".to_owned(), "b.test".to_owned()], ..ResolvConf::default() };
        let failing = |name: &str, by: fn(&str) -> Rcode| {
            resolve(name, &conf, &[QuestionKind::A], |asked| said(Response::empty(by(&asked.name)))).outcome
        };
        let no_data = |asked: &str| match asked {
            "web.b.test." => Rcode::NoError,
            "web." => Rcode::NxDomain,
            _ => Rcode::ServFail,
        };
        assert_eq!(failing("web", no_data), Outcome::Failed(DnsFailure::NoData));
        assert_eq!(failing("web", |_| Rcode::ServFail), Outcome::Failed(DnsFailure::ServFail));
        // With enough dots the name itself is asked first, and its failure is the one that is reported.
        let first = |asked: &str| if asked == "web.x." { Rcode::NxDomain } else { Rcode::ServFail };
        assert_eq!(failing("web.x", first), Outcome::Failed(DnsFailure::NxDomain));
    }

    #[test]
    fn refused_ends_the_search_but_not_the_name_itself() {
        let conf = ResolvConf { search: vec!["a.test".to_owned(), "b.test".to_owned()], ..ResolvConf::default() };
        let resolution = resolve("web", &conf, &[QuestionKind::A], |_| said(Response::empty(Rcode::Refused)));
        assert_eq!(resolution.asked, ["web.a.test.", "web."]);
    }
}
