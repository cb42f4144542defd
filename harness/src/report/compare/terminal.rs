//! A comparison as a terminal shows it.

use super::{Comparison, Difference, Said};
use crate::report::{terminal::Look, words};

/// The differences by subject, each with what both runs say, and the sum in a line.
pub(super) fn terminal(comparison: &Comparison, look: Look) -> String {
    let [a, b] = comparison.runs.each_ref().map(|id| words::visible(id));
    let mut parts = vec![format!("A  {a}\nB  {b}")];
    if !comparison.environment.is_empty() {
        let lines = comparison
            .environment
            .iter()
            .map(|(name, [a, b])| format!("  {}: {} → {}", words::visible(name), shown(a), shown(b)));
        parts.push(format!("they ran on\n{}", lines.collect::<Vec<_>>().join("\n")));
    }
    for (subject, differences) in comparison.by_subject() {
        let all: Vec<String> = differences.into_iter().map(|difference| one(difference, look)).collect();
        parts.push(format!("{}\n{}", bold(subject.heading(), look), all.join("\n")));
    }
    parts.push(bold(&comparison.headline(), look));
    parts.join("\n\n")
}

fn one(difference: &Difference, look: Look) -> String {
    let said = ["A", "B"].into_iter().zip(&difference.said).map(|(name, said)| match said {
        None => format!("    {name}  nothing is said of it"),
        Some(Said { verdict, reason }) if reason.is_empty() => format!("    {name}  {verdict}"),
        Some(Said { verdict, reason }) => format!("    {name}  {verdict}. {}", reason.replace('\n', "\n       ")),
    });
    let said: Vec<String> = said.collect();
    format!("  {}\n{}", paint(&difference.name, "31", look), said.join("\n"))
}

fn shown(value: &str) -> String {
    if value.is_empty() { "nothing".to_owned() } else { words::visible(value) }
}

fn bold(text: &str, look: Look) -> String {
    paint(text, "1", look)
}

fn paint(text: &str, code: &str, look: Look) -> String {
    if look.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
