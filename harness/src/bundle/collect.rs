//! What the cluster says of itself while something is not as expected: taken as it is, and never a reason to fail.
//!
//! Everything that is wanted is one small request with a limit of its own, and all of them share one deadline: whatever
//! does not answer, the rest is there. Nothing is changed anywhere.

mod logs;
mod nodes;
mod objects;

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::time::{Instant, timeout_at};

use super::{Contents, File, TIME_LIMIT, contents::Side};
use crate::{Context as _, ErrorKind, Result, environment::cluster::EngineAccess, session::handover::Site};

/// How long one request may take.
const EACH: Duration = Duration::from_secs(10);

/// How many requests are under way at once: the cluster that is looked at is one that already has trouble.
const AT_ONCE: usize = 8;

/// The namespaces in which the cluster's own networking runs, where there are any.
const SYSTEM: [&str; 4] = ["kube-system", "kube-flannel", "metallb-system", "calico-system"];

/// Where it is collected.
pub(crate) struct Ground<'a> {
    /// The API server.
    pub(crate) client: &'a Client,
    /// How commands are run on nodes.
    pub(crate) nodes: NodeAccess,
    /// The vantages.
    pub(crate) sites: &'a [Site],
    /// The namespaces of the run's own.
    pub(crate) namespaces: Vec<String>,
}

/// How commands are run on nodes.
#[derive(Debug, Clone)]
pub(crate) enum NodeAccess {
    /// In their containers, by the engine that we made them with.
    Engine(EngineAccess),
    /// In kube-proxy's pods, which stand in the nodes' networks: as far as the cluster allows that.
    ProxyPods,
}

/// Something that is wanted.
struct Wanted<'a> {
    path: String,
    about: String,
    side: Side,
    limit: usize,
    take: BoxFuture<'a, Result<String>>,
}

/// Collects what the cluster says, for a suite in a stage. It takes at most [`TIME_LIMIT`], and fails in nothing.
pub(crate) async fn collect(ground: &Ground<'_>, suite: &str, stage: &str) -> Contents {
    collect_within(ground, &format!("facts/{suite}.{stage}"), TIME_LIMIT).await
}

pub(super) async fn collect_within(ground: &Ground<'_>, root: &str, limit: Duration) -> Contents {
    let until = Instant::now() + limit;
    let mut contents = Contents::default();
    let namespaces: BTreeSet<&str> = SYSTEM.into_iter().chain(ground.namespaces.iter().map(String::as_str)).collect();
    let mut pods = Vec::new();
    for namespace in &namespaces {
        match within(until, list_pods(ground.client, namespace)).await {
            Ok(found) => pods.extend(found),
            Err(why) => contents.miss(format!("{root}/cluster/pods.json"), format!("in {namespace}: {why}")),
        }
    }
    let proxies = nodes::proxies(&pods);
    let all_nodes = match within(until, nodes::names(ground.client)).await {
        Ok(names) => names,
        Err(why) => {
            contents.miss(format!("{root}/nodes"), format!("not known which there are: {why}"));
            proxies.keys().cloned().collect()
        }
    };
    let mut wanted = objects::wanted(ground.client, &namespaces, &pods);
    wanted.extend(nodes::on_nodes(ground, &all_nodes, &proxies));
    wanted.extend(nodes::at_vantages(ground));
    wanted.extend(logs::wanted(ground.client, &pods));
    let mut taken: Vec<(String, Result<File, String>)> = futures::stream::iter(wanted)
        .map(|Wanted { path, about, side, limit, take }| async move {
            let path = format!("{root}/{path}");
            let text = within(until, take).await;
            (path.clone(), text.map(|text| File::limited(path, about, text, side, limit)))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    taken.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, file) in taken {
        match file {
            Ok(file) => contents.files.push(file),
            Err(why) => contents.miss(path, why),
        }
    }
    contents
}

/// What comes of `work` in the time that is left, else why nothing does.
pub(super) async fn within<T>(until: Instant, work: impl Future<Output = Result<T>>) -> Result<T, String> {
    let own = Instant::now() + EACH;
    match timeout_at(own.min(until), work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) if own < until => Err(format!("no answer after {EACH:?}")),
        Err(_) => Err("the time for collecting was over".to_owned()),
    }
}

async fn list_pods(client: &Client, namespace: &str) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.tried(ErrorKind::Environment, || format!("list the pods in {namespace}"))?.items)
}

#[cfg(test)]
mod tests;
