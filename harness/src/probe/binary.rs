//! The agent's program file: named by the user, built once, or built now.

use std::{
    fmt,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    Context as _, Error, ErrorKind, Result,
    command::Command,
    home::{self, Home},
    progress::Progress,
};

/// How long a build usually takes on two cores.
const USUAL: Duration = Duration::from_secs(45);

/// How long a build may take: on one slow core, downloads included.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The agent as a static program for Linux.
#[derive(Clone)]
pub struct AgentBinary {
    path: PathBuf,
    hash: String,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for AgentBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBinary").field("path", &self.path).field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl AgentBinary {
    /// The program that the variable `REACHMAP_AGENT` names, else the one built from the agent's sources
    /// beside this crate's: found under `home` if it was built before, else built now.
    ///
    /// It is built for the architecture of this machine, which is that of a kind cluster's nodes.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the named program cannot be read, [`ErrorKind::Missing`] if there
    /// are no sources or no cargo, [`ErrorKind::Environment`] if the build fails.
    pub fn find_or_build(home: &Home, progress: &Progress) -> Result<Self> {
        match std::env::var_os("REACHMAP_AGENT").filter(|path| !path.is_empty()) {
            Some(path) => Self::read(Path::new(&path))
                .map_err(|error| error.hint("REACHMAP_AGENT must name a static reachmap-agent, or be unset.")),
            None => Sources::beside_this_crate()?.find_or_build(home, progress),
        }
    }

    /// The program in the file `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).tried(ErrorKind::Storage, || format!("read the agent {}", path.display()))?;
        let hash = short_hash(&bytes);
        Ok(Self { path: path.to_owned(), hash, bytes: bytes.into() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of its content, as 16 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Its content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The hash of a program's content, as 16 hexadecimal digits.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The workspace that holds the agent's sources.
#[derive(Debug)]
struct Sources {
    workspace: PathBuf,
    harness: PathBuf,
}

impl Sources {
    fn beside_this_crate() -> Result<Self> {
        let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = harness.parent().map(|workspace| Self { workspace: workspace.into(), harness: harness.into() });
        sources.filter(|sources| sources.manifest().is_file()).ok_or_else(|| {
            Error::new(
                ErrorKind::Missing,
                "find the agent's sources",
                format!("{}/agent is not there", harness.display()),
            )
            .hint(
                "Build the package reachmap-agent with `-C target-feature=+crt-static` and let REACHMAP_AGENT name it.",
            )
        })
    }

    fn manifest(&self) -> PathBuf {
        self.harness.join("agent/Cargo.toml")
    }

    /// Everything that the build depends on, in a stable order.
    fn inputs(&self) -> Result<Vec<PathBuf>> {
        let mut files = vec![self.workspace.join("Cargo.toml"), self.workspace.join("Cargo.lock")];
        for package in ["agent", "wire"] {
            files.push(self.harness.join(package).join("Cargo.toml"));
            walk(&self.harness.join(package).join("src"), &mut files)?;
        }
        files.retain(|file| file.is_file());
        files.sort();
        Ok(files)
    }

    /// The hash of the inputs' names and contents, and of the target.
    fn hash(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        hasher.update(target());
        for file in self.inputs()? {
            let bytes = fs::read(&file).tried(ErrorKind::Storage, || format!("read {}", file.display()))?;
            let name = file.strip_prefix(&self.workspace).unwrap_or(&file);
            hasher.update(name.to_string_lossy().as_bytes());
            hasher.update([0]);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Ok(hex(&hasher.finalize()))
    }

    fn find_or_build(&self, home: &Home, progress: &Progress) -> Result<AgentBinary> {
        let directory = home.artifacts().join(format!("agent-{}", self.hash()?));
        let path = directory.join("reachmap-agent");
        if path.is_file() {
            return AgentBinary::read(&path);
        }
        let _lock = home.lock("agent", progress)?;
        let step = progress.step("build the probe agent", Some(USUAL));
        if path.is_file() {
            // Whoever held the lock has built it.
            step.cached();
            return AgentBinary::read(&path);
        }
        // Kept between builds, so that a change to the agent costs seconds. Each clone has its own: cargo takes the packages
        // of two clones for the same, and by the times of their files may take one's for the other's.
        let clone = short_hash(self.workspace.to_string_lossy().as_bytes());
        let target = home.root().join("build").join(format!("agent-{clone}"));
        if let Some(logs) = step.log().parent() {
            fs::create_dir_all(logs).tried(ErrorKind::Storage, || format!("create {}", logs.display()))?;
        }
        self.build_command(&target, step.log()).run()?;
        let built = target.join(triple()).join("agent/reachmap-agent");
        let bytes = fs::read(&built).tried(ErrorKind::Storage, || format!("read {}", built.display()))?;
        // The artifact is a directory that is there as a whole or not at all.
        let tried = || format!("store the agent in {}", directory.display());
        let artifacts = home.artifacts();
        fs::create_dir_all(&artifacts).tried(ErrorKind::Storage, tried)?;
        let unfinished =
            tempfile::Builder::new().prefix(".agent-").tempdir_in(&artifacts).tried(ErrorKind::Storage, tried)?;
        let file = unfinished.path().join("reachmap-agent");
        home::write_atomically(&file, &bytes)?;
        executable(&file).and_then(|()| executable(unfinished.path())).tried(ErrorKind::Storage, tried)?;
        fs::rename(unfinished.path(), &directory).tried(ErrorKind::Storage, tried)?;
        step.done();
        AgentBinary::read(&path)
    }

    fn build_command(&self, target: &Path, log: &Path) -> Command {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo)
            .args(["build", "--profile", "agent", "--package", "reachmap-agent", "--bin", "reachmap-agent"])
            // An explicit target keeps the flags below away from build scripts and procedural macros.
            .args(["--target", &triple()])
            .arg("--manifest-path")
            .arg(self.manifest().display().to_string())
            .arg("--target-dir")
            .arg(target.display().to_string())
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            // What the caller's own cargo run set for its own packages.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_BUILD_RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .dir(&self.workspace)
            .deadline(LIMIT)
            .log(log);
        if self.workspace.join("Cargo.lock").is_file() {
            command = command.arg("--locked");
        }
        command
    }
}

fn target() -> &'static str {
    std::env::consts::ARCH
}

/// The Rust target of this machine's architecture that glibc can be linked into.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", target())
}

fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let tried = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).tried(ErrorKind::Storage, tried)? {
        let entry = entry.tried(ErrorKind::Storage, tried)?;
        if entry.file_type().tried(ErrorKind::Storage, tried)?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Show;

    fn sources(root: &Path) -> Sources {
        for (file, text) in [
            ("Cargo.toml", "[workspace]"),
            ("harness/agent/Cargo.toml", "[package]"),
            ("harness/agent/src/main.rs", "fn main() {}"),
            ("harness/wire/Cargo.toml", "[package]"),
            ("harness/wire/src/lib.rs", ""),
        ] {
            home::write_atomically(&root.join(file), text.as_bytes()).unwrap();
        }
        Sources { workspace: root.to_owned(), harness: root.join("harness") }
    }

    #[test]
    fn any_change_of_an_input_changes_the_hash() {
        let root = tempfile::tempdir().unwrap();
        let sources = sources(root.path());
        let first = sources.hash().unwrap();
        assert_eq!(sources.hash().unwrap(), first);
        fs::write(root.path().join("harness/wire/src/lib.rs"), "// changed").unwrap();
        let second = sources.hash().unwrap();
        assert_ne!(second, first);
        home::write_atomically(&root.path().join("harness/agent/src/deep/new.rs"), b"").unwrap();
        assert_ne!(sources.hash().unwrap(), second);
    }

    #[test]
    fn what_was_built_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let sources = sources(root.path());
        let home = Home::at(root.path().join("home"));
        let path = home.artifacts().join(format!("agent-{}/reachmap-agent", sources.hash().unwrap()));
        home::write_atomically(&path, b"#!/bin/sh\n").unwrap();
        let progress = Progress::new(Show::Nothing, root.path().join("logs"));
        // Building would fail: these sources are no workspace.
        let binary = sources.find_or_build(&home, &progress).unwrap();
        assert_eq!(binary.path(), path);
        assert_eq!(binary.bytes(), b"#!/bin/sh\n");
    }

    #[test]
    fn a_failed_build_leaves_nothing_that_looks_built() {
        let root = tempfile::tempdir().unwrap();
        let sources = sources(root.path());
        let home = Home::at(root.path().join("home"));
        let progress = Progress::new(Show::Nothing, root.path());
        let error = sources.find_or_build(&home, &progress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Environment, "{error}");
        assert!(!home.artifacts().exists());
    }

    #[test]
    fn the_build_is_static_and_keeps_the_callers_flags_out() {
        let root = tempfile::tempdir().unwrap();
        let command = sources(root.path()).build_command(Path::new("/target"), Path::new("/log"));
        assert_eq!(command.env["RUSTFLAGS"], "-C target-feature=+crt-static");
        assert!(command.env_remove.contains(&"CARGO_ENCODED_RUSTFLAGS".to_owned()));
        assert!(!command.args.contains(&"--locked".to_owned()), "there is no lock file to keep to");
    }
}
