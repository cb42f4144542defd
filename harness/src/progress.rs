//! What the run is doing: one line per step, with its elapsed and its expected time.

use std::{
    fmt::Write as _,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::colors;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A live view: one line per running step. Where standard error is no terminal, this is [`Show::Plain`].
    ///
    /// It is without colours if `NO_COLOR` is set to anything (<https://no-color.org>).
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
    /// The lines of the steps that run, in a live view.
    live: Option<MultiProgress>,
    colours: bool,
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
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress shown as `show`, with a log file per step in the directory `logs`.
    pub fn new(show: Show, logs: impl Into<PathBuf>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let show = if show == Show::Live && !terminal { Show::Plain } else { show };
        Self {
            shared: Arc::new(Shared {
                show,
                logs: logs.into(),
                started: Instant::now(),
                timeline: Mutex::default(),
                live: (show == Show::Live).then(MultiProgress::new),
                colours: colors::allowed(terminal),
            }),
        }
    }

    /// Starts a step; `expected` is how long it usually takes, if that is known.
    pub fn step(&self, title: impl Into<String>, expected: Option<Duration>) -> Step {
        let title = title.into();
        let slug: String =
            title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let bar = self.shared.live.as_ref().map(|live| live.add(bar(&title, expected, self.shared.colours)));
        if self.shared.show == Show::Plain {
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
            bar,
        }
    }

    /// Says something that belongs to no step.
    #[expect(clippy::print_stderr, reason = "progress goes to standard error, results to standard output")]
    pub fn line(&self, text: &str) {
        match (&self.shared.live, self.shared.show) {
            (_, Show::Nothing) => {}
            // Above the lines of the running steps. A terminal that cannot be written to shows nothing anyway.
            (Some(live), _) => drop(live.println(text)),
            (None, _) => eprintln!("[{:7.1}s] {text}", self.shared.started.elapsed().as_secs_f64()),
        }
    }

    /// Does what `f` does with the terminal while no live line is on it.
    pub fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        match &self.shared.live {
            Some(live) => live.suspend(f),
            None => f(),
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
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            return self.progress.line(&ended_line(&self.title, end, seconds, shared.colours));
        }
        let word = match end {
            StepEnd::Done => "done",
            StepEnd::Cached => "cached",
            StepEnd::Failed => "FAILED",
        };
        self.progress.line(&format!("{} {word} in {seconds:.1}s", self.title));
    }
}

/// The line of a step that runs; it draws itself anew ten times a second.
fn bar(title: &str, expected: Option<Duration>, colours: bool) -> ProgressBar {
    let template = if colours { "{spinner:.cyan} {msg} {times:.dim}" } else { "{spinner} {msg} {times}" };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let write_times = move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
        // A line that cannot be written is shown without its times.
        let _ = writer.write_str(&times(state.elapsed(), expected));
    };
    let bar =
        ProgressBar::new_spinner().with_style(style.with_key("times", write_times)).with_message(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// How long a step has run, and how long it usually takes.
fn times(elapsed: Duration, expected: Option<Duration>) -> String {
    let mut text = clock(elapsed);
    if let Some(expected) = expected {
        // A string takes whatever is written to it.
        let _ = write!(text, " of about {}", clock(expected));
    }
    text
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{:02}s", seconds / 60, seconds % 60) }
}

/// The line that stays of a step in a live view.
fn ended_line(title: &str, end: StepEnd, seconds: f64, colours: bool) -> String {
    let (mark, colour, word) = match end {
        StepEnd::Done => ('✓', "32", ""),
        StepEnd::Cached => ('✓', "32", "cached, "),
        StepEnd::Failed => ('✗', "31", "FAILED, "),
    };
    // Select Graphic Rendition, ECMA-48: 32 is green, 31 red, 0 back to normal.
    let mark = if colours { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_string() };
    format!("{mark} {title} ({word}{seconds:.1}s)")
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end(StepEnd::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_step_shows_elapsed_and_expected_time() {
        assert_eq!(times(Duration::from_millis(12_900), None), "12s");
        assert_eq!(times(Duration::from_secs(75), Some(Duration::from_secs(440))), "1m15s of about 7m20s");
    }

    #[test]
    fn an_ended_step_is_readable_without_colours() {
        assert_eq!(ended_line("Compile etcd", StepEnd::Failed, 2.04, false), "✗ Compile etcd (FAILED, 2.0s)");
        assert!(ended_line("Compile etcd", StepEnd::Cached, 0.0, true).ends_with("Compile etcd (cached, 0.0s)"));
    }

    #[test]
    fn every_step_is_in_the_time_line_however_it_ended() {
        let progress = Progress::new(Show::Nothing, "logs");
        progress.step("one", None).done();
        progress.step("two", None).cached();
        drop(progress.step("three", None));
        let ends: Vec<_> = progress.timeline().into_iter().map(|step| (step.title, step.end)).collect();
        let expected = [("one", StepEnd::Done), ("two", StepEnd::Cached), ("three", StepEnd::Failed)];
        assert_eq!(ends, expected.map(|(title, end)| (title.to_owned(), end)));
    }
}
