//! What pods have printed.

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams};
use tokio::task::JoinHandle;

use crate::{Context as _, Error, ErrorKind, Result};

/// The last `lines` lines that a pod's only container has printed.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn tail(client: &Client, namespace: &str, pod: &str, lines: i64) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = LogParams { tail_lines: Some(lines), ..LogParams::default() };
    api.logs(pod, &parameters)
        .await
        .tried(ErrorKind::Environment, || format!("read the log of the pod {namespace}/{pod}"))
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// They hold this.
    pub holding: String,
    /// The first that holds this ends them, and is not one of them.
    pub last: String,
}

/// Follows the log of a pod's only container: once this returns, a task takes the wanted lines as they are printed.
///
/// A kubelet that turns the log's file over meanwhile may lose who follows it: then the last line never comes. Clusters that
/// we make have logs that are large enough.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer; from the task, if the log ends before its last line.
pub async fn follow(client: Client, namespace: &str, pod: String, lines: Lines) -> Result<JoinHandle<Result<String>>> {
    let api: Api<Pod> = Api::namespaced(client, namespace);
    let tried = format!("follow the log of the pod {namespace}/{pod}");
    // Some seconds of before: what is printed while this is under way is not missed.
    let parameters = LogParams { follow: true, since_seconds: Some(5), ..LogParams::default() };
    let stream = api.log_stream(&pod, &parameters).await.tried(ErrorKind::Environment, || tried.clone())?;
    Ok(tokio::spawn(async move {
        let (mut printed, mut text) = (stream.lines(), String::new());
        while let Some(line) = printed.try_next().await.tried(ErrorKind::Environment, || tried.clone())? {
            if line.contains(&lines.last) {
                return Ok(text);
            }
            if line.contains(&lines.holding) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        Err(Error::new(ErrorKind::Environment, tried, "it ended before the last line that was wanted"))
    }))
}
