//! The lookups as values for the page's template.

use std::collections::BTreeMap;

use minijinja::{Value, context};

use super::{LookupGrid, LookupGroup, Sum, Timeline, cost_columns, costs};
use crate::report::{
    Run,
    html::{self, bar},
    words,
};

/// What the template needs to show the lookups; nothing if there are none.
pub(in crate::report) fn values(run: &Run) -> Value {
    if run.lookups.is_empty() {
        return Value::from(());
    }
    let is_open = |group: &&LookupGroup| !group.mismatches.is_empty();
    let (open, folded): (Vec<_>, Vec<_>) = run.lookups.iter().partition(is_open);
    context! {
        sentence => Sum::of(&run.lookups).sentence(),
        grids => LookupGrid::all(&run.lookups).iter().map(grid).collect::<Vec<_>>(),
        open => open.into_iter().map(details).collect::<Vec<_>>(),
        folded => folded.into_iter().map(details).collect::<Vec<_>>(),
        costs => cost_table(run),
        each_cost => each_cost(run),
    }
}

/// The group's place in the page: `dns/corefile-original/ndots5-cluster/musl`.
pub(in crate::report) fn anchor(group: &LookupGroup) -> String {
    html::path(["dns", &group.stage, &group.configuration, &group.resolver])
}

fn grid(grid: &LookupGrid<'_>) -> Value {
    let rows = grid.resolvers.iter().map(|resolver| {
        let fields = grid.configurations.iter().map(|configuration| {
            grid.group(configuration, resolver).map_or_else(
                || Value::from(()),
                |group| {
                    let (class, _, words) = mark(group);
                    context! { text => LookupGrid::field(group), class, words, anchor => html::place(anchor(group)) }
                },
            )
        });
        context! { resolver => words::visible(resolver), fields => fields.collect::<Vec<_>>() }
    });
    context! {
        stage => words::visible(grid.stage),
        configurations => grid.configurations.iter().map(|name| words::visible(name)).collect::<Vec<_>>(),
        rows => rows.collect::<Vec<_>>(),
    }
}

fn mark(group: &LookupGroup) -> (&'static str, &'static str, &'static str) {
    match (&group.not_supported, group.is_as_predicted()) {
        (Some(_), _) => ("unsupported", "·", "not supported here"),
        (None, true) => ("reached", "✓", "as predicted"),
        (None, false) => ("wrong", "!", "not as predicted"),
    }
}

/// All that is known of a group: its outcomes, what went otherwise, and some lookups question by question.
fn details(group: &LookupGroup) -> Value {
    let (class, symbol, words) = mark(group);
    let outcomes = group.outcomes.iter().map(|(outcome, number)| format!("{number} {}", words::visible(outcome)));
    let mismatches = group.mismatches.iter().map(|mismatch| {
        context! {
            name => words::visible(&mismatch.name),
            text => words::plain_lines(&mismatch.explanation, 60),
        }
    });
    let not_covered = group.not_covered.iter();
    context! {
        anchor => html::place(anchor(group)),
        id => words::visible(&group.cell()),
        class,
        symbol,
        headline => match group.not_supported {
            Some(_) => words.to_owned(),
            None => format!("{} of {} lookups as predicted", group.as_predicted, group.lookups),
        },
        because => group.not_supported.as_deref().map(words::visible),
        outcomes => outcomes.collect::<Vec<_>>().join(", "),
        repeated => group.repeated,
        mismatches => mismatches.collect::<Vec<_>>(),
        not_covered => not_covered.map(|(name, why)| vec![words::visible(name), words::visible(why)]).collect::<Vec<_>>(),
        costs => (!group.costs.is_empty()).then(|| html::place(costs_anchor(group))),
        timelines => group.timelines.iter().map(timeline).collect::<Vec<_>>(),
        is_open => !group.mismatches.is_empty(),
    }
}

/// The place in the page of what each name cost with the group's Corefile and configuration.
fn costs_anchor(group: &LookupGroup) -> String {
    html::path(["costs", &group.stage, &group.configuration])
}

/// What each name cost each resolver, a table for each Corefile and configuration: a list for each resolver would have the
/// names over and over.
fn each_cost(run: &Run) -> Vec<Value> {
    let with_costs = run.lookups.iter().filter(|group| !group.costs.is_empty());
    let mut tables: BTreeMap<(&str, &str), Vec<&LookupGroup>> = BTreeMap::new();
    for group in with_costs {
        tables.entry((&group.stage, &group.configuration)).or_default().push(group);
    }
    tables.values().map(|groups| costs_with(groups)).collect()
}

fn costs_with(groups: &[&LookupGroup]) -> Value {
    let mut names: Vec<&str> = Vec::new();
    for cost in groups.iter().flat_map(|group| &group.costs) {
        if !names.contains(&cost.name.as_str()) {
            names.push(&cost.name);
        }
    }
    let number = |group: &LookupGroup, name: &str| {
        let found = group.costs.iter().find(|cost| cost.name == name);
        found.map_or_else(String::new, |cost| cost.questions.to_string())
    };
    let rows = names.iter().map(|name| {
        let numbers = groups.iter().map(|group| number(group, name));
        context! { name => words::visible(name), numbers => numbers.collect::<Vec<_>>() }
    });
    let first = groups[0];
    context! {
        anchor => html::place(costs_anchor(first)),
        id => words::visible(&format!("{}/{}", first.stage, first.configuration)),
        resolvers => groups.iter().map(|group| words::visible(&group.resolver)).collect::<Vec<_>>(),
        rows => rows.collect::<Vec<_>>(),
    }
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
            .map(|(resolver, configuration)| vec![words::visible(resolver), words::visible(configuration.trim_end_matches("-cluster"))])
            .collect::<Vec<_>>(),
        rows => shown.collect::<Vec<_>>(),
    }
}

fn timeline(timeline: &Timeline) -> Value {
    context! {
        name => words::visible(&timeline.name),
        seen => words::plain(&timeline.seen),
        took => words::time(timeline.elapsed_us),
        questions => questions(timeline),
    }
}

/// Each question as a bar on the lookup's own time, beside what was asked and what came back.
fn questions(timeline: &Timeline) -> Vec<Value> {
    #[expect(clippy::cast_precision_loss, reason = "a share of a bar's width")]
    let share = |microseconds: u64| microseconds as f64 / timeline.elapsed_us.max(1) as f64;
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
            at => words::time(asked.at_us),
            rcode => asked.rcode.as_deref().map_or_else(|| "no answer".to_owned(), words::plain),
            answers => answers.collect::<Vec<_>>().join(", "),
            bar => bar(share(asked.at_us), share(asked.elapsed_us.unwrap_or(rest)), class),
            took => asked.elapsed_us.map_or_else(String::new, words::time),
        }
    });
    questions.collect()
}
