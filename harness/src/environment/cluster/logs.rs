//! The nodes' logs, kept before a cluster that could not be made is deleted.

use std::path::Path;

use super::{EngineAccess, kind::Kind};
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::{Command, Output},
};

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

fn any_logs(directory: &Path, output: &Output, tried: impl Fn() -> String) -> Result<()> {
    let mut entries = std::fs::read_dir(directory).tried(ErrorKind::Storage, &tried)?;
    if entries.next().is_some() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Environment, tried(), String::from_utf8_lossy(&output.stderr)))
}
