//! The programs that check GitHub workflows and actions, at the versions that the table pins.
//!
//! [actionlint](https://github.com/rhysd/actionlint) is built from its Go module, as every other Go program here;
//! [zizmor](https://docs.zizmor.sh) and [ShellCheck](https://www.shellcheck.net) come from PyPI, held to their hashes.

use std::{path::PathBuf, time::Duration};

use super::{go, store::Recipe, versions::Versions};
use crate::{Error, ErrorKind, Result, command::Command, home::Home, home::write_atomically, progress::Progress};

const REQUIREMENTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/python/lint.txt"));

/// The three programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linters {
    /// Checks workflows against GitHub's own rules.
    pub actionlint: PathBuf,
    /// Checks shell scripts; actionlint runs it over those in workflows.
    pub shellcheck: PathBuf,
    /// Checks workflows and actions for what an attacker could use.
    pub zizmor: PathBuf,
}

impl Linters {
    /// The programs: found under `home` if they were made before, else made now, which takes the network.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] without Go or Python; those of the compiler and of pip.
    pub fn find_or_build(home: &Home, progress: &Progress) -> Result<Self> {
        let actionlint = go::actionlint().find_or_make(home, progress)?.join("actionlint");
        let wheels = wheels(home, progress)?;
        let packed = wheels.join("bin/shellcheck");
        // There is no wheel of ShellCheck for every machine.
        let shellcheck = if packed.is_file() { packed } else { find("shellcheck", "Install ShellCheck.")? };
        Ok(Self { actionlint, shellcheck, zizmor: wheels.join("bin/zizmor") })
    }
}

/// Every recipe, for those who look after what is kept.
pub(super) fn recipes() -> Result<[Recipe; 2]> {
    Ok([go::actionlint().recipe, wheels_recipe(&Versions::embedded()?)])
}

fn wheels_recipe(versions: &Versions) -> Recipe {
    let title = format!("Install zizmor {} (pip)", versions.zizmor.version);
    Recipe::new("linters", &title, Duration::from_secs(5), [REQUIREMENTS])
}

fn wheels(home: &Home, progress: &Progress) -> Result<PathBuf> {
    wheels_recipe(&Versions::embedded()?).make(home, progress, |dir, step| {
        let python = find("python3", "Install Python 3 with pip; on Debian and Ubuntu: apt-get install python3-pip.")?;
        let requirements = dir.join("requirements.txt");
        write_atomically(&requirements, REQUIREMENTS.as_bytes())?;
        Command::new(python.to_string_lossy())
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"])
            .args(["--only-binary", ":all:", "--target", &dir.to_string_lossy(), "--requirement"])
            .arg(requirements.to_string_lossy())
            // The user's own settings could leave hashes out, or install elsewhere.
            .env("PIP_USER", "0")
            .deadline(Duration::from_secs(600))
            .log(step.log())
            .run()
            .map(drop)
    })
}

fn find(program: &str, hint: &str) -> Result<PathBuf> {
    which::which(program)
        .map_err(|error| Error::from_source(ErrorKind::Missing, format!("find {program}"), error).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_pypi_is_the_pinned_version_and_held_to_hashes() {
        let zizmor = Versions::embedded().unwrap().zizmor.version;
        assert!(REQUIREMENTS.contains(&format!("zizmor=={zizmor} ")));
        for requirement in REQUIREMENTS.replace("\\\n", "").lines().filter(|line| line.contains("==")) {
            assert!(requirement.contains("--hash=sha256:"), "{requirement}");
        }
    }
}
