//! What a run makes on a cluster that is not ours: written down before it is made, and removed by that alone.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use futures::future::try_join_all;
use kube::{Client, ResourceExt as _, api::DynamicObject, core::TypeMeta};
use serde::{Deserialize, Serialize};

use crate::{
    Context as _, Error, ErrorKind, Result,
    command::read_text,
    home::{Home, write_atomically},
    kubernetes::{
        FIELD_MANAGER, MANAGED_BY, RUN_LABEL,
        apply::{self, Manifest},
        conditions, wait,
    },
};

/// The kinds that must go first: as long as they are there, the API server asks a webhook whether the rest may go.
const WEBHOOKS: &str = "ValidatingWebhookConfiguration";

/// The name of an object that lives in no namespace, or in one that is not the run's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// Such as `rbac.authorization.k8s.io/v1`.
    pub api_version: String,
    /// Such as `ClusterRole`.
    pub kind: String,
    /// Its namespace, if it lives in one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The record of a cluster that is not ours: the file `existing.json` in its directory below the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The name of its directory and of its lock.
    pub id: String,
    /// The kubeconfig that named it.
    pub kubeconfig: PathBuf,
    /// The context in it.
    pub context: String,
    /// Whether what was made there stays when a run ends.
    pub kept: bool,
    /// The runs that may have made something: what they made carries their label.
    pub runs: Vec<String>,
    /// What they may have made.
    pub objects: Vec<ObjectName>,
}

impl ObjectName {
    fn of(object: &DynamicObject) -> Self {
        let types = object.types.clone().unwrap_or_default();
        Self {
            api_version: types.api_version,
            kind: types.kind,
            namespace: object.metadata.namespace.clone(),
            name: object.name_any(),
        }
    }

    fn object(&self) -> DynamicObject {
        let mut object = DynamicObject {
            types: Some(TypeMeta { api_version: self.api_version.clone(), kind: self.kind.clone() }),
            metadata: kube::api::ObjectMeta::default(),
            data: serde_json::Value::Null,
        };
        object.metadata.name = Some(self.name.clone());
        object.metadata.namespace.clone_from(&self.namespace);
        object
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// The objects of manifests that have to be removed one by one: all but those that go with their namespace.
pub(crate) fn removable(manifests: &[Manifest]) -> Vec<ObjectName> {
    let all: BTreeSet<ObjectName> = manifests.iter().flat_map(Manifest::objects).map(ObjectName::of).collect();
    let is_made = |namespace: &String| all.iter().any(|object| object.kind == "Namespace" && object.name == *namespace);
    all.iter().filter(|object| !object.namespace.as_ref().is_some_and(is_made)).cloned().collect()
}

impl Record {
    /// The record of the cluster whose directory is called `id`, if a run has been on it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be read.
    pub fn read(home: &Home, id: &str) -> Result<Option<Self>> {
        let path = home.clusters().join(id).join("existing.json");
        if !path.exists() {
            return Ok(None);
        }
        serde_json::from_str(&read_text(&path)?)
            .map(Some)
            .tried(ErrorKind::Storage, || format!("read {}", path.display()))
    }

    /// Writes it down.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written.
    pub fn write(&self, home: &Home) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).tried(ErrorKind::Internal, || "write down an existing cluster")?;
        write_atomically(&home.clusters().join(&self.id).join("existing.json"), &text)
    }

    /// The file that exists while cluster-wide edits may have to be put back.
    pub fn journal_note(&self, home: &Home) -> PathBuf {
        home.clusters().join(&self.id).join("journal")
    }

    /// Adds what the run `run` may make; `keep`: it stays when the run ends.
    pub(crate) fn add_run(&mut self, run: &str, objects: Vec<ObjectName>, keep: bool) {
        self.runs.push(run.to_owned());
        self.add_objects(objects);
        self.kept |= keep;
    }

    /// Adds what a run of this record may make.
    pub(crate) fn add_objects(&mut self, objects: Vec<ObjectName>) {
        self.objects.extend(objects);
        self.objects.sort();
        self.objects.dedup();
    }

    /// Refuses to make what is there already and is not this record's: nothing of it is changed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with the first object that is somebody's.
    pub async fn refuse_strangers(&self, client: &Client, wanted: &[ObjectName]) -> Result<()> {
        for name in wanted {
            let Some(found) = apply::get(client, &name.object()).await? else { continue };
            if self.has_made(name, &found) {
                continue;
            }
            let (cause, hint) = if found.labels().get(MANAGED_BY).map(String::as_str) == Some(FIELD_MANAGER) {
                let run = found.labels().get(RUN_LABEL).map_or("?", String::as_str);
                let hint = "Wait until that run has ended. If it was killed, `cargo xtask gc` removes what it left: \
                            on the machine, and with the cache directory, that it ran with.";
                (format!("the run {run} has made it there"), hint)
            } else {
                let hint = "Nothing that is not ours is touched. Use another cluster, or remove it if nobody needs \
                            it; if it belongs to MetalLB, leave out --install-metallb.";
                ("it is there already, and it is not ours".to_owned(), hint)
            };
            let tried = format!("make the {name} on the cluster of the context `{}`", self.context);
            return Err(Error::new(ErrorKind::Usage, tried, cause).hint(hint));
        }
        Ok(())
    }

    /// Whether a run of this record has made the object: it is recorded, and carries that run's label.
    fn has_made(&self, name: &ObjectName, found: &DynamicObject) -> bool {
        let labels = found.labels();
        let ours = labels.get(MANAGED_BY).map(String::as_str) == Some(FIELD_MANAGER);
        ours && self.objects.contains(name) && labels.get(RUN_LABEL).is_some_and(|run| self.runs.contains(run))
    }

    /// Removes what is recorded and carries the label of a recorded run, and waits until it is gone; says what it was.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with the object that the API server refused to delete, [`ErrorKind::Deadline`] with
    /// what does not go away.
    pub async fn remove_objects(&self, client: &Client, deadline: Duration) -> Result<Vec<String>> {
        let mut made = Vec::new();
        for name in &self.objects {
            if let Some(found) = apply::get(client, &name.object()).await?
                && self.has_made(name, &found)
            {
                made.push(name);
            }
        }
        made.sort_by_key(|name| name.kind != WEBHOOKS);
        for name in &made {
            apply::delete(client, &name.object()).await?;
        }
        let gone = made.iter().map(|name| async move {
            let object = name.object();
            let (api, _) = apply::api(client, &object)?;
            wait::until(api, &name.name, &format!("see the {name} go"), deadline, conditions::is_gone).await
        });
        try_join_all(gone).await?;
        Ok(made.into_iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::mock;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse("test", text).unwrap()
    }

    const MANIFEST: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: one}
---
apiVersion: v1
kind: Pod
metadata: {name: inside, namespace: one}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beside, namespace: two}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
";

    fn record() -> Record {
        Record {
            id: "existing-0".to_owned(),
            kubeconfig: "/k".into(),
            context: "c".to_owned(),
            kept: false,
            runs: vec!["r1".to_owned()],
            objects: removable(&[manifest(MANIFEST)]),
        }
    }

    /// A cluster that has each of the objects, with these labels, until it is deleted.
    fn cluster(labels: serde_json::Value) -> (Client, tokio::task::JoinHandle<Vec<mock::Asked>>) {
        let mut deleted = BTreeSet::new();
        mock::server(move |asked| {
            if asked.method == "DELETE" {
                deleted.insert(asked.path.clone());
                return (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string());
            }
            if asked.query.contains("fieldSelector") {
                // The list with which a watch begins.
                return (
                    200,
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []})
                        .to_string(),
                );
            }
            let name = asked.path.rsplit('/').next().unwrap_or_default();
            (200, json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name, "labels": labels}}).to_string())
        })
    }

    #[test]
    fn what_goes_with_its_namespace_is_not_removed_by_itself() {
        let names: Vec<String> = record().objects.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["ValidatingWebhookConfiguration hook", "ConfigMap two/beside", "Namespace one"]);
    }

    #[tokio::test]
    async fn what_a_recorded_run_has_made_is_removed_webhooks_first() {
        let (client, served) = cluster(json!({(MANAGED_BY): FIELD_MANAGER, (RUN_LABEL): "r1"}));
        let removed = record().remove_objects(&client, Duration::from_secs(5)).await.unwrap();
        assert_eq!(removed.len(), 3, "{removed:?}");
        drop(client);
        let asked = served.await.unwrap();
        let deleted: Vec<&str> =
            asked.iter().filter(|asked| asked.method == "DELETE").map(|asked| asked.path.as_str()).collect();
        assert!(deleted[0].ends_with("/hook"), "{deleted:?}");
        assert_eq!(deleted.len(), 3);
    }

    #[tokio::test]
    async fn what_somebody_else_has_made_is_neither_removed_nor_taken_over() {
        for labels in [json!({}), json!({(MANAGED_BY): FIELD_MANAGER, (RUN_LABEL): "other"})] {
            let (client, served) = cluster(labels);
            assert!(record().remove_objects(&client, Duration::from_secs(5)).await.unwrap().is_empty());
            let error = record().refuse_strangers(&client, &record().objects).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint_text().is_some());
            drop(client);
            assert!(served.await.unwrap().iter().all(|asked| asked.method == "GET"));
        }
    }

    #[tokio::test]
    async fn what_is_this_record_s_own_may_be_made_again() {
        let (client, _served) = cluster(json!({(MANAGED_BY): FIELD_MANAGER, (RUN_LABEL): "r1"}));
        record().refuse_strangers(&client, &record().objects).await.unwrap();
    }
}
