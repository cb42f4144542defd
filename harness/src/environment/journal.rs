//! Cluster-wide edits, recorded before they are made, so that they are always put back.
//!
//! The journal lives in the cluster itself, in the ConfigMap [`NAME`] of `kube-system`: whoever finds the
//! cluster later, after a power cut or from another machine, finds the original with it. The original
//! stands there as plain text, so that a person can put it back by hand, too.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Context as _, Error, ErrorKind, Result,
    environment::sha256,
    home::write_atomically,
    kubernetes::{FIELD_MANAGER, MANAGED_BY, apply},
};

/// The ConfigMap that holds the journal.
pub const NAME: &str = "reachmap-journal";
const NAMESPACE: &str = "kube-system";

/// One text in one ConfigMap, and the Deployment that has to be restarted to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The ConfigMap's namespace, and the Deployment's.
    pub namespace: String,
    /// The ConfigMap's name.
    pub config_map: String,
    /// The key of the text in it.
    pub key: String,
    /// The Deployment that reads it.
    pub deployment: String,
}

impl Target {
    /// CoreDNS's Corefile, where kubeadm puts it.
    pub fn corefile() -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            config_map: "coredns".to_owned(),
            key: "Corefile".to_owned(),
            deployment: "coredns".to_owned(),
        }
    }

    fn id(&self) -> String {
        format!("{}.{}.{}", self.namespace, self.config_map, self.key)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in the ConfigMap {}/{}", self.key, self.namespace, self.config_map)
    }
}

/// An edit that has not been put back yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was edited.
    pub target: Target,
    /// The text before the first edit.
    pub original: String,
    /// The run that edited it first.
    pub run: String,
    /// When.
    pub when: Timestamp,
    /// The SHA-256 of every text that we have put there.
    edits: Vec<String>,
}

/// What is stored beside the original's own text.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    target: Target,
    original_sha256: String,
    edits_sha256: Vec<String>,
    run: String,
    when: Timestamp,
}

/// What became of an entry when it was to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The original is in its place again, byte for byte.
    PutBack(Entry),
    /// It was in its place already: the edit had not been made, or had been undone.
    WasThere(Entry),
    /// Somebody else has changed the text since: it is left as it is, and the original is kept in the
    /// journal under the key `<target>.abandoned`.
    ChangedByOthers(Entry),
}

/// The journal of one cluster.
#[derive(Clone)]
pub struct Journal {
    client: Client,
    run: String,
    note: Option<PathBuf>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("run", &self.run).field("note", &self.note).finish_non_exhaustive()
    }
}

impl Journal {
    /// The journal of the cluster behind `client`, for the run with the id `run`.
    ///
    /// The file `note` exists as long as there may be something to put back: it is written before the first
    /// edit, so that a later command knows to look into the cluster.
    pub fn new(client: Client, run: impl Into<String>, note: Option<PathBuf>) -> Self {
        Self { client, run: run.into(), note }
    }

    /// The text as it was before any edit of ours: what an edit has to start from.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if there is no such text.
    pub async fn original(&self, target: &Target) -> Result<String> {
        let entries = self.read().await?;
        if let Some(entry) = entries.into_iter().find(|entry| &entry.target == target) {
            return Ok(entry.original);
        }
        Ok(self.live(target).await?.1)
    }

    /// Replaces the text, after having stored the original. Further edits of the same text keep the first original.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the API server refuses, or if somebody else has changed the text since
    /// our last edit: then nothing is changed.
    pub async fn edit(&self, target: &Target, text: &str) -> Result<()> {
        let tried = || format!("edit {target}");
        let mut entries = self.read().await?;
        let (version, live) = self.live(target).await?;
        match entries.iter_mut().find(|entry| &entry.target == target) {
            Some(entry) if entry.original != live && !entry.edits.contains(&sha256(&live)) => {
                let cause = format!("somebody else has changed it since the run {} edited it", entry.run);
                let hint = format!("Look at the difference to the original in the ConfigMap {NAMESPACE}/{NAME}.");
                return Err(Error::new(ErrorKind::Environment, tried(), cause).hint(hint));
            }
            Some(entry) => entry.edits.push(sha256(text)),
            None => entries.push(Entry {
                target: target.clone(),
                original: live,
                run: self.run.clone(),
                when: Timestamp::now(),
                edits: vec![sha256(text)],
            }),
        }
        if let Some(note) = &self.note {
            write_atomically(note, self.run.as_bytes())?;
        }
        self.write(&entries, None).await?;
        self.put(target, &version, text).await
    }

    /// The edits that have not been put back.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the API server refuses or an entry cannot be read.
    pub async fn read(&self) -> Result<Vec<Entry>> {
        let tried = || "read the journal of cluster-wide edits";
        let Some(stored) = self.config_maps(NAMESPACE).get_opt(NAME).await.tried(ErrorKind::Environment, tried)? else {
            return Ok(Vec::new());
        };
        let data = stored.data.unwrap_or_default();
        let mut entries = Vec::new();
        for (key, text) in data.iter().filter(|(key, _)| key.strip_suffix(".entry").is_some()) {
            let stored: Stored = serde_json::from_str(text).tried(ErrorKind::Environment, tried)?;
            let original = data.get(&format!("{}.original", stored.target.id()));
            let original = original.filter(|original| sha256(original) == stored.original_sha256).ok_or_else(|| {
                Error::new(ErrorKind::Environment, tried(), format!("the original of {key} is missing or was changed"))
                    .hint(format!("Look into the ConfigMap {NAMESPACE}/{NAME} and put the text back by hand."))
            })?;
            entries.push(Entry {
                target: stored.target,
                original: original.clone(),
                run: stored.run,
                when: stored.when,
                edits: stored.edits_sha256,
            });
        }
        Ok(entries)
    }

    /// Puts every original back, byte for byte, restarts what reads it, and then forgets the entry.
    ///
    /// It can be cut short anywhere and called again.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the API server refuses; what is not put back stays in the journal.
    pub async fn restore(&self) -> Result<Vec<Restored>> {
        let mut entries = self.read().await?;
        let mut restored = Vec::new();
        while let Some(entry) = entries.pop() {
            let (version, live) = self.live(&entry.target).await?;
            let mut abandoned = None;
            let what = if live == entry.original {
                Restored::WasThere(entry.clone())
            } else if entry.edits.contains(&sha256(&live)) {
                self.put(&entry.target, &version, &entry.original).await?;
                Restored::PutBack(entry.clone())
            } else {
                abandoned = Some(&entry);
                Restored::ChangedByOthers(entry.clone())
            };
            if abandoned.is_none() {
                // Also when the text was there already: a run may have ended between putting it back and this.
                apply::restart_deployment(&self.client, &entry.target.namespace, &entry.target.deployment).await?;
            }
            self.write(&entries, abandoned).await?;
            restored.push(what);
        }
        if let Some(note) = &self.note {
            match std::fs::remove_file(note) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::from_source(ErrorKind::Storage, format!("remove {}", note.display()), error));
                }
                _ => {}
            }
        }
        Ok(restored)
    }

    /// The text as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if there is no such text.
    pub async fn live_text(&self, target: &Target) -> Result<String> {
        Ok(self.live(target).await?.1)
    }

    fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The text as it is now, and the ConfigMap's version.
    async fn live(&self, target: &Target) -> Result<(String, String)> {
        let tried = || format!("read {target}");
        let api = self.config_maps(&target.namespace);
        let object = api.get(&target.config_map).await.tried(ErrorKind::Environment, tried)?;
        let text = object.data.and_then(|mut data| data.remove(&target.key));
        let text = text.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "there is no such key"))?;
        Ok((object.metadata.resource_version.unwrap_or_default(), text))
    }

    /// Writes the text if the ConfigMap still has the version that was looked at.
    async fn put(&self, target: &Target, version: &str, text: &str) -> Result<()> {
        let patch = json!({"metadata": {"resourceVersion": version}, "data": {(target.key.as_str()): text}});
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.config_maps(&target.namespace)
            .patch(&target.config_map, &parameters, &Patch::Merge(&patch))
            .await
            .tried(ErrorKind::Environment, || format!("write {target}"))?;
        Ok(())
    }

    /// Writes the journal as a whole; an empty one is removed, unless it has to keep an abandoned original.
    async fn write(&self, entries: &[Entry], abandoned: Option<&Entry>) -> Result<()> {
        let tried = || "write the journal of cluster-wide edits";
        let api = self.config_maps(NAMESPACE);
        let old = api.get_opt(NAME).await.tried(ErrorKind::Environment, tried)?;
        let old = old.and_then(|old| old.data).unwrap_or_default();
        let mut data: BTreeMap<String, String> =
            old.into_iter().filter(|(key, _)| key.strip_suffix(".abandoned").is_some()).collect();
        if let Some(entry) = abandoned {
            data.insert(format!("{}.abandoned", entry.target.id()), entry.original.clone());
        }
        for entry in entries {
            let stored = Stored {
                target: entry.target.clone(),
                original_sha256: sha256(&entry.original),
                edits_sha256: entry.edits.clone(),
                run: entry.run.clone(),
                when: entry.when,
            };
            let text = serde_json::to_string(&stored).tried(ErrorKind::Internal, tried)?;
            data.insert(format!("{}.entry", entry.target.id()), text);
            data.insert(format!("{}.original", entry.target.id()), entry.original.clone());
        }
        if data.is_empty() {
            return match api.delete(NAME, &DeleteParams::default()).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                Err(error) => Err(Error::from_source(ErrorKind::Environment, tried(), error)),
            };
        }
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        api.patch(NAME, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object))
            .await
            .tried(ErrorKind::Environment, tried)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::kubernetes::mock;

    const ORIGINAL: &str = ".:53 {\n    forward . /etc/resolv.conf\n}\n";

    /// A cluster with CoreDNS's ConfigMap and whatever the journal writes.
    #[derive(Clone)]
    struct Cluster(Arc<Mutex<BTreeMap<String, Value>>>);

    impl Cluster {
        fn new() -> Self {
            let corefile = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "coredns", "resourceVersion": "1"}, "data": {"Corefile": ORIGINAL},
            });
            Self(Arc::new(Mutex::new(BTreeMap::from([("coredns".to_owned(), corefile)]))))
        }

        fn journal(&self, refuse: &'static str) -> Journal {
            let objects = Arc::clone(&self.0);
            let (client, _served) = mock::server(move |asked| {
                let name = asked.path.rsplit('/').next().unwrap_or_default().to_owned();
                if !refuse.is_empty() && format!("{} {name}", asked.method) == refuse {
                    return mock::status(500, "InternalError", "the power is cut");
                }
                if asked.path.contains("/deployments/") {
                    return (200, json!({"metadata": {"name": name}}).to_string());
                }
                let mut objects = objects.lock().unwrap();
                match asked.method.as_str() {
                    "GET" => objects.get(&name).map_or_else(mock::not_found, |object| (200, object.to_string())),
                    "DELETE" => {
                        objects.remove(&name);
                        (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string())
                    }
                    _ => {
                        let object = objects.entry(name).or_insert_with(|| asked.body.clone());
                        let version = &asked.body["metadata"]["resourceVersion"];
                        if version.is_string() && *version != object["metadata"]["resourceVersion"] {
                            return mock::status(409, "Conflict", "the object has been modified");
                        }
                        object["data"] = asked.body["data"].clone();
                        (200, object.to_string())
                    }
                }
            });
            Journal::new(client, "r1", None)
        }

        fn corefile(&self) -> String {
            self.0.lock().unwrap()["coredns"]["data"]["Corefile"].as_str().unwrap().to_owned()
        }

        fn set_corefile(&self, text: &str) {
            self.0.lock().unwrap().get_mut("coredns").unwrap()["data"]["Corefile"] = text.into();
        }

        fn has_journal(&self) -> bool {
            self.0.lock().unwrap().contains_key(NAME)
        }
    }

    #[tokio::test]
    async fn several_edits_are_put_back_to_the_first_original() {
        let cluster = Cluster::new();
        let journal = cluster.journal("");
        journal.edit(&Target::corefile(), "first").await.unwrap();
        journal.edit(&Target::corefile(), "second").await.unwrap();
        assert_eq!(cluster.corefile(), "second");
        assert_eq!(journal.original(&Target::corefile()).await.unwrap(), ORIGINAL);
        let restored = journal.restore().await.unwrap();
        assert!(matches!(&restored[..], [Restored::PutBack(entry)] if entry.run == "r1"), "{restored:?}");
        assert_eq!(cluster.corefile(), ORIGINAL);
        assert!(!cluster.has_journal());
        assert_eq!(journal.restore().await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_original_is_stored_before_the_edit() {
        let cluster = Cluster::new();
        cluster.journal("PATCH coredns").edit(&Target::corefile(), "edited").await.unwrap_err();
        assert!(cluster.has_journal());
        let restored = cluster.journal("").restore().await.unwrap();
        assert!(matches!(&restored[..], [Restored::WasThere(_)]), "{restored:?}");
        assert_eq!(cluster.corefile(), ORIGINAL);
    }

    #[tokio::test]
    async fn without_a_journal_there_is_no_edit() {
        let cluster = Cluster::new();
        cluster.journal("PATCH reachmap-journal").edit(&Target::corefile(), "edited").await.unwrap_err();
        assert_eq!(cluster.corefile(), ORIGINAL);
    }

    #[tokio::test]
    async fn a_restore_that_is_cut_short_can_be_called_again() {
        let cluster = Cluster::new();
        cluster.journal("").edit(&Target::corefile(), "edited").await.unwrap();
        cluster.journal("DELETE reachmap-journal").restore().await.unwrap_err();
        assert_eq!(cluster.corefile(), ORIGINAL);
        assert!(cluster.has_journal());
        cluster.journal("").restore().await.unwrap();
        assert!(!cluster.has_journal());
    }

    #[tokio::test]
    async fn what_somebody_else_has_changed_is_not_overwritten() {
        let cluster = Cluster::new();
        let journal = cluster.journal("");
        journal.edit(&Target::corefile(), "edited").await.unwrap();
        cluster.set_corefile("edited, and by a person");
        let error = journal.edit(&Target::corefile(), "again").await.unwrap_err();
        assert!(error.to_string().contains("somebody else has changed it"), "{error}");
        let restored = journal.restore().await.unwrap();
        assert!(matches!(&restored[..], [Restored::ChangedByOthers(_)]), "{restored:?}");
        assert_eq!(cluster.corefile(), "edited, and by a person");
        let kept = cluster.0.lock().unwrap()[NAME]["data"]["kube-system.coredns.Corefile.abandoned"].clone();
        assert_eq!(kept, ORIGINAL);
        assert_eq!(journal.read().await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_note_stands_as_long_as_there_may_be_something_to_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("journal");
        let cluster = Cluster::new();
        let mut journal = cluster.journal("");
        journal.note = Some(note.clone());
        journal.edit(&Target::corefile(), "edited").await.unwrap();
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "r1");
        journal.restore().await.unwrap();
        assert!(!note.exists());
    }
}
