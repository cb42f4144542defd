//! The flake ledger: which test was green and which red in which repetition of one run.
//!
//! Nothing is averaged away: a test that was red once is named, and a run with a red repetition is red.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;
use crate::{Context as _, ErrorKind, Result, home::write_atomically};

/// The version of `flakes.json`: raised when a reader of the old one could misread the new one.
const VERSION: u32 = 1;

/// The name of the ledger's file in the run's directory.
const FILE: &str = "flakes.json";

/// Which test was green and which red in which repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// The version of this format: 1.
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// The repetitions, in their order.
    pub repetitions: Vec<Repetition>,
    /// Every test that was started in one of them.
    pub tests: Vec<History>,
}

/// One repetition of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Repetition {
    /// Which it was, from 1 on.
    pub number: u32,
    /// The directory with its reports, inside the run's.
    pub directory: String,
    /// The exit code that it would have by itself.
    pub exit_code: u8,
    /// Whether it came to its end; if not, tests that are not in it may have been green.
    pub complete: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Its suite.
    pub suite: String,
    /// Its full name, which begins with the stage.
    pub test: String,
    /// What became of it, for each repetition.
    pub outcomes: Vec<Outcome>,
}

/// What became of a test in one repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It passed.
    Green,
    /// It failed.
    Red,
    /// It was not started.
    NotRun,
}

impl Outcome {
    const fn symbol(self) -> char {
        match self {
            Self::Green => '✓',
            Self::Red => '!',
            Self::NotRun => '?',
        }
    }
}

impl History {
    /// In how many repetitions it was so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.iter().filter(|other| **other == outcome).count()
    }

    /// Whether it was green in one repetition and red in another.
    pub fn is_flaky(&self) -> bool {
        self.count(Outcome::Green) > 0 && self.count(Outcome::Red) > 0
    }
}

impl Ledger {
    /// A ledger without repetitions.
    ///
    /// ```
    /// use reachmap::report::{Ledger, Outcome};
    /// let mut ledger = Ledger::new("20260101-120000-1");
    /// for red in [vec![], vec!["one::b".to_owned()]] {
    ///     ledger.begin();
    ///     ledger.note("access", &["one::a".to_owned(), "one::b".to_owned()], &red);
    /// }
    /// assert_eq!(ledger.flaky().map(|one| one.test.as_str()).collect::<Vec<_>>(), ["one::b"]);
    /// ```
    pub fn new(run: impl Into<String>) -> Self {
        Self { version: VERSION, run: run.into(), repetitions: Vec::new(), tests: Vec::new() }
    }

    /// Begins another repetition, in which nothing has been started yet; returns its number.
    pub fn begin(&mut self) -> u32 {
        let number = u32::try_from(self.repetitions.len()).unwrap_or(u32::MAX).saturating_add(1);
        let directory = format!("repetition-{number}");
        self.repetitions.push(Repetition { number, directory, exit_code: 0, complete: false, seconds: 0.0 });
        for history in &mut self.tests {
            history.outcomes.push(Outcome::NotRun);
        }
        number
    }

    /// Notes what became of the tests of a suite in the repetition that was begun last.
    pub fn note(&mut self, suite: &str, tests: &[String], red: &[String]) {
        let repetitions = self.repetitions.len();
        for test in tests {
            let outcome = if red.contains(test) { Outcome::Red } else { Outcome::Green };
            let known = |history: &History| history.suite == suite && history.test == *test;
            let index = self.tests.iter().position(known).unwrap_or_else(|| {
                let outcomes = vec![Outcome::NotRun; repetitions];
                self.tests.push(History { suite: suite.to_owned(), test: test.clone(), outcomes });
                self.tests.len() - 1
            });
            let history = &mut self.tests[index];
            if let Some(last) = history.outcomes.last_mut() {
                *last = outcome;
            }
        }
    }

    /// Ends the repetition that was begun last.
    pub fn end(&mut self, exit_code: u8, complete: bool, seconds: f64) {
        if let Some(last) = self.repetitions.last_mut() {
            *last = Repetition { exit_code, complete, seconds, ..last.clone() };
        }
    }

    /// The tests that were green in one repetition and red in another.
    pub fn flaky(&self) -> impl Iterator<Item = &History> {
        self.tests.iter().filter(|history| history.is_flaky())
    }

    /// Writes it into the run's directory.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).tried(ErrorKind::Internal, || "write down the flake ledger")?;
        write_atomically(&directory.join(FILE), &text)
    }

    /// The ledger as a terminal shows it: every test that was red at least once, and the rest as a number.
    pub fn render(&self) -> String {
        let repetitions = words::count(self.repetitions.len(), "repetition");
        let red: Vec<String> = self
            .repetitions
            .iter()
            .filter(|repetition| repetition.exit_code != 0 || !repetition.complete)
            .map(|repetition| {
                let how = if repetition.complete { "" } else { ", not carried out to its end" };
                format!("{} (exit code {}{how}, {})", repetition.number, repetition.exit_code, repetition.directory)
            })
            .collect();
        let mut lines = vec![match red.as_slice() {
            [] => format!("{repetitions}, all as expected"),
            red => format!("{repetitions}, not as expected: {}", red.join(", ")),
        }];
        for history in self.tests.iter().filter(|history| history.count(Outcome::Red) > 0) {
            let symbols: String = history.outcomes.iter().map(|outcome| outcome.symbol()).collect();
            let (times, of) =
                (history.count(Outcome::Red), history.count(Outcome::Red) + history.count(Outcome::Green));
            let word = if history.is_flaky() { "flaky" } else { "red" };
            let (suite, test) = (words::visible(&history.suite), words::visible(&history.test));
            lines.push(format!("  {symbols}  {word}, red in {times} of {of}: {suite} · {test}"));
        }
        let green = self.tests.iter().filter(|history| history.count(Outcome::Red) == 0).count();
        lines.push(format!("  {} never red", words::count(green, "test")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new("run");
        for red in [&[][..], &["one::flaky", "one::red_later"][..]] {
            ledger.begin();
            ledger.note("access", &names(&["one::green", "one::flaky"]), &names(red));
            if ledger.repetitions.len() == 2 {
                ledger.note("access", &names(&["one::red_later"]), &names(red));
            }
            ledger.end(u8::from(!red.is_empty()), true, 2.0);
        }
        ledger.begin();
        ledger.note("access", &names(&["one::green"]), &[]);
        ledger.end(130, false, 1.0);
        ledger
    }

    #[test]
    fn every_test_has_an_outcome_for_every_repetition() {
        use Outcome::{Green, NotRun, Red};

        let ledger = ledger();
        let outcomes: Vec<_> = ledger.tests.iter().map(|one| (one.test.as_str(), one.outcomes.as_slice())).collect();
        assert_eq!(
            outcomes,
            [
                ("one::green", &[Green, Green, Green][..]),
                ("one::flaky", &[Green, Red, NotRun]),
                ("one::red_later", &[NotRun, Red, NotRun]),
            ]
        );
        assert_eq!(ledger.flaky().count(), 1);
    }

    #[test]
    fn what_was_red_once_is_shown_and_what_never_was_is_counted() {
        insta::assert_snapshot!(ledger().render(), @"
        3 repetitions, not as expected: 2 (exit code 1, repetition-2), 3 (exit code 130, not carried out to its end, repetition-3)
          ✓!?  flaky, red in 1 of 2: access · one::flaky
          ?!?  red, red in 1 of 1: access · one::red_later
          1 test never red
        ");
    }

    #[test]
    fn it_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger();
        ledger.write(directory.path()).unwrap();
        let text = std::fs::read_to_string(directory.path().join("flakes.json")).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
