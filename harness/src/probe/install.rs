//! From an image with `sh` and `cat` to a running agent, and other programs beside it: upload, then start.
//!
//! The uploaded file carries the hash of its content in its name and gets that name only when all of
//! it has arrived, so that a broken upload is never started and a finished one is never repeated.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

use super::{AgentBinary, exec};
use crate::{
    Error, ErrorKind, Result,
    command::{Command, Output},
};

/// Where agents and their programs live in a container: an emptyDir in our pods, made in any other container.
const DIRECTORY: &str = "/agent";

/// How long the upload may take: two megabytes, by way of the API server.
const UPLOAD_LIMIT: Duration = Duration::from_secs(60);

/// `$0` is the program's file, `$1` the name under which it is uploaded, `$2` their directory.
const UPLOAD: &str =
    r#"if [ -x "$0" ]; then echo present; else mkdir -p "$2" && echo absent && cat >"$1" && chmod 0755 "$1"; fi"#;

/// `$0` and `$1` as above: the uploaded file gets its name and becomes this process.
const START: &str = r#"{ [ ! -e "$1" ] || mv -f "$1" "$0"; } && exec "$0""#;

/// `$0` and `$1` as above: the uploaded file gets its name.
const KEEP: &str = r#"mv -f "$1" "$0""#;

/// Where programs can be started.
#[derive(Clone)]
pub(crate) enum Place {
    /// In a container of a pod.
    Pod { client: kube::Client, namespace: String, pod: String, container: String },
    /// Wherever this turns an argv into a command for.
    Command { label: String, wrap: Arc<dyn Fn(Vec<String>) -> Command + Send + Sync> },
}

impl Place {
    /// What errors call it.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Pod { namespace, pod, .. } => format!("pod {namespace}/{pod}"),
            Self::Command { label, .. } => label.clone(),
        }
    }

    /// A running container of an engine; `engine` turns a `docker …` command into one that reaches it.
    pub(crate) fn in_container(container: &str, engine: impl Fn(Command) -> Command + Send + Sync + 'static) -> Self {
        let name = container.to_owned();
        Self::Command {
            label: format!("container {container}"),
            wrap: Arc::new(move |argv| engine(Command::new("docker").args(["exec", "-i"]).arg(&name).args(argv))),
        }
    }

    /// Starts `argv` there.
    pub(crate) async fn start(&self, argv: Vec<String>) -> Result<exec::Running> {
        match self {
            Self::Pod { client, namespace, pod, container } => {
                exec::in_pod(client, namespace, pod, Some(container), &argv).await
            }
            Self::Command { wrap, .. } => exec::child(&wrap(argv)),
        }
    }
}

/// A file to be, and the name under which it comes.
struct Upload {
    file: String,
    partial: String,
}

impl Upload {
    fn new(name: &str) -> Self {
        let file = format!("{DIRECTORY}/{name}");
        Self { partial: format!("{file}.{:016x}", super::random()), file }
    }

    fn argv(&self, script: &str) -> Vec<String> {
        ["sh", "-c", script, &self.file, &self.partial, DIRECTORY].into_iter().map(str::to_owned).collect()
    }

    /// Uploads `bytes` unless the file is there; whether it had to be.
    async fn send(&self, place: &Place, name: &str, bytes: &[u8]) -> Result<bool> {
        let tried = || format!("upload {name} to {}", place.label());
        let running = place.start(self.argv(UPLOAD)).await?;
        let (is_sent, output) = timeout(UPLOAD_LIMIT, send_if_absent(running, bytes))
            .await
            .map_err(|_| Error::new(ErrorKind::Deadline, tried(), format!("not ended after {UPLOAD_LIMIT:?}")))?
            .map_err(|why| Error::new(ErrorKind::Environment, tried(), why))?;
        check(&output, tried)?;
        Ok(is_sent)
    }
}

fn check(output: &Output, tried: impl Fn() -> String) -> Result<()> {
    if output.code == Some(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let code = output.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    Err(Error::new(ErrorKind::Environment, tried(), format!("it ended with {code}: {said}")).hint(format!(
        "The image needs sh, cat, chmod and mv, and {DIRECTORY} must be a writable directory, such as an emptyDir."
    )))
}

/// Uploads `binary` to `place` unless it is there, and starts it.
pub(crate) async fn start(place: &Place, binary: &AgentBinary) -> Result<exec::Running> {
    let upload = Upload::new(&format!("reachmap-agent-{}", binary.hash()));
    upload.send(place, "the agent", binary.bytes()).await?;
    place.start(upload.argv(START)).await
}

/// Uploads a program to `place` unless it is there; returns its path there. Its `name` must tell its content.
pub(crate) async fn put(place: &Place, name: &str, bytes: &[u8]) -> Result<String> {
    let upload = Upload::new(name);
    if upload.send(place, name, bytes).await? {
        let tried = || format!("upload {name} to {}", place.label());
        let running = place.start(upload.argv(KEEP)).await?;
        let output =
            exec::finish(running, &[]).await.map_err(|why| Error::new(ErrorKind::Environment, tried(), why))?;
        check(&output, tried)?;
    }
    Ok(upload.file)
}

/// Waits for the script's word on whether the file is there, and sends it if not; whether it was sent.
async fn send_if_absent(running: exec::Running, bytes: &[u8]) -> Result<(bool, Output), String> {
    let exec::Running { stdin, stdout, stderr, end } = running;
    let mut stdout = BufReader::new(stdout);
    let mut end = end;
    let mut word = String::new();
    let early = tokio::select! {
        read = stdout.read_line(&mut word) => { read.map_err(|error| error.to_string())?; None }
        code = &mut end => Some(code?),
    };
    let is_absent = word.trim() == "absent";
    let input = if is_absent { bytes } else { &[] };
    let end = match early {
        // It has ended already: `finish` still collects what it said.
        Some(code) => Box::pin(async move { Ok(code) }),
        None => end,
    };
    let output = exec::finish(exec::Running { stdin, stdout: Box::new(stdout), stderr, end }, input).await?;
    Ok((is_absent, output))
}
