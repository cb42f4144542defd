//! A run of all suites: beside its cells as many lookups, loads, changes and other tests as a run on a real cluster has.

use std::collections::BTreeMap;

use reachmap_wire::{QuestionKind, RecordData, RecordedQuestion, Transport};

use super::{Run, change, loads, of_cells};
use crate::report::{ChangeRecord, Cost, LoadRecord, LookupGroup, OtherTest, Timeline};

const COREFILES: [&str; 4] = ["corefile-alias", "corefile-fallthrough", "corefile-name", "corefile-original"];
const RESOLVERS: [&str; 7] = ["dig", "dig-search", "glibc", "go", "hickory", "musl", "nslookup"];

/// A run with so many cells and all else that a run of all suites has: 8,064 lookups, 37 loads, 11 changes, 291 tests.
pub(in crate::report) fn of_all_suites(cells: usize) -> Run {
    let mut run = of_cells(cells);
    run.lookups = groups();
    run.loads = (0..37).map(load).collect();
    run.changes = (0..11).map(changed).collect();
    run.other_tests = (0..291).map(test).collect();
    run
}

fn groups() -> Vec<LookupGroup> {
    let mut groups = Vec::new();
    for corefile in COREFILES {
        for dots in [1, 2, 5] {
            for domains in ["cluster", "own", "six"] {
                groups.extend(RESOLVERS.map(|resolver| group(corefile, dots, domains, resolver)));
            }
        }
    }
    groups
}

fn group(corefile: &str, dots: u32, domains: &str, resolver: &str) -> LookupGroup {
    let costs = (0..32).map(|number| Cost { name: name(number), questions: 2 + number % 7 });
    let is_shown = domains == "cluster" && dots != 2;
    LookupGroup {
        lookups: 32,
        as_predicted: 32,
        outcomes: BTreeMap::from([("found".to_owned(), 20), ("no-data".to_owned(), 2), ("not-found".to_owned(), 10)]),
        costs: if domains == "cluster" { costs.collect() } else { Vec::new() },
        timelines: if is_shown { vec![timeline()] } else { Vec::new() },
        ..LookupGroup::of(corefile, format!("ndots{dots}-{domains}"), resolver)
    }
}

/// Names of all lengths that names in a cluster have.
fn name(number: usize) -> String {
    let domains = ["", ".service-type-test", ".service-type-test.svc", ".service-type-test.svc.cluster.local"];
    let dot = if number.is_multiple_of(2) { "" } else { "." };
    format!("nginx-service-number-{number}{}{dot}", domains[number / 2 % 4])
}

fn timeline() -> Timeline {
    let question = |number: u64| RecordedQuestion {
        at_us: number * 1_300,
        id: 7,
        transport: Transport::Udp,
        name: "nginx-clusterip-service.service-type-test.svc.cluster.local.".to_owned(),
        kind: QuestionKind::A,
        rcode: Some("NXDOMAIN".to_owned()),
        truncated: false,
        answers: Vec::new(),
        soa: true,
        elapsed_us: Some(1_234),
    };
    Timeline {
        name: "nginx-clusterip-service.service-type-test".to_owned(),
        questions: (0..6).map(question).collect(),
        seen: RecordData::Address([10, 96, 5, 5].into()).to_string(),
        elapsed_us: 9_000,
    }
}

fn load(number: usize) -> LoadRecord {
    let mut load = loads::as_expected();
    load.name = format!("several-cluster-ip-by-name-{number}");
    for (place, pod) in load.pods.iter_mut().enumerate() {
        pod.pod = format!("nginx-multiple-nodes-79dfcd6b8-{place}xhvj");
        pod.node = Some(format!("reachmap-693d3adb-worker{place}"));
    }
    load
}

fn changed(number: usize) -> ChangeRecord {
    let mut change = change();
    change.name = format!("scaled-down-{number}");
    change.course = loads::course();
    change.course.intervals.truncate(50);
    change
}

fn test(number: usize) -> OtherTest {
    OtherTest {
        suite: "distribution".to_owned(),
        stage: "load-balancer-ready".to_owned(),
        test: format!("load_balancer_ready::what_both_ends_count_of_a_load_is_the_same_number::case_{number:03}"),
        not_supported: None,
    }
}
