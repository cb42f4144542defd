//! Workloads of the caller's own in the session's cluster: applied, waited for, and part of the state that expectations are
//! derived from.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::Session;
use crate::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    kubernetes::{
        apply::{Manifest, render},
        conditions, wait,
    },
    model::{ServiceRef, Way},
    state::{State, TrafficPolicy},
};

/// A Deployment of the run's own workloads, in their namespace.
const NGINX: &str = "nginx-multiple-nodes";

/// How long pods may take until they are ready, and a Service until it is answered everywhere.
const READY: Duration = Duration::from_secs(180);

impl Session {
    /// Applies the objects of `template`, YAML of one or more documents that each name their namespace, waits until they work,
    /// and returns the state of the cluster with them in it: what expectations about them are derived from. `name` is what
    /// errors call it.
    ///
    /// `{{ image }}` and `{{ pull_policy }}` stand for the nginx of the run's own workloads: a cluster without a registry has no
    /// other. Waited for are its Deployments, and its Services with pods of those: until all of their endpoints are ready, and
    /// one of them answers HTTP at the cluster IP from every vantage in the cluster. Who deploys the same again changes
    /// nothing, so that each of many test processes may.
    ///
    /// What is deployed stays as long as the cluster does: see [`Cluster::deploy`](crate::Cluster::deploy) for clusters that
    /// are not ours.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if it is no manifest, [`ErrorKind::Environment`] if the API server refuses it,
    /// [`ErrorKind::Deadline`] with what is not ready.
    ///
    /// ```no_run
    /// # async fn test(session: &reachmap::session::Session, shop: &str) -> reachmap::Result<()> {
    /// use reachmap::model::{Method, ServiceRef, Way};
    /// let state = session.deploy("shop.yaml", shop).await?;
    /// let method = Method::new("shop-cluster-ip", Way::ClusterIp { service: ServiceRef::new("shop", "storefront") });
    /// let verdict = session.judge(&state, "testpod", method).await?;
    /// session.record(&verdict)?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn deploy(&self, name: &str, template: &str) -> Result<State> {
        let manifest = self.manifest(name, template).await?;
        self.deploy_manifest(manifest, &[]).await
    }

    /// The manifest that `template` comes to here, with the run's labels.
    pub(super) async fn manifest(&self, name: &str, template: &str) -> Result<Manifest> {
        let client = self.client.clone();
        let (image, pull_policy) = self.on_runtime(async move { nginx(&client).await }).await?;
        let text = render(name, template, &[("image", &image), ("pull_policy", &pull_policy)])?;
        Ok(Manifest::parse(name, &text)?.labelled(&self.handover.run))
    }

    /// The same of a manifest; `namespaces` are others that are to be in the state, too.
    pub(super) async fn deploy_manifest(&self, manifest: Manifest, namespaces: &[String]) -> Result<State> {
        let mut all: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let client = self.client.clone();
        let applied = manifest.clone();
        let services = self
            .on_runtime(async move {
                applied.apply(&client).await?;
                until_ready(&client, &applied).await
            })
            .await?;
        all.extend(manifest.namespaces());
        let state = self.snapshot_with(&all).await?;
        for service in services {
            let known = state.service(&service.namespace, &service.name);
            // By this policy, a node without an endpoint of its own reaches none.
            let is_for_all = known.is_some_and(|known| known.internal_traffic_policy == TrafficPolicy::Cluster);
            // A headless one has no address to be asked at.
            if let (true, Ok(target)) = (is_for_all, Way::ClusterIp { service }.target(&state)) {
                self.until_reached(&target, READY).await?;
            }
        }
        Ok(state)
    }
}

/// Waits for the Deployments of `manifest` and the endpoints of its Services; returns those Services that have some.
async fn until_ready(client: &Client, manifest: &Manifest) -> Result<Vec<ServiceRef>> {
    let deployments = typed::<Deployment>(manifest, "Deployment")?;
    for (namespace, name, _) in &deployments {
        let api = Api::<Deployment>::namespaced(client.clone(), namespace);
        let tried = format!("see the Deployment {namespace}/{name} run");
        wait::until(api, name, &tried, READY, conditions::deployment_rolled_out).await?;
    }
    let mut with_endpoints = Vec::new();
    for (namespace, name, service) in typed::<Service>(manifest, "Service")? {
        let pods = pods_of(&service, &namespace, &deployments);
        if pods == 0 {
            continue;
        }
        let tried = || format!("read the Service {namespace}/{name}");
        let made = Api::<Service>::namespaced(client.clone(), &namespace).get(&name).await;
        let made = made.tried(ErrorKind::Environment, tried)?;
        let families = made.spec.and_then(|spec| spec.ip_families).map_or(1, |families| families.len().max(1));
        wait::until_all(
            Api::<EndpointSlice>::namespaced(client.clone(), &namespace),
            &format!("kubernetes.io/service-name={name}"),
            &format!("see the endpoints of the Service {namespace}/{name} ready"),
            READY,
            conditions::has_ready_endpoints(pods * families),
        )
        .await?;
        with_endpoints.push(ServiceRef::new(namespace, name));
    }
    Ok(with_endpoints)
}

/// How many pods the Deployments of a manifest have for a Service beside them.
fn pods_of(service: &Service, namespace: &str, deployments: &[(String, String, Deployment)]) -> usize {
    let selector =
        service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
    let Some(selector) = selector else { return 0 };
    let is_selected =
        |labels: &BTreeMap<String, String>| selector.iter().all(|(name, value)| labels.get(name) == Some(value));
    deployments
        .iter()
        .filter(|(its_namespace, _, _)| its_namespace == namespace)
        .filter_map(|(_, _, deployment)| deployment.spec.as_ref())
        .filter(|spec| spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref()).is_some_and(is_selected))
        .map(|spec| usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default())
        .sum()
}

/// The objects of one kind in a manifest, each with its namespace and its name.
fn typed<K: DeserializeOwned>(manifest: &Manifest, kind: &str) -> Result<Vec<(String, String, K)>> {
    let of_kind = |types: &kube::core::TypeMeta| types.kind == kind;
    let objects = manifest.objects().iter().filter(|object| object.types.as_ref().is_some_and(of_kind));
    objects
        .map(|object| {
            let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone());
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            let text = serde_json::to_value(object).and_then(serde_json::from_value);
            let object = text.tried(ErrorKind::Internal, || format!("read the {kind} {namespace}/{name}"))?;
            Ok((namespace, name, object))
        })
        .collect()
}

/// The nginx that this cluster can run, with its pull policy.
async fn nginx(client: &Client) -> Result<(String, String)> {
    let tried = || "find out which nginx this cluster has";
    let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    let deployment = deployments.get(NGINX).await.tried(ErrorKind::Environment, tried)?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    let container = pod.and_then(|pod| pod.containers.into_iter().next());
    let found = container.and_then(|container| Some((container.image?, container.image_pull_policy?)));
    found.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "its Deployment names no image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: storefront, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: storefront}}
  template:
    metadata: {labels: {app: storefront, tier: front}}
    spec: {containers: [{name: nginx, image: '{{ image }}'}]}
---
apiVersion: v1
kind: Service
metadata: {name: storefront, namespace: shop}
spec: {selector: {app: storefront}, ports: [{port: 80}]}
";

    #[test]
    fn a_service_has_the_pods_that_its_selector_finds_beside_it() {
        let manifest = Manifest::parse("shop", SHOP).unwrap();
        let deployments = typed::<Deployment>(&manifest, "Deployment").unwrap();
        let (namespace, name, mut service) = typed::<Service>(&manifest, "Service").unwrap().remove(0);
        assert_eq!((namespace.as_str(), name.as_str()), ("shop", "storefront"));
        assert_eq!(pods_of(&service, "shop", &deployments), 2);
        assert_eq!(pods_of(&service, "other", &deployments), 0);
        let selects = |service: &mut Service, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            service.spec.as_mut().unwrap().selector = Some(labels.collect());
        };
        selects(&mut service, &[("app", "storefront"), ("tier", "back")]);
        assert_eq!(pods_of(&service, "shop", &deployments), 0);
        selects(&mut service, &[]);
        assert_eq!(pods_of(&service, "shop", &deployments), 0, "a Service without a selector has no pods of its own");
    }
}
