//! The workloads of the tutorial, as in `fixtures/manifests`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use crate::{
    Context as _, Error, ErrorKind, Result,
    kubernetes::{
        apply::{Manifest, render},
        conditions,
        wait::{self, Seen},
    },
    model::{Vantage, VantageKind},
    state::{self, NodeRole},
};

/// The namespace of the tutorial's Services.
pub const NAMESPACE: &str = "service-type-test";
/// The tutorial's "different namespace".
pub const OTHER_NAMESPACE: &str = "service-type-test-other";
/// The namespace of the agents that stand on nodes.
pub const NODES_NAMESPACE: &str = "reachmap-nodes";
/// The DaemonSet of the agents that stand on nodes.
pub const NODES_DAEMON_SET: &str = "reachmap-node";
/// The LoadBalancer Service, which has an address only while MetalLB has a pool.
pub const LOAD_BALANCER: &str = "nginx-loadbalancer";
/// The NodePort Service.
pub const NODE_PORT: &str = "nginx-nodeport-service";
/// The ClusterIP Service, which CoreDNS's hosts block points to.
pub const CLUSTER_IP: &str = "nginx-clusterip-service";
/// How many pods the Services select.
pub const REPLICAS: usize = 3;

macro_rules! manifest {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/manifests/", $name)))
    };
}

/// The tutorial's workloads in one cluster.
#[derive(Clone)]
pub struct Workloads {
    pub(super) client: Client,
    images: WorkloadImages,
    run: String,
}

/// The images that the workloads use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadImages {
    /// A web server with nginx's usual layout.
    pub nginx: String,
    /// Anything with `sh`, `cat` and `sleep`.
    pub testpod: String,
    /// `IfNotPresent`, or `Never` if no registry can be reached.
    pub pull_policy: String,
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workloads").field("images", &self.images).field("run", &self.run).finish_non_exhaustive()
    }
}

impl Workloads {
    /// The workloads as the run with the id `run` wants them; nothing is sent yet.
    pub fn new(client: Client, images: WorkloadImages, run: impl Into<String>) -> Self {
        Self { client, images, run: run.into() }
    }

    /// Applies all of them. What is there already and the same is not restarted.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with the object that was refused, and why.
    pub async fn deploy(&self) -> Result<()> {
        let single_node = self.first_worker().await?;
        let namespaces = self.manifests(&[manifest!("namespaces.yaml")], &[])?;
        for manifest in namespaces {
            manifest.apply(&self.client).await?;
        }
        let templates = [
            manifest!("nginx-config.yaml"),
            manifest!("services.yaml"),
            manifest!("node-agents.yaml"),
            manifest!("nginx-single.yaml"),
            manifest!("nginx-multiple-nodes.yaml"),
        ];
        let manifests = self.manifests(&templates, &[("single_node", &single_node)])?;
        let mut testpods = Vec::new();
        for namespace in [NAMESPACE, OTHER_NAMESPACE] {
            testpods.extend(self.manifests(&[manifest!("testpod.yaml")], &[("namespace", namespace)])?);
        }
        // One after the other would be as right; the API server is simply not the bottleneck.
        futures::future::try_join_all(manifests.iter().chain(&testpods).map(|manifest| manifest.apply(&self.client)))
            .await?;
        Ok(())
    }

    /// The manifests of everything that lives outside the run's namespaces: those namespaces themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if a manifest is none.
    pub fn outside(&self) -> Result<Vec<Manifest>> {
        self.manifests(&[manifest!("namespaces.yaml"), manifest!("node-agents.yaml")], &[])
    }

    /// The Job of `count` load workers.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the manifest is none.
    pub(super) fn load_workers(&self, count: u32) -> Result<Manifest> {
        let manifests = self.manifests(&[manifest!("load-workers.yaml")], &[("count", &count.to_string())])?;
        let missing = || Error::new(ErrorKind::Internal, "read the manifest of the load workers", "it is empty");
        manifests.into_iter().next().ok_or_else(missing)
    }

    /// Waits until everything runs and the Services have their endpoints.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with the last state of what is not ready, and why its pods are not.
    pub async fn wait_ready(&self, deadline: Duration) -> Result<()> {
        match self.all_ready(deadline).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let pods = unready_pods(&self.client, &[NAMESPACE, OTHER_NAMESPACE, NODES_NAMESPACE]).await;
                Err(error.hint(format!("Pods that are not ready: {}.", or_none(&pods))))
            }
        }
    }

    async fn all_ready(&self, deadline: Duration) -> Result<()> {
        let client = &self.client;
        let deployment = |name: &'static str, tried: &'static str| {
            let api = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
            wait::until(api, name, tried, deadline, conditions::deployment_rolled_out)
        };
        let testpod = |namespace: &'static str, tried: &'static str| {
            let api = Api::<Pod>::namespaced(client.clone(), namespace);
            wait::until(api, "testpod", tried, deadline, conditions::pod_ready)
        };
        let nodes = wait::until(
            Api::<DaemonSet>::namespaced(client.clone(), NODES_NAMESPACE),
            NODES_DAEMON_SET,
            "see a place to ask from on every node",
            deadline,
            conditions::daemon_set_rolled_out,
        );
        let endpoints = wait::until_all(
            Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE),
            "kubernetes.io/service-name=nginx-clusterip-service",
            "see the Services' endpoints ready",
            deadline,
            conditions::has_ready_endpoints(REPLICAS),
        );
        tokio::try_join!(
            deployment("nginx-single", "see nginx-single run"),
            deployment("nginx-multiple-nodes", "see nginx-multiple-nodes run"),
            testpod(NAMESPACE, "see the test pod run"),
            testpod(OTHER_NAMESPACE, "see the other namespace's test pod run"),
            nodes,
            endpoints,
        )?;
        Ok(())
    }

    /// The cluster IP of the ClusterIP Service, which the tutorial writes into CoreDNS's hosts block.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the Service is not there.
    pub async fn cluster_ip(&self) -> Result<IpAddr> {
        service_address(&self.services(), CLUSTER_IP).await
    }

    /// Where the cluster's DNS answers: the cluster IP of `kube-dns`, which every pod has in its `resolv.conf`.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if there is no such Service.
    pub async fn dns_server(&self) -> Result<SocketAddr> {
        let services = Api::namespaced(self.client.clone(), "kube-system");
        Ok(SocketAddr::new(service_address(&services, "kube-dns").await?, 53))
    }

    /// Waits until the LoadBalancer Service has an address, and returns it.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with the Service's last status.
    pub async fn until_load_balancer_address(&self, deadline: Duration) -> Result<IpAddr> {
        let tried = "see the LoadBalancer Service get an address";
        wait::until(self.services(), LOAD_BALANCER, tried, deadline, conditions::has_load_balancer_address).await
    }

    /// Waits until the LoadBalancer Service has no address.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with the Service's last status.
    pub async fn until_no_load_balancer_address(&self, deadline: Duration) -> Result<()> {
        let tried = "see the LoadBalancer Service lose its address";
        wait::until(self.services(), LOAD_BALANCER, tried, deadline, conditions::has_no_load_balancer_address).await
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// The worker that `nginx-single` is pinned to: the first by name, or the only node.
    /// The address of the node that `nginx-single` is pinned to, in the nodes' network.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the node has none.
    pub async fn first_worker_address(&self) -> Result<IpAddr> {
        let node = self.first_worker_node().await?;
        let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref()).into_iter().flatten();
        let mut internal = addresses.filter(|address| address.type_ == "InternalIP");
        internal.find_map(|address| address.address.parse().ok()).ok_or_else(|| {
            let tried = format!("find the address of the node {}", node.name_any());
            Error::new(ErrorKind::Environment, tried, "it has no InternalIP")
        })
    }

    async fn first_worker(&self) -> Result<String> {
        let node = self.first_worker_node().await?;
        Ok(host_name(&node))
    }

    async fn first_worker_node(&self) -> Result<Node> {
        let tried = || "choose the worker for nginx-single";
        let api: Api<Node> = Api::all(self.client.clone());
        let nodes = api.list(&ListParams::default()).await.tried(ErrorKind::Environment, tried)?;
        let known: Vec<_> = nodes.iter().map(state::convert::node).collect();
        let named = state::lookup::named(&known);
        let first = named.iter().find(|(_, node)| node.role == NodeRole::Worker).or_else(|| named.first());
        let first = first.map(|(_, node)| node.name.clone());
        let node = nodes.into_iter().find(|node| Some(node.name_any()) == first);
        node.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "the cluster has no nodes"))
    }

    fn manifests(&self, templates: &[(&str, &str)], more: &[(&str, &str)]) -> Result<Vec<Manifest>> {
        let mut values = vec![
            ("nginx_image", self.images.nginx.as_str()),
            ("testpod_image", self.images.testpod.as_str()),
            ("pull_policy", self.images.pull_policy.as_str()),
        ];
        values.extend(more);
        templates
            .iter()
            .map(|(name, template)| Ok(Manifest::parse(name, &render(name, template, &values)?)?.labelled(&self.run)))
            .collect()
    }
}

/// The cluster IP of a Service.
pub(super) async fn service_address(services: &Api<Service>, name: &str) -> Result<IpAddr> {
    let tried = || format!("read the cluster IP of {name}");
    let service = services.get(name).await.tried(ErrorKind::Environment, tried)?;
    let address = service.spec.and_then(|spec| spec.cluster_ip?.parse().ok());
    address.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "it has none"))
}

/// Pods of the namespaces that are not ready, each with the reason; best effort, for error messages.
pub async fn unready_pods(client: &Client, namespaces: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for namespace in namespaces {
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        match api.list(&ListParams::default()).await {
            Ok(pods) => found.extend(
                pods.iter()
                    .filter(|pod| !conditions::is_ready(pod))
                    .map(|pod| format!("{namespace}/{}: {}", pod.name_any(), conditions::why_not_ready(pod))),
            ),
            Err(error) => found.push(format!("{namespace}: {error}")),
        }
    }
    found
}

/// Waits until `wanted` pods of the workloads' namespace that match `selector` are ready, and returns them.
///
/// # Errors
/// [`ErrorKind::Deadline`] with why each pod that is not ready is not.
pub(super) async fn until_ready(
    client: &Client,
    selector: &str,
    wanted: usize,
    tried: &str,
    deadline: Duration,
) -> Result<Vec<Pod>> {
    let all_ready = |pods: &BTreeMap<String, Pod>| {
        let ready: Vec<Pod> = pods.values().filter(|pod| conditions::is_ready(pod)).cloned().collect();
        match ready.len() {
            count if count == wanted => Seen::Met(ready),
            count => Seen::NotYet(format!("{count} of {wanted} pods ready")),
        }
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    match wait::until_all(pods, selector, tried, deadline, all_ready).await {
        Ok(ready) => Ok(ready),
        Err(error) => {
            let pods = unready_pods(client, &[NAMESPACE]).await;
            Err(error.hint(format!("Pods that are not ready: {}.", or_none(&pods))))
        }
    }
}

/// Waits until no pod of the workloads' namespace matches `selector`.
///
/// # Errors
/// [`ErrorKind::Deadline`] if one is still there in the end.
pub(super) async fn until_gone(client: &Client, selector: &str, tried: &str, deadline: Duration) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    wait::until_all(pods, selector, tried, deadline, |pods| {
        if pods.is_empty() { Seen::Met(()) } else { Seen::NotYet(format!("{} pods left", pods.len())) }
    })
    .await
}

pub(super) fn or_none(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join("; ") }
}

/// The nodes as vantages, control plane first, each with the pod of ours that stands there.
///
/// # Errors
/// [`ErrorKind::Environment`] if the API server does not answer.
pub async fn node_places(client: &Client) -> Result<Vec<(Vantage, String)>> {
    let list = ListParams::default();
    let nodes = Api::<Node>::all(client.clone());
    let pods = Api::<Pod>::namespaced(client.clone(), NODES_NAMESPACE);
    let (nodes, pods) = tokio::try_join!(nodes.list(&list), pods.list(&list))
        .tried(ErrorKind::Environment, || "find a place to ask from on every node")?;
    let nodes: Vec<_> = nodes.iter().map(state::convert::node).collect();
    let mut places = Vec::new();
    for (id, node) in state::lookup::named(&nodes) {
        let stands_here = |pod: &&Pod| {
            let spec = pod.spec.as_ref();
            pod.metadata.deletion_timestamp.is_none()
                && spec.and_then(|spec| spec.node_name.as_ref()) == Some(&node.name)
        };
        if let Some(pod) = pods.iter().find(stands_here) {
            let kind = VantageKind::Node { node: node.name.clone(), role: node.role };
            places.push((Vantage { id, kind }, pod.name_any()));
        }
    }
    Ok(places)
}

/// What a node calls itself in the label that nodeSelectors name.
fn host_name(node: &Node) -> String {
    node.labels().get("kubernetes.io/hostname").cloned().unwrap_or_else(|| node.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kubernetes::mock;

    fn workloads(client: Client) -> Workloads {
        let images = WorkloadImages {
            nginx: "nginx:1".to_owned(),
            testpod: "testpod:1".to_owned(),
            pull_policy: "Never".to_owned(),
        };
        Workloads::new(client, images, "r1")
    }

    fn nodes(names: &[&str]) -> String {
        let items: Vec<Value> = names
            .iter()
            .map(|name| {
                let mut labels = serde_json::json!({"kubernetes.io/hostname": name});
                if name.contains("control") {
                    labels["node-role.kubernetes.io/control-plane"] = "".into();
                }
                serde_json::json!({"metadata": {"name": name, "labels": labels}})
            })
            .collect();
        serde_json::json!({"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": items}).to_string()
    }

    async fn deployed() -> Vec<mock::Asked> {
        let (client, served) = mock::server(|asked| {
            if asked.method == "GET" {
                return (200, nodes(&["c-control-plane", "c-worker10", "c-worker2", "c-worker"]));
            }
            (200, asked.body.to_string())
        });
        workloads(client).deploy().await.unwrap();
        served.await.unwrap()
    }

    #[tokio::test]
    async fn everything_is_applied_namespaces_first_and_labelled() {
        let asked = deployed().await;
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(paths[0], "/api/v1/nodes");
        let first_inside = paths.iter().position(|path| path.contains("service-type-test/")).unwrap();
        let last_namespace = paths.iter().rposition(|path| path.ends_with("/service-type-test-other")).unwrap();
        assert!(last_namespace < first_inside, "{paths:#?}");
        for asked in &asked[1..] {
            assert_eq!(asked.body["metadata"]["labels"]["reachmap.dev/run"], "r1", "{}", asked.path);
        }
        let single = asked.iter().find(|asked| asked.path.ends_with("/nginx-single")).unwrap();
        let pinned = &single.body["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/hostname"];
        assert_eq!(pinned, "c-worker");
    }

    /// The restricted level's controls that a manifest can break
    /// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
    #[tokio::test]
    async fn every_pod_keeps_to_the_restricted_level() {
        for asked in deployed().await {
            let spec = match asked.body["kind"].as_str() {
                Some("Pod") => &asked.body["spec"],
                Some("Deployment" | "DaemonSet") => &asked.body["spec"]["template"]["spec"],
                _ => continue,
            };
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{}", asked.path);
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{}", asked.path);
            for container in spec["containers"].as_array().unwrap() {
                assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{}", asked.path);
                assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL", "{}", asked.path);
            }
            for volume in spec["volumes"].as_array().unwrap() {
                assert!(volume.get("emptyDir").is_some() || volume.get("configMap").is_some(), "{}", asked.path);
            }
            let on_the_node = asked.path.contains("reachmap-node");
            assert_eq!(spec["hostNetwork"] == true, on_the_node, "{}", asked.path);
        }
    }
}
