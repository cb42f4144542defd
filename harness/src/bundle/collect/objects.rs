//! What the API server has: of each object only the fields that decide how a Service is reached.
//!
//! Secrets are never listed. Of what may hold a secret in passing (annotations, environment variables, arguments,
//! configuration) only named fields are taken: a Corefile, kube-proxy's own configuration, Flannel's.

use std::{collections::BTreeSet, fmt::Debug};

use futures::FutureExt as _;
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Event, Node, Pod, Service},
        discovery::v1::EndpointSlice,
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::Wanted;
use crate::{
    Context as _, Error, ErrorKind, Result,
    bundle::{FILE_LIMIT, contents::Side},
};

/// How many events of a namespace are kept: the last ones.
const EVENTS: usize = 200;

/// The entries of a `ConfigMap` that are taken: namespace, name, entry, and the file that it makes.
const CONFIGURATION: [(&str, &str, &str, &str); 4] = [
    ("kube-system", "coredns", "Corefile", "cluster/Corefile"),
    ("kube-system", "kube-proxy", "config.conf", "cluster/kube-proxy.yaml"),
    // As our clusters have it, and as its own manifest does.
    ("kube-flannel", "flannel", "net-conf.json", "cluster/flannel.txt"),
    ("kube-flannel", "kube-flannel-cfg", "net-conf.json", "cluster/kube-flannel-cfg.txt"),
];

pub(super) fn wanted<'a>(client: &'a Client, namespaces: &BTreeSet<&str>, pods: &[Pod]) -> Vec<Wanted<'a>> {
    let pods = Value::Array(pods.iter().map(pod).collect());
    let mut all = vec![
        file("cluster/version.json", "the API server's version", async move {
            let version = client.apiserver_version().await;
            pretty(&version.tried(ErrorKind::Environment, || "read the API server's version")?)
        }),
        file(
            "cluster/pods.json",
            "the pods, with their images, addresses and conditions",
            async move { pretty(&pods) },
        ),
        file("cluster/nodes.json", "the nodes, with their versions, addresses and conditions", async move {
            list(Api::<Node>::all(client.clone()), "nodes", node).await
        }),
        file("cluster/services.json", "every Service", async move {
            list(Api::<Service>::all(client.clone()), "Services", service).await
        }),
        file("cluster/endpointslices.json", "every EndpointSlice", async move {
            list(Api::<EndpointSlice>::all(client.clone()), "EndpointSlices", slice).await
        }),
        file("cluster/networkpolicies.json", "every NetworkPolicy", async move {
            list(
                Api::<NetworkPolicy>::all(client.clone()),
                "NetworkPolicies",
                |one: &NetworkPolicy| json!({ "metadata": meta(&one.metadata), "spec": one.spec }),
            )
            .await
        }),
    ];
    for kind in ["IPAddressPool", "L2Advertisement", "BGPAdvertisement"] {
        let path = format!("cluster/metallb-{}s.json", kind.to_lowercase());
        all.push(file(&path, "MetalLB's configuration", metallb(client, kind)));
    }
    for (namespace, name, entry, path) in CONFIGURATION {
        all.push(file(
            path,
            &format!("{entry} in the ConfigMap {namespace}/{name}"),
            configuration(client, namespace, name, entry),
        ));
    }
    for namespace in namespaces {
        let path = format!("cluster/events/{namespace}.json");
        all.push(file(&path, &format!("the last {EVENTS} events"), events(client, (*namespace).to_owned())));
    }
    all
}

fn file<'a>(path: &str, about: &str, take: impl Future<Output = Result<String>> + Send + 'a) -> Wanted<'a> {
    Wanted { path: path.to_owned(), about: about.to_owned(), side: Side::Head, limit: FILE_LIMIT, take: take.boxed() }
}

fn pretty(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).tried(ErrorKind::Internal, || "write down what was listed")
}

async fn list<K>(api: Api<K>, what: &str, reduce: impl Fn(&K) -> Value) -> Result<String>
where
    K: Clone + DeserializeOwned + Debug,
{
    let listed = api.list(&ListParams::default()).await.tried(ErrorKind::Environment, || format!("list the {what}"))?;
    pretty(&listed.items.iter().map(reduce).collect::<Vec<_>>())
}

/// The names and the labels: annotations may hold anything.
fn meta(meta: &ObjectMeta) -> Value {
    json!({
        "namespace": meta.namespace, "name": meta.name, "labels": meta.labels,
        "created": meta.creation_timestamp, "deleted": meta.deletion_timestamp,
    })
}

fn service(service: &Service) -> Value {
    json!({ "metadata": meta(&service.metadata), "spec": service.spec, "status": service.status })
}

fn slice(slice: &EndpointSlice) -> Value {
    json!({
        "metadata": meta(&slice.metadata), "addressType": slice.address_type,
        "endpoints": slice.endpoints, "ports": slice.ports,
    })
}

fn node(node: &Node) -> Value {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    json!({
        "metadata": meta(&node.metadata), "podCIDRs": spec.pod_cidrs,
        "taints": spec.taints, "unschedulable": spec.unschedulable,
        "addresses": status.addresses, "conditions": status.conditions, "nodeInfo": status.node_info,
    })
}

fn pod(pod: &Pod) -> Value {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    json!({
        "metadata": meta(&pod.metadata), "node": spec.node_name, "hostNetwork": spec.host_network,
        "phase": status.phase,
        "podIPs": status.pod_ips, "conditions": status.conditions, "containers": status.container_statuses,
        "initContainers": status.init_container_statuses, "reason": status.reason, "message": status.message,
    })
}

async fn events(client: &Client, namespace: String) -> Result<String> {
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let listed = api.list(&ListParams::default()).await;
    let mut events = listed.tried(ErrorKind::Environment, || format!("list the events in {namespace}"))?.items;
    events.sort_by_key(|event| {
        event.last_timestamp.as_ref().map(|time| time.0).or_else(|| event.event_time.as_ref().map(|time| time.0))
    });
    let last = &events[events.len().saturating_sub(EVENTS)..];
    let event = |event: &Event| {
        json!({
            "last": event.last_timestamp, "at": event.event_time, "type": event.type_, "reason": event.reason,
            "kind": event.involved_object.kind, "object": event.involved_object.name, "count": event.count,
            "message": event.message,
        })
    };
    pretty(&last.iter().map(event).collect::<Vec<_>>())
}

async fn configuration(client: &Client, namespace: &str, name: &str, entry: &str) -> Result<String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let tried = || format!("read {entry} in the ConfigMap {namespace}/{name}");
    let found = api.get_opt(name).await.tried(ErrorKind::Environment, tried)?;
    let text = found.and_then(|map| map.data?.remove(entry));
    text.ok_or_else(|| Error::new(ErrorKind::Missing, tried(), "there is none"))
}

async fn metallb(client: &Client, kind: &str) -> Result<String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1beta1", kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "metallb-system", &resource);
    list(
        api,
        &format!("{kind}s of MetalLB"),
        |one| json!({ "metadata": meta(&one.metadata), "spec": one.data["spec"] }),
    )
    .await
}
