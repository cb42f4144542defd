use std::{collections::BTreeSet, fmt::Write as _};

use reachmap_wire::{Failure, FailureClass, Step};

use super::*;
use crate::testing;

/// The verdict on that cell, in the example in which all is as it should be.
fn verdict(cell: &str) -> Verdict {
    testing::verdicts().into_iter().find(|verdict| verdict.cell() == cell).unwrap()
}

fn told(way: &Way) -> String {
    way.stops.iter().fold(String::new(), |mut text, Stop { place, told, lines }| {
        writeln!(text, "{place:?}: {told:?}: {}", lines.join(" | ")).unwrap();
        text
    })
}

#[test]
fn from_outside_by_the_load_balancer_it_leads_over_the_node_that_announces() {
    let way = Way::of(&verdict("load-balancer-ready/laptop/loadbalancer-address"), Some(&State::example()));
    insta::assert_snapshot!(told(&way));
}

#[test]
fn from_a_pod_by_name_it_begins_with_the_questions() {
    let way = Way::of(&verdict("load-balancer-pending/testpod/clusterip-short"), Some(&State::example()));
    insta::assert_snapshot!(told(&way));
}

#[test]
fn a_name_that_does_not_resolve_ends_it_where_it_began() {
    let way = Way::of(&verdict("load-balancer-pending/laptop/clusterip-fqdn"), Some(&State::example()));
    insta::assert_snapshot!(told(&way));
}

#[test]
fn what_had_to_follow_a_connection_that_failed_is_told_apart() {
    let mut verdict = verdict("load-balancer-ready/worker-2/clusterip-address");
    let seen = verdict.observation.as_mut().unwrap();
    let connect = seen.connect.as_mut().unwrap();
    connect.local = None;
    connect.failure = Some(Failure { class: FailureClass::NetworkUnreachable, message: String::new() });
    seen.respond = None;
    verdict.outcome =
        Judgement::NotAsExpected { step: Step::Connect, expected: String::new(), observed: String::new() };
    let way = Way::of(&verdict, Some(&State::example()));
    insta::assert_snapshot!(told(&way));
}

#[test]
fn a_client_that_was_seen_as_somebody_else_is_told_with_whom_it_had_to_be() {
    let mut verdict = verdict("load-balancer-ready/testpod/pod-ip");
    verdict.observation.as_mut().unwrap().respond.as_mut().unwrap().client_address = Some([10, 9, 8, 7].into());
    verdict.outcome =
        Judgement::NotAsExpected { step: Step::Respond, expected: String::new(), observed: String::new() };
    let way = told(&Way::of(&verdict, Some(&State::example())));
    assert!(way.contains("sees the client as 10.9.8.7") && way.contains("Owed: it had to see "), "{way}");
}

#[test]
fn without_a_recorded_state_no_place_is_made_up() {
    for verdict in testing::verdicts() {
        let way = Way::of(&verdict, None);
        let expectation = serde_json::to_string(&(&verdict.expectation, &verdict.vantage)).unwrap();
        for stop in &way.stops {
            if let Place::Node(node) = &stop.place {
                assert!(expectation.contains(&format!("\"{node}\"")), "{node} in {}", verdict.cell());
            }
        }
    }
}

#[test]
fn every_node_and_address_that_is_drawn_is_in_the_record() {
    let state = State::example();
    let nodes: BTreeSet<&str> = state.nodes.iter().map(|node| node.name.as_str()).collect();
    for verdict in testing::verdicts().into_iter().filter(|verdict| verdict.stage == "load-balancer-ready") {
        let record = serde_json::to_string(&(&verdict, &state)).unwrap();
        let way = Way::of(&verdict, Some(&state));
        assert!(!way.is_empty());
        for stop in &way.stops {
            assert!(!matches!(&stop.place, Place::Node(node) if !nodes.contains(node.as_str())));
            for word in stop.lines.iter().flat_map(|line| line.split([' ', ',', ':'])) {
                if word.parse::<IpAddr>().is_ok() {
                    assert!(record.contains(word), "{word} in {}", verdict.cell());
                }
            }
        }
    }
}

#[test]
fn nothing_is_drawn_of_what_was_not_sent() {
    let mut verdict = verdict("load-balancer-ready/laptop/pod-ip");
    verdict.observation = None;
    assert!(Way::of(&verdict, Some(&State::example())).is_empty());
}

#[test]
fn the_drawing_has_a_box_for_each_place_and_a_sign_for_what_is_not_told_by_a_line_alone() {
    let mut way = Way::of(&verdict("load-balancer-ready/laptop/loadbalancer-address"), Some(&State::example()));
    let long = "nginx-multiple-nodes-with-a-name-that-goes-on-and-on-87xtr-<b>";
    way.stop(&Place::NotTold, Told::Ends, [long.to_owned()]);
    way.stop(&Place::NotTold, Told::Owed, ["one of 3 ready pods had to answer".to_owned()]);
    insta::assert_snapshot!(draw(&way).replace('>', ">\n"));
}
