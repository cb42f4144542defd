//! Lookups for the sample run: one group as predicted, one not, one that cannot be had.

use std::{collections::BTreeMap, net::IpAddr};

use reachmap_wire::{QuestionKind, Record, RecordData, RecordedQuestion, Transport};

use super::HOSTILE;
use crate::{
    environment::addons::coredns::Way,
    report::{CorefileEdit, Cost, LookupGroup, Mismatch, ReplicaTime, Timeline},
};

pub(super) fn groups() -> Vec<LookupGroup> {
    let outcomes = |found, nxdomain| BTreeMap::from([("found".to_owned(), found), ("NXDOMAIN".to_owned(), nxdomain)]);
    let costs = |short, dotted| {
        vec![
            Cost { name: "api.example.com".to_owned(), questions: short },
            Cost { name: "api.example.com.".to_owned(), questions: dotted },
        ]
    };
    let group = |configuration: &str, resolver: &str| LookupGroup::of("corefile-original", configuration, resolver);
    vec![
        LookupGroup {
            lookups: 32,
            as_predicted: 31,
            not_covered: BTreeMap::from([("a.test".to_owned(), "the plugin my-plugin".to_owned())]),
            outcomes: outcomes(20, 12),
            costs: costs(8, 2),
            timelines: vec![timeline()],
            ..group("ndots5-cluster", "glibc")
        },
        LookupGroup {
            lookups: 32,
            as_predicted: 31,
            outcomes: outcomes(19, 13),
            costs: costs(4, 2),
            mismatches: vec![Mismatch {
                name: "web".to_owned(),
                explanation: format!("predicted            seen\nA web.svc.           A web.\n{HOSTILE}"),
            }],
            ..group("ndots5-cluster", "musl")
        },
        LookupGroup { not_supported: Some("the image has no dig".to_owned()), ..group("ndots1-own", "dig") },
    ]
}

fn timeline() -> Timeline {
    let question = |at_us, name: &str, rcode: Option<&str>, answers: Vec<RecordData>| RecordedQuestion {
        at_us,
        id: 7,
        transport: Transport::Udp,
        name: name.to_owned(),
        kind: QuestionKind::A,
        rcode: rcode.map(str::to_owned),
        truncated: false,
        answers: answers.into_iter().map(|data| Record { name: name.to_owned(), ttl: 30, data }).collect(),
        soa: false,
        elapsed_us: rcode.map(|_| 900),
    };
    Timeline {
        name: "web".to_owned(),
        questions: vec![
            question(120, "web.shop.svc.cluster.local.", Some("NXDOMAIN"), Vec::new()),
            question(1_400, "web.svc.cluster.local.", None, Vec::new()),
            question(2_600, HOSTILE, Some("NOERROR"), vec![RecordData::Address(IpAddr::from([10, 96, 5, 5]))]),
        ],
        seen: "10.96.5.5".to_owned(),
        elapsed_us: 4_000,
    }
}

pub(super) fn edits() -> Vec<CorefileEdit> {
    let replica = |pod: &str, seconds| ReplicaTime { pod: pod.to_owned(), seconds };
    vec![CorefileEdit {
        stage: "corefile-original".to_owned(),
        way: Way::Reload,
        seconds: 2.1,
        replicas: vec![replica("coredns-1", 1.9), replica("coredns-2", 2.1)],
    }]
}
