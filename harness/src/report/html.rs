//! `report.html`: one page that needs nothing else, no script and no network.

use minijinja::{AutoEscape, Environment, Value, context};

use super::{
    Row, Run, changes, explain,
    grid::{Grid, Mark},
    loads, lookups,
    markdown::{can_access, unsupported},
    plot,
    terminal::headline,
    words,
};
use crate::{matrix::RowOutcome, verdict::Verdict};

const TEMPLATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/report/report.html.jinja"));

/// The run as one HTML page, light or dark as the reader prefers; every mark is a symbol too, never a colour alone.
pub fn html(run: &Run) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let legend: Vec<_> = Mark::ALL
        .into_iter()
        .filter(|mark| run.verdicts.iter().any(|verdict| Mark::of(verdict) == *mark))
        .map(|mark| context! { class => mark.class(), symbol => mark.symbol(), words => mark.words() })
        .collect();
    let rendered = environment.render_str(
        TEMPLATE,
        context! {
            ok => run.exit_code() == 0,
            headline => headline(run),
            id => words::visible(&run.id),
            started => run.started.to_string(),
            options => words::visible(&run.options.join(" ")),
            failure => run.failure.as_ref().map(|failure| context! {
                message => words::plain_lines(&failure.message, 60),
                hint => failure.hint.as_deref().map(words::visible),
            }),
            failed_tests => run.failed_tests.iter().map(|failed| context! {
                test => words::visible(&failed.test),
                output => words::plain_lines(&failed.output, 60),
            }).collect::<Vec<_>>(),
            grids => Grid::all(&run.verdicts).iter().map(grid).collect::<Vec<_>>(),
            any_open => run.verdicts.iter().any(is_open),
            legend,
            lookups => lookups::html::values(run),
            loads => loads::html::values(run),
            changes => changes::html(run),
            plot_style => Value::from_safe_string(plot::STYLE.to_owned()),
            edits => run.corefile_edits.iter().map(|edit| context! {
                stage => edit.stage.as_str(),
                way => format!("{:?}", edit.way).to_lowercase(),
                took => words::seconds(edit.seconds),
                replicas => edit.replicas.iter().map(|replica| pair(&replica.pod, &words::seconds(replica.seconds))).collect::<Vec<_>>(),
            }).collect::<Vec<_>>(),
            beside => run.beside.iter().map(|beside| context! {
                says => words::visible(&beside.says),
                holds => beside.holds.words(),
                seen => words::visible(&beside.seen),
                place => words::visible(&beside.place),
                id => words::visible(&beside.id),
            }).collect::<Vec<_>>(),
            tutorial => tutorial(run),
            unsupported => unsupported(run).into_iter().map(|(reason, verdicts)| {
                context! { reason => words::visible(reason), cells => verdicts.iter().map(|verdict| words::visible(&verdict.cell())).collect::<Vec<_>>() }
            }).collect::<Vec<_>>(),
            retries => run.retries.iter().map(|retry| context! {
                what => words::visible(&retry.what), times => retry.times, why => words::plain(&retry.why),
            }).collect::<Vec<_>>(),
            timeline => timeline(run),
            environment => run.environment.lines().iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>(),
            reachmap => run.reachmap.as_str(),
        },
    );
    rendered.unwrap_or_else(|error| unreachable!("the page's template is part of this crate, and tested: {error:#}"))
}

fn anchor(verdict: &Verdict) -> String {
    let id = format!("{}-{}", verdict.suite, verdict.cell());
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn is_open(verdict: &Verdict) -> bool {
    matches!(Mark::of(verdict), Mark::Wrong | Mark::NotProbed)
}

fn pair(name: &str, value: &str) -> Value {
    vec![words::visible(name), words::visible(value)].into()
}

fn grid(grid: &Grid<'_>) -> Value {
    let cell = |vantage: &str, method: &str| {
        let Some(verdict) = grid.cell(vantage, method) else {
            return Value::from(());
        };
        let mark = Mark::of(verdict);
        context! {
            id => words::visible(&verdict.cell()),
            anchor => anchor(verdict),
            class => mark.class(),
            symbol => mark.symbol(),
            words => mark.words(),
            why => verdict.expectation.as_ref().map_or_else(String::new, |expectation| words::visible(&expectation.why())),
            text => explain(verdict),
            open => is_open(verdict),
        }
    };
    let rows = grid.methods.iter().map(|method| {
        context! {
            method => words::visible(method),
            cells => grid.vantages.iter().map(|vantage| cell(vantage, method)).collect::<Vec<_>>(),
        }
    });
    context! {
        suite => words::visible(grid.suite),
        stage => words::visible(grid.stage),
        vantages => grid.vantages.iter().map(|vantage| words::visible(vantage)).collect::<Vec<_>>(),
        rows => rows.collect::<Vec<_>>(),
    }
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
        context! {
            source => words::visible(&row.row.source),
            can_access => can_access(&verdicts).trim_start_matches(|c: char| !c.is_alphabetic()),
            why => whys.join(" "),
            class,
            outcome,
            cells => verdicts.iter().map(|verdict| pair(&anchor(verdict), &verdict.cell())).collect::<Vec<_>>(),
        }
    };
    run.tutorial.iter().map(view).collect()
}

fn timeline(run: &Run) -> Vec<Value> {
    let end = run.timeline.iter().map(|step| step.start_seconds + step.seconds).fold(1.0_f64, f64::max);
    let mut steps: Vec<_> = run.timeline.iter().collect();
    steps.sort_by(|a, b| a.start_seconds.total_cmp(&b.start_seconds));
    steps
        .into_iter()
        .map(|step| {
            context! {
                title => words::visible(&step.title),
                left => format!("{:.2}", step.start_seconds / end * 100.0),
                width => format!("{:.2}", (step.seconds / end * 100.0).max(0.3)),
                took => words::seconds(step.seconds),
                end => format!("{:?}", step.end).to_lowercase(),
            }
        })
        .collect()
}
