//! `report.md`: what failed first, then the tutorial's table, then everything.

use super::{
    Row, Run, changes, explain,
    grid::{Grid, Mark},
    loads, lookups, other_tests,
    terminal::headline,
    words,
};
use crate::{
    claims::{ClaimOutcome, ClaimVerdict, Column},
    matrix::RowOutcome,
    progress::StepEnd,
    state::ServiceType,
    verdict::{Judgement, Verdict},
};

/// The run as Markdown.
pub fn markdown(run: &Run) -> String {
    let mut parts = vec![title(run)];
    parts.extend(failures(run, 2));
    parts.extend(tutorial(run, 2));
    parts.extend(claims(run, 2));
    parts.extend(beside(run, 2));
    for grid in Grid::all(&run.verdicts) {
        parts.push(format!("## Suite {}, stage {}", code(grid.suite), code(grid.stage)));
        parts.push(matrix(&grid));
        parts.push(cells(&grid));
    }
    parts.extend(lookups::markdown::parts(run, 2));
    parts.extend(loads::markdown::parts(run, 2));
    parts.extend(changes::markdown(run, 2));
    parts.extend(not_supported(run, 2));
    parts.extend(retries(run, 2));
    parts.extend(timeline(run, 2));
    parts.push(environment(run, 2));
    parts.join("\n\n") + "\n"
}

/// The heading, and the run in a sentence.
pub(super) fn title(run: &Run) -> String {
    let with = if run.options.is_empty() { String::new() } else { format!(", with {}", code(&run.options.join(" "))) };
    let mut parts = vec![
        format!("# Reachmap: {}", headline(run)),
        format!("Run {}, started {}{with}.", code(&run.id), run.started),
    ];
    if let Some(failure) = &run.failure {
        parts.push("**The run could not be carried out to its end.**".to_owned());
        parts.push(fence(&words::plain_lines(&failure.message, 60)));
        parts.extend(failure.hint.as_deref().map(escape));
    }
    parts.join("\n\n")
}

/// Everything that is not as it should be, in full; `level` is that of its headings.
pub(super) fn failures(run: &Run, level: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let marked = |mark: Mark| run.verdicts.iter().filter(move |verdict| Mark::of(verdict) == mark);
    for (mark, name) in [(Mark::Wrong, "Not as expected"), (Mark::NotProbed, "Not probed")] {
        let verdicts: Vec<&Verdict> = marked(mark).collect();
        if !verdicts.is_empty() {
            parts.push(heading(level, name));
        }
        for verdict in verdicts {
            parts.push(format!("{}\n\n{}", heading(level + 1, &code(&verdict.cell())), fence(&explain(verdict))));
        }
    }
    parts.extend(lookups::markdown::failures(run, level));
    parts.extend(loads::markdown::failures(run, level));
    if !run.failed_tests.is_empty() {
        parts.push(heading(level, "Tests that failed for another reason"));
    }
    for failed in &run.failed_tests {
        let output = fence(&words::plain_lines(&failed.output, 60));
        parts.push(format!("{}\n\n{output}", heading(level + 1, &code(&failed.test))));
    }
    parts
}

/// The tutorial's table, with what was seen here.
pub(super) fn tutorial(run: &Run, level: usize) -> Option<String> {
    if run.tutorial.is_empty() {
        return None;
    }
    let mut text = heading(level, "The tutorial's table, as seen here");
    text.push_str(
        "\n\n| Source | Can access? | Method | Why? | Observed | The tutorial |\n|---|---|---|---|---|---|\n",
    );
    for row in &run.tutorial {
        let verdicts: Vec<&Verdict> = row.row.cells.iter().filter_map(|cell| run.verdict(&cell.id())).collect();
        text.push_str(&line([
            escape(&row.row.source),
            can_access(&verdicts).to_owned(),
            each(&verdicts, |verdict| {
                verdict.expectation.as_ref().map(|expectation| code(&format!("curl http://{}/", expectation.target)))
            }),
            each(&verdicts, |verdict| verdict.expectation.as_ref().map(|expectation| escape(&expectation.why()))),
            each(&verdicts, |verdict| Some(format!("{}: {}", code(&verdict.vantage.id), escape(&observed(verdict))))),
            tutorial_says(row),
        ]));
    }
    Some(text.trim_end().to_owned())
}

fn tutorial_says(row: &Row) -> String {
    match row.outcome {
        RowOutcome::Confirmed => "✓ confirmed".to_owned(),
        RowOutcome::NotShown => "? not shown here".to_owned(),
        RowOutcome::Refuted => {
            format!("! refuted: it says {}, “{}”", if row.row.can_access { "yes" } else { "no" }, escape(&row.row.why))
        }
    }
}

pub(super) fn can_access(verdicts: &[&Verdict]) -> &'static str {
    let mut reached: Vec<bool> = verdicts.iter().filter_map(|verdict| verdict.is_reached()).collect();
    reached.sort_unstable();
    reached.dedup();
    match reached[..] {
        [true] => "✅ Yes",
        [false] => "❌ No",
        [] => "not shown",
        _ => "❌ Not everywhere",
    }
}

/// The comparison of the Service types, field by field.
pub(super) fn claims(run: &Run, level: usize) -> Option<String> {
    if run.claims.is_empty() {
        return None;
    }
    let mut text = heading(level, "The tutorial's comparison of Service types");
    text.push_str("\n\n| Type | | The tutorial says | Holds? | Cells |\n|---|---|---|---|---|\n");
    for ClaimVerdict { claim, outcome } in &run.claims {
        let holds = match outcome {
            ClaimOutcome::Holds => "✓ holds".to_owned(),
            ClaimOutcome::Fails { because } => format!("! does not hold: {}", escape(because)),
            ClaimOutcome::NotShown { cell } => {
                format!("? not shown: {} was not judged", code(cell))
            }
        };
        let column = match claim.column {
            Column::UseCase => "Use case",
            Column::HowItWorks => "How it works",
            Column::WhenToUse => "When to use",
        };
        let mut cells: Vec<String> = claim.evidence.iter().map(|evidence| code(&evidence.cell.id())).collect();
        cells.dedup();
        text.push_str(&line([
            service_type(claim.service_type).to_owned(),
            column.to_owned(),
            escape(&claim.text),
            holds,
            cells.join("<br>"),
        ]));
    }
    Some(text.trim_end().to_owned())
}

/// What the tutorial says elsewhere, beside what tests saw of it.
pub(super) fn beside(run: &Run, level: usize) -> Option<String> {
    if run.beside.is_empty() {
        return None;
    }
    let mut text = heading(level, "The tutorial says, and what was seen");
    text.push_str("\n\n| The tutorial says | Holds? | What was seen | Where |\n|---|---|---|---|\n");
    for beside in &run.beside {
        let place = code(&format!("{}: {}", beside.place, beside.id));
        text.push_str(&line([escape(&beside.says), beside.holds.words().to_owned(), escape(&beside.seen), place]));
    }
    Some(text.trim_end().to_owned())
}

const fn service_type(kind: ServiceType) -> &'static str {
    match kind {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
        ServiceType::ExternalName => "ExternalName",
    }
}

/// The matrix in symbols.
pub(super) fn matrix(grid: &Grid<'_>) -> String {
    let mut text = line(std::iter::once(String::new()).chain(grid.vantages.iter().map(|vantage| code(vantage))));
    text.push_str(&line(std::iter::once("---").chain(grid.vantages.iter().map(|_| ":-:")).map(str::to_owned)));
    for method in &grid.methods {
        let marks = grid.vantages.iter().map(|vantage| {
            grid.cell(vantage, method).map_or_else(String::new, |verdict| Mark::of(verdict).symbol().to_owned())
        });
        text.push_str(&line(std::iter::once(code(method)).chain(marks)));
    }
    let used = Mark::ALL.into_iter().filter(|mark| grid.verdicts.iter().any(|verdict| Mark::of(verdict) == *mark));
    let legend: Vec<String> = used.map(|mark| format!("{} {}", mark.symbol(), mark.words())).collect();
    format!("{text}\n{}", legend.join(" · "))
}

/// Every cell of the matrix, a row each.
pub(super) fn cells(grid: &Grid<'_>) -> String {
    let mut text =
        "| | Source | Can access? | Method | Request | Why? | Observed |\n|:-:|---|---|---|---|---|---|\n".to_owned();
    for verdict in &grid.verdicts {
        let expectation = verdict.expectation.as_ref();
        let why = match &verdict.outcome {
            Judgement::NotSupported { reason } => escape(reason),
            Judgement::NotProbed { reason } => escape(&words::plain(reason)),
            _ => expectation.map_or_else(String::new, |expectation| escape(&expectation.why())),
        };
        text.push_str(&line([
            Mark::of(verdict).symbol().to_owned(),
            code(&verdict.vantage.id),
            can_access(&[verdict]).to_owned(),
            code(&verdict.method.id),
            expectation.map_or_else(String::new, |expectation| code(&format!("http://{}/", expectation.target))),
            why,
            escape(&observed(verdict)),
        ]));
    }
    text.trim_end().to_owned()
}

fn observed(verdict: &Verdict) -> String {
    verdict.observation.as_ref().map_or_else(|| "nothing was sent".to_owned(), words::outcome)
}

/// The cells that are not supported here, by what is missing.
pub(super) fn unsupported(run: &Run) -> Vec<(&str, Vec<&Verdict>)> {
    let mut reasons: Vec<(&str, Vec<&Verdict>)> = Vec::new();
    for verdict in &run.verdicts {
        let Judgement::NotSupported { reason } = &verdict.outcome else {
            continue;
        };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, verdicts)) => verdicts.push(verdict),
            None => reasons.push((reason, vec![verdict])),
        }
    }
    reasons
}

pub(super) fn not_supported(run: &Run, level: usize) -> Option<String> {
    let line = |reason: &str, names: Vec<String>| format!("- {}: {}", escape(reason), names.join(", "));
    let cells = unsupported(run)
        .into_iter()
        .map(|(reason, verdicts)| line(reason, verdicts.iter().map(|verdict| code(&verdict.cell())).collect()));
    let tests = other_tests::unsupported(run)
        .into_iter()
        .map(|(reason, tests)| line(reason, tests.iter().map(|test| code(&test.test)).collect()));
    let lines: Vec<String> = cells.chain(tests).collect();
    (!lines.is_empty()).then(|| format!("{}\n\n{}", heading(level, "Not supported here"), lines.join("\n")))
}

pub(super) fn retries(run: &Run, level: usize) -> Option<String> {
    if run.retries.is_empty() {
        return None;
    }
    let mut text = format!("{}\n\n| What | Times | Why |\n|---|--:|---|\n", heading(level, "Tried more than once"));
    for retry in &run.retries {
        text.push_str(&line([escape(&retry.what), retry.times.to_string(), escape(&words::plain(&retry.why))]));
    }
    Some(text.trim_end().to_owned())
}

pub(super) fn timeline(run: &Run, level: usize) -> Option<String> {
    if run.timeline.is_empty() {
        return None;
    }
    let mut steps: Vec<_> = run.timeline.iter().collect();
    steps.sort_by(|a, b| a.start_seconds.total_cmp(&b.start_seconds));
    let mut text = format!("{}\n\n| From | Took | Step | |\n|--:|--:|---|---|\n", heading(level, "Time line"));
    for step in steps {
        let end = match step.end {
            StepEnd::Done => "done",
            StepEnd::Cached => "cached",
            StepEnd::Failed => "**failed**",
        };
        text.push_str(&line([
            words::seconds(step.start_seconds),
            words::seconds(step.seconds),
            escape(&step.title),
            end.to_owned(),
        ]));
    }
    Some(text.trim_end().to_owned())
}

pub(super) fn environment(run: &Run, level: usize) -> String {
    let mut text = format!("{}\n\n| | |\n|---|---|\n", heading(level, "Environment"));
    text.push_str(&line(["Reachmap".to_owned(), escape(&run.reachmap)]));
    for (name, value) in run.environment.lines() {
        text.push_str(&line([escape(name), escape(&value)]));
    }
    text.trim_end().to_owned()
}

/// What is said of each verdict, each thing once.
fn each(verdicts: &[&Verdict], said: impl Fn(&Verdict) -> Option<String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for text in verdicts.iter().filter_map(|verdict| said(verdict)) {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join("<br>")
}

pub(super) fn heading(level: usize, text: &str) -> String {
    format!("{} {text}", "#".repeat(level))
}

pub(super) fn line(fields: impl IntoIterator<Item = String>) -> String {
    let fields: Vec<String> = fields.into_iter().collect();
    format!("| {} |\n", fields.join(" | "))
}

/// Text that stays text in Markdown: also in a table, and also where HTML is allowed.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in words::visible(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '$' => escaped.extend(['\\', c]),
            // GitHub would notify whoever happens to have that name.
            '@' => escaped.push_str("&#64;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as code, in one line.
pub(super) fn code(text: &str) -> String {
    let text = words::visible(text);
    if text.is_empty() {
        String::new()
    } else if text.contains(['`', '|', '\\']) {
        // A code span cannot hold these everywhere; entities can.
        let entities: String = text
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || " -./:".contains(c) { c.to_string() } else { format!("&#{};", u32::from(c)) }
            })
            .collect();
        format!("<code>{entities}</code>")
    } else {
        format!("`{text}`")
    }
}

/// Text of several lines as a block of code that nothing in it can end.
pub(super) fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}
