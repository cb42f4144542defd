//! What a run has to say of its loads: which pods answered, how evenly, and whether both ends saw the same.

mod explain;
mod family;
pub(super) mod html;
mod latency;
pub(super) mod markdown;
pub(super) mod terminal;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use reachmap_wire::{Extent, FailureClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::family::settle;
pub use self::{
    explain::explain as explain_load,
    latency::{Latency, LatencyBucket},
};
use super::{FailedTest, words};
use crate::{
    load::{
        Kept,
        statistics::{Finding, Judgement},
    },
    model::{Law, Source},
};

/// One load, seen from both ends and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadRecord {
    /// The suite that sent it.
    pub suite: String,
    /// The Service state in which it was sent.
    pub stage: String,
    /// A short name, one of a kind in its suite and stage.
    pub name: String,
    /// The test that sent it, if that is known.
    pub test: Option<String>,
    /// The vantage from which it was sent.
    pub vantage: String,
    /// The access method that it was sent by.
    pub method: String,
    /// What its requests named: an address and a port.
    pub target: String,
    /// When it had done enough.
    pub extent: Extent,
    /// How many requests were under way at once.
    pub connections_at_once: u32,
    /// Whether a connection was kept for the next request; else each request had a new one.
    pub keep_alive: bool,
    /// How many requests a second were to start, if there was a rate.
    pub rate_per_second: Option<f64>,
    /// How that rate was kept, if there was one: what was due, what started, and how late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// How long no request could start because nobody took the results, in microseconds: not 0 if the harness is why the load
    /// was not what was asked for.
    #[serde(default)]
    pub held_us: u64,
    /// From its start to its end, in microseconds.
    pub elapsed_us: u64,
    /// How many requests were sent.
    pub requests: u64,
    /// How many of them were answered in full, whatever the status.
    pub answered: u64,
    /// On how many connections something was answered, or which the pod refused that is there to refuse: the sample.
    pub connections: u64,
    /// Requests a second, failed ones too, as hey counts them.
    pub requests_per_second: f64,
    /// How many answers had each status.
    pub statuses: BTreeMap<u16, u64>,
    /// How many requests failed, by class.
    pub errors: Vec<ErrorCount>,
    /// The pod that refuses every connection, by whoever deployed it so: refused connections are its part of the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusing: Option<String>,
    /// Whether the answers do not say whose they are, as whoever deployed the pods has made them: who answered is then what
    /// the logs say.
    #[serde(default)]
    pub by_logs: bool,
    /// How long answers took.
    pub latency: Latency,
    /// Who may answer, and by which law, by the model.
    pub expected: ExpectedSpread,
    /// Each pod that may answer, and each that did.
    pub pods: Vec<PodLoad>,
    /// The alpha of each pod's confidence band.
    pub band_alpha: f64,
    /// The clients against the logs, request by request.
    pub conservation: Conserved,
    /// How many requests the pods logged from each client address.
    pub logged_from: BTreeMap<IpAddr, u64>,
    /// Answers that the model does not allow, each with how often.
    pub not_allowed: BTreeMap<String, u64>,
    /// What the tests of the spread found; empty if it was not tested.
    pub judgements: Vec<Judgement>,
    /// Whether all of it is as expected.
    pub outcome: LoadOutcome,
}

/// How many requests failed in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorCount {
    /// The way.
    pub class: FailureClass,
    /// How many.
    pub requests: u64,
}

/// What the model says of the spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedSpread {
    /// How one of those that may answer is chosen for each connection.
    pub law: Law,
    /// Who may answer and by which law, as a sentence.
    pub why: String,
    /// The kind of reason for which requests arrive, such as `load_balancer_announced`.
    pub reason: String,
    /// That reason, as a sentence.
    pub arrives: String,
}

/// One pod's part of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PodLoad {
    /// The pod.
    pub pod: String,
    /// The node that it is on, if that is known.
    pub node: Option<String>,
    /// Whether it may answer, by the model.
    pub may_answer: bool,
    /// The chance that a connection goes to it, by the law; absent if the law does not say, as for session affinity.
    pub share: Option<f64>,
    /// How many connections it answered on, or refused.
    pub connections: u64,
    /// How many requests it answered.
    pub requests: u64,
    /// How many requests failed on connections that were its own, by class.
    pub errors: Vec<ErrorCount>,
    /// Half of its answers took at most so long, in microseconds; 0 if it gave none.
    #[serde(default)]
    pub p50_us: u64,
    /// 99 of 100 of its answers took at most so long, in microseconds.
    #[serde(default)]
    pub p99_us: u64,
    /// The lower end of the confidence interval of its share of the connections: Clopper and Pearson's
    /// ([`share_interval`](crate::load::statistics::share_interval)), at `band_alpha`.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The source addresses that it saw, each with how often.
    pub seen: BTreeMap<IpAddr, u64>,
    /// The client addresses of the load in its log, each with how often.
    #[serde(default)]
    pub logged: BTreeMap<IpAddr, u64>,
    /// The source addresses that it may see, each with the reason; absent if the model does not say.
    pub may_see: Option<BTreeSet<Source>>,
}

/// Both ends held against each other, by request id: the numbers, and the first ids of each kind that breaks the law.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conserved {
    /// How many requests were answered and logged once, with the same status.
    pub matched: u64,
    /// How many failed and stand in no log.
    pub failed_and_unlogged: u64,
    /// What breaks the law.
    pub broken: Vec<Broken>,
}

/// Requests of which the two ends do not agree, in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Broken {
    /// In which way, such as `answered, but in no log`.
    pub what: String,
    /// How many.
    pub requests: u64,
    /// The ids of the first of them.
    pub first: Vec<String>,
}

/// How a load ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadOutcome {
    /// Nothing failed, both ends agree, who answered may answer, and nothing speaks against the law.
    AsExpected,
    /// Something else happened.
    NotAsExpected {
        /// What, as sentences.
        findings: Vec<String>,
    },
    /// It was measured and not held against anything, for instance because the cluster changed meanwhile.
    NotJudged {
        /// Why not.
        reason: String,
    },
}

impl LoadRecord {
    /// Where it went, and its name: `load-balancer-ready/laptop/loadbalancer-address (hey)`.
    pub fn place(&self) -> String {
        format!("{}/{}/{} ({})", self.stage, self.vantage, self.method, self.name)
    }

    /// Whether that test sent it.
    pub(super) fn is_of(&self, failed: &FailedTest) -> bool {
        let same = (&self.suite, &self.stage) == (&failed.suite, &failed.stage);
        same && self.test.as_ref() == Some(&failed.test)
    }

    /// Whether all of it is as expected.
    pub fn is_as_expected(&self) -> bool {
        self.outcome == LoadOutcome::AsExpected
    }

    /// Whether something of it is not as expected: what makes a run end with exit code 1.
    pub fn is_not_as_expected(&self) -> bool {
        matches!(self.outcome, LoadOutcome::NotAsExpected { .. })
    }

    /// The outcome that follows from all else: what a steady cluster must show.
    pub fn judge(&self) -> LoadOutcome {
        let mut findings = Vec::new();
        let is_due = |error: &&ErrorCount| self.refusing.is_some() && error.class == FailureClass::Refused;
        let failures: Vec<ErrorCount> = self.errors.iter().filter(|error| !is_due(error)).copied().collect();
        let failed: u64 = failures.iter().map(|error| error.requests).sum();
        if failed > 0 {
            findings.push(format!("{failed} of {} requests failed: {}.", self.requests, errors(&failures)));
        }
        if self.kept.is_some_and(|kept| !kept.is_kept()) {
            let rate = self.rate().unwrap_or_default();
            findings.push(format!(
                "The rate was not kept: {rate}. That is beyond the server, the connections or the machine."
            ));
        }
        findings.extend(self.conservation.broken.iter().map(Broken::sentence));
        findings
            .extend(self.not_allowed.iter().map(|(what, times)| format!("{}: {times} times.", words::visible(what))));
        let unlike = self.judgements.iter().filter(|judgement| !judgement.is_consistent());
        findings.extend(unlike.map(ToString::to_string));
        if findings.is_empty() { LoadOutcome::AsExpected } else { LoadOutcome::NotAsExpected { findings } }
    }

    const fn mark(&self) -> (&'static str, &'static str, &'static str) {
        match self.outcome {
            LoadOutcome::AsExpected => ("✓", "as expected", "reached"),
            LoadOutcome::NotAsExpected { .. } => ("!", "not as expected", "wrong"),
            LoadOutcome::NotJudged { .. } => ("·", "not judged", "unsupported"),
        }
    }

    /// `1000 requests over 50 kept connections`.
    fn extent(&self) -> String {
        let much = match self.extent {
            Extent::Requests(requests) => format!("{requests} requests"),
            Extent::DurationMs(ms) => {
                format!("{} requests in {}", self.requests, words::time(ms.saturating_mul(1_000)))
            }
        };
        let rate = self.rate_per_second.map_or_else(String::new, |rate| format!(", {rate} a second asked for"));
        let connections = self.connections_at_once;
        if self.keep_alive {
            format!("{much} over {connections} kept connections{rate}")
        } else {
            format!("{much}, {connections} at once, each on a new connection{rate}")
        }
    }

    /// How the rate was kept, if there was one: `200 of the 200 requests that were due started, 100.1 a second of 100; …`.
    fn rate(&self) -> Option<String> {
        let Kept { asked, achieved, due, started, .. } = self.kept?;
        let late = self.kept.map(|kept| [kept.late_p50_us, kept.late_p99_us, kept.latest_us].map(words::time))?;
        let [half, most, last] = late;
        Some(format!(
            "{started} of {due} requests that were due started, {achieved:.1} a second for {asked:.1}; half of them at most \
             {half} late, 99 of 100 at most {most}, the latest {last}"
        ))
    }

    /// How long the harness held the load up, if it did.
    fn held(&self) -> Option<String> {
        let held = words::time(self.held_us);
        (self.held_us > 0).then(|| format!("no request could start for {held}, as nobody took the results"))
    }

    /// Why its requests a second are not what was asked for, in as few words as will do: short of the rate, or held up by us.
    fn shortfall(&self) -> &'static str {
        match self.kept {
            Some(kept) if !kept.is_kept() => ", short",
            _ if self.held_us > 0 => ", held up",
            _ => "",
        }
    }

    /// What the tests of the spread found, in as few words as will do.
    fn spread(&self) -> &'static str {
        match self.judgements.iter().map(|judgement| judgement.verdict).max() {
            None => "not tested",
            Some(Finding::Consistent) => "by the law",
            Some(Finding::Departs) => "departs",
            Some(Finding::Violates) => "impossible",
        }
    }

    /// The same with each test by itself.
    fn tested(&self) -> String {
        if self.judgements.is_empty() {
            return "not tested".to_owned();
        }
        let one = |judgement: &Judgement| {
            let finding = match judgement.verdict {
                Finding::Consistent => "by the law",
                Finding::Departs => "departs",
                Finding::Violates => "impossible",
            };
            let p = match judgement.p {
                Some(p) if p < 0.001 => ", p < 0.001".to_owned(),
                Some(p) => format!(", p = {p:.3}"),
                None => String::new(),
            };
            format!("{}: {finding}{p}", judgement.question)
        };
        self.judgements.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

impl LoadOutcome {
    /// Adds a finding.
    pub(crate) fn find(&mut self, finding: String) {
        match self {
            Self::NotAsExpected { findings } => findings.push(finding),
            _ => *self = Self::NotAsExpected { findings: vec![finding] },
        }
    }
}

impl Broken {
    fn sentence(&self) -> String {
        let more = if self.requests > self.first.len() as u64 { " …" } else { "" };
        // Of a client that gives no ids there are none.
        let first = if self.first.is_empty() { String::new() } else { format!(": {}{more}", self.first.join(", ")) };
        format!("{} {}{first}.", self.requests, self.what)
    }
}

/// `20 reset, 6 refused`.
pub(super) fn errors(errors: &[ErrorCount]) -> String {
    let each = errors.iter().map(|error| format!("{} {}", error.requests, words::network(error.class)));
    each.collect::<Vec<_>>().join(", ")
}

/// The share that is `part` of `whole`, in percent.
#[expect(clippy::cast_precision_loss, reason = "a share of at most 2^52 connections")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_is_not_as_it_must_be_is_a_finding_each() {
        let mut load = sample::loads::as_expected();
        assert_eq!(load.judge(), LoadOutcome::AsExpected);
        load.errors = vec![ErrorCount { class: FailureClass::Reset, requests: 26 }];
        load.conservation.broken =
            vec![Broken { what: "answered, but in no log".to_owned(), requests: 2, first: vec!["r-7".to_owned()] }];
        load.not_allowed.insert("nginx-z answered, and may not".to_owned(), 3);
        let LoadOutcome::NotAsExpected { findings } = load.judge() else { panic!("{:?}", load.judge()) };
        assert_eq!(
            findings,
            [
                "26 of 4200 requests failed: 26 reset.",
                "2 answered, but in no log: r-7 ….",
                "nginx-z answered, and may not: 3 times."
            ]
        );
    }

    #[test]
    fn a_rate_that_was_not_kept_is_a_finding() {
        let mut load = sample::loads::as_expected();
        let kept = Kept {
            asked: 2_400.0,
            achieved: 2_399.1,
            due: 4_200,
            started: 4_200,
            late_p50_us: 40,
            late_p99_us: 400,
            latest_us: 900,
        };
        load.kept = Some(kept);
        assert_eq!((load.judge(), load.shortfall()), (LoadOutcome::AsExpected, ""));
        let late = Kept { late_p50_us: 310_000, late_p99_us: 900_000, latest_us: 1_200_000, ..kept };
        load.kept = Some(Kept { achieved: 900.0, started: 1_575, ..late });
        let LoadOutcome::NotAsExpected { findings } = load.judge() else { panic!("{:?}", load.judge()) };
        assert_eq!(
            findings,
            [
                "The rate was not kept: 1575 of 4200 requests that were due started, 900.0 a second for 2400.0; half of them at \
                 most 310.0 ms late, 99 of 100 at most 900.0 ms, the latest 1.2 s. That is beyond the server, the connections \
                 or the machine."
            ]
        );
        assert_eq!(load.shortfall(), ", short");
    }

    #[test]
    fn a_load_that_the_harness_held_up_says_so() {
        let load = LoadRecord { held_us: 1_500_000, ..sample::loads::as_expected() };
        assert_eq!(load.shortfall(), ", held up");
        assert!(explain_load(&load).contains("no request could start for 1.5 s"), "{}", explain_load(&load));
    }

    #[test]
    fn the_sample_of_a_skewed_load_is_found_by_the_tests_themselves() {
        let load = sample::loads::skewed();
        assert!(load.is_not_as_expected());
        assert_eq!(load.outcome, load.judge());
        assert!(load.tested().contains("shares: departs"), "{}", load.tested());
    }
}
