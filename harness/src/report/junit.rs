//! `junit.xml`: one test case a cell, and one for every test that is about none.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    LoadOutcome, LoadRecord, LookupGroup, OtherTest, Run, explain, explain::headline, explain_load, grid::Grid,
    lookups::LookupGrid, words,
};
use crate::verdict::{Judgement, Verdict};

/// The run as `JUnit` XML: a suite for each suite and stage, a test case for each cell, and for each test that is about none.
///
/// Not as expected is a failure, not supported is skipped, not probed is an error. The text of each is
/// that of [`explain`](super::explain()).
///
/// GitLab shows a case by its `classname` and `name`, of several with the same two only the first, and of a failure its
/// text (<https://docs.gitlab.com/ci/testing/unit_test_reports/>): so the two together are a case's own, and the text
/// says it all. No case names a file: which cells there are is no line of a test's source.
pub fn junit(run: &Run) -> String {
    let mut report = Report::new("reachmap");
    if let Some(seconds) = run.seconds() {
        report.set_time(Duration::from_secs_f64(seconds.max(0.0)));
    }
    for grid in Grid::all(&run.verdicts) {
        let name = format!("{}.{}", grid.suite, grid.stage);
        let mut suite = suite_of(run, &name);
        suite.add_test_cases(grid.verdicts.iter().map(|verdict| case(&name, verdict)));
        report.add_test_suite(suite);
    }
    for grid in LookupGrid::all(&run.lookups) {
        let name = format!("dns.{}", grid.stage);
        let mut suite = suite_of(run, &name);
        suite.add_test_cases(grid.groups().map(|group| lookup_case(&name, group)));
        report.add_test_suite(suite);
    }
    for place in load_places(&run.loads) {
        let name = format!("{}.{}.loads", place.0, place.1);
        let mut suite = suite_of(run, &name);
        let here = run.loads.iter().filter(|load| (&*load.suite, &*load.stage) == place);
        suite.add_test_cases(here.map(|load| load_case(&name, load)));
        report.add_test_suite(suite);
    }
    for place in other_places(run) {
        let class = format!("{}.{}", place.0, place.1);
        let mut suite = suite_of(run, &format!("{class}.tests"));
        let here = run.other_tests.iter().filter(|test| (&*test.suite, &*test.stage) == place);
        suite.add_test_cases(here.map(|test| other_case(&class, test)));
        report.add_test_suite(suite);
    }
    add_other(&mut report, run);
    // quick-junit fails only where a writer fails, and a string does not.
    report.to_string().unwrap_or_default()
}

/// A suite without cases, with what the run ran on as its properties.
fn suite_of(run: &Run, name: &str) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.extra.insert("timestamp".into(), run.started.to_string().into());
    for (property, value) in run.environment.lines() {
        suite.add_property((words::visible(property).as_str(), words::visible(&value).as_str()));
    }
    suite
}

fn case(class: &str, verdict: &Verdict) -> TestCase {
    let mut case = TestCase::new(format!("{}/{}", verdict.vantage, verdict.method), status(verdict));
    case.set_classname(class);
    if let Some(observation) = &verdict.observation {
        case.set_time(Duration::from_micros(observation.elapsed_us));
    }
    case
}

/// One case for all lookups of a resolver in a configuration.
fn lookup_case(class: &str, group: &LookupGroup) -> TestCase {
    let status = match (&group.not_supported, group.is_as_predicted()) {
        (Some(reason), _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(words::visible(reason));
            status
        }
        (None, true) => TestCaseStatus::success(),
        (None, false) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let explained = group.mismatches.iter().map(|mismatch| {
                format!("{}\n{}", words::visible(&mismatch.name), words::plain_lines(&mismatch.explanation, 60))
            });
            status
                .set_message(format!(
                    "{} of {} as predicted",
                    group.as_predicted,
                    words::count(group.lookups, "lookup")
                ))
                .set_description(explained.collect::<Vec<_>>().join("\n\n"));
            status
        }
    };
    let mut case = TestCase::new(format!("{}/{}", group.configuration, group.resolver), status);
    case.set_classname(class);
    case
}

/// The suites and stages in which loads were sent, in order.
fn load_places(loads: &[LoadRecord]) -> Vec<(&str, &str)> {
    let mut places: Vec<(&str, &str)> = loads.iter().map(|load| (&*load.suite, &*load.stage)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn load_case(class: &str, load: &LoadRecord) -> TestCase {
    let status = match &load.outcome {
        LoadOutcome::AsExpected => TestCaseStatus::success(),
        LoadOutcome::NotAsExpected { .. } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message("the load is not as expected").set_description(explain_load(load));
            status
        }
        LoadOutcome::NotJudged { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(words::visible(reason));
            status
        }
    };
    let place = format!("{}/{} ({})", load.vantage, load.method, load.name);
    let mut case = TestCase::new(words::visible(&place), status);
    case.set_classname(class).set_time(Duration::from_micros(load.elapsed_us));
    case
}

fn status(verdict: &Verdict) -> TestCaseStatus {
    let mut status = match &verdict.outcome {
        Judgement::AsExpected => return TestCaseStatus::success(),
        Judgement::NotSupported { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(words::visible(reason));
            return status;
        }
        Judgement::NotAsExpected { .. } => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Judgement::NotProbed { .. } => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_message(headline(verdict)).set_description(explain(verdict));
    status
}

/// The suites and stages with tests that are about no cell, in order.
fn other_places(run: &Run) -> Vec<(&str, &str)> {
    let mut places: Vec<(&str, &str)> = run.other_tests.iter().map(|test| (&*test.suite, &*test.stage)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// A test that is about no cell and did not fail; it has the class that it would have had if it had.
fn other_case(class: &str, test: &OtherTest) -> TestCase {
    let status = test.not_supported.as_deref().map_or_else(TestCaseStatus::success, |reason| {
        let mut status = TestCaseStatus::skipped();
        status.set_message(words::visible(reason));
        status
    });
    let mut case = TestCase::new(words::visible(&test.test), status);
    case.set_classname(words::visible(class));
    case
}

/// What went wrong beside the cells: tests, and the run itself.
fn add_other(report: &mut Report, run: &Run) {
    let mut suite = suite_of(run, "reachmap.run");
    for failed in &run.failed_tests {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message("the test failed").set_description(words::plain_lines(&failed.output, 200));
        let mut case = TestCase::new(&*failed.test, status);
        case.set_classname(format!("{}.{}", failed.suite, failed.stage));
        suite.add_test_case(case);
    }
    if let Some(failure) = &run.failure {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(&*failure.message).set_description(failure.hint.clone().unwrap_or_default());
        let mut case = TestCase::new("the run", status);
        case.set_classname("reachmap.run");
        suite.add_test_case(case);
    }
    if !suite.test_cases.is_empty() {
        report.add_test_suite(suite);
    }
}
