//! The right answer for the wrong reason is a failure.

use proptest::prelude::*;
use reachmap_wire::{
    Connect, DnsFailure, Failure, FailureClass, Observation, Question, QuestionKind, Record, RecordData, Resolve,
    Respond, Route, RouteOutcome, Step,
};
use rstest::rstest;

use super::{Judgement, judge};
use crate::{
    model::{Expectation, Method, Vantage, expect},
    state::State,
    testing::observation_of,
};

fn expectation(vantage: &str, method: &str) -> Expectation {
    let state = State::example();
    expect(&state, &Vantage::find(&state, vantage).unwrap(), &Method::find(method, 3).unwrap()).unwrap()
}

/// Judges what a perfect probe saw after `change`; the step and the two sides where they part.
fn parting(vantage: &str, method: &str, change: impl FnOnce(&mut Observation)) -> (Step, String, String) {
    let expectation = expectation(vantage, method);
    let mut observation = observation_of(&expectation);
    assert_eq!(judge(&expectation, &observation), Judgement::AsExpected);
    change(&mut observation);
    match judge(&expectation, &observation) {
        Judgement::NotAsExpected { step, expected, observed } => (step, expected, observed),
        other => panic!("{other:?} from {observation:?}"),
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure { class, message: "os words".to_owned() }
}

#[test]
fn an_answer_from_a_pod_of_another_service_is_a_failure() {
    let (step, expected, observed) = parting("testpod", "clusterip-fqdn", |observation| {
        observation.respond.as_mut().unwrap().served_by = Some("nginx-single-6d8f9-x2x2x".to_owned());
    });
    assert_eq!(step, Step::Respond);
    assert_eq!(
        expected,
        "status 200 from one of nginx-multiple-nodes-7c5ddbdf54-4v8db, nginx-multiple-nodes-7c5ddbdf54-cjz2r, nginx-multiple-nodes-7c5ddbdf54-zlwqv"
    );
    assert_eq!(observed, "status 200 from nginx-single-6d8f9-x2x2x");
}

#[test]
fn an_answer_without_a_name_is_a_failure() {
    let (step, _, observed) = parting("testpod", "clusterip-fqdn", |observation| {
        observation.respond.as_mut().unwrap().served_by = None;
    });
    assert_eq!((step, observed.as_str()), (Step::Respond, "status 200 from a server that does not name itself: \"\""));
}

#[test]
fn another_status_is_a_failure() {
    let (step, ..) = parting("testpod", "pod-ip", |observation| {
        observation.respond.as_mut().unwrap().status = Some(503);
    });
    assert_eq!(step, Step::Respond);
}

#[test]
fn nxdomain_where_nobody_answers_is_the_wrong_reason() {
    let (step, expected, observed) = parting("laptop", "clusterip-address", |observation| {
        observation.connect = None;
        observation.route = None;
        observation.resolve = Some(Resolve {
            name: "10.96.10.1".to_owned(),
            questions: vec![Question {
                name: "10.96.10.1.".to_owned(),
                kind: QuestionKind::A,
                server: "10.96.0.10:53".parse().unwrap(),
                rcode: Some("NXDOMAIN".to_owned()),
                answers: Vec::new(),
                failure: Some(DnsFailure::NxDomain),
                elapsed_us: 1,
            }],
            addresses: Vec::new(),
            answered: None,
            failure: Some(DnsFailure::NxDomain),
            elapsed_us: 1,
        });
    });
    assert_eq!((step, expected.as_str()), (Step::Resolve, "no question, since the request names an address"));
    assert_eq!(observed, "no such name (NXDOMAIN) after 10.96.10.1.");
}

#[test]
fn servfail_where_the_name_should_be_found_parts_at_resolve() {
    let (step, expected, observed) = parting("testpod", "externalname-fqdn", |observation| {
        let resolve = observation.resolve.as_mut().unwrap();
        resolve.failure = Some(DnsFailure::ServFail);
        resolve.addresses.clear();
        resolve.answered = None;
        observation.connect = None;
        observation.respond = None;
    });
    assert_eq!(step, Step::Resolve);
    assert_eq!(
        expected,
        "nginx-external-service.service-type-test.svc.cluster.local. → my-nginx.external.local. = 10.96.10.1"
    );
    assert!(observed.starts_with("the server cannot answer (SERVFAIL) after nginx-external-service."), "{observed}");
}

#[test]
fn another_order_of_questions_is_a_failure() {
    let (step, expected, _) = parting("testpod", "clusterip-namespace", |observation| {
        observation.resolve.as_mut().unwrap().questions.remove(0);
    });
    assert_eq!(step, Step::Resolve);
    assert!(
        expected.starts_with("questions for nginx-clusterip-service.service-type-test.service-type-test"),
        "{expected}"
    );
}

#[test]
fn an_address_without_its_alias_is_a_failure() {
    let (step, ..) = parting("testpod", "externalname-fqdn", |observation| {
        for question in &mut observation.resolve.as_mut().unwrap().questions {
            question.answers.retain(|record| !matches!(record.data, RecordData::Cname(_)));
        }
    });
    assert_eq!(step, Step::Resolve);
}

#[test]
fn a_failed_connection_of_another_class_is_the_wrong_reason() {
    let state = crate::testing::without_endpoints(State::example());
    let expectation =
        expect(&state, &Vantage::find(&state, "testpod").unwrap(), &Method::find("clusterip-address", 3).unwrap())
            .unwrap();
    let mut observation = observation_of(&expectation);
    assert_eq!(judge(&expectation, &observation), Judgement::AsExpected);
    observation.connect.as_mut().unwrap().failure = Some(failure(FailureClass::Timeout));
    let Judgement::NotAsExpected { step, expected, observed } = judge(&expectation, &observation) else { panic!() };
    assert_eq!((step, expected.as_str()), (Step::Connect, "no connection: connection refused"));
    assert_eq!(observed, "no answer in time at 10.96.10.1:80 (os words)");
}

#[test]
fn an_answer_that_was_not_expected_is_a_failure_at_connect() {
    let (step, expected, observed) = parting("laptop", "pod-ip", |observation| {
        *observation = observation_of(&expectation("testpod", "pod-ip"));
    });
    assert_eq!(step, Step::Connect);
    assert!(expected.starts_with("no connection: "), "{expected}");
    assert_eq!(observed, "status 200 from nginx-single-6d8f9-x2x2x");
}

#[test]
fn no_route_parts_at_the_route() {
    let (step, _, observed) = parting("testpod", "clusterip-address", |observation| {
        observation.route = Some(Route {
            destination: "10.96.10.1".parse().unwrap(),
            outcome: RouteOutcome::Failed(failure(FailureClass::NetworkUnreachable)),
        });
        observation.connect = None;
        observation.respond = None;
    });
    assert_eq!((step, observed.as_str()), (Step::Route, "network unreachable for 10.96.10.1 (os words)"));
}

#[rstest]
#[case::source_address("testpod", "pod-ip")]
fn a_masqueraded_pod_is_the_wrong_source(#[case] vantage: &str, #[case] method: &str) {
    let (step, expected, observed) = parting(vantage, method, |observation| {
        observation.respond.as_mut().unwrap().client_address = Some("10.244.2.1".parse().unwrap());
    });
    assert_eq!(
        (step, expected.as_str(), observed.as_str()),
        (
            Step::Respond,
            "source address 10.244.2.5 (the client pod's own address) at nginx-single-6d8f9-x2x2x",
            "source address 10.244.2.1 at nginx-single-6d8f9-x2x2x"
        )
    );
}

#[test]
fn which_source_is_right_depends_on_the_pod_that_answers() {
    let expectation = expectation("laptop", "nodeport-worker-1");
    let judged = |end: &str, source: Option<&str>| {
        let mut observation = observation_of(&expectation);
        let respond = observation.respond.as_mut().unwrap();
        respond.served_by = Some(format!("nginx-multiple-nodes-7c5ddbdf54-{end}"));
        respond.client_address = source.map(|source| source.parse().unwrap());
        judge(&expectation, &observation) == Judgement::AsExpected
    };
    // The first is on worker-1, whose bridge it sees; the second comes by its tunnel.
    assert!(judged("4v8db", Some("10.244.1.1")) && judged("cjz2r", Some("10.244.1.0")));
    assert!(!judged("4v8db", Some("10.244.1.0")) && !judged("cjz2r", Some("10.244.1.1")));
    assert!(!judged("4v8db", None), "a pod that does not report it bears nothing out");
}

/// Observations of every shape, mostly nonsense.
fn observations() -> impl Strategy<Value = Observation> {
    let address = prop_oneof![Just("10.96.10.1"), Just("172.18.0.3"), Just("fd00::1")];
    let dns = proptest::option::of(prop_oneof![
        Just(DnsFailure::NxDomain),
        Just(DnsFailure::ServFail),
        Just(DnsFailure::Timeout)
    ]);
    let class = proptest::option::of(prop_oneof![
        Just(FailureClass::Refused),
        Just(FailureClass::Timeout),
        Just(FailureClass::Other)
    ]);
    let name = prop_oneof![Just("a.b."), Just("nginx-clusterip-service.service-type-test.svc.cluster.local.")];
    (address, dns, class, name, any::<[bool; 4]>(), 190_u16..600).prop_map(
        |(address, dns, class, name, [resolve, route, connect, respond], status)| {
            let address: std::net::IpAddr = address.parse().unwrap();
            Observation {
                resolve: resolve.then(|| Resolve {
                    name: name.to_owned(),
                    questions: vec![Question {
                        name: name.to_owned(),
                        kind: QuestionKind::A,
                        server: "10.96.0.10:53".parse().unwrap(),
                        rcode: None,
                        answers: vec![Record {
                            name: name.to_owned(),
                            ttl: 5,
                            data: RecordData::Cname(name.to_owned()),
                        }],
                        failure: dns,
                        elapsed_us: 0,
                    }],
                    addresses: if dns.is_none() { vec![address] } else { Vec::new() },
                    answered: dns.is_none().then(|| name.to_owned()),
                    failure: dns,
                    elapsed_us: 0,
                }),
                route: route.then_some(Route { destination: address, outcome: RouteOutcome::Source(address) }),
                connect: connect.then(|| Connect {
                    destination: (address, 80).into(),
                    local: None,
                    failure: class.map(failure),
                    elapsed_us: 0,
                }),
                respond: respond.then(|| Respond {
                    status: Some(status),
                    served_by: Some("nginx".to_owned()),
                    client_address: None,
                    body_start: String::new(),
                    body_length: 0,
                    failure: class.map(failure),
                    elapsed_us: 0,
                }),
                elapsed_us: 0,
            }
        },
    )
}

proptest! {
    #[test]
    fn any_observation_is_judged_and_nonsense_never_passes_a_reachable_cell(observation in observations()) {
        let state = State::example();
        for vantage in Vantage::all(&state) {
            for method in Method::all(3) {
                let Ok(expectation) = expect(&state, &vantage, &method) else { continue };
                let judgement = judge(&expectation, &observation);
                prop_assert!(!expectation.reachable || judgement != Judgement::AsExpected);
            }
        }
    }
}
