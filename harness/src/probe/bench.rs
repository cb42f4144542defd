//! How many probes a second an agent answers, against the price of an exec for each.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{Agent, Timeouts, exec, probe_target};
use crate::{Result, model::method::Target};

/// How long one exec'd request may take.
const EXEC_LIMIT: Duration = Duration::from_secs(30);

/// What a measurement found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchResult {
    /// How many requests were made.
    pub count: usize,
    /// How long all of them took, in seconds.
    pub seconds: f64,
    /// Requests a second.
    pub per_second: f64,
    /// Half of them took at most this long, in microseconds: [`bench()`] takes the probe's own time,
    /// [`exec_cost`] the time from the exec's start to its end.
    pub p50_us: u64,
    /// 99 of 100 took at most this long, in microseconds.
    pub p99_us: u64,
    /// How many were not answered with status 200.
    pub failures: usize,
    /// The first of these failures, as far as it can be told.
    pub first_failure: Option<String>,
}

/// Makes `count` probes of `target`, at most `in_flight` of them at once, each over a new connection.
///
/// # Errors
/// If the agent is lost. A probe that is not answered is a failure in the result.
pub async fn bench(agent: &Agent, target: &Target, count: usize, in_flight: usize) -> Result<BenchResult> {
    let started = Instant::now();
    let observations: Vec<_> = futures::stream::iter(0..count)
        .map(|_| probe_target(agent, target, Timeouts::default()))
        .buffer_unordered(in_flight.max(1))
        .try_collect()
        .await?;
    let elapsed = started.elapsed();
    let failed: Vec<_> = observations.iter().filter(|observation| !observation.is_reached()).collect();
    let first_failure = failed.first().map(|observation| format!("{observation:?}"));
    let times = observations.iter().map(|observation| observation.elapsed_us).collect();
    Ok(BenchResult::new(times, elapsed, failed.len(), first_failure))
}

/// Makes `count` requests of `url`, one after the other, each by an exec of `curl` in the pod's first container.
///
/// # Errors
/// If a command cannot be executed there. A `curl` that fails is a failure in the result.
pub async fn exec_cost(
    client: &kube::Client,
    namespace: &str,
    pod: &str,
    url: &str,
    count: usize,
) -> Result<BenchResult> {
    let argv = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--max-time", "10", url];
    let started = Instant::now();
    let mut times = Vec::with_capacity(count);
    let mut failures = 0;
    let mut first_failure = None;
    for _ in 0..count {
        let one = Instant::now();
        let output = exec::output(client, namespace, pod, None, &argv, b"", EXEC_LIMIT).await?;
        times.push(u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX));
        if output.code != Some(0) {
            failures += 1;
            first_failure.get_or_insert_with(|| String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
    }
    Ok(BenchResult::new(times, started.elapsed(), failures, first_failure))
}

impl BenchResult {
    fn new(mut times: Vec<u64>, elapsed: Duration, failures: usize, first_failure: Option<String>) -> Self {
        times.sort_unstable();
        let seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "no measurement makes 2^52 requests")]
        let per_second = if seconds > 0.0 { times.len() as f64 / seconds } else { 0.0 };
        Self {
            count: times.len(),
            seconds,
            per_second,
            p50_us: percentile(&times, 50),
            p99_us: percentile(&times, 99),
            failures,
            first_failure,
        }
    }
}

/// The nearest-rank percentile of sorted values: the smallest that is no less than `percent` of them.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100, 198));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 99)), (7, 7, 0));
    }

    #[test]
    fn a_result_counts_and_divides() {
        let result = BenchResult::new(vec![30, 10, 20], Duration::from_millis(1500), 1, Some("no".to_owned()));
        assert_eq!((result.count, result.failures, result.p50_us, result.p99_us), (3, 1, 20, 30));
        assert!((result.per_second - 2.0).abs() < 1e-9);
    }
}
