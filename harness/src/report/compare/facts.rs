//! What a run says, reduced to what can be compared with another run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{Said, Subject};
use crate::{
    report::{Beside, ChangeRecord, LoadOutcome, LoadRecord, LookupGroup, Run, explain::headline, words},
    verdict::{Judgement, Verdict},
};

/// One thing that a run says.
pub(super) struct Fact {
    /// What is the same in every run that says the same, whatever its addresses, names and times are.
    pub(super) essence: String,
    pub(super) said: Said,
    /// The reason piece by piece, if it has so many that only those are worth showing that the other run has not.
    pub(super) pieces: Vec<String>,
}

impl Fact {
    /// What is said, beside what another run says.
    pub(super) fn beside(&self, other: Option<&Self>) -> Said {
        let Some(other) = other.filter(|_| !self.pieces.is_empty()) else { return self.said.clone() };
        let own = self.pieces.iter().filter(|piece| !other.pieces.contains(piece));
        let reason = own.map(String::as_str).collect::<Vec<_>>().join(", ");
        Said { reason, ..self.said.clone() }
    }
}

/// How much of a reason is shown.
const LONGEST: usize = 300;

/// Everything that a run says, by what it is about.
pub(super) fn facts(run: &Run) -> BTreeMap<(Subject, String), Fact> {
    let mut facts = BTreeMap::new();
    if let Some(failure) = &run.failure {
        let fact = fact("could not be carried out", words::plain_lines(&failure.message, 5), "");
        facts.insert((Subject::Run, "to its end".to_owned()), fact);
    }
    let cells = run
        .verdicts
        .iter()
        .map(|verdict| (Subject::Cell, format!("{} · {}", verdict.suite, verdict.cell()), cell(verdict)));
    let lookups = run.lookups.iter().map(|group| (Subject::Lookups, group.cell(), lookups(group)));
    let loads = run.loads.iter().map(|one| (Subject::Load, format!("{} · {}", one.suite, one.place()), load(one)));
    let changes =
        run.changes.iter().map(|one| (Subject::Change, format!("{} · {}", one.suite, one.place()), change(one)));
    let statements =
        run.beside.iter().map(|one| (Subject::Statement, format!("{}: {}", one.place, one.id), beside(one)));
    let tests = run.failed_tests.iter().map(|failed| {
        let name = format!("{} · {}", failed.suite, failed.test);
        // The end of what a test printed has the reason; the rest is full of names and times.
        (Subject::Test, name, fact("failed", words::plain_lines(&failed.output, 4), ""))
    });
    let missing = run.other_tests.iter().filter_map(|test| {
        let reason = test.not_supported.as_deref()?;
        let name = format!("{} · {}", test.suite, test.test);
        Some((Subject::Test, name, fact("not supported here", words::plain_lines(reason, 4), "")))
    });
    let tests = tests.chain(missing);
    for (subject, name, fact) in cells.chain(lookups).chain(loads).chain(changes).chain(statements).chain(tests) {
        facts.insert((subject, words::visible(&name)), fact);
    }
    facts
}

/// A fact whose essence is its verdict and `more`.
fn fact(verdict: impl Into<String>, reason: String, more: &str) -> Fact {
    let verdict = verdict.into();
    Fact { essence: format!("{verdict}\n{more}"), said: Said { verdict, reason }, pieces: Vec::new() }
}

/// What a verdict says, and what of it is the same in every cluster in which the same is true.
pub(crate) fn essence(verdict: &Verdict) -> (String, Said) {
    let fact = cell(verdict);
    (fact.essence, fact.said)
}

fn cell(verdict: &Verdict) -> Fact {
    let expected = verdict.expectation.as_ref();
    let essence = expected
        .map_or_else(String::new, |expectation| format!("{} {}", expectation.reachable, expectation.reason.kind()));
    let reachable = match expected.map(|expectation| expectation.reachable) {
        Some(true) if verdict.is_as_expected() => ": reached",
        Some(false) if verdict.is_as_expected() => ": not reached",
        _ => "",
    };
    let mut reason = expected.map_or_else(String::new, |expectation| words::visible(&expectation.why()));
    match &verdict.outcome {
        Judgement::AsExpected => {}
        Judgement::NotAsExpected { observed, .. } => {
            // Writing to a string cannot fail.
            let _ = write!(reason, " Seen: {}.", words::cut(observed, LONGEST));
        }
        Judgement::NotSupported { reason: missing } => reason = words::cut(missing, LONGEST),
        Judgement::NotProbed { reason: because } => reason = words::plain_lines(because, 4),
    }
    fact(format!("{}{reachable}", headline(verdict)), reason.trim().to_owned(), &essence)
}

fn lookups(group: &LookupGroup) -> Fact {
    if let Some(missing) = &group.not_supported {
        return fact("not supported here", words::visible(missing), "");
    }
    let outcomes = group.outcomes.iter().map(|(outcome, number)| format!("{outcome} {number}"));
    let outcomes: Vec<String> = outcomes.collect();
    let mut wrong: Vec<String> =
        group.mismatches.iter().map(|mismatch| format!("{} not as predicted", role(&mismatch.name))).collect();
    wrong.extend(group.not_covered.keys().map(|name| format!("{} not covered", role(name))));
    wrong.sort_unstable();
    let costs = group.costs.iter().map(|cost| {
        let questions = words::count(cost.questions, "question");
        format!("{questions} for {}", role(&cost.name))
    });
    let mut costs: Vec<String> = costs.collect();
    costs.sort_unstable();
    let reason = [outcomes.as_slice(), wrong.as_slice()].concat().join(", ");
    let pieces = [outcomes, wrong, costs].concat();
    let verdict = format!("{} of {} as predicted", group.as_predicted, words::count(group.lookups, "lookup"));
    Fact { pieces: pieces.clone(), ..fact(verdict, reason, &pieces.join("\n")) }
}

/// A name as it is in every cluster: pods have names made of their addresses, which are each cluster's own
/// (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>).
fn role(name: &str) -> String {
    let is_address = |label: &str| {
        label.replace('-', ".").parse::<Ipv4Addr>().is_ok() || label.replace('-', ":").parse::<Ipv6Addr>().is_ok()
    };
    match name.split_once('.') {
        Some((first, rest)) if is_address(first) => format!("POD-ADDRESS.{}", words::plain(rest)),
        _ => words::plain(name),
    }
}

fn load(load: &LoadRecord) -> Fact {
    let may_answer = load.pods.iter().filter(|pod| pod.may_answer).count();
    let ways: BTreeSet<&str> = load.errors.iter().map(|error| words::network(error.class)).collect();
    let broken: BTreeSet<&str> = load.conservation.broken.iter().map(|broken| broken.what.as_str()).collect();
    let tests: Vec<String> =
        load.judgements.iter().map(|judgement| format!("{} {:?}", judgement.question, judgement.verdict)).collect();
    let allowed = load.not_allowed.is_empty();
    let law = load.expected.law;
    let essence = format!("{law:?} {} {may_answer} {ways:?} {broken:?} {tests:?} {allowed}", load.expected.reason);
    let verdict = match &load.outcome {
        LoadOutcome::AsExpected => "as expected",
        LoadOutcome::NotAsExpected { .. } => "not as expected",
        LoadOutcome::NotJudged { .. } => "not judged",
    };
    let mut reason = words::visible(&load.expected.why);
    match &load.outcome {
        LoadOutcome::AsExpected => {}
        LoadOutcome::NotAsExpected { findings } => {
            for finding in findings {
                let _ = write!(reason, " {}", words::plain_lines(finding, 6));
            }
        }
        LoadOutcome::NotJudged { reason: because } => reason = words::cut(because, LONGEST),
    }
    fact(verdict, reason, &essence)
}

fn change(change: &ChangeRecord) -> Fact {
    let failed: u64 = change.errors.iter().map(|error| error.requests).sum();
    let verdict = if failed == 0 { "no request failed" } else { "requests failed" };
    // A change without a new state has nothing to settle.
    let has_new_state = !change.settled_us.is_empty();
    let is_unsettled = |vantage: &&String| has_new_state && !change.settled_us.contains_key(*vantage);
    let unsettled: Vec<&String> = change.vantages.iter().filter(is_unsettled).collect();
    let essence = format!("{} {has_new_state} {unsettled:?}", change.what);
    let mut reason = format!("{}: {}.", words::visible(&change.what), words::visible(&change.in_short()));
    if !unsettled.is_empty() {
        let names = unsettled.into_iter().map(|vantage| words::visible(vantage)).collect::<Vec<_>>().join(", ");
        // Writing to a string cannot fail.
        let _ = write!(reason, " The new state never served {names} alone.");
    }
    fact(verdict, reason, &essence)
}

fn beside(beside: &Beside) -> Fact {
    let said = format!("“{}”: {}", words::visible(&beside.says), words::visible(&beside.seen));
    fact(beside.holds.words(), said, &beside.says)
}
