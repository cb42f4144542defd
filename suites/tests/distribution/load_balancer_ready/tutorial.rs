//! The steps of the tutorial before it adds its header: one replica on one node, and three whose answers are all alike.

use std::collections::BTreeSet;

use reachmap::{
    Result,
    environment::workloads::NAMESPACE,
    load::{
        generator::Plan as LoadPlan,
        statistics::{Law, chance_of_one},
    },
    model::{Method, ServiceRef, Way},
    report::Holds,
    session::{Session, load::Logged},
};
use reachmap_suites::{
    changes::changed,
    on_the_sessions_runtime,
    prelude::{LAPTOP, TESTPOD, WORKER_1, WORKER_2},
    web::{ALWAYS, Servers, Web, page, server},
};
use serde_json::json;

use super::{super::statistics, ONE_AT_A_TIME, holds_exactly, plan};

/// Enough that a second endpoint that got as many connections as the first would be missed once in 10^30 times: (1/2)^100.
const CONNECTIONS: u64 = 100;

/// The tutorial's own number.
const TEN: u64 = 10;

fn servers(name: &'static str, replicas: usize, location: &str) -> Vec<Servers> {
    let ports = vec![("web", 80), ("always", ALWAYS)];
    vec![Servers { name, replicas, configuration: server(&[80, ALWAYS], location), ports }]
}

fn web(session: &'static Session, name: &'static str, servers: Vec<Servers>) -> Web {
    Web::new(session, name, servers, json!({ "type": "NodePort", "ports": [{ "port": 80, "targetPort": 80 }] }))
}

fn node_port(web: &Web, node: &str) -> Way {
    Way::NodePort { service: ServiceRef::new(NAMESPACE, web.name), node: node.to_owned() }
}

/// One replica that is pinned to a node, as the tutorial begins: one endpoint, and every answer is from it, by whichever node
/// a connection comes in.
#[test]
fn one_replica_on_one_node_gives_every_answer() -> Result<()> {
    on_the_sessions_runtime(async {
        let session = Session::current()?;
        let node = session.state().node_by_id(WORKER_1)?.name.clone();
        let web = web(session, "pinned", servers("pinned-one", 1, &page())).on_node(&node);
        changed(
            || web.deploy(),
            || async {
                let _alone = ONE_AT_A_TIME.lock().await;
                let rows = [
                    (TESTPOD, "pinned-cluster-ip", web.cluster_ip()),
                    (LAPTOP, "pinned-own-node", node_port(&web, WORKER_1)),
                    (LAPTOP, "pinned-other-node", node_port(&web, WORKER_2)),
                ];
                for (vantage, id, way) in rows {
                    let method = Method { id: id.to_owned(), way };
                    let ends = session
                        .load_by(vantage, &method, web.logged(), &plan(CONNECTIONS, false), &format!("{id}-{vantage}"))
                        .await?;
                    let law = Law::of(&ends.balance)?;
                    holds_exactly(&ends, CONNECTIONS, Some(&statistics(session, &law)))?;
                    let pods = web.pods_of(&session.snapshot().await?, "pinned-one")?;
                    assert_eq!(law.endpoints(), pods, "the endpoints (left), and the pods");
                    let on: BTreeSet<Option<&str>> =
                        ends.balance.answering.iter().map(|answering| answering.node.as_deref()).collect();
                    assert_eq!(on, [Some(node.as_str())].into(), "where the endpoint is");
                }
                Ok(())
            },
            || web.remove(),
        )
        .await
    })
}

/// "How do I know?" Three replicas that do not say who they are: nothing in the answers tells them apart, and the logs do.
#[test]
fn three_replicas_without_the_header_cannot_be_told_apart() -> Result<()> {
    on_the_sessions_runtime(async {
        let session = Session::current()?;
        let plain = "location / { root /usr/share/nginx/html; index index.html; }";
        let web = web(session, "plain", servers("plain-three", 3, plain));
        changed(
            || web.deploy(),
            || async {
                let _alone = ONE_AT_A_TIME.lock().await;
                let method = Method { id: "plain-node-port".to_owned(), way: node_port(&web, WORKER_1) };
                let one_by_one = LoadPlan { connections: 1, ..plan(TEN, false) };
                let logged = Logged { says_who: false, ..web.logged() };
                let ends = session.load_by(LAPTOP, &method, logged, &one_by_one, "plain").await?;
                holds_exactly(&ends, TEN, None)?;
                let answers = ends.results.answered().map(|request| &request.answer);
                let told: BTreeSet<_> =
                    answers.map(|answer| (answer.status, answer.served_by.clone(), answer.client_address)).collect();
                assert_eq!(told, [(Some(200), None, None)].into(), "what the answers say");
                let bytes: u64 = ends.results.loads.iter().map(|load| load.loaded.body_bytes).sum();
                assert_eq!(bytes % TEN, 0, "{bytes} bytes in {TEN} answers: they are not all alike");
                let pods = ends.logged_by.len();
                let chance = chance_of_one(TEN, 3);
                assert!(pods > 1, "one pod logged ten connections: the chance of that is {chance:.6}");
                session.beside(
                    "first-try",
                    "Are you kidding? How do I know? This is what I got!",
                    Holds::Yes,
                    format!(
                        "Ten answers of three pods without the header X-Served-By: all have the same status, the same length \
                         ({} bytes), and nothing that names a pod. The first try shows nothing, however it is balanced. The \
                         pods' logs do show it: {pods} of them answered.",
                        bytes / TEN
                    ),
                )
            },
            || web.remove(),
        )
        .await
    })
}
