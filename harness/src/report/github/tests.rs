//! The limits of GitHub, with more cells and longer texts than any run has.

use super::*;
use crate::report::{
    Counts, FailedTest,
    sample::{self, HOSTILE},
};

/// What GitHub takes (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).
const LIMIT: usize = 1024 * 1024;

/// A run with `count` cells, `wrong` of them not as expected, each with texts of `length` characters.
fn large(count: usize, wrong: usize, length: usize) -> Run {
    let mut run = sample::run();
    run.failed_tests.clear();
    run.lookups.clear();
    run.loads.clear();
    let (bad, good): (Vec<Verdict>, Vec<Verdict>) = run.verdicts.iter().cloned().partition(Verdict::is_not_as_expected);
    let good = good.into_iter().filter(Verdict::is_as_expected).cycle().take(count - wrong);
    run.verdicts = bad.into_iter().cycle().take(wrong).chain(good).collect();
    for (index, verdict) in run.verdicts.iter_mut().enumerate() {
        verdict.vantage.id = format!("worker-{}", index % 100);
        verdict.method.id = format!("nodeport-worker-{}", index / 100);
        if let Judgement::NotAsExpected { expected, observed, .. } = &mut verdict.outcome {
            (*expected, *observed) = ("x".repeat(length), HOSTILE.repeat(length / HOSTILE.len() + 1));
        }
    }
    run.counts = Counts::of(&run.verdicts);
    run
}

fn is_balanced(text: &str) -> bool {
    text.matches("<details>").count() == text.matches("</details>").count()
}

#[test]
fn any_matrix_fits() {
    for (count, wrong, length) in [(500, 0, 0), (5000, 0, 0), (5000, 5000, 10), (9000, 4000, 100_000)] {
        let run = large(count, wrong, length);
        let text = summary(&run);
        assert!(text.len() <= LARGEST && LARGEST < LIMIT, "{count} cells, {wrong} wrong: {}", text.len());
        assert!(is_balanced(&text), "{count} cells, {wrong} wrong");
        // The symbols of all cells are there, whatever else is not.
        assert!(text.contains("| `nodeport-worker-3` |"), "{count} cells, {wrong} wrong");
        assert_eq!(text.contains("## Not as it should be"), wrong > 0);
    }
}

#[test]
fn five_hundred_cells_are_shown_whole() {
    let text = summary(&large(500, 20, 300));
    assert!(!text.contains("left out") && !text.contains("more in full"), "{}", text.len());
    // The hostile texts in some of them need longer fences.
    assert_eq!(text.matches("`text\n").count(), 20);
}

#[test]
fn failures_come_first_and_it_is_said_how_many_more_there_are() {
    let text = summary(&large(5000, 4000, 1000));
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(at("## Not as it should be") < at("<details>") && at("<details>") < at("## The tutorial's table"));
    assert!(text.contains("_3900 more: `report.md` has all of them._"));
    let shown = text.matches("`text\n").count();
    assert!(text.contains(&format!("_{} more in full in `report.md`._", 4000 - shown)), "{shown}");
}

#[test]
fn texts_without_end_are_cut_before_they_push_everything_else_out() {
    let mut run = large(10, 2, 10);
    run.options = vec!["--only".to_owned(), "x".repeat(3 * LIMIT)];
    run.failed_tests = vec![FailedTest {
        suite: "access".to_owned(),
        stage: "load-balancer-ready".to_owned(),
        test: "t".repeat(2 * LIMIT),
        output: format!("{}\n", "long ".repeat(LIMIT)).repeat(3),
    }];
    let text = summary(&run);
    assert!(text.len() < 200 * 1024, "{}", text.len());
    assert!(text.starts_with("# Reachmap: ") && text.contains("## Not as it should be") && !text.contains("left out"));
    assert!(annotations(&run).len() < 64 * 1024);
}

#[test]
fn a_table_is_cut_between_its_lines() {
    let body = format!("| a |\n|---|\n{}", "| row |\n".repeat(100));
    let text = shorten("cells", &body, 400).unwrap();
    assert!(text.len() <= 400 && text.lines().all(|line| !line.starts_with('|') || line.ends_with('|')), "{text}");
    let shown = text.matches("| row |").count();
    assert!(text.contains(&format!("_{} lines left out", 100 - shown)), "{text}");
    assert_eq!(shorten("cells", &body, 100), None);
    assert!(shorten("cells", &body, 4000).unwrap().ends_with("| row |\n\n\n</details>"));
}

#[test]
fn the_last_annotation_says_how_many_there_are_more() {
    let text = annotations(&large(50, 37, 10));
    let last = text.lines().last().unwrap();
    assert_eq!(text.lines().count(), 10);
    assert!(last.starts_with("::error title=Reachmap::28 more; 13 of 50 cells as expected"), "{last}");
    assert_eq!(annotations(&large(50, 10, 10)).lines().count(), 10);
    assert!(!annotations(&large(50, 10, 10)).contains("title=Reachmap::"));
}

#[test]
fn what_is_not_as_expected_is_annotated_before_what_was_not_probed() {
    let run = sample::run();
    let text = annotations(&run);
    let titles: Vec<&str> = text.lines().map(|line| line.split("::").nth(1).unwrap()).collect();
    assert_eq!(titles.last().unwrap(), &"error title=load-balancer-pending/worker-10/pod-ip", "{titles:?}");
}

#[test]
fn no_command_is_read_in_text_that_came_over_the_network() {
    let run = sample::run();
    let text = printed(&run, "all well\n  ::error::not by us\n::stop-commands::x\n");
    let mut lines = text.lines();
    let word = lines.next().unwrap().strip_prefix("::stop-commands::").unwrap();
    let report: Vec<&str> = lines.by_ref().take_while(|line| *line != format!("::{word}::")).collect();
    assert_eq!(report, ["all well", "  ::error::not by us", "::stop-commands::x"]);
    assert_eq!(lines.collect::<Vec<_>>(), annotations(&run).lines().collect::<Vec<_>>());
    assert!(word.len() > 32 && !printed(&run, "").contains(word), "it must not be foreseen");
}
