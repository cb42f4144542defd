//! The lookups as values for the page's template.

use minijinja::{Value, context};

use super::{LookupGrid, LookupGroup, Sum, Timeline, cost_columns, costs};
use crate::report::{Run, words};

/// What the template needs to show the lookups; nothing if there are none.
pub(in crate::report) fn values(run: &Run) -> Value {
    if run.lookups.is_empty() {
        return Value::from(());
    }
    context! {
        sentence => Sum::of(&run.lookups).sentence(),
        grids => LookupGrid::all(&run.lookups).iter().map(grid).collect::<Vec<_>>(),
        mismatches => run.lookups.iter().flat_map(mismatches).collect::<Vec<_>>(),
        costs => cost_table(run),
        timelines => run.lookups.iter().flat_map(timelines).collect::<Vec<_>>(),
    }
}

fn grid(grid: &LookupGrid<'_>) -> Value {
    let rows = grid.resolvers.iter().map(|resolver| {
        let fields = grid.configurations.iter().map(|configuration| {
            grid.group(configuration, resolver).map_or_else(
                || Value::from(()),
                |group| {
                    context! {
                        text => LookupGrid::field(group),
                        class => class(group),
                        title => format!("{}: {}", group.cell(), outcomes(group)),
                    }
                },
            )
        });
        context! { resolver => (*resolver).to_owned(), fields => fields.collect::<Vec<_>>() }
    });
    context! {
        stage => grid.stage.to_owned(),
        configurations => grid.configurations.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
        rows => rows.collect::<Vec<_>>(),
    }
}

fn class(group: &LookupGroup) -> &'static str {
    match (&group.not_supported, group.is_as_predicted()) {
        (Some(_), _) => "unsupported",
        (None, true) => "reached",
        (None, false) => "wrong",
    }
}

fn outcomes(group: &LookupGroup) -> String {
    if let Some(reason) = &group.not_supported {
        return format!("not supported here: {}", words::visible(reason));
    }
    let outcomes = group.outcomes.iter().map(|(outcome, number)| format!("{outcome} {number}"));
    outcomes.collect::<Vec<_>>().join(", ")
}

fn mismatches(group: &LookupGroup) -> impl Iterator<Item = Value> {
    group.mismatches.iter().map(|mismatch| {
        context! {
            title => format!("{}: {}", group.cell(), words::visible(&mismatch.name)),
            text => words::plain_lines(&mismatch.explanation, 60),
        }
    })
}

fn cost_table(run: &Run) -> Value {
    let rows = costs(&run.lookups);
    let columns = cost_columns(&rows);
    let shown = rows.iter().map(|row| {
        let numbers =
            columns.iter().map(|column| row.questions.get(column).map_or_else(String::new, ToString::to_string));
        context! { name => words::visible(row.name), numbers => numbers.collect::<Vec<_>>() }
    });
    context! {
        columns => columns
            .iter()
            .map(|(resolver, configuration)| vec![(*resolver).to_owned(), configuration.trim_end_matches("-cluster").to_owned()])
            .collect::<Vec<_>>(),
        rows => shown.collect::<Vec<_>>(),
    }
}

/// Each question as a bar on the lookup's own time, beside what was asked and what came back.
fn timelines(group: &LookupGroup) -> impl Iterator<Item = Value> {
    group.timelines.iter().map(|timeline| {
        context! {
            title => format!("{} in {}", words::visible(&timeline.name), group.cell()),
            seen => words::plain(&timeline.seen),
            took => words::time(timeline.elapsed_us),
            questions => questions(timeline),
        }
    })
}

fn questions(timeline: &Timeline) -> Vec<Value> {
    #[expect(clippy::cast_precision_loss, reason = "a share of a bar's width")]
    let share = |microseconds: u64| microseconds as f64 / timeline.elapsed_us.max(1) as f64 * 100.0;
    let questions = timeline.questions.iter().map(|asked| {
        let rest = timeline.elapsed_us.saturating_sub(asked.at_us);
        let class = match asked.rcode.as_deref() {
            Some("NOERROR") if !asked.answers.is_empty() => "found",
            Some("NOERROR" | "NXDOMAIN") => "cached",
            _ => "failed",
        };
        let answers = asked.answers.iter().map(|record| words::plain(&record.data.to_string()));
        context! {
            kind => asked.kind.to_string(),
            name => words::plain(&asked.name),
            rcode => asked.rcode.as_deref().map_or_else(|| "no answer".to_owned(), words::plain),
            answers => answers.collect::<Vec<_>>().join(", "),
            class,
            left => format!("{:.2}", share(asked.at_us).min(99.0)),
            width => format!("{:.2}", share(asked.elapsed_us.unwrap_or(rest)).clamp(1.0, 100.0)),
            took => asked.elapsed_us.map_or_else(String::new, words::time),
        }
    });
    questions.collect()
}
