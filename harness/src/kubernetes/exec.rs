//! One program, run in a pod to its end. (Agents, which run on, have their own plumbing.)

use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{Api, Client, api::AttachParams};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Context as _, Error, ErrorKind, Result, command::Output};

/// Runs `argv` in the only container of the pod, with `stdin` as its input, to its end.
///
/// # Errors
/// [`ErrorKind::Environment`] if it cannot be started, [`ErrorKind::Deadline`] if it does not end in time.
/// An exit code other than 0 is no error.
pub async fn run(
    client: &Client,
    namespace: &str,
    pod: &str,
    argv: &[&str],
    stdin: Option<&[u8]>,
    deadline: Duration,
) -> Result<Output> {
    let tried = || format!("run `{}` in the pod {namespace}/{pod}", argv.join(" "));
    match tokio::time::timeout(deadline, attached(client, namespace, pod, argv, stdin)).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(cause)) => Err(Error::new(ErrorKind::Environment, tried(), cause)),
        Err(_elapsed) => Err(Error::new(ErrorKind::Deadline, tried(), format!("not ended after {deadline:?}"))),
    }
}

async fn attached(
    client: &Client,
    namespace: &str,
    pod: &str,
    argv: &[&str],
    stdin: Option<&[u8]>,
) -> Result<Output, String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = AttachParams {
        stdin: stdin.is_some(),
        max_stdin_buf_size: Some(64 << 10),
        max_stdout_buf_size: Some(64 << 10),
        max_stderr_buf_size: Some(64 << 10),
        ..AttachParams::default()
    };
    let mut process = api.exec(pod, argv.iter().copied(), &parameters).await.map_err(|error| error.to_string())?;
    // All streams are taken before any is read: a stream that nobody reads stops the others.
    let status = process.take_status().ok_or("no status channel")?;
    let mut out = process.stdout().ok_or("no standard output")?;
    let mut err = process.stderr().ok_or("no standard error")?;
    let input = process.stdin();
    let mut output = Output { code: None, stdout: Vec::new(), stderr: Vec::new() };
    let write = async {
        if let (Some(mut input), Some(bytes)) = (input, stdin) {
            // A program that ends without reading everything is its own business.
            let _ = input.write_all(bytes).await;
            let _ = input.shutdown().await;
        }
    };
    let (status, (), read_out, read_err) =
        tokio::join!(status, write, out.read_to_end(&mut output.stdout), err.read_to_end(&mut output.stderr));
    read_out.and(read_err).map_err(|error| error.to_string())?;
    let status = status.ok_or("the connection ended without an exit status")?;
    output.code = exit_code(&status)?;
    process.join().await.map_err(|error| error.to_string())?;
    Ok(output)
}

/// The exit code in the status that ends an exec
/// (`remotecommand` of the Kubernetes API: reason `NonZeroExitCode`, cause `ExitCode`).
fn exit_code(status: &Status) -> Result<Option<i32>, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(Some(0));
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_ref()?.parse().ok())
        .map(Some)
        .ok_or_else(|| status.message.clone().unwrap_or_else(|| "it could not be started".to_owned()))
}

/// The last `lines` lines that a pod's only container has printed.
///
/// # Errors
/// [`ErrorKind::Environment`] with the API server's answer.
pub async fn logs(client: &Client, namespace: &str, pod: &str, lines: i64) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = kube::api::LogParams { tail_lines: Some(lines), ..kube::api::LogParams::default() };
    api.logs(pod, &parameters)
        .await
        .tried(ErrorKind::Environment, || format!("read the log of the pod {namespace}/{pod}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_exit_code_is_read_from_the_status_causes() {
        let failed = json!({
            "status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with exit code 22",
            "details": {"causes": [{"reason": "ExitCode", "message": "22"}]},
        });
        assert_eq!(exit_code(&serde_json::from_value(failed).unwrap()), Ok(Some(22)));
        let missing = json!({"status": "Failure", "message": "exec: \"nope\": executable file not found"});
        assert_eq!(
            exit_code(&serde_json::from_value(missing).unwrap()),
            Err("exec: \"nope\": executable file not found".to_owned())
        );
        assert_eq!(exit_code(&serde_json::from_value(json!({"status": "Success"})).unwrap()), Ok(Some(0)));
    }
}
