//! MetalLB in layer 2 mode, and the tutorial's address pool.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::Namespace,
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::DynamicObject};
use tokio::time::Instant;

use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    environment::sha256,
    kubernetes::{apply, conditions, wait},
};

const POOL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/manifests/metallb-pool.yaml"));

/// The namespace of all of it.
pub const NAMESPACE: &str = "metallb-system";

/// The annotation on MetalLB's namespace that says which manifest was installed.
const INSTALLED: &str = "reachmap.dev/manifest";

/// Installs MetalLB from the text of its released manifest and waits until it runs; returns whether it was
/// not there already.
///
/// Of the manifest only labels are changed. An installation that says it came from the same text is left as
/// it is: MetalLB has written its webhooks' certificates into its own objects meanwhile.
///
/// # Errors
/// [`ErrorKind::Deadline`] with the last state of the controller or the speakers.
pub async fn install(client: &Client, manifest: &str, run: &str, deadline: Duration) -> Result<bool> {
    let hash = sha256(manifest);
    let installed = installed(client).await?.as_deref() == Some(hash.as_str());
    if !installed {
        self::manifest(manifest, run)?.apply(client).await?;
    }
    until_running(client, deadline).await?;
    if !installed {
        mark(client, &hash).await?;
    }
    Ok(!installed)
}

/// The objects of MetalLB's released manifest, as a run applies them.
///
/// # Errors
/// [`ErrorKind::Internal`] if it is no manifest.
pub fn manifest(text: &str, run: &str) -> Result<apply::Manifest> {
    Ok(apply::Manifest::parse("metallb-native.yaml", text)?.labelled(run))
}

async fn installed(client: &Client) -> Result<Option<String>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = api.get_opt(NAMESPACE).await.tried(ErrorKind::Environment, || "look for MetalLB")?;
    Ok(namespace.and_then(|namespace| namespace.metadata.annotations?.remove(INSTALLED)))
}

async fn mark(client: &Client, hash: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    let patch = serde_json::json!({"metadata": {"annotations": {INSTALLED: hash}}});
    api.patch(NAMESPACE, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch))
        .await
        .tried(ErrorKind::Environment, || "note which MetalLB is installed")?;
    Ok(())
}

async fn until_running(client: &Client, deadline: Duration) -> Result<()> {
    let controller = wait::until(
        Api::<Deployment>::namespaced(client.clone(), NAMESPACE),
        "controller",
        "see MetalLB's controller run",
        deadline,
        conditions::deployment_rolled_out,
    );
    let speakers = wait::until(
        Api::<DaemonSet>::namespaced(client.clone(), NAMESPACE),
        "speaker",
        "see MetalLB's speakers run on every node",
        deadline,
        conditions::daemon_set_rolled_out,
    );
    let webhook = wait::until_all(
        Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE),
        "kubernetes.io/service-name=metallb-webhook-service",
        "see MetalLB's webhook have an endpoint",
        deadline,
        conditions::has_ready_endpoints(1),
    );
    tokio::try_join!(controller, speakers, webhook)?;
    Ok(())
}

/// What it took to apply the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolApplied {
    /// How often it was applied: MetalLB's webhook refuses connections for a while after its pod is Ready.
    pub attempts: u32,
    /// How long it took from the first attempt to the last.
    pub elapsed: Duration,
}

/// Applies the tutorial's pool with the addresses `pool` (`first-last`) and its L2 advertisement,
/// again and again until MetalLB's webhook answers.
///
/// # Errors
/// [`ErrorKind::Deadline`] with the last refusal if the webhook does not answer in time;
/// [`ErrorKind::Environment`] at once if it answers and refuses the pool.
pub async fn apply_pool(client: &Client, pool: &str, run: &str, deadline: Duration) -> Result<PoolApplied> {
    let manifest = pool_manifest(pool)?.labelled(run);
    let started = Instant::now();
    let mut pauses = tokio::time::interval(Duration::from_millis(200));
    let mut attempts = 0;
    loop {
        pauses.tick().await;
        attempts += 1;
        let Err(error) = manifest.apply(client).await else {
            return Ok(PoolApplied { attempts, elapsed: started.elapsed() });
        };
        if !webhook_is_silent(&error) {
            return Err(error);
        }
        if started.elapsed() > deadline {
            let cause = format!("its webhook does not answer after {attempts} attempts; last: {error}");
            return Err(
                Error::new(ErrorKind::Deadline, "give MetalLB its address pool", cause).with_code(ErrorCode::Webhook)
            );
        }
    }
}

/// Takes the pool and its advertisement away again, which leaves LoadBalancer Services without an address.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn remove_pool(client: &Client) -> Result<()> {
    for object in pool_manifest("192.0.2.1-192.0.2.1")?.objects() {
        remove(client, object).await?;
    }
    Ok(())
}

async fn remove(client: &Client, object: &DynamicObject) -> Result<()> {
    match apply::delete(client, object).await {
        Ok(_) => Ok(()),
        // Without MetalLB there is no such resource, and so no such object.
        Err(error) if error.to_string().contains("404") => Ok(()),
        Err(error) => Err(error),
    }
}

fn pool_manifest(pool: &str) -> Result<apply::Manifest> {
    apply::Manifest::parse("metallb-pool.yaml", &apply::render("metallb-pool.yaml", POOL, &[("pool", pool)])?)
}

/// Whether the API server could not reach the webhook, as opposed to the webhook saying no.
/// The API server says `failed calling webhook` for the one and `denied the request` for the other.
fn webhook_is_silent(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("failed calling webhook") && !text.contains("denied the request")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::mock;

    const SILENT: &str = "Internal error occurred: failed calling webhook \"ipaddresspoolvalidationwebhook.metallb.io\": \
                          failed to call webhook: dial tcp 10.96.1.2:443: connect: connection refused";

    #[tokio::test(start_paused = true)]
    async fn the_pool_is_applied_until_the_webhook_answers_and_the_attempts_are_counted() {
        let mut refusals = 3;
        let (client, _served) = mock::server(move |asked| {
            if refusals > 0 {
                refusals -= 1;
                return mock::status(500, "InternalError", SILENT);
            }
            (200, asked.body.to_string())
        });
        let applied = apply_pool(&client, "172.18.255.200-172.18.255.210", "r", Duration::from_secs(60)).await.unwrap();
        // Both objects are sent at once, so that a silent webhook may refuse two in one attempt.
        assert!((3..=4).contains(&applied.attempts), "{applied:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_that_says_no_ends_it_at_once() {
        let no = "admission webhook \"ipaddresspoolvalidationwebhook.metallb.io\" denied the request: overlaps";
        let (client, _served) = mock::server(move |_| mock::status(403, "Forbidden", no));
        let error = apply_pool(&client, "10.0.0.1-10.0.0.2", "r", Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Environment);
        assert!(error.to_string().contains("denied the request: overlaps"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_that_never_answers_is_given_up() {
        let (client, _served) = mock::server(|_| mock::status(500, "InternalError", SILENT));
        let error = apply_pool(&client, "10.0.0.1-10.0.0.2", "r", Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
}
