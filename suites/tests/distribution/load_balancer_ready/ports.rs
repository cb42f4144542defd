//! A Service with several ports: each leads to its own port of every pod, by number or by name, and no other port leads
//! anywhere.

use std::collections::{BTreeMap, BTreeSet};

use reachmap::{
    Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    load::summary::AsHey,
    model::{Method, ServiceRef, Way},
    session::Session,
    state::{ServicePort, State},
};
use reachmap_suites::{
    changes::changed,
    on_the_sessions_runtime,
    prelude::{LAPTOP, TESTPOD, WORKER_1, WORKER_2},
    web::{ALWAYS, PAGE, Servers, Web, page, server},
};
use serde_json::json;

use super::{ONE_AT_A_TIME, holds_exactly, plan};

const NAME: &str = "several-ports";

/// Enough that one pod of three is missed once in 10^17 times: 3 × (2/3)^100.
const CONNECTIONS: u64 = 100;

/// The Service's port whose target is a number, and the one whose target is a name.
const BY_NUMBER: u16 = 80;
const BY_NAME: u16 = 9_090;

/// The port behind the name, where most pods have it and where one has it; each says by its status which one was reached.
const FIRST: (u16, u16) = (8_080, 202);
const SECOND: (u16, u16) = (8_081, 203);

fn servers(name: &'static str, replicas: usize, (admin, status): (u16, u16)) -> Servers {
    let says = format!("location / {{ {PAGE} return {status}; }}");
    let configuration = server(&[BY_NUMBER, ALWAYS], &page()) + &server(&[admin], &says);
    Servers { name, replicas, configuration, ports: vec![("web", BY_NUMBER), ("admin", admin), ("always", ALWAYS)] }
}

fn web(session: &'static Session) -> Web {
    let ports = json!([
        { "name": "by-number", "port": BY_NUMBER, "targetPort": BY_NUMBER },
        { "name": "by-name", "port": BY_NAME, "targetPort": "admin" },
    ]);
    let kinds = vec![servers("ports-first", 2, FIRST), servers("ports-second", 1, SECOND)];
    Web::new(session, NAME, kinds, json!({ "type": "NodePort", "ports": ports }))
}

fn port<'s>(state: &'s State, name: &str) -> Result<&'s ServicePort> {
    let ports = state.service(NAMESPACE, NAME).into_iter().flat_map(|service| &service.ports);
    let missing = || Error::new(ErrorKind::Environment, format!("find the port {name} of {NAME}"), "there is none");
    ports.into_iter().find(|port| port.name == name).ok_or_else(missing)
}

/// The same way to another port.
fn at(state: &State, way: &Way, port: u16) -> Result<Way> {
    let host = way.target(state)?.host;
    let tried = || format!("name port {port} of {host}");
    let address = host.parse().map_err(|error| Error::new(ErrorKind::Internal, tried(), error))?;
    Ok(Way::Address { address, port })
}

/// From a pod, from a node and from outside, by cluster IP and by node port.
#[test]
fn each_port_leads_to_its_own_target_port_and_no_other_port_leads_anywhere() -> Result<()> {
    on_the_sessions_runtime(async {
        let session = Session::current()?;
        let web = web(session);
        changed(
            || web.deploy(),
            || async {
                let _alone = ONE_AT_A_TIME.lock().await;
                let state = session.snapshot().await?;
                let cluster_ip = web.cluster_ip();
                let node_port = Way::NodePort { service: ServiceRef::new(NAMESPACE, NAME), node: WORKER_1.to_owned() };
                let [number, name] = [port(&state, "by-number")?, port(&state, "by-name")?];
                let [on_node, name_on_node] = [number, name].map(|port| port.node_port.unwrap_or_default());
                let rows = [
                    (TESTPOD, "several-cluster-ip-by-number", &cluster_ip, BY_NUMBER, false),
                    (TESTPOD, "several-cluster-ip-by-name", &cluster_ip, BY_NAME, true),
                    (WORKER_2, "several-cluster-ip-by-name", &cluster_ip, BY_NAME, true),
                    (LAPTOP, "several-node-port-by-number", &node_port, on_node, false),
                    (LAPTOP, "several-node-port-by-name", &node_port, name_on_node, true),
                ];
                for (vantage, id, way, port, is_by_name) in rows {
                    let method = Method { id: id.to_owned(), way: at(&state, way, port)? };
                    leads(session, &web, &state, vantage, &method, is_by_name).await?;
                }
                // A target port is no port of the Service's, and neither is the number beside its own; of node ports, the
                // first that nobody has.
                let taken: BTreeSet<u16> = state
                    .services
                    .iter()
                    .flat_map(|service| &service.ports)
                    .filter_map(|port| port.node_port)
                    .collect();
                let free = (30_000..=32_767).find(|port| !taken.contains(port)).unwrap_or_default();
                let wrong = [
                    (TESTPOD, "several-cluster-ip-target-port", &cluster_ip, FIRST.0),
                    (WORKER_1, "several-cluster-ip-target-port", &cluster_ip, FIRST.0),
                    (TESTPOD, "several-cluster-ip-no-port", &cluster_ip, BY_NAME + 1),
                    (LAPTOP, "several-node-port-target-port", &node_port, FIRST.0),
                    (LAPTOP, "several-node-port-no-port", &node_port, free),
                    (TESTPOD, "several-node-port-no-port", &node_port, free),
                ];
                for (vantage, id, way, port) in wrong {
                    let method = Method { id: id.to_owned(), way: at(&state, way, port)? };
                    let verdict = session.judge(&state, vantage, method).await?;
                    session.record(&verdict)?;
                    reachmap::assert_as_expected!(verdict);
                    let reason = verdict.expectation.as_ref().map(|expected| expected.reason.kind());
                    assert!(matches!(reason, Some("no_such_port" | "no_such_node_port")), "{reason:?}");
                    println!("{vantage} by {id}: {:?}", verdict.observation.and_then(|seen| seen.connect));
                }
                Ok(())
            },
            || web.remove(),
        )
        .await
    })
}

/// Every pod answers, each by the port that the Service's port stands for in that pod.
async fn leads(
    session: &Session,
    web: &Web,
    state: &State,
    vantage: &str,
    method: &Method,
    is_by_name: bool,
) -> Result<()> {
    let name = format!("{}-{vantage}", method.id);
    let ends = session.load_by(vantage, method, web.logged(), &plan(CONNECTIONS, false), &name).await?;
    holds_exactly(&ends, CONNECTIONS, None)?;
    let mut wanted: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for (kind, (_, status)) in [("ports-first", FIRST), ("ports-second", SECOND)] {
        let status = if is_by_name { status } else { 200 };
        wanted.extend(web.pods_of(state, kind)?.into_iter().map(|pod| (pod, [status].into())));
    }
    let mut seen: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for answer in ends.results.answered().map(|request| &request.answer) {
        seen.entry(answer.served_by.clone().unwrap_or_default()).or_default().extend(answer.status);
    }
    assert_eq!(seen, wanted, "what each pod answered with (left), from {vantage}: {}", AsHey(&ends.results));
    Ok(())
}
