//! What the run is doing: one line per step, with its elapsed and its expected time.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A live view for a terminal.
    Live,
    /// One plain, timestamped line when a step starts and one when it ends.
    Plain,
    /// Nothing.
    Nothing,
}

/// A handle that every part of a run reports its steps to; clones share one view.
#[derive(Debug, Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    show: Show,
    logs: PathBuf,
    started: Instant,
    timeline: Mutex<Vec<StepTime>>,
}

/// One step of the run, for the boot's time line and the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepTime {
    /// The step's title.
    pub title: String,
    /// When it started, in seconds since the run started.
    pub start_seconds: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub end: StepEnd,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// It did what it had to do.
    Done,
    /// There was nothing to do: an earlier run had done it.
    Cached,
    /// It failed, or was given up.
    Failed,
}

/// A step under way; dropped without [`Step::done`], it counts as failed.
#[derive(Debug)]
#[must_use]
pub struct Step {
    progress: Progress,
    title: String,
    log: PathBuf,
    started: Instant,
    ended: bool,
}

impl Progress {
    /// Progress shown as `show`, with a log file per step in the directory `logs`.
    pub fn new(show: Show, logs: impl Into<PathBuf>) -> Self {
        Self {
            shared: Arc::new(Shared {
                show,
                logs: logs.into(),
                started: Instant::now(),
                timeline: Mutex::default(),
            }),
        }
    }

    /// Starts a step; `expected` is how long it usually takes, if that is known.
    pub fn step(&self, title: impl Into<String>, expected: Option<Duration>) -> Step {
        let title = title.into();
        let slug: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        if self.shared.show != Show::Nothing {
            match expected {
                Some(expected) => self.line(&format!("{title} … (usually {}s)", expected.as_secs())),
                None => self.line(&format!("{title} …")),
            }
        }
        Step {
            progress: self.clone(),
            log: self.shared.logs.join(format!("{slug}.log")),
            title,
            started: Instant::now(),
            ended: false,
        }
    }

    /// Says something that belongs to no step.
    #[expect(clippy::print_stderr, reason = "progress goes to standard error, results to standard output")]
    pub fn line(&self, text: &str) {
        if self.shared.show != Show::Nothing {
            eprintln!("[{:7.1}s] {text}", self.shared.started.elapsed().as_secs_f64());
        }
    }

    /// Every step that has ended so far, in the order of their ends.
    pub fn timeline(&self) -> Vec<StepTime> {
        self.shared.timeline.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Step {
    /// The file for everything that this step's commands print.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The step did what it had to do.
    pub fn done(mut self) {
        self.end(StepEnd::Done);
    }

    /// An earlier run had done it already.
    pub fn cached(mut self) {
        self.end(StepEnd::Cached);
    }

    fn end(&mut self, end: StepEnd) {
        self.ended = true;
        let shared = &self.progress.shared;
        let seconds = self.started.elapsed().as_secs_f64();
        shared.timeline.lock().unwrap_or_else(PoisonError::into_inner).push(StepTime {
            title: self.title.clone(),
            start_seconds: self.started.duration_since(shared.started).as_secs_f64(),
            seconds,
            end,
        });
        let word = match end {
            StepEnd::Done => "done",
            StepEnd::Cached => "cached",
            StepEnd::Failed => "FAILED",
        };
        self.progress.line(&format!("{} {word} in {seconds:.1}s", self.title));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end(StepEnd::Failed);
        }
    }
}
