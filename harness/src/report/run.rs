//! The whole of one run, as the reports and `report.json` have it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    beside::Beside,
    changes::ChangeRecord,
    grid,
    loads::{self, LoadOutcome, LoadRecord},
    lookups::{CorefileEdit, LookupGroup},
    other_tests::{self, OtherTest},
};
use crate::{
    Error,
    claims::{ClaimVerdict, judge_claims},
    matrix::{Matrix, RowOutcome, TutorialRow},
    model::{Method, Vantage, VantageKind},
    plan::shard::Shard,
    progress::{Progress, StepTime},
    session::suite::cell_of,
    state::{Cni, NodeRole, ProxyMode, State},
    verdict::{Judgement, Verdict},
};

/// The version of `report.json`: raised when a reader of the old one could misread the new one.
pub const VERSION: u32 = 1;

/// The whole of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The version of this format: 1.
    pub version: u32,
    /// The run's id: the name of its directory, and a label on everything that it makes.
    pub id: String,
    /// When it started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// When it ended; absent while it runs.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub finished: Option<Timestamp>,
    /// The version of Reachmap.
    pub reachmap: String,
    /// The command line, without the program.
    pub options: Vec<String>,
    /// Which part of a divided run it is, such as `2/4`; absent if it is the whole.
    #[serde(default)]
    pub shard: Option<Shard>,
    /// The exit code of the process.
    pub exit_code: u8,
    /// How many cells ended how.
    pub counts: Counts,
    /// Why the run could not be carried out, if it could not.
    pub failure: Option<Failure>,
    /// What it ran on.
    pub environment: Environment,
    /// The tutorial's rows, and what became of them; empty if the run was about other cells.
    pub tutorial: Vec<Row>,
    /// The tutorial's claims about the Service types, judged; empty if the run was about other cells.
    pub claims: Vec<ClaimVerdict>,
    /// Every cell, by suite, stage, vantage and access method.
    pub verdicts: Vec<Verdict>,
    /// Tests that failed for another reason than the verdict of a cell.
    pub failed_tests: Vec<FailedTest>,
    /// Tests that are about no cell, lookup or load, and did not fail: passed, or not supported here.
    #[serde(default)]
    pub other_tests: Vec<OtherTest>,
    /// Whatever was tried more than once.
    pub retries: Vec<Retry>,
    /// How names were looked up, by Corefile, DNS configuration and resolver; empty if the run looked none up.
    #[serde(default)]
    pub lookups: Vec<LookupGroup>,
    /// The loads, each seen from both ends; empty if the run sent none.
    #[serde(default)]
    pub loads: Vec<LoadRecord>,
    /// The loads while something changed; empty if the run changed nothing under load.
    #[serde(default)]
    pub changes: Vec<ChangeRecord>,
    /// What the tutorial says, beside what tests saw of it.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// How the Corefile was edited, and how long each edit took to become live.
    #[serde(default)]
    pub corefile_edits: Vec<CorefileEdit>,
    /// What was done, and how long it took.
    pub timeline: Vec<StepTime>,
    /// The Service states that the run went through.
    pub stages: Vec<StageRecord>,
}

/// How many cells ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// The right thing happened, for the right reason.
    pub as_expected: usize,
    /// Expectation and observation part.
    pub not_as_expected: usize,
    /// The cluster or the machine does not have what the cell needs.
    pub not_supported: usize,
    /// The probe could not be carried out.
    pub not_probed: usize,
}

/// Why a run could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What was tried, and why it failed.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// The exit code of this kind of error.
    pub exit_code: u8,
}

/// What a run ran on; what is absent was not known when the run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// The engine, such as `sandbox (Docker 26.1.5)`.
    pub engine: Option<String>,
    /// Where the images came from: `registry` or `packages`.
    pub images: Option<String>,
    /// The version of Kubernetes.
    pub kubernetes: Option<String>,
    /// How kube-proxy programs Services.
    pub proxy_mode: Option<String>,
    /// `ipv4`, `ipv6` or `dual`.
    pub ip_family: Option<String>,
    /// The network plugin.
    pub cni: Option<String>,
    /// The nodes, control plane first.
    pub nodes: Vec<String>,
    /// The release of the machine's kernel.
    pub kernel: Option<String>,
    /// Whatever else tells this environment from others, by name.
    pub other: BTreeMap<String, String>,
}

/// A row of the tutorial, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The row.
    pub row: TutorialRow,
    /// What its cells say of it.
    pub outcome: RowOutcome,
}

/// A test that failed for another reason than the verdict of a cell: a snapshot that differs, a lost agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedTest {
    /// Its suite.
    pub suite: String,
    /// The Service state in which it ran.
    pub stage: String,
    /// Its full name.
    pub test: String,
    /// What it printed.
    pub output: String,
}

/// Something that was tried more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// What was tried.
    pub what: String,
    /// How often in all.
    pub times: u32,
    /// Why the last try but one had failed.
    pub why: String,
}

/// A Service state that a run went through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// Its name in reports and filters.
    pub id: String,
    /// The cluster's state in it; absent if the run ended before it was read.
    pub state: Option<State>,
}

impl Run {
    /// A run called `id` that starts now, with what is known of every run.
    ///
    /// ```
    /// use reachmap::{progress::{Progress, Show}, report::Run};
    /// let progress = Progress::new(Show::Nothing, "logs");
    /// let mut run = Run::started("20260101-120000-1", &["e2e".to_owned()]);
    /// run.finish(&progress, None);
    /// assert_eq!(run.exit_code(), 0);
    /// ```
    pub fn started(id: impl Into<String>, options: &[String]) -> Self {
        Self {
            version: VERSION,
            id: id.into(),
            started: now(),
            finished: None,
            reachmap: env!("CARGO_PKG_VERSION").to_owned(),
            options: options.to_vec(),
            shard: None,
            exit_code: 0,
            counts: Counts::default(),
            failure: None,
            environment: Environment { kernel: kernel(), ..Environment::default() },
            tutorial: Vec::new(),
            claims: Vec::new(),
            verdicts: Vec::new(),
            failed_tests: Vec::new(),
            other_tests: Vec::new(),
            retries: Vec::new(),
            lookups: Vec::new(),
            loads: Vec::new(),
            changes: Vec::new(),
            beside: Vec::new(),
            corefile_edits: Vec::new(),
            timeline: Vec::new(),
            stages: Vec::new(),
        }
    }

    /// Ends the run: orders the verdicts, and derives from them what the reports say.
    ///
    /// What the run ran on is completed from the state of its last stage.
    pub fn finish(&mut self, progress: &Progress, error: Option<&Error>) {
        self.finished = Some(now());
        self.timeline = progress.timeline();
        self.failure = error.map(|error| Failure {
            message: error.to_string(),
            hint: error.hint_text().map(ToOwned::to_owned),
            exit_code: error.kind().exit_code(),
        });
        self.derive();
    }

    /// Everything that follows from the verdicts and the stages.
    pub(super) fn derive(&mut self) {
        loads::settle(&mut self.loads);
        self.sort_out_failed_tests();
        other_tests::sort_out(self);
        grid::sort(&mut self.verdicts);
        self.lookups
            .sort_by(|a, b| (&a.stage, &a.configuration, &a.resolver).cmp(&(&b.stage, &b.configuration, &b.resolver)));
        self.changes.sort_by(|a, b| (&a.suite, &a.stage, &a.name).cmp(&(&b.suite, &b.stage, &b.name)));
        self.loads.sort_by(|a, b| (&a.suite, &a.stage, &a.name).cmp(&(&b.suite, &b.stage, &b.name)));
        self.beside.sort_by(|a, b| (&a.place, &a.id).cmp(&(&b.place, &b.id)));
        if let Some(state) = self.stages.iter().rev().find_map(|stage| stage.state.as_ref()) {
            self.environment.complete(state);
        }
        self.judge_tutorial();
        self.counts = Counts::of(&self.verdicts);
        self.exit_code = self.exit_code();
    }

    /// The exit code: that of the failure if there was one, 1 if a cell or a test is not as expected,
    /// 3 if a cell could not be probed, or if there are cells or tests and none of them, nor a load, has shown anything, else 0.
    pub fn exit_code(&self) -> u8 {
        let counts = Counts::of(&self.verdicts);
        let loads = self.loads.iter().filter(|load| !matches!(load.outcome, LoadOutcome::NotJudged { .. })).count();
        let judged = counts.as_expected + counts.not_as_expected + loads;
        match &self.failure {
            Some(failure) => failure.exit_code,
            None if counts.not_as_expected > 0 || !self.failed_tests.is_empty() => 1,
            None if self.lookups.iter().any(|group| !group.is_as_predicted()) => 1,
            None if self.loads.iter().any(LoadRecord::is_not_as_expected) => 1,
            None if counts.not_probed > 0 || (judged == 0 && !self.verdicts.is_empty()) => 3,
            None if self.has_shown_nothing() && !self.other_tests.is_empty() => 3,
            None => 0,
        }
    }

    /// Whether nothing was judged, of whatever kind: there was nothing, or nothing that is supported here.
    pub(super) fn has_shown_nothing(&self) -> bool {
        let counts = Counts::of(&self.verdicts);
        let lookups = self.lookups.iter().any(|group| group.not_supported.is_none());
        let tests = other_tests::passed(self) + self.failed_tests.len();
        counts.total() == counts.not_supported && !lookups && self.loads.is_empty() && tests == 0
    }

    /// The cells that are not as expected.
    pub fn not_as_expected(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.is_not_as_expected())
    }

    /// The suites and stages in which something failed, in order; those of all cells if nothing did.
    pub fn failed_places(&self) -> Vec<(String, String)> {
        let place = |suite: &str, stage: &str| (suite.to_owned(), stage.to_owned());
        let is_failed =
            |verdict: &&Verdict| verdict.is_not_as_expected() || matches!(verdict.outcome, Judgement::NotProbed { .. });
        let cells = self.verdicts.iter().filter(is_failed).map(|one| place(&one.suite, &one.stage));
        let tests = self.failed_tests.iter().map(|one| place(&one.suite, &one.stage));
        let lookups =
            self.lookups.iter().filter(|group| !group.is_as_predicted()).map(|group| place("dns", &group.stage));
        let loads = self.loads.iter().filter(|load| load.is_not_as_expected()).map(|one| place(&one.suite, &one.stage));
        let mut places: Vec<_> = cells.chain(tests).chain(lookups).chain(loads).collect();
        if places.is_empty() {
            places = self.verdicts.iter().map(|one| place(&one.suite, &one.stage)).collect();
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// How long the run took, in seconds, if it has ended.
    pub fn seconds(&self) -> Option<f64> {
        self.finished.map(|finished| finished.duration_since(self.started).as_secs_f64())
    }

    /// Leaves only those failed tests that no verdict speaks of.
    ///
    /// The test of a cell that is not as expected fails because of that, which is said already. The test of a cell
    /// without a verdict could not probe it: that is a failure of the environment, not of the cell.
    fn sort_out_failed_tests(&mut self) {
        for failed in std::mem::take(&mut self.failed_tests) {
            // What is wrong with this test's load is shown already.
            if self.loads.iter().any(|load| load.is_not_as_expected() && load.is_of(&failed)) {
                continue;
            }
            let Some((vantage, method)) = cell_of(&failed.test) else {
                self.failed_tests.push(failed);
                continue;
            };
            let cell = format!("{}/{vantage}/{method}", failed.stage);
            // The mismatches of these lookups are shown already.
            if self.lookups.iter().any(|group| group.cell() == cell && !group.mismatches.is_empty()) {
                continue;
            }
            let verdict = self.verdicts.iter().find(|verdict| verdict.suite == failed.suite && verdict.cell() == cell);
            match (verdict.map(Verdict::is_not_as_expected), Method::find(&method, u8::MAX)) {
                (Some(true), _) => {}
                (None, Ok(method)) => {
                    let vantage = self.vantage(vantage);
                    self.verdicts.push(not_probed(failed, vantage, method));
                }
                _ => self.failed_tests.push(failed),
            }
        }
    }

    /// The vantage called `id`, as other verdicts or the state know it, else by what the id says.
    fn vantage(&self, id: String) -> Vantage {
        let states = self.stages.iter().rev().filter_map(|stage| stage.state.as_ref());
        let by_state = states.map(|state| Vantage::find(state, &id)).find_map(Result::ok);
        let known = self.verdicts.iter().map(|verdict| &verdict.vantage).find(|vantage| vantage.id == id).cloned();
        known.or(by_state).unwrap_or_else(|| {
            let role = if id == "control-plane" { NodeRole::ControlPlane } else { NodeRole::Worker };
            let kind = match id.as_str() {
                "laptop" => VantageKind::Laptop,
                id if id.starts_with("testpod") => VantageKind::Pod { namespace: String::new(), pod: id.to_owned() },
                _ => VantageKind::Node { node: String::new(), role },
            };
            Vantage { id, kind }
        })
    }

    fn judge_tutorial(&mut self) {
        let workers = self.workers();
        let rows = Matrix::tutorial_rows(workers);
        let cells = |row: &TutorialRow| row.cells.iter().any(|cell| self.verdict(&cell.id()).is_some());
        if !rows.iter().any(cells) {
            return;
        }
        self.tutorial = rows.into_iter().map(|row| Row { outcome: row.outcome(&self.verdicts), row }).collect();
        self.claims = judge_claims(workers, &self.verdicts);
    }

    /// How many workers the cluster had: the last state knows, else the verdicts' vantages tell.
    fn workers(&self) -> u8 {
        let by_state = self
            .stages
            .iter()
            .rev()
            .find_map(|stage| stage.state.as_ref())
            .map(|state| state.nodes.iter().filter(|node| node.role == NodeRole::Worker).count());
        let workers = by_state.unwrap_or_else(|| {
            let number = |verdict: &Verdict| verdict.vantage.id.strip_prefix("worker-")?.parse().ok();
            self.verdicts.iter().filter_map(number).max().unwrap_or(1)
        });
        u8::try_from(workers).unwrap_or(u8::MAX)
    }

    /// The state that the cluster was in in a stage, if it was recorded.
    pub fn state_in(&self, stage: &str) -> Option<&State> {
        self.stages.iter().filter(|known| known.id == stage).find_map(|known| known.state.as_ref())
    }

    /// The verdict on the cell called `id`.
    pub fn verdict(&self, id: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.cell() == id)
    }
}

impl Counts {
    /// Counts `verdicts`.
    pub fn of(verdicts: &[Verdict]) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            *match verdict.outcome {
                Judgement::AsExpected => &mut counts.as_expected,
                Judgement::NotAsExpected { .. } => &mut counts.not_as_expected,
                Judgement::NotSupported { .. } => &mut counts.not_supported,
                Judgement::NotProbed { .. } => &mut counts.not_probed,
            } += 1;
        }
        counts
    }

    /// How many cells there are.
    pub const fn total(self) -> usize {
        self.as_expected + self.not_as_expected + self.not_supported + self.not_probed
    }
}

impl Environment {
    /// Fills in what a cluster's state tells and nobody has said yet.
    pub fn complete(&mut self, state: &State) {
        self.kubernetes.get_or_insert_with(|| state.kubernetes.clone());
        self.proxy_mode.get_or_insert_with(|| proxy_mode(state.proxy_mode).to_owned());
        self.cni.get_or_insert_with(|| cni(&state.cni));
        let has = |v4: bool| state.service_networks.iter().any(|network| network.addr().is_ipv4() == v4);
        let family = match (has(true), has(false)) {
            (true, true) => "dual",
            (false, true) => "ipv6",
            _ => "ipv4",
        };
        self.ip_family.get_or_insert_with(|| family.to_owned());
        if self.nodes.is_empty() {
            self.nodes = state.nodes.iter().map(|node| node.name.clone()).collect();
        }
    }

    /// What is known, as name and value, in the order of importance.
    pub fn lines(&self) -> Vec<(&str, String)> {
        let named = [
            ("Kubernetes", &self.kubernetes),
            ("kube-proxy", &self.proxy_mode),
            ("network plugin", &self.cni),
            ("IP family", &self.ip_family),
            ("engine", &self.engine),
            ("images", &self.images),
            ("kernel", &self.kernel),
        ];
        let mut lines: Vec<(&str, String)> =
            named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        if !self.nodes.is_empty() {
            lines.push(("nodes", self.nodes.join(", ")));
        }
        lines.extend(self.other.iter().map(|(name, value)| (name.as_str(), value.clone())));
        lines
    }
}

fn not_probed(failed: FailedTest, vantage: Vantage, method: Method) -> Verdict {
    Verdict {
        suite: failed.suite,
        stage: failed.stage,
        vantage,
        method,
        expectation: None,
        observation: None,
        outcome: Judgement::NotProbed { reason: failed.output },
        reproduce: String::new(),
    }
}

fn proxy_mode(mode: ProxyMode) -> &'static str {
    match mode {
        ProxyMode::Iptables => "iptables",
        ProxyMode::Nftables => "nftables",
        ProxyMode::Ipvs => "ipvs",
        ProxyMode::Unknown => "unknown",
    }
}

fn cni(cni: &Cni) -> String {
    match cni {
        Cni::Flannel { backend } => format!("flannel ({backend})"),
        Cni::Kindnet => "kindnet".to_owned(),
        Cni::Other(name) => name.clone(),
    }
}

/// The present, to the second: finer would only be noise in a report.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn kernel() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|release| release.trim().to_owned())
}
