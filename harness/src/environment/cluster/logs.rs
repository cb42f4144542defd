//! The nodes' logs, kept before a cluster that could not be made is deleted.

use std::path::Path;

use super::{EngineAccess, kind::Kind};
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::{Command, Output},
};

/// What the name of a directory with the logs of nodes ends with, among the logs of a run.
pub(crate) const NODES: &str = "nodes";

/// Writes every node's logs into `directory`.
///
/// kind ends with an error if one of its many sources is missing, such as a program that the node image lacks;
/// what it did collect is worth as much.
pub(crate) async fn export(access: &EngineAccess, name: &str, directory: &Path) -> Result<()> {
    let kind = Kind { program: &access.kind_program, name };
    let tried = || format!("keep the nodes' logs in {}", directory.display());
    std::fs::create_dir_all(directory).tried(ErrorKind::Storage, tried)?;
    let Some(root) = &access.root else {
        let output = super::output(access.command(kind.export_logs(directory))).await?;
        return any_logs(directory, &output, tried);
    };
    // kind writes where the engine's root directory is; from there we take them.
    let inside = format!("tmp/reachmap-logs-{name}");
    let output = super::output(access.command(kind.export_logs(&Path::new("/").join(&inside)))).await?;
    let seen = root.join(&inside);
    any_logs(&seen, &output, tried)?;
    let from = format!("{}/.", seen.display());
    let copied = Command::new("cp").args(["-R", &from, &directory.display().to_string()]).run_async().await;
    std::fs::remove_dir_all(&seen).tried(ErrorKind::Storage, tried)?;
    copied.map(drop)
}

/// Writes every node's logs into a directory beside `log`, and says in the error for which that is done where they are.
pub(super) async fn keep(access: &EngineAccess, name: &str, log: &Path, error: Error) -> Error {
    let directory = log.with_extension(NODES);
    match export(access, name, &directory).await {
        Ok(()) => error.also(format!("The logs of its nodes are in {}.", directory.display())),
        Err(failed) => error.also(format!("The logs of its nodes could not be kept: {failed}.")),
    }
}

fn any_logs(directory: &Path, output: &Output, tried: impl Fn() -> String) -> Result<()> {
    let mut entries = std::fs::read_dir(directory).tried(ErrorKind::Storage, &tried)?;
    if entries.next().is_some() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Environment, tried(), String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::cluster::EngineKind;

    async fn kept(log: &Path, script: &'static str) -> Error {
        let directory = log.with_extension(NODES).display().to_string();
        let access =
            EngineAccess::new(EngineKind::Docker, "kind", move |_| Command::new("sh").args(["-c", script, &directory]));
        let error = Error::new(ErrorKind::Deadline, "see the pods Ready", "1 of 2 are").hint("Look at the image.");
        keep(&access, "t", log, error).await
    }

    #[tokio::test]
    async fn an_error_tells_where_the_logs_of_the_nodes_are_or_why_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("deploy.log");
        let none = kept(&log, "echo no such cluster >&2; exit 1").await;
        let hint = none.hint_text().unwrap();
        assert!(hint.starts_with("Look at the image. The logs of its nodes could not be kept: "), "{hint}");
        assert!(hint.contains("no such cluster"), "{hint}");
        // kind ends with an error if it lacks one of many.
        let some = kept(&log, r#"mkdir "$0"/t-worker; exit 1"#).await;
        let directory = dir.path().join("deploy.nodes");
        let there = format!("Look at the image. The logs of its nodes are in {}.", directory.display());
        assert_eq!((some.kind(), some.hint_text()), (ErrorKind::Deadline, Some(there.as_str())));
    }
}
