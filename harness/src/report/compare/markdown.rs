//! A comparison as Markdown.

use super::{Comparison, Said};
use crate::report::markdown::{code, escape, heading, line};

/// A table for each subject: what it is, and what both runs say of it.
pub(super) fn markdown(comparison: &Comparison) -> String {
    let [a, b] = comparison.runs.each_ref().map(|id| code(id));
    let mut parts = vec![heading(1, &format!("Reachmap: {}", comparison.headline())), format!("A is {a}, B is {b}.")];
    if !comparison.environment.is_empty() {
        let rows = comparison.environment.iter().map(|(name, [a, b])| line([escape(name), escape(a), escape(b)]));
        parts.push(format!("{}\n\n{}", heading(2, "They ran on"), table(["", "A", "B"], rows)));
    }
    for (subject, differences) in comparison.by_subject() {
        let rows = differences.into_iter().map(|difference| {
            let [a, b] = difference.said.each_ref().map(|said| cell(said.as_ref()));
            line([code(&difference.name), a, b])
        });
        parts.push(format!("{}\n\n{}", heading(2, subject.heading()), table(["", "A", "B"], rows)));
    }
    parts.join("\n\n")
}

fn table(names: [&str; 3], rows: impl Iterator<Item = String>) -> String {
    let head = line(names.map(str::to_owned)) + "|---|---|---|\n";
    (head + &rows.collect::<String>()).trim_end().to_owned()
}

fn cell(said: Option<&Said>) -> String {
    let Some(Said { verdict, reason }) = said else { return "nothing".to_owned() };
    let reason = reason.lines().map(escape).collect::<Vec<_>>().join("<br>");
    let between = if reason.is_empty() { "" } else { "<br>" };
    format!("**{}**{between}{reason}", escape(verdict))
}
