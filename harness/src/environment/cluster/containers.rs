//! Containers of ours by their names, also those that the engine has not finished making.
//!
//! Docker takes the name of a new container before it makes its file system and its volumes, and shows the container
//! after that. It finishes what it has begun, also if whoever asked for it was killed meanwhile: for some seconds a
//! container that nobody can see, list or remove is on its way. Its name is taken all the time, though
//! (`Conflict`, <https://docs.docker.com/reference/api/engine/version/v1.45/#tag/Container/operation/ContainerCreate>).

use std::time::Duration;

use super::EngineAccess;
use crate::{Error, ErrorKind, Result, command, command::Command, session::run::blocking};

/// Making the container of a node takes the engine some seconds on a slow disk; this is many times that.
const MAKING: Duration = Duration::from_secs(60);

/// Removes the container called `name` with its volumes, and returns when no container of that name is being made
/// any more. One that is not there is no error. `image` is what such a container would be made from.
///
/// # Errors
/// [`ErrorKind::Deadline`] if the name does not become free; [`ErrorKind::Environment`] with what the engine said.
pub(super) async fn remove(access: &EngineAccess, name: &str, image: &str) -> Result<()> {
    let (remove, take) = (access.command(remove_command(name)), access.command(take_command(name, image)));
    let tried = format!("see that no container {name} is left");
    blocking(move || {
        command::poll(&tried, MAKING, || {
            remove.run()?;
            let taken = take.output()?;
            let said = String::from_utf8_lossy(&taken.stderr);
            if taken.code == Some(0) {
                // The name was free: nobody else had it.
                return remove.run().map(|_| Ok(()));
            }
            if said.contains("No such image") {
                // Without the image nothing can be on its way.
                return Ok(Ok(()));
            }
            if said.contains("already in use") {
                return Ok(Err(said.trim().to_owned()));
            }
            Err(Error::new(ErrorKind::Environment, format!("run `{}`", take.display()), said.trim()))
        })
    })
    .await
}

/// Removes a container with its volumes; one that is not there is no error.
pub(super) fn remove_command(name: &str) -> Command {
    Command::new("docker").args(["rm", "--force", "--volumes", name])
}

/// Makes a container that never runs, which the engine refuses while it is making another one of that name.
fn take_command(name: &str, image: &str) -> Command {
    Command::new("docker").args(["create", "--pull", "never", "--name", name, image])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::cluster::EngineKind;

    /// An engine that says `answer` when it is asked to make a container, until it has been asked `times` times.
    fn engine(dir: &std::path::Path, times: usize, answer: &str) -> EngineAccess {
        let log = dir.join("log").display().to_string();
        let script = format!(
            r#"echo "$1" >>"$0"; case "$1" in *create*) [ "$(grep -c create "$0")" -gt {times} ] || {{ echo '{answer}' >&2; exit 1; }};; esac"#
        );
        EngineAccess::new(EngineKind::Docker, "kind", move |command: Command| {
            Command::new("sh").args(["-c", &script, &log, &command.display()])
        })
    }

    #[tokio::test]
    async fn a_container_that_is_on_its_way_is_waited_for_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let conflict = "Conflict. The container name \"/t-worker\" is already in use by container \"0123\".";
        remove(&engine(dir.path(), 1, conflict), "t-worker", "node:1").await.unwrap();
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        insta::assert_snapshot!(log, @r"
        docker rm --force --volumes t-worker
        docker create --pull never --name t-worker node:1
        docker rm --force --volumes t-worker
        docker create --pull never --name t-worker node:1
        docker rm --force --volumes t-worker
        ");
    }

    #[tokio::test]
    async fn without_its_image_nothing_is_on_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let missing = "Error response from daemon: No such image: node:1";
        remove(&engine(dir.path(), usize::MAX >> 1, missing), "t-worker", "node:1").await.unwrap();
    }

    #[tokio::test]
    async fn what_else_the_engine_says_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = remove(&engine(dir.path(), 1, "no space left on device"), "t-worker", "node:1").await.unwrap_err();
        assert!(error.to_string().ends_with("no space left on device"), "{error}");
    }
}
