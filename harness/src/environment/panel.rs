//! The panel: pods in which every resolver stands beside the others, each behind a recorder.
//!
//! A pod for each DNS configuration, so that the kubelet itself writes each `resolv.conf`. The only server that it names
//! is the recorder on the pod's loopback address, which passes everything on to the cluster's DNS and writes down
//! what was asked and answered ([`crate::wire::Recorded`]).
//!
//! ```no_run
//! use std::time::Duration;
//! use reachmap::{environment::{images::lookups::Lookups, panel::PanelPods}, model::dns::Resolver, probe::AgentBinary};
//! # async fn example(client: kube::Client, agent: &AgentBinary, lookups: &Lookups) -> reachmap::Result<()> {
//! let pods = PanelPods::beside_testpod(client, "r1").await?;
//! pods.deploy(Duration::from_secs(60)).await?;
//! let panel = pods.open(agent, lookups).await?;
//! let recorded = panel.lookup("ndots5-cluster", Resolver::Musl, "api.example.com").await?;
//! for question in &recorded.questions {
//!     println!("{} {}", question.name, question.kind);
//! }
//! pods.remove(Duration::from_secs(30)).await
//! # }
//! ```

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
};
use tokio::sync::{Mutex, Semaphore};

use super::{
    images::lookups::Lookups,
    workloads::{NAMESPACE, service_address, until_gone, until_ready},
};
use crate::{
    Context as _, Error, ErrorKind, Result,
    kubernetes::{
        FIELD_MANAGER, MANAGED_BY,
        apply::{Manifest, render},
    },
    model::dns::Resolver,
    probe::{Agent, AgentBinary, ProgramFile, millis},
    wire::{End, Recorded, Recording},
};

mod configuration;
mod resolver;

pub use configuration::PanelConfiguration;
use resolver::Programs;

const MANIFEST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/manifests/panel.yaml"));

/// The panel's pods, among all that are ours.
const SELECTOR: &str = "app=panel";

/// The name of their container.
const CONTAINER: &str = "panel";

/// How many lookups by musl are under way in one pod.
const PATIENT: usize = 8;

/// How long a lookup may take unless told otherwise: a server that is silent is asked twice, five seconds each
/// (`resolv.conf(5)`), for the name and for one of the search path.
pub const LOOKUP_LIMIT: Duration = Duration::from_secs(25);

/// The panel's pods in one cluster, in the namespace of the workloads.
#[derive(Clone)]
pub struct PanelPods {
    client: Client,
    image: String,
    pull_policy: String,
    run: String,
    configurations: Vec<PanelConfiguration>,
}

impl fmt::Debug for PanelPods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanelPods").field("image", &self.image).field("run", &self.run).finish_non_exhaustive()
    }
}

impl PanelPods {
    /// Pods with all of [`PanelConfiguration::all`] for the run with the id `run`, of the image of the test pod,
    /// which must be there; nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if there is no test pod.
    pub async fn beside_testpod(client: Client, run: impl Into<String>) -> Result<Self> {
        let tried = || "learn the image of the test pod";
        let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let spec = api.get("testpod").await.tried(ErrorKind::Environment, tried)?.spec.unwrap_or_default();
        let container = spec.containers.into_iter().next().unwrap_or_default();
        let image =
            container.image.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "its container has none"))?;
        let pull_policy = container.image_pull_policy.unwrap_or_else(|| "IfNotPresent".to_owned());
        let configurations = PanelConfiguration::all();
        Ok(Self { client, image, pull_policy, run: run.into(), configurations })
    }

    /// The configurations, one for each pod.
    pub fn configurations(&self) -> &[PanelConfiguration] {
        &self.configurations
    }

    /// Makes the pods, and waits until they run. Pods of an earlier run are replaced: its agents may still
    /// stand in them.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what the API server refused, [`ErrorKind::Deadline`] with why a pod does not run.
    pub async fn deploy(&self, deadline: Duration) -> Result<()> {
        self.remove(deadline).await?;
        let manifests: Vec<Manifest> =
            self.configurations.iter().map(|one| self.manifest(one)).collect::<Result<_>>()?;
        try_join_all(manifests.iter().map(|manifest| manifest.apply(&self.client))).await?;
        let (wanted, tried) = (self.configurations.len(), "see the panel's pods run");
        until_ready(&self.client, SELECTOR, wanted, tried, deadline).await.map(drop)
    }

    /// Takes agent and programs to every pod; each of them then forwards to the cluster's DNS, the Service `kube-dns`.
    ///
    /// Only one process at a time may have the panel open: each pod has one port 53.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] or [`ErrorKind::Deadline`], naming the pod and what was said there.
    pub async fn open(&self, binary: &AgentBinary, lookups: &Lookups) -> Result<Panel> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), "kube-system");
        let server = service_address(&services, "kube-dns").await?;
        let seats = self.configurations.iter().map(async |configuration| {
            let pod = configuration.pod();
            let put = |file: Result<ProgramFile, String>| {
                let (client, pod) = (self.client.clone(), pod.clone());
                async move {
                    match file {
                        Ok(file) => file.put_in_pod(&client, NAMESPACE, &pod, CONTAINER).await.map(Ok),
                        Err(why) => Ok(Err(why)),
                    }
                }
            };
            let (glibc, musl, go, agent) = tokio::try_join!(
                put(lookups.glibc.clone()),
                put(lookups.musl.clone()),
                put(Ok(lookups.go.clone())),
                Agent::in_pod(&self.client, NAMESPACE, &pod, CONTAINER, binary),
            )?;
            let programs = Programs { glibc, musl, go };
            let seat = Seat { agent, programs, turn: Mutex::new(()), patient: Semaphore::new(PATIENT) };
            Ok::<_, Error>((configuration.id.clone(), seat))
        });
        let seats = try_join_all(seats).await?.into_iter().collect();
        Ok(Panel { seats, server: SocketAddr::new(server, 53) })
    }

    /// Deletes the pods, if there are any of ours, and waits until they are gone.
    ///
    /// A run that is killed leaves them to the end of their namespace.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] if one is still there in the end.
    pub async fn remove(&self, deadline: Duration) -> Result<()> {
        let tried = "remove the panel's pods";
        let ours = ListParams::default().labels(&format!("{SELECTOR},{MANAGED_BY}={FIELD_MANAGER}"));
        self.pods()
            .delete_collection(&DeleteParams::default().grace_period(0), &ours)
            .await
            .tried(ErrorKind::Environment, || tried)?;
        until_gone(&self.client, SELECTOR, tried, deadline).await
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn manifest(&self, configuration: &PanelConfiguration) -> Result<Manifest> {
        let search =
            serde_json::to_string(&configuration.search).tried(ErrorKind::Internal, || "write down a search path")?;
        let ndots = configuration.ndots.to_string();
        let values = [
            ("id", configuration.id.as_str()),
            ("namespace", NAMESPACE),
            ("image", &self.image),
            ("pull_policy", &self.pull_policy),
            ("search", &search),
            ("ndots", &ndots),
        ];
        Ok(Manifest::parse("panel.yaml", &render("panel.yaml", MANIFEST, &values)?)?.labelled(&self.run))
    }
}

/// The panel, open: an agent with its recorder in every pod, until this is dropped.
#[derive(Debug)]
pub struct Panel {
    seats: BTreeMap<String, Seat>,
    server: SocketAddr,
}

/// What stands in one pod.
#[derive(Debug)]
struct Seat {
    agent: Agent,
    programs: Programs,
    /// Lookups in one pod are made one after the other.
    turn: Mutex<()>,
    /// But for musl's, beside them: after SERVFAIL it waits for its timeout, five seconds, and does nothing.
    patient: Semaphore,
}

impl Panel {
    /// The agent of a pod.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such configuration.
    pub fn agent(&self, configuration: &str) -> Result<&Agent> {
        Ok(&self.seat(configuration)?.agent)
    }

    /// Where questions go unless told otherwise.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Lets `resolver` look `name` up in the pod with the configuration called `configuration`.
    ///
    /// Lookups in one pod wait for each other, but for musl's; pods work at the same time.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such configuration; [`ErrorKind::Environment`] if the agent is lost or cannot
    /// record. A lookup that fails is no error, and neither is a resolver that is [not there](Panel::missing).
    pub async fn lookup(&self, configuration: &str, resolver: Resolver, name: &str) -> Result<Recorded> {
        self.lookup_at(self.server, LOOKUP_LIMIT, configuration, resolver, name).await
    }

    /// As [`Panel::lookup`], with the questions going to `server`, such as a single replica, and ended after `limit`.
    ///
    /// # Errors
    /// As [`Panel::lookup`].
    pub async fn lookup_at(
        &self,
        server: SocketAddr,
        limit: Duration,
        configuration: &str,
        resolver: Resolver,
        name: &str,
    ) -> Result<Recorded> {
        let seat = self.seat(configuration)?;
        let Some(asker) = seat.programs.asker(resolver, name) else { return Ok(nobody_asked()) };
        let timeout_ms = millis(limit);
        // Here and not at the agent, whose answer has a time limit.
        let keeps_socket = resolver::keeps_socket(resolver);
        let (_patient, _turn) =
            if keeps_socket { (seat.patient.acquire().await.ok(), None) } else { (None, Some(seat.turn.lock().await)) };
        seat.agent.record(Recording { asker, server, timeout_ms, keeps_socket }).await
    }

    /// Why `recorded`, of a lookup with that configuration, shows that the resolver is not supported here, if it does: its
    /// program is not in the pods' image, or could not be brought along.
    ///
    /// ```no_run
    /// # async fn test(panel: &reachmap::environment::panel::Panel) -> reachmap::Result<()> {
    /// let resolver = reachmap::model::dns::Resolver::Nslookup;
    /// let recorded = panel.lookup("ndots5-cluster", resolver, "api.example.com").await?;
    /// if let Some(why) = panel.missing("ndots5-cluster", resolver, &recorded)? {
    ///     println!("nothing is known of {resolver}: {why}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such configuration.
    pub fn missing(&self, configuration: &str, resolver: Resolver, recorded: &Recorded) -> Result<Option<String>> {
        let seat = self.seat(configuration)?;
        Ok((recorded.end == End::NoSuchProgram).then(|| seat.programs.missing(resolver)))
    }

    fn seat(&self, configuration: &str) -> Result<&Seat> {
        self.seats.get(configuration).ok_or_else(|| {
            let known: Vec<&str> = self.seats.keys().map(String::as_str).collect();
            Error::new(ErrorKind::Usage, format!("look up with the configuration {configuration}"), "there is none")
                .hint(format!("The configurations are: {}.", known.join(", ")))
        })
    }
}

/// The record of a lookup by a program that is not there.
fn nobody_asked() -> Recorded {
    let (questions, end) = (Vec::new(), End::NoSuchProgram);
    Recorded { questions, unreadable: 0, strays: 0, end, elapsed_us: 0, starved_us: 0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::mock;

    fn testpod() -> String {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "testpod"}, "spec": {"containers": [
            {"name": "testpod", "image": "testpod:1", "imagePullPolicy": "Never"}]}})
        .to_string()
    }

    async fn pods() -> PanelPods {
        let (client, _served) = mock::server(|_| (200, testpod()));
        PanelPods::beside_testpod(client, "r1").await.unwrap()
    }

    /// The restricted level's controls that a manifest can break, and its list of sysctls
    /// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
    #[tokio::test]
    async fn every_pod_keeps_to_the_restricted_level_and_asks_its_recorder_alone() {
        let pods = pods().await;
        for configuration in pods.configurations() {
            let manifest = pods.manifest(configuration).unwrap();
            let [pod] = manifest.objects() else { panic!("{manifest:?}") };
            assert_eq!(pod.metadata.name, Some(configuration.pod()));
            let spec = &pod.data["spec"];
            assert_eq!(spec["dnsPolicy"], "None");
            assert_eq!(spec["dnsConfig"]["nameservers"], json!(["127.0.0.1"]));
            assert_eq!(spec["dnsConfig"]["searches"], json!(configuration.search));
            assert_eq!(
                spec["dnsConfig"]["options"],
                json!([{"name": "ndots", "value": configuration.ndots.to_string()}])
            );
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            let sysctls = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]);
            assert_eq!(spec["securityContext"]["sysctls"], sysctls);
            let container = &spec["containers"][0];
            assert_eq!((&container["image"], &container["imagePullPolicy"]), (&json!("testpod:1"), &json!("Never")));
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
        }
    }

    #[tokio::test]
    async fn a_configuration_that_is_not_there_is_named_with_those_that_are() {
        let panel = Panel { seats: BTreeMap::new(), server: "10.96.0.10:53".parse().unwrap() };
        let error = panel.lookup("ndots9", Resolver::Go, "web").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
