//! The directory of one run: its logs, its session file, what its tests wrote, its reports.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Context as _, ErrorKind, Result};

/// The directory of one run, `<target>/reachmap/<run id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    /// The run's id: the time at which it started, its process, and which of the process's runs it is, if it is not the first.
    pub id: String,
    /// The directory itself.
    pub path: PathBuf,
}

impl RunDirectory {
    /// Makes the directory for a new run below `reports`, else below cargo's target directory.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be made.
    pub fn create(reports: Option<&Path>) -> Result<Self> {
        let id = next_id();
        let parent = reports.map_or_else(default_reports, Path::to_owned);
        let parent = std::path::absolute(&parent).unwrap_or(parent);
        let path = parent.join(&id);
        fs::create_dir_all(path.join("logs"))
            .tried(ErrorKind::Storage, || format!("make the run's directory {}", path.display()))?;
        Ok(Self { id, path })
    }
}

/// An id that no other run has: two runs of one process may begin in the same second.
fn next_id() -> String {
    static EARLIER: AtomicU32 = AtomicU32::new(0);
    let id = format!("{}-{}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"), std::process::id());
    match EARLIER.fetch_add(1, Ordering::Relaxed) {
        0 => id,
        earlier => format!("{id}-{}", earlier + 1),
    }
}

/// Where reports go unless the user says otherwise.
pub fn default_reports() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("reachmap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_directory_of_its_own_with_room_for_logs() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(Some(dir.path())).unwrap();
        assert!(run.path.join("logs").is_dir());
        assert_eq!(run.path.file_name().unwrap().to_str(), Some(run.id.as_str()));
        assert_ne!(RunDirectory::create(Some(dir.path())).unwrap().id, run.id, "in the same second");
    }
}
