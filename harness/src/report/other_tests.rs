//! Tests that are about no cell, lookup or load, and did not fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Run;
use crate::session::suite::cell_of;

/// A test that did not fail, and that no cell, lookup or load of the report speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct OtherTest {
    /// Its suite.
    pub suite: String,
    /// The Service state in which it ran; `without-cluster` if it needs none.
    pub stage: String,
    /// Its full name.
    pub test: String,
    /// Why it could show nothing here; absent if it passed.
    #[serde(default)]
    pub not_supported: Option<String>,
}

impl OtherTest {
    /// Whether it has shown what it is named for.
    pub const fn is_passed(&self) -> bool {
        self.not_supported.is_none()
    }

    /// Whether it is the same test, however it ended.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.suite, &self.stage, &self.test) == (&other.suite, &other.stage, &other.test)
    }
}

/// Leaves only those that nothing else in the report speaks of.
pub(super) fn sort_out(run: &mut Run) {
    let mut tests = std::mem::take(&mut run.other_tests);
    tests.retain(|test| !test.is_passed() || !is_spoken_of(run, test));
    tests.sort();
    run.other_tests = tests;
}

fn is_spoken_of(run: &Run, test: &OtherTest) -> bool {
    let place = (&test.suite, &test.stage);
    if run.loads.iter().any(|load| (&load.suite, &load.stage) == place && load.test.as_ref() == Some(&test.test)) {
        return true;
    }
    let Some((vantage, method)) = cell_of(&test.test) else { return false };
    let cell = format!("{}/{vantage}/{method}", test.stage);
    run.verdicts.iter().any(|verdict| verdict.suite == test.suite && verdict.cell() == cell)
        || run.lookups.iter().any(|group| group.cell() == cell)
}

/// How many passed.
pub(super) fn passed(run: &Run) -> usize {
    run.other_tests.iter().filter(|test| test.is_passed()).count()
}

/// Those that are not supported here, by the reason.
pub(super) fn unsupported(run: &Run) -> Vec<(&str, Vec<&OtherTest>)> {
    let mut reasons: Vec<(&str, Vec<&OtherTest>)> = Vec::new();
    for test in &run.other_tests {
        let Some(reason) = test.not_supported.as_deref() else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, tests)) => tests.push(test),
            None => reasons.push((reason, vec![test])),
        }
    }
    reasons
}

#[cfg(test)]
mod tests;
