//! Each fault reddens the cells that it breaks, at the step that it breaks, and no other cell.
//!
//! What must happen is derived before the fault; then something is broken, and every cell of the
//! matrix is probed again. One fault at a time: they share the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::{
        addons::{
            coredns::{self, Way},
            metallb,
        },
        tutorial::{self, Names},
        workloads::NAMESPACE,
    },
    k8s_openapi::api::{apps::v1::Deployment, core::v1::Service},
    kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    },
    matrix::Matrix,
    model::{Method, Vantage, VantageKind},
    session::Session,
    state::State,
    verdict::{Judgement, Verdict},
    wire::Step,
};
use reachmap_suites::changes::changed;

use self::node::{NodeFault, forget_attempts, no_iptables, no_node};

mod changing;
mod node;

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A change of the cluster shows in every data plane well within this.
const CONVERGENCE: Duration = Duration::from_secs(60);

mod load_balancer_ready {
    use super::*;

    mod load;

    #[tokio::test]
    async fn no_replica_breaks_every_way_to_the_service() -> Result<()> {
        let session = Session::current()?;
        sabotage(
            || scale(session, 0),
            || scale(session, 3),
            |_, cell| {
                let step = if cell.method.starts_with("headless") { Step::Resolve } else { Step::Connect };
                (cell.reachable && cell.method != "pod-ip").then_some(step)
            },
        )
        .await
    }

    #[tokio::test]
    async fn no_fallthrough_breaks_every_service_name() -> Result<()> {
        let session = Session::current()?;
        sabotage(
            || edit_corefile(session, None, Names::NameAndAlias),
            || edit_corefile(session, None, Names::WithFallthrough),
            // A name that did not resolve before still does not, and ends in the same way: outside knows it as little.
            |_, cell| (cell.reachable && cell.is_pod && cell.is_service_name()).then_some(Step::Resolve),
        )
        .await
    }

    #[tokio::test]
    async fn no_pool_breaks_the_load_balancer_address() -> Result<()> {
        let session = Session::current()?;
        let pool = session.handover().planned_pool.clone().unwrap_or_default();
        sabotage(
            || metallb::remove_pool(session.client()),
            || async {
                metallb::apply_pool(session.client(), &pool, &session.handover().run, CONVERGENCE).await.map(drop)
            },
            |_, cell| (cell.method == "loadbalancer-address").then_some(Step::Connect),
        )
        .await
    }

    #[tokio::test]
    async fn no_external_name_service_breaks_its_names() -> Result<()> {
        let session = Session::current()?;
        let services: Api<Service> = Api::namespaced(session.client().clone(), NAMESPACE);
        let name = "nginx-external-service";
        let mut service = services.get(name).await.tried(ErrorKind::Environment, || "read the Service")?;
        service.metadata.resource_version = None;
        service.metadata.uid = None;
        service.metadata.managed_fields = None;
        sabotage(
            || async {
                let deleted = services.delete(name, &DeleteParams::default()).await;
                deleted.map(drop).tried(ErrorKind::Environment, || "delete the Service")
            },
            || async {
                let created = services.create(&PostParams::default(), &service).await;
                created.map(drop).tried(ErrorKind::Environment, || "make the Service again")
            },
            |_, cell| (cell.reachable && cell.method.starts_with("externalname")).then_some(Step::Resolve),
        )
        .await
    }

    #[tokio::test]
    async fn a_node_without_service_rules_breaks_what_it_translates() -> Result<()> {
        let session = Session::current()?;
        if let Some(reason) = no_iptables(session) {
            return session.not_supported(reason);
        }
        let fault = NodeFault::without_service_rules(session, "worker-1")?;
        sabotage(
            || fault.make(),
            || fault.undo(),
            |state, cell| {
                let worker = state.node_by_id("worker-1").ok()?.name.clone();
                let here = cell.node.as_ref() == Some(&worker);
                let announced_here = state
                    .service(NAMESPACE, "nginx-loadbalancer")
                    .is_some_and(|service| service.announced_by.as_ref() == Some(&worker));
                match cell.method.as_str() {
                    // The cluster's DNS is itself a Service.
                    _ if here && cell.is_pod && cell.is_name() => Some(Step::Resolve),
                    _ if !cell.reachable => None,
                    "clusterip-address" if here => Some(Step::Connect),
                    "nodeport-worker-1" => Some(Step::Connect),
                    "loadbalancer-address" if announced_here && (here || cell.vantage == "laptop") => {
                        Some(Step::Connect)
                    }
                    // The node that announces the address translates it in its stead: the pod sees another source.
                    "loadbalancer-address" if here => Some(Step::Respond),
                    _ => None,
                }
            },
        )
        .await
    }

    #[tokio::test]
    async fn a_name_that_points_elsewhere_is_not_the_service() -> Result<()> {
        let session = Session::current()?;
        sabotage(
            || edit_corefile(session, Some("nginx-single"), Names::WithFallthrough),
            || edit_corefile(session, None, Names::WithFallthrough),
            |_, cell| {
                let led = cell.method.starts_with("externalname") || cell.method.starts_with("external-domain");
                (cell.reachable && led).then_some(Step::Resolve)
            },
        )
        .await
    }
}

/// A cell, and what the model said of it before anything was broken.
struct Cell {
    vantage: String,
    method: String,
    is_pod: bool,
    node: Option<String>,
    reachable: bool,
}

impl Cell {
    fn is_name(&self) -> bool {
        let node_port = self.method.starts_with("nodeport") && self.method != "nodeport-name";
        !(self.method.ends_with("-address") || self.method.starts_with("pod-ip") || node_port)
    }

    fn is_service_name(&self) -> bool {
        self.is_name() && !self.method.starts_with("external-domain")
    }
}

/// Breaks something, sees exactly the cells red that `breaks` names, mends it, and sees none.
async fn sabotage<B, M>(
    inject: impl FnOnce() -> B,
    mend: impl FnOnce() -> M,
    breaks: impl Fn(&State, &Cell) -> Option<Step>,
) -> Result<()>
where
    B: Future<Output = Result<()>>,
    M: Future<Output = Result<()>>,
{
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    if let Some(reason) = no_node(session) {
        return session.not_supported(reason);
    }
    let before = session.snapshot().await?;
    assert_eq!(red(session, &before).await?, BTreeMap::new(), "before the fault");
    let wanted = expected(session, &before, &breaks)?;
    assert!(!wanted.is_empty(), "the fault must break something");
    let mended = || async {
        mend().await?;
        forget_attempts(session).await
    };
    let broken = changed(inject, || until(|| red(session, &before), &wanted), mended).await?;
    let after = until_mended(session).await?;
    assert_eq!(broken, wanted, "cells red under the fault (left) and those that it breaks (right)");
    assert_eq!(after, BTreeMap::new(), "after the fault");
    Ok(())
}

/// Every cell that is not as expected in `state`, with the step at which it parts.
async fn red(session: &Session, state: &State) -> Result<BTreeMap<String, Step>> {
    let cells = vantages(session)
        .into_iter()
        .flat_map(|vantage| methods(session).into_iter().map(move |method| (vantage.id.clone(), method.id)));
    let verdicts: Vec<Verdict> =
        try_join_all(cells.map(|(vantage, method)| session.judge_in(state, vantage, method))).await?;
    Ok(verdicts
        .into_iter()
        .filter_map(|verdict| match verdict.outcome {
            Judgement::NotAsExpected { step, .. } => Some((format!("{}/{}", verdict.vantage, verdict.method), step)),
            _ => None,
        })
        .collect())
}

fn expected(
    session: &Session,
    state: &State,
    breaks: impl Fn(&State, &Cell) -> Option<Step>,
) -> Result<BTreeMap<String, Step>> {
    let mut cells = BTreeMap::new();
    for vantage in vantages(session) {
        for method in methods(session) {
            let node = match &vantage.kind {
                VantageKind::Pod { namespace, pod } => state.pod(namespace, pod).and_then(|pod| pod.node.clone()),
                VantageKind::Node { node, .. } => Some(node.clone()),
                VantageKind::Laptop => None,
            };
            let cell = Cell {
                is_pod: matches!(vantage.kind, VantageKind::Pod { .. }),
                reachable: reachmap::model::expect(state, &vantage, &method)?.reachable,
                vantage: vantage.id.clone(),
                method: method.id.clone(),
                node,
            };
            if let Some(step) = breaks(state, &cell) {
                cells.insert(format!("{}/{}", cell.vantage, cell.method), step);
            }
        }
    }
    Ok(cells)
}

fn vantages(session: &Session) -> Vec<Vantage> {
    session.handover().vantages.iter().map(|site| site.vantage.clone()).collect()
}

fn methods(session: &Session) -> Vec<Method> {
    Method::all(session.workers())
}

/// Waits until what is seen is what is `wanted`; returns the last thing seen.
async fn until<T: PartialEq, F: Future<Output = Result<T>>>(mut look: impl FnMut() -> F, wanted: &T) -> Result<T> {
    let started = Instant::now();
    loop {
        let seen = look().await?;
        if seen == *wanted || started.elapsed() > CONVERGENCE {
            return Ok(seen);
        }
    }
}

/// The same against a state that is collected anew each time: pods that were made again have other names.
async fn until_mended(session: &Session) -> Result<BTreeMap<String, Step>> {
    let look = || async {
        let state = session.snapshot().await?;
        let ready = state.ready_pods_of(NAMESPACE, "nginx-multiple-nodes").len() == 3;
        let has_address = state
            .service(NAMESPACE, "nginx-loadbalancer")
            .is_some_and(|service| !service.load_balancer_addresses.is_empty());
        if !ready || !has_address {
            return Ok(BTreeMap::from([("the environment is not whole again".to_owned(), Step::Resolve)]));
        }
        red(session, &state).await
    };
    until(look, &BTreeMap::new()).await
}

async fn scale(session: &Session, replicas: u32) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(session.client().clone(), NAMESPACE);
    let patch = serde_json::json!({ "spec": { "replicas": replicas } });
    api.patch("nginx-multiple-nodes", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
        .tried(ErrorKind::Environment, || format!("scale nginx to {replicas}"))
}

/// Writes the tutorial's `hosts` block, pointing to the first pod of `workload`, or to the cluster IP.
async fn edit_corefile(session: &Session, workload: Option<&str>, names: Names) -> Result<()> {
    let state = session.snapshot().await?;
    let address = match workload {
        Some(workload) => {
            state.ready_pods_of(NAMESPACE, workload).first().and_then(|pod| pod.addresses.first().copied())
        }
        None => {
            state.service(NAMESPACE, "nginx-clusterip-service").and_then(|service| service.cluster_ips.first().copied())
        }
    };
    let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, "find an address for the name", "none"))?;
    let journal = session.journal();
    let edit = |original: &str| tutorial::corefile(original, address, names);
    coredns::change(
        session.client(),
        &journal,
        edit,
        |replica, name| session.ask(replica, name),
        Way::Reload,
        CONVERGENCE,
    )
    .await
    .map(drop)
}

mod without_cluster {
    use super::*;

    /// The matrix has what the predicates above speak of.
    #[test]
    fn the_methods_named_here_exist() {
        let known: BTreeSet<String> = Method::all(3).into_iter().map(|method| method.id).collect();
        for id in ["pod-ip", "clusterip-address", "loadbalancer-address", "nodeport-worker-1", "nodeport-name"] {
            assert!(known.contains(id), "{id}");
        }
        assert!(Matrix::tutorial(3).len() >= 100);
    }
}
