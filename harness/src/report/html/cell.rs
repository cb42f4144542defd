//! A cell as values for the page's template.

use minijinja::{Value, context};
use reachmap_wire::{Observation, Step};

use super::way::{Way, draw};
use crate::{
    model::Fact,
    report::{
        Run,
        explain::headline,
        grid::{Grid, Mark},
        words,
    },
    verdict::{Judgement, Verdict},
};

/// How much of what had to be seen, and of what was, is shown where they part.
const LONGEST: usize = 600;

/// The cell's place in the page: `access/load-balancer-ready/laptop/pod-ip`.
pub(in crate::report) fn anchor(verdict: &Verdict) -> String {
    let Verdict { suite, stage, vantage, method, .. } = verdict;
    super::path([suite, stage, &vantage.id, &method.id])
}

/// Whether the cell is one that somebody must look at.
pub(super) fn is_open(verdict: &Verdict) -> bool {
    matches!(Mark::of(verdict), Mark::Wrong | Mark::NotProbed)
}

/// Why, in one sentence, or why not.
fn why(verdict: &Verdict) -> String {
    match (&verdict.outcome, &verdict.expectation) {
        (Judgement::NotSupported { reason } | Judgement::NotProbed { reason }, _) => {
            words::visible(reason.lines().next().unwrap_or_default())
        }
        // The marks of code in plain text are not needed where letters have a style.
        (_, Some(expectation)) => words::visible(&expectation.why()).replace('`', ""),
        (_, None) => String::new(),
    }
}

/// A matrix: its fields lead to the cells' details.
pub(super) fn grid(grid: &Grid<'_>) -> Value {
    let field = |vantage: &str, method: &str| {
        let Some(verdict) = grid.cell(vantage, method) else {
            return Value::from(());
        };
        let mark = Mark::of(verdict);
        context! {
            anchor => super::place(anchor(verdict)),
            class => mark.class(),
            symbol => mark.symbol(),
            words => mark.words(),
            reason => verdict.expectation.as_ref().map_or("", |expectation| expectation.reason.kind()),
        }
    };
    let rows = grid.methods.iter().map(|method| {
        context! {
            method => words::visible(method),
            cells => grid.vantages.iter().map(|vantage| field(vantage, method)).collect::<Vec<_>>(),
        }
    });
    context! {
        suite => words::visible(grid.suite),
        stage => words::visible(grid.stage),
        vantages => grid.vantages.iter().map(|vantage| words::visible(vantage)).collect::<Vec<_>>(),
        rows => rows.collect::<Vec<_>>(),
        cells => grid.verdicts.len(),
        expected => grid.verdicts.iter().filter(|verdict| verdict.is_as_expected()).count(),
    }
}

/// A cell in full.
pub(super) fn details(run: &Run, verdict: &Verdict) -> Value {
    let mark = Mark::of(verdict);
    let way = Way::of(verdict, run.state_in(&verdict.stage));
    let part = match &verdict.outcome {
        Judgement::NotAsExpected { step, expected, observed } => context! {
            step => words::step(*step),
            expected => words::cut(expected, LONGEST),
            observed => words::cut(observed, LONGEST),
        },
        _ => Value::from(()),
    };
    let because = match &verdict.outcome {
        Judgement::NotSupported { reason } | Judgement::NotProbed { reason } => Some(words::plain_lines(reason, 20)),
        _ => None,
    };
    context! {
        anchor => super::place(anchor(verdict)),
        id => words::visible(&verdict.cell()),
        class => mark.class(),
        symbol => mark.symbol(),
        headline => headline(verdict).replace('`', ""),
        why => why(verdict),
        reason => verdict.expectation.as_ref().map(|expectation| expectation.reason.kind()),
        reachable => verdict.is_expected_reachable(),
        request => verdict.expectation.as_ref().map(|expectation| words::visible(&expectation.target.to_string())),
        part,
        because,
        way => (!way.is_empty()).then(|| Value::from_safe_string(draw(&way))),
        steps => steps(verdict),
        took => verdict.observation.as_ref().map(|observation| words::time(observation.elapsed_us)),
        reproduce => words::visible(&verdict.reproduce),
        is_open => is_open(verdict),
    }
}

/// What had to be seen and what was, step by step.
fn steps(verdict: &Verdict) -> Vec<Value> {
    let facts: &[Fact] = verdict.expectation.as_ref().map_or(&[], |expectation| &expectation.facts);
    let seen = verdict.observation.as_ref().map(words::steps).unwrap_or_default();
    let parts_at = match &verdict.outcome {
        Judgement::NotAsExpected { step, .. } => Some(*step),
        _ => None,
    };
    let mut rows = Vec::new();
    for step in [Step::Resolve, Step::Route, Step::Connect, Step::Respond] {
        let expected: Vec<String> =
            facts.iter().filter(|fact| step_of(fact, verdict.observation.as_ref()) == step).map(words::fact).collect();
        let lines = seen.iter().find(|(name, _)| *name == words::step(step)).map(|(_, lines)| lines.clone());
        let parts = parts_at == Some(step);
        if !expected.is_empty() || lines.is_some() || parts {
            rows.push(context! { step => words::step(step), expected, seen => lines.unwrap_or_default(), parts });
        }
    }
    rows
}

/// The step at which a fact shows.
fn step_of(fact: &Fact, observation: Option<&Observation>) -> Step {
    match fact {
        Fact::NothingAsked | Fact::Asks(_) | Fact::Resolves { .. } | Fact::DoesNotResolve(_) => Step::Resolve,
        // It shows wherever the probe was stopped.
        Fact::DoesNotConnect(_) if observation.and_then(Observation::last_step) == Some(Step::Route) => Step::Route,
        Fact::Connects(_) | Fact::DoesNotConnect(_) => Step::Connect,
        Fact::ServedBy(_) | Fact::SeenBy(_) => Step::Respond,
    }
}
