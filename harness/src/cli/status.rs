//! `status`: what is there, by what is recorded and, where it answers, by what the cluster itself says.

use std::{fmt, path::PathBuf};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde::Serialize;

use super::{ShownArguments, cluster::client};
use crate::{
    Context as _, ErrorKind, Result,
    environment::{
        addons::metallb,
        cluster::{existing, record::Record},
        engine::Sandbox,
        gc::{self, ClusterStatus},
        journal::Journal,
        workloads,
    },
    home::Home,
    kubernetes::conditions::is_node_ready,
    model::{Vantage, VantageKind},
};

/// Everything of ours that is there.
#[derive(Debug, Serialize)]
struct Status {
    home: PathBuf,
    private_engine: bool,
    clusters: Vec<Cluster>,
    existing_clusters: Vec<Existing>,
    /// The records that cannot be read, and why.
    unreadable: Vec<String>,
}

/// A cluster that we made.
#[derive(Debug, Serialize)]
struct Cluster {
    name: String,
    /// One line for a person.
    state: String,
    in_use: bool,
    kept: bool,
    age_seconds: i64,
    edits_to_put_back: bool,
    kubernetes: String,
    workers: u8,
    proxy_mode: String,
    ip_family: String,
    pool: String,
    /// The last runs that used it, each with its time.
    runs: Vec<(String, String)>,
    /// What the cluster itself says, or why it does not.
    says: Vec<String>,
}

/// A cluster of the user's on which there is something of ours.
#[derive(Debug, Serialize)]
struct Existing {
    context: String,
    kubeconfig: PathBuf,
    kept: bool,
    runs: Vec<String>,
}

pub(super) async fn status(arguments: &ShownArguments) -> Result<u8> {
    let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
    let mut clusters = Vec::new();
    for cluster in gc::status(&home)? {
        let says = live_status(&home, &cluster.record).await.unwrap_or_else(|error| vec![error.to_string()]);
        clusters.push(Cluster::of(&cluster, says));
    }
    let status = Status {
        home: home.root().to_owned(),
        private_engine: Sandbox::running(&home).is_some(),
        clusters,
        existing_clusters: gc::existing_clusters(&home)?.into_iter().map(Existing::of).collect(),
        unreadable: gc::unreadable(&home)?,
    };
    arguments.output.print(&status, || status.to_string())?;
    Ok(0)
}

/// What the cluster itself says: nodes, pods of add-ons, what is journaled.
async fn live_status(home: &Home, record: &Record) -> Result<Vec<String>> {
    let client = client(home, record).await?;
    let mut says = nodes(&client).await?;
    for add_on in ["kube-flannel", metallb::NAMESPACE, workloads::NAMESPACE] {
        says.push(format!("{add_on}: {}", pods(&client, add_on).await?));
    }
    for entry in Journal::new(client, "status", None).read().await? {
        says.push(format!("edited by the run {}: {}", entry.run, entry.target));
    }
    Ok(says)
}

/// Each node, whether it is Ready, and the pod on it that asks for it.
async fn nodes(client: &Client) -> Result<Vec<String>> {
    let places = workloads::node_places(client).await?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    let nodes = nodes.tried(ErrorKind::Environment, || "list the nodes")?;
    let line = |node: &Node| {
        let name = node.name_any();
        let state = if is_node_ready(node) { "Ready" } else { "not Ready" };
        let here = |vantage: &Vantage| matches!(&vantage.kind, VantageKind::Node { node, .. } if *node == name);
        match places.iter().find(|(vantage, _)| here(vantage)) {
            Some((vantage, pod)) => format!("node {name}: {state}, the vantage {vantage}, agent's pod {pod}"),
            None => format!("node {name}: {state}"),
        }
    };
    Ok(nodes.iter().map(line).collect())
}

/// How the pods in an add-on's namespace are.
async fn pods(client: &Client, namespace: &str) -> Result<String> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default().limit(1)).await;
    let pods = pods.tried(ErrorKind::Environment, || format!("list the pods in {namespace}"))?;
    if pods.items.is_empty() {
        return Ok("not installed".to_owned());
    }
    let unready = workloads::unready_pods(client, &[namespace]).await;
    Ok(if unready.is_empty() { "every pod ready".to_owned() } else { unready.join(", ") })
}

impl Cluster {
    fn of(status: &ClusterStatus, says: Vec<String>) -> Self {
        let record = &status.record;
        let config = &record.config;
        Self {
            name: record.name.clone(),
            state: status.line(),
            in_use: status.held,
            kept: record.is_kept(),
            age_seconds: status.age_seconds,
            edits_to_put_back: status.journaled,
            kubernetes: config.kubernetes.clone(),
            workers: config.workers,
            proxy_mode: format!("{:?}", config.proxy_mode),
            ip_family: format!("{:?}", config.ip_family),
            pool: record.pool.to_string(),
            runs: record.runs.iter().map(|run| (run.id.clone(), run.started_at.to_string())).collect(),
            says,
        }
    }
}

impl Existing {
    fn of(record: existing::Record) -> Self {
        let existing::Record { context, kubeconfig, kept, runs, .. } = record;
        Self { context, kubeconfig, kept, runs }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = if self.private_engine { "runs" } else { "does not run" };
        write!(f, "home             {}\nprivate engine   {engine}", self.home.display())?;
        if self.clusters.is_empty() {
            write!(f, "\nclusters         none")?;
        }
        for cluster in &self.clusters {
            let Cluster { state, kubernetes, workers, proxy_mode, ip_family, pool, runs, says, .. } = cluster;
            write!(f, "\ncluster          {state}\n                 ")?;
            write!(f, "Kubernetes {kubernetes}, {workers} workers, {proxy_mode}, {ip_family}, pool {pool}")?;
            for (id, started) in runs {
                write!(f, "\n                 used by the run {id} since {started}")?;
            }
            for line in says {
                write!(f, "\n                 {line}")?;
            }
        }
        for Existing { context, kubeconfig, kept, runs } in &self.existing_clusters {
            let kept = if *kept { ", kept" } else { "" };
            let runs = runs.join(", ");
            write!(f, "\nexisting cluster {context} of {}{kept}: used by {runs}", kubeconfig.display())?;
        }
        for line in &self.unreadable {
            write!(f, "\nunreadable       {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::mock;

    fn node(name: &str, ready: &str) -> Value {
        json!({
            "metadata": { "name": name },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    fn list(kind: &str, items: &[Value]) -> (u16, String) {
        (200, json!({ "kind": kind, "apiVersion": "v1", "metadata": {}, "items": items }).to_string())
    }

    #[test]
    fn what_is_there_is_told_in_every_form() {
        let cluster = Cluster {
            name: "mine".to_owned(),
            state: "mine: free, kept, 7 min old".to_owned(),
            in_use: false,
            kept: true,
            age_seconds: 430,
            edits_to_put_back: false,
            kubernetes: "v1.37.2".to_owned(),
            workers: 3,
            proxy_mode: "Iptables".to_owned(),
            ip_family: "Ipv4".to_owned(),
            pool: "172.18.255.200-172.18.255.210".to_owned(),
            runs: vec![("r1".to_owned(), "2026-11-24T02:45:46Z".to_owned())],
            says: vec!["node mine-worker: Ready".to_owned()],
        };
        let existing = Existing {
            context: "staging".to_owned(),
            kubeconfig: "/home/me/.kube/config".into(),
            kept: false,
            runs: vec!["r2".to_owned()],
        };
        let status = Status {
            home: "/home/me/.cache/reachmap".into(),
            private_engine: true,
            clusters: vec![cluster],
            existing_clusters: vec![existing],
            unreadable: Vec::new(),
        };
        insta::assert_snapshot!("status", crate::cli::forms(&status, || status.to_string()));
    }

    #[tokio::test]
    async fn nodes_that_are_not_ready_and_add_ons_that_are_not_there_are_told() {
        let (client, _served) = mock::server(|asked| match asked.path.as_str() {
            "/api/v1/nodes" => list("NodeList", &[node("t-worker", "True"), node("t-worker2", "Unknown")]),
            "/api/v1/namespaces/reachmap-nodes/pods" => list(
                "PodList",
                &[
                    json!({ "metadata": { "name": "node-1", "namespace": "reachmap-nodes" }, "spec": { "nodeName": "t-worker", "containers": [] } }),
                ],
            ),
            _ => list("PodList", &[]),
        });
        insta::assert_snapshot!(nodes(&client).await.unwrap().join("\n"), @r"
        node t-worker: Ready, the vantage worker-1, agent's pod node-1
        node t-worker2: not Ready
        ");
        assert_eq!(pods(&client, "metallb-system").await.unwrap(), "not installed");
    }
}
