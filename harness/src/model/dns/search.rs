//! `resolv.conf` and the names that a resolver asks for.
//!
//! The semantics are glibc's: `resolv.conf(5)`, and `__res_context_search` in
//! <https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/res_query.c>.

use std::{collections::BTreeSet, net::IpAddr};

use reachmap_wire::{DnsFailure, QuestionKind};

use super::{Answer, Source, absolute};

/// glibc uses no more name servers than this.
const MAX_NAMESERVERS: usize = 3;
/// glibc counts no more dots than this.
const MAX_NDOTS: usize = 15;

/// A resolver's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers, in the order in which they are asked.
    pub nameservers: Vec<IpAddr>,
    /// The domains that are appended, in order.
    pub search: Vec<String>,
    /// A name with at least so many dots is asked as it is first.
    pub ndots: usize,
}

impl ResolvConf {
    /// Reads a `resolv.conf` as glibc does: what it does not understand is passed over, the last `search` or
    /// `domain` counts.
    ///
    /// ```
    /// let conf = reachmap::model::dns::ResolvConf::parse(
    ///     "search app.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
    /// );
    /// assert_eq!((conf.search.len(), conf.ndots), (3, 5));
    /// ```
    pub fn parse(text: &str) -> Self {
        let mut conf = Self { nameservers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if conf.nameservers.len() < MAX_NAMESERVERS => {
                    // A scope, as in fe80::1%eth0, is no part of the address.
                    let address = words.next().and_then(|word| word.split('%').next());
                    conf.nameservers.extend(address.and_then(|text| text.parse::<IpAddr>().ok()));
                }
                Some("search") => conf.search = words.map(ToOwned::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(ToOwned::to_owned).collect(),
                Some("options") => {
                    for value in words.filter_map(|word| word.strip_prefix("ndots:")) {
                        conf.ndots = value.parse().unwrap_or(conf.ndots).min(MAX_NDOTS);
                    }
                }
                _ => {}
            }
        }
        conf
    }
}

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
    answer: impl Fn(&str, QuestionKind) -> Answer,
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
            match answer(&full_name, *kind) {
                Answer::Addresses { by, aliases, addresses } => {
                    found.0 = aliases;
                    found.1.extend(addresses);
                    found.2 = Some(by);
                }
                Answer::NotCovered { plugin } => {
                    return Resolution { asked, outcome: Outcome::NotCovered { plugin } };
                }
                Answer::Forwarded { aliases } => {
                    let passed_on = aliases.last().unwrap_or(&full_name).clone();
                    outside.push((asked.len() - 1, passed_on));
                    failure = failure.or(Some(DnsFailure::NxDomain));
                }
                // One family's NODATA does not hide that the name exists.
                Answer::NoData { .. } => failure = Some(DnsFailure::NoData),
                Answer::NxDomain => failure = failure.or(Some(DnsFailure::NxDomain)),
                Answer::ServFail => failure = failure.or(Some(DnsFailure::ServFail)),
                Answer::Refused => failure = failure.or(Some(DnsFailure::Refused)),
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

    use super::*;

    fn conf() -> impl Strategy<Value = ResolvConf> {
        (proptest::collection::btree_set("[a-d]{1,2}(\\.[e-h]{1,2}){0,2}", 0..4), 0_usize..6).prop_map(
            |(search, ndots)| ResolvConf { nameservers: Vec::new(), search: search.into_iter().collect(), ndots },
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
            let resolution = resolve(&name, &conf, &[QuestionKind::A], |asked, _| {
                if asked == known {
                    Answer::Addresses { by: Source::Hosts, aliases: Vec::new(), addresses: [IpAddr::from([10, 0, 0, 1])].into() }
                } else {
                    Answer::NxDomain
                }
            });
            prop_assert_eq!(resolution.asked.last(), Some(&known));
            prop_assert!(names.starts_with(&resolution.asked));
        }

        #[test]
        fn any_text_parses(text in "\\PC*") {
            let conf = ResolvConf::parse(&text);
            prop_assert!(conf.nameservers.len() <= MAX_NAMESERVERS && conf.ndots <= MAX_NDOTS);
        }
    }

    #[test]
    fn the_files_quirks_are_read_as_glibc_reads_them() {
        let conf = ResolvConf::parse(
            "; comment\n# comment\nnameserver 10.0.0.1\nnameserver nonsense\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\n\
             nameserver 10.0.0.3\nsearch a.test\ndomain b.test c.test\noptions rotate ndots:99\n",
        );
        assert_eq!(conf.nameservers, ["10.0.0.1", "fe80::1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(conf.search, ["b.test"]);
        assert_eq!(conf.ndots, 15);
    }

    #[test]
    fn the_root_in_the_search_list_stands_for_the_name_itself() {
        let conf = ResolvConf { nameservers: Vec::new(), search: vec!["a.test".to_owned(), ".".to_owned()], ndots: 1 };
        assert_eq!(walk("web", &conf), ["web.a.test.", "web."]);
    }

    #[test]
    fn the_failure_that_counts_is_the_one_glibc_reports() {
        let conf =
            ResolvConf { nameservers: Vec::new(), search: vec!["a.test".to_owned(), "b.test".to_owned()], ndots: 1 };
        let failing =
            |name: &str, by: fn(&str) -> Answer| resolve(name, &conf, &[QuestionKind::A], |asked, _| by(asked)).outcome;
        let no_data = |asked: &str| match asked {
            "web.b.test." => Answer::NoData { aliases: Vec::new() },
            "web." => Answer::NxDomain,
            _ => Answer::ServFail,
        };
        assert_eq!(failing("web", no_data), Outcome::Failed(DnsFailure::NoData));
        assert_eq!(failing("web", |_| Answer::ServFail), Outcome::Failed(DnsFailure::ServFail));
        // With enough dots the name itself is asked first, and its failure is the one that is reported.
        let first = |asked: &str| {
            if asked == "web.x." { Answer::NxDomain } else { Answer::ServFail }
        };
        assert_eq!(failing("web.x", first), Outcome::Failed(DnsFailure::NxDomain));
    }

    #[test]
    fn refused_ends_the_search_but_not_the_name_itself() {
        let conf =
            ResolvConf { nameservers: Vec::new(), search: vec!["a.test".to_owned(), "b.test".to_owned()], ndots: 1 };
        let resolution = resolve("web", &conf, &[QuestionKind::A], |_, _| Answer::Refused);
        assert_eq!(resolution.asked, ["web.a.test.", "web."]);
    }
}
