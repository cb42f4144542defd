//! Server-side apply of manifests: YAML of many documents, filled in and sent in a working order.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{FIELD_MANAGER, MANAGED_BY, RUN_LABEL};
use crate::{Context as _, Error, ErrorKind, Result};

/// How many objects are sent at once; the API server would take more, the order inside a stage does not matter.
const AT_ONCE: usize = 8;

/// Kinds that live in no namespace, as far as our manifests have them.
const CLUSTER_SCOPED: [&str; 6] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "ValidatingWebhookConfiguration",
];

/// Fills a manifest's `{{ placeholders }}` from `values`, pairs of name and value.
///
/// # Errors
/// [`ErrorKind::Internal`] if a placeholder has no value: a manifest and its code are out of step.
///
/// ```
/// let text = reachmap::kubernetes::apply::render("pod", "image: {{ image }}", &[("image", "nginx:1.29")]);
/// assert_eq!(text.unwrap(), "image: nginx:1.29");
/// ```
pub fn render(name: &str, template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut environment = minijinja::Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
        .render_named_str(name, template, minijinja::Value::from_pairs(values.iter().copied()))
        .tried(ErrorKind::Internal, || format!("fill in the manifest {name}"))
}

/// Objects that belong together, parsed from YAML, in the order of their documents.
#[derive(Debug, Clone)]
#[must_use]
pub struct Manifest {
    name: String,
    objects: Vec<DynamicObject>,
}

impl Manifest {
    /// Parses the YAML `text` of one or more documents; `name` is what errors call it.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if it is no YAML, or a document is no Kubernetes object.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("parse the manifest {name}"), error))?;
        let mut objects = Vec::with_capacity(documents.len());
        for (index, document) in documents.into_iter().filter(|document| !document.is_null()).enumerate() {
            let object: DynamicObject = serde_json::from_value(document)
                .tried(ErrorKind::Internal, || format!("read object {} of the manifest {name}", index + 1))?;
            if object.types.is_none() || object.metadata.name.is_none() {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!("read object {} of the manifest {name}", index + 1),
                    "it has no apiVersion, kind or metadata.name",
                ));
            }
            objects.push(object);
        }
        Ok(Self { name: name.to_owned(), objects })
    }

    /// Puts our labels on every object, but not into pod templates: a new run must not restart pods.
    pub fn labelled(mut self, run: &str) -> Self {
        for object in &mut self.objects {
            let labels = object.metadata.labels.get_or_insert_default();
            labels.insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
            labels.insert(RUN_LABEL.to_owned(), run.to_owned());
        }
        self
    }

    /// Its objects.
    pub fn objects(&self) -> &[DynamicObject] {
        &self.objects
    }

    /// The namespaces that its objects live in, each once.
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.objects.iter().filter_map(|object| object.metadata.namespace.as_deref()).collect()
    }

    /// Applies every object by server-side apply: first what others need (namespaces, definitions),
    /// then what they refer to, then workloads; inside a stage several at once.
    ///
    /// Fields that another manager owns are taken over.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with the object that the API server refused, and why.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        for stage in 0..STAGES {
            // Made before they are waited for: a stream that holds closures over references could not be sent to another task.
            let objects = self.objects.iter().filter(|object| stage_of(object) == stage);
            let all: Vec<_> = objects.map(|object| apply(client, object)).collect();
            futures::stream::iter(all).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.map_err(|error| {
                match error.hint_text() {
                    Some(_) => error,
                    None => error.hint(format!("The object comes from the manifest {}.", self.name)),
                }
            })?;
        }
        Ok(())
    }

    /// Deletes every object, the last first; what is not there is passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with the object that the API server refused to delete.
    pub async fn delete(&self, client: &Client) -> Result<()> {
        for object in self.objects.iter().rev() {
            delete(client, object).await?;
        }
        Ok(())
    }
}

/// Applies one object by server-side apply, taking over fields of other managers.
///
/// A pod, whose specification cannot be changed, is deleted and made anew if it has to differ.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn apply(client: &Client, object: &DynamicObject) -> Result<DynamicObject> {
    let (api, name) = api(client, object)?;
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let tried = || format!("apply {}", describe(object));
    match api.patch(name, &parameters, &Patch::Apply(object)).await {
        Ok(applied) => Ok(applied),
        Err(kube::Error::Api(status)) if status.code == 422 && kind(object) == "Pod" => {
            let now = DeleteParams::default().grace_period(0);
            kube::runtime::wait::delete::delete_and_finalize(api.clone(), name, &now)
                .await
                .tried(ErrorKind::Environment, || format!("replace {}", describe(object)))?;
            api.patch(name, &parameters, &Patch::Apply(object)).await.tried(ErrorKind::Environment, tried)
        }
        Err(error) => Err(Error::from_source(ErrorKind::Environment, tried(), error)),
    }
}

/// Deletes one object; returns whether it was there.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn delete(client: &Client, object: &DynamicObject) -> Result<bool> {
    let (api, name) = api(client, object)?;
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(Error::from_source(ErrorKind::Environment, format!("delete {}", describe(object)), error)),
    }
}

/// The object as the cluster has it; none if it has none of that kind and name.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn get(client: &Client, object: &DynamicObject) -> Result<Option<DynamicObject>> {
    let (api, name) = api(client, object)?;
    api.get_opt(name).await.tried(ErrorKind::Environment, || format!("look for {}", describe(object)))
}

pub(crate) fn api<'a>(client: &Client, object: &'a DynamicObject) -> Result<(Api<DynamicObject>, &'a str)> {
    let wrong = |cause: &str| Error::new(ErrorKind::Internal, format!("address {}", describe(object)), cause);
    let types = object.types.as_ref().ok_or_else(|| wrong("it has no kind"))?;
    let name = object.metadata.name.as_deref().ok_or_else(|| wrong("it has no name"))?;
    let gvk =
        GroupVersionKind::try_from(types).tried(ErrorKind::Internal, || format!("address {}", describe(object)))?;
    let resource = ApiResource::from_gvk(&gvk);
    let api = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None if CLUSTER_SCOPED.contains(&gvk.kind.as_str()) => Api::all_with(client.clone(), &resource),
        None => return Err(wrong("it has no namespace")),
    };
    Ok((api, name))
}

const STAGES: u8 = 3;

fn stage_of(object: &DynamicObject) -> u8 {
    match kind(object) {
        "Namespace" | "CustomResourceDefinition" => 0,
        "DaemonSet" | "Deployment" | "Pod" | "ValidatingWebhookConfiguration" => 2,
        _ => 1,
    }
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// `Deployment service-type-test/nginx`: how errors and progress call an object.
fn describe(object: &DynamicObject) -> String {
    let name = object.metadata.name.as_deref().unwrap_or("without a name");
    match object.metadata.namespace.as_deref() {
        Some(namespace) => format!("{} {namespace}/{name}", kind(object)),
        None => format!("{} {name}", kind(object)),
    }
}

/// Sets one annotation on a Deployment's pod template, which is what `kubectl rollout restart` does.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn restart_deployment(client: &Client, namespace: &str, name: &str) -> Result<()> {
    use k8s_openapi::api::apps::v1::Deployment;
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let now = jiff::Timestamp::now().to_string();
    let patch =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(&patch))
        .await
        .tried(ErrorKind::Environment, || format!("restart the Deployment {namespace}/{name}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::mock;

    const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: testpod, namespace: one}
---
apiVersion: v1
kind: Namespace
metadata: {name: one}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: one}
spec: {addresses: [10.0.0.1-10.0.0.2]}
";

    fn echo(asked: &mock::Asked) -> (u16, String) {
        (200, asked.body.to_string())
    }

    #[tokio::test]
    async fn a_manifest_is_applied_from_any_task() {
        let (client, served) = mock::server(echo);
        let applied = async move { Manifest::parse("test", MANIFEST)?.apply(&client).await };
        tokio::spawn(applied).await.unwrap().unwrap();
        assert_eq!(served.await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn objects_go_to_their_resources_what_others_need_first() {
        let (client, served) = mock::server(echo);
        Manifest::parse("test", MANIFEST).unwrap().labelled("r1").apply(&client).await.unwrap();
        drop(client);
        let asked = served.await.unwrap();
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/api/v1/namespaces/one",
                "/apis/metallb.io/v1beta1/namespaces/one/ipaddresspools/pool",
                "/api/v1/namespaces/one/pods/testpod",
            ]
        );
        for asked in &asked {
            assert_eq!((asked.method.as_str(), asked.query.as_str()), ("PATCH", "&force=true&fieldManager=reachmap"));
            assert_eq!(asked.body["metadata"]["labels"][RUN_LABEL], "r1");
        }
    }

    #[tokio::test]
    async fn a_refused_object_is_named_with_the_answer() {
        let (client, _served) = mock::server(|_| mock::status(403, "Forbidden", "violates PodSecurity"));
        let error = Manifest::parse("test", MANIFEST).unwrap().apply(&client).await.unwrap_err();
        assert!(error.to_string().starts_with("failed to apply Namespace one: "), "{error}");
        assert!(error.to_string().contains("violates PodSecurity"), "{error}");
        assert_eq!(error.hint_text(), Some("The object comes from the manifest test."));
    }

    #[tokio::test]
    async fn what_is_not_there_is_deleted_already() {
        let (client, _served) = mock::server(|_| mock::not_found());
        Manifest::parse("test", MANIFEST).unwrap().delete(&client).await.unwrap();
    }

    #[test]
    fn a_document_that_is_no_object_is_refused_with_its_number() {
        let error = Manifest::parse("test", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: Pod\n");
        assert!(error.unwrap_err().to_string().starts_with("failed to read object 2 of the manifest test"));
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error() {
        let error = render("pod", "image: {{ image }}", &[("other", "1")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
