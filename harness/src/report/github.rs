//! The report as GitHub Actions shows it: the step summary, and annotations.

use super::{Run, explain, explain_load, grid::Grid, loads, lookups, markdown, terminal::headline, words};
use crate::verdict::Verdict;

/// GitHub refuses a step summary of more than 1 MiB: this leaves room for what others write to it.
const LARGEST: usize = 900 * 1024;

/// GitHub shows ten annotations of a kind for each step, and drops the others silently.
const MOST_ANNOTATIONS: usize = 10;

/// The run as a step summary: what failed on top, then the tutorial's table, everything else folded.
///
/// It is never larger than GitHub takes; what does not fit is left out, and it says so.
pub fn summary(run: &Run) -> String {
    fit(parts(run), LARGEST)
}

fn parts(run: &Run) -> Vec<String> {
    let mut parts = vec![markdown::title(run)];
    parts.extend(markdown::failures(run, 2));
    parts.extend(markdown::tutorial(run, 2));
    parts.extend(markdown::beside(run, 3).map(|beside| folded("The tutorial says, and what was seen", &beside)));
    parts.extend(markdown::claims(run, 3).map(|claims| folded("The tutorial's comparison of Service types", &claims)));
    for grid in Grid::all(&run.verdicts) {
        let title =
            format!("Suite {}, stage {}: {}", grid.suite, grid.stage, words::count(grid.verdicts.len(), "cell"));
        parts.push(folded(&title, &markdown::matrix(&grid)));
        parts.push(folded(&format!("{}: every cell", grid.stage), &markdown::cells(&grid)));
    }
    let names = lookups::markdown::parts(run, 3);
    if !names.is_empty() {
        parts.push(folded("Names: every resolver's walk, and the edits of the Corefile", &names.join("\n\n")));
    }
    let loads = loads::markdown::parts(run, 3);
    if !loads.is_empty() {
        parts.push(folded("Loads: which pod answered, and how evenly", &loads.join("\n\n")));
    }
    parts.extend(markdown::not_supported(run, 3));
    parts.extend(markdown::retries(run, 3).map(|retries| folded("Tried more than once", &retries)));
    parts.extend(markdown::timeline(run, 3).map(|timeline| folded("Time line", &timeline)));
    parts.push(folded("Environment", &markdown::environment(run, 3)));
    parts
}

fn folded(title: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n\n{body}\n\n</details>", markdown::escape(title))
}

/// Whole parts, from the top, as long as they fit.
pub(super) fn fit(parts: Vec<String>, largest: usize) -> String {
    let mut text = String::new();
    let mut left_out = 0;
    for part in parts {
        if text.len() + part.len() + 2 <= largest {
            text.push_str(&part);
            text.push_str("\n\n");
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let sections = words::count(left_out, "section");
        return text + &format!("_{sections} left out to stay below GitHub's limit: see `report.md`._\n");
    }
    text
}

/// A workflow command for each cell that is not as expected or not probed, and for what else went wrong.
///
/// See <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.
pub fn annotations(run: &Run) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    if let Some(failure) = &run.failure {
        all.push(("Reachmap could not run".to_owned(), words::plain_lines(&failure.message, 20)));
    }
    let bad = |verdict: &&Verdict| {
        verdict.is_not_as_expected() || matches!(verdict.outcome, crate::verdict::Judgement::NotProbed { .. })
    };
    all.extend(run.verdicts.iter().filter(bad).map(|verdict| (words::visible(&verdict.cell()), explain(verdict))));
    for group in &run.lookups {
        all.extend(group.mismatches.iter().map(|mismatch| {
            let title = format!("{}: {}", group.cell(), words::visible(&mismatch.name));
            (title, words::plain_lines(&mismatch.explanation, 20))
        }));
    }
    let loads = run.loads.iter().filter(|load| load.is_not_as_expected());
    all.extend(loads.map(|load| (words::visible(&load.place()), explain_load(load))));
    all.extend(
        run.failed_tests.iter().map(|failed| (words::visible(&failed.test), words::plain_lines(&failed.output, 20))),
    );
    let left_out = all.len().saturating_sub(MOST_ANNOTATIONS);
    if left_out > 0 {
        all.truncate(MOST_ANNOTATIONS - 1);
        all.push((
            "Reachmap".to_owned(),
            format!("{} more; {}. The step summary has all of them.", left_out + 1, headline(run)),
        ));
    }
    let lines = all.iter().map(|(title, message)| format!("::error title={}::{}", property(title), data(message)));
    lines.map(|line| line + "\n").collect()
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
