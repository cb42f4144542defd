//! The loads as a terminal shows them.

use comfy_table::{Cell, CellAlignment, Color};

use super::{LoadOutcome, LoadRecord, errors, explain_load};
use crate::report::{
    Run,
    terminal::{Look, paint_first_line, plain_table},
    words,
};

/// A short table for each suite and stage, and those in full that are not as expected.
pub(in crate::report) fn parts(run: &Run, look: Look) -> Vec<String> {
    if run.loads.is_empty() {
        return Vec::new();
    }
    let mut places: Vec<(&str, &str)> = run.loads.iter().map(|load| (&*load.suite, &*load.stage)).collect();
    places.dedup();
    let tables = places.into_iter().map(|place| {
        let here: Vec<&LoadRecord> = run.loads.iter().filter(|load| (&*load.suite, &*load.stage) == place).collect();
        format!("{} · {} · loads\n{}", words::visible(place.0), words::visible(place.1), table(&here, look))
    });
    let mut parts: Vec<String> = tables.collect();
    let wrong = run.loads.iter().filter(|load| load.is_not_as_expected());
    parts.extend(wrong.map(|load| paint_first_line(&explain_load(load), look)));
    parts
}

fn table(loads: &[&LoadRecord], look: Look) -> String {
    let mut table = plain_table(look);
    let names = ["", "", "conn.", "requests", "errors", "spread", "req/s", "p50", "p99"];
    table.set_header(names.map(Cell::new));
    for load in loads {
        let (symbol, _, _) = load.mark();
        let symbol = Cell::new(symbol).set_alignment(CellAlignment::Center);
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            if look.color { symbol.fg(color(load)) } else { symbol },
            Cell::new(words::visible(&format!("{}/{} ({})", load.vantage, load.method, load.name))),
            number(load.connections.to_string()),
            number(load.requests.to_string()),
            Cell::new(if load.errors.is_empty() { "none".to_owned() } else { errors(&load.errors) }),
            Cell::new(load.spread()),
            number(format!("{:.0}{}", load.requests_per_second, load.shortfall())),
            number(words::time(load.latency.p50_us)),
            number(words::time(load.latency.p99_us)),
        ]);
    }
    table.trim_fmt()
}

const fn color(load: &LoadRecord) -> Color {
    match load.outcome {
        LoadOutcome::AsExpected => Color::Green,
        LoadOutcome::NotAsExpected { .. } => Color::Red,
        LoadOutcome::NotJudged { .. } => Color::Blue,
    }
}
