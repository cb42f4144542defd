//! Where Reachmap keeps what outlives a run: one directory, outside every clone.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use crate::{Context as _, Error, ErrorCode, ErrorKind, Result, progress::Progress};

mod remove;

pub(crate) use remove::{discard, hidden, remove_tree};

/// The directory of everything that outlives a run: built artifacts, the private engine, cluster records, locks.
///
/// ```
/// let home = reachmap::home::Home::at("/var/tmp/reachmap-docs");
/// assert!(home.artifacts().ends_with("artifacts"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Held as long as it lives; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    _file: File,
}

impl Home {
    /// The home at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The home that the user chose: `chosen` (from `--cache-dir` or `REACHMAP_CACHE`), else
    /// `$XDG_CACHE_HOME/reachmap`, else `~/.cache/reachmap`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if none of these can be told.
    pub fn chosen(chosen: Option<&Path>) -> Result<Self> {
        if let Some(root) = chosen {
            let root =
                std::path::absolute(root).tried(ErrorKind::Usage, || format!("use {} as cache", root.display()))?;
            return Ok(Self::at(root));
        }
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| Self::at(cache.join("reachmap")))
            .ok_or_else(|| {
                Error::new(ErrorKind::Usage, "find the cache directory", "neither XDG_CACHE_HOME nor HOME is set")
                    .hint("Name one with --cache-dir or REACHMAP_CACHE.")
            })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was built, by the hash of its inputs.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// The private engine: its root file system, its data, its record.
    pub fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// A directory per cluster: its lease, its kubeconfig, its journal.
    pub fn clusters(&self) -> PathBuf {
        self.root.join("clusters")
    }

    /// Takes the lock called `name`, waiting for whoever holds it and saying so.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the lock file cannot be made.
    pub fn lock(&self, name: &str, progress: &Progress) -> Result<Lock> {
        if let Some(lock) = self.try_lock(name)? {
            return Ok(lock);
        }
        progress.line(&format!("another run holds the lock `{name}`; waiting for it"));
        let file = self.lock_file(name)?;
        file.lock().tried(ErrorKind::Storage, || format!("wait for the lock {name}"))?;
        Ok(Lock { _file: file })
    }

    /// Takes the lock called `name` if nobody holds it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the lock file cannot be made.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(Error::from_source(ErrorKind::Storage, format!("take the lock {name}"), error))
            }
        }
    }

    /// Shares the lock called `name` with others who share it; nobody holds it alone meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the lock file cannot be made.
    pub fn lock_shared(&self, name: &str) -> Result<Lock> {
        let file = self.lock_file(name)?;
        file.lock_shared().tried(ErrorKind::Storage, || format!("share the lock {name}"))?;
        Ok(Lock { _file: file })
    }

    /// The file of the lock called `name`, in a directory that exists: for commands that hold the lock themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the directory cannot be made.
    pub fn lock_path(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join("locks");
        fs::create_dir_all(&dir).tried(ErrorKind::Storage, || format!("create {}", dir.display()))?;
        Ok(dir.join(format!("{name}.lock")))
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.lock_path(name)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .tried(ErrorKind::Storage, || format!("open the lock {}", path.display()))
    }
}

const FULL: &str = "Make room, with `cargo xtask cache prune` for instance, or name another place with --cache-dir.";

/// Writes `bytes` to `path` so that a reader sees either the old content or the new, never a part:
/// also after a crash between any two instructions.
///
/// # Errors
/// [`ErrorKind::Storage`] if the directory cannot be written, the disk is full included.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let tried = || format!("write {}", path.display());
    fs::create_dir_all(dir).tried(ErrorKind::Storage, tried)?;
    let failed = |error: std::io::Error| {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let error = Error::from_source(ErrorKind::Storage, tried(), error);
        if full { error.with_code(ErrorCode::NoRoom).hint(FULL) } else { error }
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| Error::from_source(ErrorKind::Storage, tried(), error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_exclusive_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let held = home.try_lock("engine").unwrap().expect("free at first");
        assert!(home.try_lock("engine").unwrap().is_none());
        drop(held);
        assert!(home.try_lock("engine").unwrap().is_some());
    }

    #[test]
    fn an_atomic_write_replaces_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/lease.json");
        write_atomically(&path, b"first, and longer").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
