//! What tests have made for themselves and a killed run could not delete.

use std::fmt::Debug;

use futures::future::try_join_all;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{READY, namespaces};
use crate::{
    Context as _, ErrorKind, Result,
    kubernetes::{
        TEST_LABEL,
        wait::{self, Seen},
    },
};

/// Deletes it from the run's namespaces, and waits until it is gone: no test has begun yet, so it is nobody's.
///
/// # Errors
/// [`ErrorKind::Environment`] if the API server refuses, [`ErrorKind::Deadline`] with what is still there.
pub(super) async fn delete_left_by_tests(client: &Client) -> Result<()> {
    let of_each = namespaces().into_iter().map(|namespace| async move {
        // What makes others comes first.
        tokio::try_join!(delete::<Deployment>(client, &namespace), delete::<Service>(client, &namespace))?;
        tokio::try_join!(
            delete::<EndpointSlice>(client, &namespace),
            delete::<Pod>(client, &namespace),
            delete::<ConfigMap>(client, &namespace),
        )
    });
    try_join_all(of_each).await.map(drop)
}

async fn delete<K>(client: &Client, namespace: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let tried = || format!("delete what tests have left in {namespace} ({})", K::plural(&()));
    let left = api.list(&ListParams::default().labels(TEST_LABEL)).await.tried(ErrorKind::Environment, tried)?;
    if left.items.is_empty() {
        return Ok(());
    }
    // With all that they have made in turn.
    let delete = left.items.iter().filter_map(|object| object.meta().name.as_deref()).map(|name| {
        let api = &api;
        async move {
            match api.delete(name, &DeleteParams::foreground()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop).tried(ErrorKind::Environment, tried),
            }
        }
    });
    try_join_all(delete).await?;
    wait::until_all(api, TEST_LABEL, "see what tests have left go", READY, |left| match left.keys().next() {
        None => Seen::Met(()),
        Some(name) => Seen::NotYet(format!("{name} is still there")),
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::mock;

    #[tokio::test]
    async fn what_is_left_is_deleted_and_nothing_else_is_asked_for() {
        let left = json!({ "kind": "ServiceList", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": [
            { "metadata": { "name": "datagrams", "namespace": "shop", "labels": { TEST_LABEL: "r1" } } },
        ] });
        let none =
            json!({ "kind": "ServiceList", "apiVersion": "v1", "metadata": { "resourceVersion": "2" }, "items": [] });
        let (client, served) =
            mock::server(move |asked| match (asked.method.as_str(), asked.query.contains("limit")) {
                ("DELETE", _) => {
                    (200, r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#.to_owned())
                }
                // The watch's own first list.
                ("GET", true) => (200, none.to_string()),
                _ => (200, left.to_string()),
            });
        delete::<Service>(&client, "shop").await.unwrap();
        drop(client);
        let asked = served.await.unwrap();
        assert_eq!(asked[1].method, "DELETE");
        assert_eq!(asked[1].path, "/api/v1/namespaces/shop/services/datagrams");
        assert_eq!(asked[1].body["propagationPolicy"], "Foreground");
        assert!(
            asked
                .iter()
                .filter(|one| one.method == "GET")
                .all(|one| one.query.contains("labelSelector=reachmap.dev%2Ftest"))
        );
    }
}
