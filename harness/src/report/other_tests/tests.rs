use super::*;
use crate::{
    progress::{Progress, Show},
    report::{ConformanceResult, github, html, junit, markdown, sample, statement, terminal},
    testing,
};

fn test(suite: &str, name: &str, not_supported: Option<&str>) -> OtherTest {
    OtherTest {
        suite: suite.to_owned(),
        stage: "load-balancer-pending".to_owned(),
        test: format!("load_balancer_pending::{name}"),
        not_supported: not_supported.map(str::to_owned),
    }
}

fn run(other_tests: Vec<OtherTest>) -> Run {
    let mut run = Run::started("one", &[]);
    run.other_tests = other_tests;
    run.finish(&Progress::new(Show::Nothing, "logs"), None);
    run
}

#[test]
fn what_a_cell_or_a_load_says_is_not_said_again_by_its_test() {
    let mut run = Run::started("one", &[]);
    run.verdicts = testing::verdicts();
    let suite = run.verdicts[0].suite.clone();
    run.other_tests = vec![
        test(&suite, "reaches::from_7_LAPTOP::by_01_POD_IP", None),
        test(&suite, "is_whole", None),
        test("another", "reaches::from_7_LAPTOP::by_01_POD_IP", None),
    ];
    run.loads = vec![sample::loads::as_expected()];
    let load = &mut run.loads[0];
    load.test = Some("load_balancer_ready::connections_spread".to_owned());
    let of_the_load = OtherTest {
        suite: load.suite.clone(),
        stage: load.stage.clone(),
        test: load.test.clone().unwrap(),
        not_supported: None,
    };
    run.other_tests.push(of_the_load);
    run.finish(&Progress::new(Show::Nothing, "logs"), None);
    let left: Vec<&str> = run.other_tests.iter().map(|test| test.test.rsplit("::").next().unwrap()).collect();
    assert_eq!(left, ["is_whole", "by_01_POD_IP"]);
}

#[test]
fn a_suite_without_cells_is_counted_by_its_tests() {
    let run = run(vec![test("sabotage", "a_fault_is_found", None), test("sabotage", "another_is_found", None)]);
    assert_eq!(run.exit_code, 0);
    assert!(terminal::headline(&run).starts_with("2 tests passed"), "{}", terminal::headline(&run));
    let statement = statement(&run);
    assert_eq!(statement.result, ConformanceResult::Success);
    assert_eq!(statement.profiles[0].statistics.passed, 2);
    let text = junit(&run);
    assert_eq!((text.matches("<testcase ").count(), text.matches("<skipped ").count()), (2, 0));
    assert!(html(&run).contains("All as expected"));
}

#[test]
fn a_test_that_is_not_supported_here_says_why_in_every_report_and_is_no_pass() {
    let reason = "the image has no nslookup";
    let run = run(vec![test("dns", "the_name_is_answered", Some(reason)), test("dns", "curl_reaches_it", None)]);
    let texts = [
        terminal::render(&run, terminal::Look::PLAIN),
        markdown(&run),
        github::summary(&run),
        html(&run),
        junit(&run),
        crate::report::conformance(&run),
    ];
    for text in texts {
        assert!(text.contains(reason), "{text}");
    }
    assert_eq!(run.exit_code, 0);
    assert_eq!(statement(&run).result, ConformanceResult::Partial);
    assert_eq!(junit(&run).matches("<skipped ").count(), 1);
}

#[test]
fn a_run_that_has_shown_nothing_is_never_green() {
    let missing = run(vec![test("dns", "the_name_is_answered", Some("the image has no nslookup"))]);
    assert_eq!(missing.exit_code, 3);
    assert_eq!(statement(&missing).result, ConformanceResult::NotRun);
    assert!(!html(&missing).contains("All as expected"));
    let nothing = run(Vec::new());
    assert_eq!(statement(&nothing).result, ConformanceResult::NotRun);
    assert!(html(&nothing).contains("Nothing was run"));
}
