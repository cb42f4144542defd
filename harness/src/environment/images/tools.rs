//! The programs of the host that building needs, and how they are had where they are missing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use super::{go, store::Recipe, versions::Versions};
use crate::{Context as _, Error, ErrorKind, Result, command::Command, home::Home, progress::Progress};

/// Programs, each with the Debian package that brings it.
pub(crate) const PROGRAMS: [(&str, &str); 6] =
    [("mmdebstrap", "mmdebstrap"), CC, MUSL, ("unshare", "util-linux"), ("tar", "tar"), ("ip", "iproute2")];

/// The host's own C compiler.
pub(super) const CC: (&str, &str) = ("cc", "gcc");
/// The compiler of programs whose C library is musl.
pub(crate) const MUSL: (&str, &str) = ("musl-gcc", "musl-tools");

/// The Debian release whose Go is unpacked where the host has none that is new enough.
pub(crate) const GO_RELEASE: &str = "trixie";

/// The go command that builds everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toolchain {
    go: PathBuf,
    root: Option<PathBuf>,
}

impl Toolchain {
    /// A go command in `dir`.
    pub(super) fn go(&self, dir: &Path) -> Command {
        let command = go::command(&self.go, dir);
        match &self.root {
            Some(root) => command.env("GOROOT", root.to_string_lossy()),
            None => command,
        }
    }
}

/// The Debian packages of those of `needed` that the host lacks, where they can be installed.
///
/// # Errors
/// [`ErrorKind::Missing`] with what to install, where they cannot.
pub(super) fn missing_programs(needed: &[(&'static str, &'static str)]) -> Result<Vec<&'static str>> {
    let missing: Vec<_> = needed.iter().filter(|(program, _)| which::which(program).is_err()).collect();
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    let root = rustix::process::geteuid().is_root();
    if !packages.is_empty() && (!root || which::which("apt-get").is_err()) {
        let why = if root { "there is no apt-get to install them with" } else { "this process is not root" };
        return Err(Error::new(ErrorKind::Missing, format!("find {programs}"), why)
            .hint(format!("Install them; on Debian and Ubuntu: apt-get install {}.", packages.join(" "))));
    }
    Ok(packages)
}

/// Installs those of `needed` that the host lacks, where that can be done.
///
/// # Errors
/// As [`missing_programs`].
pub(super) fn ensure_programs(progress: &Progress, needed: &[(&'static str, &'static str)]) -> Result<()> {
    let packages = missing_programs(needed)?;
    if packages.is_empty() {
        return Ok(());
    }
    let step = progress.step(format!("Install {} (apt-get)", packages.join(", ")), Some(Duration::from_secs(30)));
    let apt = |words: &[&str]| {
        Command::new("apt-get")
            .args(words.iter().copied())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .deadline(Duration::from_secs(600))
            .log(step.log())
            .run()
    };
    apt(&["update", "-qq"])?;
    // A host that is not Debian itself needs Debian's keys to check Debian's packages with.
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends", "debian-archive-keyring", "libc6-dev"];
    words.extend(packages);
    apt(&words)?;
    step.done();
    Ok(())
}

/// The go command of the host if it is new enough, else why it will not do.
fn host_go(versions: &Versions) -> std::result::Result<PathBuf, String> {
    let go = which::which("go").map_err(|_| "there is no go command".to_owned())?;
    match version(&go) {
        Ok(found) if is_enough(&found, &versions.go.minimum) => Ok(go),
        Ok(found) => Err(format!("the go command is {found}, and cannot fetch a newer toolchain itself")),
        Err(error) => Err(error.to_string()),
    }
}

fn no_go(versions: &Versions, why: String) -> Error {
    Error::new(ErrorKind::Missing, format!("find Go {} or newer", versions.go.minimum), why)
        .hint("Install Go from your distribution or from go.dev.")
}

/// Whether [`toolchain`] finds Go, or can unpack it with a mmdebstrap that is there or will be.
///
/// # Errors
/// As [`toolchain`].
pub(super) fn check_toolchain(versions: &Versions, mmdebstrap: bool) -> Result<()> {
    match host_go(versions) {
        Err(why) if !mmdebstrap || !rustix::process::geteuid().is_root() => Err(no_go(versions, why)),
        _ => Ok(()),
    }
}

/// The go command of the host if it is new enough, else Debian's, unpacked from its packages.
///
/// # Errors
/// [`ErrorKind::Missing`] with what to install, where neither can be had.
pub(super) fn toolchain(home: &Home, progress: &Progress, versions: &Versions) -> Result<Toolchain> {
    let why = match host_go(versions) {
        Ok(go) => return Ok(Toolchain { go, root: None }),
        Err(why) => why,
    };
    if !rustix::process::geteuid().is_root() || which::which("mmdebstrap").is_err() {
        return Err(no_go(versions, why));
    }
    progress.line(&format!("{why}: Debian {GO_RELEASE}'s is unpacked into the cache and used from there"));
    let dir = go_recipe().make(home, progress, |dir, step| {
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap"])
            .args(["--variant=extract", "--include=golang-go", GO_RELEASE])
            .arg(dir.join("root").to_string_lossy())
            .deadline(Duration::from_secs(1200))
            .log(step.log())
            .run()
            .map(drop)
    })?;
    let lib = dir.join("root/usr/lib");
    let root = std::fs::read_dir(&lib)
        .tried(ErrorKind::Storage, || format!("list {}", lib.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("bin/go").is_file() && path.file_name().is_some_and(|name| name != "go"))
        .ok_or_else(|| Error::new(ErrorKind::Environment, "find Go in Debian's packages", "no lib/go-*/bin/go"))?;
    // Debian keeps the sources beside the programs and links to them by absolute paths.
    let share = dir.join("root/usr/share").join(root.file_name().unwrap_or_default());
    for name in ["src", "api", "misc", "test"] {
        relink(&root.join(name), &share.join(name))?;
    }
    Ok(Toolchain { go: root.join("bin/go"), root: Some(root) })
}

/// Debian's Go, for hosts that have none of their own.
pub(super) fn go_recipe() -> Recipe {
    Recipe::new("go", "Unpack Debian's Go", Duration::from_secs(40), [GO_RELEASE, "1"])
}

fn relink(link: &Path, to: &Path) -> Result<()> {
    let is_link = std::fs::symlink_metadata(link).is_ok_and(|meta| meta.is_symlink());
    if !is_link || !to.exists() || std::fs::read_link(link).is_ok_and(|now| now == to) {
        return Ok(());
    }
    std::fs::remove_file(link)
        .and_then(|()| std::os::unix::fs::symlink(to, link))
        .tried(ErrorKind::Storage, || format!("link {}", link.display()))
}

/// Whether the kind program is at least `minimum`.
pub(super) fn is_kind_enough(kind: &Path, minimum: &str) -> bool {
    let said = Command::new(kind.to_string_lossy()).args(["version", "--quiet"]).run().map(|output| output.text());
    said.is_ok_and(|said| is_enough(said.trim_start_matches('v'), minimum.trim_start_matches('v')))
}

/// What `go version` says.
pub(crate) fn version(go: &Path) -> Result<String> {
    let said = Command::new(go.to_string_lossy()).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").run()?.text();
    Ok(said.trim_start_matches("go").split_whitespace().next().unwrap_or_default().to_owned())
}

pub(crate) fn is_enough(found: &str, minimum: &str) -> bool {
    let parse = |text: &str| {
        let padded = if text.matches('.').count() < 2 { format!("{text}.0") } else { text.to_owned() };
        Version::parse(&padded)
    };
    matches!((parse(found), parse(minimum)), (Ok(found), Ok(minimum)) if found >= minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_that_cannot_fetch_toolchains_is_not_enough() {
        assert!(is_enough("1.26.8", "1.21"));
        assert!(is_enough("1.21", "1.21"));
        assert!(!is_enough("1.19.8", "1.21"));
        assert!(!is_enough("devel", "1.21"));
    }
}
