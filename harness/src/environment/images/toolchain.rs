//! Go, which builds everything: the host's own if it is new enough, else Debian's, unpacked into the cache.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{go, store::Recipe, tools, versions::Versions};
use crate::{Context as _, Error, ErrorCode, ErrorKind, Result, command::Command, home::Home, progress::Progress};

/// The Debian release whose Go is unpacked where the host has none that is new enough.
pub(crate) const RELEASE: &str = "trixie";

/// What Debian's Go is unpacked with.
const UNPACKING: [(&str, &str); 2] = [tools::MMDEBSTRAP, tools::UNSHARE];

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

/// How Go is had here.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// It is the host's.
    Host(PathBuf),
    /// Debian's was unpacked before.
    Unpacked,
    /// Debian's is to be unpacked, once these packages of the host's distribution are installed.
    Unpack { why: String, install: Vec<&'static str> },
}

impl Way {
    /// How it is had on this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] with what to install, where it cannot be had.
    fn here(home: &Home, versions: &Versions) -> Result<Self> {
        let is_unpacked = recipe().path(home).is_dir();
        let is_root = rustix::process::geteuid().is_root();
        Self::choose(host_go(versions), is_unpacked, is_root, || tools::missing_programs(&UNPACKING))
            .map_err(|why| no_go(versions, why))
    }

    /// How it is had where `host` is the host's go command, or why that will not do, and `missing` are the packages that
    /// unpacking takes and the host lacks; else why it cannot be had.
    fn choose(
        host: Result<PathBuf, String>,
        is_unpacked: bool,
        is_root: bool,
        missing: impl FnOnce() -> Result<Vec<&'static str>>,
    ) -> Result<Self, String> {
        let why = match host {
            Ok(go) => return Ok(Self::Host(go)),
            Err(_) if is_unpacked => return Ok(Self::Unpacked),
            Err(why) => why,
        };
        if !is_root {
            return Err(format!("{why}, and unpacking Debian's takes root"));
        }
        match missing() {
            Ok(install) => Ok(Self::Unpack { why, install }),
            Err(error) => Err(format!("{why}, and Debian's cannot be unpacked: {error}")),
        }
    }

    /// What is done about it, for the user to read before it is done; nothing if nothing is.
    fn announcement(&self) -> Option<String> {
        let Self::Unpack { why, install } = self else { return None };
        let first = if install.is_empty() {
            String::new()
        } else {
            format!("{} {} installed by apt-get, ", install.join(" and "), if install.len() > 1 { "are" } else { "is" })
        };
        Some(format!("{why}: {first}Debian {RELEASE}'s is unpacked into the cache and used from there"))
    }
}

/// The go command of the host if it is new enough, else why it will not do.
fn host_go(versions: &Versions) -> Result<PathBuf, String> {
    let go = which::which("go").map_err(|_| "there is no go command".to_owned())?;
    match tools::version(&go) {
        Ok(found) if tools::is_enough(&found, &versions.go.minimum) => Ok(go),
        Ok(found) => Err(format!("the go command is {found}, and cannot fetch a newer toolchain itself")),
        Err(error) => Err(error.to_string()),
    }
}

fn no_go(versions: &Versions, why: String) -> Error {
    Error::new(ErrorKind::Missing, format!("find Go {} or newer", versions.go.minimum), why).with_code(ErrorCode::NoGo).hint(
        "Install Go from your distribution or from go.dev; as root on Debian or Ubuntu, Debian's is fetched into the \
         cache without that.",
    )
}

/// What is used where the host has no Go that will do.
pub(crate) fn instead(home: &Home, versions: &Versions) -> String {
    match Way::here(home, versions) {
        Ok(Way::Host(go)) => go.display().to_string(),
        Ok(Way::Unpacked) => format!("Debian's ({RELEASE}) is used from the cache"),
        Ok(Way::Unpack { .. }) => format!("Debian's ({RELEASE}) is unpacked into the cache when it is needed"),
        Err(error) => format!("install it ({error})"),
    }
}

/// Whether [`find_or_unpack`] finds Go, or can unpack it.
///
/// # Errors
/// As [`find_or_unpack`].
pub(super) fn check(home: &Home, versions: &Versions) -> Result<()> {
    Way::here(home, versions).map(drop)
}

/// The go command of the host if it is new enough, else Debian's, unpacked from its packages with what is installed for
/// that.
///
/// # Errors
/// [`ErrorKind::Missing`] with what to install, where neither can be had; those of apt-get and mmdebstrap.
pub(super) fn find_or_unpack(home: &Home, progress: &Progress, versions: &Versions) -> Result<Toolchain> {
    let way = Way::here(home, versions)?;
    if let Some(text) = way.announcement() {
        progress.line(&text);
    }
    match way {
        Way::Host(go) => return Ok(Toolchain { go, root: None }),
        Way::Unpacked => {}
        Way::Unpack { .. } => tools::ensure_programs(progress, &UNPACKING)?,
    }
    let dir = recipe().make(home, progress, |dir, step| {
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap"])
            .args(["--variant=extract", "--include=golang-go", RELEASE])
            .arg(dir.join("root").to_string_lossy())
            .deadline(Duration::from_secs(1200))
            .log(step.log())
            .run()
            .map(drop)
    })?;
    unpacked(&dir)
}

/// Debian's Go, for hosts that have none of their own.
pub(super) fn recipe() -> Recipe {
    Recipe::new("go", "Unpack Debian's Go", Duration::from_secs(40), [RELEASE, "1"])
}

/// The Go in a directory into which Debian's packages were unpacked.
fn unpacked(dir: &Path) -> Result<Toolchain> {
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

fn relink(link: &Path, to: &Path) -> Result<()> {
    let is_link = std::fs::symlink_metadata(link).is_ok_and(|meta| meta.is_symlink());
    if !is_link || !to.exists() || std::fs::read_link(link).is_ok_and(|now| now == to) {
        return Ok(());
    }
    std::fs::remove_file(link)
        .and_then(|()| std::os::unix::fs::symlink(to, link))
        .tried(ErrorKind::Storage, || format!("link {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Result<PathBuf, String> {
        Err("there is no go command".to_owned())
    }

    fn nothing_asked() -> Result<Vec<&'static str>> {
        panic!("what the host lacks is asked only where it matters")
    }

    #[test]
    fn the_host_s_go_comes_first_and_one_that_was_unpacked_needs_nothing() {
        let host = || Ok(PathBuf::from("/usr/bin/go"));
        assert_eq!(Way::choose(host(), true, false, nothing_asked), Ok(Way::Host("/usr/bin/go".into())));
        assert_eq!(Way::choose(none(), true, false, nothing_asked), Ok(Way::Unpacked));
        assert_eq!(Way::Unpacked.announcement(), None);
    }

    #[test]
    fn debian_s_go_is_unpacked_by_root_after_saying_so() {
        let with = |install: &[&'static str]| {
            let way = Way::choose(none(), false, true, || Ok(install.to_vec())).unwrap();
            way.announcement().unwrap()
        };
        insta::assert_snapshot!(
            [with(&[]), with(&["mmdebstrap"]), with(&["mmdebstrap", "util-linux"])].join("\n"),
            @r"
        there is no go command: Debian trixie's is unpacked into the cache and used from there
        there is no go command: mmdebstrap is installed by apt-get, Debian trixie's is unpacked into the cache and used from there
        there is no go command: mmdebstrap and util-linux are installed by apt-get, Debian trixie's is unpacked into the cache and used from there
        "
        );
    }

    #[test]
    fn where_go_cannot_be_had_the_error_says_why_and_how_it_is() {
        let versions = Versions::embedded().unwrap();
        let missing =
            || Err(Error::new(ErrorKind::Missing, "find mmdebstrap", "there is no apt-get to install it with"));
        let error = |is_root| no_go(&versions, Way::choose(none(), false, is_root, missing).unwrap_err());
        insta::assert_snapshot!(
            [error(false), error(true)].map(|error| error.to_string()).join("\n"),
            @r"
        failed to find Go 1.21 or newer: there is no go command, and unpacking Debian's takes root
        failed to find Go 1.21 or newer: there is no go command, and Debian's cannot be unpacked: failed to find mmdebstrap: there is no apt-get to install it with
        "
        );
        assert!(error(false).hint_text().unwrap().contains("Debian's is fetched into the cache"));
    }
}
