//! Every renderer over one run that has everything in it.

use reachmap_wire::Step;
use serde_json::Value;

use super::{
    Counts, LoadRecord, LookupGroup, Run, explain, github, html, json, junit, markdown,
    sample::{self, HOSTILE},
    schema,
    terminal::{Look, render},
};
use crate::{
    Error, ErrorKind,
    matrix::RowOutcome,
    progress::{Progress, Show},
    report::{FailedTest, Failure, StageRecord},
    state::State,
    testing,
    verdict::Judgement,
};

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/report-v1.schema.json"));

#[test]
fn terminal_shows_the_matrix_and_what_failed_in_full() {
    insta::assert_snapshot!(render(&sample::run(), Look::PLAIN));
}

#[test]
fn a_narrow_terminal_is_not_overrun_by_the_matrix() {
    let text = render(&sample::run(), Look { width: 60, color: false });
    let table = text.split("\n\n").next().unwrap();
    assert!(table.lines().all(|line| line.chars().count() <= 60), "{table}");
}

#[test]
fn color_is_used_only_when_it_may_be() {
    let run = sample::run();
    assert!(!render(&run, Look::PLAIN).contains('\u{1b}'));
    let colored = render(&run, Look { width: 120, color: true });
    assert!(colored.contains("\u{1b}[1;31m"));
    // What came over the network colours nothing, whatever the terminal can.
    assert!(!colored.contains("\u{1b}[31mred"));
}

#[test]
fn markdown_has_failures_first_then_the_tutorials_table_then_everything() {
    insta::assert_snapshot!(markdown(&sample::run()));
}

#[test]
fn markdown_tables_keep_their_columns_whatever_is_in_them() {
    for table in markdown(&sample::run()).split("\n\n").filter(|part| part.starts_with('|')) {
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let first = columns(table.lines().next().unwrap());
        for line in table.lines() {
            assert_eq!(columns(line), first, "{line}");
        }
    }
}

#[test]
fn the_step_summary_folds_what_passed() {
    insta::assert_snapshot!(github::summary(&sample::run()));
}

#[test]
fn the_step_summary_stays_below_githubs_limit() {
    let mut run = sample::run();
    let failed = run.failed_tests[0].clone();
    run.failed_tests = vec![failed; 4000];
    run.verdicts = run.verdicts.iter().cycle().take(5000).cloned().collect();
    let summary = github::summary(&run);
    assert!(summary.len() < 1024 * 1024, "{}", summary.len());
    assert!(summary.contains("left out to stay below GitHub's limit"));
}

#[test]
fn annotations_are_one_line_each_and_no_more_than_github_shows() {
    let mut run = sample::run();
    insta::assert_snapshot!(github::annotations(&run));
    run.failed_tests = vec![run.failed_tests[0].clone(); 50];
    let text = github::annotations(&run);
    assert_eq!(text.lines().count(), 10);
    assert!(text.lines().all(|line| line.starts_with("::error title=")));
}

#[test]
fn junit_has_a_test_case_for_each_cell() {
    insta::assert_snapshot!(junit(&sample::run()));
}

#[test]
fn junit_counts_agree_with_the_run() {
    let run = sample::run();
    let text = junit(&run);
    let Counts { as_expected, not_as_expected, not_supported, not_probed } = run.counts;
    let lookups = |wanted: fn(&LookupGroup) -> bool| run.lookups.iter().filter(|group| wanted(group)).count();
    let (missing, wrong) = (lookups(|group| group.not_supported.is_some()), lookups(|group| !group.is_as_predicted()));
    let loads = run.loads.iter().filter(|load| load.is_not_as_expected()).count();
    assert!(loads > 0);
    let others = run.failed_tests.len() + run.other_tests.len();
    let cases = run.counts.total() + run.lookups.len() + run.loads.len() + others;
    assert_eq!(text.matches("<testcase ").count(), cases);
    assert_eq!(text.matches("<failure ").count(), not_as_expected + wrong + loads + run.failed_tests.len());
    let tests = run.other_tests.iter().filter(|test| !test.is_passed()).count();
    assert!(tests > 0);
    assert_eq!(text.matches("<skipped ").count(), not_supported + missing + tests);
    assert_eq!(text.matches("<error ").count(), not_probed);
    assert_eq!(as_expected, 3);
}

#[test]
fn junit_has_no_two_cases_of_the_same_name_and_says_what_it_ran_on() {
    let run = sample::run();
    let text = junit(&run);
    let cases = text.split("<testcase ").skip(1);
    let name = |case: &str| -> Vec<String> {
        let value =
            |attribute: &str| case.split(&format!("{attribute}=\"")).nth(1)?.split('"').next().map(str::to_owned);
        ["name", "classname"].into_iter().filter_map(value).collect()
    };
    let names: Vec<Vec<String>> = cases.map(name).collect();
    assert!(names.iter().all(|name| name.len() == 2), "{names:?}");
    let different: std::collections::BTreeSet<&Vec<String>> = names.iter().collect();
    assert_eq!(different.len(), names.len());
    let suites = text.matches("<testsuite ").count();
    assert_eq!(text.matches("<property name=\"Kubernetes\"").count(), suites);
    assert_eq!(text.matches(" timestamp=\"").count(), suites);
}

#[test]
fn no_report_lets_control_characters_through() {
    let run = sample::run();
    for text in [
        render(&run, Look::PLAIN),
        markdown(&run),
        github::summary(&run),
        github::annotations(&run),
        html(&run),
        junit(&run),
    ] {
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None);
    }
}

#[test]
fn json_is_what_was_written_and_obeys_its_schema() {
    let run = sample::run();
    let text = json(&run);
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
    let validator = jsonschema::validator_for(&serde_json::from_str::<Value>(SCHEMA).unwrap()).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // The schema must be able to say no, too.
    let mut wrong = report;
    wrong["verdicts"][0]["observation"]["elapsed_us"] = "soon".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn the_published_schema_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/report-v1.schema.json");
    if std::env::var_os("REACHMAP_WRITE_SCHEMA").is_some() {
        std::fs::write(path, schema()).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == schema(),
        "REACHMAP_WRITE_SCHEMA=1 cargo test -p reachmap schema writes it anew"
    );
}

#[test]
fn a_cell_is_explained_step_by_step() {
    let run = sample::run();
    let text: Vec<String> = run.verdicts.iter().take(2).map(explain).collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn an_explanation_is_as_long_as_a_person_reads() {
    for verdict in &sample::run().verdicts {
        let text = explain(verdict);
        assert!(text.len() < 4000, "{}", text.len());
        assert!(!text.contains(HOSTILE));
    }
}

#[test]
fn the_exit_code_tells_what_kind_of_end_it_was() {
    let mut run = Run::started("one", &[]);
    assert_eq!(run.exit_code(), 0);
    let sample = sample::run();
    let only = |kind: fn(&Judgement) -> bool| {
        sample.verdicts.iter().filter(|verdict| kind(&verdict.outcome)).cloned().collect::<Vec<_>>()
    };
    run.verdicts = only(|outcome| *outcome == Judgement::AsExpected);
    assert_eq!(run.exit_code(), 0);
    run.verdicts.extend(only(|outcome| matches!(outcome, Judgement::NotProbed { .. })));
    assert_eq!(run.exit_code(), 3);
    run.verdicts.extend(only(|outcome| matches!(outcome, Judgement::NotAsExpected { .. })));
    assert_eq!(run.exit_code(), 1);
    // Nothing but gaps proves nothing.
    run.verdicts = only(|outcome| matches!(outcome, Judgement::NotSupported { .. }));
    assert_eq!(run.exit_code(), 3);
    run.verdicts.clear();
    run.loads = vec![sample::loads::as_expected()];
    assert_eq!(run.exit_code(), 0);
    run.loads.push(sample::loads::skewed());
    assert_eq!(run.exit_code(), 1);
    run.loads.clear();
    run.failed_tests.clone_from(&sample.failed_tests);
    assert_eq!(run.exit_code(), 1);
    run.failure = Some(Failure { message: "interrupted".to_owned(), hint: None, exit_code: 130 });
    assert_eq!(run.exit_code(), 130);
}

#[test]
fn finishing_derives_rows_claims_counts_and_environment() {
    let mut run = Run::started("one", &[]);
    run.verdicts = testing::verdicts();
    run.verdicts.reverse();
    run.stages = vec![StageRecord { id: "load-balancer-ready".to_owned(), state: Some(State::example()) }];
    run.finish(&Progress::new(Show::Nothing, "logs"), None);
    assert_eq!(run.verdicts.len(), run.counts.as_expected);
    assert!(run.tutorial.iter().all(|row| row.outcome == RowOutcome::Confirmed), "{:?}", run.tutorial);
    assert!(!run.claims.is_empty());
    assert_eq!(run.environment.kubernetes.as_deref(), Some(State::example().kubernetes.as_str()));
    assert_eq!(run.exit_code, 0);
    assert_eq!(run.verdicts[0].vantage.id, "testpod");
    assert_eq!(run.verdicts.last().unwrap().vantage.id, "laptop");
}

#[test]
fn a_failed_test_counts_once_and_as_what_it_is() {
    let mut run = Run::started("one", &[]);
    run.verdicts = testing::verdicts();
    let total = run.verdicts.len();
    let wrong =
        run.verdicts.iter_mut().find(|verdict| verdict.cell() == "load-balancer-pending/laptop/pod-ip").unwrap();
    wrong.outcome = Judgement::NotAsExpected { step: Step::Connect, expected: String::new(), observed: String::new() };
    run.verdicts.retain(|verdict| verdict.cell() != "load-balancer-pending/worker-1/pod-ip");
    let failed = |test: &str| FailedTest {
        suite: run.verdicts[0].suite.clone(),
        stage: "load-balancer-pending".to_owned(),
        test: format!("load_balancer_pending::{test}"),
        output: "the agent is gone".to_owned(),
    };
    run.failed_tests = vec![
        failed("reaches::from_7_LAPTOP::by_01_POD_IP"),
        failed("reaches::from_3_WORKER_1::by_01_POD_IP"),
        failed("reaches::from_1_TESTPOD::by_01_POD_IP"),
        failed("claims"),
    ];
    run.finish(&Progress::new(Show::Nothing, "logs"), None);
    assert_eq!(run.counts, Counts { as_expected: total - 2, not_as_expected: 1, not_supported: 0, not_probed: 1 });
    let probed = run.verdict("load-balancer-pending/worker-1/pod-ip").unwrap();
    assert_eq!(probed.outcome, Judgement::NotProbed { reason: "the agent is gone".to_owned() });
    // A snapshot that differs in a cell that is as expected, and a test about no cell.
    let left: Vec<&str> = run.failed_tests.iter().map(|failed| failed.test.rsplit("::").next().unwrap()).collect();
    assert_eq!(left, ["by_01_POD_IP", "claims"]);
}

#[test]
fn a_test_whose_load_is_not_as_expected_is_shown_once_as_that_load() {
    let mut run = Run::started("one", &[]);
    run.loads = vec![sample::loads::skewed(), sample::loads::as_expected()];
    let failed = |test: &str| FailedTest {
        suite: "distribution".to_owned(),
        stage: "load-balancer-ready".to_owned(),
        test: test.to_owned(),
        output: "the load is not as expected".to_owned(),
    };
    run.failed_tests = vec![failed("load_balancer_ready::connections_spread"), failed("load_balancer_ready::other")];
    run.finish(&Progress::new(Show::Nothing, "logs"), None);
    assert_eq!(run.failed_tests, [failed("load_balancer_ready::other")]);
    assert_eq!(run.exit_code, 1);
    // As expected, so that the test must have failed for another reason.
    run.loads.retain(LoadRecord::is_as_expected);
    run.failed_tests = vec![failed("load_balancer_ready::connections_spread")];
    run.finish(&Progress::new(Show::Nothing, "logs"), None);
    assert_eq!(run.failed_tests.len(), 1);
}

#[test]
fn a_run_that_has_judged_loads_alone_has_judged_something() {
    let mut run = sample::run();
    run.verdicts.retain(|verdict| matches!(verdict.outcome, Judgement::NotSupported { .. }));
    run.failed_tests.clear();
    run.lookups.clear();
    run.loads = vec![sample::loads::as_expected()];
    assert_eq!((run.verdicts.is_empty(), run.exit_code()), (false, 0));
    run.loads.clear();
    assert_eq!(run.exit_code(), 3);
}

#[test]
fn every_report_shows_the_loads_and_what_is_wrong_with_one() {
    let run = sample::run();
    for text in [render(&run, Look::PLAIN), markdown(&run), github::summary(&run), html(&run), junit(&run)] {
        assert!(text.contains("loadbalancer-address (spread)"), "{text}");
        assert!(text.contains("26 of 4226 requests failed: 26 reset."), "{text}");
    }
    assert!(github::annotations(&run).contains("(skewed)"));
    let page = html(&run);
    assert_eq!(page.matches("<svg class=plot ").count(), 2 * run.loads.len() + run.changes.len());
}

#[test]
fn a_run_that_could_not_be_carried_out_says_why_and_what_to_do() {
    let mut run = Run::started("one", &[]);
    let error = Error::new(ErrorKind::Missing, "find mmdebstrap", "no such program").hint("Install it.");
    run.finish(&Progress::new(Show::Nothing, "logs"), Some(&error));
    assert_eq!(run.exit_code, 3);
    assert!(run.tutorial.is_empty(), "no row is claimed to be not shown where no cell was meant to be probed");
    for text in [render(&run, Look::PLAIN), markdown(&run), html(&run), junit(&run)] {
        assert!(text.contains("failed to find mmdebstrap: no such program") && text.contains("Install it."), "{text}");
    }
}
