//! The law of conservation: what the clients saw answered is what the servers logged, request by request.
//!
//! Two sums that agree prove little: a request that was lost and another that was logged twice cancel out. So every
//! request carries an id, and the law is held against ids: each that a client saw answered stands in exactly one log,
//! once, with the same status; each that a client saw fail stands in none; and no log holds an id that no client sent.

use std::{collections::HashMap, fmt};

use reachmap_wire::FailureClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many ids are named in words.
const NAMED: usize = 3;

/// What became of a request, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// An answer with this status.
    Status(u16),
    /// No answer.
    Failed(FailureClass),
}

/// A request, from the client's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// Its id.
    pub id: &'a str,
    /// What the client saw.
    pub seen: Seen,
}

/// A request, from the server's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged<'a> {
    /// The pod in whose log it stands.
    pub pod: &'a str,
    /// Its id.
    pub id: &'a str,
    /// The status that the server says it sent.
    pub status: u16,
}

/// A request about which the two ends do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// What the client saw, if it knows the id.
    pub seen: Option<Seen>,
    /// The pods that logged it and the status of each, in the order in which their logs were given.
    pub logged: Vec<(String, u16)>,
}

/// The two ends, held against each other. Each id stands in one list at most; the lists are in the order of the ids.
///
/// ```
/// use reachmap::{load::conservation::{Conservation, Logged, Seen, Sent}, wire::FailureClass};
/// let sent = [
///     Sent { id: "1", seen: Seen::Status(200) },
///     Sent { id: "2", seen: Seen::Failed(FailureClass::Reset) },
///     Sent { id: "3", seen: Seen::Status(200) },
/// ];
/// let logged = [Logged { pod: "a", id: "1", status: 200 }, Logged { pod: "b", id: "2", status: 200 }];
/// let law = Conservation::of(sent, logged, 0);
/// assert!(!law.is_exact());
/// assert_eq!((law.matched, &*law.client_only[0].id, &*law.logged_but_failed[0].id), (1, "3", "2"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conservation {
    /// How many requests were answered and logged once, with the same status.
    pub matched: u64,
    /// How many failed, and were not logged: both ends agree.
    pub failed_and_unlogged: u64,
    /// Answered, but in no log.
    pub client_only: Vec<Entry>,
    /// Logged, but sent by no client.
    pub server_only: Vec<Entry>,
    /// Logged more than once, or sent more than once under the same id.
    pub doubled: Vec<Entry>,
    /// The client saw it fail, but a server logged it.
    pub logged_but_failed: Vec<Entry>,
    /// Answered and logged once, with different statuses.
    pub differing: Vec<Entry>,
    /// How many lines of the logs are no access-log line or hold no id, such as notices and the kubelet's probes. They do
    /// not break the law: had one of them been a request of ours, its id would be missing above.
    pub unreadable: u64,
}

#[derive(Default)]
struct Ends<'a> {
    seen: Option<Seen>,
    sent: u32,
    first: Option<(&'a str, u16)>,
    // Hardly any request has more than one: the vector then allocates nothing.
    more: Vec<(&'a str, u16)>,
}

impl Conservation {
    /// Holds what was sent against what was logged, in time and space proportional to both.
    pub fn of<'a>(
        sent: impl IntoIterator<Item = Sent<'a>>,
        logged: impl IntoIterator<Item = Logged<'a>>,
        unreadable: u64,
    ) -> Self {
        let sent = sent.into_iter();
        let mut requests: HashMap<&str, Ends<'_>> = HashMap::with_capacity(sent.size_hint().0);
        for Sent { id, seen } in sent {
            let ends = requests.entry(id).or_default();
            ends.seen.get_or_insert(seen);
            ends.sent += 1;
        }
        for Logged { pod, id, status } in logged {
            let ends = requests.entry(id).or_default();
            match ends.first {
                None => ends.first = Some((pod, status)),
                Some(_) => ends.more.push((pod, status)),
            }
        }
        let mut law = Self { unreadable, ..Self::default() };
        for (id, ends) in requests {
            law.place(id, &ends);
        }
        let lists = [
            &mut law.client_only,
            &mut law.server_only,
            &mut law.doubled,
            &mut law.logged_but_failed,
            &mut law.differing,
        ];
        for list in lists {
            list.sort_by(|a, b| a.id.cmp(&b.id));
        }
        law
    }

    fn place(&mut self, id: &str, ends: &Ends<'_>) {
        let list = match (ends.seen, ends.first) {
            _ if ends.sent > 1 || !ends.more.is_empty() => &mut self.doubled,
            (Some(Seen::Status(seen)), Some((_, logged))) if seen == logged => {
                self.matched += 1;
                return;
            }
            (Some(Seen::Failed(_)) | None, None) => {
                self.failed_and_unlogged += 1;
                return;
            }
            (Some(Seen::Status(_)), Some(_)) => &mut self.differing,
            (Some(Seen::Status(_)), None) => &mut self.client_only,
            (Some(Seen::Failed(_)), Some(_)) => &mut self.logged_but_failed,
            (None, Some(_)) => &mut self.server_only,
        };
        let logged = ends.first.iter().chain(&ends.more).map(|(pod, status)| ((*pod).to_owned(), *status)).collect();
        list.push(Entry { id: id.to_owned(), seen: ends.seen, logged });
    }

    /// What was found of these requests and of others, whose ids are others.
    #[must_use]
    pub fn together(mut self, other: Self) -> Self {
        self.matched += other.matched;
        self.failed_and_unlogged += other.failed_and_unlogged;
        self.unreadable += other.unreadable;
        for (all, more) in [
            (&mut self.client_only, other.client_only),
            (&mut self.server_only, other.server_only),
            (&mut self.doubled, other.doubled),
            (&mut self.logged_but_failed, other.logged_but_failed),
            (&mut self.differing, other.differing),
        ] {
            all.extend(more);
            all.sort_by(|a, b| a.id.cmp(&b.id));
        }
        self
    }

    /// Whether the law holds for every single request.
    pub fn is_exact(&self) -> bool {
        self.lists().iter().all(|(_, list)| list.is_empty())
    }

    /// The lists of requests that break the law, with what is wrong with each.
    pub fn lists(&self) -> [(&'static str, &[Entry]); 5] {
        [
            ("answered, but in no log", &self.client_only),
            ("logged, but sent by no client", &self.server_only),
            ("logged or sent more than once", &self.doubled),
            ("failed for the client, but logged", &self.logged_but_failed),
            ("answered with one status and logged with another", &self.differing),
        ]
    }
}

impl fmt::Display for Conservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests were answered and logged once each, with the same status", self.matched)?;
        if self.failed_and_unlogged > 0 {
            write!(f, "; {} failed and stand in no log", self.failed_and_unlogged)?;
        }
        f.write_str(".")?;
        for (what, list) in self.lists().into_iter().filter(|(_, list)| !list.is_empty()) {
            let ids: Vec<String> = list.iter().take(NAMED).map(|entry| format!("{:?}", entry.id)).collect();
            let more = if list.len() > NAMED { " …" } else { "" };
            write!(f, " {} {what}: {}{more}.", list.len(), ids.join(", "))?;
        }
        if self.unreadable > 0 {
            write!(f, " {} other lines were passed over.", self.unreadable)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: Seen = Seen::Status(200);
    const RESET: Seen = Seen::Failed(FailureClass::Reset);

    fn log<'a>(pod: &'a str, id: &'a str) -> Logged<'a> {
        Logged { pod, id, status: 200 }
    }

    fn ids(list: &[Entry]) -> Vec<&str> {
        list.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn sums_that_agree_do_not_hide_a_lost_and_a_doubled_request() {
        let sent = ["1", "2", "3"].map(|id| Sent { id, seen: OK });
        let law = Conservation::of(sent, [log("a", "1"), log("b", "1"), log("a", "3")], 0);
        assert_eq!((law.matched, ids(&law.client_only), ids(&law.doubled)), (1, vec!["2"], vec!["1"]));
        assert_eq!(law.doubled[0].logged, [("a".to_owned(), 200), ("b".to_owned(), 200)]);
        assert!(!law.is_exact());
    }

    #[test]
    fn every_request_is_in_the_list_where_it_belongs() {
        let sent = [("1", OK), ("2", RESET), ("3", RESET), ("4", OK), ("5", OK), ("5", OK), ("6", OK)];
        let sent = sent.map(|(id, seen)| Sent { id, seen });
        let logged =
            [log("a", "1"), log("a", "3"), Logged { pod: "b", id: "4", status: 499 }, log("b", "5"), log("b", "7")];
        let law = Conservation::of(sent, logged, 2);
        assert_eq!((law.matched, law.failed_and_unlogged, law.unreadable), (1, 1, 2));
        assert_eq!(ids(&law.logged_but_failed), ["3"]);
        assert_eq!(ids(&law.differing), ["4"]);
        assert_eq!(ids(&law.doubled), ["5"]);
        assert_eq!(ids(&law.client_only), ["6"]);
        assert_eq!(ids(&law.server_only), ["7"]);
        assert_eq!(
            law.to_string(),
            "1 requests were answered and logged once each, with the same status; 1 failed and stand in no log. \
             1 answered, but in no log: \"6\". 1 logged, but sent by no client: \"7\". \
             1 logged or sent more than once: \"5\". 1 failed for the client, but logged: \"3\". \
             1 answered with one status and logged with another: \"4\". 2 other lines were passed over."
        );
    }

    #[test]
    fn one_lost_in_a_hundred_thousand_is_found() {
        let names: Vec<String> = (0..100_000).map(|number| format!("{number:x}")).collect();
        let sent = names.iter().map(|id| Sent { id, seen: OK });
        let whole = Conservation::of(sent.clone(), names.iter().map(|id| log("a", id)), 0);
        assert!(whole.is_exact() && whole.matched == 100_000);
        let lost = Conservation::of(sent, names.iter().filter(|id| *id != "abc").map(|id| log("a", id)), 0);
        assert_eq!((lost.matched, ids(&lost.client_only)), (99_999, vec!["abc"]));
    }

    type Log = Vec<(u8, u8)>;

    /// Requests with ids from 0 to 29, so that many of them meet, and a log in any order.
    fn logs() -> impl Strategy<Value = (Vec<(u8, bool)>, Log, Log)> {
        let logged = prop::collection::vec((0_u8..3, 0_u8..30), 0..60);
        (prop::collection::vec((0_u8..30, any::<bool>()), 0..40), logged)
            .prop_flat_map(|(sent, logged)| (Just(sent), Just(logged.clone()), Just(logged).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn a_shuffled_log_is_the_same_log((sent, logged, shuffled) in logs()) {
            let names: Vec<String> = (0..30).map(|number| number.to_string()).collect();
            let pods = ["a", "b", "c"];
            let judge = |logged: &[(u8, u8)]| {
                let sent = sent.iter().map(|(id, ok)| Sent { id: &names[usize::from(*id)], seen: if *ok { OK } else { RESET } });
                let logged = logged.iter().map(|(pod, id)| log(pods[usize::from(*pod)], &names[usize::from(*id)]));
                let mut law = Conservation::of(sent, logged, 0);
                law.doubled.iter_mut().for_each(|entry| entry.logged.sort());
                law
            };
            let law = judge(&logged);
            prop_assert_eq!(&law, &judge(&shuffled));
            // Every id is counted in one place.
            let all: std::collections::BTreeSet<u8> = sent.iter().map(|(id, _)| *id).chain(logged.iter().map(|(_, id)| *id)).collect();
            let listed: usize = law.lists().iter().map(|(_, list)| list.len()).sum();
            prop_assert_eq!(law.matched + law.failed_and_unlogged + listed as u64, all.len() as u64);
        }
    }
}
