//! The kernel's limits that a private engine needs: raised while any engine lives on this machine, put back by the last.
//!
//! They are one for the machine, and each home has an engine of its own. So what they were stands in one place for all
//! homes, `/run/reachmap`, beside a lock that every engine shares for as long as it lives, however it ends.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::ErrorKind::{AlreadyExists, NotFound},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{Context as _, ErrorKind, Result, command, home::write_atomically};

/// Several kubelets on one kernel need more than its default of 128 (kind's known issues, "too many open files").
const WANTED: [(&str, u64); 2] = [("fs/inotify/max_user_instances", 8192), ("fs/inotify/max_user_watches", 524_288)];

/// The limits, and where it stands what they were before the first engine of this machine.
#[derive(Debug)]
pub(super) struct Limits {
    sys: PathBuf,
    records: PathBuf,
}

/// The limits stay as they are for as long as this lives.
#[derive(Debug)]
#[must_use]
pub(super) struct Share {
    _file: File,
}

impl Limits {
    /// Those of this machine. A reboot forgets the record as it forgets the limits.
    pub(super) fn of_this_machine() -> Self {
        Self { sys: "/proc/sys".into(), records: "/run/reachmap".into() }
    }

    /// The file that an engine locks, shared, before the [`Share`] of who starts it ends.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.records.join("engines.lock")
    }

    /// Raises what is too low, after writing down what it was.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written down, [`ErrorKind::Environment`] if the kernel refuses.
    pub(super) fn raise(&self) -> Result<Share> {
        let _turn = self.turn()?;
        let mut before = self.before()?;
        for (name, wanted) in WANTED {
            let now = self.read(name)?;
            if now < wanted {
                before.entry(name.to_owned()).or_insert(now);
            }
        }
        let text = serde_json::to_vec(&before).tried(ErrorKind::Internal, || "write down the limits")?;
        write_atomically(&self.record(), &text)?;
        for (name, wanted) in WANTED {
            if self.read(name)? < wanted {
                self.write(name, wanted)?;
            }
        }
        let file = self.engines()?;
        file.lock_shared().tried(ErrorKind::Storage, || format!("share {}", self.lock_path().display()))?;
        Ok(Share { _file: file })
    }

    /// Puts back what was raised, and takes the record away, unless an engine of any home still lives.
    ///
    /// # Errors
    /// As for [`Self::raise`].
    pub(super) fn restore_if_last(&self) -> Result<()> {
        if !self.records.exists() {
            return Ok(());
        }
        let _turn = self.turn()?;
        let engines = self.engines()?;
        match engines.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => {
                return Err(error).tried(ErrorKind::Storage, || format!("lock {}", self.lock_path().display()));
            }
            Ok(()) => {}
        }
        for (name, before) in self.before()? {
            // Only what is still as we set it: somebody else may have raised it further.
            if WANTED.iter().any(|(ours, wanted)| *ours == name && self.read(&name).is_ok_and(|now| now == *wanted)) {
                self.write(&name, before)?;
            }
        }
        // The turn's own file last: whoever waits for it then sees that it is gone, and makes it anew.
        for path in [self.record(), self.lock_path(), self.turn_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != NotFound => {
                    return Err(error).tried(ErrorKind::Storage, || format!("remove {}", path.display()));
                }
                _ => {}
            }
        }
        // Somebody who waited may have put a new file there: then the directory stays.
        let _ = fs::remove_dir(&self.records);
        Ok(())
    }

    /// Waits for everybody else who changes the limits; the file is still the one that others will find.
    fn turn(&self) -> Result<File> {
        let path = self.turn_path();
        let tried = || format!("lock {}", path.display());
        loop {
            match fs::create_dir_all(&self.records) {
                // It was there, and the last one has just left with it.
                Err(error) if error.kind() == AlreadyExists && !self.records.is_file() => continue,
                made => made.tried(ErrorKind::Storage, || format!("create {}", self.records.display()))?,
            }
            let file = match lock_file(&path) {
                // The last one has just left, with the directory.
                Err(error) if error.kind() == NotFound => continue,
                opened => opened.tried(ErrorKind::Storage, tried)?,
            };
            file.lock().tried(ErrorKind::Storage, tried)?;
            let ours = file.metadata().tried(ErrorKind::Storage, tried)?;
            if fs::metadata(&path).is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino())) {
                return Ok(file);
            }
        }
    }

    fn engines(&self) -> Result<File> {
        let path = self.lock_path();
        lock_file(&path).tried(ErrorKind::Storage, || format!("open {}", path.display()))
    }

    fn turn_path(&self) -> PathBuf {
        self.records.join("limits.lock")
    }

    fn record(&self) -> PathBuf {
        self.records.join("limits.json")
    }

    /// What was written down: the limits before the first engine raised them.
    fn before(&self) -> Result<BTreeMap<String, u64>> {
        let record = self.record();
        match fs::read_to_string(&record) {
            Err(error) if error.kind() == NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).tried(ErrorKind::Storage, || format!("read {}", record.display())),
            Ok(text) => {
                serde_json::from_str(&text).tried(ErrorKind::Storage, || format!("understand {}", record.display()))
            }
        }
    }

    fn read(&self, name: &str) -> Result<u64> {
        let path = self.sys.join(name);
        command::read_text(&path)?
            .trim()
            .parse()
            .tried(ErrorKind::Environment, || format!("understand {}", path.display()))
    }

    fn write(&self, name: &str, value: u64) -> Result<()> {
        let path = self.sys.join(name);
        fs::write(&path, value.to_string())
            .tried(ErrorKind::Environment, || format!("set {} to {value}", path.display()))
    }
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose limits are 128 and 1,000,000: one too low, one high enough.
    fn machine() -> (tempfile::TempDir, Limits) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { sys: dir.path().join("sys"), records: dir.path().join("run") };
        fs::create_dir_all(limits.sys.join("fs/inotify")).unwrap();
        limits.write(WANTED[0].0, 128).unwrap();
        limits.write(WANTED[1].0, 1_000_000).unwrap();
        (dir, limits)
    }

    fn now(limits: &Limits) -> [u64; 2] {
        WANTED.map(|(name, _)| limits.read(name).unwrap())
    }

    #[test]
    fn the_last_engine_puts_them_back_and_leaves_nothing() {
        let (_dir, limits) = machine();
        let first = limits.raise().unwrap();
        let second = limits.raise().unwrap();
        assert_eq!(now(&limits), [8192, 1_000_000]);

        drop(first);
        limits.restore_if_last().unwrap();
        assert_eq!(now(&limits), [8192, 1_000_000], "another engine lives");

        drop(second);
        limits.restore_if_last().unwrap();
        assert_eq!(now(&limits), [128, 1_000_000]);
        assert!(!limits.records.exists());
    }

    #[test]
    fn what_was_before_survives_an_engine_that_was_killed() {
        let (_dir, limits) = machine();
        drop(limits.raise().unwrap());
        let again = limits.raise().unwrap();
        drop(again);
        limits.restore_if_last().unwrap();
        assert_eq!(now(&limits), [128, 1_000_000]);
    }

    #[test]
    fn what_somebody_else_raised_meanwhile_stays() {
        let (_dir, limits) = machine();
        drop(limits.raise().unwrap());
        limits.write(WANTED[0].0, 65_536).unwrap();
        limits.restore_if_last().unwrap();
        assert_eq!(now(&limits), [65_536, 1_000_000]);
    }

    #[test]
    fn many_that_come_and_go_at_once_end_where_they_began() {
        let (_dir, limits) = machine();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let share = limits.raise().unwrap();
                        assert_eq!(now(&limits), [8192, 1_000_000]);
                        drop(share);
                        limits.restore_if_last().unwrap();
                    }
                });
            }
        });
        limits.restore_if_last().unwrap();
        assert_eq!(now(&limits), [128, 1_000_000]);
        assert!(!limits.records.exists());
    }
}
