//! The container in which a node image is made: recorded before it is there, so that `gc` finds what a killed build left.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Context as _, ErrorKind, Result,
    command::{Command, read_text},
    environment::cluster::{EngineAccess, EngineKind},
    home::{Home, write_atomically},
};

/// A node image in the making. Its lock is held as long as the process lives that makes it.
#[derive(Debug)]
pub(super) struct Preparation {
    record: PathBuf,
    /// The container's name.
    pub(super) container: String,
}

impl Preparation {
    /// The lock of the image whose inputs have the hash `key`.
    pub(super) fn lock_name(key: &str) -> String {
        format!("image-{key}")
    }

    /// Records the container of the image with `key`; the caller holds the image's lock.
    pub(super) fn begin(home: &Home, engine: EngineKind, key: &str) -> Result<Self> {
        let container = format!("reachmap-prepare-{key}");
        let record = directory(home, engine).join(key);
        write_atomically(&record, container.as_bytes())?;
        Ok(Self { record, container })
    }

    /// Forgets it: the container is gone.
    pub(super) fn end(self) -> Result<()> {
        forget(&self.record)
    }
}

/// Whether there may be a container of a killed build in this engine.
pub(crate) fn is_left(home: &Home, engine: EngineKind) -> bool {
    fs::read_dir(directory(home, engine)).is_ok_and(|mut records| records.next().is_some())
}

/// Removes the containers that killed builds left on this engine. Returns what it did, one line each.
///
/// # Errors
/// [`ErrorKind::Storage`] if the records cannot be read, [`ErrorKind::Environment`] if the engine refuses.
pub(crate) async fn remove_left(home: &Home, access: &EngineAccess) -> Result<Vec<String>> {
    let mut done = Vec::new();
    if !is_left(home, access.kind) {
        return Ok(done);
    }
    let directory = directory(home, access.kind);
    let reading = || format!("read {}", directory.display());
    for entry in fs::read_dir(&directory).tried(ErrorKind::Storage, reading)? {
        let record = entry.tried(ErrorKind::Storage, reading)?.path();
        let key = record.file_name().unwrap_or_default().to_string_lossy();
        let Some(_lock) = home.try_lock(&Preparation::lock_name(&key))? else {
            continue;
        };
        let container = read_text(&record)?;
        let remove = Command::new("docker").args(["rm", "--force", "--volumes", &container]);
        access.command(remove).run_async().await?;
        forget(&record)?;
        done.push(format!("removed the container {container} of a build that was killed"));
    }
    Ok(done)
}

/// The records for one engine: a file each, named by the image's key, with the container's name in it.
fn directory(home: &Home, engine: EngineKind) -> PathBuf {
    home.root().join("preparations").join(engine.as_str())
}

fn forget(record: &Path) -> Result<()> {
    fs::remove_file(record).tried(ErrorKind::Storage, || format!("remove {}", record.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that notes its commands in `log`.
    fn noting(log: &Path) -> EngineAccess {
        let log = log.display().to_string();
        EngineAccess::new(EngineKind::Docker, "kind", move |command: Command| {
            Command::new("sh").args(["-c", r#"echo "$1" >>"$0""#, &log, &command.display()])
        })
    }

    #[tokio::test]
    async fn what_a_killed_build_left_is_removed_once_nobody_builds() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let log = dir.path().join("log");
        let access = noting(&log);
        assert!(!is_left(&home, EngineKind::Docker));
        assert_eq!(remove_left(&home, &access).await.unwrap(), [""; 0]);

        let building = home.try_lock(&Preparation::lock_name("4711")).unwrap().unwrap();
        Preparation::begin(&home, EngineKind::Docker, "4711").unwrap();
        assert!(is_left(&home, EngineKind::Docker) && !is_left(&home, EngineKind::Sandbox));
        assert_eq!(remove_left(&home, &access).await.unwrap(), [""; 0]);

        drop(building);
        let done = remove_left(&home, &access).await.unwrap();
        assert_eq!(done, ["removed the container reachmap-prepare-4711 of a build that was killed"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), "docker rm --force --volumes reachmap-prepare-4711\n");
        assert!(!is_left(&home, EngineKind::Docker));
    }

    #[test]
    fn a_build_that_ends_leaves_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        Preparation::begin(&home, EngineKind::Sandbox, "4711").unwrap().end().unwrap();
        assert!(!is_left(&home, EngineKind::Sandbox));
    }
}
