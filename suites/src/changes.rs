//! Changes that a test makes, and takes back.

use std::{
    fmt::Debug,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
};

use futures::FutureExt as _;
use reachmap::{
    Context as _, ErrorKind, Result,
    kube::{
        Api, Resource,
        api::{DeleteParams, PostParams},
    },
    kubernetes::TEST_LABEL,
    session::Session,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A change, what is seen of it, and the way back, which is taken whatever was seen, an assertion that failed included.
///
/// # Errors
/// The first of those of `change`, `seen` and `back`.
pub async fn changed<T, C, S, B>(
    change: impl FnOnce() -> C,
    seen: impl FnOnce() -> S,
    back: impl FnOnce() -> B,
) -> Result<T>
where
    C: Future<Output = Result<()>>,
    S: Future<Output = Result<T>>,
    B: Future<Output = Result<()>>,
{
    let seen = async {
        change().await?;
        seen().await
    };
    let seen = AssertUnwindSafe(seen).catch_unwind().await;
    let back = back().await;
    let seen = seen.unwrap_or_else(|panic| resume_unwind(panic))?;
    back.map(|()| seen)
}

/// Makes an object of the test's own, labelled as such: if its run is killed, the next one deletes it.
///
/// # Errors
/// [`ErrorKind::Environment`] if the API server refuses it.
pub async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    let mut object: K = serde_json::from_value(object).tried(ErrorKind::Internal, || "write an object")?;
    let run = Session::current()?.handover().run.clone();
    object.meta_mut().labels.get_or_insert_default().insert(TEST_LABEL.to_owned(), run);
    let name = object.meta().name.clone().unwrap_or_default();
    let created = api.create(&PostParams::default(), &object).await;
    created.map(drop).tried(ErrorKind::Environment, || format!("make {name}"))
}

/// Deletes an object of the test's own.
///
/// # Errors
/// [`ErrorKind::Environment`] if the API server refuses that.
pub async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let deleted = api.delete(name, &DeleteParams::default()).await;
    deleted.map(drop).tried(ErrorKind::Environment, || format!("delete {name}"))
}

/// Deletes an object of the test's own, if it has come to be: what takes a change back that failed half-way.
///
/// # Errors
/// As [`delete`].
pub async fn delete_if_there<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    match api.delete(name, &DeleteParams::default()).await {
        Err(reachmap::kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop).tried(ErrorKind::Environment, || format!("delete {name}")),
    }
}
