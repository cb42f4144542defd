//! Faults that no single request shows, or only by chance: each is found by a load, and named.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    command::Command,
    environment::workloads::{CLUSTER_IP, LOAD_BALANCER, NAMESPACE, NODE_PORT},
    k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service},
    },
    kube::{
        Api,
        api::{Patch, PatchParams},
    },
    kubernetes::{conditions, wait},
    load::{
        generator::Plan as LoadPlan,
        statistics::{Law, Plan},
        summary::AsHey,
    },
    session::{Session, handover::Start},
    state::ProxyMode,
    wire::Extent,
};
use reachmap_suites::changes::{changed, create, delete};
use serde_json::{Value, json};

use super::super::{CONVERGENCE, ONE_AT_A_TIME, forget_attempts, on_node, until};

const WORKER_1: &str = "worker-1";

/// What a load from `vantage` by `method` finds, held against the law that was derived before the fault: nothing, if all is
/// in order.
async fn findings(session: &Session, vantage: &str, method: &str, law: &Law) -> Result<Vec<String>> {
    let statistics = Plan { tests: law.tests(), ..Plan::default() };
    let connections = statistics.connections(law)?;
    let extent = Extent::Requests(connections);
    let plan = LoadPlan {
        extent,
        // Many at once: under some faults each waits for its timeout.
        connections: 200,
        keep_alive: false,
        connect_timeout: Duration::from_secs(4),
        timeout: Duration::from_secs(6),
        ..LoadPlan::default()
    };
    let id = format!("sabotage-{}", another());
    let ends = match session.load(vantage, method, &plan, &id).await {
        Ok(ends) => ends,
        // A pod whose log never shows the last request: it is named.
        Err(error) if error.kind() == ErrorKind::Deadline => return Ok(vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    let mut found: Vec<String> = ends.not_allowed.keys().cloned().collect();
    if !ends.results.errors().is_empty() {
        found.push(format!("failed: {:?}\n{}", ends.results.errors(), AsHey(&ends.results)));
    }
    if !ends.conservation.is_exact() {
        found.push(ends.conservation.to_string());
    }
    // Connections that failed are no sample of anything.
    if ends.results.errors().is_empty() {
        let judgements = statistics.judge(&format!("{vantage}/{method}"), law, &ends.sample())?;
        found.extend(judgements.iter().filter(|judgement| !judgement.is_consistent()).map(ToString::to_string));
    }
    Ok(found)
}

/// A number that no other load of this process has.
fn another() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Nothing is found; then something is broken, and what is found names it; then it is mended, and nothing is found.
async fn sabotage<I, M>(
    (vantage, method): (&str, &str),
    inject: impl FnOnce() -> I,
    mend: impl FnOnce() -> M,
    names_it: impl Fn(&[String]) -> bool,
) -> Result<()>
where
    I: Future<Output = Result<()>>,
    M: Future<Output = Result<()>>,
{
    let session = Session::current()?;
    let (_, law) = session.balance(vantage, method)?;
    let look = || findings(session, vantage, method, &law);
    let none = Vec::<String>::new();
    forget_attempts(session).await?;
    assert_eq!(look().await?, none, "before the fault");
    let mut last = Vec::new();
    let seen = || async {
        let started = Instant::now();
        while !names_it(&last) && started.elapsed() < CONVERGENCE {
            last = look().await?;
        }
        Ok(last)
    };
    let found = changed(inject, seen, mend).await?;
    assert!(names_it(&found), "the fault is not named: {found:#?}");
    forget_attempts(session).await?;
    assert_eq!(until(look, &none).await?, none, "after the fault");
    Ok(())
}

/// A rule of kube-proxy's on worker-1, and its place in its chain.
struct Rule {
    chain: String,
    number: usize,
    /// Its specification, as `iptables -S` prints it.
    spec: Vec<String>,
}

impl Rule {
    /// The first rule of the Service's own chain, or of that for traffic from outside, for which `is_it` holds.
    async fn find(session: &Session, prefix: &str, service: &str, is_it: impl Fn(&str) -> bool) -> Result<Self> {
        let mode = session.state().proxy_mode;
        assert_eq!(mode, ProxyMode::Iptables, "this fault is made in kube-proxy's iptables rules");
        let said = on_node(session, WORKER_1, &["iptables", "-w", "-t", "nat", "-S"]).await?;
        let comment = format!("{NAMESPACE}/{service}");
        let of_service = |line: &&str| line.starts_with(&format!("-A {prefix}")) && line.contains(&comment);
        let missing = || Error::new(ErrorKind::Environment, format!("find a rule of {service}"), "there is none");
        let chain = said.lines().find(of_service).and_then(|line| line.split(' ').nth(1)).ok_or_else(missing)?;
        let in_chain = said.lines().filter(|line| line.starts_with(&format!("-A {chain} ")));
        let (index, line) = in_chain.enumerate().find(|(_, line)| is_it(line)).ok_or_else(missing)?;
        Ok(Self { chain: chain.to_owned(), number: index + 1, spec: words(line).split_off(2) })
    }

    async fn change(&self, session: &Session, action: &str, spec: &[String]) -> Result<()> {
        let number = self.number.to_string();
        let mut argv = vec!["iptables", "-w", "-t", "nat", action, &self.chain, &number];
        argv.extend(spec.iter().map(String::as_str));
        on_node(session, WORKER_1, &argv).await.map(drop)
    }

    async fn replace(&self, session: &Session, spec: &[String]) -> Result<()> {
        self.change(session, "-R", spec).await
    }

    async fn delete(&self, session: &Session) -> Result<()> {
        self.change(session, "-D", &[]).await
    }

    async fn put_back(&self, session: &Session) -> Result<()> {
        self.change(session, "-I", &self.spec).await
    }
}

/// The words of a line, in which a word with blanks is quoted.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    quoted
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(ToOwned::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// A pod that should get a third of one node's connections gets ten points more.
#[tokio::test]
async fn probabilities_that_are_ten_points_off_on_one_node_are_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let rule = Rule::find(session, "KUBE-SVC-", CLUSTER_IP, |line| line.contains("--probability 0.333")).await?;
    let skewed: Vec<String> = rule
        .spec
        .iter()
        .map(|word| if word.starts_with("0.333") { "0.43333".to_owned() } else { word.clone() })
        .collect();
    sabotage(
        (WORKER_1, "clusterip-address"),
        || rule.replace(session, &skewed),
        || rule.replace(session, &rule.spec),
        |found| found.iter().any(|finding| finding.contains("shares")),
    )
    .await
}

#[tokio::test]
async fn an_endpoint_that_one_node_does_not_know_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let rule = Rule::find(session, "KUBE-SVC-", CLUSTER_IP, |line| line.contains("--probability 0.333")).await?;
    sabotage(
        (WORKER_1, "clusterip-address"),
        || rule.delete(session),
        || rule.put_back(session),
        |found| found.iter().any(|finding| finding.contains("shares")),
    )
    .await
}

/// Without masquerade, what a pod on another node answers goes past the node that translated, and nobody knows it.
#[tokio::test]
async fn a_masquerade_that_is_dropped_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let rule = Rule::find(session, "KUBE-EXT-", NODE_PORT, |line| line.contains("KUBE-MARK-MASQ")).await?;
    sabotage(
        ("laptop", "nodeport-worker-1"),
        || rule.delete(session),
        || rule.put_back(session),
        |found| found.iter().any(|finding| finding.contains("and may see")),
    )
    .await
}

/// One more pod of the Service, which answers and writes nothing down.
#[tokio::test]
async fn a_pod_that_does_not_log_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    sabotage(
        (WORKER_1, "clusterip-address"),
        || add_quiet(session),
        || remove_quiet(session),
        |found| found.iter().any(|finding| finding.contains("the log of quiet")),
    )
    .await
}

#[tokio::test]
async fn affinity_that_was_left_on_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let affinity = |kind: &'static str| async move {
        let api: Api<Service> = Api::namespaced(session.client().clone(), NAMESPACE);
        let patch = Patch::Merge(json!({ "spec": { "sessionAffinity": kind } }));
        let patched = api.patch(CLUSTER_IP, &PatchParams::default(), &patch).await;
        patched.map(drop).tried(ErrorKind::Environment, || format!("set the affinity of {CLUSTER_IP}"))
    };
    sabotage(
        (WORKER_1, "clusterip-address"),
        || affinity("ClientIP"),
        || affinity("None"),
        |found| found.iter().any(|finding| finding.contains("shares")),
    )
    .await
}

/// A second node has the load balancer's address, and is quicker to say so.
#[tokio::test]
async fn an_address_that_two_nodes_announce_is_found() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let state = session.snapshot().await?;
    let service = state.service(NAMESPACE, LOAD_BALANCER);
    let address = service.and_then(|service| service.load_balancer_addresses.first()).map(ToString::to_string);
    let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, "announce the address", "there is none"))?;
    let announcer = service.and_then(|service| service.announced_by.clone());
    let other = ["worker-1", "worker-2"]
        .into_iter()
        .find(|id| state.node_by_id(id).is_ok_and(|node| Some(&node.name) != announcer.as_ref()));
    let (other, network) = (other.unwrap_or(WORKER_1), format!("{address}/32"));
    let announce = |action: &'static str| {
        let (network, address) = (network.clone(), address.clone());
        async move {
            on_node(session, other, &["ip", "address", action, &network, "dev", "eth0"]).await?;
            // The laptop asks again who has the address.
            on_laptop(session, &["ip", "neighbour", "flush", "to", &address]).await
        }
    };
    sabotage(
        ("laptop", "loadbalancer-address"),
        || announce("add"),
        || announce("delete"),
        |found| found.iter().any(|finding| finding.contains("and may see")),
    )
    .await
}

/// Runs a command on the laptop, as somebody who may change its network.
async fn on_laptop(session: &Session, argv: &[&str]) -> Result<()> {
    let laptop = session.handover().site("laptop").map(|site| &site.start);
    let Some(Start::Container { engine, container }) = laptop else {
        return Err(Error::new(ErrorKind::Usage, "run a command on the laptop", "there is none"));
    };
    let command = Command::new("docker").args(["exec", "--privileged", container]).args(argv.iter().copied());
    command.after(engine).run_async().await.map(drop)
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
    wait::until(pods, "quiet", "see the quiet pod run", CONVERGENCE, conditions::pod_ready).await
}

async fn remove_quiet(session: &Session) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(session.client().clone(), NAMESPACE);
    delete(&pods, "quiet").await?;
    delete(&maps, "quiet").await?;
    wait::until(pods, "quiet", "see the quiet pod go", CONVERGENCE, conditions::is_gone).await
}
