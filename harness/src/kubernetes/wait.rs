//! Waits: a watch, a condition and a deadline; who gives up says what was seen last.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watch_object, watcher},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use crate::{Error, ErrorKind, Result};

/// What a condition makes of the object that it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// It holds, and this is what the wait was for.
    Met(T),
    /// Not yet; the text says what is there instead, such as `2 of 3 replicas ready`.
    NotYet(String),
    /// Waiting longer will not help; the text says why.
    Never(String),
}

/// Watches the object called `name` until `condition` holds; it is shown `None` while there is no such object.
///
/// `tried` completes "failed to …".
///
/// # Errors
/// [`ErrorKind::Deadline`] if it did not hold within `deadline`, with what was seen last;
/// [`ErrorKind::Environment`] if the condition says that it never will.
pub async fn until<K, T>(
    api: Api<K>,
    name: &str,
    tried: &str,
    deadline: Duration,
    condition: impl Fn(Option<&K>) -> Seen<T>,
) -> Result<T>
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
{
    let objects = watch_object(api, name).default_backoff();
    // Watches are large, and several are often waited for together.
    Box::pin(watch(objects, tried, deadline, |object| (condition(object.as_ref()), object.as_ref().map(status_of))))
        .await
}

/// Watches all objects that match `selector` until `condition` holds for them together, by name.
///
/// # Errors
/// As [`until`].
pub async fn until_all<K, T>(
    api: Api<K>,
    selector: &str,
    tried: &str,
    deadline: Duration,
    condition: impl Fn(&BTreeMap<String, K>) -> Seen<T>,
) -> Result<T>
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
{
    let mut known = BTreeMap::new();
    let mut coming = BTreeMap::new();
    let objects = watcher(api, watcher::Config::default().labels(selector)).default_backoff().filter_map(|event| {
        let changed = match event {
            Err(error) => Some(Err(error)),
            Ok(event) => take(event, &mut known, &mut coming).then(|| Ok(known.clone())),
        };
        std::future::ready(changed)
    });
    Box::pin(watch(objects, tried, deadline, |objects| (condition(objects), None))).await
}

/// Keeps the set of known objects in step with the watch; whether there is something new to look at.
fn take<K: Resource>(event: Event<K>, known: &mut BTreeMap<String, K>, coming: &mut BTreeMap<String, K>) -> bool {
    match event {
        Event::Init => {
            coming.clear();
            false
        }
        Event::InitApply(object) => {
            coming.insert(object.name_any(), object);
            false
        }
        Event::InitDone => {
            *known = std::mem::take(coming);
            true
        }
        Event::Apply(object) => {
            known.insert(object.name_any(), object);
            true
        }
        Event::Delete(object) => known.remove(&object.name_any()).is_some(),
    }
}

async fn watch<S, T>(
    seen: impl Stream<Item = watcher::Result<S>>,
    tried: &str,
    deadline: Duration,
    condition: impl Fn(&S) -> (Seen<T>, Option<String>),
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut seen = pin!(seen);
    let mut last = "nothing: the API server has not answered the watch".to_owned();
    let mut trouble = None;
    loop {
        match timeout_at(end, seen.next()).await {
            Ok(Some(Ok(object))) => {
                trouble = None;
                let (verdict, status) = condition(&object);
                let with_status = |text| match status {
                    Some(status) => format!("{text}; its status: {status}"),
                    None => text,
                };
                match verdict {
                    Seen::Met(value) => return Ok(value),
                    Seen::NotYet(text) => last = with_status(text),
                    Seen::Never(text) => {
                        return Err(Error::new(ErrorKind::Environment, tried, with_status(text)));
                    }
                }
            }
            // The watcher starts again by itself; its trouble is told only if it lasts until the end.
            Ok(Some(Err(error))) => trouble = Some(error.to_string()),
            Ok(None) => {
                return Err(Error::new(ErrorKind::Internal, tried, format!("the watch ended; last seen: {last}")));
            }
            Err(_elapsed) => {
                let trouble = trouble.map(|error| format!("; the watch fails: {error}")).unwrap_or_default();
                return Err(Error::new(
                    ErrorKind::Deadline,
                    tried,
                    format!("not so after {}s; last seen: {last}{trouble}", deadline.as_secs_f32()),
                ));
            }
        }
    }
}

/// The object's status as short JSON: what a person looks at first.
fn status_of(object: &impl Serialize) -> String {
    const LONGEST: usize = 700;
    let object = serde_json::to_value(object).unwrap_or_default();
    let text = object.get("status").map_or_else(|| "none".to_owned(), ToString::to_string);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::mock;

    fn pod(version: u32, phase: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "testpod", "namespace": "one", "resourceVersion": version.to_string()},
            "status": {"phase": phase},
        })
    }

    /// Answers the list with a pending pod and the first watch with `events`; later watches see nothing new.
    fn server(events: Vec<Value>) -> kube::Client {
        let mut events = Some(events);
        mock::server(move |asked| {
            if !asked.query.contains("watch=true") {
                let list = json!({
                    "apiVersion": "v1", "kind": "PodList",
                    "metadata": {"resourceVersion": "1"}, "items": [pod(1, "Pending")],
                });
                return (200, list.to_string());
            }
            match events.take() {
                Some(lines) => (200, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n"),
                None => (mock::SILENCE, String::new()),
            }
        })
        .0
    }

    fn running(pod: Option<&Pod>) -> Seen<()> {
        match pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) {
            Some("Running") => Seen::Met(()),
            Some("Failed") => Seen::Never("the pod failed".to_owned()),
            other => Seen::NotYet(format!("phase {}", other.unwrap_or("unknown"))),
        }
    }

    #[tokio::test]
    async fn a_condition_that_comes_true_later_ends_the_wait() {
        let client = server(vec![json!({"type": "MODIFIED", "object": pod(2, "Running")})]);
        until(Api::namespaced(client, "one"), "testpod", "see it run", Duration::from_secs(5), running).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_says_what_was_seen_last() {
        let client = server(Vec::new());
        let error = until(Api::namespaced(client, "one"), "testpod", "see it run", Duration::from_secs(5), running)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(
            error.to_string(),
            r#"failed to see it run: not so after 5s; last seen: phase Pending; its status: {"phase":"Pending"}"#
        );
    }

    #[tokio::test]
    async fn a_hopeless_state_ends_the_wait_at_once() {
        let client = server(vec![json!({"type": "MODIFIED", "object": pod(2, "Failed")})]);
        let error = until(Api::namespaced(client, "one"), "testpod", "see it run", Duration::from_secs(600), running)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Environment);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_refuses_the_watch_is_named() {
        let (client, _served) = mock::server(|_| mock::status(403, "Forbidden", "no watching here"));
        let error = until(Api::namespaced(client, "one"), "testpod", "see it run", Duration::from_secs(5), running)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no watching here"), "{error}");
    }

    #[tokio::test]
    async fn a_set_is_followed_through_deletion() {
        let client = server(vec![json!({"type": "DELETED", "object": pod(2, "Pending")})]);
        until_all(Api::<Pod>::namespaced(client, "one"), "app=x", "see it go", Duration::from_secs(5), |pods| {
            if pods.is_empty() { Seen::Met(()) } else { Seen::NotYet(format!("{} left", pods.len())) }
        })
        .await
        .unwrap();
    }
}
