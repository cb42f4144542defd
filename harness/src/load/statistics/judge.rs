//! A sample held against a law, as planned.

use std::collections::BTreeMap;

use super::{
    EndpointCount, Finding, Judgement, Law, Method, Plan, Question, Repeats, Sample, SharesTest, Unit, law::real, plan,
    share_interval,
};
use crate::{Error, ErrorKind, Result};

/// How many of the connections that break an exact law are named.
const NAMED: usize = 3;

pub(super) fn judge(plan: &Plan, name: &str, law: &Law, sample: &Sample) -> Result<Vec<Judgement>> {
    let needed = plan.connections(law)?;
    let violations = violations(law, sample);
    if violations.is_empty() && sample.len() < needed {
        let cause = format!("there are {} connections, and the test needs {needed}", sample.len());
        let hint = format!(
            "Make at least {needed} new connections (requests over a kept one do not count), or look for a larger effect \
             than {} points.",
            plan.effect * 100.0
        );
        return Err(Error::new(ErrorKind::Usage, format!("judge the distribution of {name:?}"), cause).hint(hint));
    }
    let blank = Judgement {
        name: name.to_owned(),
        question: Question::Shares,
        unit: Unit::Connection,
        law: law.to_string(),
        connections: sample.len(),
        requests: sample.requests(),
        endpoints: endpoints(plan, law, sample),
        method: Method::Law,
        statistic: None,
        degrees_of_freedom: None,
        p: None,
        adjusted_p: None,
        alpha: plan.alpha,
        tests: plan.tests,
        effect: plan.effect,
        power: 1.0,
        verdict: if violations.is_empty() { Finding::Consistent } else { Finding::Violates },
        violations,
    };
    // What is impossible needs no statistics.
    if law.tests() == 0 || blank.verdict == Finding::Violates {
        let power = if blank.verdict == Finding::Violates {
            1.0
        } else {
            plan::power(law, plan.effect, sample.len(), plan.level())?
        };
        return Ok(vec![Judgement { power, ..blank }]);
    }
    Ok(vec![shares(plan, law, blank.clone())?, independence(plan, law, sample, blank)])
}

fn shares(plan: &Plan, law: &Law, blank: Judgement) -> Result<Judgement> {
    let test = SharesTest::new(blank.connections, &law.shares());
    let counts: Vec<u64> = blank.endpoints.iter().map(|endpoint| endpoint.connections).collect();
    let exact = test.is_exact();
    let degrees = u32::try_from(counts.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let judged = Judgement {
        method: if exact { Method::Exact } else { Method::G },
        statistic: (!exact).then(|| test.g(&counts)),
        degrees_of_freedom: (!exact).then_some(degrees),
        power: plan::power(law, plan.effect, blank.connections, plan.level())?,
        ..blank
    };
    Ok(decided(plan, judged, test.p(&counts)))
}

fn independence(plan: &Plan, law: &Law, sample: &Sample, blank: Judgement) -> Judgement {
    let test = Repeats::new(sample.len(), &law.shares());
    let sequence: Vec<&str> = sample.connections().iter().map(|connection| connection.endpoint.as_str()).collect();
    let repeats = Repeats::count(&sequence);
    let judged = Judgement {
        question: Question::Independence,
        method: if test.is_exact() { Method::Exact } else { Method::Normal },
        statistic: Some(real(repeats)),
        effect: test.smallest_effect(plan.level(), plan.power),
        power: plan.power,
        ..blank
    };
    decided(plan, judged, test.p(repeats))
}

/// The verdict of a test by itself: Bonferroni's, which is Holm's first step. What it rejects, the family would reject too.
fn decided(plan: &Plan, judgement: Judgement, p: f64) -> Judgement {
    let adjusted = (p * f64::from(plan.tests.max(1))).min(1.0);
    let verdict = if adjusted <= plan.alpha { Finding::Departs } else { Finding::Consistent };
    Judgement { p: Some(p), adjusted_p: Some(adjusted), verdict, ..judgement }
}

/// The endpoints of the law in the order of their names, then those that answered without being one.
fn endpoints(plan: &Plan, law: &Law, sample: &Sample) -> Vec<EndpointCount> {
    let mut seen: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for connection in sample.connections() {
        let (connections, requests) = seen.entry(&connection.endpoint).or_default();
        *connections += 1;
        *requests += connection.requests;
    }
    let known = law.endpoints();
    let level = plan.level() / real(known.len() as u64);
    let count = |endpoint: &str, share: f64, (connections, requests): (u64, u64)| {
        let (low, high) = share_interval(connections, sample.len(), level);
        let expected = share * real(sample.len());
        EndpointCount { endpoint: endpoint.to_owned(), connections, requests, expected, low, high }
    };
    let mut counts: Vec<EndpointCount> = known
        .iter()
        .zip(law.shares())
        .map(|(endpoint, share)| count(endpoint, share, seen.remove(endpoint).unwrap_or_default()))
        .collect();
    counts.extend(seen.into_iter().map(|(endpoint, seen)| count(endpoint, 0.0, seen)));
    counts
}

/// What cannot happen under the law, and did.
fn violations(law: &Law, sample: &Sample) -> Vec<String> {
    let mut sentences = Vec::new();
    let known = law.endpoints();
    let mut outside: BTreeMap<&str, u64> = BTreeMap::new();
    for connection in sample.connections() {
        if known.binary_search(&connection.endpoint.as_str()).is_err() {
            *outside.entry(&connection.endpoint).or_default() += 1;
        }
    }
    for (endpoint, connections) in outside {
        sentences.push(format!("{endpoint:?} answered on {connections} connections and is none of the endpoints."));
    }
    if !sample.moved().is_empty() {
        sentences.push(format!(
            "More than one endpoint answered on {} of the connections: {}.",
            sample.moved().len(),
            list(sample.moved().iter().map(u64::to_string))
        ));
    }
    match law {
        Law::Random { .. } => {}
        Law::Affinity { .. } => {
            let first = sample.connections().first();
            let other: Vec<_> = sample
                .connections()
                .iter()
                .filter(|other| first.is_some_and(|first| first.endpoint != other.endpoint))
                .collect();
            if let Some(first) = first
                && !other.is_empty()
            {
                sentences.push(format!(
                    "{} of {} connections did not go to {:?}, as the first did: {}.",
                    other.len(),
                    sample.len(),
                    first.endpoint,
                    list(
                        other
                            .iter()
                            .map(|connection| format!("number {} to {:?}", connection.number, connection.endpoint))
                    )
                ));
            }
        }
        Law::RoundRobin { .. } => sentences.extend(out_of_turn(&known, sample)),
    }
    sentences
}

/// The first connection by which an endpoint was two ahead of another.
fn out_of_turn(endpoints: &[&str], sample: &Sample) -> Option<String> {
    let mut counts = vec![0_u64; endpoints.len()];
    for connection in sample.connections() {
        let Ok(index) = endpoints.binary_search(&connection.endpoint.as_str()) else { continue };
        counts[index] += 1;
        let fewest = counts.iter().copied().min().unwrap_or_default();
        if counts[index] > fewest + 1 {
            return Some(format!(
                "With connection number {}, {:?} had got {} and another endpoint {fewest}: that is not in turn.",
                connection.number, connection.endpoint, counts[index]
            ));
        }
    }
    None
}

/// The first few, and how many more there are.
fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let text = items.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}
