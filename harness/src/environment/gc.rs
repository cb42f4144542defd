//! Removes what no live run owns, by what was recorded; and tells what there is.

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use kube::Client;

use super::{
    cluster::{
        EngineAccess, EngineKind, connect, existing,
        lease::{destroy, lock_name},
        network::{self, Network},
        record::{Phase, Record, directories},
    },
    images::preparation,
    journal::{Journal, Restored},
};
use crate::{Result, command::read_text, home::Home};

/// How long a namespace may take to go, with its pods and all that is in it.
const GONE: Duration = Duration::from_secs(180);

/// Removes every recorded cluster whose lock is free, unless it is kept (or even then, if `all`), puts back edits
/// on existing clusters, and removes our networks that nobody stands on. Returns what it did, one line each.
///
/// `engine` gives access to an engine, or `None` if that engine does not run; what is recorded for it stays then.
/// One cluster that cannot be removed does not keep the others from being removed.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the records cannot be read.
pub async fn collect<F>(home: &Home, engine: impl Fn(EngineKind) -> F, all: bool) -> Result<Vec<String>>
where
    F: Future<Output = Result<Option<EngineAccess>>>,
{
    let mut done = Vec::new();
    for name in directories(home)? {
        let Some(_lock) = home.try_lock(&lock_name(&name))? else {
            done.push(format!("left the cluster {name}: a run holds it"));
            continue;
        };
        let line = match Record::read(home, &name)? {
            Some(record) if record.kept && !all => put_back(home, engine(record.config.engine).await?, &record)
                .await
                .unwrap_or_else(|error| Some(format!("could not put back edits on the kept cluster {name}: {error}"))),
            Some(record) => Some(remove(home, engine(record.config.engine).await?, record).await),
            None => clean_existing(home, &name, all)
                .await
                .unwrap_or_else(|error| Some(format!("could not clean up the existing cluster {name}: {error}"))),
        };
        done.extend(line);
    }
    for kind in [EngineKind::Docker, EngineKind::Sandbox] {
        if let Some(access) = engine(kind).await? {
            done.extend(preparation::remove_left(home, &access).await?);
            done.extend(remove_networks(&access).await?);
        }
    }
    Ok(done)
}

async fn remove(home: &Home, access: Option<EngineAccess>, record: Record) -> String {
    let name = record.name.clone();
    let Some(access) = access else {
        return format!("left the cluster {name}: its engine does not run");
    };
    match destroy(home, &access, record).await {
        Ok(()) => format!("removed the cluster {name}"),
        Err(error) => format!("could not remove the cluster {name}: {error}"),
    }
}

/// Puts back what a run that was killed left edited on a cluster that stays.
async fn put_back(home: &Home, access: Option<EngineAccess>, record: &Record) -> Result<Option<String>> {
    let note = Record::journal_note(home, &record.name);
    let Some(access) = access.filter(|_| note.exists()) else {
        return Ok(None);
    };
    let text = read_text(&Record::kubeconfig(home, &record.name))?;
    let client = connect::client(&text, access.network_namespace.as_deref()).await?;
    let restored = Journal::new(client, "gc", Some(note)).restore().await?;
    Ok(Some(format!("{} on the kept cluster {}", describe(&restored), record.name)))
}

/// A directory without a lease: an existing cluster that a run was on, or nothing of a cluster at all.
async fn clean_existing(home: &Home, id: &str, all: bool) -> Result<Option<String>> {
    let Some(record) = existing::Record::read(home, id)? else {
        Record::remove(home, id)?;
        return Ok(Some(format!("removed the empty record {id}")));
    };
    if record.kept && !all && !record.journal_note(home).exists() {
        return Ok(None);
    }
    let cluster = existing::connect(&record.kubeconfig, Some(&record.context), existing::Allowed::default()).await?;
    let cleaned = clean(home, &cluster.client, record, all).await?;
    Ok(Some(format!("{cleaned} on the cluster of the context `{}`", cluster.context)))
}

/// Puts back what was edited on an existing cluster and, unless it is kept, removes what was made there.
pub(crate) async fn clean(home: &Home, client: &Client, record: existing::Record, all: bool) -> Result<String> {
    let note = record.journal_note(home);
    let restored =
        if note.exists() { Journal::new(client.clone(), "gc", Some(note)).restore().await? } else { Vec::new() };
    if record.kept && !all {
        return Ok(describe(&restored));
    }
    let removed = record.remove_objects(client, GONE).await?;
    Record::remove(home, &record.id)?;
    let removed = if removed.is_empty() {
        "found nothing to remove".to_owned()
    } else {
        format!("removed {}", counted(&removed))
    };
    Ok(if restored.is_empty() { removed } else { format!("{} and {removed}", describe(&restored)) })
}

/// The namespaces by name, and how many others.
fn counted(removed: &[String]) -> String {
    let (namespaces, others): (Vec<&String>, Vec<&String>) =
        removed.iter().partition(|name| name.starts_with("Namespace "));
    let mut parts: Vec<String> = namespaces.into_iter().cloned().collect();
    if !others.is_empty() {
        parts.push(format!("{} objects of MetalLB", others.len()));
    }
    parts.join(", ")
}

fn describe(restored: &[Restored]) -> String {
    if restored.is_empty() {
        return "found nothing to put back".to_owned();
    }
    let each = restored.iter().map(|restored| match restored {
        Restored::PutBack(entry) => format!("put back {}, edited by the run {}", entry.target, entry.run),
        Restored::WasThere(entry) => format!("found {} put back already", entry.target),
        Restored::ChangedByOthers(entry) => format!(
            "left {} as it is: somebody changed it after the run {} did; the original is in the journal",
            entry.target, entry.run
        ),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Removes networks that carry our label and that no container stands on.
async fn remove_networks(access: &EngineAccess) -> Result<Vec<String>> {
    let mut done = Vec::new();
    for found in network::list(access).await?.into_iter().filter(|network| network.ours && network.members == 0) {
        let network = Network { name: found.name.clone(), ..Network::on(ipnet::Ipv4Net::default(), false) };
        access.command(network.remove()).run_async().await?;
        done.push(format!("removed the network {}", found.name));
    }
    Ok(done)
}

/// What `status` shows of one cluster without asking it anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// What is recorded of it.
    pub record: Record,
    /// Whether a live run holds it.
    pub held: bool,
    /// How old it is, in seconds.
    pub age_seconds: i64,
    /// Whether cluster-wide edits may have to be put back.
    pub journaled: bool,
}

impl ClusterStatus {
    /// One line for a person.
    pub fn line(&self) -> String {
        let state = match (self.record.phase, self.held) {
            (Phase::Ready, true) => "in use",
            (Phase::Ready, false) => "free",
            (_, true) => "being made or deleted",
            (_, false) => "half made: the next run makes it anew",
        };
        let kept = if self.record.kept { ", kept" } else { "" };
        let journaled = if self.journaled { ", edits to put back" } else { "" };
        let minutes = self.age_seconds / 60;
        format!("{}: {state}{kept}, {minutes} min old{journaled}", self.record.name)
    }
}

/// Every recorded cluster.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the records cannot be read.
pub fn status(home: &Home) -> Result<Vec<ClusterStatus>> {
    let mut all = Vec::new();
    for record in Record::all(home)? {
        let held = home.try_lock(&lock_name(&record.name))?.is_none();
        let age_seconds = Timestamp::now().as_second() - record.created_at.as_second();
        let journaled = Record::journal_note(home, &record.name).exists();
        all.push(ClusterStatus { record, held, age_seconds, journaled });
    }
    Ok(all)
}

/// Every existing cluster on which there is something of ours.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the records cannot be read.
pub fn existing_clusters(home: &Home) -> Result<Vec<existing::Record>> {
    let all = directories(home)?;
    all.iter().filter_map(|id| existing::Record::read(home, id).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::Command, environment::cluster::record::tests::record};

    /// An engine whose commands do nothing but note what they were.
    fn noting(log: &std::path::Path) -> EngineAccess {
        let log = log.to_owned();
        EngineAccess::new(EngineKind::Sandbox, "kind", move |command: Command| {
            let script = r#"echo "$1" >>"$0"; case "$1" in *"network inspect"*) echo '[]';; esac"#;
            Command::new("sh").args(["-c", script, &log.display().to_string(), &command.display()])
        })
    }

    #[tokio::test]
    async fn what_no_run_holds_and_nobody_keeps_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let log = dir.path().join("log");
        let mut gone = record("gone");
        gone.laptop = Some("gone-laptop".to_owned());
        gone.write(&home).unwrap();
        Record { kept: true, ..record("kept") }.write(&home).unwrap();
        record("held").write(&home).unwrap();
        let _held = home.try_lock(&lock_name("held")).unwrap().unwrap();
        let access = noting(&log);
        let engine = |kind| {
            let access = (kind == EngineKind::Sandbox).then(|| access.clone());
            std::future::ready(Ok(access))
        };
        let done = collect(&home, engine, false).await.unwrap();
        assert_eq!(done, ["removed the cluster gone", "left the cluster held: a run holds it"]);
        let run = std::fs::read_to_string(&log).unwrap();
        let mut commands = run.lines();
        assert_eq!(commands.next(), Some("docker rm --force --volumes gone-laptop"));
        // Its name is free again when a container can be made with it.
        assert!(commands.next().unwrap().starts_with("docker create --pull never --name gone-laptop "), "{run}");
        assert_eq!(commands.next(), Some("docker rm --force --volumes gone-laptop"));
        assert!(commands.next().unwrap().starts_with("kind delete cluster --name gone --kubeconfig "), "{run}");
        let left: Vec<String> = status(&home).unwrap().iter().map(|status| status.record.name.clone()).collect();
        assert_eq!(left, ["held", "kept"]);

        let done = collect(&home, engine, true).await.unwrap();
        assert_eq!(done, ["left the cluster held: a run holds it", "removed the cluster kept"]);
    }

    #[tokio::test]
    async fn a_cluster_whose_engine_does_not_run_stays_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        record("a").write(&home).unwrap();
        let done = collect(&home, |_| std::future::ready(Ok(None)), true).await.unwrap();
        assert_eq!(done, ["left the cluster a: its engine does not run"]);
        assert_eq!(Record::all(&home).unwrap().len(), 1);
    }

    #[test]
    fn status_tells_what_is_half_made() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        Record { phase: Phase::Creating, ..record("a") }.write(&home).unwrap();
        std::fs::write(Record::journal_note(&home, "a"), "r1").unwrap();
        let line = status(&home).unwrap()[0].line();
        assert!(line.starts_with("a: half made: the next run makes it anew, "), "{line}");
        assert!(line.ends_with(", edits to put back"), "{line}");
    }
}
