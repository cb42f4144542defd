//! From the API server to a [`State`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use futures::future::try_join_all;
use ipnet::IpNet;
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Node as ApiNode, Pod as ApiPod, Service as ApiService},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use reachmap_wire::Hello;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Cni, Endpoint, LoadBalancer, LocalDetection, ProxyMode, ProxySettings, State, convert, lookup::natural};
use crate::{
    Context as _, ErrorKind, Result,
    model::dns::{Corefile, absolute, is_in_zone},
    state::NodeRole,
};

/// Takes a snapshot: what the API server knows, and the `places` where agents stand.
///
/// Pods are collected from `namespaces` and `kube-system`; everything else from the whole cluster. `planned_pool` is
/// the address range that the run gives MetalLB. Nothing is changed.
///
/// # Errors
/// [`ErrorKind::Environment`] if the API server does not answer, or does not let us read something.
pub async fn collect(
    client: &Client,
    namespaces: &[&str],
    places: BTreeMap<String, Hello>,
    planned_pool: Option<String>,
) -> Result<State> {
    let mut pod_namespaces = vec!["kube-system"];
    pod_namespaces.extend(namespaces.iter().filter(|namespace| **namespace != "kube-system"));
    let read = async {
        tokio::try_join!(
            version(client),
            list::<Namespace>(Api::all(client.clone()), "namespaces"),
            list::<ApiNode>(Api::all(client.clone()), "nodes"),
            list::<ApiService>(Api::all(client.clone()), "Services"),
            list::<EndpointSlice>(Api::all(client.clone()), "EndpointSlices"),
            try_join_all(
                pod_namespaces
                    .iter()
                    .map(|namespace| list::<ApiPod>(Api::namespaced(client.clone(), namespace), "pods")),
            ),
            config(client, "kube-system", "coredns", "Corefile"),
            config(client, "kube-system", "kube-proxy", "config.conf"),
            config(client, "kube-system", "kubeadm-config", "ClusterConfiguration"),
            flannel(client),
            load_balancer(client),
            service_networks(client),
        )
    };
    // Twelve requests at once are a large future: it is kept off the caller's stack.
    let (
        kubernetes,
        all_namespaces,
        nodes,
        services,
        slices,
        pods,
        corefile,
        proxy,
        kubeadm,
        flannel,
        balancer,
        networks,
    ) = Box::pin(read).await?;
    let mut nodes: Vec<_> = nodes.iter().map(convert::node).collect();
    nodes.sort_by_key(|node| (node.role != NodeRole::ControlPlane, natural(&node.name)));
    let mut pods: Vec<_> = pods.iter().flatten().map(convert::pod).collect();
    pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    let mut services: Vec<_> = services.iter().map(convert::service).collect();
    services.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    announce(client, &mut services, balancer.as_ref()).await?;
    let mut endpoints: Vec<Endpoint> = slices.iter().flat_map(convert::endpoints).collect();
    endpoints.sort_by(|one, other| {
        (&one.namespace, &one.service, one.address).cmp(&(&other.namespace, &other.service, other.address))
    });
    let mut known: Vec<String> = all_namespaces.into_iter().filter_map(|namespace| namespace.metadata.name).collect();
    known.sort();
    let proxy = proxy.as_deref().and_then(yaml);
    let corefile = corefile.unwrap_or_default();
    Ok(State {
        kubernetes,
        cluster_domain: cluster_domain(&corefile),
        proxy_mode: proxy_mode(proxy.as_ref()),
        proxy: proxy_settings(proxy.as_ref()),
        cni: flannel.unwrap_or_else(|| convert::cni(&pods)),
        service_networks: if networks.is_empty() { kubeadm_networks(kubeadm.as_deref()) } else { networks },
        pod_networks: pod_networks(proxy.as_ref(), &nodes),
        namespaces: known,
        nodes,
        services,
        endpoints,
        pods,
        corefile,
        load_balancer: balancer,
        planned_pool,
        places,
    })
}

async fn version(client: &Client) -> Result<String> {
    let version = client.apiserver_version().await;
    Ok(version.tried(ErrorKind::Environment, || "read the API server's version")?.git_version)
}

async fn list<K>(api: Api<K>, what: &str) -> Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.tried(ErrorKind::Environment, || format!("list the cluster's {what}"))?.items)
}

/// One entry of a `ConfigMap`; none if there is no such `ConfigMap` or entry.
async fn config(client: &Client, namespace: &str, name: &str, key: &str) -> Result<Option<String>> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found =
        api.get_opt(name).await.tried(ErrorKind::Environment, || format!("read ConfigMap {namespace}/{name}"))?;
    Ok(found.and_then(|map| map.data).and_then(|mut data| data.remove(key)))
}

/// Flannel, if it is the network plugin: its `ConfigMap` has one name in its own manifest and may have another elsewhere.
async fn flannel(client: &Client) -> Result<Option<Cni>> {
    for name in ["kube-flannel-cfg", "flannel"] {
        if let Some(text) = config(client, "kube-flannel", name, "net-conf.json").await? {
            let backend = serde_json::from_str::<Value>(&text)
                .ok()
                .and_then(|conf| conf.pointer("/Backend/Type").and_then(Value::as_str).map(ToOwned::to_owned));
            return Ok(Some(Cni::Flannel { backend: backend.unwrap_or_else(|| "udp".to_owned()) }));
        }
    }
    Ok(None)
}

/// The objects of a custom resource; none if the cluster does not know the kind.
async fn custom(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
) -> Result<Option<Vec<DynamicObject>>> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    match api.list(&ListParams::default()).await {
        Ok(listed) => Ok(Some(listed.items)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error).tried(ErrorKind::Environment, || format!("list the cluster's {plural}.{group}")),
    }
}

async fn load_balancer(client: &Client) -> Result<Option<LoadBalancer>> {
    let (pools, advertisements) = tokio::try_join!(
        custom(client, "metallb.io", "v1beta1", "IPAddressPool", "ipaddresspools"),
        custom(client, "metallb.io", "v1beta1", "L2Advertisement", "l2advertisements"),
    )?;
    Ok(pools.map(|pools| LoadBalancer {
        pools: pools.iter().flat_map(|pool| strings(pool.data.pointer("/spec/addresses"))).collect(),
        advertised: advertisements.is_some_and(|advertisements| !advertisements.is_empty()),
    }))
}

/// Who announces each load-balancer address: MetalLB says so in `ServiceL2Status`, if it is new enough to have it.
async fn announce(client: &Client, services: &mut [super::Service], balancer: Option<&LoadBalancer>) -> Result<()> {
    if balancer.is_none() || services.iter().all(|service| service.load_balancer_addresses.is_empty()) {
        return Ok(());
    }
    let statuses = custom(client, "metallb.io", "v1beta1", "ServiceL2Status", "servicel2statuses").await?;
    let statuses = statuses.unwrap_or_default();
    let field = |status: &'_ DynamicObject, name: &str| {
        status.data.pointer(&format!("/status/{name}")).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    for service in services.iter_mut().filter(|service| !service.load_balancer_addresses.is_empty()) {
        let of_service = statuses.iter().filter(|status| {
            field(status, "serviceName").as_ref() == Some(&service.name)
                && field(status, "serviceNamespace").as_ref() == Some(&service.namespace)
        });
        let nodes: BTreeSet<String> = of_service.filter_map(|status| field(status, "node")).collect();
        // While one node takes over from another, both say so: then it is not known.
        service.announced_by = if nodes.len() == 1 { nodes.into_iter().next() } else { None };
    }
    Ok(())
}

/// The `ServiceCIDR` objects' networks; none before Kubernetes 1.33, which has no such kind.
async fn service_networks(client: &Client) -> Result<Vec<IpNet>> {
    let found = custom(client, "networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs").await?;
    let cidrs = found.into_iter().flatten().flat_map(|object| strings(object.data.pointer("/spec/cidrs")));
    Ok(cidrs.filter_map(|cidr| cidr.parse().ok()).collect())
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn yaml(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok()
}

fn networks(value: Option<&Value>) -> Vec<IpNet> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    text.split(',').filter_map(|cidr| cidr.trim().parse().ok()).collect()
}

fn kubeadm_networks(kubeadm: Option<&str>) -> Vec<IpNet> {
    networks(kubeadm.and_then(yaml).as_ref().and_then(|conf| conf.pointer("/networking/serviceSubnet")))
}

/// Where pod addresses come from: kube-proxy's `clusterCIDR`, else what the nodes own.
fn pod_networks(proxy: Option<&Value>, nodes: &[super::Node]) -> Vec<IpNet> {
    let cluster = networks(proxy.and_then(|conf| conf.get("clusterCIDR")));
    if cluster.is_empty() { nodes.iter().flat_map(|node| node.pod_networks.iter().copied()).collect() } else { cluster }
}

fn proxy_mode(proxy: Option<&Value>) -> ProxyMode {
    match proxy.map(|conf| conf.get("mode").and_then(Value::as_str).unwrap_or_default()) {
        // Empty means the platform's default, which is iptables on Linux.
        Some("" | "iptables") => ProxyMode::Iptables,
        Some("nftables") => ProxyMode::Nftables,
        Some("ipvs") => ProxyMode::Ipvs,
        _ => ProxyMode::Unknown,
    }
}

/// The rest of kube-proxy's configuration that counts; kubeadm's where there is none to read.
fn proxy_settings(proxy: Option<&Value>) -> ProxySettings {
    let Some(conf) = proxy else { return ProxySettings::default() };
    let at = |pointer: &str| conf.pointer(pointer);
    let mode = at("/detectLocalMode").and_then(Value::as_str).unwrap_or_default();
    ProxySettings {
        // IPVS takes the section of iptables (kube-proxy's `v1alpha1/conversion.go`).
        masquerade_all: at(if proxy_mode(proxy) == ProxyMode::Nftables {
            "/nftables/masqueradeAll"
        } else {
            "/iptables/masqueradeAll"
        })
        .and_then(Value::as_bool)
        .unwrap_or_default(),
        local_detection: match mode {
            "NodeCIDR" => LocalDetection::NodeCidr,
            "BridgeInterface" => LocalDetection::BridgeInterface,
            "InterfaceNamePrefix" => LocalDetection::InterfacePrefix,
            // Without a network to compare with, nothing is detected: kube-proxy's `getLocalDetectors`.
            _ if networks(at("/clusterCIDR")).is_empty() => LocalDetection::None,
            _ => LocalDetection::ClusterCidr,
        },
    }
}

/// The domain that CoreDNS serves: the first zone of its `kubernetes` plugin that is no reverse zone.
fn cluster_domain(corefile: &str) -> String {
    corefile
        .parse::<Corefile>()
        .ok()
        .and_then(|corefile| {
            let zones =
                corefile.blocks().filter_map(|block| block.plugin("kubernetes")).flat_map(|plugin| &plugin.arguments);
            zones.map(|zone| zone.trim_end_matches('.').to_owned()).find(|zone| !is_in_zone(&absolute(zone), "arpa."))
        })
        .unwrap_or_else(|| "cluster.local".to_owned())
}

/// An object's name and namespace, empty where it has none.
pub(super) fn identity(metadata: &ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// The addresses among these texts.
pub(super) fn addresses<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
