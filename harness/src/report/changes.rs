//! What a run has to say of loads while something changed: what failed, how soon the new state served everywhere, and who
//! still got connections while it was ending.

use std::collections::{BTreeMap, BTreeSet};

mod arp;

pub use arp::{ArpMove, ArpRecord};
use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ErrorCount, Run, html,
    markdown::{code, escape, heading, line},
    plot::{self, Course, Interval, Mark},
    words,
};
use crate::load::timeline::{Timeline, percentile};

/// How long an interval of the course is.
const INTERVAL_US: u64 = 250_000;

/// A load while something changed. All times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeRecord {
    /// The suite that made the change.
    pub suite: String,
    /// The stage in which it was made.
    pub stage: String,
    /// A short name, one of a kind in its suite and stage.
    pub name: String,
    /// What was changed, in a few words.
    pub what: String,
    /// The vantages that sent the load.
    pub vantages: BTreeSet<String>,
    /// How many requests they sent, each over a new connection.
    pub requests: u64,
    /// How many of them failed, by class.
    pub errors: Vec<ErrorCount>,
    /// How long after the change began each vantage was served by the new state alone, by vantage; where pods only came, by
    /// every one of them. Empty if the change has no new state.
    pub settled_us: BTreeMap<String, u64>,
    /// How many new connections pods got after they had begun to end.
    pub late_connections: u64,
    /// How long after that the last of them was made.
    pub latest_us: u64,
    /// The longest time without an answer, by vantage.
    pub longest_silence_us: BTreeMap<String, u64>,
    /// What was answered and what failed in time, and what happened meanwhile.
    pub course: Course,
    /// Who answered for the address that was loaded, if it is one that moves from node to node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arp: Option<ArpRecord>,
}

impl ChangeRecord {
    /// The record of `line`, for a change that began at `since_us` and whose new state is served by `pods` alone; `ending`
    /// has when each pod that ended was seen to.
    ///
    /// Suite and stage are still to be filled in.
    pub fn of(
        name: &str,
        what: &str,
        line: &Timeline,
        (since_us, pods): (u64, &BTreeSet<&str>),
        ending: &[(&str, u64)],
    ) -> Self {
        let vantages: BTreeSet<String> = line.events.iter().map(|event| event.vantage.clone()).collect();
        let settled = line.settled(pods).into_iter();
        let late: Vec<u64> = ending
            .iter()
            .flat_map(|(pod, at)| line.still_sent_to(pod, *at).map(move |event| event.start_us - at))
            .collect();
        let silence = vantages.iter().map(|vantage| (vantage.clone(), line.longest_silence(vantage)));
        let errors = line.failures().into_iter().map(|(class, requests)| ErrorCount { class, requests });
        Self {
            suite: String::new(),
            stage: String::new(),
            name: name.to_owned(),
            what: what.to_owned(),
            requests: line.events.len() as u64,
            errors: errors.collect(),
            settled_us: settled.map(|(vantage, at)| (vantage.to_owned(), at.saturating_sub(since_us))).collect(),
            late_connections: late.len() as u64,
            latest_us: late.into_iter().max().unwrap_or_default(),
            longest_silence_us: silence.collect(),
            course: course(line),
            vantages,
            arp: None,
        }
    }

    /// The record of `line`, for a change that began at `since_us` and by which nothing but `pods` came: the new state is
    /// there once each of them has answered, as nothing else tells it from the old one.
    ///
    /// Suite and stage are still to be filled in.
    pub fn of_coming(name: &str, what: &str, line: &Timeline, (since_us, pods): (u64, &BTreeSet<&str>)) -> Self {
        let came = line.answered_by_all(pods).into_iter();
        let settled_us = came.map(|(vantage, at)| (vantage.to_owned(), at.saturating_sub(since_us))).collect();
        Self { settled_us, ..Self::of(name, what, line, (since_us, pods), &[]) }
    }

    /// Where it was made, and its name: `changing/scaled`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.stage, self.name)
    }

    fn failed(&self) -> String {
        if self.errors.is_empty() { "none".to_owned() } else { super::loads::errors(&self.errors) }
    }

    fn settled(&self, of_100: usize) -> String {
        if self.settled_us.is_empty() {
            return "–".to_owned();
        }
        words::time(percentile(self.settled_us.values().copied(), of_100))
    }

    fn late(&self) -> String {
        match self.late_connections {
            0 => "none".to_owned(),
            count => format!("{count}, the last after {}", words::time(self.latest_us)),
        }
    }

    fn silence(&self) -> String {
        words::time(self.longest_silence_us.values().copied().max().unwrap_or_default())
    }

    /// What a comparison says of it.
    pub(super) fn in_short(&self) -> String {
        format!("of {} requests failed: {}; longest silence: {}", self.requests, self.failed(), self.silence())
    }

    /// The columns of a table, after the name.
    fn columns(&self) -> [String; 7] {
        [
            words::visible(&self.what),
            self.requests.to_string(),
            self.failed(),
            self.settled(50),
            self.settled(99),
            self.late(),
            self.silence(),
        ]
    }
}

/// What the columns of [`ChangeRecord::columns`] are.
const COLUMNS: [&str; 7] = [
    "While",
    "Requests",
    "Failed",
    "New state everywhere, p50",
    "p99",
    "New connections to pods that were ending",
    "Longest silence",
];

fn course(line: &Timeline) -> Course {
    let start = line.events.first().map_or(0, |event| event.start_us);
    let mut intervals = Vec::new();
    for event in &line.events {
        let index = usize::try_from(event.end_us.saturating_sub(start) / INTERVAL_US).unwrap_or(usize::MAX);
        if intervals.len() <= index {
            intervals.resize(index + 1, Interval::default());
        }
        match event.outcome {
            Ok(_) => intervals[index].answered += 1,
            Err(_) => intervals[index].failed += 1,
        }
    }
    let mark =
        |mark: &crate::load::timeline::Mark| Mark { at_us: mark.at_us.saturating_sub(start), label: mark.what.clone() };
    Course { interval_us: INTERVAL_US, intervals, marks: line.marks.iter().map(mark).collect() }
}

/// The changes as Markdown: a table.
pub(super) fn markdown(run: &Run, level: usize) -> Option<String> {
    let heads = format!("| Change | {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len() + 1));
    let mut text = format!("{}\n\n{heads}\n", heading(level, "Load while things change"));
    for change in &run.changes {
        let columns = change.columns().map(|column| escape(&column));
        text.push_str(&line([code(&change.place())].into_iter().chain(columns)));
    }
    for (change, arp) in run.changes.iter().filter_map(|change| Some((change, change.arp.as_ref()?))) {
        text.extend(["\n", &code(&change.place()), ": ", &escape(&arp.to_string()), "\n"]);
    }
    (!run.changes.is_empty()).then(|| text.trim_end().to_owned())
}

/// The changes as a terminal shows them: a line each.
pub(super) fn terminal(run: &Run) -> Option<String> {
    let one = |change: &ChangeRecord| {
        let settled = match change.settled_us.len() {
            0 => String::new(),
            _ => format!(
                " The new state served everywhere after {} (p50) and {} (p99).",
                change.settled(50),
                change.settled(99)
            ),
        };
        format!(
            "  {}: {}. Failed: {}.{settled} New connections to pods that were ending: {}.{}",
            words::visible(&change.place()),
            words::visible(&change.what),
            change.failed(),
            change.late(),
            change.arp.as_ref().map(|arp| format!(" {arp}")).unwrap_or_default(),
        )
    };
    let lines: Vec<String> = run.changes.iter().map(one).collect();
    (!lines.is_empty()).then(|| format!("load while things change:\n{}", lines.join("\n")))
}

/// The change's place in the page: `change/distribution/changing/scaled`.
pub(super) fn anchor(change: &ChangeRecord) -> String {
    html::path(["change", &change.suite, &change.stage, &change.name])
}

/// What a page's template needs: the heads of the table, and a value for each change.
pub(super) fn values(run: &Run) -> Value {
    let changes = run.changes.iter().enumerate().map(|(number, change)| {
        context! {
            anchor => html::place(anchor(change)),
            place => words::visible(&change.place()),
            good => change.errors.is_empty(),
            what => words::visible(&change.what),
            columns => change.columns(),
            arp => change.arp.as_ref().map(ToString::to_string),
            course => Value::from_safe_string(plot::course(&change.course, &format!("change-{number}"))),
        }
    });
    context! { heads => COLUMNS, all => changes.collect::<Vec<_>>() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::timeline, report::sample, wire::FailureClass};

    fn event(start_us: u64, outcome: Result<&str, FailureClass>) -> timeline::Event {
        timeline::Event {
            vantage: "worker-1".to_owned(),
            id: format!("r-{start_us}"),
            start_us,
            end_us: start_us + 1_000,
            outcome: outcome.map(str::to_owned),
        }
    }

    #[test]
    fn a_record_counts_from_the_loads_start_and_from_the_change() {
        let line = Timeline {
            events: vec![
                event(1_000_000, Ok("old")),
                event(1_300_000, Err(FailureClass::Refused)),
                event(1_400_000, Ok("old")),
                event(1_600_000, Ok("new")),
            ],
            marks: vec![timeline::Mark { at_us: 1_250_000, what: "old is ending".to_owned() }],
        };
        let pods = BTreeSet::from(["new"]);
        let record = ChangeRecord::of("r", "restart", &line, (1_200_000, &pods), &[("old", 1_250_000)]);
        assert_eq!(record.settled_us, BTreeMap::from([("worker-1".to_owned(), 201_000)]));
        assert_eq!((record.late_connections, record.latest_us), (1, 150_000));
        let counts: Vec<(u64, u64)> =
            record.course.intervals.iter().map(|interval| (interval.answered, interval.failed)).collect();
        assert_eq!(counts, [(1, 0), (1, 1), (1, 0)]);
        assert_eq!(record.course.marks[0].at_us, 250_000);
    }

    #[test]
    fn pods_that_only_come_are_there_once_each_has_answered() {
        let events = vec![
            event(1_000_000, Ok("old")),
            event(1_300_000, Ok("one")),
            event(1_400_000, Ok("two")),
            event(1_600_000, Ok("old")),
        ];
        let line = Timeline { events, marks: Vec::new() };
        let pods = BTreeSet::from(["one", "two"]);
        let record = ChangeRecord::of_coming("r", "1 to 3 replicas", &line, (1_200_000, &pods));
        assert_eq!(record.settled_us, BTreeMap::from([("worker-1".to_owned(), 201_000)]));
    }

    #[test]
    fn every_report_shows_them() {
        let run = sample::run();
        assert!(markdown(&run, 2).unwrap().contains("| `changing/restarted` | rolling restart |"));
        assert!(terminal(&run).unwrap().contains("changing/restarted: rolling restart. Failed: none."));
        assert!(html(&run).contains("Load while things change"));
        assert_eq!(markdown(&Run { changes: Vec::new(), ..run }, 2), None);
    }
}
