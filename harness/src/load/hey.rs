//! What [hey](https://github.com/rakyll/hey) prints, read back.
//!
//! Its summary is read word by word and not line by line, so that a copy whose line breaks were lost, such as the
//! tutorial's, is read as well.

use std::collections::BTreeMap;

use reachmap_wire::FailureClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The headings of the parts, in hey's order.
const HEADINGS: [&str; 6] = [
    "Summary:",
    "Response time histogram:",
    "Latency distribution:",
    "Details (average, fastest, slowest):",
    "Status code distribution:",
    "Error distribution:",
];

/// A bar of hey's histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bar {
    /// The longest time in it, in seconds.
    pub seconds: f64,
    /// How many answers it holds.
    pub count: u64,
}

/// A percentile of hey's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentile {
    /// So many of 100 answers …
    pub percent: u8,
    /// … took at most so many seconds.
    pub seconds: f64,
}

/// hey's summary. Times are in seconds, and are of answered requests.
///
/// ```
/// use reachmap::load::hey::Hey;
/// let text = "Summary:\n  Total:\t0.5 secs\n  Requests/sec:\t20.0\nStatus code distribution:\n  [200]\t10 responses\n";
/// let hey = Hey::parse(text)?;
/// assert_eq!((hey.answered(), hey.failed()), (10, 0));
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hey {
    /// How long the whole run took.
    pub total: f64,
    /// The slowest answer.
    pub slowest: Option<f64>,
    /// The fastest answer.
    pub fastest: Option<f64>,
    /// The mean; hey prints `NaN` if nothing was answered.
    pub average: Option<f64>,
    /// Requests a second, failed ones too.
    pub requests_per_second: f64,
    /// The bytes of all bodies; hey leaves it out if there were none.
    pub total_bytes: Option<u64>,
    /// The bytes of a body.
    pub bytes_per_request: Option<u64>,
    /// The histogram.
    pub histogram: Vec<Bar>,
    /// The percentiles.
    pub latencies: Vec<Percentile>,
    /// How many answers had each status.
    pub statuses: BTreeMap<u16, u64>,
    /// How many requests failed, by class.
    pub errors: BTreeMap<FailureClass, u64>,
}

impl Hey {
    /// Reads what hey printed, with or without its line breaks.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is not hey's summary.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |cause: &str| {
            Error::new(ErrorKind::Usage, "read the output of hey", cause)
                .hint("Give it the whole text that `hey` prints, without its `-o csv`.")
        };
        let part = |heading: usize| {
            let (_, rest) = text.split_once(HEADINGS[heading])?;
            let end = HEADINGS[heading + 1..].iter().filter_map(|next| rest.find(next)).min();
            Some(&rest[..end.unwrap_or(rest.len())])
        };
        let summary = part(0).ok_or_else(|| wrong("there is no `Summary:`"))?;
        let number = |name: &str| after(summary, name)?.parse::<f64>().ok().filter(|value| value.is_finite());
        let whole = |name: &str| after(summary, name)?.parse().ok();
        Ok(Self {
            total: number("Total:").ok_or_else(|| wrong("there is no `Total:`"))?,
            slowest: number("Slowest:"),
            fastest: number("Fastest:"),
            average: number("Average:"),
            requests_per_second: number("Requests/sec:").ok_or_else(|| wrong("there is no `Requests/sec:`"))?,
            total_bytes: whole("Total data:"),
            bytes_per_request: whole("Size/request:"),
            histogram: histogram(part(1).unwrap_or_default()),
            latencies: latencies(part(2).unwrap_or_default()),
            statuses: statuses(part(4).unwrap_or_default()),
            errors: errors(part(5).unwrap_or_default()),
        })
    }

    /// How many requests were answered, with whatever status.
    pub fn answered(&self) -> u64 {
        self.statuses.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(name)?.1.split_whitespace().next()
}

/// `0.013 [1] | 0.020 [114] |■■`
fn histogram(text: &str) -> Vec<Bar> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let bar = |pair: &[&str]| Some(Bar { seconds: pair[0].parse().ok()?, count: bracketed(pair[1])? });
    words.windows(2).filter_map(bar).collect()
}

/// `10% in 0.0193 secs`; newer ones print `10%% in …`.
fn latencies(text: &str) -> Vec<Percentile> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let percentile = |words: &[&str]| {
        let (percent, "in") = (words[0].strip_suffix('%')?, words[1]) else { return None };
        let percent = percent.trim_end_matches('%').parse().ok()?;
        Some(Percentile { percent, seconds: words[2].parse().ok()? })
    };
    words.windows(3).filter_map(percentile).collect()
}

/// `[200] 974 responses`
fn statuses(text: &str) -> BTreeMap<u16, u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut statuses = BTreeMap::new();
    for words in words.windows(3).filter(|words| words[2] == "responses") {
        if let (Some(status), Ok(count)) = (bracketed(words[0]), words[1].parse::<u64>()) {
            statuses.insert(status, count);
        }
    }
    statuses
}

/// `[1] Get "http://…": read: connection reset by peer [2] Get …`
fn errors(text: &str) -> BTreeMap<FailureClass, u64> {
    let mut errors = BTreeMap::new();
    let mut current: Option<(u64, Vec<&str>)> = None;
    let mut end = |error: Option<(u64, Vec<&str>)>| {
        if let Some((count, words)) = error {
            let sum: &mut u64 = errors.entry(class(&words.join(" "))).or_default();
            *sum = sum.saturating_add(count);
        }
    };
    for word in text.split_whitespace() {
        if let Some(count) = bracketed(word) {
            end(current.replace((count, Vec::new())));
        } else if let Some((_, words)) = &mut current {
            words.push(word);
        }
    }
    end(current);
    errors
}

/// The class of an error in Go's words.
fn class(message: &str) -> FailureClass {
    let classes = [
        ("connection reset", FailureClass::Reset),
        ("connection refused", FailureClass::Refused),
        ("network is unreachable", FailureClass::NetworkUnreachable),
        ("no route to host", FailureClass::HostUnreachable),
        ("permission denied", FailureClass::Forbidden),
        ("operation not permitted", FailureClass::Forbidden),
        ("timeout", FailureClass::Timeout),
        ("timed out", FailureClass::Timeout),
        ("deadline exceeded", FailureClass::Timeout),
        ("malformed HTTP", FailureClass::Malformed),
        ("EOF", FailureClass::Closed),
        ("server closed", FailureClass::Closed),
    ];
    classes.into_iter().find(|(words, _)| message.contains(words)).map_or(FailureClass::Other, |(_, class)| class)
}

fn bracketed<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tutorial's run of `hey -n 1000 -c 50`, as it is printed there.
    pub(in crate::load) const TUTORIAL: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/load/hey-tutorial.txt"));
    /// hey 0.1.4, `-n 200 -c 10`, against a server that answers every thirtieth request with 404.
    const ANSWERS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/load/hey-answers.txt"));
    /// The same with `-n 20`, against a port on which nobody listens.
    const REFUSED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/load/hey-refused.txt"));

    #[test]
    fn the_tutorials_run_is_read_though_its_line_breaks_are_lost() {
        let hey = Hey::parse(TUTORIAL).unwrap();
        assert_eq!((hey.total, hey.requests_per_second), (0.4999, 2000.3376));
        assert_eq!((hey.slowest, hey.fastest, hey.average), (Some(0.0759), Some(0.0135), Some(0.0242)));
        assert_eq!((hey.total_bytes, hey.bytes_per_request), (Some(599_010), Some(615)));
        assert_eq!(hey.histogram.len(), 11);
        assert_eq!(hey.histogram[2], Bar { seconds: 0.026, count: 749 });
        assert_eq!(hey.histogram.iter().map(|bar| bar.count).sum::<u64>(), 974);
        assert_eq!(hey.latencies.len(), 7);
        assert_eq!(hey.latencies[6], Percentile { percent: 99, seconds: 0.0716 });
        assert_eq!(hey.statuses, BTreeMap::from([(200, 974)]));
        assert_eq!(hey.errors, BTreeMap::from([(FailureClass::Reset, 26)]));
    }

    #[test]
    fn real_summaries_are_read_with_and_without_line_breaks() {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let hey = Hey::parse(ANSWERS).unwrap();
        assert_eq!(hey, Hey::parse(&flat(ANSWERS)).unwrap());
        assert_eq!(hey.statuses, BTreeMap::from([(200, 195), (404, 5)]));
        assert_eq!((hey.histogram.len(), hey.latencies.len(), hey.failed()), (11, 7, 0));
        let refused = Hey::parse(REFUSED).unwrap();
        assert_eq!(refused, Hey::parse(&flat(REFUSED)).unwrap());
        assert_eq!((refused.answered(), refused.average), (0, None));
        assert_eq!(refused.errors, BTreeMap::from([(FailureClass::Refused, 20)]));
    }

    #[test]
    fn what_is_no_summary_is_refused() {
        for text in ["", "Summary:", "hey: unknown flag", "Summary: Total: x secs Requests/sec: 1"] {
            assert_eq!(Hey::parse(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mutilated_summary_does_no_harm(at in 0..2_000_usize, junk in "\\PC{0,10}") {
            let at = (at..at + 4).find(|at| TUTORIAL.is_char_boundary(*at)).unwrap_or(0);
            let text = format!("{}{junk}{}", &TUTORIAL[..at], &TUTORIAL[at..]);
            if let Ok(hey) = Hey::parse(&text) {
                prop_assert!(hey.total.is_finite() && hey.requests_per_second.is_finite());
            }
        }
    }
}
