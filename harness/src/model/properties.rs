//! What holds for every state, vantage and method.

use proptest::prelude::*;
use reachmap_wire::RouteEntry;

use super::{
    Fact, Method, Vantage,
    dns::{Corefile, Question, QuestionKind},
    tests::{route, try_derive},
};
use crate::state::{Endpoint, State, TrafficPolicy};

/// Every pair of the example's vantages and methods.
fn pairs(state: &State) -> Vec<(String, String)> {
    let methods = Method::all(3);
    Vantage::all(state)
        .iter()
        .flat_map(|vantage| methods.iter().map(|method| (vantage.id.clone(), method.id.clone())))
        .collect()
}

fn failing(fact: &Fact) -> bool {
    matches!(fact, Fact::DoesNotResolve(_) | Fact::DoesNotConnect(_))
}

/// States that differ from the example in what users change: readiness, policies, addresses, Corefile, routes.
fn states() -> impl Strategy<Value = State> {
    let base = prop_oneof![Just(State::example()), Just(State::example_pending())];
    let readiness = proptest::collection::vec(any::<bool>(), 14);
    let corefile = prop_oneof![
        3 => Just(None),
        1 => Just(Some(("       fallthrough\n    }\n    kubernetes", "    }\n    kubernetes"))),
        1 => Just(Some(("10.96.10.1 my", "10.244.1.5 my"))),
        1 => Just(Some(("10.96.10.1 my", "203.0.113.1 my"))),
        1 => Just(Some(("    kubernetes cluster.local", "    kubernetes other.local"))),
        1 => Just(Some(("    forward .", "    template ."))),
        1 => Just(Some((".:53 {", ".:53 {{"))),
    ];
    let route =
        proptest::option::of((0_u8..8, prop_oneof![Just("10.96.0.0/12"), Just("10.244.0.0/16"), Just("0.0.0.0/1")]));
    let gone = proptest::collection::btree_set(0_usize..6, 0..3);
    (base, readiness, corefile, route, gone, any::<[bool; 3]>()).prop_map(
        |(mut state, ready, corefile, extra, gone, [internal, external, v6])| {
            for (endpoint, ready) in state.endpoints.iter_mut().zip(ready) {
                endpoint.ready = ready;
            }
            if let Some((from, to)) = corefile {
                state.corefile = state.corefile.replace(from, to);
            }
            if let Some((last, destination)) = extra {
                state.places.get_mut("laptop").unwrap().routes.push(route_to(destination, last));
            }
            for service in &mut state.services {
                if internal {
                    service.internal_traffic_policy = TrafficPolicy::Local;
                }
                if external {
                    service.external_traffic_policy = TrafficPolicy::Local;
                }
            }
            if v6 {
                state.places.get_mut("testpod").unwrap().addresses.push("fd00::5".parse().unwrap());
            }
            let mut index = 0;
            state.services.retain(|_| {
                index += 1;
                !gone.contains(&(index - 1))
            });
            state
        },
    )
}

fn route_to(destination: &str, last: u8) -> RouteEntry {
    route(destination, &format!("172.18.0.{last}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn expectations_bear_themselves_out(state in states()) {
        for (vantage, method) in pairs(&state) {
            let Ok(expectation) = try_derive(&state, &vantage, &method) else { continue };
            let facts = &expectation.facts;
            prop_assert_eq!(facts.iter().any(failing), !expectation.reachable, "{}/{}: {:?}", vantage, method, expectation);
            let served = facts.iter().any(|fact| matches!(fact, Fact::ServedBy(pods) if !pods.is_empty()));
            prop_assert_eq!(served, expectation.reachable, "{}/{}: {:?}", vantage, method, expectation);
            prop_assert!(expectation.why().ends_with('.'));
        }
    }

    #[test]
    fn an_endpoint_that_is_not_ready_changes_nothing(state in states(), which in any::<prop::sample::Index>()) {
        let mut more = state.clone();
        let model = which.get(&state.endpoints).clone();
        more.endpoints.push(Endpoint { address: "10.244.0.99".parse().unwrap(), pod: Some("new".to_owned()), ready: false, ..model });
        for (vantage, method) in pairs(&state) {
            match (try_derive(&state, &vantage, &method), try_derive(&more, &vantage, &method)) {
                (Ok(before), Ok(after)) => prop_assert_eq!(before, after),
                (Err(before), Err(after)) => prop_assert_eq!(before.to_string(), after.to_string()),
                (before, after) => prop_assert!(false, "{:?} became {:?}", before, after),
            }
        }
    }

    #[test]
    fn without_endpoints_no_service_is_in_reach(state in states()) {
        let mut none = state;
        none.endpoints.retain(|endpoint| endpoint.service == "kube-dns");
        for (vantage, method) in pairs(&none) {
            let Ok(before) = try_derive(&none, &vantage, &method) else { continue };
            let pod_itself = before.facts.iter().any(|fact| matches!(fact, Fact::ServedBy(pods) if pods.len() == 1));
            prop_assert!(!before.reachable || pod_itself, "{}/{}: {:?}", vantage, method, before);
            prop_assert!(!before.reachable || method.starts_with("pod-ip") || method.starts_with("ext"), "{}/{}", vantage, method);
        }
    }

    #[test]
    fn the_answer_never_depends_on_the_order_of_plugins(shuffle in Just((0..4_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let state = State::example();
        let plugins = [
            "    hosts {\n       10.0.0.1 a.test\n       fallthrough\n    }\n",
            "    kubernetes cluster.local\n",
            "    forward . 10.0.0.53\n",
            "    cache 30\n",
        ];
        let body: String = shuffle.iter().map(|index| plugins[*index]).collect();
        let corefile: Corefile = format!(".:53 {{\n{body}}}\n").parse().unwrap();
        let name = "nginx-clusterip-service.service-type-test.svc.cluster.local";
        let reference: Corefile = format!(".:53 {{\n{}}}\n", plugins.concat()).parse().unwrap();
        for name in [name, "a.test", "b.test"] {
            let question = Question::new(name, QuestionKind::A);
            prop_assert_eq!(corefile.answer(&question, &state), reference.answer(&question, &state));
        }
    }
}
