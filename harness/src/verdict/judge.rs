//! One observation against one expectation, fact by fact.

use std::{collections::BTreeSet, fmt::Display, net::IpAddr};

use reachmap_wire::{Connect, FailureClass, Observation, RecordData, Resolve, Respond, RouteOutcome, Step};

use super::Judgement;
use crate::model::{Expectation, Fact, Source, dns::absolute, why::dns_words};

/// Compares what was seen with what had to be seen, in the order of the steps; the first fact that was not borne out
/// is where they part.
///
/// ```
/// use reachmap::{model::{Method, Vantage, expect}, state::State, verdict::{Judgement, judge}, wire::{Observation, Step}};
/// let state = State::example();
/// let expectation = expect(&state, &Vantage::find(&state, "testpod")?, &Method::find("clusterip-fqdn", 3)?)?;
/// // A probe that saw nothing bears nothing out.
/// let Judgement::NotAsExpected { step, .. } = judge(&expectation, &Observation::default()) else { panic!() };
/// assert_eq!(step, Step::Resolve);
/// # Ok::<(), reachmap::Error>(())
/// ```
pub fn judge(expectation: &Expectation, observation: &Observation) -> Judgement {
    // An expectation's facts come in the order of the steps already, but that is its maker's promise only.
    let mut facts: Vec<&Fact> = expectation.facts.iter().collect();
    facts.sort_by_key(|fact| step_of(fact));
    for fact in facts {
        if let Some((step, expected, observed)) = parting(fact, observation) {
            return Judgement::NotAsExpected { step, expected, observed };
        }
    }
    if expectation.reachable != observation.is_reached() {
        let expected = if expectation.reachable { "an answer with status 200" } else { "no answer" };
        let step = observation.last_step().unwrap_or(Step::Resolve);
        return Judgement::NotAsExpected { step, expected: expected.to_owned(), observed: respond_words(observation) };
    }
    Judgement::AsExpected
}

fn step_of(fact: &Fact) -> Step {
    match fact {
        Fact::NothingAsked | Fact::Asks(_) | Fact::Resolves { .. } | Fact::DoesNotResolve(_) => Step::Resolve,
        Fact::Connects(_) | Fact::DoesNotConnect(_) => Step::Connect,
        Fact::ServedBy(_) | Fact::SeenBy(_) => Step::Respond,
    }
}

/// Where a fact is not borne out: the step, what had to be seen and what was.
type Parting = (Step, String, String);

fn parting(fact: &Fact, observation: &Observation) -> Option<Parting> {
    let resolve = observation.resolve.as_ref();
    match fact {
        Fact::NothingAsked => {
            let asked = resolve.filter(|resolve| !resolve.questions.is_empty())?;
            let expected = "no question, since the request names an address".to_owned();
            Some((Step::Resolve, expected, resolve_words(asked)))
        }
        Fact::Asks(names) => {
            let asked = resolve.map(asked_names).unwrap_or_default();
            let expected: Vec<String> = names.iter().map(|name| absolute(name)).collect();
            let nothing = || "no question at all".to_owned();
            let observed = if asked.is_empty() { nothing() } else { list(&asked) };
            (asked != expected).then(|| (Step::Resolve, format!("questions for {}", list(&expected)), observed))
        }
        Fact::Resolves { answered, aliases, addresses } => resolves(resolve, answered, aliases, addresses),
        Fact::DoesNotResolve(ways) => {
            let failure = resolve.and_then(|resolve| resolve.failure);
            let expected = || ways.iter().map(|way| dns_words(*way)).collect::<Vec<_>>().join(", or ");
            let observed = || resolve.map_or_else(nothing_asked, resolve_words);
            (!failure.is_some_and(|failure| ways.contains(&failure))).then(|| (Step::Resolve, expected(), observed()))
        }
        Fact::Connects(destinations) => {
            let connected = observation
                .connect
                .as_ref()
                .is_some_and(|connect| connect.failure.is_none() && destinations.contains(&connect.destination));
            let at_route = observation.connect.is_none() && route_failure(observation).is_some();
            let step = if at_route { Step::Route } else { Step::Connect };
            let expected = || format!("a connection to {}", list(destinations));
            (!connected).then(|| (step, expected(), connect_words(observation)))
        }
        Fact::DoesNotConnect(ways) => {
            let class = connect_failure(observation);
            let expected = || ways.iter().map(|way| network_words(*way)).collect::<Vec<_>>().join(", or ");
            (!class.is_some_and(|class| ways.contains(&class)))
                .then(|| (Step::Connect, format!("no connection: {}", expected()), respond_words(observation)))
        }
        Fact::ServedBy(pods) => {
            let pod = observation.respond.as_ref().and_then(|respond| respond.served_by.as_ref());
            let served = observation.is_reached() && pod.is_some_and(|pod| pods.contains(pod));
            let expected = || format!("status 200 from {}", one_of(pods));
            (!served).then(|| (Step::Respond, expected(), respond_words(observation)))
        }
        Fact::SeenBy(by_pod) => {
            let respond = observation.respond.as_ref();
            let pod = respond.and_then(|respond| respond.served_by.as_ref())?;
            // Who may answer is another fact's business, and of who is not listed nothing is said.
            let sources = by_pod.get(pod)?;
            let seen = respond.and_then(|respond| respond.client_address);
            let expected = || format!("source address {} at {pod}", list_or(sources));
            let observed = || match seen {
                Some(address) => format!("source address {address} at {pod}"),
                None => format!("source address not reported by {pod}"),
            };
            (!seen.is_some_and(|address| sources.iter().any(|source| source.address == address)))
                .then(|| (Step::Respond, expected(), observed()))
        }
    }
}

fn resolves(
    resolve: Option<&Resolve>,
    answered: &str,
    aliases: &[String],
    addresses: &BTreeSet<IpAddr>,
) -> Option<Parting> {
    let aliases: Vec<String> = aliases.iter().map(|alias| absolute(alias)).collect();
    let seen = resolve.is_some_and(|resolve| {
        resolve.failure.is_none()
            && resolve.answered.as_deref().map(absolute) == Some(absolute(answered))
            && resolve.addresses.iter().copied().collect::<BTreeSet<_>>() == *addresses
            && aliases_of(resolve, answered) == aliases
    });
    (!seen).then(|| {
        let expected = format!("{} = {}", chain(answered, &aliases), list(addresses));
        (Step::Resolve, expected, resolve.map_or_else(nothing_asked, resolve_words))
    })
}

/// A name and the aliases that follow it.
fn chain(answered: &str, aliases: &[String]) -> String {
    aliases.iter().fold(absolute(answered), |chain, alias| format!("{chain} → {alias}"))
}

/// The names asked for, each once for all its record types and servers.
fn asked_names(resolve: &Resolve) -> Vec<String> {
    let mut names: Vec<String> = resolve.questions.iter().map(|question| absolute(&question.name)).collect();
    names.dedup();
    names
}

/// The aliases that the answers lead through, from the answered name on.
fn aliases_of(resolve: &Resolve, answered: &str) -> Vec<String> {
    let answered = absolute(answered);
    let mut aliases: Vec<String> = Vec::new();
    let mut current = answered.clone();
    let records = || {
        resolve
            .questions
            .iter()
            .filter(|question| absolute(&question.name) == answered)
            .flat_map(|question| &question.answers)
    };
    while let Some(next) = records().find_map(|record| match &record.data {
        RecordData::Cname(next) if absolute(&record.name) == current => Some(absolute(next)),
        _ => None,
    }) {
        if next == answered || aliases.contains(&next) {
            break;
        }
        aliases.push(next.clone());
        current = next;
    }
    aliases
}

fn route_failure(observation: &Observation) -> Option<FailureClass> {
    match &observation.route.as_ref()?.outcome {
        RouteOutcome::Source(_) => None,
        RouteOutcome::Failed(failure) => Some(failure.class),
    }
}

/// How the connection failed: at the route if it came to nothing there, else at the handshake.
fn connect_failure(observation: &Observation) -> Option<FailureClass> {
    match &observation.connect {
        Some(connect) => connect.failure.as_ref().map(|failure| failure.class),
        None => route_failure(observation),
    }
}

fn nothing_asked() -> String {
    "nothing was resolved".to_owned()
}

fn resolve_words(resolve: &Resolve) -> String {
    match (&resolve.failure, &resolve.answered) {
        (Some(failure), _) => {
            let asked = asked_names(resolve);
            let asked = if asked.is_empty() { String::new() } else { format!(" after {}", list(&asked)) };
            format!("{}{asked}", dns_words(*failure))
        }
        (None, Some(answered)) => {
            let chain = aliases_of(resolve, answered)
                .into_iter()
                .fold(absolute(answered), |chain, alias| format!("{chain} → {alias}"));
            format!("{chain} = {}", list(&resolve.addresses))
        }
        (None, None) => format!("addresses {}", list(&resolve.addresses)),
    }
}

fn connect_words(observation: &Observation) -> String {
    match &observation.connect {
        Some(Connect { destination, failure: None, .. }) => format!("a connection to {destination}"),
        Some(Connect { destination, failure: Some(failure), .. }) => {
            format!("{} at {destination} ({})", network_words(failure.class), failure.message)
        }
        None => match (&observation.route, &observation.resolve) {
            (Some(route), _) => match &route.outcome {
                RouteOutcome::Failed(failure) => {
                    format!("{} for {} ({})", network_words(failure.class), route.destination, failure.message)
                }
                RouteOutcome::Source(source) => {
                    format!("a route to {} from {source}, and no connection attempt", route.destination)
                }
            },
            (None, Some(resolve)) => resolve_words(resolve),
            (None, None) => "nothing".to_owned(),
        },
    }
}

fn respond_words(observation: &Observation) -> String {
    let Some(respond) = &observation.respond else {
        return connect_words(observation);
    };
    match respond {
        Respond { failure: Some(failure), .. } => format!("{} ({})", network_words(failure.class), failure.message),
        Respond { status: Some(status), served_by: Some(pod), .. } => format!("status {status} from {pod}"),
        Respond { status: Some(status), served_by: None, body_start, .. } => {
            let body: String = body_start.chars().take(60).collect();
            format!("status {status} from a server that does not name itself: {body:?}")
        }
        Respond { status: None, .. } => "no status".to_owned(),
    }
}

fn network_words(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NetworkUnreachable => "network unreachable",
        FailureClass::HostUnreachable => "host unreachable",
        FailureClass::Refused => "connection refused",
        FailureClass::Reset => "connection reset",
        FailureClass::Forbidden => "forbidden",
        FailureClass::Timeout => "no answer in time",
        FailureClass::Closed => "connection closed early",
        FailureClass::Malformed => "not HTTP",
        FailureClass::Other => "another failure",
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Addresses with their reasons, which have commas of their own.
fn list_or(sources: &BTreeSet<Source>) -> String {
    sources.iter().map(|source| format!("{} ({})", source.address, source.reason)).collect::<Vec<_>>().join(", or ")
}

fn one_of<T: Display>(items: &BTreeSet<T>) -> String {
    if items.len() > 1 { format!("one of {}", list(items)) } else { list(items) }
}
