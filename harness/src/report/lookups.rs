//! What a run has to say of DNS: how the Corefile was changed, and how names were looked up.

pub(super) mod html;
pub(super) mod markdown;
pub(super) mod terminal;

use std::collections::BTreeMap;

use reachmap_wire::RecordedQuestion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::addons::coredns::{Change, Way},
    matrix::Stage,
    report::words,
};

/// The lookups of one resolver in one DNS configuration under one Corefile: a cell of the matrix of lookups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookupGroup {
    /// The stage: which Corefile was live.
    pub stage: String,
    /// The DNS configuration's id, such as `ndots5-cluster`.
    pub configuration: String,
    /// The resolver's id, such as `musl`.
    pub resolver: String,
    /// How many names were looked up.
    pub lookups: usize,
    /// How many of them went as predicted: every question in its place, and what the application sees of it.
    pub as_predicted: usize,
    /// How many lookups were thrown away, whatever they had asked, and made again: the machine had not run the recorder for
    /// so long that the resolver's timers may have run out.
    #[serde(default)]
    pub repeated: usize,
    /// How often each outcome was predicted, and seen as far as the program's caller can tell it from others: `found`, `not-found`,
    /// `no-data`, `try-again` and so on.
    pub outcomes: BTreeMap<String, usize>,
    /// Those that did not go as predicted, each with both sequences.
    pub mismatches: Vec<Mismatch>,
    /// Those that the model says it does not cover, by name, with what it does not know.
    pub not_covered: BTreeMap<String, String>,
    /// Why there are none, if this resolver cannot be had here.
    pub not_supported: Option<String>,
    /// Some lookups in full: who asked what, when, and what came back.
    pub timelines: Vec<Timeline>,
    /// How many questions each form of a name cost.
    pub costs: Vec<Cost>,
}

/// A lookup that did not go as predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mismatch {
    /// The name, with or without trailing dot.
    pub name: String,
    /// Both sequences side by side, and where they part.
    pub explanation: String,
}

/// One lookup, question by question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// The name, with or without trailing dot.
    pub name: String,
    /// Every question in the order in which it went over the wire.
    pub questions: Vec<RecordedQuestion>,
    /// What the application saw.
    pub seen: String,
    /// From start to end, in microseconds.
    pub elapsed_us: u64,
}

impl Timeline {
    /// One line a question, with when it was asked and what came back after how long, and what came of it all.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.questions.iter().map(question).collect();
        lines.push(format!("{:>9}  {}", words::time(self.elapsed_us), words::plain(&self.seen)));
        lines.join("\n")
    }
}

fn question(asked: &RecordedQuestion) -> String {
    let answers: Vec<String> = asked.answers.iter().map(|record| words::plain(&record.data.to_string())).collect();
    let answer = match (&asked.rcode, asked.elapsed_us) {
        (Some(rcode), Some(took)) => {
            let truncated = if asked.truncated { ", truncated" } else { "" };
            let answers = if answers.is_empty() { String::new() } else { format!(" {}", answers.join(", ")) };
            format!("{}{truncated}{answers} after {}", words::plain(rcode), words::time(took))
        }
        _ => "no answer".to_owned(),
    };
    let kind = asked.kind.to_string();
    format!("{:>9}  {kind:<5} {}  {answer}", words::time(asked.at_us), words::plain(&asked.name))
}

/// What looking up one form of a name cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The name, with or without trailing dot.
    pub name: String,
    /// How many questions went over the wire.
    pub questions: usize,
}

impl LookupGroup {
    /// A group without any lookup yet.
    pub fn of(stage: impl Into<String>, configuration: impl Into<String>, resolver: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            configuration: configuration.into(),
            resolver: resolver.into(),
            lookups: 0,
            as_predicted: 0,
            repeated: 0,
            outcomes: BTreeMap::new(),
            mismatches: Vec::new(),
            not_covered: BTreeMap::new(),
            not_supported: None,
            timelines: Vec::new(),
            costs: Vec::new(),
        }
    }

    /// Its cell in the matrix of lookups: `stage/configuration/resolver`.
    pub fn cell(&self) -> String {
        format!("{}/{}/{}", self.stage, self.configuration, self.resolver)
    }

    /// Whether every lookup went as predicted.
    pub fn is_as_predicted(&self) -> bool {
        self.mismatches.is_empty() && self.as_predicted + self.not_covered.len() == self.lookups
    }
}

/// All lookups of a run, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) lookups: usize,
    pub(super) as_predicted: usize,
    pub(super) not_covered: usize,
    pub(super) repeated: usize,
    pub(super) outcomes: BTreeMap<String, usize>,
}

impl Sum {
    pub(super) fn of(groups: &[LookupGroup]) -> Self {
        let mut sum = Self::default();
        for group in groups {
            sum.lookups += group.lookups;
            sum.as_predicted += group.as_predicted;
            sum.not_covered += group.not_covered.len();
            sum.repeated += group.repeated;
            for (outcome, number) in &group.outcomes {
                *sum.outcomes.entry(outcome.clone()).or_default() += number;
            }
        }
        sum
    }

    /// `8064 of 8064 lookups as predicted (found 5000, NXDOMAIN 2000 …)`.
    pub(super) fn sentence(&self) -> String {
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, number)| format!("{outcome} {number}")).collect();
        let covered = match self.not_covered {
            0 => String::new(),
            number => format!(", {number} of them not covered by the model"),
        };
        let repeated = match self.repeated {
            0 => String::new(),
            number => format!("; made again because the machine was too busy to run the recorder: {number}"),
        };
        format!(
            "{} of {} lookups as predicted{covered}; their outcomes: {}{repeated}",
            self.as_predicted,
            self.lookups,
            outcomes.join(", ")
        )
    }
}

/// The groups of one stage as a table: a row for each resolver, a column for each configuration.
pub(super) struct LookupGrid<'a> {
    pub(super) stage: &'a str,
    pub(super) configurations: Vec<&'a str>,
    pub(super) resolvers: Vec<&'a str>,
    groups: Vec<&'a LookupGroup>,
}

impl<'a> LookupGrid<'a> {
    pub(super) fn all(groups: &'a [LookupGroup]) -> Vec<Self> {
        let mut grids: Vec<Self> = Vec::new();
        for stage in Stage::ALL {
            let groups: Vec<&LookupGroup> = groups.iter().filter(|group| group.stage == stage.id()).collect();
            if groups.is_empty() {
                continue;
            }
            let (mut configurations, mut resolvers) = (Vec::new(), Vec::new());
            for group in &groups {
                push_new(&mut configurations, group.configuration.as_str());
                push_new(&mut resolvers, group.resolver.as_str());
            }
            configurations.sort_unstable();
            resolvers.sort_unstable();
            grids.push(Self { stage: stage.id(), configurations, resolvers, groups });
        }
        grids
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &'a LookupGroup> {
        self.groups.iter().copied()
    }

    pub(super) fn group(&self, configuration: &str, resolver: &str) -> Option<&'a LookupGroup> {
        self.groups.iter().find(|group| group.configuration == configuration && group.resolver == resolver).copied()
    }

    /// What stands in a field: `32` if all of 32 went as predicted, `31/32` with a mark if one did not.
    pub(super) fn field(group: &LookupGroup) -> String {
        match (&group.not_supported, group.is_as_predicted()) {
            (Some(_), _) => "n/a".to_owned(),
            (None, true) => format!("✓ {}", group.lookups),
            (None, false) => format!("! {}/{}", group.as_predicted, group.lookups),
        }
    }
}

fn push_new<'a>(list: &mut Vec<&'a str>, item: &'a str) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// One row of the table of costs: a name, and what it cost each resolver at each number of dots.
pub(super) struct CostRow<'a> {
    pub(super) name: &'a str,
    /// By resolver, then by configuration.
    pub(super) questions: BTreeMap<(&'a str, &'a str), usize>,
}

/// The costs under the untouched Corefile (else under the first there is), in the configurations with the cluster's own
/// search path: what an application pays for how it writes a name.
pub(super) fn costs(groups: &[LookupGroup]) -> Vec<CostRow<'_>> {
    let stage = [Stage::CorefileOriginal, Stage::CorefileFallthrough]
        .into_iter()
        .find(|stage| groups.iter().any(|group| group.stage == stage.id()));
    let Some(stage) = stage else { return Vec::new() };
    let mut rows: Vec<CostRow<'_>> = Vec::new();
    for group in groups.iter().filter(|group| group.stage == stage.id() && group.configuration.ends_with("-cluster")) {
        for cost in &group.costs {
            let key = (group.resolver.as_str(), group.configuration.as_str());
            match rows.iter_mut().find(|row| row.name == cost.name) {
                Some(row) => drop(row.questions.insert(key, cost.questions)),
                None => {
                    rows.push(CostRow { name: &cost.name, questions: BTreeMap::from([(key, cost.questions)]) });
                }
            }
        }
    }
    rows
}

/// The columns of that table: each resolver at each configuration that any row has.
pub(super) fn cost_columns<'a>(rows: &[CostRow<'a>]) -> Vec<(&'a str, &'a str)> {
    let mut columns: Vec<(&str, &str)> = rows.iter().flat_map(|row| row.questions.keys().copied()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// An edit of the Corefile, and how long it took to become live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CorefileEdit {
    /// The stage that it was made for.
    pub stage: String,
    /// How CoreDNS was brought to read it: by `restart` or by `reload`.
    pub way: Way,
    /// From the edit until the last replica was proven to serve it, in seconds.
    pub seconds: f64,
    /// Each replica, and after how many seconds it first answered from the edited Corefile.
    pub replicas: Vec<ReplicaTime>,
}

/// How long one replica took to serve an edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaTime {
    /// The replica's pod.
    pub pod: String,
    /// From the edit to its first answer from it, in seconds.
    pub seconds: f64,
}

impl CorefileEdit {
    pub(crate) fn of(stage: Stage, change: &Change) -> Self {
        let replicas = change.replicas.iter();
        Self {
            stage: stage.id().to_owned(),
            way: change.way,
            seconds: change.elapsed.as_secs_f64(),
            replicas: replicas
                .map(|replica| ReplicaTime { pod: replica.pod.clone(), seconds: replica.live_after.as_secs_f64() })
                .collect(),
        }
    }
}
