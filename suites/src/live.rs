//! When a change of a Service's endpoints is live: published, and in every node's rules.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use reachmap::{
    Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    kube::Api,
    model::{ServiceRef, Way},
    session::Session,
    state::State,
};
use serde_json::json;
use tokio::time::Instant;

use crate::changes::{create, delete};

/// How long it may take.
const AT_MOST: Duration = Duration::from_secs(90);

/// How often the endpoints are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until a Service in the tutorial's namespace has so many ready endpoints (or is gone, and has none), and every node
/// translates by them.
///
/// # Errors
/// [`ErrorKind::Deadline`] with what is not there yet; [`ErrorKind::Environment`] if the API server refuses.
pub async fn until_live(session: &Session, service: &str, endpoints: usize) -> Result<()> {
    until_published(session, service, endpoints).await?;
    until_rules_are_new(session, service).await
}

/// Waits until every node translates by what there is now; `name` is for a Service that is made for that, and deleted.
///
/// kube-proxy takes changes in the order in which they are made: a node that knows a Service which was made later knows all of
/// these.
///
/// # Errors
/// As [`until_live`].
pub async fn until_rules_are_new(session: &Session, name: &str) -> Result<()> {
    let barrier = format!("{name}-barrier");
    let services: Api<Service> = Api::namespaced(session.client().clone(), NAMESPACE);
    let spec = json!({ "selector": { "app": "nginx" }, "ports": [{ "port": 80, "targetPort": 80 }] });
    create(&services, json!({ "metadata": { "name": barrier }, "spec": spec })).await?;
    let reached = async {
        let way = Way::ClusterIp { service: ServiceRef::new(NAMESPACE, &barrier) };
        let target = way.target(&session.snapshot().await?)?;
        session.until_reached(&target, AT_MOST).await
    };
    let reached = reached.await;
    delete(&services, &barrier).await?;
    reached
}

/// The state, once exactly one node announces the load balancer's address of a Service in the tutorial's namespace.
///
/// # Errors
/// [`ErrorKind::Deadline`] if none does, as when the pool has no address left, or more than one; [`ErrorKind::Environment`] if
/// the API server refuses.
pub async fn until_announced(session: &Session, service: &str) -> Result<State> {
    let deadline = Instant::now() + AT_MOST;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let state = session.snapshot().await?;
        if state.service(NAMESPACE, service).is_some_and(|service| service.announced_by.is_some()) {
            return Ok(state);
        }
        if Instant::now() > deadline {
            let tried = format!("see one node announce the address of {service}");
            return Err(Error::new(ErrorKind::Deadline, tried, "none does, or more than one"));
        }
    }
}

async fn until_published(session: &Session, service: &str, endpoints: usize) -> Result<()> {
    let deadline = Instant::now() + AT_MOST;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let state = session.snapshot().await?;
        let found = state.service(NAMESPACE, service);
        let ready = found.map_or(0, |found| state.endpoints_of(found).filter(|endpoint| endpoint.ready).count());
        if ready == endpoints {
            return Ok(());
        }
        if Instant::now() > deadline {
            let cause = format!("{ready} of {endpoints} are ready");
            return Err(Error::new(ErrorKind::Deadline, format!("see the endpoints of {service}"), cause));
        }
    }
}
