//! What is put back on clusters that stay, and removed from those that we did not make.

use std::time::Duration;

use kube::Client;

use crate::{
    Result,
    command::read_text,
    environment::{
        cluster::{EngineAccess, connect, existing, record::Record},
        journal::{Journal, Restored},
    },
    home::Home,
};

/// How long a namespace may take to go, with its pods and all that is in it.
const GONE: Duration = Duration::from_secs(180);

/// Puts back what a run that was killed left edited on a cluster that stays.
pub(super) async fn put_back(home: &Home, access: &EngineAccess, record: &Record) -> Result<Option<String>> {
    let note = Record::journal_note(home, &record.name);
    if !note.exists() {
        return Ok(None);
    }
    let text = read_text(&Record::kubeconfig(home, &record.name))?;
    let client = connect::client(&text, access.network_namespace.as_deref()).await?;
    let restored = Journal::new(client, "gc", Some(note)).restore().await?;
    Ok(Some(format!("{} on the kept cluster {}", describe(&restored), record.name)))
}

/// A directory without a lease: an existing cluster that a run was on, or nothing of a cluster at all.
pub(super) async fn clean_existing(home: &Home, id: &str, all: bool) -> Result<Option<String>> {
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
