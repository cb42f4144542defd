//! A run with a cell of every kind, and with everything hostile that a network can send.

mod large;
pub(super) mod loads;
mod lookups;
mod whole;

use std::net::{IpAddr, SocketAddr};

use reachmap_wire::{
    Connect, DnsFailure, Failure as NetworkFailure, FailureClass, Observation, Question, QuestionKind, Record,
    RecordData, Resolve, Respond, Route, RouteOutcome, Step,
};

pub(super) use self::{large::of_cells, whole::of_all_suites};
use super::{
    ArpMove, ArpRecord, Beside, ChangeRecord, Counts, Environment, FailedTest, Holds, OtherTest, Retry, Row, Run, grid,
    plot::{Course, Interval, Mark},
};
use crate::{
    claims::{Claim, ClaimOutcome, ClaimVerdict, Column, Evidence},
    matrix::{Cell, RowOutcome, Stage, TutorialRow},
    model::{Expectation, Fact, Interface, Method, Reason, Source, SourceReason, Target, Vantage, VantageKind},
    progress::{StepEnd, StepTime},
    report::StageRecord,
    state::{NodeRole, ServiceType, State},
    verdict::{Judgement, Verdict},
};

/// What a hostile server, or an unlucky one, puts into whatever it may put text in.
pub(super) const HOSTILE: &str = "<script>alert(\"1\")</script> | `code` ```\n# heading\r\n\u{1b}[31mred\u{1b}[0m ]]> \u{0} \u{202e}txet @someone %0A::error::x";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn node(id: &str, name: &str, role: NodeRole) -> Vantage {
    Vantage { id: id.to_owned(), kind: VantageKind::Node { node: name.to_owned(), role } }
}

fn pod(id: &str, namespace: &str) -> Vantage {
    Vantage { id: id.to_owned(), kind: VantageKind::Pod { namespace: namespace.to_owned(), pod: "testpod".to_owned() } }
}

fn laptop() -> Vantage {
    Vantage { id: "laptop".to_owned(), kind: VantageKind::Laptop }
}

fn expectation(host: &str, port: u16, reachable: bool, reason: Reason, facts: Vec<Fact>) -> Expectation {
    Expectation { target: Target { host: host.to_owned(), port }, reachable, reason, facts }
}

fn verdict(vantage: Vantage, method: &str, outcome: Judgement) -> Verdict {
    Verdict {
        suite: "access".to_owned(),
        stage: "load-balancer-pending".to_owned(),
        reproduce: format!("cargo xtask shell {vantage} -- curl -sS -i -m 5 http://…/"),
        vantage,
        method: Method::find(method, 3).unwrap(),
        expectation: None,
        observation: None,
        outcome,
    }
}

fn question(name: &str, rcode: &str, failure: Option<DnsFailure>, answers: &[RecordData]) -> Question {
    Question {
        name: name.to_owned(),
        kind: QuestionKind::A,
        server: socket("10.96.0.10:53"),
        rcode: Some(rcode.to_owned()),
        answers: answers.iter().map(|data| Record { name: name.to_owned(), ttl: 30, data: data.clone() }).collect(),
        failure,
        elapsed_us: 412,
    }
}

fn route(to: &str, from: &str) -> Route {
    Route { destination: ip(to), outcome: RouteOutcome::Source(ip(from)) }
}

fn connected(to: &str, from: &str) -> Connect {
    Connect { destination: socket(to), local: Some(socket(from)), failure: None, elapsed_us: 380 }
}

fn failure(class: FailureClass, message: &str) -> NetworkFailure {
    NetworkFailure { class, message: message.to_owned() }
}

fn parts(step: Step, expected: &str, observed: &str) -> Judgement {
    Judgement::NotAsExpected { step, expected: expected.to_owned(), observed: observed.to_owned() }
}

fn reached() -> Verdict {
    let full = "nginx-clusterip-service.service-type-test.svc.cluster.local.";
    Verdict {
        expectation: Some(expectation(
            "nginx-clusterip-service",
            80,
            true,
            Reason::ClusterIpByName {
                answered: full.to_owned(),
                searched: true,
                cluster_ip: ip("10.96.5.5"),
                node: "worker-1".to_owned(),
            },
            vec![
                Fact::Asks(vec![full.to_owned()]),
                Fact::Resolves { answered: full.to_owned(), aliases: vec![], addresses: [ip("10.96.5.5")].into() },
                Fact::Connects([socket("10.96.5.5:80")].into()),
                Fact::ServedBy(["nginx-a".to_owned(), "nginx-b".to_owned()].into()),
            ],
        )),
        observation: Some(Observation {
            resolve: Some(Resolve {
                name: "nginx-clusterip-service".to_owned(),
                questions: vec![question(full, "NOERROR", None, &[RecordData::Address(ip("10.96.5.5"))])],
                addresses: vec![ip("10.96.5.5")],
                answered: Some(full.to_owned()),
                failure: None,
                elapsed_us: 515,
            }),
            route: Some(route("10.96.5.5", "10.244.1.9")),
            connect: Some(connected("10.96.5.5:80", "10.244.1.9:40000")),
            respond: Some(Respond {
                status: Some(200),
                served_by: Some("nginx-b".to_owned()),
                client_address: Some(ip("10.244.1.9")),
                body_start: String::new(),
                body_length: 0,
                failure: None,
                elapsed_us: 702,
            }),
            elapsed_us: 1_700,
        }),
        ..verdict(pod("testpod", "service-type-test"), "clusterip-short", Judgement::AsExpected)
    }
}

fn not_reached() -> Verdict {
    Verdict {
        expectation: Some(expectation(
            "10.244.1.4",
            80,
            false,
            Reason::NoRouteToPods { address: ip("10.244.1.4") },
            vec![
                Fact::NothingAsked,
                Fact::DoesNotConnect([FailureClass::NetworkUnreachable, FailureClass::Timeout].into()),
            ],
        )),
        observation: Some(Observation {
            route: Some(Route {
                destination: ip("10.244.1.4"),
                outcome: RouteOutcome::Failed(failure(
                    FailureClass::NetworkUnreachable,
                    "Network is unreachable (os error 101)",
                )),
            }),
            elapsed_us: 90,
            ..Observation::default()
        }),
        ..verdict(laptop(), "pod-ip", Judgement::AsExpected)
    }
}

fn wrong_at_resolve() -> Verdict {
    let alias = "my-nginx.external.local.";
    let full = "nginx-external-service.service-type-test.svc.cluster.local.";
    let names = ["service-type-test.svc.cluster.local.", "svc.cluster.local.", "cluster.local."];
    let asked = names.map(|domain| format!("nginx-external-service.service-type-test.{domain}"));
    Verdict {
        expectation: Some(expectation(
            "nginx-external-service.service-type-test",
            80,
            true,
            Reason::ExternalName { answered: full.to_owned(), alias: alias.to_owned(), address: ip("10.96.5.5") },
            vec![Fact::Resolves {
                answered: full.to_owned(),
                aliases: vec![alias.to_owned()],
                addresses: [ip("10.96.5.5")].into(),
            }],
        )),
        observation: Some(Observation {
            resolve: Some(Resolve {
                name: "nginx-external-service.service-type-test".to_owned(),
                questions: vec![
                    question(&asked[0], "NXDOMAIN", Some(DnsFailure::NxDomain), &[]),
                    question(&asked[1], "NOERROR", Some(DnsFailure::NoData), &[RecordData::Cname(alias.to_owned())]),
                    question(
                        &asked[2],
                        "SERVFAIL",
                        Some(DnsFailure::ServFail),
                        &[RecordData::Other(HOSTILE.to_owned())],
                    ),
                ],
                addresses: vec![],
                answered: None,
                failure: Some(DnsFailure::ServFail),
                elapsed_us: 5_120_000,
            }),
            elapsed_us: 5_120_100,
            ..Observation::default()
        }),
        ..verdict(
            pod("testpod", "service-type-test"),
            "externalname-namespace",
            parts(Step::Resolve, "10.96.5.5 through my-nginx.external.local.", "SERVFAIL"),
        )
    }
}

fn wrong_at_route() -> Verdict {
    Verdict {
        stage: "load-balancer-ready".to_owned(),
        expectation: Some(expectation(
            "172.18.255.200",
            80,
            true,
            Reason::LoadBalancerAnnounced { address: ip("172.18.255.200"), node: Some("worker-2".to_owned()) },
            vec![Fact::NothingAsked, Fact::Connects([socket("172.18.255.200:80")].into())],
        )),
        observation: Some(Observation {
            route: Some(Route {
                destination: ip("172.18.255.200"),
                outcome: RouteOutcome::Failed(failure(FailureClass::NetworkUnreachable, "")),
            }),
            elapsed_us: 80,
            ..Observation::default()
        }),
        ..verdict(
            laptop(),
            "loadbalancer-address",
            parts(Step::Route, "a connection to 172.18.255.200:80", "no route: network unreachable"),
        )
    }
}

fn wrong_at_connect() -> Verdict {
    Verdict {
        expectation: Some(expectation(
            "10.96.5.5",
            80,
            true,
            Reason::ClusterIp { cluster_ip: ip("10.96.5.5"), node: "worker-1".to_owned() },
            vec![Fact::NothingAsked, Fact::Connects([socket("10.96.5.5:80")].into())],
        )),
        observation: Some(Observation {
            route: Some(route("10.96.5.5", "172.18.0.3")),
            connect: Some(Connect {
                destination: socket("10.96.5.5:80"),
                local: None,
                failure: Some(failure(FailureClass::Refused, "Connection refused (os error 111)")),
                elapsed_us: 404,
            }),
            elapsed_us: 520,
            ..Observation::default()
        }),
        ..verdict(
            node("worker-1", "demo-worker", NodeRole::Worker),
            "clusterip-address",
            parts(Step::Connect, "a connection to 10.96.5.5:80", "connection refused"),
        )
    }
}

/// nginx-a is on the node that was named, and sees its bridge.
fn seen_by_nginx() -> Fact {
    let reason = SourceReason::MasqueradedByProxy { node: "demo-worker2".to_owned(), interface: Interface::Bridge };
    Fact::SeenBy([("nginx-a".to_owned(), [Source { address: ip("10.244.2.1"), reason }].into())].into())
}

fn wrong_at_respond() -> Verdict {
    Verdict {
        expectation: Some(expectation(
            "172.18.0.4",
            30_080,
            true,
            Reason::NodePort { node: "worker-2".to_owned(), port: 30_080 },
            vec![Fact::ServedBy(["nginx-a".to_owned()].into()), seen_by_nginx()],
        )),
        observation: Some(Observation {
            route: Some(route("172.18.0.4", "172.18.0.5")),
            connect: Some(connected("172.18.0.4:30080", "172.18.0.5:40000")),
            respond: Some(Respond {
                status: Some(503),
                served_by: Some(HOSTILE.to_owned()),
                client_address: None,
                body_start: format!("{HOSTILE}{}", "long ".repeat(400)),
                body_length: 1_048_576,
                failure: Some(failure(FailureClass::Closed, HOSTILE)),
                elapsed_us: 900,
            }),
            elapsed_us: 1_400,
            ..Observation::default()
        }),
        ..verdict(
            node("control-plane", "demo-control-plane", NodeRole::ControlPlane),
            "nodeport-worker-2",
            parts(Step::Respond, "status 200 from nginx-a", HOSTILE),
        )
    }
}

/// A restart under load that failed no request.
fn change() -> ChangeRecord {
    ChangeRecord {
        suite: "distribution".to_owned(),
        stage: "changing".to_owned(),
        name: "restarted".to_owned(),
        what: "rolling restart".to_owned(),
        vantages: ["worker-1".to_owned()].into(),
        requests: 900,
        errors: Vec::new(),
        settled_us: [("worker-1".to_owned(), 9_200_000)].into(),
        late_connections: 41,
        latest_us: 640_000,
        longest_silence_us: [("worker-1".to_owned(), 31_000)].into(),
        course: Course {
            interval_us: 250_000,
            intervals: vec![Interval { answered: 25, failed: 0 }; 36],
            marks: vec![Mark { at_us: 2_000_000, label: format!("nginx-a is ending{HOSTILE}") }],
        },
        arp: Some(ArpRecord {
            address: [172, 18, 255, 200].into(),
            questions: 180,
            by_nobody: 9,
            by_several: 0,
            moves: vec![
                ArpMove { node: "demo-worker".to_owned(), after_us: 0 },
                ArpMove { node: format!("demo-worker2{HOSTILE}"), after_us: 900_000 },
            ],
            gratuitous: [("demo-worker2".to_owned(), 10)].into(),
        }),
    }
}

/// A run with every kind of cell; nothing in it changes from one call to the next.
pub(super) fn run() -> Run {
    let unsupported = || Judgement::NotSupported { reason: format!("there is no load balancer here: {HOSTILE}") };
    let not_probed = Judgement::NotProbed { reason: "the agent at worker-10 did not answer within 5 s".to_owned() };
    let mut verdicts = vec![
        wrong_at_respond(),
        verdict(node("worker-10", "demo-worker10", NodeRole::Worker), "pod-ip", not_probed),
        wrong_at_connect(),
        wrong_at_route(),
        wrong_at_resolve(),
        not_reached(),
        reached(),
        verdict(pod("testpod-other", "service-type-test-other"), "loadbalancer-address", unsupported()),
        verdict(laptop(), "loadbalancer-name", unsupported()),
        Verdict { suite: "their|suite".to_owned(), stage: "<stage>".to_owned(), ..reached() },
    ];
    grid::sort(&mut verdicts);
    Run {
        started: "2026-11-24T02:45:46Z".parse().unwrap(),
        finished: Some("2026-11-24T02:47:03Z".parse().unwrap()),
        exit_code: 1,
        reachmap: "0.1.0".to_owned(),
        counts: Counts::of(&verdicts),
        verdicts,
        environment: Environment {
            engine: Some("sandbox".to_owned()),
            images: Some("packages".to_owned()),
            kubernetes: Some("v1.37.2".to_owned()),
            proxy_mode: Some("iptables".to_owned()),
            ip_family: Some("ipv4".to_owned()),
            cni: Some("flannel (vxlan)".to_owned()),
            nodes: vec!["demo-control-plane".to_owned(), "demo-worker".to_owned()],
            kernel: Some("6.1.0".to_owned()),
            other: [("note".to_owned(), HOSTILE.to_owned())].into(),
        },
        tutorial: tutorial(),
        claims: claims(),
        failed_tests: vec![FailedTest {
            suite: "access".to_owned(),
            stage: "load-balancer-ready".to_owned(),
            test: "load_balancer_ready::table".to_owned(),
            output: format!("the snapshot differs\n-one\n+{HOSTILE}"),
        }],
        other_tests: vec![
            OtherTest {
                suite: "access".to_owned(),
                stage: "load-balancer-ready".to_owned(),
                test: "load_balancer_ready::every_pod_is_ready".to_owned(),
                not_supported: None,
            },
            OtherTest {
                suite: "dns".to_owned(),
                stage: "corefile-name".to_owned(),
                test: "corefile_name::the_absolute_name_is_answered".to_owned(),
                not_supported: Some(format!("the image of testpod has no nslookup{HOSTILE}")),
            },
        ],
        retries: vec![Retry {
            what: "apply the address pool".to_owned(),
            times: 4,
            why: "the webhook refused the connection".to_owned(),
        }],
        lookups: lookups::groups(),
        loads: loads::all(),
        changes: vec![change()],
        beside: vec![Beside {
            place: "dns/corefile-name".to_owned(),
            id: "the-dot".to_owned(),
            says: "It’s a must for current configuration".to_owned(),
            holds: Holds::InPart,
            seen: format!("nslookup gives up without the dot; glibc does not{HOSTILE}"),
        }],
        corefile_edits: lookups::edits(),
        timeline: vec![
            step("Create the cluster", 2.1, 33.0, StepEnd::Done),
            step("Start the engine", 0.0, 2.1, StepEnd::Cached),
            step("Probe | judge", 35.1, 41.9, StepEnd::Failed),
        ],
        stages: vec![
            StageRecord { id: "load-balancer-pending".to_owned(), state: Some(State::example_pending()) },
            StageRecord { id: "load-balancer-ready".to_owned(), state: None },
        ],
        ..Run::started("20261124-024546-77", &["e2e".to_owned(), "--only".to_owned(), "a|b".to_owned()])
    }
}

fn step(title: &str, start_seconds: f64, seconds: f64, end: StepEnd) -> StepTime {
    StepTime { title: title.to_owned(), start_seconds, seconds, end }
}

fn tutorial() -> Vec<Row> {
    let row = |source: &str, can_access, vantage: &str, method: &str| TutorialRow {
        source: source.to_owned(),
        can_access,
        method: "curl http://10.98.205.55:80".to_owned(),
        why: "DNS resolves my-nginx.external.local to 10.98.205.55.".to_owned(),
        cells: vec![Cell::new(Stage::LoadBalancerPending, vantage, method)],
    };
    vec![
        Row {
            row: row("testpod (inside cluster, same namespace)", true, "testpod", "clusterip-short"),
            outcome: RowOutcome::Confirmed,
        },
        Row {
            row: row("testpod (using ExternalName service)", true, "testpod", "externalname-namespace"),
            outcome: RowOutcome::Refuted,
        },
        Row { row: row("Laptop using Pod IP directly", false, "laptop", "pod-ip"), outcome: RowOutcome::Confirmed },
        Row {
            row: row("Laptop using LoadBalancer", false, "laptop", "loadbalancer-address"),
            outcome: RowOutcome::NotShown,
        },
    ]
}

fn claims() -> Vec<ClaimVerdict> {
    let claim = |id: &str, service_type, column, text: &str, outcome| ClaimVerdict {
        claim: Claim {
            id: id.to_owned(),
            service_type,
            column,
            text: text.to_owned(),
            evidence: vec![Evidence {
                cell: Cell::new(Stage::LoadBalancerPending, "testpod", "clusterip-short"),
                reached: true,
                because: None,
            }],
        },
        outcome,
    };
    let cell = "load-balancer-pending/testpod/clusterip-short".to_owned();
    vec![
        claim(
            "clusterip/use-case",
            ServiceType::ClusterIp,
            Column::UseCase,
            "Internal communication",
            ClaimOutcome::Holds,
        ),
        claim(
            "nodeport/how-it-works",
            ServiceType::NodePort,
            Column::HowItWorks,
            "Maps a fixed port",
            ClaimOutcome::Fails { because: format!("{cell}: reached | too") },
        ),
        claim(
            "externalname/when-to-use",
            ServiceType::ExternalName,
            Column::WhenToUse,
            "Use when integrating",
            ClaimOutcome::NotShown { cell },
        ),
    ]
}
