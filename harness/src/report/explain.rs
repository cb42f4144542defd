//! A verdict in full, for a person who has to find out what broke.

use super::words;
use crate::verdict::{Judgement, Verdict};

/// How wide the names on the left are.
const MARGIN: usize = 11;

/// How much of what had to be seen, and of what was, is shown.
const LONGEST: usize = 600;

/// A verdict in full: what had to happen and why, what was seen step by step, where they part, and how to repeat it.
///
/// It is plain text without colours, and safe to print whatever came over the network.
///
/// ```
/// # use reachmap::{model::{Method, Vantage, expect}, state::State, verdict::{Judgement, Verdict}};
/// # let state = State::example();
/// # let vantage = Vantage::find(&state, "laptop")?;
/// # let method = Method::find("loadbalancer-address", 3)?;
/// # let verdict = Verdict {
/// #     suite: "access".into(), stage: "load-balancer-ready".into(), vantage, method, expectation: None,
/// #     observation: None, outcome: Judgement::NotSupported { reason: "there is no MetalLB here".into() },
/// #     reproduce: String::new(),
/// # };
/// let text = reachmap::report::explain(&verdict);
/// assert!(text.starts_with("load-balancer-ready/laptop/loadbalancer-address: not supported here"));
/// # Ok::<(), reachmap::Error>(())
/// ```
pub fn explain(verdict: &Verdict) -> String {
    let mut lines = vec![format!("{}: {}", words::visible(&verdict.cell()), headline(verdict))];
    if let Some(expectation) = &verdict.expectation {
        let what = if expectation.reachable { "reachable" } else { "not reachable" };
        let mut expected = vec![format!("{what}. {}", words::visible(&expectation.why()))];
        expected.extend(expectation.facts.iter().map(|fact| format!("- {}", words::fact(fact))));
        push(
            &mut lines,
            "request",
            [format!(
                "{} → http://{}/",
                words::visible(&verdict.vantage.id),
                words::visible(&expectation.target.to_string())
            )],
        );
        push(&mut lines, "expected", expected);
    }
    if let Some(observation) = &verdict.observation {
        let steps = words::steps(observation);
        let mut observed: Vec<String> = Vec::new();
        for (step, seen) in steps {
            observed.extend(seen.into_iter().map(|line| format!("{step:<8} {line}")));
        }
        if observed.is_empty() {
            observed.push("nothing".to_owned());
        }
        push(&mut lines, "observed", observed);
    }
    match &verdict.outcome {
        Judgement::AsExpected => {}
        Judgement::NotAsExpected { step, expected, observed } => push(
            &mut lines,
            "they part",
            [
                format!("at {}", words::step(*step)),
                format!("had to be: {}", words::cut(expected, LONGEST)),
                format!("was:       {}", words::cut(observed, LONGEST)),
            ],
        ),
        Judgement::NotSupported { reason } => push(&mut lines, "missing", [words::visible(reason)]),
        Judgement::NotProbed { reason } => {
            push(&mut lines, "because", words::plain_lines(reason, 20).lines().map(str::to_owned));
        }
    }
    if !verdict.reproduce.is_empty() {
        push(&mut lines, "by hand", [words::visible(&verdict.reproduce)]);
    }
    lines.join("\n")
}

/// How a cell ended, in a few words.
pub(super) fn headline(verdict: &Verdict) -> String {
    match &verdict.outcome {
        Judgement::AsExpected => "as expected".to_owned(),
        Judgement::NotAsExpected { step, .. } => {
            format!("not as expected, from the step `{}` on", words::step(*step))
        }
        Judgement::NotSupported { .. } => "not supported here".to_owned(),
        Judgement::NotProbed { .. } => "not probed".to_owned(),
    }
}

pub(super) fn push(lines: &mut Vec<String>, name: &str, text: impl IntoIterator<Item = String>) {
    for (index, line) in text.into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        lines.push(format!("  {name:<MARGIN$}{line}"));
    }
}
