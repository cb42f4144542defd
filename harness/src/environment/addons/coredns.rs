//! CoreDNS: its Corefile changed, and the proof that the change is live everywhere.
//!
//! The tutorial edits the ConfigMap and restarts the Deployment. That the rollout is over does not prove that
//! every replica answers from the new text, so each edit carries a *sentinel*: a server block of its own with
//! a name that nobody else has. Every replica is asked for it at its own address, and the change counts as
//! made when all of them know it. The original text carries none: it counts as back when every replica has
//! forgotten the last one.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    environment::{
        journal::{Journal, Restored, Target},
        sha256,
    },
    kubernetes::{FIELD_MANAGER, apply, logs},
    model::dns::{Corefile, corefile::ServerBlock},
    wire::Resolve,
};

mod proof;
mod replicas;

use proof::Proof;
pub use replicas::until_none_ends;

const SENTINEL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/corefiles/sentinel.corefile"));
const NAMESPACE: &str = "kube-system";
const DEPLOYMENT: &str = "coredns";
const PODS: &str = "k8s-app=kube-dns";

/// The zone that the sentinels' zones are in: `internal` is kept for private use, and never delegated.
const SENTINELS: &str = "reachmap.internal";

/// The annotation that makes the kubelet look at a pod, and with it at the files that it mounts, at once.
const LOOK_NOW: &str = "reachmap.dev/corefile";

/// What a sentinel's name resolves to: an address for documentation, which nobody has (RFC 5737).
pub const SENTINEL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));

/// How often CoreDNS looks for a change of its file once one of our edits is live: the least that the `reload`
/// plugin takes (<https://coredns.io/plugins/reload/>). It changes no answer.
const RELOAD: Duration = Duration::from_secs(2);

/// How CoreDNS is brought to read an edited Corefile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The tutorial's: the Deployment is restarted after the edit.
    Restart,
    /// The `reload` plugin's: each replica sees by itself that its file has changed.
    ///
    /// The kubelet renews the file when it looks at the pod the next time, which can take more than a minute; an
    /// annotation of ours on the pod makes it look at once. The plugin then looks every 30 seconds, or every two
    /// once an edit of ours is live. A Corefile without `reload` cannot be changed in this way.
    Reload,
}

/// A change that is live in every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How it became live.
    pub way: Way,
    /// The Corefile as it is now, sentinel included.
    pub corefile: String,
    /// The name that resolves to [`SENTINEL_ADDRESS`] only while this very change is live; none in the original.
    pub sentinel: Option<String>,
    /// Each replica that serves it.
    pub replicas: Vec<Replica>,
    /// How long it took from the edit until the last replica was proven to serve it.
    pub elapsed: Duration,
}

/// One replica of CoreDNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its pod.
    pub pod: String,
    /// Its own address.
    pub address: IpAddr,
    /// How long after the edit it first showed that it serves the change.
    pub live_after: Duration,
}

/// Changes the Corefile: `edit` gets the text from before any of our edits, and returns the new one. If it returns
/// the text that it got, the original is put back as it was, without any sentinel.
///
/// `ask` resolves a name at the replica at an address, from inside the cluster.
///
/// Replicas of before may serve on for some seconds to clients whose node has not noticed yet; who needs to know
/// asks through the Service from there.
///
/// # Errors
/// A text that CoreDNS would reject is refused before anything is changed. If the change does not become live
/// within `deadline` it is put back, and the error carries the last log lines of the replicas.
pub async fn change<A, F>(
    client: &Client,
    journal: &Journal,
    edit: impl FnOnce(&str) -> Result<String>,
    ask: A,
    way: Way,
    deadline: Duration,
) -> Result<Change>
where
    A: Fn(SocketAddr, String) -> F,
    F: Future<Output = Result<Resolve>>,
{
    let target = Target::corefile();
    let original = journal.original(&target).await?;
    let edited = edit(&original)?;
    // What CoreDNS would not load is refused while nothing has been changed.
    edited.parse::<Corefile>()?.check(Some(&original.parse()?))?;
    let (corefile, sentinel) = if edited == original {
        (original, None)
    } else {
        let (sentinel, corefile) = with_sentinel(&edited, &jiff::Timestamp::now().to_string())?;
        (corefile, Some(sentinel))
    };
    let live = journal.live_text(&target).await?;
    let proof = match &sentinel {
        Some(sentinel) => Proof::Knows(sentinel.clone()),
        // Without a sentinel in it, what is live is the original already.
        None => sentinel_in(&live).map_or(Proof::Anything, Proof::Forgot),
    };
    // A replica that is still starting would not be asked, and might come up with the file of before.
    let serving = match way {
        Way::Restart => BTreeMap::new(),
        Way::Reload => replicas::until_served(client, &BTreeSet::new(), deadline).await?,
    };
    let before = replicas::pods(client).await?;
    let started = Instant::now();
    journal.edit(&target, &corefile).await?;
    let made = async {
        match way {
            Way::Restart => {
                apply::restart_deployment(client, NAMESPACE, DEPLOYMENT).await?;
                let shown = async {
                    let new = replicas::until_new_have_addresses(client, &before, deadline).await?;
                    shown_by(&proof, new, &ask, started, deadline).await
                };
                // A replica serves the change some time before it counts as ready and the Service has it.
                let (mut shown, ready) =
                    tokio::try_join!(shown, replicas::until_served_by_new(client, &before, deadline))?;
                let mut late = ready.clone();
                late.retain(|pod, _| !shown.iter().any(|replica| replica.pod == *pod));
                shown.retain(|replica| ready.contains_key(&replica.pod));
                shown.extend(shown_by(&proof, late, &ask, started, deadline).await?);
                Ok(shown)
            }
            Way::Reload => {
                look_now(client, serving.keys(), &sha256(&corefile)).await?;
                shown_by(&proof, serving, &ask, started, deadline).await
            }
        }
    };
    match made.await {
        Ok(replicas) => Ok(Change { way, corefile, sentinel, replicas, elapsed: started.elapsed() }),
        Err(error) => Err(roll_back(client, journal, &before, error).await),
    }
}

async fn shown_by<A, F>(
    proof: &Proof,
    replicas: BTreeMap<String, IpAddr>,
    ask: &A,
    started: Instant,
    deadline: Duration,
) -> Result<Vec<Replica>>
where
    A: Fn(SocketAddr, String) -> F,
    F: Future<Output = Result<Resolve>>,
{
    let left = deadline.saturating_sub(started.elapsed());
    let shown = replicas.into_iter().map(|(pod, address)| proof.until_shown(pod, address, ask, started, left));
    futures::future::try_join_all(shown).await
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
        replicas::until_rolled_out(client, deadline).await?;
    }
    Ok(restored)
}

/// Adds a server block with a name of its own to the Corefile, and lets CoreDNS look for the next change often;
/// returns the name and the new text.
fn with_sentinel(corefile: &str, salt: &str) -> Result<(String, String)> {
    let hash = sha256(format!("{corefile}{salt}"));
    let zone = format!("{}.{SENTINELS}", &hash[..10]);
    let name = format!("live.{zone}");
    let address = SENTINEL_ADDRESS.to_string();
    let values = [("zone", zone.as_str()), ("name", name.as_str()), ("address", address.as_str())];
    let block = apply::render("sentinel.corefile", SENTINEL, &values)?;
    let text = corefile.parse::<Corefile>()?.with_reload(RELOAD)?.with_server_block(&block)?;
    Ok((name, text.to_string()))
}

/// The name of the sentinel that a text carries.
fn sentinel_in(corefile: &str) -> Option<String> {
    let corefile: Corefile = corefile.parse().ok()?;
    let zones: Vec<String> = corefile.blocks().flat_map(ServerBlock::zones).collect();
    let zone = zones.into_iter().find(|zone| zone.ends_with(&format!(".{SENTINELS}.")))?;
    Some(format!("live.{}", zone.trim_end_matches('.')))
}

/// Makes the kubelets renew the files of these pods now.
async fn look_now(client: &Client, pods: impl Iterator<Item = &String>, value: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {(LOOK_NOW): value.get(..16)}}}));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for pod in pods {
        let annotated = api.patch(pod, &parameters, &patch).await;
        annotated.tried(ErrorKind::Environment, || format!("make the kubelet look at the pod {pod}"))?;
    }
    Ok(())
}

/// Puts the Corefile back and returns `error` with what the replicas logged.
async fn roll_back(client: &Client, journal: &Journal, before: &BTreeSet<String>, error: Error) -> Error {
    let mut cause = error.to_string();
    let now = replicas::pods(client).await.unwrap_or_default();
    // After a restart only the new ones say why; a reload has none that are new.
    let mut said: Vec<&String> = now.difference(before).collect();
    if said.is_empty() {
        said = now.iter().collect();
    }
    for pod in said {
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
    Error::new(error.kind(), "make the edited Corefile live in every replica of CoreDNS", cause)
        .with_code(ErrorCode::Corefile)
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinel_is_a_server_block_of_its_own() {
        let original = ".:53 {\n    errors\n    reload\n}\n";
        let (name, corefile) = with_sentinel(original, "salt").unwrap();
        assert_eq!(sentinel_in(&corefile), Some(name.clone()));
        assert_eq!(sentinel_in(original), None);
        let zone = name.strip_prefix("live.").unwrap();
        insta::assert_snapshot!(corefile.replace(zone, "<zone>"), @r"
        .:53 {
            errors
            reload 2s 1s
        }
        # Answers only while this edit is live: Reachmap asks every replica for it.
        <zone>:53 {
            hosts {
                192.0.2.53 live.<zone>
            }
        }
        ");
        let (other, _) = with_sentinel(original, "pepper").unwrap();
        assert_ne!(name, other);
    }
}
