use super::{
    super::{Asked, compare},
    *,
};
use crate::{
    load::{LoadResult, Part, Results, generator},
    model::{Method, Vantage, balance},
    state::State,
    wire::{Answer, Failure, Fate, Loaded, LoadedRequest, Spread},
};

/// A request over a connection of its own, and how it ended.
fn request(number: u64, answer: Answer) -> LoadedRequest {
    LoadedRequest { number, connection: number, start_us: number * 100, late_us: None, took_us: 700 + number, answer }
}

fn answered(pod: &str, saw: &str) -> Answer {
    Answer {
        status: Some(200),
        served_by: Some(pod.to_owned()),
        client_address: Some(saw.parse().unwrap()),
        failure: None,
        fate: Fate::Answered,
    }
}

fn reset() -> Answer {
    let failure = Some(Failure { class: FailureClass::Reset, message: String::new() });
    Answer { failure, fate: Fate::Sent, ..Answer::default() }
}

fn line(client: IpAddr, id: &str) -> String {
    format!("{client} - - [25/Nov/2026:10:00:00 +0000] \"GET /?id={id} HTTP/1.1\" 200 5 \"-\" \"agent\"")
}

/// A load from the example's laptop to a node port: `answers` are what the client saw, and every answer is logged.
fn ends(answers: Vec<Answer>) -> BothEnds {
    ends_of((true, true), answers)
}

/// The same, where the pods may not say who they are, and where the lines may be those of another client.
fn ends_of((says_who, is_right): (bool, bool), answers: Vec<Answer>) -> BothEnds {
    let state = State::example();
    let laptop = Vantage::find(&state, "laptop").unwrap();
    let balance = balance(&state, &laptop, &Method::find("nodeport-worker-1", 3).unwrap()).unwrap();
    let plan = generator::Plan {
        extent: Extent::Requests(answers.len().max(1) as u64),
        connections: 1,
        keep_alive: false,
        ..generator::Plan::default()
    };
    let load = plan.load("172.18.0.3:30080".parse().unwrap(), "172.18.0.3", "run-one").unwrap();
    let mut requests: Vec<LoadedRequest> =
        (0_u64..).zip(answers).map(|(number, answer)| request(number, answer)).collect();
    let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in &requests {
        if let Some(pod) = &request.answer.served_by {
            let seen = request.answer.client_address.filter(|_| is_right).unwrap_or_else(|| [192, 0, 2, 1].into());
            logs.entry(pod.clone()).or_default().push(line(seen, &format!("run-one-{}", request.number)));
        }
    }
    if !says_who {
        for request in &mut requests {
            (request.answer.served_by, request.answer.client_address) = (None, None);
        }
    }
    let logs: Vec<(String, String)> = logs.into_iter().map(|(pod, lines)| (pod, lines.join("\n"))).collect();
    let loaded = Loaded {
        started_at_unix_us: 0,
        elapsed_us: 1_000_000,
        requests: requests.len() as u64,
        connections: requests.len() as u64,
        parts: 1,
        body_bytes: 0,
        write: Spread::default(),
        wait: Spread::default(),
        read: Spread::default(),
        held_us: 0,
        cancelled: false,
    };
    let result = LoadResult::new("laptop", load, vec![Part { requests, connections: Vec::new() }], loaded).unwrap();
    let asked = Asked { vantage: "laptop".to_owned(), method: "nodeport-worker-1".to_owned(), name: "one".to_owned() };
    compare(asked, balance, Results::merge(vec![result]), (says_who, &logs), "run-one")
}

/// The pods that may answer, each with an address that it may see.
fn allowed(ends: &BothEnds) -> Vec<(String, String)> {
    let of = |pod: &&str| {
        let address = ends.balance.seen_by(pod).unwrap().addresses().unwrap().first().unwrap().to_string();
        ((*pod).to_owned(), address)
    };
    ends.balance.support().iter().map(of).collect()
}

/// Answers of all pods in an order that hides no pattern, as a random choice would have them.
fn spread(count: u64) -> Vec<Answer> {
    let pods = allowed(&ends(Vec::new()));
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % pods.len()
    };
    (0..count).map(|_| next()).map(|index| answered(&pods[index].0, &pods[index].1)).collect()
}

#[test]
fn a_load_of_a_steady_cluster_is_as_expected_and_tells_each_pods_part() {
    let ends = ends(spread(90));
    let record = record(&ends);
    assert_eq!(record.judge(), LoadOutcome::AsExpected);
    assert_eq!((record.requests, record.answered, record.connections), (90, 90, 90));
    assert_eq!(record.pods.len(), 3);
    assert_eq!(record.pods.iter().map(|pod| pod.connections).sum::<u64>(), 90);
    for pod in &record.pods {
        assert!(pod.may_answer && pod.share.is_some_and(|share| (share - 1.0 / 3.0).abs() < 1e-9), "{pod:?}");
        assert_eq!(pod.seen.values().sum::<u64>(), pod.requests);
        let may_see = pod.may_see.as_ref().unwrap();
        assert!(pod.seen.keys().all(|seen| may_see.iter().any(|source| source.address == *seen)), "{pod:?}");
        assert!(pod.low < 1.0 / 3.0 && pod.high > 1.0 / 3.0, "{pod:?}");
    }
    assert_eq!((record.conservation.matched, record.requests_per_second), (90, 90.0));
    assert_eq!(record.latency.count, 90);
}

#[test]
fn failures_and_strangers_are_findings() {
    let mut answers = spread(10);
    answers.extend([reset(), reset(), answered("stranger", "10.244.1.1")]);
    let record = record(&ends(answers));
    let LoadOutcome::NotAsExpected { findings } = record.judge() else { panic!("{record:?}") };
    assert_eq!(
        findings,
        [
            "2 of 13 requests failed: 2 reset.",
            "stranger answered, and may not: 1 times.",
            "stranger logged 10.244.1.1, and may not answer: 1 times."
        ]
    );
    let stranger = record.pods.last().unwrap();
    assert_eq!((stranger.pod.as_str(), stranger.may_answer, stranger.connections), ("stranger", false, 1));
}

#[test]
fn a_failure_on_a_pods_connection_is_counted_with_the_pod() {
    let mut ends = ends(spread(3));
    let requests = &mut ends.results.loads[0].requests;
    let pod = requests[2].answer.served_by.clone().unwrap();
    requests.push(LoadedRequest { connection: 2, ..request(3, reset()) });
    let record = record(&ends);
    let of_pod = record.pods.iter().find(|one| one.pod == pod).unwrap();
    assert_eq!(of_pod.errors, [ErrorCount { class: FailureClass::Reset, requests: 1 }]);
}

#[test]
fn what_a_pod_refuses_that_is_there_to_refuse_is_its_share_and_no_finding() {
    let refused = |class| Answer { failure: Some(Failure { class, message: String::new() }), ..Answer::default() };
    let mut answers = spread(60);
    let (pod, _) = allowed(&ends(Vec::new())).pop().unwrap();
    // Every connection to that pod is refused instead.
    for answer in answers.iter_mut().filter(|answer| answer.served_by.as_ref() == Some(&pod)) {
        *answer = refused(FailureClass::Refused);
    }
    let share = answers.iter().filter(|answer| answer.failure.is_some()).count() as u64;
    let mut ends = ends(answers);
    assert!(record(&ends).judge() != LoadOutcome::AsExpected, "unless it is known, a refused connection is a finding");
    ends.refusing = Some(pod.clone());
    let known = record(&ends);
    assert_eq!(known.judge(), LoadOutcome::AsExpected, "{known:?}");
    let of_pod = known.pods.iter().find(|one| one.pod == pod).unwrap();
    assert_eq!((of_pod.connections, of_pod.requests), (share, 0));
    assert_eq!(of_pod.errors, [ErrorCount { class: FailureClass::Refused, requests: share }]);
    assert_eq!(known.connections, 60);
    // Any other failure still is one.
    ends.results.loads[0].requests[0].answer = refused(FailureClass::Reset);
    assert!(record(&ends).judge() != LoadOutcome::AsExpected);
}

#[test]
fn a_log_with_another_client_is_a_finding_whatever_the_answers_say() {
    let record = record(&ends_of((true, false), spread(9)));
    let LoadOutcome::NotAsExpected { findings } = record.judge() else { panic!("{record:?}") };
    assert_eq!(findings.len(), record.pods.iter().filter(|pod| pod.requests > 0).count(), "{findings:?}");
    assert!(findings.iter().all(|finding| finding.contains(" logged 192.0.2.1, and may see ")), "{findings:?}");
    let other = [192, 0, 2, 1].into();
    assert_eq!(record.pods.iter().filter_map(|pod| pod.logged.get(&other)).sum::<u64>(), 9);
}

#[test]
fn an_answer_that_does_not_say_what_the_pod_saw_is_a_finding() {
    let mut answers = spread(9);
    answers[4].client_address = None;
    // What is logged is right all the same.
    let mut ends = ends(spread(9));
    ends.not_allowed = super::super::answers_not_allowed(&ends.balance, &self::ends(answers).results);
    let LoadOutcome::NotAsExpected { findings } = record(&ends).judge() else { panic!() };
    assert!(findings.len() == 1 && findings[0].contains(" did not say what it saw, and may see "), "{findings:?}");
}

#[test]
fn of_pods_that_do_not_say_who_they_are_the_logs_tell() {
    let record = record(&ends_of((false, true), spread(90)));
    assert_eq!(record.judge(), LoadOutcome::AsExpected, "{record:?}");
    assert!(record.by_logs);
    assert_eq!((record.pods.len(), record.connections), (3, 90));
    for pod in &record.pods {
        assert!(pod.may_answer && pod.requests > 0 && pod.requests == pod.connections, "{pod:?}");
        assert_eq!(pod.seen, pod.logged);
    }
    let text = crate::report::explain_load(&record);
    assert!(text.contains("no answer says whose it is; by the logs:"), "{text}");
}

#[test]
fn loads_that_started_together_are_one_as_well() {
    let (one, mut other) = (ends(spread(30)), ends(spread(60)));
    other.asked.vantage = "worker-1".to_owned();
    let both = BothEnds::together("both", [one, other]).unwrap();
    assert_eq!(both.asked.vantage, "laptop, worker-1");
    let record = record(&both);
    assert_eq!(record.judge(), LoadOutcome::AsExpected, "{record:?}");
    assert_eq!((record.name.as_str(), record.requests, record.conservation.matched), ("both", 90, 90));
    // Both number their connections from 0 on.
    assert_eq!((record.connections, both.sample().moved().len()), (90, 0));
    assert_eq!(record.logged_from.values().sum::<u64>(), 90);
    assert!(BothEnds::together("none", []).is_none());
}

#[test]
fn turns_are_only_tested_of_one_connection_after_the_other() {
    let mut ends = ends(spread(3));
    ends.balance.law = model::Law::RoundRobin;
    ends.results.loads[0].load.connections = 2;
    let mut tested = record(&ends);
    test_spread(&mut tested, &ends, &Plan::default());
    let LoadOutcome::NotAsExpected { findings } = &tested.outcome else { panic!("{:?}", tested.outcome) };
    assert!(findings[0].contains("2 connections are made at once"), "{findings:?}");
}

#[test]
fn each_pods_own_latencies_are_told() {
    let record = record(&ends(spread(90)));
    for pod in &record.pods {
        assert!((700..790).contains(&pod.p50_us) && pod.p50_us <= pod.p99_us && pod.p99_us < 790, "{pod:?}");
    }
}

#[test]
fn a_test_of_the_spread_brings_its_numbers_and_its_bands() {
    let plan = Plan { effect: 0.3, ..Plan::default() };
    let ends = ends(spread(200));
    let mut tested = record(&ends);
    let before = tested.band_alpha;
    test_spread(&mut tested, &ends, &plan);
    assert!(tested.is_as_expected(), "{:?}", tested.outcome);
    assert_eq!(tested.judgements.len(), 2);
    assert!(tested.band_alpha < before, "bands hold at the family's alpha");
    let (count, pod) = (&tested.judgements[0].endpoints[0], &tested.pods[0]);
    assert_eq!((count.connections, count.low, count.high), (pod.connections, pod.low, pod.high));
}

#[test]
fn a_spread_that_had_to_be_tested_and_cannot_be_is_no_success() {
    let ends = ends(spread(10));
    let mut tested = record(&ends);
    test_spread(&mut tested, &ends, &Plan::default());
    let LoadOutcome::NotAsExpected { findings } = &tested.outcome else { panic!("{:?}", tested.outcome) };
    assert!(findings[0].contains("there are 10 connections, and the test needs"), "{findings:?}");
}

#[test]
fn a_records_file_is_one_name_whatever_the_load_is_called() {
    let mut record = record(&ends(spread(3)));
    (record.suite, record.stage) = ("distribution".to_owned(), "load-balancer-ready".to_owned());
    record.name = "laptop/../x y".to_owned();
    assert_eq!(file(&record), "loads/load-balancer-ready/distribution.laptop-..-x-y");
}
