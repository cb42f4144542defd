//! A cluster that one run holds, and that the next run with the same configuration finds again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::ListParams};

use super::{
    EngineAccess, connect, facts,
    kind::{ClusterConfig, Kind},
    laptop, logs,
    network::{self, Pool},
    record::{Phase, Record, free_pool, refuse_shared},
};
use crate::{
    Error, ErrorCode, ErrorKind, Result,
    environment::addons::cni,
    home::{Home, Lock, write_atomically},
    kubernetes::conditions,
    plan::IpFamilyChoice,
    progress::Progress,
};

mod delete;
mod locks;
#[cfg(test)]
mod tests;

pub(crate) use delete::destroy;
pub use delete::remove;
use locks::run_kind;
pub(crate) use locks::{CHOICE, lock_name, wait_for_lock};

/// How long an API server that is well may take to say so.
const HEALTH: Duration = Duration::from_secs(10);

/// What a run asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The cluster's name; derived from its configuration if absent.
    pub name: Option<String>,
    /// Its configuration.
    pub config: ClusterConfig,
    /// The addresses that its load balancer may give; chosen if absent.
    pub pool: Option<Pool>,
    /// Whether a healthy one is deleted and made anew.
    pub fresh: bool,
    /// Whether it stays when the run ends.
    pub keep: bool,
    /// When pods' images are fetched: `IfNotPresent`, or `Never`.
    pub pull_policy: String,
    /// The run's id.
    pub run: String,
}

/// A cluster, held by an exclusive lock as long as this lives.
#[derive(Clone)]
pub struct LeasedCluster {
    /// A client for its API server.
    pub client: Client,
    /// Its kubeconfig's text; the server address is reached from inside the engine's network namespace.
    pub kubeconfig: String,
    /// What is recorded of it.
    pub record: Record,
    /// Whether an earlier run had made it.
    pub reused: bool,
    access: EngineAccess,
    home: Home,
    progress: Progress,
    _lock: Arc<Lock>,
}

impl std::fmt::Debug for LeasedCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasedCluster")
            .field("record", &self.record)
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}

/// Takes a cluster with the requested configuration: a healthy one that is recorded, else a new one.
/// Waits, and says so, while another run holds it. One that was kept and is not well is made anew, and kept again.
///
/// # Errors
/// [`ErrorKind::Usage`] if a cluster of that name exists that is not in our records, or the pool cannot work, or another
/// cluster has addresses of it;
/// [`ErrorKind::Environment`] if it cannot be made, with the directory of its logs.
pub async fn acquire(
    home: &Home,
    access: &EngineAccess,
    mut request: Request,
    progress: &Progress,
) -> Result<LeasedCluster> {
    let fingerprint = request.config.fingerprint()?;
    let name = request.name.clone().map_or_else(|| request.config.default_name(), Ok)?;
    check_name(&name)?;
    let lock = wait_for_lock(home, &lock_name(&name), progress).await?;
    let recorded = Record::read(home, &name)?;
    if let Some(record) = recorded {
        let why = if request.fresh {
            "a new one was asked for".to_owned()
        } else if record.fingerprint != fingerprint {
            "its configuration is another one".to_owned()
        } else if record.phase != Phase::Ready {
            "a run ended while it was being made or deleted".to_owned()
        } else {
            match healthy(home, access, &record).await {
                Ok((client, kubeconfig)) => {
                    let record = take_again(home, record, &request, progress).await?;
                    progress.step(format!("cluster {name}"), None).cached();
                    let (access, home, progress) = (access.clone(), home.clone(), progress.clone());
                    let lock = Arc::new(lock);
                    return Ok(LeasedCluster {
                        client,
                        kubeconfig,
                        record,
                        reused: true,
                        access,
                        home,
                        progress,
                        _lock: lock,
                    });
                }
                Err(why) => {
                    request.keep |= record.is_kept();
                    why
                }
            }
        };
        progress.line(&format!("the cluster {name} is made anew: {why}"));
        destroy(home, access, record, progress).await?;
    } else {
        refuse_stranger(home, access, &name).await?;
    }
    create(home, access, request, name, fingerprint, lock, progress).await
}

/// Records that a run takes a cluster that is there.
async fn take_again(home: &Home, mut record: Record, request: &Request, progress: &Progress) -> Result<Record> {
    let _choice = match request.pool {
        Some(pool) => {
            let choice = wait_for_lock(home, CHOICE, progress).await?;
            record.network.check(pool)?;
            let all = Record::all(home)?.readable;
            refuse_shared(pool, &record.name, &record.network, record.config.engine, &all)?;
            record.pool = pool;
            Some(choice)
        }
        None => None,
    };
    record.kept |= request.keep;
    record.add_run(&request.run);
    record.write(home)?;
    Ok(record)
}

async fn create(
    home: &Home,
    access: &EngineAccess,
    request: Request,
    name: String,
    fingerprint: String,
    lock: Lock,
    progress: &Progress,
) -> Result<LeasedCluster> {
    let step = progress.step(format!("cluster {name}"), Some(Duration::from_secs(40)));
    let config = request.config;
    let yaml = config.kind_yaml()?;
    let mut record = {
        let _choice = wait_for_lock(home, CHOICE, progress).await?;
        let network = network::ensure(home, access, config.ip_family == IpFamilyChoice::Dual).await?;
        let all = Record::all(home)?.readable;
        let pool = match request.pool {
            Some(pool) => {
                network.check(pool)?;
                refuse_shared(pool, &name, &network, access.kind, &all)?;
                pool
            }
            None => free_pool(&network, access.kind, &all)?,
        };
        let mut record = Record {
            name: name.clone(),
            fingerprint,
            config,
            phase: Phase::Creating,
            created_at: Timestamp::now(),
            network,
            pool,
            laptop: None,
            kept: request.keep,
            runs: Vec::new(),
        };
        record.add_run(&request.run);
        record.write(home)?;
        record
    };
    let kind = Kind { program: &access.kind_program, name: &name };
    let create = kind.create(&yaml, &record.config.node_image, &record.network, &scratch(home, access, &name));
    let made = async {
        run_kind(home, access, create, Some(step.log()), progress).await?;
        let kubeconfig = access.command(kind.kubeconfig()).run_async().await?.text();
        write_atomically(&Record::kubeconfig(home, &name), kubeconfig.as_bytes())?;
        let client = connect::client(&kubeconfig, access.network_namespace.as_deref()).await?;
        until_ready(&client, &record.config, &request.pull_policy, &request.run).await?;
        Ok::<_, Error>((client, kubeconfig))
    };
    let (client, kubeconfig) = match made.await {
        Ok(made) => made,
        Err(error) => {
            if facts::may_tell_of(error.kind()) {
                Box::pin(facts::keep(home, access, &name, step.log())).await;
            }
            let error = logs::keep(access, &name, step.log(), error).await;
            return Err(after_failure(home, access, record, error, progress).await);
        }
    };
    record.phase = Phase::Ready;
    record.write(home)?;
    step.done();
    let (access, home, progress) = (access.clone(), home.clone(), progress.clone());
    let lock = Arc::new(lock);
    Ok(LeasedCluster { client, kubeconfig, record, reused: false, access, home, progress, _lock: lock })
}

/// Installs the network plugin that kind left out, and waits for the nodes.
async fn until_ready(client: &Client, config: &ClusterConfig, pull_policy: &str, run: &str) -> Result<()> {
    const NODES: Duration = Duration::from_secs(120);
    match &config.flannel {
        Some(flannel) => {
            let networks: Vec<IpNet> = config.pod_networks();
            flannel.install(client, pull_policy, &networks, config.nodes(), run, NODES).await
        }
        None => cni::until_nodes_ready(client, config.nodes(), NODES).await,
    }
}

/// Deletes a cluster that could not be made.
async fn after_failure(home: &Home, access: &EngineAccess, record: Record, error: Error, progress: &Progress) -> Error {
    match destroy(home, access, record, progress).await {
        Ok(()) => error,
        Err(failed) => error.also(format!("It could not be deleted either ({failed}); `cargo xtask gc` tries again.")),
    }
}

impl LeasedCluster {
    /// Starts the laptop, a container on the nodes' network that is no member of the cluster, unless it runs;
    /// returns its name. It is removed with the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what the engine said.
    pub async fn laptop(&mut self, image: &str) -> Result<String> {
        let name = laptop::name(&self.record.name);
        if self.record.laptop.is_none() {
            self.record.laptop = Some(name.clone());
            self.record.write(&self.home)?;
        }
        laptop::ensure(&self.access, &self.record, image).await?;
        Ok(name)
    }

    /// The file that exists while cluster-wide edits may have to be put back.
    pub fn journal_note(&self) -> PathBuf {
        Record::journal_note(&self.home, &self.record.name)
    }

    /// Writes every node's logs into `directory`.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what kind said.
    pub async fn export_logs(&self, directory: &Path) -> Result<()> {
        logs::export(&self.access, &self.record.name, directory).await
    }

    /// Keeps the logs of its nodes, since they are not to be had any more once it is deleted, and says where in the error for
    /// which that is done.
    pub(crate) async fn keep_logs(&self, error: Error) -> Error {
        let step = self.progress.step("Keep the logs of the nodes", Some(Duration::from_secs(15)));
        let error = logs::keep(&self.access, &self.record.name, step.log(), error).await;
        step.done();
        error
    }

    /// Keeps what it says, for a bundle: something went wrong before there was an environment.
    pub(crate) async fn keep_facts(&self) {
        let step = self.progress.step("Collect what the cluster says", Some(Duration::from_secs(10)));
        facts::keep(&self.home, &self.access, &self.record.name, step.log()).await;
        step.done();
    }

    /// How its engine is reached.
    pub(crate) fn engine(&self) -> &EngineAccess {
        &self.access
    }

    /// Keeps the cluster when it is given up.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if that cannot be written down.
    pub fn keep(&mut self) -> Result<()> {
        self.record.kept = true;
        self.record.write(&self.home)
    }

    /// Gives the cluster up: deletes it unless it is kept. Returns whether it was deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what could not be deleted; it stays recorded, and `gc` tries again.
    pub async fn release(self) -> Result<bool> {
        if self.record.is_kept() {
            return Ok(false);
        }
        self.delete().await.map(|()| true)
    }

    /// Deletes the cluster, kept or not.
    ///
    /// # Errors
    /// As [`LeasedCluster::release`].
    pub async fn delete(self) -> Result<()> {
        destroy(&self.home, &self.access, self.record.clone(), &self.progress).await
    }
}

/// A client for the recorded cluster if it is well, else what is wrong with it.
async fn healthy(home: &Home, access: &EngineAccess, record: &Record) -> Result<(Client, String), String> {
    let text = std::fs::read_to_string(Record::kubeconfig(home, &record.name)).map_err(|error| error.to_string())?;
    let client =
        connect::client(&text, access.network_namespace.as_deref()).await.map_err(|error| error.to_string())?;
    let asked = async {
        let ready = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
        client.request_text(ready).await.map_err(|error| format!("its API server is not ready: {error}"))?;
        let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
        let nodes = nodes.map_err(|error| error.to_string())?;
        let ready = nodes.iter().filter(|node| conditions::is_node_ready(node)).count();
        let wanted = record.config.nodes();
        if nodes.items.len() == wanted && ready == wanted {
            Ok(())
        } else {
            Err(format!("{ready} of its {wanted} nodes are Ready"))
        }
    };
    match tokio::time::timeout(HEALTH, asked).await {
        Ok(Ok(())) => Ok((client, text)),
        Ok(Err(why)) => Err(why),
        Err(_elapsed) => Err(format!("its API server has not answered within {HEALTH:?}")),
    }
}

/// A cluster of that name that we have no record of is somebody's: it is neither used nor deleted.
async fn refuse_stranger(home: &Home, access: &EngineAccess, name: &str) -> Result<()> {
    let kind = Kind { program: &access.kind_program, name };
    let clusters = access.command(kind.clusters()).run_async().await?.text();
    if !clusters.lines().any(|line| line == name) {
        return Ok(());
    }
    let cause = format!("a cluster of that name exists, but {} does not know it", home.clusters().display());
    Err(Error::new(ErrorKind::Usage, format!("make the cluster {name}"), cause)
        .with_code(ErrorCode::Cluster)
        .hint(format!("Choose another name with --name, or delete it with `kind delete cluster --name {name}`.")))
}

/// The kubeconfig file that kind writes, as the engine's commands see it: ours is made from what kind prints.
fn scratch(home: &Home, access: &EngineAccess, name: &str) -> PathBuf {
    match access.root {
        Some(_) => PathBuf::from(format!("/tmp/reachmap-{name}.kubeconfig")),
        None => Record::directory(home, name).join("kind.kubeconfig"),
    }
}

/// kind's rule for names, and ours: they become file names and DNS labels.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !name.is_empty() && name.len() <= 40 && name.chars().all(plain) && starts && !name.ends_with('-') {
        return Ok(());
    }
    let hint = "Use lower-case letters, digits and `-`, at most 40, starting and ending with a letter or digit.";
    Err(Error::new(ErrorKind::Usage, format!("use the cluster name `{name}`"), "it is no valid name")
        .with_code(ErrorCode::Cluster)
        .hint(hint))
}
