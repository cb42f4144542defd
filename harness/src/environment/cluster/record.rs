//! What is written down about each cluster, before it is made: what a later command goes by.

use std::{fs, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    EngineKind,
    kind::ClusterConfig,
    network::{Network, Pool},
};
use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    command::read_text,
    home::{Home, write_atomically},
};

/// How far a cluster's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is being made; found like this without a live owner, it is half made and is made anew.
    Creating,
    /// All its nodes have been Ready.
    Ready,
    /// It is being deleted.
    Deleting,
}

/// A run that has used a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: String,
    /// When it took the cluster.
    pub started_at: Timestamp,
}

/// A cluster's record: the file `lease.json` in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cluster's name.
    pub name: String,
    /// The fingerprint of its configuration.
    pub fingerprint: String,
    /// Its configuration.
    pub config: ClusterConfig,
    /// How far its life has come.
    pub phase: Phase,
    /// When its making began.
    pub created_at: Timestamp,
    /// The network that its nodes stand on.
    pub network: Network,
    /// The addresses that its load balancer may give.
    pub pool: Pool,
    /// The container beside the cluster, once it has been asked for.
    pub laptop: Option<String>,
    /// Whether it is to stay when a run ends; it does once it is [ready](Record::is_kept).
    pub kept: bool,
    /// The last runs that have used it, the newest last.
    pub runs: Vec<RunRecord>,
}

/// What is recorded of all clusters: one record that cannot be read hides no other.
#[derive(Debug, Default)]
pub struct Records {
    /// Those that can be read, by name.
    pub readable: Vec<Record>,
    /// The names of the others, each with why it cannot.
    pub unreadable: Vec<(String, Error)>,
}

/// How many runs a record remembers.
const RUNS: usize = 10;

impl Record {
    /// The directory of the cluster called `name`.
    pub fn directory(home: &Home, name: &str) -> PathBuf {
        home.clusters().join(name)
    }

    /// The cluster's kubeconfig: for people and tools; we ourselves keep it in memory.
    pub fn kubeconfig(home: &Home, name: &str) -> PathBuf {
        Self::directory(home, name).join("kubeconfig")
    }

    /// The file that exists while cluster-wide edits may have to be put back.
    pub fn journal_note(home: &Home, name: &str) -> PathBuf {
        Self::directory(home, name).join("journal")
    }

    /// The record of the cluster called `name`, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be read. It is written atomically, so it is never half there.
    pub fn read(home: &Home, name: &str) -> Result<Option<Self>> {
        let path = Self::directory(home, name).join("lease.json");
        if !path.exists() {
            return Ok(None);
        }
        let record = serde_json::from_str(&read_text(&path)?).map_err(|error| {
            Error::from_source(ErrorKind::Storage, format!("read the cluster record {}", path.display()), error)
                .with_code(ErrorCode::Record)
                .hint("If another version of Reachmap wrote it, delete the cluster with that version.")
        })?;
        Ok(Some(record))
    }

    /// Every record, by name.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the directory of all of them cannot be listed.
    pub fn all(home: &Home) -> Result<Records> {
        let mut records = Records::default();
        for name in directories(home)? {
            match Self::read(home, &name) {
                Ok(record) => records.readable.extend(record),
                Err(error) => records.unreadable.push((name, error)),
            }
        }
        Ok(records)
    }

    /// Whether it stays when a run ends: what is half made, or half deleted, is of no use to anyone.
    pub fn is_kept(&self) -> bool {
        self.kept && self.phase == Phase::Ready
    }

    /// Writes it so that a reader, also after a crash, sees the old one or the new.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written.
    pub fn write(&self, home: &Home) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).tried(ErrorKind::Internal, || "write a cluster record")?;
        write_atomically(&Self::directory(home, &self.name).join("lease.json"), &text)
    }

    /// Removes the record and everything else in its directory.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be removed.
    pub fn remove(home: &Home, name: &str) -> Result<()> {
        let directory = Self::directory(home, name);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::from_source(ErrorKind::Storage, format!("remove {}", directory.display()), error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn add_run(&mut self, id: &str) {
        self.runs.push(RunRecord { id: id.to_owned(), started_at: Timestamp::now() });
        let surplus = self.runs.len().saturating_sub(RUNS);
        self.runs.drain(..surplus);
    }
}

/// The names of all directories in which something is recorded of a cluster.
pub(crate) fn directories(home: &Home) -> Result<Vec<String>> {
    let root = home.clusters();
    let tried = || format!("list {}", root.display());
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::from_source(ErrorKind::Storage, tried(), error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.tried(ErrorKind::Storage, tried)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Those of the recorded clusters that stand on the same network.
fn beside<'a>(network: &Network, engine: EngineKind, all: &'a [Record]) -> impl Iterator<Item = &'a Record> {
    let subnet = network.subnet;
    all.iter().filter(move |record| record.config.engine == engine && record.network.subnet == subnet)
}

/// Refuses a pool for the cluster called `name` that shares an address with another one's on the same network: both would
/// announce it.
///
/// # Errors
/// [`ErrorKind::Usage`] with the other cluster's name.
pub(crate) fn refuse_shared(
    pool: Pool,
    name: &str,
    network: &Network,
    engine: EngineKind,
    all: &[Record],
) -> Result<()> {
    let shares = |other: &&Record| other.name != name && other.pool.overlaps(pool);
    let Some(other) = beside(network, engine, all).find(shares) else {
        return Ok(());
    };
    let cause = format!("the cluster {} on the same network has {}", other.name, other.pool);
    Err(Error::new(ErrorKind::Usage, format!("use the address pool {pool}"), cause)
        .with_code(ErrorCode::Pool)
        .hint(format!("Choose other addresses, or delete that cluster with `cargo xtask down --name {}`.", other.name)))
}

/// The default pool for a new cluster: one that no other recorded cluster on the same network has.
pub(super) fn free_pool(network: &Network, engine: EngineKind, others: &[Record]) -> Result<Pool> {
    let taken: Vec<Pool> = beside(network, engine, others).map(|record| record.pool).collect();
    (0..=u8::MAX)
        .map_while(|slot| network.default_pool(slot))
        .find(|pool| !taken.iter().any(|other| other.overlaps(*pool)))
        .ok_or_else(|| {
            Error::new(ErrorKind::Busy, "choose addresses for the load balancer", "other clusters have them all")
                .with_code(ErrorCode::Pool)
                .hint("Remove clusters that are no longer needed with `cargo xtask gc`.")
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::environment::cluster::kind::tests::config;

    pub(crate) fn record(name: &str) -> Record {
        let network = Network::on("172.18.0.0/16".parse().unwrap(), false);
        Record {
            name: name.to_owned(),
            fingerprint: config().fingerprint().unwrap(),
            config: config(),
            phase: Phase::Ready,
            created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            pool: network.default_pool(0).unwrap(),
            network,
            laptop: None,
            kept: false,
            runs: Vec::new(),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert_eq!(Record::all(&home).unwrap().readable, []);
        let mut record = record("a");
        for run in 0..12 {
            record.add_run(&run.to_string());
        }
        assert_eq!((record.runs.len(), record.runs[9].id.as_str()), (10, "11"));
        record.write(&home).unwrap();
        assert_eq!(Record::all(&home).unwrap().readable, [record]);
        Record::remove(&home, "a").unwrap();
        assert_eq!(Record::all(&home).unwrap().readable, []);
        Record::remove(&home, "a").unwrap();
    }

    #[test]
    fn a_record_that_cannot_be_read_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        for name in ["a", "b", "c"] {
            record(name).write(&home).unwrap();
        }
        fs::write(Record::directory(&home, "b").join("lease.json"), "{").unwrap();
        let all = Record::all(&home).unwrap();
        let names: Vec<&str> = all.readable.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(all.unreadable[0].0, "b");
    }

    #[test]
    fn what_is_half_made_is_not_kept() {
        let kept = |phase| Record { kept: true, phase, ..record("a") }.is_kept();
        assert_eq!([Phase::Creating, Phase::Ready, Phase::Deleting].map(kept), [false, true, false]);
    }

    #[test]
    fn a_pool_that_another_cluster_has_is_refused() {
        let all = [record("a"), record("b")];
        let network = all[0].network.clone();
        let refused = |pool: &str, name: &str, engine| {
            refuse_shared(pool.parse().unwrap(), name, &network, engine, &all[..1]).map_err(|error| error.to_string())
        };
        let own = refused("172.18.255.200-172.18.255.210", "a", EngineKind::Sandbox);
        let free = refused("172.18.255.211-172.18.255.220", "b", EngineKind::Sandbox);
        let other_engine = refused("172.18.255.200-172.18.255.210", "b", EngineKind::Docker);
        assert_eq!([own, free, other_engine], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(
            refused("172.18.255.210-172.18.255.220", "b", EngineKind::Sandbox).unwrap_err(),
            "failed to use the address pool 172.18.255.210-172.18.255.220: \
             the cluster a on the same network has 172.18.255.200-172.18.255.210"
        );
    }

    #[test]
    fn clusters_on_one_network_get_different_pools() {
        let first = record("a");
        let pool = free_pool(&first.network, first.config.engine, std::slice::from_ref(&first)).unwrap();
        assert_eq!(pool.to_string(), "172.18.254.200-172.18.254.210");
        let other_engine = free_pool(&first.network, EngineKind::Docker, std::slice::from_ref(&first));
        assert_eq!(other_engine.unwrap(), first.pool);
    }
}
