//! A cell in words: what had to happen and why, what happened, where the two part.

use std::fmt::Write as _;

use crate::{
    verdict::{Judgement, Verdict},
    wire::{DnsFailure, Failure, FailureClass, Observation, Question, RecordData, RouteOutcome, Step},
};

/// Everything about one cell, for a person who has to find out what is wrong.
pub fn explain(verdict: &Verdict) -> String {
    let mut text = format!("{}\n", verdict.cell());
    let mut line = |label: &str, words: &str| {
        let _ = writeln!(text, "  {label:<11} {words}");
    };
    if let Some(expectation) = &verdict.expectation {
        let what = if expectation.reachable { "reaches the Service" } else { "does not reach the Service" };
        line("request", &format!("http://{}/ from {}", expectation.target, verdict.vantage));
        line("expected", &format!("{what}: {}", expectation.why()));
    }
    if let Some(observation) = &verdict.observation {
        for (at, words) in steps(observation).iter().enumerate() {
            line(if at == 0 { "observed" } else { "" }, words);
        }
    }
    match &verdict.outcome {
        Judgement::AsExpected => line("verdict", "as expected"),
        Judgement::NotAsExpected { step, expected, observed } => {
            line("they part", &format!("at {}", step_name(*step)));
            line("  expected", expected);
            line("  observed", observed);
        }
        Judgement::NotSupported { reason } => line("verdict", &format!("not supported here: {reason}")),
        Judgement::NotProbed { reason } => line("verdict", &format!("not probed: {reason}")),
    }
    if !verdict.reproduce.is_empty() {
        line("by hand", &verdict.reproduce);
    }
    text
}

/// What was seen, a line a step.
pub(super) fn steps(observation: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(resolve) = &observation.resolve {
        lines.extend(resolve.questions.iter().map(question));
        lines.push(match resolve.failure {
            Some(failure) => format!("{} does not resolve: {}", resolve.name, dns_failure(failure)),
            None => format!("{} resolves to {}", resolve.name, list(&resolve.addresses)),
        });
    }
    if let Some(route) = &observation.route {
        lines.push(match &route.outcome {
            RouteOutcome::Source(source) => format!("route to {} from {source}", route.destination),
            RouteOutcome::Failed(failure) => format!("no route to {}: {}", route.destination, failed(failure)),
        });
    }
    if let Some(connect) = &observation.connect {
        let took = milliseconds(connect.elapsed_us);
        lines.push(match &connect.failure {
            None => format!("connected to {} in {took}", connect.destination),
            Some(failure) => format!("no connection to {} after {took}: {}", connect.destination, failed(failure)),
        });
    }
    if let Some(respond) = &observation.respond {
        let pod = respond.served_by.as_deref().unwrap_or("a server without X-Served-By");
        let seen = respond.client_address.map(|address| format!(", which saw {address}")).unwrap_or_default();
        lines.push(match (respond.status, &respond.failure) {
            (_, Some(failure)) => format!("no answer: {}", failed(failure)),
            (Some(status), None) => format!("{status} from {pod}{seen}"),
            (None, None) => "no answer".to_owned(),
        });
        if respond.status != Some(200) || respond.served_by.is_none() {
            lines.push(format!("body starts {:?}", respond.body_start));
        }
    }
    lines
}

/// What was seen, in one short phrase for a table.
pub(super) fn seen(observation: &Observation) -> String {
    if let Some(respond) = &observation.respond {
        return match (respond.status, &respond.served_by, &respond.failure) {
            (_, _, Some(failure)) => class(failure.class).to_owned(),
            (Some(status), Some(pod), None) => format!("{status} from {pod}"),
            (Some(status), None, None) => format!("{status}"),
            (None, _, None) => "no answer".to_owned(),
        };
    }
    let connect = observation.connect.as_ref().and_then(|connect| connect.failure.as_ref());
    let route = observation.route.as_ref().and_then(|route| match &route.outcome {
        RouteOutcome::Failed(failure) => Some(failure),
        RouteOutcome::Source(_) => None,
    });
    if let Some(failure) = connect.or(route) {
        return class(failure.class).to_owned();
    }
    match observation.resolve.as_ref().and_then(|resolve| resolve.failure) {
        Some(failure) => dns_failure(failure).to_owned(),
        None => "nothing".to_owned(),
    }
}

fn question(question: &Question) -> String {
    let answers: Vec<String> = question
        .answers
        .iter()
        .map(|record| match &record.data {
            RecordData::Address(address) => address.to_string(),
            RecordData::Cname(name) => format!("CNAME {name}"),
            RecordData::Other(text) => text.clone(),
        })
        .collect();
    let said = match (&question.rcode, question.failure) {
        (Some(rcode), _) if answers.is_empty() => rcode.clone(),
        (Some(_), _) => answers.join(", "),
        (None, Some(failure)) => dns_failure(failure).to_owned(),
        (None, None) => "no answer".to_owned(),
    };
    let kind = format!("{:?}", question.kind).to_uppercase();
    format!("{} {kind}? {said} ({})", question.name, milliseconds(question.elapsed_us))
}

fn failed(failure: &Failure) -> String {
    format!("{} ({})", class(failure.class), failure.message)
}

/// A failure class in a person's words.
pub(super) const fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NetworkUnreachable => "network unreachable",
        FailureClass::HostUnreachable => "host unreachable",
        FailureClass::Refused => "refused",
        FailureClass::Reset => "reset",
        FailureClass::Forbidden => "forbidden",
        FailureClass::Timeout => "timeout",
        FailureClass::Closed => "closed early",
        FailureClass::Malformed => "not HTTP",
        FailureClass::Other => "failed",
    }
}

const fn dns_failure(failure: DnsFailure) -> &'static str {
    match failure {
        DnsFailure::NxDomain => "NXDOMAIN",
        DnsFailure::NoData => "no address (NODATA)",
        DnsFailure::ServFail => "SERVFAIL",
        DnsFailure::Refused => "REFUSED",
        DnsFailure::Timeout => "no DNS answer in time",
        DnsFailure::NoServer => "no DNS server",
        DnsFailure::Malformed => "malformed DNS answer",
    }
}

pub(super) const fn step_name(step: Step) -> &'static str {
    match step {
        Step::Resolve => "resolve",
        Step::Route => "route",
        Step::Connect => "connect",
        Step::Respond => "respond",
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn milliseconds(microseconds: u64) -> String {
    format!("{:.1} ms", microseconds as f64 / 1000.0)
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
