//! A steady load from several places while something changes, and the lives of the pods that it goes to meanwhile.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::{try_join, try_join_all};
use reachmap::{
    Context as _, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    k8s_openapi::api::core::v1::Pod,
    kube::{Api, api::ListParams},
    kubernetes::conditions,
    load::{
        Results,
        generator::{Plan, allow},
        timeline::{Mark, Timeline},
    },
    session::Session,
    wire::Extent,
};

/// Requests a second from each place, a new connection for each.
const RATE: f64 = 50.0;

/// How many of them may be under way at once: more than the rate needs, also while some wait for their timeout.
const AT_ONCE: u32 = 100;

/// No change takes so long; the load is ended when the change is over.
const AT_MOST: Duration = Duration::from_secs(300);

/// How long the load goes on after the change, so that what comes of it is seen.
const AFTER: Duration = Duration::from_secs(2);

/// How often the pods are looked at: what is said of their lives is that exact.
const LOOK: Duration = Duration::from_millis(100);

/// When it was seen of a pod that it was ready, that it was ending, and that it was gone, in microseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Life {
    pub(super) ready: Option<u64>,
    pub(super) ending: Option<u64>,
    pub(super) gone: Option<u64>,
}

/// The lives of the pods that a load may go to.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) of_each: BTreeMap<String, Life>,
    first_look_us: u64,
}

impl Lives {
    /// Those that were ready at the end, and not ending.
    pub(super) fn still_there(&self) -> impl Iterator<Item = &str> {
        let there = |life: &Life| life.ready.is_some() && life.ending.is_none() && life.gone.is_none();
        self.of_each.iter().filter(move |(_, life)| there(life)).map(|(pod, _)| pod.as_str())
    }

    /// Those that were not there when the load began.
    pub(super) fn came_later(&self) -> impl Iterator<Item = &str> {
        let later = |life: &Life| life.ready.is_none_or(|ready| ready > self.first_look_us);
        self.of_each.iter().filter(move |(_, life)| later(life)).map(|(pod, _)| pod.as_str())
    }

    /// When the first of them began to end.
    pub(super) fn first_ending_us(&self) -> Option<u64> {
        self.of_each.values().filter_map(|life| life.ending).min()
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (pod, life) in &self.of_each {
            let at = [(life.ready, "is ready"), (life.ending, "is ending"), (life.gone, "is gone")];
            marks.extend(at.into_iter().filter_map(|(at_us, what)| {
                Some(Mark { at_us: at_us.filter(|at| *at > self.first_look_us)?, what: format!("{pod} {what}") })
            }));
        }
        marks
    }

    fn look(&mut self, pods: &[Pod]) {
        let now = now_us();
        for pod in pods {
            let Some(name) = pod.metadata.name.clone() else { continue };
            let life = self.of_each.entry(name).or_default();
            if conditions::is_ready(pod) {
                life.ready.get_or_insert(now);
            }
            if pod.metadata.deletion_timestamp.is_some() {
                life.ending.get_or_insert(now);
            }
        }
        for (name, life) in &mut self.of_each {
            if !pods.iter().any(|pod| pod.metadata.name.as_ref() == Some(name)) {
                life.gone.get_or_insert(now);
            }
        }
    }
}

/// Loads `target` from each of `vantages` while `change` goes on and shortly after; the pods of the app `app` are watched.
///
/// # Errors
/// Those of the change, and if a vantage's agent is lost.
pub(super) async fn during<T>(
    session: &Session,
    vantages: &[String],
    target: SocketAddr,
    app: &str,
    change: impl Future<Output = Result<T>>,
) -> Result<(Timeline, Lives, T)> {
    allow(&session.snapshot().await?, target)?;
    let limit = u64::try_from(AT_MOST.as_millis()).unwrap_or(u64::MAX);
    let plan = Plan {
        extent: Extent::DurationMs(limit),
        connections: AT_ONCE,
        keep_alive: false,
        rate_per_second: Some(RATE),
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        ..Plan::default()
    };
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), NAMESPACE);
    let selector = ListParams::default().labels(&format!("app={app}"));
    let look = async || Ok(pods.list(&selector).await.tried(ErrorKind::Environment, || format!("list {app}"))?.items);
    let mut lives = Lives { first_look_us: now_us(), of_each: BTreeMap::new() };
    lives.look(&look().await?);
    lives.first_look_us = now_us();
    let run = &session.handover().run;
    let loads = vantages.iter().map(|vantage| {
        let load = plan.load(target, &target.ip().to_string(), &format!("{run}-{app}-{vantage}"))?;
        session.agent(vantage)?.start_load(load)
    });
    let loads = loads.collect::<Result<Vec<_>>>()?;
    let over = AtomicBool::new(false);
    let watch = async {
        let mut looks = tokio::time::interval(LOOK);
        while !over.load(Ordering::Relaxed) {
            looks.tick().await;
            lives.look(&look().await?);
        }
        Ok(())
    };
    let change = async {
        let changed = change.await;
        if changed.is_ok() {
            tokio::time::sleep(AFTER).await;
        }
        over.store(true, Ordering::Relaxed);
        changed
    };
    let (changed, ()) = try_join(change, watch).await?;
    loads.iter().for_each(reachmap::probe::LoadUnderWay::stop);
    let mut results = try_join_all(loads.into_iter().map(reachmap::probe::LoadUnderWay::finish)).await?;
    // They are called by their vantage, as everywhere in reports, and not by where the agent is.
    for (result, vantage) in results.iter_mut().zip(vantages) {
        result.vantage.clone_from(vantage);
    }
    let line = Timeline::of(&Results::merge(results), lives.marks());
    Ok((line, lives, changed))
}

/// Now, in microseconds since 1970.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
