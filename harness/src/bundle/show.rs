//! A bundle, and what it explains, as a person or a program reads it.

use std::fmt::Write as _;

use super::{Again, Bearing, Bundle, Explained, Explanation};
use crate::{
    model::Expectation,
    report::{
        explain,
        terminal::{Look, paint_first_line},
        words,
    },
    verdict::Judgement,
};

/// How many characters of a line from a bundle are shown.
const LONGEST: usize = 220;

/// An explanation for a person, with colours where the terminal has them.
pub fn show(explanation: &Explanation) -> String {
    text(explanation, Look::of_stdout())
}

/// What is in a bundle and what is not, for a person.
pub fn list(bundle: &Bundle) -> String {
    let manifest = &bundle.manifest;
    let mut lines = vec![format!(
        "the run {}, written {} by Reachmap {}",
        words::visible(&manifest.run),
        manifest.written,
        words::visible(&manifest.reachmap)
    )];
    for part in &manifest.parts {
        let cut = part.cut.iter().map(|cut| format!("; left out: {}", words::visible(cut)));
        let scrubbed =
            (part.scrubbed > 0).then(|| format!("; {} taken for secrets", words::count(part.scrubbed, "passage")));
        let more: String = cut.chain(scrubbed).collect();
        lines.push(format!(
            "{:>9}  {}  ({}{more})",
            part.bytes,
            words::visible(&part.path),
            words::visible(&part.about)
        ));
    }
    for missing in &manifest.missing {
        lines.push(format!("  missing  {}: {}", words::visible(&missing.path), words::plain_lines(&missing.why, 2)));
    }
    lines.join("\n")
}

/// The same with colours or without.
pub(super) fn text(explanation: &Explanation, look: Look) -> String {
    let mut parts = vec![format!(
        "the run {}, recorded by Reachmap {}, explained by {}",
        words::visible(&explanation.run),
        words::visible(&explanation.recorded_by),
        explanation.explained_by
    )];
    parts.extend(explanation.cells.iter().map(|cell| explained(cell, look)));
    parts.extend(explanation.others.iter().cloned());
    if !explanation.others.is_empty() {
        parts.push("What is not a cell is shown as it was recorded: it is not derived again.".to_owned());
    }
    parts.push(paint(&headline(explanation), "1", look));
    parts.join("\n\n")
}

fn headline(explanation: &Explanation) -> String {
    let derived = explanation.same + explanation.different;
    let mut text = match explanation.different {
        0 => format!(
            "{} derived again from the recorded state: every verdict is the same",
            words::count(derived, "cell")
        ),
        different => format!(
            "{} derived again from the recorded state: {} not as recorded",
            words::count(derived, "cell"),
            if different == 1 { "1 is".to_owned() } else { format!("{different} are") }
        ),
    };
    if explanation.not_derived > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, ", {} could not be derived", explanation.not_derived);
    }
    text
}

fn explained(cell: &Explained, look: Look) -> String {
    let mut lines = vec![paint_first_line(&explain(&cell.recorded), look)];
    let line = |name: &str, text: &str| format!("  {name:<11}{text}");
    match &cell.again {
        Again::Same => lines.push(line("again", "the same, derived from the recorded state")),
        Again::NotDerived { why } => lines.push(line("again", &format!("not derived: {}", words::plain_lines(why, 3)))),
        Again::Different { expectation, outcome } => lines.extend(
            difference(cell, expectation, outcome)
                .into_iter()
                .enumerate()
                .map(|(number, text)| line(if number == 0 { "again" } else { "" }, &text)),
        ),
    }
    let mut name = "bundle";
    for Bearing { what, path, lines: found } in &cell.bearing {
        let where_it_is = path.splitn(3, '/').nth(2).unwrap_or(path);
        lines.push(line(name, &format!("{} ({})", words::visible(what), words::visible(where_it_is))));
        lines.extend(found.iter().map(|found| line("", &format!("  {}", words::cut(found, LONGEST)))));
        name = "";
    }
    lines.join("\n")
}

/// What is different now: in the expectation, or only in the judgement.
fn difference(cell: &Explained, now: &Expectation, outcome: &Judgement) -> Vec<String> {
    let mut lines = Vec::new();
    let reachable = |reachable: bool| if reachable { "reachable" } else { "not reachable" };
    let recorded = cell.recorded.expectation.as_ref().filter(|recorded| *recorded != now);
    if let Some(recorded) = recorded {
        lines.push("NOT THE SAME: the expectation is another one now".to_owned());
        lines.push(format!("now: {}. {}", reachable(now.reachable), words::visible(&now.why())));
        let only = |one: &Expectation, other: &Expectation, mark: &str| -> Vec<String> {
            let facts = one.facts.iter().filter(|fact| !other.facts.contains(fact));
            facts.map(|fact| format!("{mark} {}", words::fact(fact))).collect()
        };
        lines.extend(only(recorded, now, "-"));
        lines.extend(only(now, recorded, "+"));
    } else {
        lines.push("NOT THE SAME: the same expectation is judged otherwise now".to_owned());
    }
    lines.push(match outcome {
        Judgement::AsExpected => "judged now: as expected".to_owned(),
        Judgement::NotAsExpected { step, expected, observed } => format!(
            "judged now: not as expected at {}: had to be {}, was {}",
            words::step(*step),
            words::plain(expected),
            words::plain(observed)
        ),
        Judgement::NotSupported { reason } | Judgement::NotProbed { reason } => {
            format!("judged now: {}", words::plain(reason))
        }
    });
    lines
}

fn paint(text: &str, code: &str, look: Look) -> String {
    if look.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
