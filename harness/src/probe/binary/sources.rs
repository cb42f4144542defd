//! The agent's sources, in a clone and in a package, and the build.
//!
//! A package of this crate cannot contain another package. So `agent-sources` has links to the sources of the agent and of
//! the types on the wire, to their manifests under other names, and to the workspace's manifest and lock file; cargo packs
//! what links lead to. From these, a workspace of the two is written before it is built.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::{AgentBinary, hex, short_hash};
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::{Command, read_text},
    home::{self, Home},
    progress::Progress,
};

/// How long a build usually takes on two cores.
const USUAL: Duration = Duration::from_secs(45);

/// How long a build may take: on one slow core, downloads included.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The packages that the agent is built of.
const PACKAGES: [&str; 2] = ["agent", "wire"];

/// Where the agent's sources are.
#[derive(Debug)]
pub(super) enum Sources {
    /// In a clone: the workspace, and in it the directory of this crate, which has the agent's beside its own.
    Clone { workspace: PathBuf, harness: PathBuf },
    /// In a package: the directory `agent-sources`.
    Packed(PathBuf),
}

/// A workspace that can be built.
struct Workspace {
    root: PathBuf,
    manifest: PathBuf,
    /// Whether its lock file is exactly its own.
    is_locked: bool,
}

impl Sources {
    /// Those of this crate.
    pub(super) fn find() -> Result<Self> {
        Self::of(Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    fn of(harness: &Path) -> Result<Self> {
        let packed = harness.join("agent-sources");
        match harness.parent() {
            Some(workspace) if harness.join("agent/Cargo.toml").is_file() => {
                Ok(Self::Clone { workspace: workspace.into(), harness: harness.into() })
            }
            _ if packed.join("agent.toml").is_file() => Ok(Self::Packed(packed)),
            _ => {
                let cause = format!("{0}/agent and {0}/agent-sources are not there", harness.display());
                Err(Error::new(ErrorKind::Missing, "find the agent's sources", cause).hint(
                    "Build the package reachmap-agent of a clone with `-C target-feature=+crt-static` and let \
                     REACHMAP_AGENT name it.",
                ))
            }
        }
    }

    fn root(&self) -> &Path {
        match self {
            Self::Clone { workspace, .. } => workspace,
            Self::Packed(directory) => directory,
        }
    }

    /// Everything that the build depends on, in a stable order.
    fn inputs(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        match self {
            Self::Clone { workspace, harness } => {
                files.extend([workspace.join("Cargo.toml"), workspace.join("Cargo.lock")]);
                for package in PACKAGES {
                    files.push(harness.join(package).join("Cargo.toml"));
                    walk(&harness.join(package).join("src"), &mut files)?;
                }
            }
            Self::Packed(directory) => walk(directory, &mut files)?,
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
            let name = file.strip_prefix(self.root()).unwrap_or(&file);
            hasher.update(name.to_string_lossy().as_bytes());
            hasher.update([0]);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Ok(hex(&hasher.finalize()))
    }

    pub(super) fn find_or_build(&self, home: &Home, progress: &Progress) -> Result<AgentBinary> {
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
        let clone = short_hash(self.root().to_string_lossy().as_bytes());
        let builds = home.root().join("build");
        let target = builds.join(format!("agent-{clone}"));
        if let Some(logs) = step.log().parent() {
            fs::create_dir_all(logs).tried(ErrorKind::Storage, || format!("create {}", logs.display()))?;
        }
        let workspace = self.workspace(&builds.join(format!("agent-sources-{clone}")))?;
        workspace.build_command(&target, step.log()).run()?;
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

    /// The workspace to build in; packed sources are written out to `unpacked`, which is made anew.
    fn workspace(&self, unpacked: &Path) -> Result<Workspace> {
        match self {
            Self::Clone { workspace, harness } => Ok(Workspace {
                root: workspace.clone(),
                manifest: harness.join("agent/Cargo.toml"),
                is_locked: workspace.join("Cargo.lock").is_file(),
            }),
            Self::Packed(directory) => unpack(directory, unpacked),
        }
    }
}

/// Writes the workspace of the two packages whose sources `packed` has.
fn unpack(packed: &Path, to: &Path) -> Result<Workspace> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.tried(ErrorKind::Storage, || format!("remove {}", to.display()))?,
    }
    let members: Vec<Value> = PACKAGES.iter().map(|package| format!("harness/{package}").into()).collect();
    write_manifest(&packed.join("workspace.toml"), &to.join("Cargo.toml"), |manifest| {
        let Some(workspace) = manifest.get_mut("workspace").and_then(Value::as_table_mut) else { return };
        workspace.insert("members".to_owned(), members.into());
    })?;
    copy(&packed.join("lock.toml"), &to.join("Cargo.lock"))?;
    for package in PACKAGES {
        let member = to.join("harness").join(package);
        // Its tests stayed behind, and so did the packages that only they need.
        write_manifest(&packed.join(format!("{package}.toml")), &member.join("Cargo.toml"), |manifest| {
            manifest.remove("dev-dependencies");
        })?;
        let from = packed.join(package);
        let mut files = Vec::new();
        walk(&from, &mut files)?;
        for file in files {
            copy(&file, &member.join("src").join(file.strip_prefix(&from).unwrap_or(&file)))?;
        }
    }
    // The lock file is the whole workspace's. Cargo takes out what these two do not need, and keeps the versions of the rest.
    Ok(Workspace { root: to.to_owned(), manifest: to.join("harness/agent/Cargo.toml"), is_locked: false })
}

fn write_manifest(from: &Path, to: &Path, change: impl FnOnce(&mut Table)) -> Result<()> {
    let tried = || format!("understand {}", from.display());
    let mut manifest: Table = toml::from_str(&read_text(from)?).tried(ErrorKind::Internal, tried)?;
    change(&mut manifest);
    home::write_atomically(to, toml::to_string(&manifest).tried(ErrorKind::Internal, tried)?.as_bytes())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).tried(ErrorKind::Storage, || format!("read {}", from.display()))?;
    home::write_atomically(to, &bytes)
}

impl Workspace {
    fn build_command(&self, target: &Path, log: &Path) -> Command {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let command = Command::new(cargo)
            .args(["build", "--profile", "agent", "--package", "reachmap-agent", "--bin", "reachmap-agent"])
            // An explicit target keeps the flags below away from build scripts and procedural macros.
            .args(["--target", &triple()])
            .arg("--manifest-path")
            .arg(self.manifest.display().to_string())
            .arg("--target-dir")
            .arg(target.display().to_string())
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            // What the caller's own cargo run set for its own packages.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_BUILD_RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .dir(&self.root)
            .deadline(LIMIT)
            .log(log);
        if self.is_locked { command.arg("--locked") } else { command }
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

/// Every file below a directory, links followed.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let tried = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).tried(ErrorKind::Storage, tried)? {
        let path = entry.tried(ErrorKind::Storage, tried)?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
