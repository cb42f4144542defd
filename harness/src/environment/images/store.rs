//! Built artifacts, by the hash of their inputs: made once, complete or not there, safe against
//! two runs at once and against a kill in the middle.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    home::{Home, discard, hidden, remove_tree},
    progress::{Progress, Step},
};

/// What an artifact is made of: its name, and the hash of everything that goes into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Its name, such as `coredns`.
    pub name: String,
    /// What it is called in the progress view.
    pub title: String,
    /// How long it usually takes to make.
    pub expected: Duration,
    /// The first twelve hexadecimal digits of the SHA-256 of its inputs.
    pub hash: String,
}

/// An artifact that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its directory's name: the recipe's name and hash.
    pub name: String,
    /// How many bytes it takes.
    pub bytes: u64,
    /// When it was last used.
    pub used: Option<SystemTime>,
}

impl Recipe {
    /// The recipe for `name` made of `inputs`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use reachmap::environment::images::store::Recipe;
    /// let one = Recipe::new("pause", "Compile pause", Duration::from_secs(1), ["int main(){}", "-static"]);
    /// let two = Recipe::new("pause", "Compile pause", Duration::from_secs(1), ["int main(){}-", "static"]);
    /// assert_ne!(one.hash, two.hash);
    /// ```
    pub fn new<I: AsRef<[u8]>>(
        name: &str,
        title: &str,
        expected: Duration,
        inputs: impl IntoIterator<Item = I>,
    ) -> Self {
        let mut hash = Sha256::new();
        for input in inputs {
            // The length keeps neighbouring inputs apart.
            hash.update((input.as_ref().len() as u64).to_be_bytes());
            hash.update(input.as_ref());
        }
        let mut digits = String::new();
        for byte in hash.finalize().iter().take(6) {
            // A string takes whatever is written to it.
            let _ = write!(digits, "{byte:02x}");
        }
        let hash = digits;
        Self { name: name.to_owned(), title: title.to_owned(), expected, hash }
    }

    /// Where the artifact is, once it is made.
    pub fn path(&self, home: &Home) -> PathBuf {
        home.artifacts().join(self.file_name())
    }

    fn file_name(&self) -> String {
        format!("{}-{}", self.name, self.hash)
    }

    /// The artifact's directory, made by `build` if it is not there yet.
    ///
    /// `build` works in a directory that takes the artifact's name only when it is complete.
    ///
    /// # Errors
    /// Those of `build`; [`ErrorKind::Storage`] if the disk is full or cannot be written.
    pub fn make(
        &self,
        home: &Home,
        progress: &Progress,
        build: impl FnOnce(&Path, &Step) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path(home);
        if !path.is_dir() {
            let _lock = home.lock(&format!("artifact-{}", self.file_name()), progress)?;
            // Another run may have made it while this one waited.
            if !path.is_dir() {
                let step = progress.step(&self.title, Some(self.expected));
                let partial = hidden(&path);
                remove_tree(&partial)?;
                fs::create_dir_all(&partial).tried(ErrorKind::Storage, || format!("create {}", partial.display()))?;
                build(&partial, &step).map_err(|error| blame_full_disk(home, error))?;
                // A power cut must not leave the name without the content.
                sync(&partial).tried(ErrorKind::Storage, || format!("write {} to the disk", partial.display()))?;
                fs::rename(&partial, &path).tried(ErrorKind::Storage, || format!("keep {}", path.display()))?;
                step.done();
            }
        }
        touch(&path);
        Ok(path)
    }
}

/// What is kept, in the order of the names; half-built directories are left out.
///
/// # Errors
/// [`ErrorKind::Storage`] if the directory cannot be listed.
pub fn list(home: &Home) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = names(home)?
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .map(|name| {
            let path = home.artifacts().join(&name);
            Entry {
                bytes: size(&path),
                used: fs::metadata(path.join(USED)).and_then(|file| file.modified()).ok(),
                name,
            }
        })
        .collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Removes what none of `current` is, unless a run is making it or `is_used` says so of its path, and half-built leftovers.
/// Says what was removed.
///
/// # Errors
/// [`ErrorKind::Storage`] if something cannot be removed.
pub(super) fn prune(home: &Home, current: &[Recipe], is_used: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in unused(home, current)? {
        let artifact = name.trim_start_matches('.');
        let lock = if artifact.starts_with(AGENT) { "agent".to_owned() } else { format!("artifact-{artifact}") };
        let path = home.artifacts().join(&name);
        if is_used(&path) {
            continue;
        }
        if let Some(_unused) = home.try_lock(&lock)? {
            // What has lost its name already, or never had it, is in nobody's way.
            let remove = if name.starts_with('.') { remove_tree } else { discard };
            remove(&path)?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// What is none of `current`, and what is half-built.
pub(super) fn unused(home: &Home, current: &[Recipe]) -> Result<Vec<String>> {
    let wanted: Vec<String> = current.iter().map(Recipe::file_name).chain(newest(home, AGENT)?).collect();
    // What is half-built has a name with a dot before it.
    Ok(names(home)?.into_iter().filter(|name| !wanted.contains(name)).collect())
}

/// What the names of probe agents start with: each is built under the lock `agent`, by what the hash of its
/// sources is, which only its builder knows; so the newest is kept.
const AGENT: &str = "agent-";

fn newest(home: &Home, prefix: &str) -> Result<Option<String>> {
    let made = |name: &String| fs::metadata(home.artifacts().join(name)).and_then(|meta| meta.modified()).ok();
    Ok(names(home)?.into_iter().filter(|name| name.starts_with(prefix)).max_by_key(made))
}

/// The file whose time of change says when an artifact was last used.
const USED: &str = ".used";

fn touch(path: &Path) {
    // Only `cache list` and the user's own judgement depend on it.
    let _ = fs::write(path.join(USED), b"");
}

fn sync(dir: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
}

fn names(home: &Home) -> Result<Vec<String>> {
    match fs::read_dir(home.artifacts()) {
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            Err(Error::from_source(ErrorKind::Storage, format!("list {}", home.artifacts().display()), error))
        }
    }
}

fn size(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

/// Free space below which a failed build is put down to the disk, in bytes.
const FULL: u64 = 64 << 20;

/// The space that is free where `home` is, in bytes.
pub fn free_space(home: &Home) -> Option<u64> {
    let existing = home.root().ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// A compiler that fails on a full disk says so in many ways: the disk itself says it in one.
fn blame_full_disk(home: &Home, error: Error) -> Error {
    match free_space(home) {
        Some(free) if free < FULL => {
            Error::new(ErrorKind::Storage, error.tried(), &error).with_code(ErrorCode::NoRoom).hint(format!(
                "Only {} MiB are free in {}: make room, or name another place with --cache-dir.",
                free >> 20,
                home.root().display()
            ))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Show;

    fn place() -> (tempfile::TempDir, Home, Progress) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let progress = Progress::new(Show::Nothing, dir.path());
        (dir, home, progress)
    }

    fn recipe(input: &str) -> Recipe {
        Recipe::new("thing", "Make a thing", Duration::from_secs(1), [input])
    }

    #[test]
    fn an_artifact_is_made_once() {
        let (_dir, home, progress) = place();
        let path = recipe("a")
            .make(&home, &progress, |dir, _| {
                fs::write(dir.join("file"), "made").unwrap();
                Ok(())
            })
            .unwrap();
        let again = recipe("a").make(&home, &progress, |_, _| panic!("made twice")).unwrap();
        assert_eq!(path, again);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "made");
    }

    #[test]
    fn a_failed_build_leaves_nothing_that_is_used() {
        let (_dir, home, progress) = place();
        let failed = recipe("a").make(&home, &progress, |dir, _| {
            fs::write(dir.join("half"), "").unwrap();
            Err(Error::new(ErrorKind::Environment, "compile", "no"))
        });
        assert!(failed.is_err());
        let path = recipe("a").make(&home, &progress, |dir, _| {
            assert!(!dir.join("half").exists());
            Ok(())
        });
        assert!(path.unwrap().is_dir());
    }

    #[test]
    fn two_at_once_make_it_once() {
        let (_dir, home, progress) = place();
        let made = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    recipe("a").make(&home, &progress, |_, _| {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_full_disk_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let user = if rustix::process::geteuid().is_root() { "" } else { "--user --map-root-user " };
        let script = format!(
            "exec unshare {user}--mount sh -ec 'mount -t tmpfs -o size=256k tmpfs \"$1\"; cd \"$1\"; exec \"$2\" --exact --ignored {}' sh \"$1\" \"$2\"",
            "environment::images::store::tests::on_a_disk_of_256_kib"
        );
        let this = std::env::current_exe().unwrap();
        let words =
            ["-ec", &script, "sh", &dir.path().to_string_lossy(), &this.to_string_lossy()].map(ToOwned::to_owned);
        let output = crate::command::Command::new("sh").args(words).output().unwrap();
        assert!(output.text().contains("1 passed"), "{}{}", output.text(), String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    #[ignore = "run by a_full_disk_is_named, in a directory that is a small disk"]
    fn on_a_disk_of_256_kib() {
        let home = Home::at(std::env::current_dir().unwrap());
        let progress = Progress::new(Show::Nothing, "logs");
        let error = recipe("large")
            .make(&home, &progress, |dir, _| {
                fs::write(dir.join("large"), vec![1; 1 << 20]).tried(ErrorKind::Environment, || "compile")
            })
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.hint_text().unwrap().contains(&*home.root().to_string_lossy()), "{error:?}");
        assert!(!recipe("large").path(&home).exists());
        let error = super::super::packages::require_space(&home).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("takes about 8 GiB, and 0.0 GiB are free"), "{error:?}");
    }

    #[test]
    fn pruning_keeps_what_is_current_and_what_is_being_made() {
        let (_dir, home, progress) = place();
        for input in ["old", "new", "busy"] {
            recipe(input).make(&home, &progress, |_, _| Ok(())).unwrap();
        }
        let busy = home.try_lock(&format!("artifact-{}", recipe("busy").file_name())).unwrap();
        let removed = prune(&home, &[recipe("new")], |_| false).unwrap();
        assert_eq!(removed, [recipe("old").file_name()]);
        assert_eq!(list(&home).unwrap().len(), 2);
        drop(busy);
        let busy = recipe("busy").path(&home);
        assert_eq!(prune(&home, &[recipe("new")], |path| path == busy).unwrap(), [""; 0]);
    }

    #[test]
    fn a_torso_of_a_killed_removal_is_never_taken_for_the_artifact() {
        let (_dir, home, progress) = place();
        let make = || {
            let write = |dir: &Path, _: &Step| {
                fs::write(dir.join("file"), "").unwrap();
                Ok(())
            };
            recipe("a").make(&home, &progress, write).unwrap()
        };
        let path = make();
        // As far as a removal that was killed has come.
        fs::rename(&path, hidden(&path)).unwrap();
        fs::remove_file(hidden(&path).join("file")).unwrap();
        assert_eq!(list(&home).unwrap(), []);
        assert!(make().join("file").is_file() && !hidden(&path).exists());
    }

    #[test]
    fn pruning_keeps_the_newest_agent_and_one_that_is_being_built() {
        let (_dir, home, _progress) = place();
        for (name, day) in [("agent-old", 1), ("agent-new", 2), (".agent-half", 3)] {
            let dir = home.artifacts().join(name);
            fs::create_dir_all(&dir).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
            fs::File::open(&dir).unwrap().set_modified(time).unwrap();
        }
        let building = home.try_lock("agent").unwrap();
        assert_eq!(prune(&home, &[], |_| false).unwrap(), Vec::<String>::new());
        drop(building);
        let mut removed = prune(&home, &[], |_| false).unwrap();
        removed.sort();
        assert_eq!(removed, [".agent-half", "agent-old"]);
    }
}
