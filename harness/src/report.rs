//! Reports: the whole of a run as data, and that data for a terminal, for Markdown, for machines.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Context as _, Error, ErrorKind, Result,
    claims::{ClaimVerdict, judge_claims},
    home::write_atomically,
    matrix::{Matrix, RowOutcome, TutorialRow},
    progress::StepTime,
    session::suite::read_all,
    verdict::{Judgement, Verdict},
};

mod explain;
mod junit;
mod markdown;
pub mod plan;
mod terminal;

pub use explain::explain;
pub use junit::junit;
pub use markdown::{markdown, tutorial_table};
pub use terminal::terminal;

/// The version of the JSON report; it grows when something is removed or changes its meaning.
pub const VERSION: u32 = 1;

/// The whole of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The version of this format, [`VERSION`].
    pub version: u32,
    /// The run's id.
    pub id: String,
    /// Reachmap's own version.
    pub reachmap: String,
    /// When it started, UTC, RFC 3339.
    pub started: String,
    /// When it ended, UTC, RFC 3339; absent while it runs.
    pub finished: Option<String>,
    /// What it ran on: engine, images, Kubernetes version, proxy mode and so on.
    pub environment: std::collections::BTreeMap<String, String>,
    /// Every step, in the order of their ends.
    pub timeline: Vec<StepTime>,
    /// The suites that were run, stage by stage.
    pub suites: Vec<SuiteEnd>,
    /// Every cell, in the order of the matrix.
    pub verdicts: Vec<Verdict>,
    /// The tutorial's rows, each with what the cells say of it.
    pub rows: Vec<RowVerdict>,
    /// The tutorial's comparison of Service types, claim by claim.
    pub claims: Vec<ClaimVerdict>,
    /// Whatever had to be tried more than once, and why.
    pub retries: Vec<Retry>,
    /// What kept the run from its end, if something did: a failure of the environment, not of a cell.
    pub error: Option<Failed>,
}

/// How a suite ended in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuiteEnd {
    /// The suite.
    pub suite: String,
    /// The stage.
    pub stage: String,
    /// How many tests it ran.
    pub tests: usize,
    /// Whether all of them passed, snapshots included.
    pub passed: bool,
    /// All that they printed.
    pub log: PathBuf,
}

/// A row of the tutorial, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowVerdict {
    /// The row.
    pub row: TutorialRow,
    /// What the cells say of it.
    pub outcome: RowOutcome,
}

/// Something that had to be tried more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// What.
    pub what: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why.
    pub why: String,
}

/// What kept a run from its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// What happened.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

/// How many cells ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The right thing happened, for the right reason.
    pub as_expected: usize,
    /// It did not.
    pub not_as_expected: usize,
    /// This cluster or machine cannot have them.
    pub not_supported: usize,
    /// The probe itself failed.
    pub not_probed: usize,
}

/// Where a run's reports were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The run's directory.
    pub directory: PathBuf,
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
}

impl Run {
    /// A run that starts now.
    pub fn started(id: &str) -> Self {
        Self {
            version: VERSION,
            id: id.to_owned(),
            reachmap: env!("CARGO_PKG_VERSION").to_owned(),
            started: now(),
            finished: None,
            environment: std::collections::BTreeMap::new(),
            timeline: Vec::new(),
            suites: Vec::new(),
            verdicts: Vec::new(),
            rows: Vec::new(),
            claims: Vec::new(),
            retries: Vec::new(),
            error: None,
        }
    }

    /// Reads the verdicts that the run's tests have written into its directory.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if one cannot be read.
    pub fn collect(&mut self, directory: &Path) -> Result<()> {
        for stage in crate::matrix::Stage::ALL {
            self.verdicts.extend(read_all::<Verdict>(&directory.join("verdicts").join(stage.id()))?);
        }
        Ok(())
    }

    /// The run ends now: puts the cells into the matrix's order and judges the tutorial's rows and claims.
    pub fn finish(&mut self, workers: u8, timeline: Vec<StepTime>, error: Option<&Error>) {
        let order: Vec<String> = Matrix::tutorial(workers).iter().map(crate::matrix::Cell::id).collect();
        self.verdicts.sort_by_key(|verdict| {
            let cell = verdict.cell();
            (order.iter().position(|id| *id == cell).unwrap_or(usize::MAX), cell)
        });
        self.rows = Matrix::tutorial_rows(workers)
            .into_iter()
            .map(|row| RowVerdict { outcome: row.outcome(&self.verdicts), row })
            .collect();
        self.claims = judge_claims(workers, &self.verdicts);
        self.timeline = timeline;
        self.error = error.map(|error| Failed {
            message: error.to_string(),
            hint: error.hint_text().map(ToOwned::to_owned),
        });
        self.finished = Some(now());
    }

    /// How many cells ended in which way.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for verdict in &self.verdicts {
            *match verdict.outcome {
                Judgement::AsExpected => &mut counts.as_expected,
                Judgement::NotAsExpected { .. } => &mut counts.not_as_expected,
                Judgement::NotSupported { .. } => &mut counts.not_supported,
                Judgement::NotProbed { .. } => &mut counts.not_probed,
            } += 1;
        }
        counts
    }

    /// The cells that are not as expected, and those whose probe failed.
    pub fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts
            .iter()
            .filter(|verdict| matches!(verdict.outcome, Judgement::NotAsExpected { .. } | Judgement::NotProbed { .. }))
    }

    /// The exit code for what was found: 1 if a cell is not as expected or a suite failed, 3 if a probe failed, else 0.
    pub fn exit_code(&self) -> u8 {
        let counts = self.counts();
        match () {
            () if counts.not_as_expected > 0 || self.suites.iter().any(|suite| !suite.passed) => 1,
            () if counts.not_probed > 0 => ErrorKind::Environment.exit_code(),
            () => 0,
        }
    }

    /// The JSON schema of the report.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Run).to_value()
    }
}

/// Writes every report of `run` into `directory`, and the step summary if GitHub Actions asks for one.
///
/// # Errors
/// [`ErrorKind::Storage`] if a file cannot be written.
pub fn write(run: &Run, directory: &Path) -> Result<Paths> {
    let paths = Paths {
        directory: directory.to_owned(),
        markdown: directory.join("report.md"),
        json: directory.join("report.json"),
        junit: directory.join("junit.xml"),
    };
    let json = serde_json::to_vec_pretty(run).tried(ErrorKind::Internal, || "write down the run")?;
    write_atomically(&paths.json, &json)?;
    let markdown = markdown(run);
    write_atomically(&paths.markdown, markdown.as_bytes())?;
    write_atomically(&paths.junit, junit(run)?.as_bytes())?;
    if let Some(summary) = std::env::var_os("GITHUB_STEP_SUMMARY") {
        append(Path::new(&summary), &markdown)?;
    }
    Ok(paths)
}

/// GitHub refuses a step summary of more than a mebibyte.
const SUMMARY_LIMIT: usize = 1 << 20;

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut end = text.len().min(SUMMARY_LIMIT - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(&text.as_bytes()[..end]))
        .tried(ErrorKind::Storage, || format!("write the step summary {}", path.display()))
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
