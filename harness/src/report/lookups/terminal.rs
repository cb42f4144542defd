//! The lookups as a terminal shows them.

use comfy_table::{Cell, CellAlignment, Color};

use super::{LookupGrid, LookupGroup, Sum, costs};
use crate::report::{
    Run,
    terminal::{Look, paint_first_line, plain_table},
    words,
};

/// A table for each Corefile, what did not go as predicted in full, the costs, and the sum in a sentence.
pub(in crate::report) fn parts(run: &Run, look: Look) -> Vec<String> {
    if run.lookups.is_empty() {
        return Vec::new();
    }
    let mut parts: Vec<String> = LookupGrid::all(&run.lookups)
        .iter()
        .map(|grid| format!("dns · {}\n{}", grid.stage, table(grid, look)))
        .collect();
    for group in &run.lookups {
        for mismatch in &group.mismatches {
            let explanation = words::plain_lines(&mismatch.explanation, 60).replace('\n', "\n  ");
            let head = format!("{}: {} did not go as predicted", group.cell(), words::visible(&mismatch.name));
            parts.push(paint_first_line(&format!("{head}\n  {explanation}"), look));
        }
    }
    parts.extend(cost_table(run, look));
    parts.push(format!("dns: {}", Sum::of(&run.lookups).sentence()));
    parts
}

fn table(grid: &LookupGrid<'_>, look: Look) -> String {
    let mut table = plain_table(look);
    table.set_header(std::iter::once("").chain(grid.configurations.iter().copied()));
    for resolver in &grid.resolvers {
        let fields = grid.configurations.iter().map(|configuration| match grid.group(configuration, resolver) {
            None => Cell::new(""),
            Some(group) => {
                let cell = Cell::new(LookupGrid::field(group)).set_alignment(CellAlignment::Center);
                if look.color { cell.fg(color(group)) } else { cell }
            }
        });
        table.add_row(std::iter::once(Cell::new(resolver)).chain(fields));
    }
    table.trim_fmt()
}

fn color(group: &LookupGroup) -> Color {
    match (&group.not_supported, group.is_as_predicted()) {
        (Some(_), _) => Color::Blue,
        (None, true) => Color::Green,
        (None, false) => Color::Red,
    }
}

/// Questions per lookup with the cluster's own search path at ndots 5, which is every pod's default.
fn cost_table(run: &Run, look: Look) -> Option<String> {
    let rows = costs(&run.lookups);
    let mut resolvers: Vec<&str> =
        rows.iter().flat_map(|row| row.questions.keys().map(|(resolver, _)| *resolver)).collect();
    resolvers.sort_unstable();
    resolvers.dedup();
    if resolvers.is_empty() {
        return None;
    }
    let mut table = plain_table(look);
    table.set_header(std::iter::once("questions per lookup at ndots 5").chain(resolvers.iter().copied()));
    for row in &rows {
        let numbers = resolvers.iter().map(|resolver| {
            let number = row.questions.get(&(*resolver, "ndots5-cluster"));
            let text = number.map_or_else(String::new, ToString::to_string);
            Cell::new(text).set_alignment(CellAlignment::Right)
        });
        table.add_row(std::iter::once(Cell::new(words::visible(row.name))).chain(numbers));
    }
    Some(table.trim_fmt())
}
