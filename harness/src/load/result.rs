//! What became of a load, and of several together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::generator::scheduled;
use crate::{
    Error, ErrorKind, Result,
    wire::{FailureClass, Load, Loaded, LoadedConnection, LoadedRequest, Spread},
};

/// Some of a load's results, as they come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Requests that have ended, in that order.
    pub requests: Vec<LoadedRequest>,
    /// Connections that have ended, in that order.
    pub connections: Vec<LoadedConnection>,
}

/// All of what became of one load from one vantage.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadResult {
    /// What errors call the vantage.
    pub vantage: String,
    /// What was asked for.
    pub load: Load,
    /// The requests, in the order of their numbers.
    pub requests: Vec<LoadedRequest>,
    /// The connections, in the order of their numbers.
    pub connections: Vec<LoadedConnection>,
    /// What is known of it as a whole.
    pub loaded: Loaded,
}

impl LoadResult {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if a request or connection is told of twice.
    pub fn new(vantage: &str, load: Load, parts: Vec<Part>, loaded: Loaded) -> Result<Self> {
        let (mut requests, mut connections) = (Vec::new(), Vec::new());
        for part in parts {
            requests.extend(part.requests);
            connections.extend(part.connections);
        }
        requests.sort_by_key(|request| request.number);
        connections.sort_by_key(|connection| connection.number);
        let twice = requests.windows(2).find(|pair| pair[0].number == pair[1].number).map(|pair| pair[0].number);
        let other = connections.windows(2).find(|pair| pair[0].number == pair[1].number).map(|pair| pair[0].number);
        if let Some(number) = twice.or(other) {
            let tried = format!("put the results of the load from {vantage} together");
            return Err(Error::new(ErrorKind::Internal, tried, format!("number {number} is told of twice")));
        }
        Ok(Self { vantage: vantage.to_owned(), load, requests, connections, loaded })
    }

    /// The id of a request, as it stands in the access log.
    pub fn id(&self, request: &LoadedRequest) -> String {
        format!("{}-{}", self.load.id_prefix, request.number)
    }
}

/// How a time table was kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RateKept")]
pub struct Kept {
    /// Requests a second that were asked for, all vantages together.
    pub asked: f64,
    /// Requests a second that started.
    pub achieved: f64,
    /// How many were due.
    pub due: u64,
    /// How many of those started before the load's end.
    pub started: u64,
    /// Half of them started at most so much later than intended, in microseconds.
    pub late_p50_us: u64,
    /// 99 of 100 started at most so much later, in microseconds.
    pub late_p99_us: u64,
    /// The latest, in microseconds.
    pub latest_us: u64,
}

/// The part of a load that its rate may miss and still count as kept: one of so many. Figures of a rate mean it to a hundredth.
const MISSES_ONE_OF: f64 = 100.0;

impl Kept {
    /// Whether the machine did what was asked, to a hundredth: 99 of 100 requests that were due were started, and 99 of 100 of
    /// those were not later than a hundredth of the time that the load was to take.
    ///
    /// Both say the same of a load that cannot keep up, the one of its end and the other of its course. What carries less than
    /// it is asked for falls behind with every request: at 99 of 100 of the rate, it ends a hundredth of its time late. A pause
    /// after which all that was due meanwhile is made up for is no such thing. It is in the latencies, which count from when a
    /// request was due, and so they are right in either case; what they tell if a rate was not kept is that it is beyond the
    /// server, the connections or the generator.
    ///
    /// ```
    /// use reachmap::load::Kept;
    /// // Ten seconds, in which the machine was busy with something else for 50 ms.
    /// let kept = Kept {
    ///     asked: 100.0,
    ///     achieved: 100.0,
    ///     due: 1_000,
    ///     started: 1_000,
    ///     late_p50_us: 80,
    ///     late_p99_us: 30_000,
    ///     latest_us: 50_000,
    /// };
    /// assert!(kept.is_kept());
    /// // Half of the rate, for as long: the last request of all was five seconds late.
    /// assert!(!Kept { started: 500, late_p99_us: 4_950_000, ..kept }.is_kept());
    /// ```
    pub fn is_kept(&self) -> bool {
        self.started * 100 >= self.due * 99 && self.late_p99_us <= self.may_be_late_us()
    }

    /// A hundredth of the time that the load was to take, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturating")]
    fn may_be_late_us(&self) -> u64 {
        (self.due as f64 / self.asked * 1e6 / MISSES_ONE_OF) as u64
    }
}

/// The results of loads that belong together.
#[derive(Debug, Clone)]
pub struct Results {
    /// Each of them.
    pub loads: Vec<LoadResult>,
    /// The latencies of the answered requests, in microseconds: from the intended start where there is a rate.
    pub latency: Histogram<u64>,
    /// From the first load's start to the last one's end, in microseconds, by the vantages' clocks.
    pub elapsed_us: u64,
}

/// A histogram that holds any time to three digits.
fn histogram() -> Histogram<u64> {
    // Bounds that are known to be right: an hour, in microseconds, is nothing out of the way.
    Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| unreachable!("the bounds are right"))
}

impl Results {
    /// Puts them together.
    pub fn merge(loads: Vec<LoadResult>) -> Self {
        let mut latency = histogram();
        for request in loads.iter().flat_map(|load| &load.requests) {
            if request.answer.failure.is_none() {
                latency.saturating_record(request.latency_us());
            }
        }
        let start = loads.iter().map(|load| load.loaded.started_at_unix_us).min().unwrap_or_default();
        let end = loads.iter().map(|load| load.loaded.started_at_unix_us.saturating_add(load.loaded.elapsed_us));
        let elapsed_us = end.max().unwrap_or_default().saturating_sub(start);
        Self { loads, latency, elapsed_us }
    }

    /// Every request.
    pub fn requests(&self) -> impl Iterator<Item = &LoadedRequest> {
        self.loads.iter().flat_map(|load| &load.requests)
    }

    /// Every request with its id.
    pub fn with_ids(&self) -> impl Iterator<Item = (String, &LoadedRequest)> {
        self.loads.iter().flat_map(|load| load.requests.iter().map(|request| (load.id(request), request)))
    }

    /// Every connection.
    pub fn connections(&self) -> impl Iterator<Item = &LoadedConnection> {
        self.loads.iter().flat_map(|load| &load.connections)
    }

    /// Those that got an answer in full, whatever its status.
    pub fn answered(&self) -> impl Iterator<Item = &LoadedRequest> {
        self.requests().filter(|request| request.answer.failure.is_none())
    }

    /// Requests a second, failed ones too, as hey counts them.
    pub fn per_second(&self) -> f64 {
        per_second(self.requests().count(), self.elapsed_us)
    }

    /// How many answers had each status.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        count(self.answered().filter_map(|request| request.answer.status))
    }

    /// How many requests failed, by class.
    pub fn errors(&self) -> BTreeMap<FailureClass, u64> {
        count(self.requests().filter_map(|request| request.answer.failure.as_ref()).map(|failure| failure.class))
    }

    /// How many answers came from each pod; those without `X-Served-By` are none's.
    pub fn served_by(&self) -> BTreeMap<Option<&str>, u64> {
        count(self.answered().map(|request| request.answer.served_by.as_deref()))
    }

    /// How many connections were established, and the pods that answered on each: the sample of a distribution, as
    /// a connection has one pod, however many requests it carries.
    pub fn pods_by_connection(&self) -> Vec<BTreeSet<&str>> {
        let mut pods = Vec::new();
        for load in &self.loads {
            let mut answering: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
            for request in &load.requests {
                if let Some(pod) = request.answer.served_by.as_deref() {
                    answering.entry(request.connection).or_default().insert(pod);
                }
            }
            pods.extend(answering.into_values());
        }
        pods
    }

    /// Outlines of the phases: writing, waiting and reading.
    pub fn phases(&self) -> [Spread; 3] {
        let mut phases = [Spread::default(); 3];
        for Loaded { write, wait, read, .. } in self.loads.iter().map(|load| &load.loaded) {
            phases.iter_mut().zip([write, wait, read]).for_each(|(all, one)| all.merge(*one));
        }
        phases
    }

    /// How long the load that waited longest for its results to be taken did so, in microseconds: meanwhile none of its
    /// requests could start.
    pub fn held_us(&self) -> u64 {
        self.loads.iter().map(|load| load.loaded.held_us).max().unwrap_or_default()
    }

    /// The requests a second that all of them were to start, if every load had a rate.
    pub fn rate_per_second(&self) -> Option<f64> {
        let rates: Option<Vec<f64>> = self.loads.iter().map(|one| one.load.rate_per_second).collect();
        // Of no load at all, such as where a program of somebody else's made the requests, nobody asked for a rate.
        rates.filter(|rates| !rates.is_empty()).map(|rates| rates.iter().sum())
    }

    /// How the time table was kept, if every load had one.
    pub fn kept(&self) -> Option<Kept> {
        let asked = self.rate_per_second()?;
        let mut late = histogram();
        let mut due = 0;
        for LoadResult { load, .. } in &self.loads {
            due += scheduled(load.extent, load.rate_per_second)?;
        }
        for request in self.requests() {
            late.saturating_record(request.late_us?);
        }
        let last_start = self.requests().map(|request| request.start_us).max().unwrap_or_default();
        let started = late.len();
        // Of n starts, n - 1 intervals lie between the first and the last.
        let achieved = per_second(usize::try_from(started).unwrap_or(usize::MAX).saturating_sub(1), last_start);
        let (late_p50_us, late_p99_us) = (late.value_at_quantile(0.5), late.value_at_quantile(0.99));
        Some(Kept { asked, achieved, due, started, late_p50_us, late_p99_us, latest_us: late.max() })
    }
}

#[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests or microseconds")]
fn per_second(count: usize, us: u64) -> f64 {
    if us == 0 { 0.0 } else { count as f64 * 1e6 / us as f64 }
}

fn count<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    values.fold(BTreeMap::new(), |mut counts, value| {
        *counts.entry(value).or_default() += 1;
        counts
    })
}

#[cfg(test)]
pub(super) mod tests;
