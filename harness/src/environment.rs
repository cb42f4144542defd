//! Everything that must be there before a packet is sent: engine, images, cluster, add-ons, workloads.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::try_join_all;
use kube::Client;

use crate::{
    Error, ErrorCode, ErrorKind, Result,
    bundle::{Ground, NodeAccess},
    home::{Home, Lock},
    matrix::Stage,
    plan::EnvironmentOptions,
    probe::{Agent, AgentBinary},
    process,
    progress::Progress,
    report::{CorefileEdit, Retry},
    session::{
        directory::RunDirectory,
        handover::{self, Handover, LookupPrograms, Site},
        suite::Suite,
    },
};

pub mod addons;
pub(crate) mod barrier;
mod check;
pub mod cluster;
pub mod engine;
pub mod gc;
pub mod images;
pub mod journal;
mod left;
pub mod load_workers;
mod on_existing;
mod on_leased;
pub mod panel;
pub mod policies;
mod release;
mod rules;
mod sites;
mod stages;
pub mod tutorial;
pub mod workloads;
pub(crate) mod zones;

use addons::{coredns, metallb};
pub use check::check;
use cluster::{
    EngineAccess,
    existing::{self, ExistingCluster},
    lease::LeasedCluster,
};
use engine::Engine;
use images::{Images, origin::Origins};
use journal::Journal;
use policies::Policies;
pub use release::release;
pub(crate) use release::running;
pub(crate) use sites::{sites, sites_through};
use tutorial::Names;
use workloads::{NAMESPACE, NODES_NAMESPACE, OTHER_NAMESPACE, Workloads};

/// How long workloads and add-ons may take to become ready: five times what they usually take.
const READY: Duration = Duration::from_secs(180);

/// The filter of the cells that need an edited Corefile of their own.
const COREFILE_EDITS: &str = "corefile-*/*/*";

/// The filter of the cells that need a load balancer of ours.
const NO_LOAD_BALANCER: &str = "load-balancer-ready/*/*";

/// An environment that is ready for probes.
pub struct Environment {
    client: Client,
    run: String,
    kubeconfig: String,
    held: Held,
    workloads: Workloads,
    journal: Journal,
    sites: Vec<Site>,
    agents: Vec<(String, Agent)>,
    cache_dir: Option<PathBuf>,
    pool: Option<String>,
    workers: u8,
    unsupported: BTreeMap<String, String>,
    description: BTreeMap<String, String>,
    so_far: SoFar,
}

/// What the stages so far have made of an environment: nothing, when it has just come up.
#[derive(Default)]
struct SoFar {
    retries: Vec<Retry>,
    /// The names that the live Corefile has, once we have edited it.
    names: Option<Names>,
    /// Whether the load balancer has a pool, once we have decided that.
    load_balancer: Option<bool>,
    /// The policies of the Services, once we have seen to them.
    policies: Option<Policies>,
    edits: Vec<CorefileEdit>,
    /// The programs of the panel, once its pods run.
    lookups: Option<LookupPrograms>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("run", &self.run).finish_non_exhaustive()
    }
}

/// The cluster that the environment is in.
#[derive(Debug)]
enum Held {
    /// One that we made, and the engine that it runs in: neither is stopped as long as this lives.
    Leased { cluster: Box<LeasedCluster>, engine: Engine, _engine_use: Lock },
    /// One that the user named.
    Existing { cluster: Box<ExistingCluster>, journal_note: PathBuf, _lock: Lock },
}

/// The home that the user chose, with what a killed run left behind ended.
///
/// # Errors
/// [`ErrorKind::Usage`] if none can be told; [`ErrorKind::Deadline`] if something does not end.
pub fn open_home(chosen: Option<&Path>) -> Result<Home> {
    let home = Home::chosen(chosen)?;
    process::record_in(&home);
    process::end_orphans(&home)?;
    Ok(home)
}

/// What a run consists of that makes the environment for `suites`, each step with how long it usually takes when
/// everything is cached.
pub fn expected_steps(options: &EnvironmentOptions, suites: &[&Suite]) -> Vec<(String, Duration)> {
    let mut steps = Vec::new();
    let mut step = |title: &str, seconds| steps.push((title.to_owned(), Duration::from_secs(seconds)));
    if options.kubeconfig.is_none() {
        step("Start the engine", 3);
        step("Make the cluster, with its network plugin", 30 + 3 * u64::from(options.workers));
    }
    if options.kubeconfig.is_none() || options.install_metallb {
        step("Install MetalLB", 15);
    }
    step("Deploy the workloads", 10);
    if options.kubeconfig.is_none() || options.allow_cluster_edits {
        step("Edit the Corefile and see it live", 8);
    }
    for suite in suites {
        step(&format!("Run the suite {}, stage by stage", suite.name), suite.about.usual_seconds());
    }
    step("Put back and clean up", 5);
    steps
}

impl Environment {
    /// Makes the environment that `options` describe, or finds what is kept of it.
    ///
    /// # Errors
    /// Those of its parts; what was made so far is recorded, and removed by [`release`].
    pub async fn up(
        options: &EnvironmentOptions,
        fresh: bool,
        keep: bool,
        home: &Home,
        run: &str,
        progress: &Progress,
    ) -> Result<Self> {
        match &options.kubeconfig {
            Some(kubeconfig) => Self::on_existing(options, kubeconfig, keep, home, run, progress).await,
            None => Self::on_leased(options, fresh, keep, home, run, progress).await,
        }
    }

    /// Starts an agent of the run's own at every vantage: they watch changes arrive.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn stand_everywhere(&mut self, binary: &AgentBinary) -> Result<()> {
        let client = &self.client;
        let started = self.sites.iter().map(|site| async move {
            let agent = site.start.agent(client, binary).await?;
            Ok::<_, Error>((site.vantage.id.clone(), agent))
        });
        self.agents = try_join_all(started).await?;
        Ok(())
    }

    /// The run's own agent at the vantage called `id`, once it [stands everywhere](Self::stand_everywhere).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such vantage.
    pub fn agent(&self, id: &str) -> Result<&Agent> {
        self.agents.iter().find(|(vantage, _)| vantage == id).map(|(_, agent)| agent).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("stand at {id}"), "this environment has no agent there")
        })
    }

    /// What a test process needs to stand at this environment's vantages.
    pub fn handover(&self, directory: &RunDirectory, suite: &str, stage: Stage, agent: &AgentBinary) -> Handover {
        let (network_namespace, journal) = match &self.held {
            Held::Leased { cluster, engine, .. } => (engine.network_namespace(), cluster.journal_note()),
            Held::Existing { journal_note, .. } => (None, journal_note.clone()),
        };
        let handle = self.handle();
        let here = handle.as_ref().ok().map(|name| handover::here(name, self.cache_dir.as_deref()));
        Handover {
            run: self.run.clone(),
            dir: directory.path.clone(),
            suite: suite.to_owned(),
            stage: stage.id().to_owned(),
            kubeconfig: self.kubeconfig.clone(),
            network_namespace,
            agent: agent.path().to_owned(),
            vantages: self.sites.clone(),
            namespaces: namespaces(),
            planned_pool: self.pool.clone(),
            journal: Some(journal),
            kubectl: handle.err(),
            here,
            lookups: self.so_far.lookups.clone(),
            hey: None,
            holder: None,
        }
    }

    /// Keeps the cluster, and what was made on it, when the run ends.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if that cannot be written down.
    pub fn keep(&mut self, home: &Home) -> Result<()> {
        match &mut self.held {
            Held::Leased { cluster, .. } => cluster.keep(),
            Held::Existing { cluster, .. } => match existing::Record::read(home, &cluster.id())? {
                Some(record) => existing::Record { kept: true, ..record }.write(home),
                None => Ok(()),
            },
        }
    }

    /// The name of the cluster, if it is one that we made; else the words with which a person starts kubectl for it.
    pub fn handle(&self) -> Result<&str, Vec<String>> {
        match &self.held {
            Held::Leased { cluster, .. } => Ok(&cluster.record.name),
            Held::Existing { cluster, .. } => Err(cluster.kubectl()),
        }
    }

    /// Whether the load balancer is one that we may give addresses, and take them away again.
    fn owns_load_balancer(&self) -> bool {
        match &self.held {
            Held::Leased { .. } => true,
            Held::Existing { cluster, .. } => cluster.allowed.metallb,
        }
    }

    /// Whether its nodes are ours to change.
    fn owns_nodes(&self) -> bool {
        matches!(self.held, Held::Leased { .. })
    }

    /// How many workers the cluster has.
    pub fn workers(&self) -> u8 {
        self.workers
    }

    /// The cells that cannot be had here, by filter, each with what is missing.
    pub fn unsupported(&self) -> &BTreeMap<String, String> {
        &self.unsupported
    }

    /// What distinguishes this environment, for reports.
    pub fn description(&self) -> &BTreeMap<String, String> {
        &self.description
    }

    /// What had to be tried more than once so far.
    pub fn retries(&self) -> &[Retry] {
        &self.so_far.retries
    }

    /// The edits of the Corefile so far, and how long each took to become live.
    pub fn edits(&self) -> &[CorefileEdit] {
        &self.so_far.edits
    }

    /// A client for the cluster's API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The text of the kubeconfig: it holds credentials.
    pub(crate) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Keeps the logs of the nodes of a cluster that we made and may be about to delete, and says where in the error for
    /// which that is done.
    pub(crate) async fn keep_logs(&self, error: Error) -> Error {
        match &self.held {
            Held::Leased { cluster, .. } => cluster.keep_logs(error).await,
            Held::Existing { .. } => error,
        }
    }

    /// Where what the cluster says is collected for a bundle.
    pub(crate) fn ground(&self) -> Ground<'_> {
        let nodes = match &self.held {
            Held::Leased { cluster, .. } => NodeAccess::Engine(cluster.engine().clone()),
            Held::Existing { .. } => NodeAccess::ProxyPods,
        };
        Ground { client: &self.client, nodes, sites: &self.sites, namespaces: namespaces() }
    }
}

pub(crate) fn no_pool() -> Error {
    Error::new(ErrorKind::Usage, "give MetalLB addresses", "none are known for this cluster")
        .with_code(ErrorCode::Pool)
        .hint("Name a range of the nodes' network with --pool first-last.")
}

/// Starts the engine and makes whatever is missing of the images.
///
/// # Errors
/// Those of [`engine::choose`] and [`images::prepare`].
pub async fn prepare(options: &EnvironmentOptions, home: &Home, progress: &Progress) -> Result<(Engine, Images)> {
    let (options, home, progress) = (options.clone(), home.clone(), progress.clone());
    crate::session::run::blocking(move || {
        // A version that cannot be had is refused before anything is built.
        let origins = Origins::of(&options)?;
        origins.versions()?.kubernetes(options.k8s.as_deref())?;
        let engine = engine::choose(options.engine, &home, &progress)?;
        let images = images::prepare(options.images, options.k8s.as_deref(), &origins, &engine, &home, &progress)?;
        Ok((engine, images))
    })
    .await
}

/// How the cluster's part reaches `engine`.
pub fn access(engine: &Engine, kind_program: &str) -> EngineAccess {
    let wrapped = engine.clone();
    let mut access = EngineAccess::new(engine.kind(), kind_program, move |command| wrapped.command(command));
    access.network_namespace = engine.network_namespace();
    access.root = engine.root();
    access
}

async fn put_back_earlier_edits(client: &Client, journal: &Journal, progress: &Progress) -> Result<()> {
    if journal.read().await?.is_empty() {
        return Ok(());
    }
    let step = progress.step("Put back what an earlier run left edited", Some(Duration::from_secs(10)));
    coredns::restore(client, journal, READY).await?;
    step.done();
    Ok(())
}

async fn deploy(workloads: &Workloads, progress: &Progress) -> Result<()> {
    let step = progress.step("Deploy the workloads", Some(Duration::from_secs(10)));
    Box::pin(left::delete_left_by_tests(&workloads.client)).await?;
    workloads.deploy().await?;
    workloads.wait_ready(READY).await?;
    step.done();
    Ok(())
}

async fn install_metallb(client: &Client, manifest: &str, run: &str, progress: &Progress) -> Result<()> {
    let step = progress.step("Install MetalLB", Some(Duration::from_secs(15)));
    match metallb::install(client, manifest, run, READY).await {
        Ok(true) => step.done(),
        Ok(false) => step.cached(),
        Err(error) => {
            // Among them those whose image cannot be pulled.
            let pods = workloads::unready_pods(client, &[metallb::NAMESPACE]).await;
            return Err(error.hint(format!("Pods that are not ready: {}.", workloads::or_none(&pods))));
        }
    }
    Ok(())
}

/// The namespaces that a run owns.
pub(crate) fn namespaces() -> Vec<String> {
    [NAMESPACE, OTHER_NAMESPACE, NODES_NAMESPACE].map(ToOwned::to_owned).to_vec()
}

/// Cells of workers that the matrix knows and the cluster does not have.
fn missing_workers(workers: u8) -> BTreeMap<String, String> {
    let reason = format!("this cluster has {workers} workers");
    (workers + 1..=3)
        .flat_map(|number| [format!("worker-{number}"), format!("*/nodeport-worker-{number}")])
        .map(|filter| (filter, reason.clone()))
        .collect()
}

/// The SHA-256 of `bytes`, in hexadecimal: what texts and configurations are recognised by.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
