//! A load in full, for a person who has to find out what broke.

use super::{LoadOutcome, LoadRecord, PodLoad, errors, percent};
use crate::report::{explain::push, words};

/// How many lines of a finding are shown.
const LONGEST: usize = 12;

/// A load in full: what was sent, who may answer by which law, what both ends saw, what the tests found, and what is not
/// as expected.
///
/// It is plain text without colours, and safe to print whatever came over the network.
pub fn explain(load: &LoadRecord) -> String {
    let (_, verdict, _) = load.mark();
    let mut lines = vec![format!("{}: {verdict}", words::visible(&load.place()))];
    push(
        &mut lines,
        "load",
        [format!(
            "{} → http://{}/, {}",
            words::visible(&load.vantage),
            words::visible(&load.target),
            words::visible(&load.extent())
        )],
    );
    push(&mut lines, "rate", load.rate().into_iter().chain(load.held()));
    push(&mut lines, "expected", [&load.expected.arrives, &load.expected.why].map(|why| words::visible(why)));
    let unsaid = load.by_logs.then(|| "no answer says whose it is; by the logs:".to_owned());
    push(&mut lines, "answered", unsaid.into_iter().chain(load.pods.iter().map(|pod| pod_line(load, pod))));
    let failed = if load.errors.is_empty() { "none".to_owned() } else { errors(&load.errors) };
    let due = load.refusing.as_ref().map(|pod| format!("{} is there to refuse connections", words::visible(pod)));
    push(&mut lines, "errors", [failed].into_iter().chain(due));
    push(
        &mut lines,
        "both ends",
        [format!(
            "{} answered and logged once each, {} failed and in no log",
            load.conservation.matched, load.conservation.failed_and_unlogged
        )],
    );
    let latency = &load.latency;
    push(
        &mut lines,
        "latency",
        [format!(
            "p50 {}, p99 {}, longest {}; {:.1} requests a second",
            words::time(latency.p50_us),
            words::time(latency.p99_us),
            words::time(latency.max_us),
            load.requests_per_second
        )],
    );
    // Those that found something are findings, and stand below.
    for judgement in load.judgements.iter().filter(|judgement| judgement.is_consistent()) {
        push(&mut lines, "test", words::plain_lines(&judgement.to_string(), LONGEST).lines().map(str::to_owned));
    }
    match &load.outcome {
        LoadOutcome::AsExpected => {}
        LoadOutcome::NotAsExpected { findings } => {
            let all = findings.iter().flat_map(|finding| {
                let text = words::plain_lines(finding, LONGEST);
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            });
            push(&mut lines, "they part", all);
        }
        LoadOutcome::NotJudged { reason } => push(&mut lines, "not judged", [words::visible(reason)]),
    }
    lines.join("\n")
}

/// `nginx-a: 1320 connections (33.3 %, had to be 33.3 %), saw 10.244.1.1`.
fn pod_line(load: &LoadRecord, pod: &PodLoad) -> String {
    let expected = match (pod.may_answer, pod.share) {
        (false, _) => ", and may not answer".to_owned(),
        (true, None) => String::new(),
        (true, Some(share)) => format!(", had to be {:.1} %", share * 100.0),
    };
    let requests =
        if pod.requests == pod.connections { String::new() } else { format!(" with {} requests", pod.requests) };
    let seen: Vec<String> = pod.seen.keys().map(ToString::to_string).collect();
    let seen = if seen.is_empty() { String::new() } else { format!("; it saw {}", seen.join(", ")) };
    let failed = if pod.errors.is_empty() { String::new() } else { format!("; failed: {}", errors(&pod.errors)) };
    let took = if pod.p99_us == 0 {
        String::new()
    } else {
        format!("; p50 {}, p99 {}", words::time(pod.p50_us), words::time(pod.p99_us))
    };
    format!(
        "{}: {} connections{requests} ({:.1} %{expected}){took}{seen}{failed}",
        words::visible(&pod.pod),
        pod.connections,
        percent(pod.connections, load.connections),
    )
}
