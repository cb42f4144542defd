//! `conformance.yaml`: what a network plugin's project hands in to show how its clusters do.
//!
//! It has the shape of the reports that implementations of the Gateway API
//! (<https://gateway-api.sigs.k8s.io/geps/gep-1709/>) and of the Network Policy API
//! (<https://network-policy-api.sigs.k8s.io/npeps/npep-137/>) hand in to those projects: an implementation, and for
//! each profile a result, statistics and the names of what failed or was skipped. A profile is a suite here. What runs
//! are made on is said in full, since it decides as much as the plugin does, and so is how to run the same again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LoadOutcome, Run, words};
use crate::{command::Command, verdict::Judgement};

/// The version of the format, as its `apiVersion` says it.
pub const API_VERSION: &str = "reachmap.dev/v1";

/// What a reader of the file is told first.
const HEAD: &str = "\
# How this cluster does, by Reachmap. Before you hand it in, complete `implementation`: organization, url, version, contact.
";

/// How a cluster does, for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// `reachmap.dev/v1`.
    pub api_version: String,
    /// `ConformanceReport`.
    pub kind: String,
    /// When the run started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub date: Timestamp,
    /// The version of Reachmap.
    pub reachmap_version: String,
    /// What is under test.
    pub implementation: Implementation,
    /// What it ran on.
    pub environment: Ground,
    /// The suites.
    pub profiles: Vec<Profile>,
    /// The result of all of them together.
    pub result: ConformanceResult,
    /// The run in a sentence.
    pub summary: String,
    /// How to run the same again.
    pub reproduce: Reproduce,
}

/// What is under test: the fields that a run cannot know are empty, for whoever hands the statement in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Implementation {
    /// Who maintains it.
    pub organization: String,
    /// Its name: the network plugin's, as far as it is known.
    pub project: String,
    /// Where to learn more of it.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Whom to ask.
    pub contact: Vec<String>,
}

/// What a run was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ground {
    /// The version of Kubernetes.
    pub kubernetes: Option<String>,
    /// The network plugin.
    pub network_plugin: Option<String>,
    /// How kube-proxy programs Services.
    pub proxy_mode: Option<String>,
    /// `IPv4`, `IPv6`, or both.
    pub ip_families: Vec<String>,
    /// The release of the kernel.
    pub kernel: Option<String>,
    /// How many nodes there are.
    pub nodes: usize,
    /// What runs the nodes.
    pub engine: Option<String>,
    /// Where images come from.
    pub images: Option<String>,
}

/// How a suite ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The suite.
    pub name: String,
    /// The result.
    pub result: ConformanceResult,
    /// How many tests ended how.
    pub statistics: Statistics,
    /// Those that failed.
    pub failed_tests: Vec<String>,
    /// Those that could not be carried out.
    pub errored_tests: Vec<String>,
    /// Those that this cluster or machine does not support, each with the reason.
    pub skipped_tests: BTreeMap<String, String>,
}

/// A result, in the words of the Gateway API's reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConformanceResult {
    /// Every test passed.
    Success,
    /// None failed, and some are not supported here.
    Partial,
    /// A test failed or could not be carried out.
    Failure,
    /// Nothing was shown: there was no test, or none that is supported here.
    NotRun,
}

/// How many tests ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Statistics {
    /// As expected, for the expected reason.
    pub passed: usize,
    /// Not so.
    pub failed: usize,
    /// Not supported here; never counted as passed.
    pub skipped: usize,
    /// Not carried out: nothing is known of them.
    pub errored: usize,
}

/// How to run the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reproduce {
    /// Where Reachmap is.
    pub repository: String,
    /// The command, in a clone of that repository at `reachmapVersion`.
    pub command: String,
}

/// The run's statement.
///
/// ```
/// use reachmap::report::{ConformanceResult, Run, statement};
/// // Nothing was shown.
/// assert_eq!(statement(&Run::started("r", &[])).result, ConformanceResult::NotRun);
/// ```
pub fn statement(run: &Run) -> Statement {
    let environment = &run.environment;
    let profiles = profiles(run);
    let result = match &run.failure {
        Some(_) => ConformanceResult::Failure,
        None => ConformanceResult::of(
            &profiles.iter().map(|profile| profile.statistics).fold(Statistics::default(), Statistics::and),
        ),
    };
    // `flannel, vxlan`, or `flannel (vxlan)`.
    let project = environment.cni.as_deref().unwrap_or_default().split([',', '(']).next().unwrap_or_default();
    let families: &[&str] = match environment.ip_family.as_deref() {
        Some("dual") => &["IPv4", "IPv6"],
        Some("ipv6") => &["IPv6"],
        Some(_) => &["IPv4"],
        None => &[],
    };
    Statement {
        api_version: API_VERSION.to_owned(),
        kind: "ConformanceReport".to_owned(),
        date: run.started,
        reachmap_version: run.reachmap.clone(),
        implementation: Implementation {
            organization: String::new(),
            project: project.trim().to_owned(),
            url: String::new(),
            version: environment.other.get("network plugin version").cloned().unwrap_or_default(),
            contact: Vec::new(),
        },
        environment: Ground {
            kubernetes: environment.kubernetes.clone(),
            network_plugin: environment.cni.clone(),
            proxy_mode: environment.proxy_mode.clone(),
            ip_families: families.iter().map(|family| (*family).to_owned()).collect(),
            kernel: environment.kernel.clone(),
            nodes: environment.nodes.len(),
            engine: environment.engine.clone(),
            images: environment.images.clone(),
        },
        profiles,
        result,
        summary: words::visible(&super::terminal::headline(run)),
        reproduce: Reproduce { repository: env!("CARGO_PKG_REPOSITORY").to_owned(), command: command(run) },
    }
}

/// The run's statement as YAML.
pub fn conformance(run: &Run) -> String {
    let text = serde_saphyr::to_string(&statement(run))
        .unwrap_or_else(|error| unreachable!("plain strings and numbers are always YAML: {error}"));
    format!("{HEAD}{text}")
}

/// The JSON schema of `conformance.yaml`, as published in `harness/schema/conformance-v1.schema.json`.
pub fn conformance_schema() -> String {
    super::json::schema_of::<Statement>()
}

/// How a single test ended.
enum End {
    Passed,
    Failed,
    Skipped(String),
    Errored,
}

fn profiles(run: &Run) -> Vec<Profile> {
    let cells = run.verdicts.iter().map(|verdict| {
        let end = match &verdict.outcome {
            Judgement::AsExpected => End::Passed,
            Judgement::NotAsExpected { .. } => End::Failed,
            Judgement::NotSupported { reason } => End::Skipped(words::visible(reason)),
            Judgement::NotProbed { .. } => End::Errored,
        };
        (verdict.suite.clone(), verdict.cell(), end)
    });
    let lookups = run.lookups.iter().map(|group| {
        let end = match &group.not_supported {
            Some(reason) => End::Skipped(words::visible(reason)),
            None if group.is_as_predicted() => End::Passed,
            None => End::Failed,
        };
        ("dns".to_owned(), group.cell(), end)
    });
    let loads = run.loads.iter().map(|load| {
        let end = match &load.outcome {
            LoadOutcome::AsExpected => End::Passed,
            LoadOutcome::NotAsExpected { .. } => End::Failed,
            LoadOutcome::NotJudged { reason } => End::Skipped(words::visible(reason)),
        };
        (load.suite.clone(), load.place(), end)
    });
    let tests = run.failed_tests.iter().map(|failed| (failed.suite.clone(), failed.test.clone(), End::Failed));
    let others = run.other_tests.iter().map(|other| {
        let end = other.not_supported.as_deref().map_or(End::Passed, |reason| End::Skipped(words::visible(reason)));
        (other.suite.clone(), other.test.clone(), end)
    });
    let mut profiles: BTreeMap<String, Profile> = BTreeMap::new();
    for (suite, test, end) in cells.chain(lookups).chain(loads).chain(tests).chain(others) {
        let name = words::visible(&suite);
        let profile = profiles.entry(name.clone()).or_insert_with(|| Profile {
            name,
            result: ConformanceResult::Failure,
            statistics: Statistics::default(),
            failed_tests: Vec::new(),
            errored_tests: Vec::new(),
            skipped_tests: BTreeMap::new(),
        });
        let test = words::visible(&test);
        let Statistics { passed, failed, skipped, errored } = &mut profile.statistics;
        match end {
            End::Passed => *passed += 1,
            End::Failed => {
                *failed += 1;
                profile.failed_tests.push(test);
            }
            End::Skipped(reason) => {
                *skipped += 1;
                profile.skipped_tests.insert(test, reason);
            }
            End::Errored => {
                *errored += 1;
                profile.errored_tests.push(test);
            }
        }
    }
    let with_result = |profile: Profile| Profile { result: ConformanceResult::of(&profile.statistics), ..profile };
    profiles.into_values().map(with_result).collect()
}

impl ConformanceResult {
    fn of(statistics: &Statistics) -> Self {
        match statistics {
            Statistics { passed: 0, failed: 0, errored: 0, .. } => Self::NotRun,
            Statistics { failed: 0, errored: 0, skipped: 0, .. } => Self::Success,
            Statistics { failed: 0, errored: 0, .. } => Self::Partial,
            _ => Self::Failure,
        }
    }
}

impl Statistics {
    const fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            errored: self.errored + other.errored,
        }
    }
}

/// Options that are about this machine and not about the run, each with whether a value follows.
const LOCAL: [(&str, bool); 7] = [
    ("--report-dir", true),
    ("--cache-dir", true),
    ("--name", true),
    ("--bundle", true),
    ("--context", true),
    ("--keep", false),
    ("--fresh", false),
];

/// The command that does the same elsewhere: without what is this machine's own, and with what was chosen for it.
fn command(run: &Run) -> String {
    let mut words: Vec<String> = Vec::new();
    // Shards that were put together have no command line of their own: the whole does what all of them did.
    let whole = ["e2e".to_owned()];
    let is_merged = run.options.first().is_some_and(|first| first == "shards of");
    let mut options = if is_merged { whole.iter() } else { run.options.iter() };
    while let Some(option) = options.next() {
        let (name, value) = option.split_once('=').map_or((option.as_str(), None), |(name, value)| (name, Some(value)));
        let local = LOCAL.iter().find(|(local, _)| *local == name);
        match (local, name) {
            (Some((_, true)), _) if value.is_none() => drop(options.next()),
            (Some(_), _) => {}
            (None, "--kubeconfig") => {
                if value.is_none() {
                    options.next();
                }
                words.extend(["--kubeconfig".to_owned(), "KUBECONFIG".to_owned()]);
            }
            (None, _) => words.push(words::visible(option)),
        }
    }
    let environment = &run.environment;
    if !words.iter().any(|word| word == "--kubeconfig") {
        let chosen = [
            ("--k8s", &environment.kubernetes),
            ("--proxy-mode", &environment.proxy_mode),
            ("--ip-family", &environment.ip_family),
        ];
        for (name, value) in chosen {
            let is_there = words.iter().any(|word| word == name || word.starts_with(&format!("{name}=")));
            if let Some(value) = value.as_ref().filter(|_| !is_there) {
                words.extend([name.to_owned(), words::visible(value)]);
            }
        }
    }
    Command::new("cargo").arg("xtask").args(words).display()
}

#[cfg(test)]
mod tests;
