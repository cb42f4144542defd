//! A cluster that one run holds, and that the next run with the same configuration finds again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::ListParams};

use super::{
    EngineAccess, connect, containers,
    kind::{ClusterConfig, Kind, holding},
    laptop, logs,
    network::{self, Pool},
    record::{Phase, Record, free_pool},
};
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::Command,
    environment::addons::cni,
    home::{Home, Lock, write_atomically},
    kubernetes::conditions,
    plan::IpFamilyChoice,
    progress::Progress,
};

/// The lock under which networks and pools are chosen, and the one that kind itself holds while it works.
const CHOICE: &str = "clusters";
const KIND: &str = "kind";

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
    _lock: std::sync::Arc<Lock>,
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
/// Waits, and says so, while another run holds it.
///
/// # Errors
/// [`ErrorKind::Usage`] if a cluster of that name exists that is not in our records, or the pool cannot work;
/// [`ErrorKind::Environment`] if it cannot be made, with the directory of its logs.
pub async fn acquire(
    home: &Home,
    access: &EngineAccess,
    request: Request,
    progress: &Progress,
) -> Result<LeasedCluster> {
    let fingerprint = request.config.fingerprint()?;
    let name = request.name.clone().map_or_else(|| request.config.default_name(), Ok)?;
    check_name(&name)?;
    let lock = wait_for_lock(home, &lock_name(&name), progress).await?;
    let recorded = Record::read(home, &name)?;
    if let Some(mut record) = recorded {
        let why = if request.fresh {
            "a new one was asked for".to_owned()
        } else if record.fingerprint != fingerprint {
            "its configuration is another one".to_owned()
        } else if record.phase != Phase::Ready {
            "a run ended while it was being made or deleted".to_owned()
        } else {
            match healthy(home, access, &record).await {
                Ok((client, kubeconfig)) => {
                    if let Some(pool) = request.pool {
                        record.network.check(pool)?;
                        record.pool = pool;
                    }
                    record.kept |= request.keep;
                    record.add_run(&request.run);
                    record.write(home)?;
                    progress.step(format!("cluster {name}"), None).cached();
                    let (home, access) = (home.clone(), access.clone());
                    let lock = std::sync::Arc::new(lock);
                    return Ok(LeasedCluster { client, kubeconfig, record, reused: true, access, home, _lock: lock });
                }
                Err(why) => why,
            }
        };
        progress.line(&format!("the cluster {name} is made anew: {why}"));
        destroy(home, access, record).await?;
    } else {
        refuse_stranger(home, access, &name).await?;
    }
    create(home, access, request, name, fingerprint, lock, progress).await
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
        let network = network::ensure(access, config.ip_family == IpFamilyChoice::Dual).await?;
        let pool = match request.pool {
            Some(pool) => network.check(pool).map(|()| pool)?,
            None => free_pool(&network, access.kind, &Record::all(home)?)?,
        };
        let record = Record {
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
        record.write(home)?;
        record
    };
    record.add_run(&request.run);
    let kind = Kind { program: &access.kind_program, name: &name };
    let create = kind.create(&yaml, &record.config.node_image, &record.network, &scratch(home, access, &name));
    let made = async {
        run_kind(home, access, create, Some(step.log())).await?;
        let kubeconfig = access.command(kind.kubeconfig()).run_async().await?.text();
        write_atomically(&Record::kubeconfig(home, &name), kubeconfig.as_bytes())?;
        let client = connect::client(&kubeconfig, access.network_namespace.as_deref()).await?;
        until_ready(&client, &record.config, &request.pull_policy, &request.run).await?;
        Ok((client, kubeconfig))
    };
    let (client, kubeconfig) = match made.await {
        Ok(made) => made,
        Err(error) => return Err(after_failure(home, access, record, step.log(), error).await),
    };
    record.phase = Phase::Ready;
    record.write(home)?;
    step.done();
    let (home, access) = (home.clone(), access.clone());
    Ok(LeasedCluster { client, kubeconfig, record, reused: false, access, home, _lock: std::sync::Arc::new(lock) })
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

/// Keeps the logs of a cluster that could not be made, and deletes it.
async fn after_failure(home: &Home, access: &EngineAccess, record: Record, log: &Path, error: Error) -> Error {
    let logs = log.with_extension("nodes");
    let mut hint = match logs::export(access, &record.name, &logs).await {
        Ok(()) => format!("The logs of its nodes are in {}.", logs.display()),
        Err(failed) => format!("The logs of its nodes could not be kept: {failed}."),
    };
    if let Err(failed) = destroy(home, access, record).await {
        hint = format!("{hint} It could not be deleted either ({failed}); `cargo xtask gc` tries again.");
    }
    if let Some(earlier) = error.hint_text() {
        hint = format!("{earlier} {hint}");
    }
    error.hint(hint)
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
        if self.record.kept {
            return Ok(false);
        }
        self.delete().await.map(|()| true)
    }

    /// Deletes the cluster, kept or not.
    ///
    /// # Errors
    /// As [`LeasedCluster::release`].
    pub async fn delete(self) -> Result<()> {
        destroy(&self.home, &self.access, self.record.clone()).await
    }
}

/// Deletes the recorded cluster of that name, kept or not; returns whether there was one. For `down`.
///
/// # Errors
/// [`ErrorKind::Busy`] if a run holds it.
pub async fn remove(home: &Home, access: &EngineAccess, name: &str) -> Result<bool> {
    let lock = home.try_lock(&lock_name(name))?;
    let Some(_lock) = lock else {
        return Err(Error::new(ErrorKind::Busy, format!("delete the cluster {name}"), "a run holds it")
            .hint("Wait until that run has ended, or end it."));
    };
    match Record::read(home, name)? {
        Some(record) => destroy(home, access, record).await.map(|()| true),
        None => Ok(false),
    }
}

/// Deletes all that is recorded of a cluster; the record goes last.
pub(crate) async fn destroy(home: &Home, access: &EngineAccess, mut record: Record) -> Result<()> {
    let was_made = record.phase == Phase::Ready;
    record.phase = Phase::Deleting;
    record.write(home)?;
    if let Some(laptop) = &record.laptop {
        containers::remove(access, laptop, &record.config.node_image).await?;
    }
    let kind = Kind { program: &access.kind_program, name: &record.name };
    let kubeconfig = scratch(home, access, &record.name);
    run_kind(home, access, kind.delete(&kubeconfig), None).await?;
    if !was_made {
        // kind deletes the nodes that it sees; those that are still being made, it does not.
        for node in kind.node_names(record.config.workers) {
            containers::remove(access, &node, &record.config.node_image).await?;
        }
    }
    if let Some(root) = &access.root {
        // kind takes its cluster out of the file and leaves the file; where it is gone already, all is well.
        let _ = std::fs::remove_file(root.join(kubeconfig.strip_prefix("/").unwrap_or(&kubeconfig)));
    }
    Record::remove(home, &record.name)
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
        .hint(format!("Choose another name with --name, or delete it with `kind delete cluster --name {name}`.")))
}

/// Runs kind with its own hold on the lock that serialises all that makes and deletes clusters.
async fn run_kind(home: &Home, access: &EngineAccess, command: Command, log: Option<&Path>) -> Result<()> {
    let mut command = access.command(command);
    // The lock file is made here; without the program `flock` the lock is ours alone.
    let lock = home.lock_path(KIND)?;
    let _ours = if which::which("flock").is_ok() {
        command = holding(&lock, command);
        None
    } else {
        Some(wait_for_lock(home, KIND, &Progress::new(crate::progress::Show::Nothing, home.root())).await?)
    };
    if let Some(log) = log {
        command = command.log(log);
    }
    command.run_async().await.map(drop)
}

/// The kubeconfig file that kind writes, as the engine's commands see it: ours is made from what kind prints.
fn scratch(home: &Home, access: &EngineAccess, name: &str) -> PathBuf {
    match access.root {
        Some(_) => PathBuf::from(format!("/tmp/reachmap-{name}.kubeconfig")),
        None => Record::directory(home, name).join("kind.kubeconfig"),
    }
}

pub(crate) fn lock_name(cluster: &str) -> String {
    format!("cluster-{cluster}")
}

/// Waits on a thread of its own, so that a signal is heard meanwhile.
pub(crate) async fn wait_for_lock(home: &Home, name: &str, progress: &Progress) -> Result<Lock> {
    let (home, name, progress) = (home.clone(), name.to_owned(), progress.clone());
    tokio::task::spawn_blocking(move || home.lock(&name, &progress))
        .await
        .tried(ErrorKind::Internal, || "join the thread that waits for a lock")?
}

/// kind's rule for names, and ours: they become file names and DNS labels.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !name.is_empty() && name.len() <= 40 && name.chars().all(plain) && starts && !name.ends_with('-') {
        return Ok(());
    }
    let hint = "Use lower-case letters, digits and `-`, at most 40, starting and ending with a letter or digit.";
    Err(Error::new(ErrorKind::Usage, format!("use the cluster name `{name}`"), "it is no valid name").hint(hint))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("reachmap-0123abcd", true)]
    #[case("t", true)]
    #[case("", false)]
    #[case("../t", false)]
    #[case("Test", false)]
    #[case("a-", false)]
    fn names_become_file_names_and_dns_labels(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(check_name(name).is_ok(), valid);
    }
}
