//! The lookups as Markdown.

use super::{CorefileEdit, LookupGrid, Sum, cost_columns, costs};
use crate::{
    environment::addons::coredns::Way,
    report::{
        Run,
        markdown::{code, escape, fence, heading, line},
        words,
    },
};

/// What did not go as predicted, in full.
pub(in crate::report) fn failures(run: &Run, level: usize) -> Vec<String> {
    let mut parts = Vec::new();
    for group in &run.lookups {
        for mismatch in &group.mismatches {
            if parts.is_empty() {
                parts.push(heading(level, "Lookups that did not go as predicted"));
            }
            let head = heading(level + 1, &format!("{}: {}", code(&group.cell()), code(&mismatch.name)));
            parts.push(format!("{head}\n\n{}", fence(&words::plain_lines(&mismatch.explanation, 60))));
        }
    }
    parts
}

/// Everything else that there is to say of names.
pub(in crate::report) fn parts(run: &Run, level: usize) -> Vec<String> {
    let mut parts = Vec::new();
    if !run.lookups.is_empty() {
        parts.push(heading(level, "Names: every resolver's walk, predicted and seen on the wire"));
        parts.push(format!("{}.", escape(&Sum::of(&run.lookups).sentence())));
        for grid in LookupGrid::all(&run.lookups) {
            parts.push(format!(
                "{}\n\n{}",
                heading(level + 1, &format!("Corefile stage {}", code(grid.stage))),
                table(&grid)
            ));
        }
        parts.extend(not_supported(run));
        parts.extend(not_covered(run));
        parts.extend(cost_table(run, level + 1));
        parts.extend(timelines(run, level + 1));
    }
    parts.extend(edits(&run.corefile_edits, level));
    parts
}

fn table(grid: &LookupGrid<'_>) -> String {
    let mut text = line(std::iter::once(String::new()).chain(grid.configurations.iter().map(|name| code(name))));
    text.push_str(&line(std::iter::once("---").chain(grid.configurations.iter().map(|_| ":-:")).map(str::to_owned)));
    for resolver in &grid.resolvers {
        let fields = grid
            .configurations
            .iter()
            .map(|configuration| grid.group(configuration, resolver).map_or_else(String::new, LookupGrid::field));
        text.push_str(&line(std::iter::once(code(resolver)).chain(fields)));
    }
    text.trim_end().to_owned()
}

fn not_supported(run: &Run) -> Option<String> {
    let mut reasons: Vec<&str> = run.lookups.iter().filter_map(|group| group.not_supported.as_deref()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let reasons: Vec<String> = reasons.into_iter().map(escape).collect();
    (!reasons.is_empty()).then(|| format!("Not supported here: {}.", reasons.join("; ")))
}

fn not_covered(run: &Run) -> Option<String> {
    let all = run.lookups.iter().flat_map(|group| &group.not_covered);
    let mut lines: Vec<String> = all.map(|(name, why)| format!("{} ({})", code(name), escape(why))).collect();
    lines.sort_unstable();
    lines.dedup();
    (!lines.is_empty()).then(|| format!("Not covered by the model: {}.", lines.join(", ")))
}

fn cost_table(run: &Run, level: usize) -> Option<String> {
    let rows = costs(&run.lookups);
    let columns = cost_columns(&rows);
    if columns.is_empty() {
        return None;
    }
    let mut text = heading(level, "What a name costs: questions per lookup, with the cluster's search path");
    text.push_str("\n\n");
    let names = columns.iter().map(|(resolver, configuration)| {
        format!("{}<br>{}", code(resolver), configuration.trim_end_matches("-cluster"))
    });
    text.push_str(&line(std::iter::once("Name".to_owned()).chain(names)));
    text.push_str(&line(std::iter::once("---").chain(columns.iter().map(|_| "--:")).map(str::to_owned)));
    for row in &rows {
        let numbers =
            columns.iter().map(|column| row.questions.get(column).map_or_else(String::new, ToString::to_string));
        text.push_str(&line(std::iter::once(code(row.name)).chain(numbers)));
    }
    Some(text.trim_end().to_owned())
}

fn timelines(run: &Run, level: usize) -> Vec<String> {
    let mut parts = Vec::new();
    for group in &run.lookups {
        for timeline in &group.timelines {
            if parts.is_empty() {
                parts.push(heading(level, "Some lookups, question by question"));
            }
            parts.push(format!("{} in {}\n\n{}", code(&timeline.name), code(&group.cell()), fence(&timeline.text())));
        }
    }
    parts
}

fn edits(edits: &[CorefileEdit], level: usize) -> Option<String> {
    if edits.is_empty() {
        return None;
    }
    let mut text = heading(level, "Edits of the Corefile, and how long each took to become live");
    text.push_str("\n\n| For the stage | By | Live everywhere after | Each replica after |\n|---|---|--:|---|\n");
    for edit in edits {
        let by = match edit.way {
            Way::Restart => "restart",
            Way::Reload => "reload",
        };
        let replicas: Vec<String> = edit
            .replicas
            .iter()
            .map(|replica| format!("{} {}", code(&replica.pod), words::seconds(replica.seconds)))
            .collect();
        text.push_str(&line([code(&edit.stage), by.to_owned(), words::seconds(edit.seconds), replicas.join(", ")]));
    }
    Some(text.trim_end().to_owned())
}
