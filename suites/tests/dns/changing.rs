//! What names resolve to while things change: one change at a time, each taken back.

use std::{
    fmt::Debug,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use reachmap::{
    Context as _, ErrorKind, Result,
    kube::{
        Api, Resource,
        api::{DeleteParams, PostParams},
    },
    session::Session,
    wire::Resolve,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::tutorial::dns_server;

mod coredns;
mod endpoints;
mod external_name;
mod witness;

/// The tests of this stage share the cluster, and each changes it.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A change of a Service is in every replica of CoreDNS well within this: its TTL is 30 seconds, and it watches.
const CONVERGENCE: Duration = Duration::from_secs(30);

/// A change, what is seen of it, and the way back, which is taken whatever was seen, an assertion that failed included.
async fn changed<T, C, S, B>(
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

/// Asks until the answer is `wanted`; returns how long that took, or fails with the last answer.
async fn until_answered(session: &Session, name: &str, wanted: impl Fn(&Resolve) -> bool) -> Result<Duration> {
    let (server, started) = (dns_server()?, Instant::now());
    let mut pauses = tokio::time::interval(Duration::from_millis(50));
    loop {
        pauses.tick().await;
        let seen = session.ask(server, name.to_owned()).await?;
        if wanted(&seen) {
            return Ok(started.elapsed());
        }
        assert!(started.elapsed() < CONVERGENCE, "{name} is still answered with {seen:#?}");
    }
}

/// Makes an object of the test's own.
async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    let object: K = serde_json::from_value(object).tried(ErrorKind::Internal, || "write an object")?;
    let name = object.meta().name.clone().unwrap_or_default();
    let created = api.create(&PostParams::default(), &object).await;
    created.map(drop).tried(ErrorKind::Environment, || format!("make {name}"))
}

/// Deletes an object of the test's own.
async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let deleted = api.delete(name, &DeleteParams::default()).await;
    deleted.map(drop).tried(ErrorKind::Environment, || format!("delete {name}"))
}
