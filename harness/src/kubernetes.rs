//! The Kubernetes API as we use it: apply manifests, wait for conditions, read logs.
//!
//! Everything is written by server-side apply with one field manager, [`FIELD_MANAGER`], so that the
//! API server itself knows which fields are ours
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>).

pub mod apply;
pub mod conditions;
pub mod logs;
pub mod wait;

/// The field manager of everything that we write.
pub const FIELD_MANAGER: &str = "reachmap";

/// The label that says who made an object, with the value [`FIELD_MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The label with the id of the run that applied an object last.
pub const RUN_LABEL: &str = "reachmap.dev/run";

/// The label of what a test makes for itself, with the id of its run. The test deletes it; if its run is killed, the next one
/// does.
pub const TEST_LABEL: &str = "reachmap.dev/test";

#[cfg(test)]
pub(crate) mod mock {
    //! A scripted API server: requests are answered in order, and what was asked is kept.

    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::Value;

    /// What one request asked.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Asked {
        pub(crate) method: String,
        pub(crate) path: String,
        pub(crate) query: String,
        pub(crate) body: Value,
    }

    /// The status that leaves a request without an answer, as a watch that sees nothing new.
    pub(crate) const SILENCE: u16 = 0;

    /// A client whose requests `answer` answers with a status and a body: JSON, or text for a watch.
    ///
    /// Await the handle after dropping the client to get everything that was asked.
    pub(crate) fn server(
        mut answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static,
    ) -> (Client, tokio::task::JoinHandle<Vec<Asked>>) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let served = tokio::spawn(async move {
            let mut all = Vec::new();
            let mut unanswered = Vec::new();
            while let Some((request, respond)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.expect("a request's body");
                let asked = Asked {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                };
                let (status, text) = answer(&asked);
                all.push(asked);
                if status == SILENCE {
                    unanswered.push(respond);
                    continue;
                }
                let response = Response::builder().status(status).body(Body::from(text.into_bytes()));
                respond.send_response(response.expect("a response"));
            }
            all
        });
        (Client::new(service, "default"), served)
    }

    /// The API server's answer for an object that is not there.
    pub(crate) fn not_found() -> (u16, String) {
        status(404, "NotFound", "not found")
    }

    /// The API server's answer for a failure.
    pub(crate) fn status(code: u16, reason: &str, message: &str) -> (u16, String) {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": reason, "message": message, "code": code,
        });
        (code, body.to_string())
    }
}
