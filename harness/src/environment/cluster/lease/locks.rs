//! What keeps runs that make and delete clusters out of each other's way.

use std::path::Path;

use super::super::{
    EngineAccess,
    kind::{CONFLICT, holding},
    output,
};
use crate::{
    Context as _, ErrorKind, Result,
    command::Command,
    home::{Home, Lock},
    progress::Progress,
};

/// The lock under which networks and pools are chosen.
pub(crate) const CHOICE: &str = "clusters";

/// The lock that kind itself holds while it works.
const KIND: &str = "kind";

/// Runs kind with its own hold on the lock that serialises all that makes and deletes clusters. The wait for that lock is
/// said, and takes nothing of the command's time.
pub(super) async fn run_kind(
    home: &Home,
    access: &EngineAccess,
    command: Command,
    log: Option<&Path>,
    progress: &Progress,
) -> Result<()> {
    let mut command = access.command(command);
    if let Some(log) = log {
        command = command.log(log);
    }
    if which::which("flock").is_err() {
        // Without that program the lock is ours alone.
        let _ours = wait_for_lock(home, KIND, progress).await?;
        return command.run_async().await.map(drop);
    }
    let command = holding(&home.lock_path(KIND)?, command);
    loop {
        drop(wait_for_lock(home, KIND, progress).await?);
        let ended = output(command.clone()).await?;
        // Somebody was faster in the moment in which nobody held it.
        if ended.code != Some(CONFLICT) {
            return command.succeeded(ended).map(drop);
        }
    }
}

pub(crate) fn lock_name(cluster: &str) -> String {
    format!("cluster-{cluster}")
}

/// Waits on a thread of its own, so that a signal is heard meanwhile.
pub(crate) async fn wait_for_lock(home: &Home, name: &str, progress: &Progress) -> Result<Lock> {
    let (home, name, progress) = (home.clone(), name.to_owned(), progress.clone());
    tokio::task::spawn_blocking(move || home.lock(&name, &progress))
        .await
        .tried(ErrorKind::Internal, || "join the thread that waits for a lock")?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{environment::cluster::EngineKind, progress::Show};

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_wait_for_the_lock_takes_nothing_of_the_command_s_time() {
        const LIMIT: Duration = Duration::from_millis(300);
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let progress = Progress::new(Show::Nothing, dir.path());
        let access = EngineAccess::new(EngineKind::Docker, "kind", |command| command);
        let held = home.try_lock(KIND).unwrap().unwrap();
        let command = Command::new("true").deadline(LIMIT);
        let mut running = std::pin::pin!(run_kind(&home, &access, command, None, &progress));
        tokio::time::timeout(3 * LIMIT, &mut running).await.unwrap_err();
        drop(held);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_fails_under_the_lock_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let access = EngineAccess::new(EngineKind::Docker, "kind", |command| command);
        let command = Command::new("sh").args(["-c", "echo no nodes >&2; exit 1"]);
        let progress = Progress::new(Show::Nothing, dir.path());
        let error = run_kind(&home, &access, command, None, &progress).await.unwrap_err();
        assert!(error.to_string().ends_with("it ended with exit code 1: no nodes"), "{error}");
    }
}
