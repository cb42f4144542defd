//! The loads as Markdown.

use super::{LoadRecord, PodLoad, errors, explain_load, percent};
use crate::report::{
    Run,
    markdown::{code, escape, fence, heading, line},
    words,
};

/// The loads that are not as expected, in full.
pub(in crate::report) fn failures(run: &Run, level: usize) -> Vec<String> {
    let mut parts = Vec::new();
    for load in run.loads.iter().filter(|load| load.is_not_as_expected()) {
        if parts.is_empty() {
            parts.push(heading(level, "Loads that are not as expected"));
        }
        parts.push(format!("{}\n\n{}", heading(level + 1, &code(&load.place())), fence(&explain_load(load))));
    }
    parts
}

/// A table of all loads, and one of the pods of each.
pub(in crate::report) fn parts(run: &Run, level: usize) -> Vec<String> {
    if run.loads.is_empty() {
        return Vec::new();
    }
    let mut text = "| | Load | Sent | Answered | Errors | Spread | Requests/s | p50 | p99 | Longest |\n\
                    |:-:|---|---|--:|---|---|--:|--:|--:|--:|\n"
        .to_owned();
    for load in &run.loads {
        text.push_str(&line([
            load.mark().0.to_owned(),
            code(&load.place()),
            escape(&load.extent()),
            format!("{} of {}", load.answered, load.requests),
            if load.errors.is_empty() { "none".to_owned() } else { escape(&errors(&load.errors)) },
            escape(&load.tested()),
            format!("{:.1}{}", load.requests_per_second, load.shortfall()),
            words::time(load.latency.p50_us),
            words::time(load.latency.p99_us),
            words::time(load.latency.max_us),
        ]));
    }
    let mut parts = vec![heading(level, "Loads"), text.trim_end().to_owned()];
    for load in &run.loads {
        parts.push(heading(level + 1, &code(&load.place())));
        let refusing = load.refusing.as_ref().map_or_else(String::new, |pod| {
            format!(" {} refuses every connection: what is refused is its share.", code(pod))
        });
        let unsaid = if load.by_logs { " No answer says whose it is: who answered is what the logs say." } else { "" };
        parts.push(format!("{} {}{refusing}{unsaid}", escape(&load.expected.arrives), escape(&load.expected.why)));
        parts.extend(load.rate().into_iter().chain(load.held()).map(|text| format!("Rate: {}.", escape(&text))));
        parts.push(pods(load));
        if !load.judgements.is_empty() {
            let tests = load.judgements.iter().map(|judgement| {
                let sentences: Vec<String> = judgement.to_string().lines().map(escape).collect();
                format!("- {}", sentences.join(" "))
            });
            parts.push(tests.collect::<Vec<_>>().join("\n"));
        }
    }
    parts
}

fn pods(load: &LoadRecord) -> String {
    let mut text =
        "| Pod | Node | Connections | Share | Confidence band | Expected | Requests | p50 | p99 | Source addresses seen |\n\
                    |---|---|--:|--:|--:|--:|--:|--:|--:|---|\n"
            .to_owned();
    for pod in &load.pods {
        let seen: Vec<String> =
            pod.seen.iter().map(|(address, times)| format!("{} × {times}", code(&address.to_string()))).collect();
        text.push_str(&line([
            code(&pod.pod),
            pod.node.as_deref().map_or_else(String::new, code),
            pod.connections.to_string(),
            format!("{:.1} %", percent(pod.connections, load.connections)),
            format!("{:.1} – {:.1} %", pod.low * 100.0, pod.high * 100.0),
            expected(pod),
            pod.requests.to_string(),
            took(pod, pod.p50_us),
            took(pod, pod.p99_us),
            seen.join("<br>"),
        ]));
    }
    text.trim_end().to_owned()
}

fn took(pod: &PodLoad, us: u64) -> String {
    // Where only the logs tell who answered, nobody knows how long each took.
    if pod.p99_us == 0 { "–".to_owned() } else { words::time(us) }
}

fn expected(pod: &PodLoad) -> String {
    match (pod.may_answer, pod.share) {
        (false, _) => "! may not answer".to_owned(),
        (true, None) => "any".to_owned(),
        (true, Some(share)) => format!("{:.1} %", share * 100.0),
    }
}
