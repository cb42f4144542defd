//! The walk over the search path as glibc's `res_nsearch` makes it. Pure: no I/O.
//!
//! Which full names are asked for a given name, in which order, what ends the walk early, and which
//! of several failures is reported at the end: `resolv.conf(5)`, and glibc's `resolv/res_query.c`.
//! musl and Go walk differently; this is the walk of the images that most people run `curl` in.

use std::{collections::VecDeque, mem};

use reachmap_wire::DnsFailure;

/// One name's walk: ask [`Walk::next`], tell [`Walk::failed`], until there is no next.
#[derive(Debug)]
pub(crate) struct Walk {
    left: VecDeque<Candidate>,
    current: Role,
    /// The failure of the name as it is, if that was asked first.
    as_is_first: Option<DnsFailure>,
    no_data: bool,
    server_failed: bool,
    no_server: bool,
    last: Option<DnsFailure>,
}

#[derive(Debug)]
struct Candidate {
    /// Absolute, with the trailing dot.
    name: String,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    AsIsFirst,
    Search,
    AsIsLast,
}

impl Walk {
    /// The walk for `name`, by the search path and the `ndots` of the configuration.
    pub(crate) fn new(name: &str, search: &[String], ndots: usize) -> Self {
        let absolute = name.ends_with('.');
        let as_is = |role| Candidate { name: format!("{}.", name.trim_end_matches('.')), role };
        let as_is_first = absolute || name.matches('.').count() >= ndots;
        let mut left = VecDeque::new();
        if as_is_first {
            left.push_back(as_is(Role::AsIsFirst));
        }
        if !absolute {
            let domain = |domain: &String| domain.trim_matches('.').to_owned();
            let candidate = |domain: String| match domain.as_str() {
                "" => as_is(Role::Search),
                domain => Candidate { name: format!("{name}.{domain}."), role: Role::Search },
            };
            left.extend(search.iter().map(domain).map(candidate));
            // The root on the search path stands for the name as it is.
            let root_is_listed = search.iter().any(|domain| domain.trim_matches('.').is_empty());
            if !as_is_first && !root_is_listed {
                left.push_back(as_is(Role::AsIsLast));
            }
        }
        Self {
            left,
            current: Role::AsIsFirst,
            as_is_first: None,
            no_data: false,
            server_failed: false,
            no_server: false,
            last: None,
        }
    }

    /// The next full name to ask, absolute, if there is one.
    pub(crate) fn next(&mut self) -> Option<String> {
        let candidate = self.left.pop_front()?;
        self.current = candidate.role;
        Some(candidate.name)
    }

    /// Takes note that the name just asked had no answer, and why.
    pub(crate) fn failed(&mut self, failure: DnsFailure) {
        self.last = Some(failure);
        match self.current {
            Role::AsIsFirst => self.as_is_first = Some(failure),
            Role::AsIsLast => {}
            Role::Search => match failure {
                DnsFailure::NxDomain => {}
                DnsFailure::NoData => self.no_data = true,
                DnsFailure::ServFail => self.server_failed = true,
                // Nobody there to ask: no other name would fare better.
                DnsFailure::NoServer => {
                    self.no_server = true;
                    self.left.clear();
                }
                // Anything else ends the search, but the name as it is still gets its turn.
                DnsFailure::Refused | DnsFailure::Timeout | DnsFailure::Malformed => {
                    let left = mem::take(&mut self.left);
                    self.left = left.into_iter().filter(|candidate| candidate.role == Role::AsIsLast).collect();
                }
            },
        }
    }

    /// What the walk as a whole failed with: that of the name as it is if it was asked first, else
    /// "no data" if any name had none, else "server failed" if any did, else the last one.
    pub(crate) fn failure(&self) -> DnsFailure {
        if self.no_server {
            return DnsFailure::NoServer;
        }
        self.as_is_first
            .or_else(|| self.no_data.then_some(DnsFailure::NoData))
            .or_else(|| self.server_failed.then_some(DnsFailure::ServFail))
            .or(self.last)
            .unwrap_or(DnsFailure::NxDomain)
    }
}

/// What one name failed with after all its servers and attempts, as glibc's `res_nsend` sums up:
/// the last code that a server sent, else a timeout, and "no server" only if none could be asked.
pub(crate) fn sum_up(attempts: &[(DnsFailure, bool)]) -> DnsFailure {
    let last_reply = attempts.iter().rev().find(|(_, replied)| *replied).map(|(failure, _)| *failure);
    let worst_silence = [DnsFailure::Timeout, DnsFailure::Malformed]
        .into_iter()
        .find(|wanted| attempts.iter().any(|(failure, _)| failure == wanted));
    last_reply.or(worst_silence).unwrap_or(DnsFailure::NoServer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The names asked when each fails with what `failure` says of it, and the walk's own failure.
    fn walk(
        name: &str,
        search: &[&str],
        ndots: usize,
        failure: impl Fn(&str) -> DnsFailure,
    ) -> (Vec<String>, DnsFailure) {
        let search: Vec<String> = search.iter().copied().map(str::to_owned).collect();
        let mut walk = Walk::new(name, &search, ndots);
        let mut asked = Vec::new();
        while let Some(name) = walk.next() {
            walk.failed(failure(&name));
            asked.push(name);
        }
        (asked, walk.failure())
    }

    const POD: [&str; 3] = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"];

    fn names(name: &str, ndots: usize) -> Vec<String> {
        walk(name, &POD, ndots, |_| DnsFailure::NxDomain).0
    }

    #[test]
    fn a_short_name_takes_the_search_path_first() {
        assert_eq!(
            names("web", 5),
            ["web.shop.svc.cluster.local.", "web.svc.cluster.local.", "web.cluster.local.", "web."]
        );
    }

    #[test]
    fn enough_dots_put_the_name_itself_first() {
        assert_eq!(
            names("a.b", 1),
            ["a.b.", "a.b.shop.svc.cluster.local.", "a.b.svc.cluster.local.", "a.b.cluster.local."]
        );
        assert_eq!(names("web.shop.svc.cluster.local", 5).len(), 4);
        assert_eq!(names("web.shop.svc.cluster.local", 5)[3], "web.shop.svc.cluster.local.");
    }

    #[test]
    fn a_trailing_dot_means_one_name() {
        assert_eq!(names("web.", 5), ["web."]);
        assert_eq!(names("web.shop.svc.cluster.local.", 5), ["web.shop.svc.cluster.local."]);
    }

    #[test]
    fn the_root_on_the_search_path_is_the_name_itself() {
        assert_eq!(walk("web", &["a.", "."], 5, |_| DnsFailure::NxDomain).0, ["web.a.", "web."]);
    }

    #[test]
    fn no_data_beats_nxdomain_and_servfail_beats_it_too() {
        let at = |wanted: &'static str, failure| {
            move |name: &str| {
                if name == wanted { failure } else { DnsFailure::NxDomain }
            }
        };
        assert_eq!(walk("web", &POD, 5, at("web.svc.cluster.local.", DnsFailure::NoData)).1, DnsFailure::NoData);
        assert_eq!(walk("web", &POD, 5, at("web.svc.cluster.local.", DnsFailure::ServFail)).1, DnsFailure::ServFail);
        assert_eq!(walk("web", &POD, 5, at("web.", DnsFailure::ServFail)).1, DnsFailure::ServFail);
        assert_eq!(walk("web", &POD, 5, at("nothing", DnsFailure::NoData)).1, DnsFailure::NxDomain);
        // The name as it is, asked first, decides.
        assert_eq!(walk("a.b", &POD, 1, at("a.b.cluster.local.", DnsFailure::NoData)).1, DnsFailure::NxDomain);
    }

    #[test]
    fn a_silent_server_ends_the_search_but_not_the_walk() {
        let (asked, failure) = walk("web", &POD, 5, |_| DnsFailure::Timeout);
        assert_eq!(asked, ["web.shop.svc.cluster.local.", "web."]);
        assert_eq!(failure, DnsFailure::Timeout);
    }

    #[test]
    fn no_server_at_all_ends_the_walk() {
        let (asked, failure) = walk("web", &POD, 5, |_| DnsFailure::NoServer);
        assert_eq!((asked.len(), failure), (1, DnsFailure::NoServer));
    }

    #[test]
    fn a_servers_word_counts_more_than_anothers_silence() {
        use DnsFailure::{NoServer, ServFail, Timeout};
        assert_eq!(sum_up(&[(ServFail, true), (Timeout, false)]), ServFail);
        assert_eq!(sum_up(&[(NoServer, false), (Timeout, false)]), Timeout);
        assert_eq!(sum_up(&[(NoServer, false)]), NoServer);
    }

    proptest! {
        /// With every name failing in a way that goes on, each candidate is asked exactly once, and
        /// the name as it is always is.
        #[test]
        fn every_candidate_has_its_turn_once(
            name in "[a-z]{1,5}(\\.[a-z]{1,5}){0,4}\\.?",
            search in proptest::collection::hash_set("[a-z]{6}(\\.[a-z]{1,5}){0,2}", 0..5),
            ndots in 0_usize..=15,
            failure in prop_oneof![Just(DnsFailure::NxDomain), Just(DnsFailure::NoData), Just(DnsFailure::ServFail)],
        ) {
            let search: Vec<&str> = search.iter().map(String::as_str).collect();
            let (asked, last) = walk(&name, &search, ndots, |_| failure);
            let as_is = format!("{}.", name.trim_end_matches('.'));
            prop_assert_eq!(last, failure);
            prop_assert_eq!(asked.iter().filter(|asked| **asked == as_is).count(), 1);
            prop_assert_eq!(asked.len(), if name.ends_with('.') { 1 } else { 1 + search.len() });
            let first = name.ends_with('.') || name.matches('.').count() >= ndots || search.is_empty();
            prop_assert_eq!(asked[0] == as_is, first);
            prop_assert!(asked.iter().all(|asked| asked.ends_with('.') && !asked.ends_with("..")));
        }
    }
}
