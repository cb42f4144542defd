//! The report as a terminal shows it.

use std::{env, io::IsTerminal as _};

use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
    presets::UTF8_NO_BORDERS,
};

use super::{
    FailedTest, Holds, Run, changes, explain, github,
    grid::{Grid, Mark},
    loads, lookups, other_tests, words,
};
use crate::{colors, matrix::RowOutcome, verdict::Verdict};

/// The look of tables: a line below the header, and no more.
const TABLE: TableStyle = UTF8_NO_BORDERS.row_separator(LineStyle::none());

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How many columns there are.
    pub width: u16,
    /// Whether colours may be used.
    pub color: bool,
}

impl Look {
    /// Without a terminal, as in a log file.
    pub const PLAIN: Self = Self { width: 120, color: false };

    /// What standard output can show; `NO_COLOR` (<https://no-color.org>) and `CLICOLOR_FORCE` (<https://bixense.com/clicolors>)
    /// are honoured.
    pub fn of_stdout() -> Self {
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| Table::new().width()).unwrap_or(Self::PLAIN.width);
        Self { width: width.clamp(40, 400), color: colors::allowed(std::io::stdout().is_terminal()) }
    }
}

/// The run as standard output can show it; in GitHub Actions with annotations for what is not as expected.
pub fn terminal(run: &Run) -> String {
    let text = render(run, Look::of_stdout());
    if env::var_os("GITHUB_ACTIONS").is_some() { github::printed(run, &text) } else { text }
}

/// The run as a terminal of that look shows it: the matrix, then everything that is not as expected in full.
pub fn render(run: &Run, look: Look) -> String {
    let mut parts: Vec<String> = Vec::new();
    for grid in Grid::all(&run.verdicts) {
        parts.push(format!("{} · {}\n{}", words::visible(grid.suite), words::visible(grid.stage), table(&grid, look)));
    }
    if !run.verdicts.is_empty() {
        parts.push(legend(run));
    }
    let mut wrong: Vec<&Verdict> = run.verdicts.iter().filter(|verdict| Mark::of(verdict) == Mark::Wrong).collect();
    wrong.extend(run.verdicts.iter().filter(|verdict| Mark::of(verdict) == Mark::NotProbed));
    parts.extend(wrong.into_iter().map(|verdict| paint_first_line(&explain(verdict), look)));
    parts.extend(run.failed_tests.iter().map(|failed| failed_test(failed, look)));
    parts.extend(lookups::terminal::parts(run, look));
    parts.extend(loads::terminal::parts(run, look));
    parts.extend(changes::terminal(run));
    parts.extend(tutorial(run));
    parts.extend(beside(run));
    parts.extend(retries(run));
    parts.extend(unsupported(run));
    parts.push(summary(run, look));
    parts.join("\n\n") + "\n"
}

fn failed_test(failed: &FailedTest, look: Look) -> String {
    let head = format!("{}: the test failed", words::visible(&failed.test));
    let output = words::plain_lines(&failed.output, 40).replace('\n', "\n  ");
    paint_first_line(&format!("{head}\n  {output}"), look)
}

/// What failed beside the cells, each as a terminal without colours shows it: tests, lookups, loads, and the run as a whole.
pub(crate) fn other_failures(run: &Run) -> Vec<String> {
    let tests = run.failed_tests.iter().map(|failed| failed_test(failed, Look::PLAIN));
    let lookups = run.lookups.iter().flat_map(|group| {
        let cell = words::visible(&group.cell());
        let of = move |wrong: &super::Mismatch| {
            let name = words::visible(&wrong.name);
            let explained = words::plain_lines(&wrong.explanation, 40).replace('\n', "\n  ");
            format!("{cell}: {name} was not looked up as predicted\n  {explained}")
        };
        group.mismatches.iter().map(of)
    });
    let loads = run.loads.iter().filter(|load| load.is_not_as_expected()).map(super::explain_load);
    let failure = run.failure.iter().map(|failure| format!("the run: {}", words::plain_lines(&failure.message, 40)));
    tests.chain(lookups).chain(loads).chain(failure).collect()
}

/// An empty table of our look, no wider than the terminal.
pub(super) fn plain_table(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(TABLE).set_content_arrangement(ContentArrangement::Dynamic).set_width(look.width);
    if look.color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

fn table(grid: &Grid<'_>, look: Look) -> String {
    let mut table = plain_table(look);
    let name = |name: &&str| words::visible(name);
    let widest = |names: &[&str]| names.iter().map(|name| name.chars().count() + 3).max().unwrap_or_default();
    let all: usize = grid.vantages.iter().map(|name| name.chars().count() + 3).sum();
    // Where the vantages do not fit side by side, they break where a reader would break them.
    let narrow = widest(&grid.methods) + all > usize::from(look.width);
    let header = grid.vantages.iter().map(name).map(|name| if narrow { name.replace('-', "\n-") } else { name });
    let header = std::iter::once(String::new()).chain(header);
    table.set_header(header.map(|name| Cell::new(name).set_alignment(CellAlignment::Center)));
    for method in &grid.methods {
        let marks = grid.vantages.iter().map(|vantage| {
            let Some(mark) = grid.cell(vantage, method).map(Mark::of) else {
                return Cell::new("");
            };
            let cell = Cell::new(mark.symbol()).set_alignment(CellAlignment::Center);
            if look.color { cell.fg(color(mark)) } else { cell }
        });
        table.add_row(std::iter::once(Cell::new(name(method))).chain(marks));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if index == 0 && look.width >= 80 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else if narrow {
            column.set_padding((0, 0));
        }
    }
    table.trim_fmt()
}

const fn color(mark: Mark) -> Color {
    match mark {
        Mark::Reached => Color::Green,
        Mark::NotReached => Color::DarkGrey,
        Mark::Wrong => Color::Red,
        Mark::NotSupported => Color::Blue,
        Mark::NotProbed => Color::Magenta,
    }
}

fn legend(run: &Run) -> String {
    let used = |mark: &Mark| run.verdicts.iter().any(|verdict| Mark::of(verdict) == *mark);
    let used = Mark::ALL.into_iter().filter(used).map(|mark| format!("{} {}", mark.symbol(), mark.words()));
    used.collect::<Vec<_>>().join("   ")
}

pub(crate) fn paint_first_line(text: &str, look: Look) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if look.color => format!("\u{1b}[1;31m{first}\u{1b}[0m\n{rest}"),
        _ => text.to_owned(),
    }
}

/// How much of what the tutorial says holds, and what does not.
fn beside(run: &Run) -> Option<String> {
    let held = run.beside.iter().filter(|beside| beside.holds == Holds::Yes).count();
    let mut lines = vec![format!("tutorial: {held} of {} seen to hold", words::count(run.beside.len(), "statement"))];
    for beside in run.beside.iter().filter(|beside| beside.holds != Holds::Yes) {
        let (says, seen) = (words::visible(&beside.says), words::visible(&beside.seen));
        lines.push(format!("  {:<16}“{says}”: {seen}", beside.holds.words()));
    }
    (!run.beside.is_empty()).then(|| lines.join("\n"))
}

/// Only what a reader must know: rows that the run refutes or could not show.
fn tutorial(run: &Run) -> Option<String> {
    if run.tutorial.is_empty() {
        return None;
    }
    let confirmed = run.tutorial.iter().filter(|row| row.outcome == RowOutcome::Confirmed).count();
    let mut lines = vec![format!("tutorial: {confirmed} of {} confirmed", words::count(run.tutorial.len(), "row"))];
    for row in run.tutorial.iter().filter(|row| row.outcome != RowOutcome::Confirmed) {
        let word = if row.outcome == RowOutcome::Refuted { "refuted" } else { "not shown" };
        lines.push(format!("  {word:<11}{}", words::visible(&row.row.source)));
    }
    Some(lines.join("\n"))
}

fn retries(run: &Run) -> Option<String> {
    let line = |retry: &super::Retry| {
        format!("  {} ({} times): {}", words::visible(&retry.what), retry.times, words::plain(&retry.why))
    };
    let lines: Vec<String> = run.retries.iter().map(line).collect();
    (!lines.is_empty()).then(|| format!("tried more than once:\n{}", lines.join("\n")))
}

fn unsupported(run: &Run) -> Option<String> {
    let line = |reason: &str, count: usize, what: &str| {
        format!("  {} ({})", words::visible(reason), words::count(count, what))
    };
    let cells = super::markdown::unsupported(run);
    let cells = cells.into_iter().map(|(reason, cells)| line(reason, cells.len(), "cell"));
    let tests = other_tests::unsupported(run);
    let tests = tests.into_iter().map(|(reason, tests)| line(reason, tests.len(), "test"));
    let lines: Vec<String> = cells.chain(tests).collect();
    (!lines.is_empty()).then(|| format!("not supported here:\n{}", lines.join("\n")))
}

fn summary(run: &Run, look: Look) -> String {
    let color = if run.exit_code() == 0 { "32" } else { "31" };
    let text = headline(run);
    let mut lines = vec![if look.color { format!("\u{1b}[1;{color}m{text}\u{1b}[0m") } else { text }];
    if let Some(failure) = &run.failure {
        lines.push(format!("error: {}", words::plain_lines(&failure.message, 40)));
        lines.extend(failure.hint.as_deref().map(words::visible));
    }
    lines.join("\n")
}

/// The whole run in one line.
pub(super) fn headline(run: &Run) -> String {
    let counts = run.counts;
    let has_tests_alone = counts.total() + run.lookups.len() + run.loads.len() == 0;
    let mut parts = vec![match counts.total() {
        0 if !run.lookups.is_empty() => lookups_in_short(run),
        0 if !run.loads.is_empty() => loads_in_short(run),
        0 if !run.other_tests.is_empty() => format!("{} passed", words::count(other_tests::passed(run), "test")),
        0 => "no cell probed".to_owned(),
        total => format!("{} of {} as expected", counts.as_expected, words::count(total, "cell")),
    }];
    let others = [
        (counts.not_as_expected, "not as expected"),
        (counts.not_supported, "not supported here"),
        (counts.not_probed, "not probed"),
    ];
    parts.extend(others.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")));
    if counts.total() > 0 && !run.lookups.is_empty() {
        parts.push(lookups_in_short(run));
    }
    if counts.total() + run.lookups.len() > 0 && !run.loads.is_empty() {
        parts.push(loads_in_short(run));
    }
    let what = if has_tests_alone { "test" } else { "other test" };
    let passed = other_tests::passed(run);
    if passed > 0 && !has_tests_alone {
        parts.push(format!("{} passed", words::count(passed, what)));
    }
    if !run.failed_tests.is_empty() {
        parts.push(format!("{} failed", words::count(run.failed_tests.len(), "other test")));
    }
    if run.other_tests.len() > passed {
        parts.push(format!("{} not supported here", words::count(run.other_tests.len() - passed, what)));
    }
    if run.failure.is_some() {
        parts.push("the run could not be carried out to its end".to_owned());
    }
    let took = run.seconds().map_or_else(String::new, |seconds| format!(" in {}", words::seconds(seconds)));
    format!("{}{took}", parts.join(", "))
}

fn lookups_in_short(run: &Run) -> String {
    let sum = lookups::Sum::of(&run.lookups);
    format!("{} of {} as predicted", sum.as_predicted, words::count(sum.lookups, "lookup"))
}

fn loads_in_short(run: &Run) -> String {
    let expected = run.loads.iter().filter(|load| load.is_as_expected()).count();
    let wrong = run.loads.iter().filter(|load| load.is_not_as_expected()).count();
    let judged = expected + wrong;
    let others = match run.loads.len() - judged {
        0 => String::new(),
        others => format!(" and {others} not judged"),
    };
    format!("{expected} of {} as expected{others}", words::count(judged, "load"))
}
