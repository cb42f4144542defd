//! The end of a cluster of ours.

use super::{
    super::{
        EngineAccess, containers,
        kind::Kind,
        record::{Phase, Record},
    },
    lock_name, run_kind, scratch,
};
use crate::{Error, ErrorKind, Result, environment::gc, home::Home, progress::Progress};

/// Deletes the recorded cluster of that name, kept or not, and says so; `access` is none if its engine does not run. For
/// `down`.
///
/// # Errors
/// [`ErrorKind::Busy`] if a run holds it.
pub async fn remove(home: &Home, access: Option<&EngineAccess>, name: &str, progress: &Progress) -> Result<String> {
    let lock = home.try_lock(&lock_name(name))?;
    let Some(_lock) = lock else {
        return Err(Error::new(ErrorKind::Busy, format!("delete the cluster {name}"), "a run holds it")
            .hint("Wait until that run has ended, or end it."));
    };
    match (Record::read(home, name)?, access) {
        (Some(record), Some(access)) => destroy(home, access, record, progress).await?,
        (Some(record), None) => return gc::forget(home, &record, progress).await,
        (None, _) => {}
    }
    Ok(format!("removed the cluster {name}"))
}

/// Deletes all that is recorded of a cluster; the record goes last.
pub(crate) async fn destroy(home: &Home, access: &EngineAccess, mut record: Record, progress: &Progress) -> Result<()> {
    let was_made = record.phase == Phase::Ready;
    record.phase = Phase::Deleting;
    // On a full disk this is what makes room again: what cannot be written down must not keep it from being done.
    let _ = record.write(home);
    if let Some(laptop) = &record.laptop {
        containers::remove(access, laptop, &record.config.node_image).await?;
    }
    let kind = Kind { program: &access.kind_program, name: &record.name };
    let kubeconfig = scratch(home, access, &record.name);
    run_kind(home, access, kind.delete(&kubeconfig), None, progress).await?;
    if !was_made {
        // kind deletes the nodes that it sees; those that are still being made, it does not.
        for node in kind.node_names(record.config.workers) {
            containers::remove(access, &node, &record.config.node_image).await?;
        }
    }
    if let Some(root) = &access.root {
        // kind takes its cluster out of the file and leaves the file; where it is gone already, all is well.
        let _ = std::fs::remove_file(root.join(kubeconfig.strip_prefix("/").unwrap_or(&kubeconfig)));
    }
    Record::remove(home, &record.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::Command,
        environment::cluster::{EngineKind, record::tests::record},
        progress::Show,
    };

    #[tokio::test]
    async fn what_cannot_be_written_down_is_deleted_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let log = dir.path().join("log");
        let note = log.display().to_string();
        let access = EngineAccess::new(EngineKind::Docker, "kind", move |command: Command| {
            Command::new("sh").args(["-c", r#"echo "$1" >>"$0""#, &note, &command.display()])
        });
        // A directory of that name stands where the record would be written.
        std::fs::create_dir_all(Record::directory(&home, "a").join("lease.json/in the way")).unwrap();
        assert!(record("a").write(&home).is_err());
        destroy(&home, &access, record("a"), &Progress::new(Show::Nothing, dir.path())).await.unwrap();
        let run = std::fs::read_to_string(log).unwrap();
        assert!(run.starts_with("kind delete cluster --name a "), "{run}");
        assert!(!Record::directory(&home, "a").exists());
    }
}
