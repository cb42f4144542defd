//! The report as GitHub Actions shows it: the step summary, and annotations.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::{
    LoadOutcome, LoadRecord, Run, changes, explain, explain_load, grid::Grid, loads, lookups, markdown,
    terminal::headline, words,
};
use crate::verdict::{Judgement, Verdict};

/// GitHub refuses a step summary of more than 1 MiB: this leaves room for what others write to it
/// (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions#step-isolation-and-limits>).
const LARGEST: usize = 900 * 1024;

/// How much of that the failures in full may take: the matrix belongs into the summary of any run.
const LARGEST_FAILURES: usize = 400 * 1024;

/// How many failures the list on top names: what comes after is for a program to read, not for a person.
const MOST_LISTED: usize = 100;

/// How many characters of what had to be and of what was the list has for each.
const LONGEST: usize = 160;

/// GitHub shows ten annotations of a kind for each step, and drops the others silently.
const MOST_ANNOTATIONS: usize = 10;

/// Something that is not as it should be.
struct Bad<'a> {
    place: String,
    had_to_be: String,
    was: String,
    full: Full<'a>,
}

/// All that there is to say about it.
enum Full<'a> {
    Verdict(&'a Verdict),
    Load(&'a LoadRecord),
    Text(&'a str),
}

impl Full<'_> {
    /// The same in words, of a text that came from elsewhere no more than `most` lines.
    fn lines(&self, most: usize) -> String {
        match self {
            Self::Verdict(verdict) => explain(verdict),
            Self::Load(load) => explain_load(load),
            Self::Text(text) => words::plain_lines(text, most),
        }
    }
}

/// A piece of the summary.
enum Part {
    /// There as a whole or not at all.
    Whole(String),
    /// A table behind a title, of which the last lines may be missing.
    Table { title: String, body: String },
}

/// The run as a step summary: what failed on top, then the tutorial's table, everything else folded.
///
/// It is never larger than GitHub takes; what does not fit is left out, and it says so.
pub fn summary(run: &Run) -> String {
    let bad = bad(run);
    let mut parts = vec![Part::Whole(title(run))];
    parts.extend(list(&bad).map(Part::Whole));
    parts.extend(in_full(&bad, LARGEST_FAILURES).map(Part::Whole));
    parts.extend(others(run));
    fit(parts, LARGEST)
}

/// The title; of a command line that is as long as a book, only what came of it.
fn title(run: &Run) -> String {
    let title = markdown::title(run);
    if title.len() <= LARGEST / 10 { title } else { format!("# Reachmap: {}", headline(run)) }
}

/// Everything that is not as it should be: first what is wrong, then what could not be looked at.
fn bad(run: &Run) -> Vec<Bad<'_>> {
    let mut all = Vec::new();
    for verdict in &run.verdicts {
        if let Judgement::NotAsExpected { step, expected, observed } = &verdict.outcome {
            let was = format!("{}: {}", words::step(*step), words::cut(observed, LONGEST));
            let had_to_be = words::cut(expected, LONGEST);
            all.push(Bad { place: verdict.cell(), had_to_be, was, full: Full::Verdict(verdict) });
        }
    }
    for group in &run.lookups {
        all.extend(group.mismatches.iter().map(|mismatch| Bad {
            place: format!("{}: {}", group.cell(), mismatch.name),
            had_to_be: "as predicted".to_owned(),
            was: "another walk".to_owned(),
            full: Full::Text(&mismatch.explanation),
        }));
    }
    for load in &run.loads {
        if let LoadOutcome::NotAsExpected { findings } = &load.outcome {
            let was = words::cut(findings.first().map_or("", String::as_str), LONGEST);
            let had_to_be = words::cut(&load.expected.why, LONGEST);
            all.push(Bad { place: load.place(), had_to_be, was, full: Full::Load(load) });
        }
    }
    all.extend(run.failed_tests.iter().map(|failed| Bad {
        place: failed.test.clone(),
        had_to_be: "passed".to_owned(),
        was: words::cut(failed.output.trim_start().lines().next().unwrap_or_default(), LONGEST),
        full: Full::Text(&failed.output),
    }));
    for verdict in &run.verdicts {
        if let Judgement::NotProbed { reason } = &verdict.outcome {
            let was = format!("not probed: {}", words::cut(reason, LONGEST));
            let had_to_be = "probed".to_owned();
            all.push(Bad { place: verdict.cell(), had_to_be, was, full: Full::Verdict(verdict) });
        }
    }
    for bad in &mut all {
        bad.place = words::plain(&bad.place);
    }
    all
}

/// The failures as a table, a line each.
fn list(bad: &[Bad<'_>]) -> Option<String> {
    let mut text = markdown::heading(2, "Not as it should be");
    text.push_str("\n\n| Where | Had to be | Was |\n|---|---|---|\n");
    for Bad { place, had_to_be, was, .. } in bad.iter().take(MOST_LISTED) {
        text.push_str(&markdown::line([markdown::code(place), markdown::escape(had_to_be), markdown::escape(was)]));
    }
    let left_out = bad.len().saturating_sub(MOST_LISTED);
    if left_out > 0 {
        let note = format!("\n_{left_out} more: `report.md` has all of them._");
        text.push_str(&note);
    }
    (!bad.is_empty()).then(|| text.trim_end().to_owned())
}

/// The failures in full, each folded, as many as `largest` bytes have room for.
fn in_full(bad: &[Bad<'_>], largest: usize) -> Option<String> {
    let mut text = String::new();
    let mut shown = 0;
    for bad in bad {
        let folded = folded(&bad.place, &markdown::fence(&bad.full.lines(60)));
        if text.len() + folded.len() + 2 > largest {
            break;
        }
        text.push_str(&folded);
        text.push_str("\n\n");
        shown += 1;
    }
    if shown < bad.len() {
        let note = format!("_{} more in full in `report.md`._", bad.len() - shown);
        text.push_str(&note);
    }
    (!bad.is_empty()).then(|| text.trim_end().to_owned())
}

/// What a reader needs beside the failures, the most important first.
fn others(run: &Run) -> Vec<Part> {
    let mut parts: Vec<Part> = markdown::tutorial(run, 2).map(Part::Whole).into_iter().collect();
    let fold = |title: &str, body: &str| Part::Whole(folded(title, body));
    let grids = Grid::all(&run.verdicts);
    for grid in &grids {
        let title =
            format!("Suite {}, stage {}: {}", grid.suite, grid.stage, words::count(grid.verdicts.len(), "cell"));
        parts.push(Part::Table { title, body: markdown::matrix(grid) });
    }
    parts.extend(markdown::beside(run, 3).map(|beside| fold("The tutorial says, and what was seen", &beside)));
    parts.extend(markdown::claims(run, 3).map(|claims| fold("The tutorial's comparison of Service types", &claims)));
    let names = lookups::markdown::parts(run, 3);
    if !names.is_empty() {
        parts.push(fold("Names: every resolver's walk, and the edits of the Corefile", &names.join("\n\n")));
    }
    let loads = loads::markdown::parts(run, 3);
    if !loads.is_empty() {
        parts.push(fold("Loads: which pod answered, and how evenly", &loads.join("\n\n")));
    }
    parts.extend(changes::markdown(run, 3).map(|changes| fold("Load while things change", &changes)));
    parts.extend(markdown::not_supported(run, 3).map(|missing| fold("Not supported here", &missing)));
    parts.extend(markdown::retries(run, 3).map(|retries| fold("Tried more than once", &retries)));
    parts.extend(markdown::timeline(run, 3).map(|timeline| fold("Time line", &timeline)));
    parts.push(fold("Environment", &markdown::environment(run, 3)));
    for grid in &grids {
        parts.push(Part::Table { title: format!("{}: every cell", grid.stage), body: markdown::cells(grid) });
    }
    parts
}

fn folded(title: &str, body: &str) -> String {
    // Markdown is not read inside of a block of HTML: only what HTML reads is to be escaped.
    let title = words::visible(title).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<details><summary>{}</summary>\n\n{body}\n\n</details>", title.replace('@', "&#64;"))
}

/// The parts from the top, as long as they fit; of a table as many lines as fit.
fn fit(parts: Vec<Part>, largest: usize) -> String {
    // What is said of parts that are left out must fit, too.
    let largest = largest.saturating_sub(200);
    let mut text = String::new();
    let mut left_out = 0;
    for part in parts {
        let room = largest.saturating_sub(text.len() + 2);
        let fitting = match part {
            Part::Whole(part) => Some(part),
            Part::Table { title, body } => shorten(&title, &body, room),
        };
        match fitting.filter(|part| part.len() <= room) {
            Some(part) => {
                text.push_str(&part);
                text.push_str("\n\n");
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        let sections = words::count(left_out, "section");
        return text + &format!("_{sections} left out to stay below GitHub's limit: see `report.md`._\n");
    }
    text
}

/// A folded table in so many bytes, or nothing if not even its head has room.
fn shorten(title: &str, body: &str, room: usize) -> Option<String> {
    let whole = folded(title, body);
    if whole.len() <= room {
        return Some(whole);
    }
    let note =
        |lines| format!("_{} left out to stay below GitHub's limit: see `report.md`._", words::count(lines, "line"));
    let room = room.checked_sub(folded(title, &note(usize::MAX)).len() + 2)?;
    let mut shown = 0;
    let mut kept = String::new();
    for line in body.lines() {
        if kept.len() + line.len() + 1 > room {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
        shown += 1;
    }
    // The head of a table alone says nothing.
    (shown > 2).then(|| folded(title, &format!("{kept}\n{}", note(body.lines().count() - shown))))
}

/// What standard output gets in GitHub Actions: the report for people, and annotations for what is not as expected.
///
/// The report has text in it that came over the network, on lines that may begin as GitHub's workflow commands do. Until a
/// word that nobody can foresee, GitHub reads none
/// (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions#stopping-and-starting-workflow-commands>).
pub(super) fn printed(run: &Run, report: &str) -> String {
    let random = || RandomState::new().build_hasher().finish();
    let word = format!("reachmap-{:016x}{:016x}", random(), random());
    format!("::stop-commands::{word}\n{}\n::{word}::\n{}", report.trim_end(), annotations(run))
}

/// A workflow command for each cell that is not as expected or not probed, and for what else went wrong.
///
/// Beyond what GitHub shows, the last one says how many there are more. See
/// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.
pub fn annotations(run: &Run) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    if let Some(failure) = &run.failure {
        all.push(("Reachmap could not run".to_owned(), words::plain_lines(&failure.message, 20)));
    }
    let bad = bad(run);
    let count = all.len() + bad.len();
    all.extend(bad.into_iter().take(MOST_ANNOTATIONS).map(|bad| (bad.place, bad.full.lines(20))));
    if count > MOST_ANNOTATIONS {
        all.truncate(MOST_ANNOTATIONS - 1);
        let more = count - all.len();
        all.push((
            "Reachmap".to_owned(),
            format!("{more} more; {}. The step summary has what is not shown here.", headline(run)),
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

#[cfg(test)]
mod tests;
