//! Steps, facts and failures in words, and text from the network made safe to show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use reachmap_wire::{
    Connect, DnsFailure, Failure, FailureClass, Observation, Question, Resolve, Respond, Route, RouteOutcome, Step,
};

use crate::model::{Fact, Source};

/// How much of a text from the network is shown.
const LONGEST: usize = 200;

/// A text from the network, made visible and cut.
pub(crate) fn plain(text: &str) -> String {
    cut(text, LONGEST)
}

/// The first `most` characters of a text, made visible.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", visible(&text[..end])),
        None => visible(text),
    }
}

/// A text with everything that is not plain text made visible.
///
/// Control characters could move a terminal's cursor, and bidirectional controls could reorder a line.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let unseen = c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
            let escaped: Box<dyn Iterator<Item = char>> =
                if unseen { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) };
            escaped
        })
        .collect()
}

/// The same for text of several lines, such as a test's output: line breaks stay, and more of it.
pub(crate) fn plain_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(most);
    let mut shown: Vec<String> = Vec::new();
    if left_out > 0 {
        shown.push(format!("… {left_out} lines left out"));
    }
    shown.extend(lines[left_out..].iter().map(|line| plain(line)));
    shown.join("\n")
}

/// A duration in microseconds, as a person says it.
pub(super) fn time(microseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let milliseconds = microseconds as f64 / 1000.0;
    if milliseconds < 1000.0 { format!("{milliseconds:.1} ms") } else { format!("{:.1} s", milliseconds / 1000.0) }
}

/// A duration in seconds, as a person says it.
pub(super) fn seconds(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative, and far below the limit"
    )]
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60.. => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// `1 cell`, `2 cells`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A step's name.
pub(crate) const fn step(step: Step) -> &'static str {
    match step {
        Step::Resolve => "resolve",
        Step::Route => "route",
        Step::Connect => "connect",
        Step::Respond => "respond",
    }
}

/// A DNS failure, by the name that DNS people use.
pub(super) const fn dns(failure: DnsFailure) -> &'static str {
    match failure {
        DnsFailure::NxDomain => "NXDOMAIN",
        DnsFailure::NoData => "NODATA",
        DnsFailure::ServFail => "SERVFAIL",
        DnsFailure::Refused => "REFUSED",
        DnsFailure::Timeout => "no answer in time",
        DnsFailure::NoServer => "no server to ask",
        DnsFailure::Malformed => "an answer that makes no sense",
    }
}

/// A network failure.
pub(super) const fn network(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NetworkUnreachable => "network unreachable",
        FailureClass::HostUnreachable => "host unreachable",
        FailureClass::Refused => "refused",
        FailureClass::Reset => "reset",
        FailureClass::Forbidden => "forbidden",
        FailureClass::Timeout => "no answer",
        FailureClass::Closed => "closed before the answer was complete",
        FailureClass::Malformed => "an answer that is not HTTP",
        FailureClass::Other => "failed",
    }
}

/// What an observation must show.
pub(crate) fn fact(fact: &Fact) -> String {
    match fact {
        Fact::NothingAsked => "no DNS question, since the request names an address".to_owned(),
        Fact::Asks(names) => format!("questions for {}, in this order", list(names, ", ")),
        Fact::Resolves { answered, aliases, addresses } => {
            let chain: Vec<&String> = std::iter::once(answered).chain(aliases).collect();
            format!("{} resolves to {}", list(chain, " → "), list(addresses, ", "))
        }
        Fact::DoesNotResolve(ways) => {
            format!("the name does not resolve: {}", list(ways.iter().map(|way| dns(*way)), " or "))
        }
        Fact::Connects(destinations) => format!("a connection to {}", either(destinations)),
        Fact::DoesNotConnect(classes) => {
            format!("no connection: {}", list(classes.iter().map(|class| network(*class)), " or "))
        }
        Fact::ServedBy(pods) => format!("an answer with status 200 by {}", either(pods)),
        Fact::SeenBy(by_pod) => seen_by(by_pod),
    }
}

/// Who sees the client as whom; pods that see the same are named together.
fn seen_by(by_pod: &BTreeMap<String, BTreeSet<Source>>) -> String {
    let mut together: Vec<(&BTreeSet<Source>, Vec<&String>)> = Vec::new();
    for (pod, sources) in by_pod {
        match together.iter_mut().find(|(known, _)| *known == sources) {
            Some((_, pods)) => pods.push(pod),
            None => together.push((sources, vec![pod])),
        }
    }
    let source = |source: &Source| format!("{} ({})", source.address, source.reason);
    let seen = |(sources, pods): (&BTreeSet<Source>, Vec<&String>)| {
        format!("{} sees the client as {}", list(pods, " or "), list(sources.iter().map(source), " or "))
    };
    list(together.into_iter().map(seen), "; ")
}

/// Everything that a probe saw, step by step: the step's name, and a line for each thing seen in it.
pub(super) fn steps(observation: &Observation) -> Vec<(&'static str, Vec<String>)> {
    let mut steps = Vec::new();
    if let Some(seen) = &observation.resolve {
        steps.push((step(Step::Resolve), resolve(seen)));
    }
    if let Some(seen) = &observation.route {
        steps.push((step(Step::Route), vec![route(seen)]));
    }
    if let Some(seen) = &observation.connect {
        steps.push((step(Step::Connect), vec![connect(seen)]));
    }
    if let Some(seen) = &observation.respond {
        steps.push((step(Step::Respond), respond(seen)));
    }
    steps
}

/// Where a probe ended, in one line.
pub(super) fn outcome(observation: &Observation) -> String {
    if let Some(seen) = &observation.respond {
        return answer(seen);
    }
    // The system's own words say no more than the class: they are left to the explanation in full.
    match (&observation.connect, &observation.route) {
        (Some(Connect { destination, failure: Some(failure), elapsed_us, .. }), _) => {
            return format!("{destination}: {} after {}", network(failure.class), time(*elapsed_us));
        }
        (Some(seen), _) => return connect(seen),
        (None, Some(Route { destination, outcome: RouteOutcome::Failed(failure) })) => {
            return format!("{destination}: {}", network(failure.class));
        }
        _ => {}
    }
    match &observation.resolve {
        Some(Resolve { failure: Some(failure), questions, elapsed_us, .. }) => {
            format!("{} after {} in {}", dns(*failure), count(questions.len(), "question"), time(*elapsed_us))
        }
        Some(seen) => resolve(seen).pop().unwrap_or_default(),
        None => observation.route.as_ref().map_or_else(|| "nothing".to_owned(), route),
    }
}

fn resolve(seen: &Resolve) -> Vec<String> {
    let mut lines: Vec<String> = seen.questions.iter().map(question).collect();
    let name = plain(&seen.name);
    lines.push(match (seen.failure, &seen.answered) {
        (Some(failure), _) => format!("{name} does not resolve: {} after {}", dns(failure), time(seen.elapsed_us)),
        (None, Some(answered)) => {
            format!("{name} is {} = {} after {}", plain(answered), list(&seen.addresses, ", "), time(seen.elapsed_us))
        }
        (None, None) => format!("{name} = {} after {}", list(&seen.addresses, ", "), time(seen.elapsed_us)),
    });
    lines
}

fn question(asked: &Question) -> String {
    let kind = asked.kind;
    let answers = list(asked.answers.iter().map(|record| plain(&record.data.to_string())), ", ");
    let answer = match (&asked.rcode, asked.failure) {
        (_, Some(failure)) if answers.is_empty() => dns(failure).to_owned(),
        (_, Some(failure)) => format!("{} ({answers})", dns(failure)),
        (Some(_), None) if !answers.is_empty() => answers,
        (Some(rcode), None) => plain(rcode),
        (None, None) => "no answer".to_owned(),
    };
    format!("asked {} for {kind} {} → {answer}, {}", asked.server, plain(&asked.name), time(asked.elapsed_us))
}

fn route(seen: &Route) -> String {
    match &seen.outcome {
        RouteOutcome::Source(source) => format!("to {}: leaves from {source}", seen.destination),
        RouteOutcome::Failed(failure) => format!("to {}: {}", seen.destination, failed(failure)),
    }
}

fn connect(seen: &Connect) -> String {
    let Connect { destination, local, failure, elapsed_us } = seen;
    match (failure, local) {
        (Some(failure), _) => format!("to {destination}: {} after {}", failed(failure), time(*elapsed_us)),
        (None, Some(local)) => format!("to {destination}: established from {local} in {}", time(*elapsed_us)),
        (None, None) => format!("to {destination}: established in {}", time(*elapsed_us)),
    }
}

fn respond(seen: &Respond) -> Vec<String> {
    let mut lines = vec![answer(seen)];
    // The body only matters where the answer is not the one that the workloads give.
    if !seen.body_start.is_empty() && (seen.status != Some(200) || seen.served_by.is_none()) {
        lines.push(format!("the body ({}) starts: {}", bytes(seen.body_length), plain(&seen.body_start)));
    }
    lines
}

fn answer(seen: &Respond) -> String {
    let took = time(seen.elapsed_us);
    let Some(status) = seen.status else {
        return match &seen.failure {
            Some(failure) => format!("{} after {took}", failed(failure)),
            None => format!("no status after {took}"),
        };
    };
    let by = seen
        .served_by
        .as_ref()
        .map_or_else(|| " by a server that does not name itself".to_owned(), |pod| format!(" by {}", plain(pod)));
    let saw = seen.client_address.map_or_else(String::new, |address| format!(", which saw the client as {address}"));
    let but = seen.failure.as_ref().map_or_else(String::new, |failure| format!(", but {}", failed(failure)));
    format!("{status}{by}{saw}{but}, {took}")
}

fn bytes(length: u64) -> String {
    if length == 1 { "1 byte".to_owned() } else { format!("{length} bytes") }
}

fn failed(failure: &Failure) -> String {
    let words = network(failure.class);
    if failure.message.is_empty() { words.to_owned() } else { format!("{words} ({})", plain(&failure.message)) }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| visible(&item.to_string())).collect::<Vec<_>>().join(between)
}

fn either<T: Display>(items: &BTreeSet<T>) -> String {
    list(items, " or ")
}
