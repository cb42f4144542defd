//! The replicas of CoreDNS: which there are, and when the Service has only new ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{DEPLOYMENT, NAMESPACE, PODS};
use crate::{
    Context as _, ErrorKind, Result,
    kubernetes::{
        conditions,
        wait::{self, Seen},
    },
};

const SLICES: &str = "kubernetes.io/service-name=kube-dns";

/// Waits until the rollout is over and the Service has only replicas that were not there before.
pub(super) async fn until_served_by_new(
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
    tokio::select! {
        served = until_served(client, before, deadline) => served,
        // It ends only in an error: at the deadline, or because a replica cannot start.
        Err(error) = broken => Err(error),
    }
}

/// Waits until no rollout goes on, and the Service has all replicas and none of `before`; returns them, each with its own
/// address.
pub(super) async fn until_served(
    client: &Client,
    before: &BTreeSet<String>,
    deadline: Duration,
) -> Result<BTreeMap<String, IpAddr>> {
    until_rolled_out(client, deadline).await?;
    let wanted = replicas(client).await?;
    wait::until_all(
        Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE),
        SLICES,
        "see the DNS Service served by the replicas that are to serve it, and by no other",
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
}

/// Waits until as many pods as the Deployment wants are new and have an address, ready or not.
pub(super) async fn until_new_have_addresses(
    client: &Client,
    before: &BTreeSet<String>,
    deadline: Duration,
) -> Result<BTreeMap<String, IpAddr>> {
    let wanted = replicas(client).await?;
    wait::until_all(
        Api::<Pod>::namespaced(client.clone(), NAMESPACE),
        PODS,
        "see the restarted replicas of CoreDNS get their addresses",
        deadline,
        |pods| {
            let new = pods.iter().filter(|(name, _)| !before.contains(*name));
            let addresses: BTreeMap<String, IpAddr> =
                new.filter_map(|(name, pod)| Some((name.clone(), address(pod)?))).collect();
            if addresses.len() >= wanted {
                return Seen::Met(addresses);
            }
            Seen::NotYet(format!("{} of {wanted} have one", addresses.len()))
        },
    )
    .await
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

pub(super) async fn until_rolled_out(client: &Client, deadline: Duration) -> Result<()> {
    wait::until(
        Api::<Deployment>::namespaced(client.clone(), NAMESPACE),
        DEPLOYMENT,
        "see CoreDNS restarted",
        deadline,
        conditions::deployment_rolled_out,
    )
    .await
}

/// Waits until no replica is ending any more. One that is, serves on for a while (`lameduck` of the `health` plugin), and
/// says what it said before.
///
/// # Errors
/// [`ErrorKind::Deadline`] with the replicas that are ending still.
pub async fn until_none_ends(client: &Client, deadline: Duration) -> Result<()> {
    wait::until_all(
        Api::<Pod>::namespaced(client.clone(), NAMESPACE),
        PODS,
        "see the earlier replicas of CoreDNS go",
        deadline,
        |pods| {
            let ending = pods.iter().filter(|(_, pod)| pod.metadata.deletion_timestamp.is_some());
            let ending: Vec<&str> = ending.map(|(name, _)| name.as_str()).collect();
            if ending.is_empty() {
                return Seen::Met(());
            }
            Seen::NotYet(format!("ending still: {}", ending.join(", ")))
        },
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

/// The pods, ready or not.
pub(super) async fn pods(client: &Client) -> Result<BTreeSet<String>> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
}
