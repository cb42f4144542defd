//! Who sees whom, case by case, as observed on clusters with Flannel's vxlan, and by property.

use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;
use rstest::rstest;

use crate::{
    model::{Balance, Law, Method, Seen, Selection, Vantage, balance},
    state::{Cni, LocalDetection, ProxyMode, SessionAffinity, State, TrafficPolicy},
};

fn derive(state: &State, vantage: &str, method: &str) -> Balance {
    balance(state, &Vantage::find(state, vantage).unwrap(), &Method::find(method, 3).unwrap()).unwrap()
}

fn edited(change: impl FnOnce(&mut State)) -> State {
    let mut state = State::example();
    change(&mut state);
    state
}

fn local(state: &mut State) {
    for service in &mut state.services {
        service.external_traffic_policy = TrafficPolicy::Local;
    }
}

/// Each pod's node by its last character, and what the pod sees: `1 10.244.1.1 masqueraded_by_proxy`.
fn seen(balance: &Balance) -> Vec<String> {
    let mut seen: Vec<String> = balance
        .answering
        .iter()
        .map(|answering| {
            let node = match answering.node.as_deref() {
                Some("reachmap-worker") => "1",
                Some("reachmap-worker2") => "2",
                _ => "3",
            };
            let sources = match &answering.seen {
                Seen::As(sources) => sources,
                Seen::NotCovered { because } => return format!("{node} not covered: {because}"),
            };
            let sources = sources.iter().map(|source| {
                let reason = serde_json::to_value(&source.reason).unwrap();
                let kind = reason.as_str().map(ToOwned::to_owned);
                let kind = kind.unwrap_or_else(|| reason.as_object().unwrap().keys().next().unwrap().clone());
                format!("{} {kind}", source.address)
            });
            format!("{node} {}", sources.collect::<Vec<_>>().join(" or "))
        })
        .collect();
    seen.sort();
    seen
}

/// testpod is on node 2, with 10.244.2.5; the address is announced by node 3.
#[rstest]
#[case::kept("testpod", "clusterip-address", ["10.244.2.5 kept_pod_to_pod"; 3])]
#[case::a_nodes_own("worker-1", "clusterip-address", ["10.244.1.1 masqueraded_by_proxy", "10.244.1.0 masqueraded_by_proxy", "10.244.1.0 masqueraded_by_proxy"])]
#[case::without_a_pod("control-plane", "clusterip-address", ["10.244.0.0 masqueraded_by_proxy"; 3])]
#[case::the_announcers("laptop", "loadbalancer-address", ["10.244.3.0 masqueraded_by_proxy", "10.244.3.0 masqueraded_by_proxy", "10.244.3.1 masqueraded_by_proxy"])]
#[case::the_named_nodes("worker-1", "nodeport-worker-2", ["10.244.2.0 masqueraded_by_proxy", "10.244.2.1 masqueraded_by_proxy", "10.244.2.0 masqueraded_by_proxy"])]
#[case::short_circuit("testpod", "loadbalancer-address", ["10.244.2.0 masqueraded_by_proxy", "10.244.2.1 masqueraded_by_proxy", "10.244.2.0 masqueraded_by_proxy"])]
fn the_policy_cluster_masquerades_what_comes_from_outside(
    #[case] vantage: &str,
    #[case] method: &str,
    #[case] expected: [&str; 3],
) {
    let expected: Vec<String> = (1..).zip(expected).map(|(node, seen)| format!("{node} {seen}")).collect();
    for mode in [ProxyMode::Iptables, ProxyMode::Nftables] {
        let state = edited(|state| state.proxy_mode = mode);
        assert_eq!(seen(&derive(&state, vantage, method)), expected);
    }
}

#[rstest]
#[case::the_clients_own("laptop", "nodeport-worker-1", &["1 172.18.0.6 kept_by_local_policy"])]
#[case::another_nodes("worker-3", "nodeport-worker-1", &["1 172.18.0.5 node_own_address"])]
#[case::another_nodes_pod("testpod", "nodeport-worker-1", &["1 172.18.0.4 masqueraded_by_network"])]
#[case::its_own_pods("testpod", "nodeport-worker-2", &["1 10.244.2.5 kept_pod_to_pod", "2 10.244.2.5 kept_pod_to_pod", "3 10.244.2.5 kept_pod_to_pod"])]
#[case::its_own("worker-2", "nodeport-worker-2", &["1 10.244.2.0 masqueraded_by_proxy", "2 10.244.2.1 masqueraded_by_proxy", "3 10.244.2.0 masqueraded_by_proxy"])]
#[case::short_circuit("testpod", "loadbalancer-address", &["1 10.244.2.5 kept_pod_to_pod", "2 10.244.2.5 kept_pod_to_pod", "3 10.244.2.5 kept_pod_to_pod"])]
#[case::announced("laptop", "loadbalancer-address", &["3 172.18.0.6 kept_by_local_policy"])]
fn the_policy_local_keeps_what_comes_from_outside(
    #[case] vantage: &str,
    #[case] method: &str,
    #[case] expected: &[&str],
) {
    assert_eq!(seen(&derive(&edited(local), vantage, method)), expected);
}

#[rstest]
#[case("worker-1", "pod-ip", "1 10.244.1.1 node_own_address")]
#[case("worker-2", "pod-ip", "1 10.244.2.0 node_own_address")]
#[case("testpod", "pod-ip", "1 10.244.2.5 kept_pod_to_pod")]
fn a_pods_own_address_shows_who_calls(#[case] vantage: &str, #[case] method: &str, #[case] expected: &str) {
    let found = derive(&State::example(), vantage, method);
    assert_eq!(seen(&found), [expected]);
    assert_eq!((found.selection, found.law), (Some(Selection::Named), Law::OneConnection));
}

/// By way of node 1: its own pod sees the laptop, the pods of others its tunnel.
#[test]
fn a_routed_laptop_is_seen_as_itself_or_as_the_node() {
    let by_way_of = |node: &str| {
        edited(|state| {
            let routes = &mut state.places.get_mut("laptop").unwrap().routes;
            for network in ["10.96.0.0/16", "10.244.0.0/16"] {
                routes.push(crate::model::tests::route(network, node));
            }
        })
    };
    let (first, second) = (by_way_of("172.18.0.3"), by_way_of("172.18.0.4"));
    assert_eq!(seen(&derive(&first, "laptop", "pod-ip")), ["1 172.18.0.6 kept_forwarded"]);
    assert_eq!(seen(&derive(&second, "laptop", "pod-ip")), ["1 10.244.2.0 masqueraded_by_network"]);
    assert_eq!(
        seen(&derive(&first, "laptop", "clusterip-address")),
        ["1 10.244.1.1 masqueraded_by_proxy", "2 10.244.1.0 masqueraded_by_proxy", "3 10.244.1.0 masqueraded_by_proxy"]
    );
}

#[test]
fn a_pod_that_reaches_itself_sees_its_bridge() {
    let state = edited(|state| {
        let endpoint = state.endpoints.iter_mut().find(|endpoint| endpoint.service == "nginx-clusterip-service");
        let endpoint = endpoint.unwrap();
        endpoint.address = "10.244.2.5".parse().unwrap();
        endpoint.node = Some("reachmap-worker2".to_owned());
    });
    let seen = seen(&derive(&state, "testpod", "clusterip-address"));
    assert!(seen.contains(&"2 10.244.2.1 hairpin".to_owned()), "{seen:?}");
}

#[test]
fn masquerade_all_and_no_detection_change_what_cluster_ips_show() {
    let all = edited(|state| state.proxy.masquerade_all = true);
    assert_eq!(seen(&derive(&all, "testpod", "clusterip-address"))[0], "1 10.244.2.0 masqueraded_by_proxy");
    let none = edited(|state| state.proxy.local_detection = LocalDetection::None);
    // Flannel has a rule of its own for what a node sends to pods of others, and lets its own pods see the node.
    assert_eq!(
        seen(&derive(&none, "worker-1", "clusterip-address"))[..2],
        ["1 172.18.0.3 node_own_address", "2 10.244.1.0 masqueraded_by_network"]
    );
    // Nothing tells pods from others: the policy Local counts for them too.
    let none = edited(|state| {
        state.proxy.local_detection = LocalDetection::None;
        local(state);
    });
    assert_eq!(seen(&derive(&none, "testpod", "nodeport-worker-2")), ["2 10.244.2.5 kept_pod_to_pod"]);
}

#[test]
fn host_routes_show_the_nodes_own_address_to_others() {
    for (cni, own) in [
        (Cni::Kindnet, "10.244.3.1 masqueraded_by_proxy"),
        (Cni::Flannel { backend: "host-gw".to_owned() }, "10.244.3.1 masqueraded_by_proxy"),
    ] {
        let state = edited(|state| state.cni = cni);
        assert_eq!(
            seen(&derive(&state, "laptop", "loadbalancer-address")),
            [
                "1 172.18.0.5 masqueraded_by_proxy".to_owned(),
                "2 172.18.0.5 masqueraded_by_proxy".to_owned(),
                format!("3 {own}"),
            ]
        );
    }
}

/// With `DirectRouting`, the node's own table says that its packets do not take the tunnel.
#[test]
fn a_nodes_own_routes_come_before_the_plugins_configuration() {
    let route = |interface: &str| reachmap_wire::RouteEntry {
        interface: interface.to_owned(),
        ..crate::model::tests::route("10.244.1.0/24", "172.18.0.3")
    };
    for (interface, expected) in [("eth0", "172.18.0.4"), ("flannel.1", "10.244.2.0")] {
        let state = edited(|state| state.places.get_mut("worker-2").unwrap().routes.push(route(interface)));
        assert_eq!(seen(&derive(&state, "worker-2", "pod-ip")), [format!("1 {expected} node_own_address")]);
    }
}

#[rstest]
#[case::ipvs(|state: &mut State| state.proxy_mode = ProxyMode::Ipvs)]
#[case::no_proxy(|state: &mut State| state.proxy_mode = ProxyMode::Unknown)]
#[case::another_plugin(|state: &mut State| state.cni = Cni::Other("calico-node".to_owned()))]
#[case::another_backend(|state: &mut State| state.cni = Cni::Flannel { backend: "wireguard".to_owned() })]
#[case::several_addresses(|state: &mut State| {
    state.cni = Cni::Kindnet;
    state.nodes.iter_mut().for_each(|node| node.addresses.push("192.0.2.7".parse().unwrap()));
})]
fn what_is_not_known_is_not_guessed(#[case] change: fn(&mut State)) {
    let found = derive(&edited(change), "laptop", "loadbalancer-address");
    assert_eq!(found.support().len(), 3);
    assert!(matches!(found.seen_by(&found.answering[0].pod), Some(Seen::NotCovered { .. })), "{found:?}");
    // Between pods nothing of that matters.
    assert_eq!(seen(&derive(&edited(change), "testpod", "pod-ip")), ["1 10.244.2.5 kept_pod_to_pod"]);
}

#[test]
fn the_law_is_the_proxys_or_the_services() {
    let law = |change: fn(&mut State)| derive(&edited(change), "laptop", "nodeport-worker-1").law;
    assert_eq!(law(|_| {}), Law::Random);
    assert_eq!(law(|state| state.proxy_mode = ProxyMode::Ipvs), Law::RoundRobin);
    assert_eq!(law(|state| state.proxy_mode = ProxyMode::Unknown), Law::NotCovered);
    assert_eq!(law(|state| state.endpoints.clear()), Law::Nobody);
    let sticky = |state: &mut State| {
        let affinity = SessionAffinity::ClientIp { timeout_seconds: 30 };
        state.services.iter_mut().for_each(|service| service.session_affinity = affinity);
    };
    assert_eq!(law(sticky), Law::Affinity { timeout_seconds: 30 });
    let headless = derive(&State::example(), "testpod", "headless-fqdn");
    assert_eq!((headless.law, headless.support().len()), (Law::OneConnection, 3));
    insta::assert_snapshot!(
        derive(&State::example(), "laptop", "loadbalancer-address").why(),
        @"3 may answer, every ready endpoint: each connection is as likely to go to one as to any other."
    );
}

/// The addresses that the tutorial's three pods logged: every node's bridge. Whichever one node took the laptop's
/// connections, and whatever the network plugin, at most one of them can be seen.
#[test]
fn no_single_node_that_takes_connections_in_shows_every_nodes_bridge() {
    let bridges: BTreeSet<IpAddr> = ["10.244.1.1", "10.244.2.1", "10.244.3.1"].map(|text| text.parse().unwrap()).into();
    let backends = ["vxlan", "host-gw"].map(|backend| Cni::Flannel { backend: backend.to_owned() });
    for cni in backends.into_iter().chain([Cni::Kindnet]) {
        for announcer in State::example().nodes {
            for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
                let state = edited(|state| {
                    state.cni = cni.clone();
                    for service in &mut state.services {
                        service.external_traffic_policy = policy;
                        service.announced_by = Some(announcer.name.clone());
                    }
                });
                let found = derive(&state, "laptop", "loadbalancer-address");
                let by_source = found.by_source().into_keys();
                assert!(by_source.filter(|address| bridges.contains(address)).count() <= 1);
            }
        }
    }
    // What does show them: every node takes connections in, and sends them to its own pod.
    let state = edited(|state| {
        state.services.iter_mut().for_each(|service| service.announced_by = None);
        state.endpoints.iter_mut().for_each(|endpoint| endpoint.for_nodes = endpoint.node.iter().cloned().collect());
        state.nodes.retain(|node| node.name != "reachmap-control-plane");
    });
    let found = derive(&state, "laptop", "loadbalancer-address");
    assert_eq!(found.by_source().into_keys().collect::<BTreeSet<_>>(), bridges);
    assert!(found.by_source().values().all(|pods| pods.len() == 1), "each by its own pod only");
    assert_eq!(found.selection, Some(Selection::SameNode));
}

#[test]
fn both_families_are_masqueraded_alike() {
    let state = edited(|state| {
        for (number, node) in (0..).zip(&mut state.nodes) {
            node.addresses.push(format!("fc00::{}", number + 2).parse().unwrap());
            node.pod_networks.push(format!("fd00:10:244:{number}::/64").parse().unwrap());
        }
        state.pod_networks.push("fd00:10:244::/56".parse().unwrap());
        let service = state.services.iter_mut().find(|service| service.name == "nginx-loadbalancer").unwrap();
        service.load_balancer_addresses = vec!["fc00::200".parse().unwrap()];
        service.announced_by = Some("reachmap-worker".to_owned());
        state.load_balancer.as_mut().unwrap().pools = vec!["fc00::200-fc00::210".to_owned()];
        for endpoint in state.endpoints.iter_mut().filter(|endpoint| endpoint.service == "nginx-loadbalancer") {
            let node = endpoint.node.as_deref().unwrap().trim_start_matches("reachmap-worker");
            let number = if node.is_empty() { "1" } else { node };
            endpoint.address = format!("fd00:10:244:{number}::4").parse().unwrap();
        }
    });
    assert_eq!(
        seen(&derive(&state, "laptop", "loadbalancer-address")),
        [
            "1 fd00:10:244:1::1 masqueraded_by_proxy",
            "2 fd00:10:244:1:: masqueraded_by_proxy",
            "3 fd00:10:244:1:: masqueraded_by_proxy",
        ]
    );
}

fn states() -> impl Strategy<Value = State> {
    let conditions = proptest::collection::vec(any::<[bool; 3]>(), 14);
    let cni = prop_oneof![
        Just(Cni::Flannel { backend: "vxlan".to_owned() }),
        Just(Cni::Flannel { backend: "host-gw".to_owned() }),
        Just(Cni::Kindnet),
        Just(Cni::Other("unknown".to_owned())),
    ];
    let mode = prop_oneof![
        Just(ProxyMode::Iptables),
        Just(ProxyMode::Nftables),
        Just(ProxyMode::Ipvs),
        Just(ProxyMode::Unknown)
    ];
    let detection = prop_oneof![Just(LocalDetection::ClusterCidr), Just(LocalDetection::None)];
    (conditions, cni, mode, detection, any::<[bool; 4]>()).prop_map(
        |(conditions, cni, mode, detection, [external, internal, all, announced])| {
            edited(|state| {
                (state.cni, state.proxy_mode) = (cni, mode);
                (state.proxy.local_detection, state.proxy.masquerade_all) = (detection, all);
                for (endpoint, [ready, serving, terminating]) in state.endpoints.iter_mut().zip(conditions) {
                    (endpoint.ready, endpoint.serving, endpoint.terminating) = (ready, serving, terminating);
                }
                for service in &mut state.services {
                    let policy = |is| if is { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
                    service.external_traffic_policy = policy(external);
                    service.internal_traffic_policy = policy(internal);
                    if !announced {
                        service.announced_by = None;
                    }
                }
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is seen is an address of the client, or of a node that has a part in it; and it is one address only,
    /// where it is known which node chooses.
    #[test]
    fn every_source_belongs_to_somebody_on_the_way(state in states()) {
        let mut own: BTreeSet<IpAddr> = BTreeSet::new();
        for node in &state.nodes {
            own.extend(&node.addresses);
            for network in &node.pod_networks {
                own.insert(network.network());
                own.insert(network.hosts().next().unwrap());
            }
        }
        for vantage in Vantage::all(&state) {
            for method in Method::all(3) {
                let Ok(found) = balance(&state, &vantage, &method) else { continue };
                let client = &state.places[&vantage.id].addresses;
                for answering in &found.answering {
                    let Some(addresses) = answering.seen.addresses() else { continue };
                    prop_assert!(!addresses.is_empty());
                    prop_assert!(addresses.len() == 1 || found.entries.len() > 1, "{}/{}: {:?}", vantage, method, found);
                    let known = |address: &IpAddr| own.contains(address) || client.contains(address);
                    prop_assert!(addresses.iter().all(known), "{}/{}: {:?}", vantage, method, found);
                }
                prop_assert_eq!(found.answering.is_empty(), found.law == Law::Nobody);
                prop_assert!(found.why().ends_with('.'));
            }
        }
    }

    /// What the expectation says, and what the balance says, are the same.
    #[test]
    fn the_balance_is_what_is_expected(state in states()) {
        use crate::model::{Fact, expect};
        for vantage in Vantage::all(&state) {
            for method in Method::all(3) {
                let (Ok(found), Ok(expected)) = (balance(&state, &vantage, &method), expect(&state, &vantage, &method)) else { continue };
                prop_assert_eq!(expected.reachable, !found.answering.is_empty());
                for fact in &expected.facts {
                    match fact {
                        Fact::ServedBy(pods) => prop_assert_eq!(pods.iter().map(String::as_str).collect::<BTreeSet<_>>(), found.support()),
                        Fact::SeenBy(by_pod) => for (pod, sources) in by_pod {
                            prop_assert_eq!(found.seen_by(pod), Some(Seen::As(sources.clone())));
                        },
                        _ => {}
                    }
                }
            }
        }
    }
}
