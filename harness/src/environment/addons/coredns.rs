//! CoreDNS: its Corefile changed the tutorial's way, and the proof that the change is live everywhere.
//!
//! The tutorial edits the ConfigMap and restarts the Deployment. That the rollout is over does not prove that
//! every replica answers from the new text, so each edit carries a *sentinel*: a server block of its own with
//! a name that nobody else has. Every replica is asked for it at its own address, and the change counts as
//! made when all of them know it and no replica of before is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::time::{Instant, timeout};

use crate::{
    Context as _, Error, ErrorKind, Result,
    environment::{
        journal::{Journal, Restored, Target},
        sha256,
    },
    kubernetes::{
        apply, conditions, logs,
        wait::{self, Seen},
    },
};

const SENTINEL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/corefiles/sentinel.corefile"));
const NAMESPACE: &str = "kube-system";
const DEPLOYMENT: &str = "coredns";
const PODS: &str = "k8s-app=kube-dns";
const SLICES: &str = "kubernetes.io/service-name=kube-dns";

/// What a sentinel's name resolves to: an address for documentation, which nobody has (RFC 5737).
pub const SENTINEL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));

/// How long one question to a replica may take.
const QUESTION: Duration = Duration::from_secs(2);

/// A change that is live in every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The Corefile as it is now, sentinel included.
    pub corefile: String,
    /// The name that resolves to [`SENTINEL_ADDRESS`] only while this very change is live.
    pub sentinel: String,
    /// Each replica that serves it.
    pub replicas: Vec<Replica>,
    /// How long it took from the edit until the last replica of before was gone.
    pub elapsed: Duration,
}

/// One replica of CoreDNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its pod.
    pub pod: String,
    /// Its own address.
    pub address: IpAddr,
    /// How long after the edit it first gave the sentinel's answer.
    pub live_after: Duration,
}

/// Changes the Corefile: `edit` gets the text from before any of our edits, and returns the new one.
///
/// `ask` asks the replica at an address for a name's address, from inside the cluster; it returns `None` if the
/// name is not known there.
///
/// # Errors
/// If the change does not become live within `deadline` it is put back, and the error carries the last log
/// lines of the replicas.
pub async fn change<A, F>(
    client: &Client,
    journal: &Journal,
    edit: impl FnOnce(&str) -> Result<String>,
    ask: A,
    deadline: Duration,
) -> Result<Change>
where
    A: Fn(SocketAddr, String) -> F,
    F: Future<Output = Result<Option<IpAddr>>>,
{
    let target = Target::corefile();
    let edited = edit(&journal.original(&target).await?)?;
    let started = Instant::now();
    let (sentinel, corefile) = with_sentinel(&edited, &jiff::Timestamp::now().to_string())?;
    let before = pods(client).await?;
    journal.edit(&target, &corefile).await?;
    match become_live(client, &before, &sentinel, &ask, started, deadline).await {
        Ok(replicas) => Ok(Change { corefile, sentinel, replicas, elapsed: started.elapsed() }),
        Err(error) => Err(roll_back(client, journal, &before, error).await),
    }
}

/// Puts the Corefile back as it was before any of our edits, and waits until CoreDNS has restarted with it.
///
/// To be called before the first edit, too: a replica that is told to end while it is still starting does not
/// listen yet, and is killed only after its grace period of 30 seconds.
///
/// # Errors
/// [`ErrorKind::Deadline`] with the Deployment's last state if the restart does not end.
pub async fn restore(client: &Client, journal: &Journal, deadline: Duration) -> Result<Vec<Restored>> {
    let restored = journal.restore().await?;
    if restored.iter().any(|restored| !matches!(restored, Restored::ChangedByOthers(_))) {
        until_rolled_out(client, deadline).await?;
    }
    Ok(restored)
}

/// Adds a server block with a name of its own to the Corefile; returns the name and the new text.
fn with_sentinel(corefile: &str, salt: &str) -> Result<(String, String)> {
    let hash = sha256(format!("{corefile}{salt}"));
    let zone = format!("{}.reachmap.internal", &hash[..10]);
    let name = format!("live.{zone}");
    let address = SENTINEL_ADDRESS.to_string();
    let values = [("zone", zone.as_str()), ("name", name.as_str()), ("address", address.as_str())];
    let block = apply::render("sentinel.corefile", SENTINEL, &values)?;
    let corefile = corefile.trim_end_matches('\n');
    Ok((name, format!("{corefile}\n{block}\n")))
}

async fn become_live<A, F>(
    client: &Client,
    before: &BTreeSet<String>,
    sentinel: &str,
    ask: &A,
    started: Instant,
    deadline: Duration,
) -> Result<Vec<Replica>>
where
    A: Fn(SocketAddr, String) -> F,
    F: Future<Output = Result<Option<IpAddr>>>,
{
    apply::restart_deployment(client, NAMESPACE, DEPLOYMENT).await?;
    let replicas = until_served_by_new(client, before, deadline).await?;
    let left = deadline.saturating_sub(started.elapsed());
    let asked = replicas.into_iter().map(|(pod, address)| until_it_knows(pod, address, sentinel, ask, started, left));
    // Replicas of before serve on for some seconds after they have been taken out of the Service, to clients
    // whose node has not noticed yet: only when they are gone nobody can get an answer of before.
    let gone = wait::until_all(
        Api::<Pod>::namespaced(client.clone(), NAMESPACE),
        PODS,
        "see the replicas of CoreDNS from before the edit end",
        left,
        |pods| {
            let left: Vec<&str> = pods.keys().map(String::as_str).filter(|name| before.contains(*name)).collect();
            if left.is_empty() { Seen::Met(()) } else { Seen::NotYet(format!("still there: {}", left.join(", "))) }
        },
    );
    let (replicas, ()) = tokio::try_join!(futures::future::try_join_all(asked), gone)?;
    Ok(replicas)
}

/// Waits until the rollout is over and the Service has only replicas that were not there before.
async fn until_served_by_new(
    client: &Client,
    before: &BTreeSet<String>,
    deadline: Duration,
) -> Result<BTreeMap<String, IpAddr>> {
    let broken = wait::until_all(
        Api::<Pod>::namespaced(client.clone(), NAMESPACE),
        PODS,
        "see CoreDNS start with the edited Corefile",
        deadline,
        |pods| -> Seen<()> {
            let broken = pods.values().filter(|pod| !before.contains(&pod.name_any())).find_map(keeps_ending);
            broken.map_or_else(|| Seen::NotYet("no replica fails to start".to_owned()), Seen::Never)
        },
    );
    let served = async {
        until_rolled_out(client, deadline).await?;
        let wanted = replicas(client).await?;
        wait::until_all(
            Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE),
            SLICES,
            "see the DNS Service served by the restarted replicas alone",
            deadline,
            |slices| {
                let ready = ready_pods(slices);
                let old: Vec<&str> = ready.keys().map(String::as_str).filter(|pod| before.contains(*pod)).collect();
                if old.is_empty() && ready.len() >= wanted {
                    return Seen::Met(ready);
                }
                Seen::NotYet(format!("{} of {wanted} ready, of before: {}", ready.len(), old.join(", ")))
            },
        )
        .await
    };
    tokio::select! {
        served = served => served,
        // It ends only in an error: at the deadline, or because a replica cannot start.
        Err(error) = broken => Err(error),
    }
}

async fn until_rolled_out(client: &Client, deadline: Duration) -> Result<()> {
    wait::until(
        Api::<Deployment>::namespaced(client.clone(), NAMESPACE),
        DEPLOYMENT,
        "see CoreDNS restarted",
        deadline,
        conditions::deployment_rolled_out,
    )
    .await
}

/// Whether a container of the pod has ended in failure and been started again.
fn keeps_ending(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find_map(|container| {
        let ended = container.last_state.as_ref()?.terminated.as_ref()?;
        let failed = container.restart_count > 0 && ended.exit_code != 0;
        failed.then(|| format!("the replica {} ends with exit code {}", pod.name_any(), ended.exit_code))
    })
}

/// The first address of each pod that a Service sends new connections to.
fn ready_pods(slices: &BTreeMap<String, EndpointSlice>) -> BTreeMap<String, IpAddr> {
    let endpoints = slices.values().flat_map(|slice| &slice.endpoints);
    endpoints
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false))
        .filter_map(|endpoint| {
            let pod = endpoint.target_ref.as_ref()?.name.clone()?;
            Some((pod, endpoint.addresses.first()?.parse().ok()?))
        })
        .collect()
}

async fn until_it_knows<A, F>(
    pod: String,
    address: IpAddr,
    sentinel: &str,
    ask: &A,
    started: Instant,
    deadline: Duration,
) -> Result<Replica>
where
    A: Fn(SocketAddr, String) -> F,
    F: Future<Output = Result<Option<IpAddr>>>,
{
    let end = Instant::now() + deadline;
    let mut pauses = tokio::time::interval(Duration::from_millis(100));
    loop {
        pauses.tick().await;
        let answer = timeout(QUESTION, ask(SocketAddr::new(address, 53), sentinel.to_owned())).await;
        let last = match answer {
            Ok(Ok(Some(SENTINEL_ADDRESS))) => {
                return Ok(Replica { pod, address, live_after: started.elapsed() });
            }
            Ok(Ok(Some(other))) => format!("it answers {other}"),
            Ok(Ok(None)) => "it does not know the name".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {QUESTION:?}"),
        };
        if Instant::now() >= end {
            let tried = format!("see the replica {pod} of CoreDNS at {address} answer from the edited Corefile");
            return Err(Error::new(ErrorKind::Deadline, tried, format!("asked for {sentinel}, last: {last}")));
        }
    }
}

async fn pods(client: &Client) -> Result<BTreeSet<String>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = api.list(&ListParams::default().labels(PODS)).await;
    let pods = pods.tried(ErrorKind::Environment, || "list the replicas of CoreDNS")?;
    Ok(pods.iter().map(ResourceExt::name_any).collect())
}

async fn replicas(client: &Client) -> Result<usize> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = api.get(DEPLOYMENT).await.tried(ErrorKind::Environment, || "read CoreDNS's Deployment")?;
    let replicas = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    Ok(usize::try_from(replicas).unwrap_or(0))
}

/// Puts the Corefile back and returns `error` with what the new replicas logged.
async fn roll_back(client: &Client, journal: &Journal, before: &BTreeSet<String>, error: Error) -> Error {
    let mut cause = error.to_string();
    for pod in pods(client).await.unwrap_or_default().difference(before) {
        let log = logs::tail(client, NAMESPACE, pod, 12).await.unwrap_or_else(|error| error.to_string());
        let log: Vec<&str> = log.trim_end().lines().collect();
        cause = format!("{cause}\n  {pod} logged:\n    {}", log.join("\n    "));
    }
    let hint = match journal.restore().await {
        Ok(_) => "The Corefile is as it was before; nothing has to be undone.".to_owned(),
        Err(undo) => {
            format!("It could not be put back ({undo}); the next run or `gc` tries again.")
        }
    };
    Error::new(error.kind(), "make the edited Corefile live in every replica of CoreDNS", cause).hint(hint)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sentinel_is_a_server_block_of_its_own() {
        let (name, corefile) = with_sentinel(".:53 {\n    errors\n}\n", "salt").unwrap();
        let zone = name.strip_prefix("live.").unwrap();
        insta::assert_snapshot!(corefile.replace(zone, "<zone>"), @r"
        .:53 {
            errors
        }
        # Answers only while this edit is live: Reachmap asks every replica for it.
        <zone>:53 {
            hosts {
                192.0.2.53 live.<zone>
            }
        }
        ");
        let (other, _) = with_sentinel(".:53 {\n    errors\n}\n", "pepper").unwrap();
        assert_ne!(name, other);
    }

    #[test]
    fn a_replica_that_was_started_again_after_a_failure_is_broken() {
        let pod = |restarts: i32, code: i32| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "coredns-1"}, "status": {"containerStatuses": [{
                "name": "coredns", "image": "", "imageID": "", "ready": false, "restartCount": restarts,
                "lastState": {"terminated": {"exitCode": code}},
            }]}}))
            .unwrap()
        };
        assert_eq!(keeps_ending(&pod(1, 1)).as_deref(), Some("the replica coredns-1 ends with exit code 1"));
        assert_eq!(keeps_ending(&pod(1, 0)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_asked_until_it_gives_the_sentinel_s_answer() {
        let asked = std::cell::Cell::new(0);
        let ask = |_: SocketAddr, name: String| {
            assert_eq!(name, "live.x");
            asked.set(asked.get() + 1);
            let answer = (asked.get() > 3).then_some(SENTINEL_ADDRESS);
            std::future::ready(Ok(answer))
        };
        let address = IpAddr::from([10, 244, 0, 2]);
        let replica =
            until_it_knows("p".into(), address, "live.x", &ask, Instant::now(), Duration::from_secs(5)).await.unwrap();
        assert_eq!((asked.get(), replica.live_after), (4, Duration::from_millis(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_never_knows_it_is_named() {
        let ask = |_: SocketAddr, _: String| std::future::ready(Ok(None));
        let address = IpAddr::from([10, 244, 0, 2]);
        let error = until_it_knows("coredns-1".into(), address, "live.x", &ask, Instant::now(), Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("coredns-1 of CoreDNS at 10.244.0.2"), "{error}");
        assert!(error.to_string().ends_with("asked for live.x, last: it does not know the name"), "{error}");
    }
}
