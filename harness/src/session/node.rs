//! Changes of a node itself, which end with the process that made them.

use std::{fmt, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

use super::Session;
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::Output,
    probe::{exec, install::Place},
};

/// How long making a change, or undoing it, may take.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// What the node's shell says once the change is made.
const MADE: &str = "made";

/// `$1` makes the change, `$2` undoes it, `$3` is for how many seconds it lasts at most.
///
/// Its input ends with the process that started it, and so do the pipes that it and its commands write to: none of them may
/// die of that.
const SCRIPT: &str = r#"trap '' PIPE
trap 'eval "$2" >/dev/null' EXIT
eval "$1" >/dev/null
echo made
timeout "$3" cat >/dev/null || { echo "it lasted longer than $3 s" >&2; exit 1; }"#;

/// A change of a node that is there until it is [undone](NodeChange::undo).
///
/// The node's own shell holds it. It undoes it when it is told to, when the process that asked for it ends, be it by `kill -9`,
/// or when its time is up. So nothing is left to whoever comes next.
#[must_use = "the change is undone when it is dropped"]
pub struct NodeChange {
    node: String,
    running: exec::Running,
    runtime: tokio::runtime::Handle,
}

impl fmt::Debug for NodeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeChange").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Session {
    /// Changes a node itself, as root, by the shell script `make`, until the change is undone by the script `undo`, which has the
    /// variables of the first one. `undo` runs as well if `make` fails half-way, and after `at_most` in any case.
    ///
    /// ```no_run
    /// # async fn test(session: &reachmap::session::Session, node: &str) -> reachmap::Result<()> {
    /// let (make, undo) = ("ip route add blackhole 192.0.2.0/24", "ip route delete blackhole 192.0.2.0/24");
    /// let change = session.change_node(node, make, undo, std::time::Duration::from_secs(60)).await?;
    /// // … see what comes of it …
    /// change.undo().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the nodes are no containers beside the laptop, as in a cluster that we did not make;
    /// [`ErrorKind::Environment`] with what the script said if it fails, [`ErrorKind::Deadline`] if it does not end.
    pub async fn change_node(&self, node: &str, make: &str, undo: &str, at_most: Duration) -> Result<NodeChange> {
        let place = self.node_place(node)?;
        let runtime = self.runtime().clone();
        change(&place, node, [make, undo], at_most, runtime).await
    }
}

async fn change(
    place: &Place,
    node: &str,
    scripts: [&str; 2],
    at_most: Duration,
    runtime: tokio::runtime::Handle,
) -> Result<NodeChange> {
    let (place, argv) = (place.clone(), argv(scripts, at_most));
    let error = |kind, cause: String| Error::new(kind, format!("change {node}"), cause);
    // On the session's own runtime: what runs there outlives the caller's.
    let started =
        runtime.spawn(timeout(STEP_LIMIT, async move { Ok::<_, Error>(made(place.start(argv).await?).await) }));
    let started = started.await.tried(ErrorKind::Internal, || "join a task")?;
    match started.map_err(|_| error(ErrorKind::Deadline, format!("not made after {STEP_LIMIT:?}")))?? {
        Ok(Ok(running)) => Ok(NodeChange { node: node.to_owned(), running, runtime }),
        Ok(Err(output)) => Err(error(ErrorKind::Environment, said(&output))),
        Err(why) => Err(error(ErrorKind::Environment, why)),
    }
}

fn argv([make, undo]: [&str; 2], at_most: Duration) -> Vec<String> {
    let seconds = at_most.as_secs().to_string();
    ["sh", "-e", "-c", SCRIPT, "sh", make, undo, &seconds].map(str::to_owned).to_vec()
}

impl NodeChange {
    /// Has it undone, and waits until that is done.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what the script said if it fails, or if the change had not lasted until now;
    /// [`ErrorKind::Deadline`] if it does not end.
    pub async fn undo(self) -> Result<()> {
        let Self { node, running, runtime } = self;
        let tried = || format!("undo the change of {node}");
        // The end of its input is the sign.
        let ended = runtime.spawn(timeout(STEP_LIMIT, exec::finish(running, &[])));
        match ended.await.tried(ErrorKind::Internal, || "join a task")? {
            Ok(Ok(output)) if output.code == Some(0) => Ok(()),
            Ok(Ok(output)) => Err(Error::new(ErrorKind::Environment, tried(), said(&output))),
            Ok(Err(why)) => Err(Error::new(ErrorKind::Environment, tried(), why)),
            Err(_) => Err(Error::new(ErrorKind::Deadline, tried(), format!("not undone after {STEP_LIMIT:?}"))),
        }
    }
}

/// Waits for the shell's word that the change is made; what it has left if it ends instead.
async fn made(running: exec::Running) -> Result<Result<exec::Running, Output>, String> {
    let exec::Running { stdin, stdout, stderr, end } = running;
    let mut stdout = BufReader::new(stdout);
    let mut word = String::new();
    stdout.read_line(&mut word).await.map_err(|error| error.to_string())?;
    let running = exec::Running { stdin, stdout: Box::new(stdout), stderr, end };
    if word.trim_end() == MADE { Ok(Ok(running)) } else { exec::finish(running, &[]).await.map(Err) }
}

/// What a script that failed has said, and its exit code.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let code = output.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    format!("the node's shell ended with {code}: {said}")
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc, time::Instant};

    use super::*;
    use crate::command::Command;

    fn here() -> Place {
        Place::Command { label: "here".to_owned(), wrap: Arc::new(|argv| Command::new("env").args(argv)) }
    }

    /// A change of this machine's own: a file is there as long as it lasts.
    async fn file(file: &Path, make: &str, undo: &str, at_most: u64) -> Result<NodeChange> {
        let scripts = [make, undo].map(|script| script.replace("FILE", &file.display().to_string()));
        let runtime = tokio::runtime::Handle::current();
        change(&here(), "here", [&scripts[0], &scripts[1]], Duration::from_secs(at_most), runtime).await
    }

    /// Waits until the file is gone.
    async fn until_gone(file: &Path) {
        let started = Instant::now();
        while file.exists() {
            assert!(started.elapsed() < Duration::from_secs(20), "it is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_change_lasts_until_it_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("change");
        let change = file(&path, "what=FILE; touch $what; echo much", "rm $what; echo more", 60).await.unwrap();
        assert!(path.exists());
        change.undo().await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_change_ends_with_whoever_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("change");
        let exec::Running { stdin, stdout, stderr, end } =
            file(&path, "touch FILE", "rm FILE", 60).await.unwrap().running;
        // As when it is killed: every pipe is closed, and nobody waits.
        let shell = tokio::spawn(end);
        drop((stdin, stdout, stderr));
        until_gone(&path).await;
        shell.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_change_that_nobody_waits_for_any_more_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("change").display().to_string();
        let (make, undo) = (format!("sleep 0.3; touch {path}; echo much >&2"), format!("mv {path} {path}.undone"));
        let running = here().start(argv([&make, &undo], Duration::from_secs(60))).await.unwrap();
        drop((running.stdin, running.stdout, running.stderr));
        running.end.await.unwrap();
        assert!(dir.path().join("change.undone").exists());
    }

    #[tokio::test]
    async fn a_change_does_not_last_longer_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("change");
        let change = file(&path, "touch FILE", "rm FILE", 1).await.unwrap();
        until_gone(&path).await;
        let error = change.undo().await.unwrap_err();
        assert!(error.to_string().contains("it lasted longer than 1 s"), "{error}");
    }

    #[tokio::test]
    async fn what_was_made_before_something_failed_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("change");
        let error = file(&path, "touch FILE; echo no >&2; false", "rm FILE", 60).await.unwrap_err();
        assert!(error.to_string().contains("exit code 1: no"), "{error}");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn an_undoing_that_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("change");
        let change = file(&path, "touch FILE", "rm FILE; echo no >&2; exit 3", 60).await.unwrap();
        let error = change.undo().await.unwrap_err();
        assert!(error.to_string().contains("exit code 3: no"), "{error}");
    }
}
