//! The end of the logs of what makes Services work, and of the pods behind them.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::LogParams};

use super::{SYSTEM, Wanted};
use crate::{Context as _, ErrorKind, Result, bundle::contents::Side};

/// How many lines of each log are read.
const LINES: i64 = 1_000;

/// How many bytes of each log are kept.
const LIMIT: usize = 128 << 10;

/// How many logs are read.
const MOST: usize = 60;

pub(super) fn wanted<'a>(client: &'a Client, pods: &[Pod]) -> Vec<Wanted<'a>> {
    let mut chosen: Vec<&Pod> = pods.iter().filter(|pod| is_wanted(pod)).collect();
    // The cluster's own before the workloads: there may be many of those.
    chosen.sort_by_key(|pod| (!is_system(pod), pod.namespace(), pod.name_any()));
    let containers = chosen.into_iter().flat_map(|pod| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.map(|container| (pod.namespace().unwrap_or_default(), pod.name_any(), container.name.clone()))
    });
    containers
        .take(MOST)
        .map(|(namespace, pod, container)| Wanted {
            path: format!("logs/{namespace}/{pod}.{container}.log"),
            about: format!("the last {LINES} lines of the log"),
            side: Side::Tail,
            limit: LIMIT,
            take: read(client, namespace, pod, container).boxed(),
        })
        .collect()
}

fn is_system(pod: &Pod) -> bool {
    pod.namespace().is_some_and(|namespace| SYSTEM.contains(&namespace.as_str()))
}

/// In `kube-system`, CoreDNS and what runs on every node (kube-proxy, the network plugin); elsewhere everything.
fn is_wanted(pod: &Pod) -> bool {
    let of_daemon_set = pod.owner_references().iter().any(|owner| owner.kind == "DaemonSet");
    let is_dns = pod.labels().get("k8s-app").is_some_and(|app| app == "kube-dns");
    pod.namespace().as_deref() != Some("kube-system") || of_daemon_set || is_dns
}

async fn read(client: &Client, namespace: String, pod: String, container: String) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let parameters =
        LogParams { tail_lines: Some(LINES), container: Some(container), timestamps: true, ..LogParams::default() };
    let log = api.logs(&pod, &parameters).await;
    log.tried(ErrorKind::Environment, || format!("read the log of the pod {namespace}/{pod}"))
}
