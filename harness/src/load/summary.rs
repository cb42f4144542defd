//! The summary of a load, in the words and the shape of [hey](https://github.com/rakyll/hey). Pure.
//!
//! What hey prints is printed as hey does, so that people and their scripts find what they know; where hey's numbers and
//! these differ in what they mean, it is said here. hey 0.1.5 prints `10%% in` for `10% in`, as 0.1.4 did not, and `0%% in
//! 0.0000 secs` for percentiles that too few requests have; these are not copied. `Requests/sec` counts failed requests too. Times are of answered
//! requests; where there is a rate, they count from the intended start, which hey leaves out. `Total data` are the bytes
//! that were read, where hey adds up `Content-Length`s. `DNS-lookup` is nothing: a load goes to an address. What
//! hey does not tell follows under headings of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
};

use super::result::Results;
use crate::wire::{ConnectionEnd, LoadedRequest, Spread};

/// How many buckets hey's histogram has beside the fastest's own.
const BUCKETS: u32 = 10;

/// How long the longest bar is.
const BAR: u64 = 40;

/// The percentiles that hey tells.
const PERCENTILES: [usize; 7] = [10, 25, 50, 75, 90, 95, 99];

/// Results, to be printed as hey would print them, and then what hey does not tell.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a>(pub &'a Results);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_hey(self.0, f)?;
        write_more(self.0, f)
    }
}

/// Only what hey itself would print.
#[derive(Debug, Clone, Copy)]
pub struct AsHey<'a>(pub &'a Results);

impl Display for AsHey<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_hey(self.0, f)
    }
}

fn write_hey(results: &Results, f: &mut Formatter<'_>) -> fmt::Result {
    let mut latencies: Vec<u64> = results.answered().map(LoadedRequest::latency_us).collect();
    latencies.sort_unstable();
    let all = spread(latencies.iter().copied());
    writeln!(f, "\nSummary:")?;
    writeln!(f, "  Total:\t{} secs", seconds(results.elapsed_us))?;
    writeln!(f, "  Slowest:\t{} secs", seconds(all.max_us))?;
    writeln!(f, "  Fastest:\t{} secs", seconds(all.min_us))?;
    writeln!(f, "  Average:\t{} secs", mean(all))?;
    writeln!(f, "  Requests/sec:\t{:.4}\n  ", results.per_second())?;
    let bytes: u64 = results.loads.iter().map(|load| load.loaded.body_bytes).sum();
    if let (1.., Some(each)) = (bytes, bytes.checked_div(all.count)) {
        writeln!(f, "  Total data:\t{bytes} bytes\n  Size/request:\t{each} bytes")?;
    }
    writeln!(f, "\nResponse time histogram:")?;
    write_bars(&latencies, f)?;
    writeln!(f, "\n\nLatency distribution:")?;
    for percent in PERCENTILES {
        if let Some(latency) = percentile(&latencies, percent).filter(|latency| *latency > 0) {
            writeln!(f, "  {percent}% in {} secs", seconds(latency))?;
        }
    }
    writeln!(f, "\nDetails (average, fastest, slowest):")?;
    let [write, wait, read] = results.phases();
    let lines =
        [("DNS+dialup", dialup(results)), ("DNS-lookup", Spread::default()), ("req write", write), ("resp wait", wait)];
    for (name, phase) in lines.into_iter().chain([("resp read", read)]) {
        let [least, most] = [phase.min_us, phase.max_us].map(seconds);
        writeln!(f, "  {name}:\t{} secs, {least} secs, {most} secs", mean(phase))?;
    }
    writeln!(f, "\nStatus code distribution:")?;
    for (status, count) in results.statuses() {
        writeln!(f, "  [{status}]\t{count} responses")?;
    }
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    for request in results.requests() {
        if let Some(failure) = &request.answer.failure {
            let text = failure.message.escape_debug().take(200).collect();
            *errors.entry(text).or_default() += 1;
        }
    }
    if !errors.is_empty() {
        writeln!(f, "\nError distribution:")?;
        for (text, count) in errors {
            writeln!(f, "  [{count}]\t{text}")?;
        }
    }
    Ok(())
}

/// What hey does not tell: the sample, the pods, and whether the load was what was asked for.
fn write_more(results: &Results, f: &mut Formatter<'_>) -> fmt::Result {
    let all = results.connections().count();
    let established: Vec<_> = results.connections().filter(|connection| connection.connect_us.is_some()).collect();
    let count = established.len();
    let servers = established.iter().filter(|connection| connection.end == ConnectionEnd::Servers).count();
    let broken = established.iter().filter(|connection| matches!(connection.end, ConnectionEnd::Failed(_))).count();
    writeln!(f, "\nConnections:")?;
    writeln!(f, "  Established:\t{count} of {all}")?;
    writeln!(f, "  Closed by the server:\t{servers}")?;
    writeln!(f, "  Broken:\t{broken}")?;
    let pods = results.served_by();
    if pods.keys().any(Option::is_some) {
        let by_connection = results.pods_by_connection();
        writeln!(f, "\nAnswers by pod (responses, connections):")?;
        for (pod, responses) in pods {
            let connections =
                pod.map_or(0, |pod| by_connection.iter().filter(|pods: &&BTreeSet<&str>| pods.contains(pod)).count());
            let name: String = pod.unwrap_or("nobody said").escape_debug().collect();
            writeln!(f, "  {name}:\t{responses} responses, {connections} connections")?;
        }
    }
    let errors = results.errors();
    if !errors.is_empty() {
        writeln!(f, "\nErrors by class:")?;
        for (class, count) in errors {
            writeln!(f, "  [{count}]\t{class:?}")?;
        }
    }
    if let Some(kept) = results.kept() {
        writeln!(f, "\nRate:")?;
        writeln!(f, "  Asked:\t{:.1} requests/sec, {} requests", kept.asked, kept.due)?;
        writeln!(f, "  Achieved:\t{:.1} requests/sec, {} requests", kept.achieved, kept.started)?;
        let late = [kept.late_p50_us, kept.late_p99_us, kept.latest_us].map(seconds);
        writeln!(f, "  Late (50%, 99%, all):\t{} secs, {} secs, {} secs", late[0], late[1], late[2])?;
        if !kept.is_kept() {
            writeln!(f, "  This is beyond the server, the connections or this machine.")?;
        }
    }
    let held = results.held_us();
    if held > 0 {
        writeln!(f, "\nThe load had to wait for its results to be taken: {} secs.", seconds(held))?;
    }
    if results.loads.iter().any(|load| load.loaded.cancelled) {
        writeln!(f, "\nIt was stopped before it had done enough.")?;
    }
    Ok(())
}

/// Establishing connections, as a part of the requests that were answered: nothing for one whose connection was there.
fn dialup(results: &Results) -> Spread {
    let mut times = Vec::new();
    for load in &results.loads {
        let connect: BTreeMap<u64, u64> =
            load.connections.iter().filter_map(|one| Some((one.number, one.connect_us?))).collect();
        let mut known = BTreeSet::new();
        let mut requests: Vec<&LoadedRequest> = load.requests.iter().collect();
        requests.sort_by_key(|request| request.start_us);
        for request in requests {
            let first = known.insert(request.connection);
            if request.answer.failure.is_none() {
                times.push(if first { connect.get(&request.connection).copied().unwrap_or(0) } else { 0 });
            }
        }
    }
    spread(times)
}

fn spread(times: impl IntoIterator<Item = u64>) -> Spread {
    times.into_iter().fold(Spread::default(), |mut spread, time| {
        spread.add(time);
        spread
    })
}

/// hey's buckets: the fastest by itself, and ten of the same width up to the slowest.
fn write_bars(sorted: &[u64], f: &mut Formatter<'_>) -> fmt::Result {
    let (Some(fastest), Some(slowest)) = (sorted.first(), sorted.last()) else {
        return Ok(());
    };
    let [fastest, slowest] = [*fastest, *slowest].map(as_seconds);
    let width = (slowest - fastest) / f64::from(BUCKETS);
    let marks = (0..BUCKETS).map(|bucket| fastest + width * f64::from(bucket)).chain([slowest]);
    let mut below = 0;
    let counts: Vec<(f64, u64)> = marks
        .map(|mark| {
            let count = sorted[below..].partition_point(|latency| as_seconds(*latency) <= mark);
            below += count;
            (mark, count as u64)
        })
        .collect();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    for (mark, count) in counts {
        let length = (count * BAR + most / 2) / most;
        writeln!(f, "  {mark:.3} [{count}]\t|{}", "■".repeat(usize::try_from(length).unwrap_or(0)))?;
    }
    Ok(())
}

/// hey's percentile: the first value whose place is that far in.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted.get((percent * sorted.len()).div_ceil(100)).copied()
}

#[expect(clippy::cast_precision_loss, reason = "no load lasts 2^52 microseconds")]
fn as_seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn seconds(us: u64) -> String {
    format!("{:.4}", as_seconds(us))
}

#[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
fn mean(spread: Spread) -> String {
    if spread.count == 0 {
        "0.0000".to_owned()
    } else {
        format!("{:.4}", as_seconds(spread.sum_us) / spread.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::result::tests::{answered, connection, failed, result},
        *,
    };
    use crate::wire::{Extent, FailureClass};

    #[test]
    fn a_load_is_summed_up_as_hey_does() {
        let pods = ["nginx-a", "nginx-b", "nginx-c"];
        let mut requests: Vec<_> = (0..100_u64)
            .map(|number| {
                answered(number, number % 5, 1_000 + number * number % 1_009 * 10, pods[(number % 5 % 3) as usize])
            })
            .collect();
        requests.push(failed(100, 5, FailureClass::Reset, "Connection reset by peer (os error 104)"));
        requests.push(failed(101, 6, FailureClass::Refused, "Connection refused (os error 111)"));
        let mut load = result(requests, (0..6).map(|number| connection(number, 150 + number)).collect());
        load.loaded.body_bytes = 61_500;
        insta::assert_snapshot!(Summary(&Results::merge(vec![load])));
    }

    #[test]
    fn a_load_that_nobody_answered_is_summed_up_too() {
        let requests = vec![failed(0, 0, FailureClass::Timeout, "nothing within 20 ms")];
        let mut load = result(requests, vec![]);
        load.loaded.body_bytes = 0;
        (load.loaded.held_us, load.loaded.cancelled) = (1_500_000, true);
        for phase in [&mut load.loaded.write, &mut load.loaded.wait] {
            *phase = Spread::default();
        }
        insta::assert_snapshot!(Summary(&Results::merge(vec![load])));
    }

    #[test]
    fn a_rate_that_was_not_kept_is_said_to_be_so() {
        let mut load = result(vec![answered(0, 0, 400, "a"), answered(1, 0, 500, "a")], vec![connection(0, 9)]);
        load.load.rate_per_second = Some(1_000.0);
        load.load.extent = Extent::Requests(2);
        load.requests.iter_mut().for_each(|request| request.late_us = Some(request.number * 70_000));
        let text = Summary(&Results::merge(vec![load])).to_string();
        assert!(text.contains("  Asked:\t1000.0 requests/sec, 2 requests\n"), "{text}");
        assert!(text.contains("beyond the server"), "{text}");
        assert!(text.contains("  Slowest:\t0.0705 secs"), "the wait counts: {text}");
    }

    #[test]
    fn percentiles_are_those_that_hey_finds() {
        // As requester/report.go walks: the first i with i * 100 / length >= percent.
        for length in [1_usize, 2, 3, 7, 10, 99, 100, 101, 1_000] {
            let sorted: Vec<u64> = (1..=length as u64).collect();
            for percent in PERCENTILES {
                let walked = (0..length).find(|place| place * 100 / length >= percent).map(|place| sorted[place]);
                assert_eq!(percentile(&sorted, percent), walked, "{percent} of {length}");
            }
        }
    }
}
