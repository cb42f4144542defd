//! A node that stops under load, for so long that Kubernetes takes it for lost, and that comes back.

use std::{collections::BTreeSet, future::Future, time::Duration};

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::{LOAD_BALANCER, NAMESPACE},
    k8s_openapi::api::core::v1::Node,
    kube::Api,
    kubernetes::conditions::is_node_ready,
    load::timeline::{Mark, Timeline},
    model::{Vantage, VantageKind},
    report::ChangeRecord,
    session::Session,
    state::{Endpoint, State},
};
use reachmap_suites::{
    link,
    lives::now_us,
    moving::{MOVED_US, Moved},
    on_the_sessions_runtime,
};
use tokio::time::Instant;

use super::{ONE_AT_A_TIME, node::no_node};

/// How often the cluster is asked what it makes of the node.
const LOOK: Duration = Duration::from_millis(200);

/// How long it may take until the cluster takes the node for lost. It waits for 50 s (`--node-monitor-grace-period`) from the
/// last that it heard, and looks every 5 s; then the pods are not ready, and no EndpointSlice has them any more as such.
const LOST: Duration = Duration::from_secs(75);

/// How long it may take until the node is ready again, with its pods: what has waited for answers in vain connects anew.
const READY_AGAIN: Duration = Duration::from_secs(120);

/// No node is stopped for longer, whatever becomes of us: systemd's own services are watched for three minutes.
const AT_MOST: Duration = Duration::from_secs(150);

/// How long after that requests may still be sent to what is lost: until every node's kube-proxy has heard of it, which writes
/// its rules once a second at most.
const UNHEARD_US: u64 = 2_000_000;

/// How long a request that is sent in vain waits for its end.
const WAITS_US: u64 = 3_000_000;

/// How long the load goes on undisturbed while the node is away, and when it is back.
const CALM: Duration = Duration::from_secs(5);

/// Nothing runs on the node but what is to let it go on again: every process there is stopped, the containers' too, as
/// systemd, which waits for them, and this shell alone are not reached by that signal. And nothing reaches it.
const STOP: &str = "$down\nkill -s STOP -- -1";

/// The link is there, with its routes, before anything says so.
const GO_ON: &str = r#"[ -z "$up" ] || eval "$up"
kill -s CONT -- -1"#;

/// What happened, and when, in microseconds since 1970.
struct Stopped {
    node: String,
    /// That it was not ready any more.
    lost_us: u64,
    /// That its pods were endpoints no more.
    left_us: u64,
    /// That it was about to be let go on.
    going_us: u64,
    /// That it was ready, and its pods endpoints again.
    back_us: u64,
}

/// The node that announces the load balancer's address stops, as by a power cut: another one takes over within seconds, but its pod
/// stays an endpoint until the cluster takes the node for lost. So long, requests from everywhere fail that are led to it; then
/// none does any more. When the node goes on, it has the address back, and its pod answers as before.
#[test]
fn a_node_that_stops_fails_requests_until_it_is_taken_for_lost() -> Result<()> {
    on_the_sessions_runtime(async {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        if let Some(reason) = no_node(session) {
            return session.not_supported(reason);
        }
        let stop = |node: String| stop(session, node);
        let (moved, stopped) = Box::pin(Moved::while_it_moves(session, elsewhere, stop)).await?;
        let marked = moved.marked(stopped.marks());
        let [away, again] = marked.split(stopped.going_us);
        let (here, there) = pods(session.state(), &stopped.node);
        let [here, there] = [&here, &there].map(|pods| pods.iter().map(String::as_str).collect::<BTreeSet<&str>>());
        let began_us = moved.began_us();
        let what = "the announcing node stops";
        let record = ChangeRecord::of("node-stops", what, &away, (began_us, &there), &[]);
        let served: BTreeSet<&str> = record.settled_us.keys().map(String::as_str).collect();
        session.record_change(ChangeRecord { arp: Some(moved.arp()), ..record.clone() })?;
        let came = ChangeRecord::of_coming("node-goes-on", "it goes on", &again, (stopped.going_us, &here));
        session.record_change(came.clone())?;

        let (_, back_us) = moved.hold(stopped.going_us);
        let unheard = (began_us, stopped.left_us + UNHEARD_US);
        moved.none_failed_outside(&[unheard, (back_us, back_us + MOVED_US)]);
        let all = vantages(&marked);
        assert_eq!(served, all, "served by {there:?} alone once the endpoints were gone (left)");
        assert_eq!(failed_in(&away, unheard), all, "whose requests failed while it was an endpoint (left)");
        let came: BTreeSet<&str> = came.settled_us.keys().map(String::as_str).collect();
        assert_eq!(came, all, "answered by {here:?} again (left), which could from {} on", stopped.back_us);
        Ok(())
    })
}

impl Stopped {
    fn marks(&self) -> Vec<Mark> {
        let node = &self.node;
        let marks = [
            (self.lost_us, format!("{node} is not ready")),
            (self.left_us, format!("the pods of {node} are no endpoints")),
            (self.going_us, format!("{node} goes on")),
            (self.back_us, format!("{node} is ready, and its pods are endpoints")),
        ];
        marks.into_iter().map(|(at_us, what)| Mark { at_us, what }).collect()
    }
}

/// Stops the node until the cluster has given it up and a while has gone by, and waits until it is whole again.
async fn stop(session: &'static Session, node: String) -> Result<Stopped> {
    let make = format!("{}\n{STOP}", link::of(session.state(), &node)?);
    let change = session.change_node(&node, &make, GO_ON, AT_MOST).await?;
    let lost_us = until(LOST, "is lost", || async { Ok(!is_ready(session, &node).await?) }).await?;
    let left_us = until(LOST, "has no endpoints", || async { Ok(!has_endpoints(session, &node).await?) }).await?;
    tokio::time::sleep(Duration::from_micros(UNHEARD_US + WAITS_US) + CALM).await;
    let going_us = now_us();
    change.undo().await?;
    let is_back = || async { Ok(is_ready(session, &node).await? && has_endpoints(session, &node).await?) };
    let back_us = until(READY_AGAIN, "is ready again", is_back).await?;
    tokio::time::sleep(CALM).await;
    Ok(Stopped { node, lost_us, left_us, going_us, back_us })
}

/// When it was first seen that it is so.
async fn until<F>(at_most: Duration, what: &str, is_so: impl Fn() -> F) -> Result<u64>
where
    F: Future<Output = Result<bool>>,
{
    let deadline = Instant::now() + at_most;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        if is_so().await? {
            return Ok(now_us());
        }
        if Instant::now() > deadline {
            let cause = format!("it was not so after {at_most:?}");
            return Err(Error::new(ErrorKind::Deadline, format!("see that the node {what}"), cause));
        }
    }
}

async fn is_ready(session: &Session, node: &str) -> Result<bool> {
    let nodes: Api<Node> = Api::all(session.client().clone());
    let node = nodes.get(node).await.tried(ErrorKind::Environment, || format!("read the node {node}"))?;
    Ok(is_node_ready(&node))
}

/// Whether every pod of the Service on the node is a ready endpoint; those that are made meanwhile are elsewhere.
async fn has_endpoints(session: &Session, node: &str) -> Result<bool> {
    let (here, _) = pods(&session.snapshot().await?, node);
    Ok(!here.is_empty())
}

/// The ready endpoints of the load balancer on this node, by their pods, and those elsewhere.
fn pods(state: &State, node: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let service = state.service(NAMESPACE, LOAD_BALANCER);
    let endpoints = service.into_iter().flat_map(|service| state.endpoints_of(service));
    let ready = endpoints.filter(|endpoint| endpoint.ready);
    let (here, there): (Vec<_>, Vec<_>) = ready.partition(|endpoint| endpoint.node.as_deref() == Some(node));
    let names = |endpoints: Vec<&Endpoint>| endpoints.into_iter().filter_map(|endpoint| endpoint.pod.clone()).collect();
    (names(here), names(there))
}

/// The vantages that are not on this node.
fn elsewhere(state: &State, node: &str) -> Vec<String> {
    let is_here = |kind: &VantageKind| match kind {
        VantageKind::Node { node: own, .. } => own == node,
        VantageKind::Pod { namespace, pod } => {
            state.pod(namespace, pod).and_then(|pod| pod.node.as_deref()) == Some(node)
        }
        VantageKind::Laptop => false,
    };
    Vantage::all(state).into_iter().filter(|one| !is_here(&one.kind)).map(|one| one.id).collect()
}

fn vantages(line: &Timeline) -> BTreeSet<&str> {
    line.events.iter().map(|event| event.vantage.as_str()).collect()
}

/// The vantages of which a request failed that was sent in this time.
fn failed_in(line: &Timeline, (from, to): (u64, u64)) -> BTreeSet<&str> {
    let then = line.failed().filter(|event| (from..=to).contains(&event.start_us));
    then.map(|event| event.vantage.as_str()).collect()
}
