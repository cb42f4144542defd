//! A load in time, beside what happened to the cluster meanwhile: what failed and when, who served from when on, and who
//! still got connections while it was ending. Pure.
//!
//! Moments are microseconds since 1970, by the clock of whoever saw them. The agents of a cluster on one machine share
//! that machine's clock, and so do the marks of a test that runs there; between machines, the difference of their clocks
//! is in every figure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::Results;
use crate::wire::FailureClass;

/// Something that happened to the cluster during a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at_us: u64,
    /// What, in a few words: `nginx-7c5d-abc is ending`.
    pub what: String,
}

/// One request of a load, in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it came from.
    pub vantage: String,
    /// Its id, as it stands in the access log.
    pub id: String,
    /// When it started.
    pub start_us: u64,
    /// When it ended.
    pub end_us: u64,
    /// The pod that answered, or why nobody did.
    pub outcome: Result<String, FailureClass>,
}

/// A load in time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeline {
    /// Every request, in the order of their starts.
    pub events: Vec<Event>,
    /// What happened meanwhile, in that order.
    pub marks: Vec<Mark>,
}

impl Timeline {
    /// The time line of these results, with what happened meanwhile.
    pub fn of(results: &Results, mut marks: Vec<Mark>) -> Self {
        let mut events = Vec::new();
        for load in &results.loads {
            let began = load.loaded.started_at_unix_us;
            events.extend(load.requests.iter().map(|request| {
                let start_us = began.saturating_add(request.start_us);
                let answer = &request.answer;
                let outcome = match (&answer.failure, &answer.served_by) {
                    (Some(failure), _) => Err(failure.class),
                    (None, Some(pod)) => Ok(pod.clone()),
                    (None, None) => Err(FailureClass::Other),
                };
                let end_us = start_us.saturating_add(request.took_us);
                Event { vantage: load.vantage.clone(), id: load.id(request), start_us, end_us, outcome }
            }));
        }
        events.sort_by_key(|event| event.start_us);
        marks.sort_by_key(|mark| mark.at_us);
        Self { events, marks }
    }

    /// The requests that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.outcome.is_err())
    }

    /// How many failed, by class.
    pub fn failures(&self) -> BTreeMap<FailureClass, u64> {
        let mut failures = BTreeMap::new();
        for class in self.failed().filter_map(|event| event.outcome.as_ref().err()) {
            *failures.entry(*class).or_default() += 1;
        }
        failures
    }

    /// When each vantage was first answered by `pod`; vantages that never were are absent.
    pub fn first_answers(&self, pod: &str) -> BTreeMap<&str, u64> {
        let mut first = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.outcome.as_deref() == Ok(pod)) {
            first.entry(event.vantage.as_str()).or_insert(event.end_us);
        }
        first
    }

    /// When each vantage had been answered by every one of `pods`, for the first time; vantages that never were by one of
    /// them are absent.
    pub fn answered_by_all(&self, pods: &BTreeSet<&str>) -> BTreeMap<&str, u64> {
        let mut of_each = pods.iter().map(|pod| self.first_answers(pod));
        let first = of_each.next().unwrap_or_default();
        of_each.fold(first, |all, one| {
            let both = all.into_iter().filter_map(|(vantage, at)| Some((vantage, at.max(*one.get(vantage)?))));
            both.collect()
        })
    }

    /// What began before `at_us`, and what began then or later: a time line of its own each.
    pub fn split(&self, at_us: u64) -> [Self; 2] {
        let part = |is_later: bool| Self {
            events: self.events.iter().filter(|event| (event.start_us >= at_us) == is_later).cloned().collect(),
            marks: self.marks.iter().filter(|mark| (mark.at_us >= at_us) == is_later).cloned().collect(),
        };
        [part(false), part(true)]
    }

    /// The requests that started after `at_us` and still went to `pod`: new connections to one that was ending, if that
    /// is when it began to.
    pub fn still_sent_to(&self, pod: &str, at_us: u64) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.start_us > at_us && event.outcome.as_deref() == Ok(pod))
    }

    /// From when on each vantage was served by `pods` alone and without a failure: the end of the last request that was
    /// not, or else the vantage's first.
    ///
    /// A vantage whose last request of all was not is absent: it never came to that.
    pub fn settled(&self, pods: &BTreeSet<&str>) -> BTreeMap<&str, u64> {
        // From when on, and whether the last request so far was served so.
        let mut settled: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
        for event in &self.events {
            let (from, is_settled) = settled.entry(&event.vantage).or_insert((event.start_us, true));
            *is_settled = event.outcome.as_deref().is_ok_and(|pod| pods.contains(pod));
            if !*is_settled {
                *from = event.end_us.max(*from);
            }
        }
        settled
            .into_iter()
            .filter_map(|(vantage, (from, is_settled))| Some((vantage, is_settled.then_some(from)?)))
            .collect()
    }

    /// The longest time in which no request of `vantage` was answered, in microseconds: from one answer to the next.
    pub fn longest_silence(&self, vantage: &str) -> u64 {
        let of_vantage = self.events.iter().filter(|event| event.vantage == vantage);
        let mut answers: Vec<u64> =
            of_vantage.filter(|event| event.outcome.is_ok()).map(|event| event.end_us).collect();
        answers.sort_unstable();
        answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The requests that failed and neither began nor ended in one of the `windows` (from, to): what no change excuses.
    pub fn failed_outside(&self, windows: &[(u64, u64)]) -> Vec<&Event> {
        let excused = |event: &&Event| windows.iter().any(|(from, to)| event.start_us <= *to && event.end_us >= *from);
        self.failed().filter(|event| !excused(event)).collect()
    }
}

/// The part of sorted-or-not `values` below which `of_100` of a hundred lie, by the nearest-rank method; 0 if there is none.
///
/// ```
/// use reachmap::load::timeline::percentile;
/// assert_eq!(percentile([30, 10, 20, 40], 50), 20);
/// assert_eq!(percentile([30, 10, 20, 40], 99), 40);
/// ```
pub fn percentile(values: impl IntoIterator<Item = u64>, of_100: usize) -> u64 {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let rank = (values.len() * of_100).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(pod) => write!(f, "{} from {}, answered by {pod}", self.id, self.vantage),
            Err(class) => write!(f, "{} from {}, failed: {class:?}", self.id, self.vantage),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(vantage: &str, start_us: u64, took_us: u64, outcome: Result<&str, FailureClass>) -> Event {
        Event {
            vantage: vantage.to_owned(),
            id: format!("r-{start_us}"),
            start_us,
            end_us: start_us + took_us,
            outcome: outcome.map(str::to_owned),
        }
    }

    fn timeline(events: Vec<Event>) -> Timeline {
        Timeline { events, marks: Vec::new() }
    }

    #[test]
    fn what_failed_is_counted_and_told_apart_by_when() {
        let refused = FailureClass::Refused;
        let line = timeline(vec![
            event("a", 10, 5, Ok("p")),
            event("a", 20, 5, Err(refused)),
            event("a", 40, 5, Err(refused)),
        ]);
        assert_eq!(line.failures(), BTreeMap::from([(refused, 2)]));
        assert_eq!(line.failed_outside(&[(24, 30)]), [&line.events[2]]);
        assert_eq!(line.failed_outside(&[(0, 100)]), Vec::<&Event>::new());
    }

    #[test]
    fn a_vantage_is_settled_after_its_last_answer_from_elsewhere() {
        let line = timeline(vec![
            event("a", 10, 5, Ok("old")),
            event("b", 10, 5, Ok("new")),
            event("a", 20, 50, Ok("old")),
            event("a", 30, 5, Ok("new")),
            event("a", 80, 5, Ok("new")),
            event("c", 90, 5, Err(FailureClass::Timeout)),
        ]);
        let settled = line.settled(&BTreeSet::from(["new"]));
        assert_eq!(settled, BTreeMap::from([("a", 70), ("b", 10)]), "c never was");
    }

    #[test]
    fn who_is_ending_and_still_gets_connections_is_seen() {
        let line = timeline(vec![event("a", 10, 50, Ok("p")), event("a", 30, 5, Ok("p")), event("a", 40, 5, Ok("q"))]);
        let starts: Vec<u64> = line.still_sent_to("p", 20).map(|event| event.start_us).collect();
        assert_eq!(starts, [30]);
        assert_eq!(line.first_answers("q"), BTreeMap::from([("a", 45)]));
    }

    #[test]
    fn a_vantage_has_every_pod_once_the_last_has_answered_it() {
        let events = vec![
            event("a", 10, 5, Ok("p")),
            event("b", 12, 5, Ok("p")),
            event("a", 20, 5, Ok("q")),
            event("a", 30, 5, Ok("p")),
        ];
        let line = Timeline { events, marks: vec![Mark { at_us: 20, what: "q is ready".to_owned() }] };
        assert_eq!(line.answered_by_all(&BTreeSet::from(["p", "q"])), BTreeMap::from([("a", 25)]));
        assert_eq!(line.answered_by_all(&BTreeSet::from(["p"])), BTreeMap::from([("a", 15), ("b", 17)]));
        let [before, after] = line.split(20);
        assert_eq!((before.events.len(), after.events.len()), (2, 2));
        assert_eq!((before.marks.len(), after.marks.len()), (0, 1));
    }

    #[test]
    fn silence_is_from_answer_to_answer() {
        let line = timeline(vec![
            event("a", 0, 1, Ok("p")),
            event("a", 5, 1, Err(FailureClass::Timeout)),
            event("b", 6, 1, Ok("p")),
            event("a", 30, 1, Ok("p")),
        ]);
        assert_eq!(line.longest_silence("a"), 30);
        assert_eq!(line.longest_silence("b"), 0);
    }

    proptest! {
        #[test]
        fn after_it_is_settled_nothing_else_is_seen(
            events in proptest::collection::vec((0_u64..1000, 0_u64..50, 0_usize..4), 1..60)
        ) {
            let outcomes = [Ok("new"), Ok("old"), Err(FailureClass::Refused), Ok("new")];
            let mut events: Vec<Event> =
                events.into_iter().map(|(start, took, which)| event("a", start, took, outcomes[which])).collect();
            events.sort_by_key(|event| event.start_us);
            let line = timeline(events);
            let pods = BTreeSet::from(["new"]);
            let last = line.events.last().unwrap().outcome.as_deref();
            let settled = line.settled(&pods);
            prop_assert_eq!(settled.contains_key("a"), last == Ok("new"));
            for event in line.events.iter().filter(|event| settled.get("a").is_some_and(|at| event.start_us > *at)) {
                prop_assert_eq!(event.outcome.as_deref(), Ok("new"));
            }
        }

        #[test]
        fn a_percentile_is_one_of_the_values(values in proptest::collection::vec(0_u64..100, 1..50), of_100 in 1_usize..=100) {
            let found = percentile(values.iter().copied(), of_100);
            prop_assert!(values.contains(&found));
            let below = values.iter().filter(|value| **value <= found).count();
            prop_assert!(below * 100 >= values.len() * of_100);
        }
    }
}
