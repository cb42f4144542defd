//! What a load was, as the report has it: made from both of its ends, judged, and written down.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::BothEnds;
use crate::{
    Error, ErrorKind, Result,
    load::{
        conservation::Conservation,
        statistics::{Judgement, Law, Plan, share_interval},
        timeline::percentile,
    },
    model::{self, Answering, Seen},
    report::{Broken, Conserved, ErrorCount, ExpectedSpread, Latency, LoadOutcome, LoadRecord, PodLoad},
    session::Session,
    wire::{Extent, FailureClass},
};

/// The chance that any band of a load that is not tested misses the share that it is about.
const BAND_ALPHA: f64 = 0.05;

/// How many ids of requests that break the law of conservation are kept, of each kind.
const MOST_IDS: usize = 20;

impl Session {
    /// Judges a load in a steady cluster, and puts it into the run's report: nothing may fail, both ends must agree, and
    /// every answer must be one that the model allows. With `statistics`, its spread is tested as well.
    ///
    /// What is not as expected is in the record, and makes the run fail; a load that is to be looked at in another way, such as
    /// one during a change, is better left to the test.
    ///
    /// ```no_run
    /// # async fn test() -> reachmap::Result<()> {
    /// use reachmap::{load::generator::Plan, report::explain_load, session::Session};
    /// let session = Session::current()?;
    /// let ends = session.load("laptop", "loadbalancer-address", &Plan::default(), "hey").await?;
    /// let record = session.judge_load(&ends, None)?;
    /// assert!(record.is_as_expected(), "{}", explain_load(&record));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written down.
    pub fn judge_load(&self, ends: &BothEnds, statistics: Option<&Plan>) -> Result<LoadRecord> {
        let mut record = record(ends);
        record.outcome = record.judge();
        if let Some(plan) = statistics {
            test_spread(&mut record, ends, plan);
        }
        self.put_down(&mut record)?;
        Ok(record)
    }

    /// Puts a load into the run's report that is not to be judged, and says why not; [`LoadRecord::judge`] tells what would have
    /// been found.
    ///
    /// ```no_run
    /// # async fn test() -> reachmap::Result<()> {
    /// use reachmap::{load::generator::Plan, session::Session};
    /// let session = Session::current()?;
    /// let ends = session.load("laptop", "loadbalancer-address", &Plan::default(), "meanwhile").await?;
    /// session.note_load(&ends, "The cluster is being upgraded.")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Session::judge_load`].
    pub fn note_load(&self, ends: &BothEnds, reason: &str) -> Result<LoadRecord> {
        let mut record = record(ends);
        record.outcome = LoadOutcome::NotJudged { reason: reason.to_owned() };
        self.put_down(&mut record)?;
        Ok(record)
    }

    /// Writes a record down as one of this suite, this stage, and the test whose thread this is.
    pub(super) fn put_down(&self, record: &mut LoadRecord) -> Result<()> {
        record.suite.clone_from(&self.handover.suite);
        record.stage.clone_from(&self.handover.stage);
        // A test's thread has its name.
        record.test = std::thread::current().name().filter(|name| *name != "main").map(str::to_owned);
        self.write(&file(record), record)
    }
}

/// The file of a record, without its extension: one for each load of a stage, however it is called.
fn file(record: &LoadRecord) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = format!("{}.{}", record.suite, record.name).chars().map(plain).collect();
    format!("loads/{}/{name}", record.stage)
}

/// Tests the spread as planned; that it cannot be tested is a finding, since it had to be.
fn test_spread(record: &mut LoadRecord, ends: &BothEnds, plan: &Plan) {
    match judgements(record, ends, plan) {
        Ok(judgements) => {
            if let Some(judgement) = judgements.first() {
                record.band_alpha = plan.level() / f64::from(pods(judgement.endpoints.len()));
            }
            record.judgements = judgements;
            bands(record);
            record.outcome = record.judge();
        }
        Err(error) => {
            record.outcome = record.judge();
            record.outcome.find(format!("The spread could not be tested: {error}."));
        }
    }
}

fn judgements(record: &LoadRecord, ends: &BothEnds, plan: &Plan) -> Result<Vec<Judgement>> {
    let law = Law::of(&ends.balance)?;
    let at_once = record.connections_at_once;
    if matches!(law, Law::RoundRobin { .. }) && at_once > 1 {
        let cause = format!("{at_once} connections are made at once, and nobody knows whose turn comes first");
        return Err(Error::new(ErrorKind::Usage, "see whether connections go in turn", cause)
            .hint("Make one connection after the other."));
    }
    plan.judge(&format!("{}/{}", record.vantage, record.method), &law, &ends.sample())
}

/// The record of a load whose spread is not tested, and that nobody has judged. Pure.
pub(super) fn record(ends: &BothEnds) -> LoadRecord {
    let results = &ends.results;
    let load = results.loads.first().map(|one| &one.load);
    let sample = ends.sample();
    let pods_of = pods_of(ends);
    let mut record = LoadRecord {
        suite: String::new(),
        stage: String::new(),
        name: ends.asked.name.clone(),
        test: None,
        vantage: ends.asked.vantage.clone(),
        method: ends.asked.method.clone(),
        target: ends.balance.target.to_string(),
        extent: load.map_or(Extent::Requests(0), |load| load.extent),
        connections_at_once: results.loads.iter().map(|one| one.load.connections).sum(),
        keep_alive: keeps(ends),
        rate_per_second: results.rate_per_second(),
        kept: results.kept(),
        held_us: results.held_us(),
        elapsed_us: results.elapsed_us,
        requests: results.requests().count() as u64,
        answered: results.answered().count() as u64,
        connections: if ends.by_logs { pods_of.iter().map(|pod| pod.connections).sum() } else { sample.len() },
        requests_per_second: results.per_second(),
        statuses: results.statuses(),
        errors: errors(results.errors()),
        refusing: ends.refusing.clone(),
        by_logs: ends.by_logs,
        latency: Latency::of(&results.latency),
        expected: ExpectedSpread {
            law: ends.balance.law,
            why: ends.balance.why(),
            reason: ends.balance.reason.kind().to_owned(),
            arrives: ends.balance.reason.why(),
        },
        band_alpha: BAND_ALPHA / f64::from(pods(pods_of.len())),
        pods: pods_of,
        conservation: conserved(&ends.conservation),
        logged_from: ends.logged_from.clone(),
        not_allowed: ends.not_allowed.clone(),
        judgements: Vec::new(),
        outcome: LoadOutcome::AsExpected,
    };
    bands(&mut record);
    record
}

/// How many pods share an alpha.
fn pods(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

fn bands(record: &mut LoadRecord) {
    for pod in &mut record.pods {
        (pod.low, pod.high) = share_interval(pod.connections, record.connections, record.band_alpha);
    }
}

/// The pods that may answer in the order of their names, then those that answered all the same.
fn pods_of(ends: &BothEnds) -> Vec<PodLoad> {
    let mut pods: BTreeMap<(bool, &str), PodLoad> = BTreeMap::new();
    for Answering { pod, node, .. } in &ends.balance.answering {
        pods.entry((false, pod)).or_insert_with(|| PodLoad { node: node.clone(), may_answer: true, ..nothing(pod) });
    }
    let even = 1.0 / f64::from(self::pods(pods.len()));
    for ((_, name), pod) in &mut pods {
        pod.share = matches!(ends.balance.law, model::Law::Random | model::Law::RoundRobin).then_some(even);
        pod.may_see = match ends.balance.seen_by(name) {
            Some(Seen::As(sources)) => Some(sources),
            _ => None,
        };
    }
    let support = ends.balance.support();
    let mut owner: HashMap<(usize, u64), &str> = HashMap::new();
    let mut took: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (vantage, load) in ends.results.loads.iter().enumerate() {
        for request in &load.requests {
            let served_by = request.answer.served_by.as_deref();
            let Some(name) = served_by.or_else(|| ends.refused_by(request)) else { continue };
            let pod = pods.entry((!support.contains(name), name)).or_insert_with(|| nothing(name));
            owner.insert((vantage, request.connection), name);
            if request.answer.failure.is_none() {
                pod.requests += 1;
                took.entry(name).or_default().push(request.latency_us());
            }
            if let Some(address) = request.answer.client_address {
                *pod.seen.entry(address).or_default() += 1;
            }
        }
    }
    for (name, clients) in &ends.logged_by {
        let pod = pods.entry((!support.contains(name.as_str()), name)).or_insert_with(|| nothing(name));
        pod.logged.clone_from(clients);
        if ends.by_logs {
            pod.requests = clients.values().sum();
            pod.seen.clone_from(clients);
            // Over new connections, each request had its own; over kept ones, nothing tells.
            pod.connections = if keeps(ends) { 0 } else { pod.requests };
        }
    }
    let sample = ends.sample();
    for connection in sample.connections() {
        let name = connection.endpoint.as_str();
        if let Some(pod) = pods.get_mut(&(!support.contains(name), name)) {
            pod.connections += 1;
        }
    }
    let mut failed: BTreeMap<&str, BTreeMap<FailureClass, u64>> = BTreeMap::new();
    for (vantage, load) in ends.results.loads.iter().enumerate() {
        for request in &load.requests {
            // A request that failed is of the pod that answered others on its connection.
            if let (Some(failure), Some(name)) = (&request.answer.failure, owner.get(&(vantage, request.connection))) {
                *failed.entry(name).or_default().entry(failure.class).or_default() += 1;
            }
        }
    }
    let with_errors = pods.into_values().map(|pod| {
        let of_pod = failed.remove(pod.pod.as_str()).unwrap_or_default();
        let took = took.remove(pod.pod.as_str()).unwrap_or_default();
        let at = |of_100| percentile(took.iter().copied(), of_100);
        PodLoad { errors: errors(of_pod), p50_us: at(50), p99_us: at(99), ..pod }
    });
    with_errors.collect()
}

/// Whether connections were kept.
fn keeps(ends: &BothEnds) -> bool {
    ends.results.loads.iter().any(|one| one.load.keep_alive)
}

fn nothing(pod: &str) -> PodLoad {
    PodLoad {
        pod: pod.to_owned(),
        node: None,
        may_answer: false,
        share: Some(0.0),
        connections: 0,
        requests: 0,
        errors: Vec::new(),
        p50_us: 0,
        p99_us: 0,
        low: 0.0,
        high: 1.0,
        seen: BTreeMap::<IpAddr, u64>::new(),
        logged: BTreeMap::new(),
        may_see: None,
    }
}

fn errors(by_class: BTreeMap<FailureClass, u64>) -> Vec<ErrorCount> {
    by_class.into_iter().map(|(class, requests)| ErrorCount { class, requests }).collect()
}

fn conserved(conservation: &Conservation) -> Conserved {
    let lists = conservation.lists().into_iter().filter(|(_, list)| !list.is_empty());
    let broken = lists.map(|(what, list)| Broken {
        what: what.to_owned(),
        requests: list.len() as u64,
        first: list.iter().take(MOST_IDS).map(|entry| entry.id.clone()).collect(),
    });
    Conserved {
        matched: conservation.matched,
        failed_and_unlogged: conservation.failed_and_unlogged,
        broken: broken.collect(),
    }
}

#[cfg(test)]
mod tests;
