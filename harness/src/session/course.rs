//! The course of one run: its repetitions, each with a record, a directory and reports of its own, and what is shown in the end.

use std::path::Path;

use super::{
    directory::RunDirectory,
    handover::Handover,
    suite::{self, Ended, cell_of, read_all, read_all_of_suites},
};
use crate::{
    Error, Result,
    matrix::{Cell, Stage},
    plan::{course::CourseOptions, shard::Share},
    progress::Progress,
    report::{self, Ledger},
    verdict::Verdict,
};

/// One run under way.
#[derive(Debug)]
pub(super) struct Course {
    options: CourseOptions,
    /// What the run's shard has of it; everything if the run is not divided.
    share: Option<Share>,
    root: RunDirectory,
    /// Where the tests of the repetition under way write: the run's own directory if there is only one.
    pub(super) directory: RunDirectory,
    /// What is known of the repetition under way.
    pub(super) record: report::Run,
    /// Only of a run that is repeated.
    ledger: Option<Ledger>,
    /// The first repetition that was not as expected.
    red: Option<report::Run>,
    /// How many steps, retries and edits were there before the repetition under way.
    before: [usize; 3],
    is_under_way: bool,
}

impl Course {
    /// The course of a run that probes `cells`, before anything is made.
    pub(super) fn new(options: CourseOptions, cells: &[Cell], root: &RunDirectory, command_line: &[String]) -> Self {
        let mut record = report::Run::started(&root.id, command_line);
        record.shard = options.shard;
        Self {
            options,
            share: options.shard.map(|shard| shard.share(cells)),
            root: root.clone(),
            directory: root.clone(),
            record,
            ledger: options.is_repeated().then(|| Ledger::new(&root.id)),
            red: None,
            before: [0; 3],
            is_under_way: false,
        }
    }

    /// Whether the run's shard has this test of `suite` in `stage`.
    pub(super) fn has_test(&self, suite: &str, stage: Stage, test: &str) -> bool {
        match cell_of(test) {
            Some((vantage, method)) => self.has_cell(stage, &vantage, &method),
            None => self.has_other(suite, test),
        }
    }

    /// Whether the run's shard has this test of `suite`, which is about no cell.
    pub(super) fn has_other(&self, suite: &str, test: &str) -> bool {
        self.share.as_ref().is_none_or(|share| share.has(&format!("{suite}/{test}")))
    }

    /// Whether the run's shard has this cell.
    pub(super) fn has_cell(&self, stage: Stage, vantage: &str, method: &str) -> bool {
        self.share.as_ref().is_none_or(|share| share.has(&Cell::new(stage, vantage, method).id()))
    }

    /// Begins a repetition; `retries` and `edits` are how many the environment has seen so far.
    pub(super) fn begin(&mut self, progress: &Progress, retries: usize, edits: usize) {
        self.is_under_way = true;
        let Some(ledger) = &mut self.ledger else { return };
        let number = ledger.begin();
        let directory = ledger.repetitions.last().map(|last| last.directory.clone()).unwrap_or_default();
        self.directory = RunDirectory { path: self.root.path.join(directory), ..self.root.clone() };
        if number > 1 {
            let earlier = &self.record;
            let mut record = report::Run::started(&earlier.id, &earlier.options);
            record.environment = earlier.environment.clone();
            record.shard = earlier.shard;
            self.record = record;
            self.before = [progress.timeline().len(), retries, edits];
        }
        progress.line(&format!("Repetition {number}"));
    }

    /// Notes what became of the tests of a suite in a stage.
    pub(super) fn note(&mut self, suite: &str, stage: &str, ended: Ended) {
        let Ended { passed, failed, ignored } = ended;
        if let Some(ledger) = &mut self.ledger {
            let red: Vec<String> = failed.iter().map(|(test, _)| test.clone()).collect();
            let tests: Vec<String> = passed.iter().chain(&red).cloned().collect();
            ledger.note(suite, &tests, &red);
        }
        let (suite, stage) = (suite.to_owned(), stage.to_owned());
        self.record.failed_tests.extend(failed.into_iter().map(|(test, output)| report::FailedTest {
            suite: suite.clone(),
            stage: stage.clone(),
            test,
            output,
        }));
        let others = passed.into_iter().map(|test| (test, None));
        let others = others.chain(ignored.into_iter().map(|(test, reason)| (test, Some(reason))));
        self.record.other_tests.extend(others.map(|(test, not_supported)| report::OtherTest {
            suite: suite.clone(),
            stage: stage.clone(),
            test,
            not_supported,
        }));
    }

    /// Whether the run is to stop after a stage in which something was not as expected.
    pub(super) fn stops(&self, failed: usize) -> bool {
        self.options.interactive_on_failure && failed > 0
    }

    /// Ends the repetition under way with what the environment has seen of it; says whether another one follows.
    pub(super) fn end(
        &mut self,
        progress: &Progress,
        retries: &[report::Retry],
        edits: &[report::CorefileEdit],
    ) -> Result<bool> {
        let [_, before_retries, before_edits] = self.before;
        self.record.retries.extend(retries.iter().skip(before_retries).cloned());
        self.record.corefile_edits.extend(edits.iter().skip(before_edits).cloned());
        let Some(done) = self.ledger.as_ref().map(|ledger| ledger.repetitions.len()) else { return Ok(false) };
        self.close(progress, None)?;
        let is_red = self.record.exit_code() != 0;
        if is_red && self.red.is_none() {
            self.red = Some(self.record.clone());
        }
        Ok(self.options.goes_on(u32::try_from(done).unwrap_or(u32::MAX), is_red))
    }

    /// Ends the run, however it ended: what is shown of it, and its flake ledger.
    ///
    /// Of a run that was repeated, the first repetition that was not as expected is shown, else the last.
    pub(super) fn finish(
        mut self,
        progress: &Progress,
        error: Option<&Error>,
    ) -> Result<(report::Run, Option<Ledger>)> {
        if self.is_under_way || self.ledger.is_none() {
            self.close(progress, error)?;
        } else if error.is_some() {
            self.record.finish(progress, error);
        }
        let shown = match self.red {
            Some(red) if self.record.failure.is_none() => red,
            _ => self.record,
        };
        // If not even the environment came up, there is nothing in it.
        Ok((shown, self.ledger.filter(|ledger| !ledger.repetitions.is_empty())))
    }

    /// Reads what the tests have written, and derives what follows; of one of several repetitions, writes the reports.
    fn close(&mut self, progress: &Progress, error: Option<&Error>) -> Result<()> {
        self.is_under_way = false;
        Handover::remove(&self.directory.path)?;
        collect(&mut self.record, &self.directory.path)?;
        self.record.finish(progress, error);
        self.record.timeline.drain(..self.before[0].min(self.record.timeline.len()));
        let Some(ledger) = self.ledger.as_mut().filter(|ledger| !ledger.repetitions.is_empty()) else { return Ok(()) };
        report::write_beside(&self.record, &self.directory.path)?;
        ledger.end(self.record.exit_code(), error.is_none(), self.record.seconds().unwrap_or_default());
        // After each, so that it is there however the run ends.
        ledger.write(&self.root.path)
    }
}

/// Reads what the run's tests have written: the states that they found, and their verdicts.
fn collect(record: &mut report::Run, directory: &Path) -> Result<()> {
    for stage in Stage::ALL {
        let state = directory.join("states").join(format!("{stage}.json"));
        let state = state.is_file().then(|| suite::read(&state)).transpose()?;
        let verdicts: Vec<Verdict> = read_all_of_suites(&directory.join("verdicts").join(stage.id()))?;
        if state.is_some() || !verdicts.is_empty() {
            record.stages.push(report::StageRecord { id: stage.id().to_owned(), state });
        }
        record.verdicts.extend(verdicts);
        record.lookups.extend(read_all::<report::LookupGroup>(&directory.join("lookups").join(stage.id()))?);
        record.loads.extend(read_all::<report::LoadRecord>(&directory.join("loads").join(stage.id()))?);
        record.changes.extend(read_all_of_suites::<report::ChangeRecord>(&directory.join("changes").join(stage.id()))?);
        record.beside.extend(read_all_of_suites::<report::Beside>(&directory.join("beside").join(stage.id()))?);
        for said in read_all_of_suites::<report::OtherTest>(&directory.join("not-supported").join(stage.id()))? {
            // One that failed in spite of it is no other than one that failed.
            if let Some(test) = record.other_tests.iter_mut().find(|test| test.is_same(&said)) {
                test.not_supported = said.not_supported;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, progress::Show, session::verdict_file};

    /// A repetition in which `red` failed, of a run in `root`.
    fn repetition(course: &mut Course, progress: &Progress, red: &[&str]) -> bool {
        course.begin(progress, 0, 0);
        let failed: Vec<_> = red.iter().map(|test| ((*test).to_owned(), "why".to_owned())).collect();
        let passed = ["a", "b"].into_iter().filter(|test| !red.contains(test)).map(str::to_owned).collect();
        course.note("access", "load-balancer-ready", Ended { passed, failed, ignored: Vec::new() });
        course.end(progress, &[], &[]).unwrap()
    }

    fn course(options: CourseOptions, root: &Path) -> (Course, Progress) {
        let root = RunDirectory { id: "run".to_owned(), path: root.to_owned() };
        (Course::new(options, &[], &root, &[]), Progress::new(Show::Nothing, root.path.join("logs")))
    }

    #[test]
    fn a_run_with_a_red_repetition_is_red_however_many_green_ones_follow() {
        let root = tempfile::tempdir().unwrap();
        let options = CourseOptions { repeat: Some(3), ..CourseOptions::default() };
        let (mut course, progress) = course(options, root.path());
        let went_on = [&[][..], &["b"], &[]].map(|red| repetition(&mut course, &progress, red));
        assert_eq!(went_on, [true, true, false]);
        let (shown, ledger) = course.finish(&progress, None).unwrap();
        assert_eq!((shown.exit_code(), shown.failed_tests.len()), (1, 1));
        assert_eq!(ledger.unwrap().repetitions.iter().map(|one| one.exit_code).collect::<Vec<_>>(), [0, 1, 0]);
        for (number, exit_code) in [(1, 0), (2, 1), (3, 0)] {
            let report = report::read(&root.path().join(format!("repetition-{number}"))).unwrap();
            assert_eq!(report.exit_code, exit_code);
        }
        assert!(root.path().join("flakes.json").is_file());
    }

    #[test]
    fn a_run_until_it_fails_ends_with_the_first_red_repetition() {
        let root = tempfile::tempdir().unwrap();
        let options = CourseOptions { until_fail: true, ..CourseOptions::default() };
        let (mut course, progress) = course(options, root.path());
        assert!(repetition(&mut course, &progress, &[]));
        assert!(!repetition(&mut course, &progress, &["a"]));
        assert_eq!(course.finish(&progress, None).unwrap().0.exit_code(), 1);
    }

    #[test]
    fn an_interrupted_repetition_is_in_the_ledger_as_such() {
        let root = tempfile::tempdir().unwrap();
        let options = CourseOptions { until_fail: true, ..CourseOptions::default() };
        let (mut course, progress) = course(options, root.path());
        repetition(&mut course, &progress, &[]);
        course.begin(&progress, 0, 0);
        let error = Error::new(ErrorKind::Interrupted, "finish the run", "it was interrupted by SIGINT");
        let (shown, ledger) = course.finish(&progress, Some(&error)).unwrap();
        assert_eq!(shown.exit_code(), 130);
        let last = ledger.unwrap().repetitions.pop().unwrap();
        assert_eq!((last.exit_code, last.complete), (130, false));
    }

    #[test]
    fn a_run_whose_environment_never_came_up_has_no_repetitions() {
        let root = tempfile::tempdir().unwrap();
        let (course, progress) = course(CourseOptions { repeat: Some(3), ..CourseOptions::default() }, root.path());
        let error = Error::new(ErrorKind::Missing, "find an engine", "there is none");
        let (shown, ledger) = course.finish(&progress, Some(&error)).unwrap();
        assert_eq!((shown.exit_code(), ledger), (3, None));
    }

    #[test]
    fn a_run_that_is_not_repeated_has_no_ledger_and_one_directory() {
        let root = tempfile::tempdir().unwrap();
        let (mut course, progress) = course(CourseOptions::default(), root.path());
        assert!(!repetition(&mut course, &progress, &["a"]));
        let (shown, ledger) = course.finish(&progress, None).unwrap();
        assert_eq!((shown.exit_code(), ledger), (1, None));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_suites_in_one_stage_keep_their_verdicts_and_their_tests_apart() {
        let root = tempfile::tempdir().unwrap();
        let (mut course, progress) = course(CourseOptions::default(), root.path());
        let stage = Stage::LoadBalancerReady.id();
        let verdict = crate::testing::verdicts().remove(0);
        let write = |name: String, value: serde_json::Value| {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, value.to_string()).unwrap();
        };
        for suite in ["access", "shop"] {
            let verdict = Verdict { suite: suite.to_owned(), stage: stage.to_owned(), ..verdict.clone() };
            write(verdict_file(&verdict) + ".json", serde_json::to_value(&verdict).unwrap());
        }
        let test = |suite: &str, test: &str, why: Option<&str>| report::OtherTest {
            suite: suite.to_owned(),
            stage: stage.to_owned(),
            test: test.to_owned(),
            not_supported: why.map(str::to_owned),
        };
        for name in ["is_open", "is_closed", "failed"] {
            let said = test("shop", name, Some("there is no shop here"));
            write(format!("not-supported/{stage}/shop/{name}.json"), serde_json::to_value(said).unwrap());
        }
        for suite in ["access", "shop"] {
            let passed = ["is_open", "is_whole"].map(str::to_owned).into();
            let failed = vec![("failed".to_owned(), "why".to_owned())];
            course.note(suite, stage, Ended { passed, failed, ignored: Vec::new() });
        }
        let (shown, _) = course.finish(&progress, None).unwrap();
        assert_eq!(shown.verdicts.iter().map(|one| one.suite.as_str()).collect::<Vec<_>>(), ["access", "shop"]);
        assert_eq!(shown.failed_tests.len(), 2);
        let expected = [
            test("access", "is_open", None),
            test("access", "is_whole", None),
            test("shop", "is_open", Some("there is no shop here")),
            test("shop", "is_whole", None),
        ];
        assert_eq!(shown.other_tests, expected);
    }

    #[test]
    fn what_one_shard_leaves_out_another_has() {
        let root = tempfile::tempdir().unwrap();
        let cells = crate::matrix::Matrix::tutorial(1);
        let shards = ["1/2", "2/2"].map(|shard| {
            let options = CourseOptions { shard: shard.parse().ok(), ..CourseOptions::default() };
            let root = RunDirectory { id: "run".to_owned(), path: root.path().to_owned() };
            Course::new(options, &cells, &root, &[])
        });
        let stage = Stage::LoadBalancerReady;
        let test = "load_balancer_ready::reaches::from_1_CONTROL_PLANE::by_02_POD_IP";
        for test in [test, "load_balancer_ready::table"] {
            assert_eq!(shards.iter().filter(|shard| shard.has_test("access", stage, test)).count(), 1, "{test}");
        }
        for cell in &cells {
            let has = |shard: &&Course| shard.has_cell(cell.stage, &cell.vantage, &cell.method);
            assert_eq!(shards.iter().filter(has).count(), 1, "{cell}");
        }
        let of_a_cell = shards.iter().position(|shard| shard.has_test("access", stage, test));
        assert_eq!(of_a_cell, shards.iter().position(|shard| shard.has_cell(stage, "control-plane", "pod-ip")));
    }
}
