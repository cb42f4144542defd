//! `report.html`: one page that needs nothing else and no network. With its own small script it is explored by pointer and keys;
//! without it everything is there to be read, folded.

mod cell;
mod compact;
mod facets;
#[cfg(test)]
mod in_browser;
mod policy;
#[cfg(test)]
mod tests;
mod way;

use std::fmt::Write as _;

use minijinja::{AutoEscape, Environment, Value, context, escape_formatter, value::merge_maps};

pub(super) use self::{cell::anchor as cell_anchor, way::Way};
use super::{
    Row, Run, changes,
    grid::{Grid, Mark},
    loads, lookups,
    markdown::{can_access, unsupported},
    other_tests, plot,
    terminal::headline,
    words,
};
use crate::{
    matrix::RowOutcome,
    state::{Node, NodeRole, State},
    verdict::Verdict,
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/report/", $name))
    };
}

/// The page, and its parts by the names by which it includes them.
const TEMPLATES: [(&str, &str); 7] = [
    ("page", fixture!("report.html.jinja")),
    ("parts", fixture!("report/parts.jinja")),
    ("matrix", fixture!("report/matrix.jinja")),
    ("tutorial", fixture!("report/tutorial.jinja")),
    ("lookups", fixture!("report/lookups.jinja")),
    ("loads", fixture!("report/loads.jinja")),
    ("record", fixture!("report/record.jinja")),
];
const STYLE: &str = fixture!("report.css");
const SCRIPT: &str = fixture!("report.js");

/// The run as one HTML page, light or dark as the reader prefers; every mark is a symbol too, never a colour alone.
pub fn html(run: &Run) -> String {
    compact::compact(&page(run))
}

/// The same page as its templates have it.
fn page(run: &Run) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // The templates' own way writes more than HTML needs, such as each slash in six letters.
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => out.write_str(&escape(text)).map_err(minijinja::Error::from),
        _ => escape_formatter(out, state, value),
    });
    for (name, text) in TEMPLATES {
        let added = environment.add_template(name, text);
        added.unwrap_or_else(|error| unreachable!("{name} is part of this crate, and tested: {error:#}"));
    }
    let style = format!("{STYLE}{}{}", way::style(), plot::STYLE);
    let page = environment.get_template("page").and_then(|page| {
        page.render(context! {
            policy => policy::policy(&style, SCRIPT),
            style => Value::from_safe_string(style),
            script => Value::from_safe_string(SCRIPT.to_owned()),
            lookups => lookups::html::values(run),
            loads => loads::html::values(run),
            changes => changes::values(run),
            ..merge_maps([head(run), matrix(run), record(run)])
        })
    });
    page.unwrap_or_else(|error| unreachable!("the page's templates are part of this crate, and tested: {error:#}"))
}

/// Text that stays text, also between quotation marks.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// A part of a place in the page: letters, digits and `-_.` as they are, all else by its number, so that different
/// texts stay different.
pub(super) fn anchor(text: &str) -> String {
    text.chars().fold(String::new(), |mut anchor, c| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            anchor.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(anchor, "~{:x}~", u32::from(c));
        }
        anchor
    })
}

/// The parts of a place in the page, put together.
pub(super) fn path<const N: usize>(parts: [&str; N]) -> String {
    parts.map(anchor).join("/")
}

/// A place in the page as the template needs it: it has nothing in it that would have to be escaped.
pub(super) fn place(anchor: String) -> Value {
    Value::from_safe_string(anchor)
}

fn pair(name: &str, value: &str) -> Value {
    vec![words::visible(name), words::visible(value)].into()
}

/// A cell's place in the page, and its name.
fn linked(verdict: &Verdict) -> Value {
    vec![place(cell::anchor(verdict)), words::visible(&verdict.cell()).into()].into()
}

/// What a stranger reads first.
fn head(run: &Run) -> Value {
    let ok = run.exit_code() == 0;
    context! {
        ok,
        short => if ok && run.has_shown_nothing() { "Nothing was run" } else if ok { "All as expected" } else if run.failure.is_some() { "Not carried out to its end" } else { "Not all as expected" },
        headline => headline(run),
        id => words::visible(&run.id),
        started => run.started.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        options => words::visible(&run.options.join(" ")),
        failure => run.failure.as_ref().map(|failure| context! {
            message => words::plain_lines(&failure.message, 60),
            hint => failure.hint.as_deref().map(words::visible),
        }),
        tiles => tiles(run),
        reachmap => run.reachmap.as_str(),
        environment => run.environment.lines().iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>(),
    }
}

/// The sums, each with the place in the page that has more of it.
fn tiles(run: &Run) -> Vec<Value> {
    let tile = |to: &str, what: &str, good: usize, all: usize, ok: bool| {
        context! { to, what, good, all, ok }
    };
    let sum = lookups::Sum::of(&run.lookups);
    let loads = run.loads.iter().filter(|load| load.is_as_expected()).count();
    let judged = loads + run.loads.iter().filter(|load| load.is_not_as_expected()).count();
    let rows = run.tutorial.iter().filter(|row| row.outcome == RowOutcome::Confirmed).count();
    let refuted = run.tutorial.iter().any(|row| row.outcome == RowOutcome::Refuted);
    let tests = other_tests::passed(run);
    let all_tests = run.other_tests.len() + run.failed_tests.len();
    let counts = run.counts;
    let cells_ok = counts.not_as_expected + counts.not_probed == 0;
    let predicted = sum.as_predicted + sum.not_covered;
    let all = [
        tile("matrix", "cells as expected", counts.as_expected, counts.total(), cells_ok),
        tile("names", "lookups as predicted", sum.as_predicted, sum.lookups, predicted == sum.lookups),
        tile("loads", "loads as expected", loads, judged, loads == judged),
        tile("tests", "tests passed that are about no cell", tests, all_tests, run.failed_tests.is_empty()),
        tile("tutorial", "of the tutorial’s rows confirmed", rows, run.tutorial.len(), !refuted),
    ];
    let there = [counts.total(), sum.lookups, run.loads.len(), run.other_tests.len(), run.tutorial.len()]
        .map(|number| number > 0);
    all.into_iter().zip(there).filter(|(_, there)| *there).map(|(tile, _)| tile).collect()
}

/// The matrices, and every cell of them in full.
fn matrix(run: &Run) -> Value {
    let grids = Grid::all(&run.verdicts);
    let legend: Vec<_> = Mark::ALL
        .into_iter()
        .map(|mark| (mark, run.verdicts.iter().filter(|verdict| Mark::of(verdict) == mark).count()))
        .filter(|(_, cells)| *cells > 0)
        .map(|(mark, cells)| context! { class => mark.class(), symbol => mark.symbol(), words => mark.words(), cells })
        .collect();
    let details = |open: bool| {
        let verdicts = run.verdicts.iter().filter(move |verdict| cell::is_open(verdict) == open);
        verdicts.map(|verdict| cell::details(run, verdict)).collect::<Vec<_>>()
    };
    let folded = grids.iter().map(|grid| {
        let cells = grid.verdicts.iter().filter(|verdict| !cell::is_open(verdict));
        context! {
            suite => words::visible(grid.suite),
            stage => words::visible(grid.stage),
            cells => cells.map(|verdict| cell::details(run, verdict)).collect::<Vec<_>>(),
        }
    });
    context! {
        grids => grids.iter().map(cell::grid).collect::<Vec<_>>(),
        facets => facets::facets(&grids),
        cells => run.verdicts.len(),
        legend,
        open => details(true),
        folded => folded.collect::<Vec<_>>(),
        tutorial => tutorial(run),
        beside => run.beside.iter().map(|beside| context! {
            says => words::visible(&beside.says),
            holds => beside.holds.words(),
            seen => words::visible(&beside.seen),
            place => words::visible(&beside.place),
            id => words::visible(&beside.id),
        }).collect::<Vec<_>>(),
        unsupported => unsupported(run).into_iter().map(|(reason, verdicts)| {
            let cells = verdicts.iter().map(|verdict| linked(verdict));
            context! { reason => words::visible(reason), cells => cells.collect::<Vec<_>>() }
        }).collect::<Vec<_>>(),
    }
}

/// How the run went, beside what it found.
fn record(run: &Run) -> Value {
    context! {
        failed_tests => run.failed_tests.iter().map(|failed| context! {
            test => words::visible(&failed.test),
            place => words::visible(&format!("{} · {}", failed.suite, failed.stage)),
            output => words::plain_lines(&failed.output, 60),
        }).collect::<Vec<_>>(),
        other_tests => run.other_tests.len(),
        passed_tests => run.other_tests.iter().filter(|test| test.is_passed()).map(|test| pair(&test.suite, &test.test)).collect::<Vec<_>>(),
        unsupported_tests => other_tests::unsupported(run).into_iter().map(|(reason, tests)| {
            let tests = tests.iter().map(|test| words::visible(&test.test));
            context! { reason => words::visible(reason), tests => tests.collect::<Vec<_>>() }
        }).collect::<Vec<_>>(),
        edits => run.corefile_edits.iter().map(|edit| context! {
            stage => words::visible(&edit.stage),
            way => format!("{:?}", edit.way).to_lowercase(),
            took => words::seconds(edit.seconds),
            replicas => edit.replicas.iter().map(|replica| pair(&replica.pod, &words::seconds(replica.seconds))).collect::<Vec<_>>(),
        }).collect::<Vec<_>>(),
        retries => run.retries.iter().map(|retry| context! {
            what => words::visible(&retry.what), times => retry.times, why => words::plain(&retry.why),
        }).collect::<Vec<_>>(),
        timeline => timeline(run),
        nodes => run.stages.iter().rev().find_map(|stage| stage.state.as_ref()).map(nodes),
    }
}

fn nodes(state: &State) -> Vec<Value> {
    let list = |items: Vec<String>| words::visible(&items.join(", "));
    let value = |(id, node): (String, &Node)| {
        context! {
            id => words::visible(&id),
            name => words::visible(&node.name),
            role => if node.role == NodeRole::ControlPlane { "control plane" } else { "worker" },
            addresses => list(node.addresses.iter().map(ToString::to_string).collect()),
            pod_networks => list(node.pod_networks.iter().map(ToString::to_string).collect()),
        }
    };
    state.named_nodes().into_iter().map(value).collect()
}

fn tutorial(run: &Run) -> Vec<Value> {
    let view = |row: &Row| {
        let verdicts: Vec<&Verdict> = row.row.cells.iter().filter_map(|cell| run.verdict(&cell.id())).collect();
        let mut whys: Vec<String> = verdicts
            .iter()
            .filter_map(|verdict| verdict.expectation.as_ref().map(|expectation| words::visible(&expectation.why())))
            .collect();
        whys.dedup();
        let (class, outcome) = match row.outcome {
            RowOutcome::Confirmed => ("reached", "✓ confirmed"),
            RowOutcome::Refuted => ("wrong", "! refuted"),
            RowOutcome::NotShown => ("unprobed", "? not shown"),
        };
        let cells = verdicts.iter().map(|verdict| linked(verdict));
        context! {
            source => words::visible(&row.row.source),
            can_access => can_access(&verdicts).trim_start_matches(|c: char| !c.is_alphabetic()),
            why => whys.join(" "),
            class,
            outcome,
            cells => cells.collect::<Vec<_>>(),
        }
    };
    run.tutorial.iter().map(view).collect()
}

fn timeline(run: &Run) -> Vec<Value> {
    let end = run.timeline.iter().map(|step| step.start_seconds + step.seconds).fold(1.0_f64, f64::max);
    let mut steps: Vec<_> = run.timeline.iter().collect();
    steps.sort_by(|a, b| a.start_seconds.total_cmp(&b.start_seconds));
    let value = |step: &crate::progress::StepTime| {
        let end_of_it = format!("{:?}", step.end).to_lowercase();
        context! {
            title => words::visible(&step.title),
            bar => bar(step.start_seconds / end, step.seconds / end, &end_of_it),
            took => words::seconds(step.seconds),
            end => end_of_it,
        }
    };
    steps.into_iter().map(value).collect()
}

/// A bar on a time line, from one share of it on, so much of it long. As a drawing it needs no style of its own, which the
/// page's policy would not let through.
pub(super) fn bar(from: f64, length: f64, class: &str) -> Value {
    let (from, length) = (from.clamp(0.0, 0.99) * 100.0, (length * 100.0).clamp(0.4, 100.0));
    Value::from_safe_string(format!(
        "<svg class=\"bar\" aria-hidden=\"true\"><rect class=\"{class}\" x=\"{from:.1}%\" width=\"{length:.1}%\"/></svg>"
    ))
}
