//! The model against the tutorial's cluster, case by case and by property.

use std::collections::BTreeSet;

use reachmap_wire::{DnsFailure, FailureClass, RouteEntry};
use rstest::rstest;

use super::{Expectation, Fact, Method, Reason, Vantage, expect};
use crate::{
    ErrorKind,
    state::{ServiceType, State, TrafficPolicy},
};

fn derive(state: &State, vantage: &str, method: &str) -> Expectation {
    try_derive(state, vantage, method).unwrap()
}

pub(super) fn try_derive(state: &State, vantage: &str, method: &str) -> crate::Result<Expectation> {
    expect(state, &Vantage::find(state, vantage)?, &Method::find(method, 3)?)
}

fn nginx() -> BTreeSet<String> {
    ["4v8db", "cjz2r", "zlwqv"].map(|end| format!("nginx-multiple-nodes-7c5ddbdf54-{end}")).into()
}

pub(super) fn route(destination: &str, gateway: &str) -> RouteEntry {
    RouteEntry {
        destination: destination.to_owned(),
        gateway: Some(gateway.parse().unwrap()),
        interface: "eth0".to_owned(),
    }
}

fn edited(change: impl FnOnce(&mut State)) -> State {
    let mut state = State::example();
    change(&mut state);
    state
}

fn with_corefile(from: &str, to: &str) -> State {
    edited(|state| {
        assert!(state.corefile.contains(from));
        state.corefile = state.corefile.replace(from, to);
    })
}

/// The words for the reasons of the tutorial's rows, and of every other kind of pair.
#[rstest]
#[case("testpod", "clusterip-namespace", true, "cluster_ip_by_name")]
#[case("testpod", "externalname-namespace", true, "external_name")]
#[case("testpod", "pod-ip", true, "pod_route")]
#[case("testpod-other", "clusterip-fqdn", true, "cluster_ip_by_name")]
#[case("worker-1", "clusterip-address", true, "cluster_ip")]
#[case("control-plane", "clusterip-address", true, "cluster_ip")]
#[case("laptop", "clusterip-fqdn", false, "name_unknown_outside")]
#[case("laptop", "clusterip-address", false, "no_route_to_services")]
#[case("laptop", "pod-ip", false, "no_route_to_pods")]
#[case("laptop", "loadbalancer-address", true, "load_balancer_announced")]
#[case("control-plane", "loadbalancer-address", true, "load_balancer_short_circuit")]
#[case("testpod", "loadbalancer-address", true, "load_balancer_short_circuit")]
#[case("laptop", "nodeport-worker-2", true, "node_port")]
#[case("worker-1", "nodeport-worker-1", true, "node_port")]
#[case("testpod", "nodeport-control-plane", true, "node_port")]
#[case("testpod", "headless-short", true, "headless_by_name")]
#[case("testpod", "external-domain", true, "hosts_entry")]
#[case("testpod-other", "external-domain-absolute", true, "hosts_entry")]
#[case("testpod-other", "clusterip-short", false, "name_unknown_upstream")]
#[case("worker-3", "clusterip-fqdn", false, "name_unknown_outside")]
fn cells_have_their_reasons(
    #[case] vantage: &str,
    #[case] method: &str,
    #[case] reachable: bool,
    #[case] reason: &str,
) {
    let expectation = derive(&State::example(), vantage, method);
    assert_eq!((expectation.reachable, expectation.reason.kind()), (reachable, reason), "{expectation:?}");
}

#[test]
fn the_whole_expectation_of_a_name_in_the_search_path() {
    insta::assert_json_snapshot!(derive(&State::example(), "testpod", "clusterip-namespace"), @r#"
    {
      "target": {
        "host": "nginx-clusterip-service.service-type-test",
        "port": 80
      },
      "reachable": true,
      "reason": {
        "cluster_ip_by_name": {
          "answered": "nginx-clusterip-service.service-type-test.svc.cluster.local.",
          "searched": true,
          "cluster_ip": "10.96.10.1",
          "node": "reachmap-worker2"
        }
      },
      "facts": [
        {
          "asks": [
            "nginx-clusterip-service.service-type-test.service-type-test.svc.cluster.local.",
            "nginx-clusterip-service.service-type-test.svc.cluster.local."
          ]
        },
        {
          "resolves": {
            "answered": "nginx-clusterip-service.service-type-test.svc.cluster.local.",
            "aliases": [],
            "addresses": [
              "10.96.10.1"
            ]
          }
        },
        {
          "connects": [
            "10.96.10.1:80"
          ]
        },
        {
          "served_by": [
            "nginx-multiple-nodes-7c5ddbdf54-4v8db",
            "nginx-multiple-nodes-7c5ddbdf54-cjz2r",
            "nginx-multiple-nodes-7c5ddbdf54-zlwqv"
          ]
        },
        {
          "seen_by": {
            "nginx-multiple-nodes-7c5ddbdf54-4v8db": [
              {
                "address": "10.244.2.5",
                "reason": "kept_pod_to_pod"
              }
            ],
            "nginx-multiple-nodes-7c5ddbdf54-cjz2r": [
              {
                "address": "10.244.2.5",
                "reason": "kept_pod_to_pod"
              }
            ],
            "nginx-multiple-nodes-7c5ddbdf54-zlwqv": [
              {
                "address": "10.244.2.5",
                "reason": "kept_pod_to_pod"
              }
            ]
          }
        }
      ]
    }
    "#);
}

#[test]
fn an_external_name_is_followed_to_its_end() {
    let expectation = derive(&State::example(), "testpod", "externalname-short");
    assert!(expectation.facts.contains(&Fact::Resolves {
        answered: "nginx-external-service.service-type-test.svc.cluster.local.".to_owned(),
        aliases: vec!["my-nginx.external.local.".to_owned()],
        addresses: ["10.96.10.1".parse().unwrap()].into(),
    }));
    assert!(expectation.facts.contains(&Fact::ServedBy(nginx())));
}

#[test]
fn the_name_outside_the_zone_is_asked_in_the_search_path_first() {
    let Fact::Asks(names) = &derive(&State::example(), "testpod-other", "external-domain").facts[0] else { panic!() };
    assert_eq!(
        names,
        &[
            "my-nginx.external.local.service-type-test-other.svc.cluster.local.",
            "my-nginx.external.local.svc.cluster.local.",
            "my-nginx.external.local.cluster.local.",
            "my-nginx.external.local.",
        ]
    );
}

#[test]
fn a_load_balancer_without_a_pool_has_no_address() {
    let state = State::example_pending();
    for vantage in ["laptop", "testpod", "control-plane"] {
        let expectation = derive(&state, vantage, "loadbalancer-address");
        assert_eq!(expectation.target.host, "172.18.255.200");
        assert_eq!(expectation.reason.kind(), "no_load_balancer_address");
    }
    assert!(derive(&state, "testpod", "loadbalancer-name").reachable, "its cluster IP is there all the same");
}

#[test]
fn an_address_that_nobody_announces_is_only_in_reach_inside_the_cluster() {
    let state = edited(|state| state.load_balancer.as_mut().unwrap().advertised = false);
    assert_eq!(derive(&state, "laptop", "loadbalancer-address").reason.kind(), "not_announced");
    assert!(derive(&state, "worker-1", "loadbalancer-address").reachable);
}

#[rstest]
#[case("clusterip-address", "10.96.0.0/16", "routed_to_service")]
#[case("pod-ip", "10.244.0.0/16", "routed_to_pod")]
fn a_route_by_way_of_a_node_brings_the_laptop_in(#[case] method: &str, #[case] network: &str, #[case] reason: &str) {
    for (gateway, reachable) in [("172.18.0.4", true), ("172.18.0.99", false)] {
        let state = edited(|state| {
            state.places.get_mut("laptop").unwrap().routes.push(route(network, gateway));
        });
        let expectation = derive(&state, "laptop", method);
        assert_eq!(expectation.reachable, reachable, "{gateway}");
        assert_eq!(expectation.reason.kind() == reason, reachable);
    }
}

#[test]
fn the_clusters_dns_makes_names_known_to_a_node_and_routes_still_decide_for_the_laptop() {
    let state = edited(|state| {
        for id in ["worker-1", "laptop"] {
            state.places.get_mut(id).unwrap().resolv_conf = "nameserver 10.244.0.2\n".to_owned();
        }
    });
    assert_eq!(derive(&state, "worker-1", "clusterip-fqdn").reason.kind(), "cluster_ip_by_name");
    let laptop = derive(&state, "laptop", "clusterip-fqdn");
    assert_eq!(laptop.reason.kind(), "no_route_to_services");
    assert!(matches!(laptop.facts[1], Fact::Resolves { .. }));
}

#[test]
fn without_fallthrough_every_service_name_is_servfail_and_addresses_are_as_before() {
    let state = with_corefile("       fallthrough\n    }\n    kubernetes", "    }\n    kubernetes");
    for method in ["clusterip-short", "clusterip-fqdn", "externalname-fqdn", "headless-fqdn", "loadbalancer-name"] {
        assert_eq!(
            derive(&state, "testpod", method).reason,
            Reason::NameDoesNotExist {
                name: derive(&state, "testpod", method).target.host,
                failure: DnsFailure::ServFail,
            },
        );
    }
    for method in ["clusterip-address", "external-domain", "external-domain-absolute", "pod-ip", "nodeport-worker-1"] {
        assert!(derive(&state, "testpod", method).reachable, "{method}");
    }
}

#[test]
fn a_deleted_external_name_service_is_a_name_that_does_not_exist() {
    let state = edited(|state| {
        state.services.retain(|service| service.kind != ServiceType::ExternalName);
    });
    let expectation = derive(&state, "testpod", "externalname-fqdn");
    assert_eq!(expectation.reason.kind(), "name_does_not_exist");
    assert_eq!(expectation.facts.last(), Some(&Fact::DoesNotResolve([DnsFailure::NxDomain].into())));
}

#[test]
fn a_hosts_entry_for_another_pod_is_served_by_that_pod() {
    let state = with_corefile("10.96.10.1 my", "10.244.1.5 my");
    let expectation = derive(&state, "testpod", "external-domain");
    assert_eq!(expectation.reason.kind(), "hosts_entry");
    assert!(expectation.facts.contains(&Fact::ServedBy(["nginx-single-6d8f9-x2x2x".to_owned()].into())));
}

#[rstest]
#[case::a_cluster_ip_that_is_gone("10.96.99.99")]
#[case::a_node_where_nothing_listens("172.18.0.4")]
#[case::a_pod_where_nothing_listens("10.244.3.5")]
fn a_hosts_entry_for_an_address_without_a_server_leads_elsewhere(#[case] address: &str) {
    let state = with_corefile("10.96.10.1 my", &format!("{address} my"));
    let expectation = derive(&state, "testpod", "externalname-fqdn");
    assert_eq!((expectation.reachable, expectation.reason.kind()), (false, "leads_elsewhere"));
}

#[test]
fn what_lies_outside_the_state_is_not_guessed() {
    let state = with_corefile("10.96.10.1 my", "203.0.113.9 my");
    assert_eq!(try_derive(&state, "testpod", "external-domain").unwrap_err().kind(), ErrorKind::Missing);
    let state = with_corefile("    errors\n", "    errors\n    autopath @kubernetes\n");
    let error = try_derive(&state, "testpod", "clusterip-fqdn").unwrap_err();
    assert!(error.to_string().contains("plugin `autopath`"), "{error}");
    assert!(try_derive(&state, "testpod", "clusterip-address").unwrap().reachable);
}

#[test]
fn a_name_that_others_could_publish_is_not_guessed() {
    let state = edited(|state| {
        let alias = state.services.iter_mut().find(|service| service.kind == ServiceType::ExternalName);
        alias.unwrap().external_name = Some("www.example.com".to_owned());
    });
    let error = try_derive(&state, "testpod", "externalname-fqdn").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("www.example.com. is passed on"), "{error}");
    let without = edited(|state| state.corefile.clear());
    assert_eq!(try_derive(&without, "testpod", "clusterip-fqdn").unwrap_err().kind(), ErrorKind::Missing);
}

#[test]
fn both_families_of_a_dual_stack_service_are_asked_for_and_served() {
    let state = edited(|state| {
        let address = |text: &str| text.parse().unwrap();
        state.places.get_mut("testpod").unwrap().addresses.push(address("fd00:10:244:2::5"));
        let service = state.services.iter_mut().find(|service| service.name == "nginx-clusterip-service").unwrap();
        service.cluster_ips.push(address("fd00:10:96::a"));
        let mut endpoint = state.endpoints.iter().find(|endpoint| endpoint.service == service.name).unwrap().clone();
        endpoint.address = address("fd00:10:244:1::4");
        state.endpoints.push(endpoint);
    });
    let expectation = derive(&state, "testpod", "clusterip-fqdn");
    let connects = ["10.96.10.1:80", "[fd00:10:96::a]:80"].map(|text| text.parse().unwrap());
    assert!(expectation.facts.contains(&Fact::Connects(connects.into())), "{expectation:?}");
    assert!(expectation.facts.contains(&Fact::ServedBy(nginx())));
}

#[test]
fn a_server_that_is_not_the_clusters_and_comes_first_is_not_guessed() {
    let state = edited(|state| {
        let place = state.places.get_mut("worker-1").unwrap();
        place.resolv_conf = "nameserver 172.18.0.1\nnameserver 10.96.0.10\n".to_owned();
    });
    assert_eq!(try_derive(&state, "worker-1", "clusterip-fqdn").unwrap_err().kind(), ErrorKind::Missing);
}

#[test]
fn no_ready_endpoint_is_a_refused_connection_or_a_name_that_is_gone() {
    let state = edited(|state| {
        state
            .endpoints
            .iter_mut()
            .filter(|endpoint| endpoint.service != "kube-dns")
            .for_each(|endpoint| endpoint.ready = false);
    });
    let by_address = derive(&state, "testpod", "clusterip-address");
    assert_eq!(by_address.reason.kind(), "no_ready_endpoint");
    assert_eq!(by_address.facts.last(), Some(&Fact::DoesNotConnect([FailureClass::Refused].into())));
    assert_eq!(derive(&state, "testpod", "headless-fqdn").reason.kind(), "name_does_not_exist");
    assert!(derive(&state, "testpod", "pod-ip").reachable, "nginx-single is no endpoint of any Service");
}

#[test]
fn the_local_policy_keeps_traffic_from_outside_on_the_node() {
    let state = edited(|state| {
        for service in &mut state.services {
            service.external_traffic_policy = TrafficPolicy::Local;
        }
    });
    let own = derive(&state, "laptop", "nodeport-worker-1");
    assert!(own.facts.contains(&Fact::ServedBy(["nginx-multiple-nodes-7c5ddbdf54-4v8db".to_owned()].into())));
    // No nginx runs on the control plane: dropped for others, served for the node itself.
    let other = derive(&state, "laptop", "nodeport-control-plane");
    assert_eq!(other.reason.kind(), "no_local_endpoint");
    assert_eq!(other.facts.last(), Some(&Fact::DoesNotConnect([FailureClass::Timeout].into())));
    assert!(derive(&state, "control-plane", "nodeport-control-plane").facts.contains(&Fact::ServedBy(nginx())));
}

#[test]
fn the_internal_local_policy_keeps_cluster_ip_traffic_on_the_clients_node() {
    let state = edited(|state| {
        for service in &mut state.services {
            service.internal_traffic_policy = TrafficPolicy::Local;
        }
    });
    let here = derive(&state, "testpod", "clusterip-address");
    assert!(here.facts.contains(&Fact::ServedBy(["nginx-multiple-nodes-7c5ddbdf54-cjz2r".to_owned()].into())));
    assert_eq!(derive(&state, "control-plane", "clusterip-address").reason.kind(), "no_local_endpoint");
}

#[test]
fn reasons_read_as_sentences() {
    let state = State::example();
    let why = |vantage, method| derive(&state, vantage, method).why();
    insta::assert_snapshot!(
        why("testpod", "clusterip-short"),
        @"`nginx-clusterip-service` + search domain = nginx-clusterip-service.service-type-test.svc.cluster.local → cluster IP 10.96.10.1, translated on reachmap-worker2 (the client's node) to a ready endpoint."
    );
    insta::assert_snapshot!(
        why("laptop", "loadbalancer-address"),
        @"reachmap-worker3 announces 172.18.255.200 to the network and translates it to a ready endpoint."
    );
    insta::assert_snapshot!(
        why("testpod-other", "clusterip-short"),
        @"The cluster's DNS does not know nginx-clusterip-service itself, and the server outside that it asks does not know it either."
    );
}
