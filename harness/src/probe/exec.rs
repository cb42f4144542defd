//! Programs in pods: started over the API server's exec channel, with their exit code.
//!
//! kube's `AttachedProcess` has traps, and this is the one place that knows them: the status must be
//! taken before anything else; standard output and error must be read while it runs, or it stalls; a
//! connection that breaks ends neither reader, so that everything races with the status; standard
//! input must be shut down, as dropping it tells nobody.

use std::{fmt, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    Context as _, Error, ErrorKind, Result,
    command::{Command, Output},
};

/// How long the API server, or the engine, may take to start a program.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long what is left in the pipes may take once the program has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The size of each pipe between kube and us; its default of 1 KiB is a stall per line.
const PIPE: usize = 256 * 1024;

/// A program that runs somewhere else.
pub(crate) struct Running {
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its exit code (`None`: a signal), or why that cannot be told. Owns the program: dropping it ends it.
    pub(crate) end: BoxFuture<'static, Result<Option<i32>, String>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Runs `argv` in a container of a pod, to its end, whatever its exit code.
///
/// `container` is the pod's first (or annotated default) one if absent. `stdin` is all that it reads.
///
/// # Errors
/// [`ErrorKind::Environment`] if it cannot be started or its connection breaks, [`ErrorKind::Deadline`]
/// if it has not ended within `deadline`.
pub async fn output(
    client: &kube::Client,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    argv: &[&str],
    stdin: &[u8],
    deadline: Duration,
) -> Result<Output> {
    let argv: Vec<String> = argv.iter().copied().map(str::to_owned).collect();
    let tried = || format!("run `{}` in pod {namespace}/{pod}", argv.join(" "));
    let run = async {
        let running = in_pod(client, namespace, pod, container, &argv).await?;
        finish(running, stdin).await.map_err(|why| Error::new(ErrorKind::Environment, tried(), why))
    };
    timeout(deadline, run)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Deadline, tried(), format!("not ended after {deadline:?}"))))
}

/// Starts `argv` in a container of a pod.
pub(crate) async fn in_pod(
    client: &kube::Client,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    argv: &[String],
) -> Result<Running> {
    let tried = || format!("start `{}` in pod {namespace}/{pod}", argv.first().map_or("", String::as_str));
    let params = AttachParams {
        container: container.map(str::to_owned),
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
        max_stdin_buf_size: Some(PIPE),
        max_stdout_buf_size: Some(PIPE),
        max_stderr_buf_size: Some(PIPE),
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut attached = timeout(START_LIMIT, api.exec(pod, argv, &params))
        .await
        .map_err(|_| {
            Error::new(ErrorKind::Deadline, tried(), format!("no answer from the API server after {START_LIMIT:?}"))
        })?
        .tried(ErrorKind::Environment, tried)?;
    let status = attached.take_status();
    let (Some(status), Some(stdin), Some(stdout), Some(stderr)) =
        (status, attached.stdin(), attached.stdout(), attached.stderr())
    else {
        return Err(Error::new(ErrorKind::Internal, tried(), "the client did not attach all streams"));
    };
    Ok(Running {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        end: end_in_pod(attached, status).boxed(),
    })
}

async fn end_in_pod(
    attached: AttachedProcess,
    status: impl Future<Output = Option<Status>>,
) -> Result<Option<i32>, String> {
    let status = status.await;
    // Last, and only for what it knows about a connection that broke.
    let joined = timeout(DRAIN_LIMIT, attached.join()).await;
    match status {
        Some(status) => exit_code(&status).map(Some),
        None => match joined {
            Ok(Err(error)) => Err(error.to_string()),
            _ => Err("the connection to the API server ended before the program did".to_owned()),
        },
    }
}

/// The exit code in the status that ends an exec (`metav1.Status`, cause `ExitCode`).
fn exit_code(status: &Status) -> Result<i32, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let code = status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten())
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse().ok());
    code.ok_or_else(|| status.message.clone().unwrap_or_else(|| "it failed without a reason".to_owned()))
}

/// Starts a child of this process.
pub(crate) fn child(command: &Command) -> Result<Running> {
    let tried = || format!("run `{}`", command.display());
    let mut child = command.to_tokio().spawn().map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Missing,
            _ => ErrorKind::Environment,
        };
        Error::from_source(kind, tried(), error)
    })?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::new(ErrorKind::Internal, tried(), "the child's streams are not pipes"));
    };
    let end = async move { child.wait().await.map(|status| status.code()).map_err(|error| error.to_string()) };
    Ok(Running { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr), end: end.boxed() })
}

/// Gives a program all that it reads, and waits for all that it leaves.
pub(crate) async fn finish(running: Running, input: &[u8]) -> Result<Output, String> {
    let Running { mut stdin, mut stdout, mut stderr, end } = running;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = {
        let streams = async {
            let write = async {
                // A program need not read all that it is given.
                let _ = stdin.write_all(input).await;
                let _ = stdin.shutdown().await;
                drop(stdin);
            };
            let (read_out, read_err, ()) =
                tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), write);
            read_out.and(read_err).map(drop).map_err(|error| error.to_string())
        };
        tokio::pin!(streams, end);
        tokio::select! {
            result = &mut streams => {
                result?;
                end.await?
            }
            code = &mut end => {
                let code = code?;
                // A child of the program's may hold the pipes open: what it says is not waited for.
                if let Ok(result) = timeout(DRAIN_LIMIT, streams).await {
                    result?;
                }
                code
            }
        }
    };
    Ok(Output { code, stdout: out, stderr: err })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_exit_code_is_in_the_causes() {
        assert_eq!(exit_code(&status(r#"{"status":"Success"}"#)), Ok(0));
        let failed = r#"{"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with non-zero exit code",
            "details":{"causes":[{"reason":"ExitCode","message":"22"}]}}"#;
        assert_eq!(exit_code(&status(failed)), Ok(22));
        let refused = r#"{"status":"Failure","reason":"InternalError","message":"container not running"}"#;
        assert_eq!(exit_code(&status(refused)), Err("container not running".to_owned()));
    }

    #[tokio::test]
    async fn a_child_that_reads_nothing_and_says_much_ends() {
        let command = Command::new("sh").args(["-c", "head -c 1000000 /dev/zero; echo done >&2; exit 3"]);
        let output = finish(child(&command).unwrap(), &vec![b'x'; 1_000_000]).await.unwrap();
        assert_eq!((output.code, output.stdout.len(), output.stderr), (Some(3), 1_000_000, b"done\n".to_vec()));
    }
}
