//! A whole state to try things on, without a cluster.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use reachmap_wire::{Hello, PROTOCOL, RouteEntry};

use super::{
    Cni, Endpoint, LoadBalancer, Node, NodeRole, Pod, ProxyMode, ProxySettings, Service, ServicePort, ServiceType,
    SessionAffinity, State, TrafficPolicy,
};

const NAMESPACE: &str = "service-type-test";
const OTHER_NAMESPACE: &str = "service-type-test-other";

/// kubeadm's Corefile with the tutorial's `hosts` block.
const COREFILE: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    hosts {
       10.96.10.1 my-nginx.external.local my-nginx.external.local.service-type-test.svc.cluster.local
       fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
";

impl State {
    /// The tutorial's cluster as it is after its last step, with made-up addresses: a control plane and three
    /// workers, `nginx-multiple-nodes` on every worker, `nginx-single` and the test pods, and the load balancer ready.
    ///
    /// For examples and tests of code that takes a state; nothing in it comes from a cluster.
    ///
    /// ```
    /// let state = reachmap::state::State::example();
    /// assert_eq!(state.node_by_id("worker-2")?.name, "reachmap-worker2");
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    pub fn example() -> Self {
        let pods = pods();
        Self {
            kubernetes: "v1.37.2".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            proxy_mode: ProxyMode::Iptables,
            proxy: ProxySettings::default(),
            cni: Cni::Flannel { backend: "vxlan".to_owned() },
            service_networks: vec![network("10.96.0.0/16")],
            pod_networks: vec![network("10.244.0.0/16")],
            namespaces: ["default", "kube-system", "metallb-system", NAMESPACE, OTHER_NAMESPACE]
                .map(str::to_owned)
                .into(),
            nodes: nodes(),
            services: services(),
            endpoints: endpoints(&pods),
            pods,
            corefile: COREFILE.to_owned(),
            load_balancer: Some(LoadBalancer {
                pools: vec!["172.18.255.200-172.18.255.210".to_owned()],
                advertised: true,
            }),
            planned_pool: Some("172.18.255.200-172.18.255.210".to_owned()),
            places: places(),
        }
    }

    /// The same before MetalLB has a pool: `nginx-loadbalancer` waits for its address.
    pub fn example_pending() -> Self {
        let mut state = Self::example();
        state.load_balancer = Some(LoadBalancer { pools: Vec::new(), advertised: false });
        for service in &mut state.services {
            service.load_balancer_addresses.clear();
            service.announced_by = None;
        }
        state
    }
}

fn address(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::from([a, b, c, d])
}

fn network(text: &str) -> IpNet {
    // The texts are this file's own.
    text.parse().unwrap_or_default()
}

fn nodes() -> Vec<Node> {
    [
        ("reachmap-control-plane", NodeRole::ControlPlane, 2, "10.244.0.0/24"),
        ("reachmap-worker", NodeRole::Worker, 3, "10.244.1.0/24"),
        ("reachmap-worker2", NodeRole::Worker, 4, "10.244.2.0/24"),
        ("reachmap-worker3", NodeRole::Worker, 5, "10.244.3.0/24"),
    ]
    .map(|(name, role, last, pods)| Node {
        name: name.to_owned(),
        role,
        addresses: vec![address(172, 18, 0, last)],
        pod_networks: vec![network(pods)],
        ready: true,
        zone: None,
    })
    .into()
}

fn pods() -> Vec<Pod> {
    let pod =
        |namespace: &str, name: &str, workload: &str, node: &str, at: IpAddr, app: Option<&str>, ports: &[u16]| Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            addresses: vec![at],
            node: Some(node.to_owned()),
            ready: true,
            host_network: false,
            workload: workload.to_owned(),
            app: app.map(ToOwned::to_owned),
            ports: ports.to_vec(),
        };
    let many = "nginx-multiple-nodes";
    vec![
        pod(
            "kube-system",
            "coredns-5d78c9869d-aaaaa",
            "coredns",
            "reachmap-control-plane",
            address(10, 244, 0, 2),
            None,
            &[53],
        ),
        pod(
            "kube-system",
            "coredns-5d78c9869d-bbbbb",
            "coredns",
            "reachmap-control-plane",
            address(10, 244, 0, 3),
            None,
            &[53],
        ),
        pod(
            NAMESPACE,
            "nginx-multiple-nodes-7c5ddbdf54-4v8db",
            many,
            "reachmap-worker",
            address(10, 244, 1, 4),
            Some("nginx"),
            &[80],
        ),
        pod(
            NAMESPACE,
            "nginx-multiple-nodes-7c5ddbdf54-cjz2r",
            many,
            "reachmap-worker2",
            address(10, 244, 2, 4),
            Some("nginx"),
            &[80],
        ),
        pod(
            NAMESPACE,
            "nginx-multiple-nodes-7c5ddbdf54-zlwqv",
            many,
            "reachmap-worker3",
            address(10, 244, 3, 4),
            Some("nginx"),
            &[80],
        ),
        pod(
            NAMESPACE,
            "nginx-single-6d8f9-x2x2x",
            "nginx-single",
            "reachmap-worker",
            address(10, 244, 1, 5),
            Some("nginx-single"),
            &[80],
        ),
        pod(NAMESPACE, "testpod", "testpod", "reachmap-worker2", address(10, 244, 2, 5), None, &[]),
        pod(OTHER_NAMESPACE, "testpod", "testpod", "reachmap-worker3", address(10, 244, 3, 5), None, &[]),
    ]
}

fn services() -> Vec<Service> {
    let service = |namespace: &str, name: &str, kind: ServiceType, cluster_ip: Option<IpAddr>| Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind,
        cluster_ips: cluster_ip.into_iter().collect(),
        headless: false,
        external_name: None,
        ports: vec![ServicePort { name: String::new(), protocol: "TCP".to_owned(), port: 80, node_port: None }],
        load_balancer_addresses: Vec::new(),
        announced_by: None,
        external_traffic_policy: TrafficPolicy::Cluster,
        internal_traffic_policy: TrafficPolicy::Cluster,
        publish_not_ready_addresses: false,
        session_affinity: SessionAffinity::None,
        traffic_distribution: None,
    };
    let mut dns = service("kube-system", "kube-dns", ServiceType::ClusterIp, Some(address(10, 96, 0, 10)));
    dns.ports = vec![ServicePort { name: "dns-tcp".to_owned(), protocol: "TCP".to_owned(), port: 53, node_port: None }];
    let mut external = service(NAMESPACE, "nginx-external-service", ServiceType::ExternalName, None);
    external.external_name = Some("my-nginx.external.local".to_owned());
    external.ports.clear();
    let mut headless = service(NAMESPACE, "nginx-headless-service", ServiceType::ClusterIp, None);
    headless.headless = true;
    let mut balanced =
        service(NAMESPACE, "nginx-loadbalancer", ServiceType::LoadBalancer, Some(address(10, 96, 10, 2)));
    balanced.load_balancer_addresses = vec![address(172, 18, 255, 200)];
    balanced.announced_by = Some("reachmap-worker3".to_owned());
    let mut node_port =
        service(NAMESPACE, "nginx-nodeport-service", ServiceType::NodePort, Some(address(10, 96, 10, 3)));
    for (service, port) in [(&mut balanced, 31_380), (&mut node_port, 30_080)] {
        service.ports.iter_mut().for_each(|service_port| service_port.node_port = Some(port));
    }
    let cluster_ip =
        service(NAMESPACE, "nginx-clusterip-service", ServiceType::ClusterIp, Some(address(10, 96, 10, 1)));
    vec![dns, cluster_ip, external, headless, balanced, node_port]
}

fn endpoints(pods: &[Pod]) -> Vec<Endpoint> {
    let endpoint = |service: &str, port_name: &str, port: u16, pod: &Pod| Endpoint {
        namespace: pod.namespace.clone(),
        service: service.to_owned(),
        address: pod.addresses.first().copied().unwrap_or_else(|| address(0, 0, 0, 0)),
        ports: [(port_name.to_owned(), port)].into(),
        ready: true,
        serving: true,
        terminating: false,
        for_zones: Vec::new(),
        for_nodes: Vec::new(),
        pod: Some(pod.name.clone()),
        node: pod.node.clone(),
        hostname: None,
    };
    let mut endpoints = Vec::new();
    for pod in pods {
        if pod.workload == "coredns" {
            endpoints.push(endpoint("kube-dns", "dns-tcp", 53, pod));
        }
        if pod.app.as_deref() == Some("nginx") {
            for service in
                ["nginx-clusterip-service", "nginx-headless-service", "nginx-loadbalancer", "nginx-nodeport-service"]
            {
                endpoints.push(endpoint(service, "", 80, pod));
            }
        }
    }
    endpoints
}

fn places() -> BTreeMap<String, Hello> {
    let place = |hostname: &str, resolv_conf: String, at: IpAddr, routes: Vec<RouteEntry>| Hello {
        protocol: PROTOCOL,
        hostname: hostname.to_owned(),
        resolv_conf,
        addresses: vec![at],
        routes,
    };
    let route = |destination: &str, gateway: Option<IpAddr>| RouteEntry {
        destination: destination.to_owned(),
        gateway,
        interface: "eth0".to_owned(),
    };
    let pod = |namespace: &str, subnet: u8| {
        let conf = format!(
            "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        let gateway = address(10, 244, subnet, 1);
        let routes = vec![route(&format!("10.244.{subnet}.0/24"), None), route("0.0.0.0/0", Some(gateway))];
        place("testpod", conf, address(10, 244, subnet, 5), routes)
    };
    let outside = "nameserver 172.18.0.1\noptions ndots:0\n";
    let gateway = address(172, 18, 0, 1);
    let on_the_network = || vec![route("172.18.0.0/16", None), route("0.0.0.0/0", Some(gateway))];
    let mut places: BTreeMap<String, Hello> = [
        ("testpod".to_owned(), pod(NAMESPACE, 2)),
        ("testpod-other".to_owned(), pod(OTHER_NAMESPACE, 3)),
        ("laptop".to_owned(), place("laptop", outside.to_owned(), address(172, 18, 0, 6), on_the_network())),
    ]
    .into();
    for (id, name, last) in [
        ("control-plane", "reachmap-control-plane", 2),
        ("worker-1", "reachmap-worker", 3),
        ("worker-2", "reachmap-worker2", 4),
        ("worker-3", "reachmap-worker3", 5),
    ] {
        places.insert(id.to_owned(), place(name, outside.to_owned(), address(172, 18, 0, last), on_the_network()));
    }
    places
}
