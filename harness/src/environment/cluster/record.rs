//! What is written down about each cluster, before it is made: what a later command goes by.

use std::{fs, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    kind::ClusterConfig,
    network::{Network, Pool},
};
use crate::{
    Context as _, Error, ErrorKind, Result,
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
    /// Whether it stays when a run ends.
    pub kept: bool,
    /// The last runs that have used it, the newest last.
    pub runs: Vec<RunRecord>,
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
                .hint("If another version of Reachmap wrote it, delete the cluster with that version.")
        })?;
        Ok(Some(record))
    }

    /// Every record, by name.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn all(home: &Home) -> Result<Vec<Self>> {
        let mut records = Vec::new();
        for name in directories(home)? {
            records.extend(Self::read(home, &name)?);
        }
        Ok(records)
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

    pub(super) fn add_run(&mut self, id: &str) {
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

/// The default pool for a new cluster: one that no other recorded cluster on the same network has.
pub(super) fn free_pool(network: &Network, engine: super::EngineKind, others: &[Record]) -> Result<Pool> {
    let taken: Vec<Pool> = others
        .iter()
        .filter(|record| record.config.engine == engine && record.network.subnet == network.subnet)
        .map(|record| record.pool)
        .collect();
    (0..=u8::MAX)
        .map_while(|slot| network.default_pool(slot))
        .find(|pool| !taken.iter().any(|other| other.overlaps(*pool)))
        .ok_or_else(|| {
            Error::new(ErrorKind::Busy, "choose addresses for the load balancer", "other clusters have them all")
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
        assert_eq!(Record::all(&home).unwrap(), []);
        let mut record = record("a");
        for run in 0..12 {
            record.add_run(&run.to_string());
        }
        assert_eq!((record.runs.len(), record.runs[9].id.as_str()), (10, "11"));
        record.write(&home).unwrap();
        assert_eq!(Record::all(&home).unwrap(), [record]);
        Record::remove(&home, "a").unwrap();
        assert_eq!(Record::all(&home).unwrap(), []);
        Record::remove(&home, "a").unwrap();
    }

    #[test]
    fn clusters_on_one_network_get_different_pools() {
        let first = record("a");
        let pool = free_pool(&first.network, first.config.engine, std::slice::from_ref(&first)).unwrap();
        assert_eq!(pool.to_string(), "172.18.254.200-172.18.254.210");
        let other_engine =
            free_pool(&first.network, crate::environment::cluster::EngineKind::Docker, std::slice::from_ref(&first));
        assert_eq!(other_engine.unwrap(), first.pool);
    }
}
