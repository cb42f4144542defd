//! The loads as values for the page's template.

use minijinja::{Value, context};

use super::{LoadRecord, PodLoad, errors, explain_load, percent};
use crate::report::{Run, html, plot, words};

/// What the template needs to show the loads: one value each.
pub(in crate::report) fn values(run: &Run) -> Vec<Value> {
    run.loads.iter().enumerate().map(|(number, load)| value(number, load)).collect()
}

/// The load's place in the page: `load/distribution/load-balancer-ready/hey`.
pub(in crate::report) fn anchor(load: &LoadRecord) -> String {
    html::path(["load", &load.suite, &load.stage, &load.name])
}

fn value(number: usize, load: &LoadRecord) -> Value {
    let (symbol, words, class) = load.mark();
    let plots = format!("load-{number}");
    context! {
        symbol,
        words,
        class,
        place => words::visible(&load.place()),
        sent => words::visible(&load.extent()),
        answered => format!("{} of {}", load.answered, load.requests),
        errors => if load.errors.is_empty() { "none".to_owned() } else { errors(&load.errors) },
        tested => load.tested(),
        per_second => format!("{:.1}{}", load.requests_per_second, load.shortfall()),
        rate => load.rate().into_iter().chain(load.held()).collect::<Vec<_>>(),
        p50 => words::time(load.latency.p50_us),
        p99 => words::time(load.latency.p99_us),
        longest => words::time(load.latency.max_us),
        open => load.is_not_as_expected(),
        why => format!("{} {}", words::visible(&load.expected.arrives), words::visible(&load.expected.why)),
        text => explain_load(load),
        pods => load.pods.iter().map(|one| pod(load, one)).collect::<Vec<_>>(),
        bars => Value::from_safe_string(plot::pods(load, &format!("{plots}-pods"))),
        histogram => Value::from_safe_string(plot::latency(&load.latency, &format!("{plots}-latency"))),
        anchor => html::place(anchor(load)),
    }
}

fn pod(load: &LoadRecord, pod: &PodLoad) -> Value {
    let may_see = pod.may_see.as_ref().map_or_else(
        || "the model does not say".to_owned(),
        |sources| {
            let each = sources.iter().map(|source| format!("{} ({})", source.address, source.reason));
            words::visible(&each.collect::<Vec<_>>().join(" or "))
        },
    );
    context! {
        name => words::visible(&pod.pod),
        node => pod.node.as_deref().map(words::visible),
        connections => pod.connections,
        requests => pod.requests,
        share => format!("{:.1} %", percent(pod.connections, load.connections)),
        seen => pod.seen.iter().map(|(address, times)| format!("{address} × {times}")).collect::<Vec<_>>(),
        may_see,
    }
}
