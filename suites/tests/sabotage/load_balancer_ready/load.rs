//! Faults that no single request shows, or only by chance: each is found by one load, and named.
//!
//! Each test looks three times: before the fault, once it is live, and once it is mended. What tells when that is are facts of
//! the cluster, never the look itself; and all looks of the suite share one alpha.

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    command::Command,
    environment::workloads::{CLUSTER_IP, NAMESPACE, NODE_PORT},
    k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service},
    },
    kube::{
        Api,
        api::{Patch, PatchParams},
    },
    kubernetes::{conditions, wait},
    session::{Session, handover::Start},
};
use reachmap_suites::{
    changes::{create, delete_if_there},
    live::{until_live, until_rules_are_new},
    prelude::{LAPTOP, WORKER_1},
};
use serde_json::{Value, json};

use self::scene::{AT_ONCE, Announced, Scene, has_too_many};
use super::super::{
    CONVERGENCE, ONE_AT_A_TIME,
    node::{NodeFault, Rule, no_iptables, no_node},
};

mod scene;

/// How many endpoints the tutorial's Services have.
const ENDPOINTS: usize = 3;

/// A pod that should get a third of one node's connections gets ten points more.
#[tokio::test]
async fn probabilities_that_are_ten_points_off_on_one_node_are_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    if let Some(reason) = no_iptables(session) {
        return session.not_supported(reason);
    }
    let rule = third(session).await?;
    let fault = rule.replaced("--probability 0.3333", "--probability 0.4333")?;
    let scene = Scene::of("skewed", WORKER_1, "clusterip-address").await?;
    let pod = rule.pod(&scene.state)?;
    scene
        .sabotage(
            || fault.make(),
            || fault.undo(),
            |found| found.has_shares(|of, all| has_too_many(of, all) == (of.endpoint == pod) && of.connections > 0),
        )
        .await
}

#[tokio::test]
async fn an_endpoint_that_one_node_does_not_know_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    if let Some(reason) = no_iptables(session) {
        return session.not_supported(reason);
    }
    let rule = third(session).await?;
    let fault = rule.deleted()?;
    let scene = Scene::of("unknown-endpoint", WORKER_1, "clusterip-address").await?;
    let pod = rule.pod(&scene.state)?;
    scene
        .sabotage(
            || fault.make(),
            || fault.undo(),
            |found| found.has_shares(|of, _| (of.connections == 0) == (of.endpoint == pod)),
        )
        .await
}

/// The rule of worker-1 by which the first of three endpoints gets a third of the connections to the cluster IP.
async fn third(session: &'static Session) -> Result<Rule> {
    Rule::find(session, WORKER_1, ("KUBE-SVC-", CLUSTER_IP), |rule| rule.contains("--probability 0.3333")).await
}

/// The node that translates leaves the client's own address in. A pod on it answers all the same, and has seen that address. What goes
/// to other nodes is masqueraded by Flannel's rules, too; where the network plugin has none, what those pods answer goes past
/// the node that translated, and nobody knows it.
#[tokio::test]
async fn a_masquerade_that_is_dropped_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    if let Some(reason) = no_iptables(session) {
        return session.not_supported(reason);
    }
    let is_mark = |rule: &str| rule.contains("KUBE-MARK-MASQ");
    let fault = Rule::find(session, WORKER_1, ("KUBE-EXT-", NODE_PORT), is_mark).await?.deleted()?;
    let scene = Scene::of("unmasked", LAPTOP, "nodeport-worker-1").await?;
    let names = unmasked(&scene)?;
    scene.sabotage(|| fault.make(), || fault.undo(), |found| names.iter().all(|name| found.says(name))).await
}

/// What is said of each pod on worker-1 that sees the laptop's own address, and had to see another one.
fn unmasked(scene: &Scene) -> Result<Vec<String>> {
    let laptop = scene.state.places.get(LAPTOP).and_then(|place| place.addresses.iter().find(|own| own.is_ipv4()));
    let missing = |what: &str| Error::new(ErrorKind::Environment, "say what a masquerade hides", format!("no {what}"));
    let laptop = laptop.ok_or_else(|| missing("address of the laptop is known"))?;
    let node = &scene.state.node_by_id(WORKER_1)?.name;
    let here = scene.balance.answering.iter().filter(|one| one.node.as_ref() == Some(node));
    let names: Vec<String> = here
        .filter_map(|one| {
            let due: Vec<String> = one.seen.addresses()?.iter().map(ToString::to_string).collect();
            Some(format!("{} saw {laptop}, and may see {}", one.pod, due.join(", ")))
        })
        .collect();
    if names.is_empty() { Err(missing("pod is on worker-1")) } else { Ok(names) }
}

/// One more pod of the Service, which answers and writes nothing down.
#[tokio::test]
async fn a_pod_that_does_not_log_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let scene = Scene::of("quiet", WORKER_1, "clusterip-address").await?;
    scene.sabotage(|| add_quiet(session), || remove_quiet(session), |found| found.says("the log of quiet")).await
}

/// One pod has all of the connections but some of those that were begun at the same moment as the first one: kube-proxy's rules look
/// whether the client is known and then write it down (`-m recent --rcheck`, `--set`; in the mode nftables, a set of clients for
/// each endpoint), so that each of these may choose.
#[tokio::test]
async fn affinity_that_was_left_on_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let affinity = |kind: &'static str| async move {
        let api: Api<Service> = Api::namespaced(session.client().clone(), NAMESPACE);
        let patch = Patch::Merge(json!({ "spec": { "sessionAffinity": kind } }));
        let patched = api.patch(CLUSTER_IP, &PatchParams::default(), &patch).await;
        patched.map(drop).tried(ErrorKind::Environment, || format!("set the affinity of {CLUSTER_IP}"))?;
        until_rules_are_new(session, "affinity").await
    };
    let scene = Scene::of("affinity", WORKER_1, "clusterip-address").await?;
    scene
        .sabotage(
            || affinity("ClientIP"),
            || affinity("None"),
            |found| {
                found.has_shares(|of, all| of.connections < AT_ONCE.into() || of.connections + u64::from(AT_ONCE) > all)
            },
        )
        .await
}

/// A second node has the load balancer's address, and is quicker to say so. Both are named.
#[tokio::test]
async fn an_address_that_two_nodes_announce_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    if let Some(reason) = no_node(session) {
        return session.not_supported(reason);
    }
    let scene = Scene::of("announced-twice", LAPTOP, "loadbalancer-address").await?;
    let Announced { address, by } = Announced::of(&scene.state)?;
    let others = ["worker-1", "worker-2"].into_iter().map(|id| Ok((id, scene.state.node_by_id(id)?.name.clone())));
    let others: Vec<(&str, String)> = others.collect::<Result<_>>()?;
    let (id, other) = others.into_iter().find(|(_, name)| *name != by).unwrap_or((WORKER_1, String::new()));
    let address = address.to_string();
    let fault = NodeFault::with_address(session, id, &address)?;
    let forget = || forget_neighbour(session, &address);
    let mut both = [by, other];
    both.sort_unstable();
    scene
        .sabotage(
            || async {
                fault.make().await?;
                forget().await
            },
            || async {
                fault.undo().await?;
                forget().await
            },
            |found| found.says(&format!("were answered by {}", both.join(" and "))),
        )
        .await
}

/// Makes the laptop's kernel ask again who has the address.
async fn forget_neighbour(session: &Session, address: &str) -> Result<()> {
    let laptop = session.handover().site(LAPTOP).map(|site| &site.start);
    let Some(Start::Container { engine, container }) = laptop else {
        return Err(Error::new(ErrorKind::Usage, "change the laptop's neighbours", "there is no laptop"));
    };
    // As somebody who may change its network.
    let command = Command::new("docker").args(["exec", "--privileged", container]);
    command.args(["ip", "neighbour", "flush", "to", address]).after(engine).run_async().await.map(drop)
}

async fn add_quiet(session: &Session) -> Result<()> {
    let client = || session.client().clone();
    let maps: Api<ConfigMap> = Api::namespaced(client(), NAMESPACE);
    let config = maps.get("nginx-config").await.tried(ErrorKind::Environment, || "read nginx's configuration")?;
    let text = config.data.and_then(|mut data| data.remove("default.conf")).unwrap_or_default();
    let quiet = text.replacen("server {", "server {\n  access_log off;", 1);
    assert_ne!(quiet, text, "nginx's configuration has no server");
    create(&maps, json!({ "metadata": { "name": "quiet" }, "data": { "default.conf": quiet } })).await?;
    let deployments: Api<Deployment> = Api::namespaced(client(), NAMESPACE);
    let deployment = deployments.get("nginx-multiple-nodes").await;
    let deployment = deployment.tried(ErrorKind::Environment, || "read nginx's Deployment")?;
    let template = deployment.spec.and_then(|spec| spec.template.spec);
    let mut spec = serde_json::to_value(template).tried(ErrorKind::Internal, || "write the pod's spec")?;
    spec["topologySpreadConstraints"] = Value::Null;
    spec["volumes"][0]["configMap"]["name"] = json!("quiet");
    let pods: Api<Pod> = Api::namespaced(client(), NAMESPACE);
    create(&pods, json!({ "metadata": { "name": "quiet", "labels": { "app": "nginx" } }, "spec": spec })).await?;
    wait::until(pods, "quiet", "see the quiet pod run", CONVERGENCE, conditions::pod_ready).await?;
    until_live(session, CLUSTER_IP, ENDPOINTS + 1).await
}

async fn remove_quiet(session: &Session) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(session.client().clone(), NAMESPACE);
    delete_if_there(&pods, "quiet").await?;
    delete_if_there(&maps, "quiet").await?;
    wait::until(pods, "quiet", "see the quiet pod go", CONVERGENCE, conditions::is_gone).await?;
    until_live(session, CLUSTER_IP, ENDPOINTS).await
}
