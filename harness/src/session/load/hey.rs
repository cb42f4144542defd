//! What hey itself has seen, held against the logs: it tells of no request by itself, so counts are all that there is.

use std::collections::BTreeMap;

use super::{Asked, BothEnds, add, lines_not_allowed, record::record};
use crate::{
    Result,
    load::{Results, access_log::AccessLog, conservation::Conservation, hey::Hey},
    model::Balance,
    report::{Broken, Conserved, ErrorCount, Latency, LatencyBucket, LoadRecord},
    session::Session,
    wire::Extent,
};

/// A run of hey, seen from both ends: `hey -n 1000 -c 50`, with its connections kept.
#[derive(Debug, Clone)]
pub struct HeyRun {
    /// What was loaded, and from where.
    pub asked: Asked,
    /// Who may answer, and what source address each pod may see, by the model.
    pub balance: Balance,
    /// How many requests it was to send (`-n`).
    pub requests: u64,
    /// How many connections it had (`-c`).
    pub connections: u32,
    /// What it printed.
    pub hey: Hey,
    /// The lines of each pod's log that are of it.
    pub logs: Vec<(String, String)>,
}

impl Session {
    /// Judges a run of hey, and puts it into the run's report: nothing may fail, the pods must have logged as many requests as
    /// it says were answered, and each must be one that may answer and have seen what it may see.
    ///
    /// ```no_run
    /// # async fn test(run: reachmap::session::load::HeyRun) -> reachmap::Result<()> {
    /// use reachmap::{report::explain_load, session::Session};
    /// let record = Session::current()?.judge_hey(&run)?;
    /// assert!(record.is_as_expected(), "{}", explain_load(&record));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if it cannot be written down.
    pub fn judge_hey(&self, run: &HeyRun) -> Result<LoadRecord> {
        let mut record = of_hey(run);
        record.outcome = record.judge();
        self.put_down(&mut record)?;
        Ok(record)
    }
}

/// The record of a run of hey that nobody has judged. Pure.
fn of_hey(run: &HeyRun) -> LoadRecord {
    let HeyRun { asked, balance, hey, .. } = run;
    let by_pod = run.logs.iter().map(|(pod, text)| (pod.clone(), AccessLog::parse(text).by_client()));
    let logged_by: BTreeMap<_, BTreeMap<_, u64>> = by_pod.filter(|(_, clients)| !clients.is_empty()).collect();
    let mut logged_from = BTreeMap::new();
    for clients in logged_by.values() {
        add(&mut logged_from, clients.clone());
    }
    let logged = logged_from.values().sum();
    let mut record = record(&BothEnds {
        asked: asked.clone(),
        balance: balance.clone(),
        refusing: None,
        by_logs: true,
        results: Results::merge(Vec::new()),
        conservation: Conservation::default(),
        not_allowed: lines_not_allowed(balance, &logged_by),
        logged_from,
        logged_by,
    });
    // It does not say over which of its connections a request went.
    record.connections = 0;
    record.pods.iter_mut().for_each(|pod| pod.connections = 0);
    LoadRecord {
        extent: Extent::Requests(run.requests),
        connections_at_once: run.connections,
        keep_alive: true,
        elapsed_us: micros(hey.total),
        requests: hey.answered() + hey.failed(),
        answered: hey.answered(),
        requests_per_second: hey.requests_per_second,
        statuses: hey.statuses.clone(),
        errors: hey.errors.iter().map(|(class, requests)| ErrorCount { class: *class, requests: *requests }).collect(),
        latency: latency(hey),
        conservation: conserved(hey, logged),
        ..record
    }
}

/// Both ends by their counts.
fn conserved(hey: &Hey, logged: u64) -> Conserved {
    let differ = |what: &str, requests| Broken { what: what.to_owned(), requests, first: Vec::new() };
    let broken = match hey.answered() {
        answered if answered > logged => Some(differ("answered, but in no log", answered - logged)),
        answered if answered < logged => Some(differ("logged, but not answered", logged - answered)),
        _ => None,
    };
    Conserved {
        matched: hey.answered().min(logged),
        failed_and_unlogged: hey.failed(),
        broken: broken.into_iter().collect(),
    }
}

/// What hey tells of the times; of 999 of 1,000 answers it knows only the slowest.
fn latency(hey: &Hey) -> Latency {
    let at = |percent: u8| hey.latencies.iter().find(|one| one.percent == percent).map_or(0, |one| micros(one.seconds));
    let max_us = hey.slowest.map_or(0, micros);
    let mut from_us = 0;
    let buckets = hey.histogram.iter().map(|bar| {
        let to_us = micros(bar.seconds).max(from_us) + 1;
        LatencyBucket { from_us: std::mem::replace(&mut from_us, to_us), to_us, count: bar.count }
    });
    Latency {
        count: hey.answered(),
        mean_us: hey.average.unwrap_or_default() * 1e6,
        min_us: hey.fastest.map_or(0, micros),
        p50_us: at(50),
        p90_us: at(90),
        p99_us: at(99),
        p999_us: max_us,
        max_us,
        buckets: buckets.filter(|bucket| bucket.count > 0).collect(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and no time is negative")]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Method, Vantage, balance},
        report::LoadOutcome,
        state::State,
    };

    const PRINTED: &str = "Summary:\n  Total:\t0.5 secs\n  Slowest:\t0.0400 secs\n  Fastest:\t0.0010 secs\n  Average:\t0.0100 \
                           secs\n  Requests/sec:\t20.0\nResponse time histogram:\n  0.001 [4]\t|■\n  0.040 [6]\t|■\nLatency \
                           distribution:\n  50% in 0.0100 secs\nDetails (average, fastest, slowest):\nStatus code \
                           distribution:\n  [200]\t10 responses\n";

    /// A run of ten requests of which each pod that may answer has logged so many.
    fn run(lines: [usize; 3]) -> HeyRun {
        let state = State::example();
        let laptop = Vantage::find(&state, "laptop").unwrap();
        let balance = balance(&state, &laptop, &Method::find("nodeport-worker-1", 3).unwrap()).unwrap();
        let line = |pod: &str| {
            let seen = balance.seen_by(pod).unwrap().addresses().unwrap().first().unwrap().to_string();
            format!("{seen} - - [25/Nov/2026:10:00:00 +0000] \"GET /?id=r HTTP/1.1\" 200 5 \"-\" \"hey/0.0.1\"\n")
        };
        let logs =
            balance.support().into_iter().zip(lines).map(|(pod, times)| (pod.to_owned(), line(pod).repeat(times)));
        let asked =
            Asked { vantage: "laptop".to_owned(), method: "nodeport-worker-1".to_owned(), name: "hey".to_owned() };
        let (logs, hey) = (logs.collect(), Hey::parse(PRINTED).unwrap());
        HeyRun { asked, balance, requests: 10, connections: 5, hey, logs }
    }

    #[test]
    fn what_hey_counts_and_the_pods_log_is_a_record_as_any_other() {
        let record = of_hey(&run([3, 3, 4]));
        assert_eq!(record.judge(), LoadOutcome::AsExpected, "{record:?}");
        assert_eq!((record.requests, record.answered, record.conservation.matched), (10, 10, 10));
        assert_eq!(record.pods.iter().map(|pod| pod.requests).collect::<Vec<_>>(), [3, 3, 4]);
        assert_eq!((record.latency.p50_us, record.latency.max_us, record.elapsed_us), (10_000, 40_000, 500_000));
        assert_eq!(record.latency.buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn a_count_that_differs_and_a_stranger_are_findings() {
        let mut run = run([3, 3, 3]);
        run.logs.push(("stranger".to_owned(), run.logs[0].1.lines().next().unwrap().to_owned() + "\n"));
        let LoadOutcome::NotAsExpected { findings } = of_hey(&run).judge() else { panic!() };
        assert!(findings[0].starts_with("stranger logged ") && findings.len() == 1, "{findings:?}");
        run.logs.pop();
        let LoadOutcome::NotAsExpected { findings } = of_hey(&run).judge() else { panic!() };
        assert_eq!(findings, ["1 answered, but in no log."]);
    }
}
