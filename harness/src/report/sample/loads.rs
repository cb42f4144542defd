//! Loads for the sample run: one as expected, one skewed, and what happened during a third.

use std::net::IpAddr;

use hdrhistogram::Histogram;
use reachmap_wire::{Extent, FailureClass};

use super::HOSTILE;
use crate::{
    load::statistics::{self, Plan, Sample, share_interval},
    model::{Interface, Law, Source, SourceReason},
    report::{
        Conserved, ErrorCount, ExpectedSpread, Latency, LoadOutcome, LoadRecord, PodLoad,
        plot::{Course, Interval, Mark},
    },
};

const PODS: [&str; 3] = ["nginx-a", "nginx-b", "nginx-c"];

pub(in crate::report) fn all() -> Vec<LoadRecord> {
    vec![as_expected(), skewed()]
}

/// A long tail, as every network has one.
fn latency(count: u64) -> Latency {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
    for number in 0..count {
        let tail = if number % 50 == 0 { number * 9 } else { 0 };
        histogram.saturating_record(420 + number * number % 1_009 + tail);
    }
    Latency::of(&histogram)
}

fn pod(pod: &str, node: &str, connections: u64, all: u64, band_alpha: f64) -> PodLoad {
    let (low, high) = share_interval(connections, all, band_alpha);
    let address: IpAddr = [10, 244, 1, 1].into();
    let reason = SourceReason::MasqueradedByProxy { node: "demo-worker".to_owned(), interface: Interface::Bridge };
    PodLoad {
        pod: pod.to_owned(),
        node: Some(node.to_owned()),
        may_answer: true,
        share: Some(1.0 / 3.0),
        connections,
        requests: connections,
        errors: Vec::new(),
        p50_us: 550,
        p99_us: 1_400,
        low,
        high,
        seen: [(address, connections)].into(),
        logged: [(address, connections)].into(),
        may_see: Some([Source { address, reason }].into()),
    }
}

/// A load over which `counts` connections went to each pod, tested as a run of five rows would.
fn load(name: &str, counts: [u64; 3]) -> LoadRecord {
    let all: u64 = counts.iter().sum();
    let law = statistics::Law::even(PODS).unwrap();
    let plan = Plan { tests: 10, ..Plan::default() };
    // A fixed order that looks like chance: a full cycle of a generator modulo a prime.
    let mut order: Vec<&str> = PODS.iter().zip(counts).flat_map(|(pod, count)| (0..count).map(move |_| *pod)).collect();
    let mut random = 7_u64;
    for place in (1..order.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(place, usize::try_from(random >> 33).unwrap() % (place + 1));
    }
    let sample = Sample::of_requests((0_u64..).zip(order));
    let judgements = plan.judge("laptop/loadbalancer-address", &law, &sample).unwrap();
    let band_alpha = plan.level() / 3.0;
    let nodes = ["demo-worker", "demo-worker2", "demo-worker3"];
    let pods = PODS.iter().zip(nodes).zip(counts).map(|((name, node), count)| pod(name, node, count, all, band_alpha));
    let mut load = LoadRecord {
        suite: "distribution".to_owned(),
        stage: "load-balancer-ready".to_owned(),
        name: name.to_owned(),
        test: Some("load_balancer_ready::connections_spread".to_owned()),
        vantage: "laptop".to_owned(),
        method: "loadbalancer-address".to_owned(),
        target: "172.18.255.200:80".to_owned(),
        extent: Extent::Requests(all),
        connections_at_once: 50,
        keep_alive: false,
        rate_per_second: None,
        kept: None,
        held_us: 0,
        elapsed_us: 1_650_000,
        requests: all,
        answered: all,
        connections: all,
        requests_per_second: 2_400.0,
        statuses: [(200, all)].into(),
        errors: Vec::new(),
        refusing: None,
        by_logs: false,
        latency: latency(all),
        expected: ExpectedSpread {
            law: Law::Random,
            why: "3 may answer, every ready endpoint of the cluster: each connection is as likely to go to one as to any \
                  other."
                .to_owned(),
            reason: "load_balancer_announced".to_owned(),
            arrives: "worker-2 announces 172.18.255.200 to the network and translates it to a ready endpoint.".to_owned(),
        },
        pods: pods.collect(),
        band_alpha,
        conservation: Conserved { matched: all, ..Conserved::default() },
        logged_from: [([10, 244, 1, 1].into(), all)].into(),
        not_allowed: [].into(),
        judgements,
        outcome: LoadOutcome::AsExpected,
    };
    load.outcome = load.judge();
    load
}

pub(in crate::report) fn as_expected() -> LoadRecord {
    load("spread", [1_391, 1_422, 1_387])
}

pub(in crate::report) fn skewed() -> LoadRecord {
    let mut load = load("skewed", [1_811, 1_212, 1_177]);
    load.requests += 26;
    load.extent = Extent::Requests(load.requests);
    load.conservation.failed_and_unlogged = 26;
    load.errors = vec![ErrorCount { class: FailureClass::Reset, requests: 26 }];
    load.not_allowed.insert(format!("{HOSTILE} answered, and may not"), 1);
    load.outcome = load.judge();
    load
}

/// A Service that is scaled up and loses a node.
pub(in crate::report) fn course() -> Course {
    let interval = |number: u64| Interval {
        answered: if (40..48).contains(&number) { 12 } else { 210 + number * 7 % 40 },
        failed: if (40..48).contains(&number) { 30 - number % 5 } else { 0 },
    };
    let mark = |at_us, label: &str| Mark { at_us, label: label.to_owned() };
    Course {
        interval_us: 250_000,
        intervals: (0..80).map(interval).collect(),
        marks: vec![
            mark(10_000_000, "the speaker on demo-worker2 killed"),
            mark(3_000_000, "scaled from 3 to 5"),
            mark(11_950_000, "172.18.255.200 announced by demo-worker3"),
        ],
    }
}
