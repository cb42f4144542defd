//! API objects as the state keeps them.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Node as ApiNode, Pod as ApiPod, Service as ApiService, ServiceSpec},
    discovery::v1::EndpointSlice,
};

use super::{
    Cni, Endpoint, Node, NodeRole, Pod, Service, ServicePort, ServiceType, SessionAffinity, TrafficPolicy,
    collect::{addresses, identity},
};

/// The label that every control-plane node has.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The label that says which zone a node is in.
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// How long `ClientIP` affinity lasts where the Service does not say: the API server's default, three hours.
const AFFINITY_SECONDS: i32 = 10_800;

pub(crate) fn node(node: &ApiNode) -> Node {
    let (_, name) = identity(&node.metadata);
    let spec = node.spec.as_ref();
    let status = node.status.as_ref();
    let is_control_plane = node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(CONTROL_PLANE));
    let all_addresses = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    let pod_networks = spec.and_then(|spec| spec.pod_cidrs.as_ref()).into_iter().flatten();
    let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    Node {
        name,
        role: if is_control_plane { NodeRole::ControlPlane } else { NodeRole::Worker },
        addresses: addresses(
            all_addresses.filter(|address| address.type_ == "InternalIP").map(|address| &address.address),
        ),
        pod_networks: pod_networks.filter_map(|cidr| cidr.parse().ok()).collect(),
        ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        zone: node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned()),
    }
}

pub(super) fn service(service: &ApiService) -> Service {
    let (namespace, name) = identity(&service.metadata);
    let spec = service.spec.clone().unwrap_or_default();
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let policy = |value: Option<&String>| match value.map(String::as_str) {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    };
    let cluster_ips = spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|address| vec![address]));
    let ports = spec.ports.iter().flatten().map(|port| ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        port: number(port.port),
        node_port: port.node_port.map(number).filter(|port| *port != 0),
    });
    Service {
        namespace,
        name,
        kind: match spec.type_.as_deref() {
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            _ => ServiceType::ClusterIp,
        },
        headless: spec.cluster_ip.as_deref() == Some("None"),
        // "None" is no address, and so drops out.
        cluster_ips: addresses(cluster_ips.iter().flatten()),
        external_name: spec.external_name.clone().filter(|name| !name.is_empty()),
        ports: ports.collect(),
        load_balancer_addresses: addresses(ingress.filter_map(|ingress| ingress.ip.as_ref())),
        announced_by: None,
        external_traffic_policy: policy(spec.external_traffic_policy.as_ref()),
        internal_traffic_policy: policy(spec.internal_traffic_policy.as_ref()),
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or_default(),
        session_affinity: affinity(&spec),
        traffic_distribution: spec.traffic_distribution,
    }
}

fn affinity(spec: &ServiceSpec) -> SessionAffinity {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return SessionAffinity::None;
    }
    let client = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = client.and_then(|client| client.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
    SessionAffinity::ClientIp { timeout_seconds: u32::try_from(seconds).unwrap_or_default() }
}

/// Every address of a slice; none if it belongs to no Service, or does not hold addresses but names.
pub(super) fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    let (namespace, _) = identity(&slice.metadata);
    let labels = slice.metadata.labels.as_ref();
    let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) else {
        return Vec::new();
    };
    let ports: BTreeMap<String, u16> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| Some((port.name.clone().unwrap_or_default(), number(port.port?))))
        .collect();
    let mut endpoints = Vec::new();
    for endpoint in &slice.endpoints {
        // Not said means ready, and serving means the same where it is not said
        // (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/).
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let hints = endpoint.hints.as_ref();
        let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        for address in addresses(&endpoint.addresses) {
            endpoints.push(Endpoint {
                namespace: namespace.clone(),
                service: service.clone(),
                address,
                ports: ports.clone(),
                ready,
                serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
                terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or_default(),
                for_zones: hints
                    .map(|hints| hints.for_zones.iter().flatten().map(|zone| zone.name.clone()).collect())
                    .unwrap_or_default(),
                for_nodes: hints
                    .map(|hints| hints.for_nodes.iter().flatten().map(|node| node.name.clone()).collect())
                    .unwrap_or_default(),
                pod: pod.and_then(|pod| pod.name.clone()),
                node: endpoint.node_name.clone(),
                hostname: endpoint.hostname.clone(),
            });
        }
    }
    endpoints
}

pub(super) fn pod(pod: &ApiPod) -> Pod {
    let (namespace, name) = identity(&pod.metadata);
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ips = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    Pod {
        workload: workload(pod),
        addresses: addresses(ips.map(|ip| &ip.ip)),
        node: spec.and_then(|spec| spec.node_name.clone()),
        // A pod that is being deleted can still be Ready; nothing should be expected of it.
        ready: pod.metadata.deletion_timestamp.is_none()
            && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
        app: pod.metadata.labels.as_ref().and_then(|labels| labels.get("app").cloned()),
        ports: ports
            .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
            .map(|port| number(port.container_port))
            .collect(),
        namespace,
        name,
    }
}

/// The `Deployment`, `DaemonSet` or `StatefulSet` that a pod belongs to, else the pod itself.
fn workload(pod: &ApiPod) -> String {
    let (_, name) = identity(&pod.metadata);
    let Some(owner) = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    else {
        return name;
    };
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    match (owner.kind.as_str(), hash) {
        // A Deployment's ReplicaSet has the Deployment's name and the hash of its pod template.
        ("ReplicaSet", Some(hash)) => owner.name.strip_suffix(&format!("-{hash}")).unwrap_or(&owner.name).to_owned(),
        // A static pod is owned by its node.
        ("Node", _) => name,
        _ => owner.name.clone(),
    }
}

/// The network plugin, by the pods in `kube-system`.
pub(super) fn cni(pods: &[Pod]) -> Cni {
    const KNOWN: [&str; 6] = ["calico-node", "cilium", "antrea-agent", "weave-net", "aws-node", "kube-router"];
    let has = |workload: &str| pods.iter().any(|pod| pod.workload == workload);
    if has("kindnet") {
        return Cni::Kindnet;
    }
    Cni::Other(KNOWN.into_iter().find(|workload| has(workload)).unwrap_or("unknown").to_owned())
}

/// A port as the API gives it; 0 for what cannot be one.
fn number(port: i32) -> u16 {
    u16::try_from(port).unwrap_or_default()
}
