//! The programs of the host that building needs, and how they are had where they are missing.

use std::{path::Path, time::Duration};

use semver::Version;

use crate::{Error, ErrorCode, ErrorKind, Result, command::Command, progress::Progress};

/// Programs, each with the Debian package that brings it.
pub(crate) const PROGRAMS: [(&str, &str); 6] = [MMDEBSTRAP, CC, MUSL, UNSHARE, ("tar", "tar"), ("ip", "iproute2")];

/// What unpacks Debian packages.
pub(super) const MMDEBSTRAP: (&str, &str) = ("mmdebstrap", "mmdebstrap");
/// What gives a program namespaces of its own.
pub(super) const UNSHARE: (&str, &str) = ("unshare", "util-linux");

/// The host's own C compiler.
pub(super) const CC: (&str, &str) = ("cc", "gcc");
/// The compiler of programs whose C library is musl.
pub(crate) const MUSL: (&str, &str) = ("musl-gcc", "musl-tools");

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
            .with_code(ErrorCode::NoPrograms)
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
