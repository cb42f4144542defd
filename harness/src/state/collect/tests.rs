//! Collection against a mock API server.

use std::{collections::BTreeMap, pin::pin};

use http::{Request, Response};
use kube::{Client, client::Body};
use rstest::rstest;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use super::*;
use crate::state::{ServiceType, SessionAffinity, TrafficPolicy};

/// Answers by path until the client is gone; what is not there is a 404, as from the API server.
async fn serve(
    mut handle: Handle<Request<Body>, Response<Body>>,
    objects: BTreeMap<&'static str, Value>,
) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some((request, send)) = pin!(handle.next_request()).await {
        let path = request.uri().path().to_owned();
        let (code, body) = match objects.get(path.as_str()) {
            Some(Value::Null) => (403, status(403, "Forbidden")),
            Some(body) => (200, body.clone()),
            None => (404, status(404, "NotFound")),
        };
        asked.push(path);
        let body = Body::from(serde_json::to_vec(&body).unwrap());
        send.send_response(Response::builder().status(code).body(body).unwrap());
    }
    asked
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason })
}

fn list(items: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items })
}

/// What a small cluster of kubeadm's answers, shortened from real objects.
#[expect(clippy::too_many_lines, reason = "it is data")]
fn objects() -> BTreeMap<&'static str, Value> {
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let node = |name: &str, labels: Value, cidr: &str, address: &str| {
        json!({
            "metadata": { "name": name, "labels": labels },
            "spec": { "podCIDR": cidr, "podCIDRs": [cidr] },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": address }, { "type": "Hostname", "address": name }],
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        })
    };
    let nginx = |end: &str, node: &str, address: &str| {
        json!({
            "metadata": {
                "name": format!("nginx-multiple-nodes-668cdc96dd-{end}"),
                "namespace": "service-type-test",
                "labels": { "app": "nginx", "pod-template-hash": "668cdc96dd" },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "nginx-multiple-nodes-668cdc96dd", "uid": "1", "controller": true,
                }],
            },
            "spec": { "nodeName": node, "containers": [{ "name": "nginx", "ports": [{ "containerPort": 80, "protocol": "TCP" }] }] },
            "status": { "conditions": ready, "podIPs": [{ "ip": address }] },
        })
    };
    BTreeMap::from([
        (
            "/version",
            json!({
                "major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "", "buildDate": "",
                "goVersion": "", "compiler": "", "platform": "linux/amd64",
            }),
        ),
        (
            "/api/v1/namespaces",
            list(&json!([{ "metadata": { "name": "service-type-test" } }, { "metadata": { "name": "default" } }])),
        ),
        (
            "/api/v1/nodes",
            list(&json!([
                node("t-worker10", json!({}), "10.244.3.0/24", "172.18.0.5"),
                node("t-worker2", json!({ "topology.kubernetes.io/zone": "a" }), "10.244.2.0/24", "172.18.0.4"),
                node(
                    "t-control-plane",
                    json!({ "node-role.kubernetes.io/control-plane": "" }),
                    "10.244.0.0/24",
                    "172.18.0.2"
                ),
            ])),
        ),
        (
            "/api/v1/services",
            list(&json!([
                {
                    "metadata": { "name": "nginx-loadbalancer", "namespace": "service-type-test" },
                    "spec": {
                        "type": "LoadBalancer", "clusterIP": "10.96.10.2", "clusterIPs": ["10.96.10.2"],
                        "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster",
                        "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 30 } },
                        "trafficDistribution": "PreferSameZone",
                        "ports": [{ "port": 80, "protocol": "TCP", "nodePort": 31380, "targetPort": 80 }],
                    },
                    "status": { "loadBalancer": { "ingress": [{ "ip": "172.18.255.200", "ipMode": "VIP" }] } },
                },
                {
                    "metadata": { "name": "nginx-headless-service", "namespace": "service-type-test" },
                    "spec": { "type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "ports": [{ "port": 80 }] },
                    "status": { "loadBalancer": {} },
                },
                {
                    "metadata": { "name": "nginx-external-service", "namespace": "service-type-test" },
                    "spec": { "type": "ExternalName", "externalName": "my-nginx.external.local" },
                    "status": { "loadBalancer": {} },
                },
            ])),
        ),
        (
            "/apis/discovery.k8s.io/v1/endpointslices",
            list(&json!([{
                "metadata": {
                    "name": "nginx-loadbalancer-x", "namespace": "service-type-test",
                    "labels": { "kubernetes.io/service-name": "nginx-loadbalancer" },
                },
                "addressType": "IPv4",
                "endpoints": [
                    {
                        "addresses": ["10.244.2.4"], "nodeName": "t-worker2", "conditions": { "ready": true },
                        "hints": { "forZones": [{ "name": "a" }], "forNodes": [{ "name": "t-worker2" }] },
                        "targetRef": { "kind": "Pod", "name": "nginx-multiple-nodes-668cdc96dd-cjz2r", "namespace": "service-type-test" },
                    },
                    { "addresses": ["10.244.3.4"], "nodeName": "t-worker10", "conditions": { "ready": false, "serving": true, "terminating": true } },
                ],
                "ports": [{ "name": "", "port": 80, "protocol": "TCP" }],
            }])),
        ),
        (
            "/api/v1/namespaces/service-type-test/pods",
            list(&json!([nginx("zlwqv", "t-worker10", "10.244.3.4"), nginx("cjz2r", "t-worker2", "10.244.2.4"),])),
        ),
        (
            "/api/v1/namespaces/kube-system/pods",
            list(&json!([{
                "metadata": {
                    "name": "etcd-t-control-plane", "namespace": "kube-system",
                    "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "t-control-plane", "uid": "1", "controller": true }],
                },
                "spec": { "nodeName": "t-control-plane", "hostNetwork": true, "containers": [{ "name": "etcd" }] },
                "status": { "podIPs": [{ "ip": "172.18.0.2" }] },
            }])),
        ),
        (
            "/api/v1/namespaces/kube-system/configmaps/coredns",
            json!({
                "metadata": { "name": "coredns" },
                "data": { "Corefile": ".:53 {\n    kubernetes in-addr.arpa my.cluster\n}\n" },
            }),
        ),
        (
            "/api/v1/namespaces/kube-system/configmaps/kube-proxy",
            json!({
                "metadata": { "name": "kube-proxy" },
                "data": { "config.conf": "clusterCIDR: 10.244.0.0/16\nkind: KubeProxyConfiguration\nmode: nftables\nnftables:\n  masqueradeAll: true\n", "kubeconfig.conf": "" },
            }),
        ),
        (
            "/api/v1/namespaces/kube-flannel/configmaps/flannel",
            json!({
                "metadata": { "name": "flannel" },
                "data": { "net-conf.json": "{\"Network\": \"10.244.0.0/16\", \"Backend\": {\"Type\": \"vxlan\"}}" },
            }),
        ),
        (
            "/apis/networking.k8s.io/v1/servicecidrs",
            list(&json!([{
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
                "metadata": { "name": "kubernetes" }, "spec": { "cidrs": ["10.96.0.0/16"] },
            }])),
        ),
        (
            "/apis/metallb.io/v1beta1/ipaddresspools",
            list(&json!([{
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": { "name": "default-pool" }, "spec": { "addresses": ["172.18.255.200-172.18.255.210"] },
            }])),
        ),
        (
            "/apis/metallb.io/v1beta1/l2advertisements",
            list(&json!([{
                "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": { "name": "l2-adv" },
            }])),
        ),
        (
            "/apis/metallb.io/v1beta1/servicel2statuses",
            list(&json!([{
                "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status", "metadata": { "name": "l2-abcde" },
                "status": { "node": "t-worker2", "serviceName": "nginx-loadbalancer", "serviceNamespace": "service-type-test" },
            }])),
        ),
    ])
}

async fn collected(objects: BTreeMap<&'static str, Value>) -> Result<State> {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(serve(handle, objects));
    let client = Client::new(service, "default");
    let planned = Some("172.18.255.200-172.18.255.210".to_owned());
    let state = collect(&client, &["service-type-test"], BTreeMap::new(), planned).await;
    drop(client);
    let asked = server.await.unwrap();
    assert!(asked.iter().all(|path| !path.contains("/secrets")), "only what is needed is read");
    state
}

#[tokio::test]
async fn a_cluster_is_read_whole() {
    let state = collected(objects()).await.unwrap();
    assert_eq!(state.kubernetes, "v1.37.2");
    assert_eq!(state.cluster_domain, "my.cluster");
    assert_eq!(state.proxy_mode, ProxyMode::Nftables);
    assert_eq!(state.proxy, ProxySettings { masquerade_all: true, local_detection: LocalDetection::ClusterCidr });
    assert_eq!(state.node("t-worker2").unwrap().zone.as_deref(), Some("a"));
    assert_eq!(state.cni, Cni::Flannel { backend: "vxlan".to_owned() });
    assert_eq!(state.service_networks, ["10.96.0.0/16".parse().unwrap()]);
    assert_eq!(state.pod_networks, ["10.244.0.0/16".parse().unwrap()]);
    assert_eq!(state.namespaces, ["default", "service-type-test"]);
    assert_eq!(
        state.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        ["t-control-plane", "t-worker2", "t-worker10"]
    );
    assert_eq!(state.node_by_id("worker-2").unwrap().addresses, ["172.18.0.5".parse::<IpAddr>().unwrap()]);
    assert!(state.load_balancer.as_ref().unwrap().holds("172.18.255.205".parse().unwrap()));

    let pod = state.pod("service-type-test", "nginx-multiple-nodes-668cdc96dd-cjz2r").unwrap();
    assert_eq!((pod.workload.as_str(), pod.app.as_deref(), pod.ready), ("nginx-multiple-nodes", Some("nginx"), true));
    assert_eq!(pod.ports, [80]);
    let etcd = state.pod("kube-system", "etcd-t-control-plane").unwrap();
    assert_eq!((etcd.workload.as_str(), etcd.ready, etcd.host_network), ("etcd-t-control-plane", false, true));
}

#[tokio::test]
async fn services_and_their_endpoints_are_read_whole() {
    let state = collected(objects()).await.unwrap();
    let balanced = state.service("service-type-test", "nginx-loadbalancer").unwrap();
    assert_eq!(balanced.kind, ServiceType::LoadBalancer);
    assert_eq!(balanced.ports[0].node_port, Some(31380));
    assert_eq!(balanced.external_traffic_policy, TrafficPolicy::Local);
    assert_eq!(balanced.load_balancer_addresses, ["172.18.255.200".parse::<IpAddr>().unwrap()]);
    assert_eq!(balanced.announced_by.as_deref(), Some("t-worker2"));
    let endpoints: Vec<_> =
        state.endpoints_of(balanced).map(|endpoint| (endpoint.address.to_string(), endpoint.ready)).collect();
    assert_eq!(endpoints, [("10.244.2.4".to_owned(), true), ("10.244.3.4".to_owned(), false)]);

    assert_eq!(balanced.session_affinity, SessionAffinity::ClientIp { timeout_seconds: 30 });
    assert_eq!(balanced.traffic_distribution.as_deref(), Some("PreferSameZone"));
    let [first, second] = state.endpoints_of(balanced).collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!((first.serving, first.terminating, second.serving, second.terminating), (true, false, true, true));
    assert_eq!((&first.for_zones[..], &first.for_nodes[..]), (&["a".to_owned()][..], &["t-worker2".to_owned()][..]));

    let headless = state.service("service-type-test", "nginx-headless-service").unwrap();
    assert_eq!(headless.session_affinity, SessionAffinity::None);
    assert!(headless.headless && headless.cluster_ips.is_empty());
    let external = state.service("service-type-test", "nginx-external-service").unwrap();
    assert_eq!(
        (external.kind, external.external_name.as_deref()),
        (ServiceType::ExternalName, Some("my-nginx.external.local"))
    );
}

#[tokio::test]
async fn what_is_not_installed_is_none_and_old_clusters_have_other_sources() {
    let mut objects = objects();
    objects.retain(|path, _| !path.contains("metallb") && !path.contains("servicecidrs") && !path.contains("flannel"));
    objects.remove("/api/v1/namespaces/kube-system/configmaps/kube-proxy");
    objects.insert(
        "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
        json!({
            "metadata": { "name": "kubeadm-config" },
            "data": { "ClusterConfiguration": "networking:\n  serviceSubnet: 10.32.0.0/16,fd00::/112\n" },
        }),
    );
    let state = collected(objects).await.unwrap();
    assert_eq!(state.load_balancer, None);
    assert_eq!(state.cni, Cni::Other("unknown".to_owned()));
    assert_eq!(state.proxy_mode, ProxyMode::Unknown);
    assert_eq!(state.proxy, ProxySettings::default());
    assert_eq!(state.service_networks, ["10.32.0.0/16".parse().unwrap(), "fd00::/112".parse().unwrap()]);
    assert_eq!(state.pod_networks.len(), 3, "what the nodes own");
}

#[tokio::test]
async fn what_may_not_be_read_is_an_error_that_names_it() {
    let mut objects = objects();
    objects.insert("/apis/discovery.k8s.io/v1/endpointslices", Value::Null);
    let error = collected(objects).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(error.to_string().starts_with("failed to list the cluster's EndpointSlices: "), "{error}");
}

#[rstest]
#[case("clusterCIDR: 10.244.0.0/16", LocalDetection::ClusterCidr, false)]
#[case("mode: iptables", LocalDetection::None, false)]
#[case("clusterCIDR: 10.244.0.0/16\ndetectLocalMode: BridgeInterface", LocalDetection::BridgeInterface, false)]
#[case("detectLocalMode: NodeCIDR\niptables:\n  masqueradeAll: true", LocalDetection::NodeCidr, true)]
#[case(
    "detectLocalMode: InterfaceNamePrefix\nmode: nftables\niptables:\n  masqueradeAll: true",
    LocalDetection::InterfacePrefix,
    false
)]
fn kube_proxys_settings_are_those_of_its_mode(
    #[case] conf: &str,
    #[case] detection: LocalDetection,
    #[case] all: bool,
) {
    let settings = proxy_settings(yaml(conf).as_ref());
    assert_eq!((settings.local_detection, settings.masquerade_all), (detection, all));
}
