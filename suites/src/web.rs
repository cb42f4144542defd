//! Web servers of a test's own, made after the tutorial's, and a Service before them.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Service},
};
use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    kube::{
        Api,
        api::{Patch, PatchParams},
    },
    kubernetes::{
        conditions,
        wait::{self, Seen},
    },
    model::{ServiceRef, Way},
    session::{Session, load::Logged},
    state::State,
};
use serde_json::{Value, json};

use crate::{
    changes::{create, delete_if_there},
    live::until_live,
};

/// The port at which every one of them answers, whatever it does at others: it ends their logs, and shows that they run.
pub const ALWAYS: u16 = 81;

/// How long it may take until they run, or are gone.
const AT_MOST: Duration = Duration::from_secs(90);

/// What answers as the tutorial's server does, with its header and with the address that it sees.
pub const PAGE: &str = "add_header X-Served-By $hostname always; add_header X-Client-Address $remote_addr always;";

/// Some web servers that are alike.
#[derive(Debug, Clone)]
pub struct Servers {
    /// Their Deployment's name.
    pub name: &'static str,
    /// How many there are.
    pub replicas: usize,
    /// nginx's `server` blocks; [`ALWAYS`] must be listened at.
    pub configuration: String,
    /// The ports that their container declares, by name.
    pub ports: Vec<(&'static str, u16)>,
}

/// Servers of several kinds, all behind one Service.
#[derive(Debug)]
pub struct Web {
    session: &'static Session,
    /// The Service's name, and the label `app` of all of its pods.
    pub name: &'static str,
    servers: Vec<Servers>,
    /// The Service's `type` and `ports`.
    spec: Value,
    /// The node that all of them are pinned to, if they are.
    node: Option<String>,
    /// The nodes that some kinds of them are pinned to.
    pinned: BTreeMap<&'static str, String>,
}

/// An nginx `server` block that listens at these ports.
pub fn server(ports: &[u16], locations: &str) -> String {
    let listen: Vec<String> = ports.iter().map(|port| format!("listen {port};")).collect();
    format!("server {{ {} access_log /dev/stdout; error_log /dev/stderr crit; {locations} }}\n", listen.join(" "))
}

/// The location that gives the tutorial's page.
pub fn page() -> String {
    format!("location / {{ {PAGE} root /usr/share/nginx/html; index index.html; }}")
}

impl Web {
    /// What is to be made; nothing is sent yet.
    pub fn new(session: &'static Session, name: &'static str, servers: Vec<Servers>, spec: Value) -> Self {
        Self { session, name, servers, spec, node: None, pinned: BTreeMap::new() }
    }

    /// The same, all of it pinned to a node.
    #[must_use]
    pub fn on_node(self, node: &str) -> Self {
        Self { node: Some(node.to_owned()), ..self }
    }

    /// The same, one kind of it pinned to a node.
    #[must_use]
    pub fn pinned(mut self, kind: &'static str, node: &str) -> Self {
        self.pinned.insert(kind, node.to_owned());
        self
    }

    /// The Service's cluster IP, as a way.
    pub fn cluster_ip(&self) -> Way {
        Way::ClusterIp { service: ServiceRef::new(NAMESPACE, self.name) }
    }

    /// Whose logs show what reached them.
    pub fn logged(&self) -> Logged<'static> {
        Logged { app: self.name, port: ALWAYS, says_who: true }
    }

    /// The names of the pods of one kind.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if there is none.
    pub fn pods_of(&self, state: &State, name: &str) -> Result<Vec<String>> {
        let pods = state.ready_pods_of(NAMESPACE, name);
        if pods.is_empty() {
            return Err(Error::new(ErrorKind::Environment, format!("find the pods of {name}"), "none is ready"));
        }
        Ok(pods.into_iter().map(|pod| pod.name.clone()).collect())
    }

    /// Makes the servers, then the Service, and returns when every node translates it to all of them.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] or [`ErrorKind::Deadline`], naming what does not come.
    pub async fn deploy(&self) -> Result<()> {
        for servers in &self.servers {
            self.make(servers).await?;
        }
        for servers in &self.servers {
            let doing = "see it rolled out";
            wait::until(self.api::<Deployment>(), servers.name, doing, AT_MOST, conditions::deployment_rolled_out)
                .await?;
        }
        // The pods are ready: their endpoints come all together.
        let mut spec = self.spec.clone();
        spec["selector"] = json!({ "app": self.name });
        create(&self.api::<Service>(), json!({ "metadata": { "name": self.name }, "spec": spec })).await?;
        let endpoints = self.servers.iter().map(|servers| servers.replicas).sum();
        until_live(self.session, self.name, endpoints).await
    }

    /// Has so many servers of one kind, and of all kinds together, and returns when every node translates the Service to them.
    ///
    /// # Errors
    /// As [`Web::deploy`].
    pub async fn scale(&self, kind: &str, replicas: usize, all: usize) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let scaled = self.api::<Deployment>().patch(kind, &PatchParams::default(), &patch).await;
        scaled.map(drop).tried(ErrorKind::Environment, || format!("scale {kind} to {replicas}"))?;
        let selector = format!("app={},kind={kind}", self.name);
        wait::until_all(
            self.api::<Pod>(),
            &selector,
            "see as many servers as there are to be",
            AT_MOST,
            |pods| match (pods.len(), pods.values().filter(|pod| conditions::is_ready(pod)).count()) {
                counts if counts == (replicas, replicas) => Seen::Met(()),
                (all, ready) => Seen::NotYet(format!("{ready} of {all} are ready, for {replicas}")),
            },
        )
        .await?;
        until_live(self.session, self.name, all).await
    }

    /// Deletes all of it, and waits until no pod is left.
    ///
    /// # Errors
    /// As [`Web::deploy`].
    pub async fn remove(&self) -> Result<()> {
        delete_if_there(&self.api::<Service>(), self.name).await?;
        for servers in &self.servers {
            delete_if_there(&self.api::<Deployment>(), servers.name).await?;
            delete_if_there(&self.api::<ConfigMap>(), servers.name).await?;
        }
        let selector = format!("app={}", self.name);
        wait::until_all(self.api::<Pod>(), &selector, "see the last of the pods go", AT_MOST, |pods| match pods.len() {
            0 => Seen::Met(()),
            left => Seen::NotYet(format!("{left} pods are left")),
        })
        .await
    }

    fn api<K>(&self) -> Api<K>
    where
        K: reachmap::kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.session.client().clone(), NAMESPACE)
    }

    async fn make(&self, servers: &Servers) -> Result<()> {
        let data = json!({ "default.conf": servers.configuration });
        create(&self.api::<ConfigMap>(), json!({ "metadata": { "name": servers.name }, "data": data })).await?;
        let tutorial = self.api::<Deployment>().get("nginx-multiple-nodes").await;
        let tutorial = tutorial.tried(ErrorKind::Environment, || "read the tutorial's Deployment")?;
        let mut spec = serde_json::to_value(tutorial.spec).tried(ErrorKind::Internal, || "write its spec")?;
        let labels = json!({ "app": self.name, "kind": servers.name });
        spec["replicas"] = json!(servers.replicas);
        spec["selector"] = json!({ "matchLabels": labels });
        spec["template"]["metadata"] = json!({ "labels": labels });
        let template = &mut spec["template"]["spec"];
        // The kinds together are spread over the nodes.
        template["topologySpreadConstraints"][0]["labelSelector"] = json!({ "matchLabels": { "app": self.name } });
        template["topologySpreadConstraints"][0]["matchLabelKeys"] = json!([]);
        if let Some(node) = self.pinned.get(servers.name).or(self.node.as_ref()) {
            template["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
        }
        template["volumes"][0]["configMap"]["name"] = json!(servers.name);
        let container = &mut template["containers"][0];
        let port = |(name, number): &(&str, u16)| json!({ "name": name, "containerPort": number });
        container["ports"] = servers.ports.iter().map(port).collect();
        container["readinessProbe"]["tcpSocket"]["port"] = json!(ALWAYS);
        let metadata = json!({ "name": servers.name, "labels": labels });
        create(&self.api::<Deployment>(), json!({ "metadata": metadata, "spec": spec })).await
    }
}
