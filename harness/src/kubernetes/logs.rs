//! What pods have printed.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use crate::{Context as _, ErrorKind, Result};

/// The last `lines` lines that a pod's only container has printed.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn tail(client: &Client, namespace: &str, pod: &str, lines: i64) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = kube::api::LogParams { tail_lines: Some(lines), ..kube::api::LogParams::default() };
    api.logs(pod, &parameters)
        .await
        .tried(ErrorKind::Environment, || format!("read the log of the pod {namespace}/{pod}"))
}
