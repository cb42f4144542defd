//! A steady load from several places while something changes.

use std::{
    future::Future,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::{try_join, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use reachmap::{
    Result,
    environment::workloads::NAMESPACE,
    kube::Api,
    load::{
        LoadResult, Results,
        generator::{Plan, allow},
        timeline::Timeline,
    },
    session::Session,
    wire::Extent,
};

use crate::lives::{Lives, now_us};

/// Requests a second from each place, a new connection for each.
const RATE: f64 = 50.0;

/// How many of them may be under way at once: more than the rate needs, also while some wait for their timeout.
const AT_ONCE: u32 = 100;

/// No change takes so long; the load is ended when the change is over.
const AT_MOST: Duration = Duration::from_secs(300);

/// How long the load goes on after the change, so that what comes of it is seen.
const AFTER: Duration = Duration::from_secs(2);

/// What a request may start too late and still count as a part of a steady load: a change takes longer than that.
const ON_TIME_US: u64 = 500_000;

/// Of a hundred requests that were due, so many must have started on time.
const STEADY_OF_100: u64 = 95;

/// Loads `target` from each of `vantages` while `change` goes on and shortly after; the pods of the app `app` are watched.
///
/// # Errors
/// Those of the change, and if a vantage's agent is lost.
///
/// # Panics
/// If the load of a vantage was not as steady as it had to be: that nothing failed would then say nothing.
pub async fn during<T>(
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
        // What fails is to fail by what changes, and not by what an earlier failure has left behind.
        fresh_ports: true,
        ..Plan::default()
    };
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), NAMESPACE);
    let mut lives = Lives::begin(pods, &format!("app={app}")).await?;
    let run = &session.handover().run;
    let loads = vantages.iter().map(|vantage| {
        let load = plan.load(target, &target.ip().to_string(), &format!("{run}-{app}-{vantage}"))?;
        session.agent(vantage)?.start_load(load)
    });
    let loads = loads.collect::<Result<Vec<_>>>()?;
    let over = AtomicBool::new(false);
    let watch = lives.watch(&over);
    let change = async {
        let changed = change.await;
        if changed.is_ok() {
            tokio::time::sleep(AFTER).await;
        }
        over.store(true, Ordering::Relaxed);
        changed
    };
    let (changed, ()) = try_join(change, watch).await?;
    let stopped_us = now_us();
    loads.iter().for_each(reachmap::probe::LoadUnderWay::stop);
    let mut results = try_join_all(loads.into_iter().map(reachmap::probe::LoadUnderWay::finish)).await?;
    // They are called by their vantage, as everywhere in reports, and not by where the agent is.
    for (result, vantage) in results.iter_mut().zip(vantages) {
        result.vantage.clone_from(vantage);
        was_steady(result, stopped_us);
    }
    let line = Timeline::of(&Results::merge(results), lives.marks());
    Ok((line, lives, changed))
}

/// Of what was due until the load was stopped, nearly all has started, and about when it had to: one that only caught up
/// afterwards has not seen the change.
fn was_steady(result: &LoadResult, stopped_us: u64) {
    let due = due(stopped_us.saturating_sub(result.loaded.started_at_unix_us));
    let late = |late_us: Option<u64>| late_us.is_none_or(|late| late > ON_TIME_US);
    let on_time = result.requests.iter().filter(|request| !late(request.late_us)).count() as u64;
    assert!(
        on_time * 100 >= due * STEADY_OF_100,
        "{}: {on_time} of {due} requests started on time, of {} in all",
        result.vantage,
        result.requests.len()
    );
}

/// How many requests the rate makes in that time.
#[expect(clippy::cast_precision_loss, reason = "no load lasts 2^52 microseconds")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not negative")]
fn due(us: u64) -> u64 {
    (us as f64 / 1e6 * RATE).round() as u64
}
