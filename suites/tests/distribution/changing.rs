//! Load while things change: which requests fail, how soon the new state serves everywhere, and whether a pod that is
//! ending still gets new connections.

use std::{collections::BTreeSet, future::Future, time::Duration};

use reachmap::{
    Context as _, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    k8s_openapi::api::core::v1::Pod,
    kube::{Api, api::EvictParams},
    load::timeline::Timeline,
    report::ChangeRecord,
    session::Session,
};
use reachmap_suites::{
    changes::changed,
    lives::{Lives, now_us},
    on_the_sessions_runtime,
    steady::during,
};
use tokio::sync::Mutex;

mod moving;
mod udp;
mod workload;

use workload::{Grace, Workload};

/// Who changes where pods are while every place loads them, or takes a node away: one after the other, so that what fails
/// is known to be of one change.
static ENDPOINTS: Mutex<()> = Mutex::const_new(());

/// Who moves load balancers' addresses, or depends on where they are: one after the other. They may go on beside those above,
/// which are about other Services and other pods. Whoever takes both takes that one first.
static ADDRESSES: Mutex<()> = Mutex::const_new(());

/// How long a change may take that Kubernetes has accepted.
const AT_MOST: Duration = Duration::from_secs(90);

/// How long after a pod began to end, or to be taken for ready without a probe, requests may be sent to it in vain: until
/// every node's kube-proxy has heard of it, which writes its rules once a second at most.
const UNHEARD_US: u64 = 2_000_000;

/// How long before it was seen: a look, and what the API server takes.
const UNSEEN_US: u64 = 500_000;

/// How long the load goes on undisturbed before and after a change by which requests fail.
const CALM: Duration = Duration::from_secs(3);

/// A load on a workload of the test's own, from every place in the cluster, while `change` goes on.
async fn loaded<T, C>(
    name: &'static str,
    grace: Grace,
    change: impl FnOnce(Workload) -> C,
) -> Result<(Timeline, Lives, T)>
where
    C: Future<Output = Result<T>>,
{
    let _alone = ENDPOINTS.lock().await;
    let session = Session::current()?;
    let workload = || Workload::new(session, name, grace);
    let (deploy, load, remove) = (workload(), workload(), workload());
    changed(
        || async move { deploy.deploy().await },
        || async move {
            let (vantages, address) = (load.vantages(), load.address().await?);
            during(session, &vantages, address, name, change(load)).await
        },
        || async move { remove.remove().await },
    )
    .await
}

/// Once it is over, those who were there at the end serve every vantage, and nobody else; what it took is in the report.
///
/// # Panics
/// If a vantage is served by anybody else to the last.
fn settled(name: &str, what: &str, line: &Timeline, lives: &Lives, since_us: u64) -> Result<()> {
    let still_there = lives.still_there().collect();
    let ending = lives.of_each.iter().filter_map(|(pod, life)| Some((pod.as_str(), life.ending?)));
    let ending: Vec<(&str, u64)> = ending.collect();
    let record = ChangeRecord::of(name, what, line, (since_us, &still_there), &ending);
    let settled: BTreeSet<&str> = record.settled_us.keys().map(String::as_str).collect();
    assert_eq!(settled, vantages(line), "served by the pods of the end alone");
    Session::current()?.record_change(record)
}

fn vantages(line: &Timeline) -> BTreeSet<&str> {
    line.events.iter().map(|event| event.vantage.as_str()).collect()
}

fn none_failed(line: &Timeline) {
    let failed: Vec<String> = line.failed().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {failed:#?}", failed.len(), line.events.len());
}

#[test]
fn scaling_from_three_to_five_to_two_fails_no_request() -> Result<()> {
    on_the_sessions_runtime(async {
        let (line, lives, (up_us, down_us)) = loaded("scaled", Grace::AsPeopleShould, |workload| async move {
            let up_us = now_us();
            workload.scale(5).await?;
            workload.until_rolled_out().await?;
            // So that each of the five is seen to serve before any is taken away.
            tokio::time::sleep(CALM).await;
            let down_us = now_us();
            workload.scale(2).await?;
            workload.until_pods(2).await?;
            Ok((up_us, down_us))
        })
        .await?;
        none_failed(&line);
        let came: BTreeSet<&str> = lives.came_later().collect();
        assert_eq!(came.len(), 2, "{lives:?}");
        let [up, down] = line.split(down_us);
        let record = ChangeRecord::of_coming("scaled-up", "3 to 5 replicas", &up, (up_us, &came));
        let served: BTreeSet<&str> = record.settled_us.keys().map(String::as_str).collect();
        assert_eq!(served, vantages(&line), "who was answered by each of {came:?} (left)");
        Session::current()?.record_change(record)?;
        settled("scaled-down", "5 to 2 replicas", &down, &lives, down_us)
    })
}

#[test]
fn a_rolling_restart_fails_no_request() -> Result<()> {
    on_the_sessions_runtime(async {
        let (line, lives, ()) = loaded("restarted", Grace::AsPeopleShould, |workload| async move {
            workload.restart().await?;
            workload.until_rolled_out().await?;
            workload.until_pods(3).await
        })
        .await?;
        none_failed(&line);
        assert_eq!(lives.came_later().count(), 3, "{lives:?}");
        settled("restarted", "rolling restart", &line, &lives, lives.first_ending_us().unwrap_or_default())
    })
}

/// The pods of a node, evicted as `kubectl drain` does it.
#[test]
fn an_eviction_fails_no_request() -> Result<()> {
    on_the_sessions_runtime(async {
        let (line, lives, ()) = loaded("evicted", Grace::AsPeopleShould, |workload| async move {
            let api: Api<Pod> = Api::namespaced(Session::current()?.client().clone(), NAMESPACE);
            let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let pods = workload.pods().await?;
            let drained = pods.first().and_then(node);
            for pod in pods.iter().filter(|pod| node(pod) == drained) {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let evicted = api.evict(&name, &EvictParams::default()).await;
                evicted.map(drop).tried(ErrorKind::Environment, || format!("evict {name}"))?;
            }
            workload.until_pods(3).await
        })
        .await?;
        none_failed(&line);
        assert!(lives.came_later().next().is_some(), "{lives:?}");
        settled("evicted", "eviction", &line, &lives, lives.first_ending_us().unwrap_or_default())
    })
}

/// Without a probe and a hook, requests may fail: but only while a pod comes or goes, and none before and after.
#[test]
fn a_restart_without_grace_fails_requests_only_where_a_pod_comes_or_goes() -> Result<()> {
    on_the_sessions_runtime(async {
        let (line, lives, ()) = loaded("careless", Grace::None, |workload| async move {
            tokio::time::sleep(CALM).await;
            workload.restart().await?;
            workload.until_rolled_out().await?;
            workload.until_pods(3).await?;
            tokio::time::sleep(Duration::from_micros(UNHEARD_US) + CALM).await;
            Ok(())
        })
        .await?;
        let windows: Vec<(u64, u64)> =
            lives.came_or_went_us().map(|at| (at.saturating_sub(UNSEEN_US), at + UNHEARD_US)).collect();
        calm_outside(&line, &windows);
        settled("careless", "restart without grace", &line, &lives, lives.first_ending_us().unwrap_or_default())
    })
}

/// Outside of the windows nothing failed, and every vantage loaded for a while before the first of them and after the last.
fn calm_outside(line: &Timeline, windows: &[(u64, u64)]) {
    let unexcused: Vec<String> = line.failed_outside(windows).iter().map(ToString::to_string).collect();
    assert!(unexcused.is_empty(), "{} of {}: {unexcused:#?}", unexcused.len(), line.failed().count());
    let first = windows.iter().map(|(from, _)| *from).min().unwrap_or_default();
    let last = windows.iter().map(|(_, to)| *to).max().unwrap_or_default();
    for vantage in vantages(line) {
        let starts = || line.events.iter().filter(|event| event.vantage == vantage).map(|event| event.start_us);
        let before = first.saturating_sub(starts().min().unwrap_or_default());
        let after = starts().max().unwrap_or_default().saturating_sub(last);
        let least = u64::try_from(CALM.as_micros()).unwrap_or(u64::MAX) / 2;
        assert!(
            before.min(after) >= least,
            "{vantage} loaded for {before} us before the change, and for {after} after"
        );
    }
}
