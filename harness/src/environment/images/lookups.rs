//! Programs that look a name up, one for each resolver that an image may lack: static, so that they run in any.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{go, store::Recipe, tools};
use crate::{
    Result,
    command::Command,
    home::{Home, write_atomically},
    probe::ProgramFile,
    progress::Progress,
};

const SOURCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/panel/lookup.c"));

/// How the C program is compiled: `-s` and `-Os` keep it at a few dozen kilobytes.
const FLAGS: [&str; 4] = ["-static", "-Os", "-s", "-Wall"];

/// The programs, each of which prints the addresses of the one name that it is given.
#[derive(Debug, Clone)]
pub struct Lookups {
    /// `getaddrinfo(3)` of musl, as Debian has it on the host.
    ///
    /// Its exit code is 0, or by the error: 2 `EAI_NONAME`, 3 `EAI_NODATA` (of musl versions that have it),
    /// 4 `EAI_AGAIN`, 5 `EAI_FAIL`, 6 any other.
    pub musl: ProgramFile,
    /// Go's own resolver, `net.DefaultResolver.LookupHost`; it fails with exit code 1 and the error's flags.
    pub go: ProgramFile,
}

impl Lookups {
    /// The programs, built if they are not there yet.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`](crate::ErrorKind::Missing) with the host programs to install; those of the compilers.
    pub fn find_or_build(home: &Home, progress: &Progress) -> Result<Self> {
        if !musl_recipe().path(home).is_dir() {
            tools::ensure_programs(progress, &[tools::MUSL])?;
        }
        let musl = musl(home, progress)?;
        let go = go::lookup().find_or_make(home, progress)?;
        Self::read(&musl.join("lookup"), &go.join("lookup"))
    }

    /// The programs in the files `musl` and `go`, for a process that is told where they are.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if one cannot be read.
    pub fn read(musl: &Path, go: &Path) -> Result<Self> {
        Ok(Self { musl: ProgramFile::read("lookup-musl", musl)?, go: ProgramFile::read("lookup-go", go)? })
    }
}

pub(super) fn recipes() -> [Recipe; 2] {
    [musl_recipe(), go::lookup().recipe]
}

fn musl_recipe() -> Recipe {
    let inputs = std::iter::once(SOURCE).chain(FLAGS);
    Recipe::new("lookup-musl", "Compile lookup with musl", Duration::from_secs(1), inputs)
}

fn musl(home: &Home, progress: &Progress) -> Result<PathBuf> {
    musl_recipe().make(home, progress, |dir, step| {
        let source = dir.join("lookup.c");
        write_atomically(&source, SOURCE.as_bytes())?;
        Command::new("musl-gcc")
            .args(FLAGS)
            .arg("-o")
            .args([dir.join("lookup").to_string_lossy(), source.to_string_lossy()])
            .log(step.log())
            .run()
            .map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, progress::Show};

    /// Where the host has both compilers; elsewhere the error says what to install.
    #[test]
    fn both_programs_are_static_and_look_names_up() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let progress = Progress::new(Show::Nothing, dir.path().join("logs"));
        let built = match Lookups::find_or_build(&home, &progress) {
            Ok(built) => built,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
                assert!(error.hint_text().is_some());
                return;
            }
        };
        for file in [&built.musl, &built.go] {
            let path = file.path().to_string_lossy();
            // An address is its own name: nobody is asked.
            let output = Command::new(path.clone()).arg("192.0.2.7").output().unwrap();
            assert_eq!((output.code, output.text().as_str()), (Some(0), "192.0.2.7"), "{path}");
            assert_eq!(Command::new(path.clone()).output().unwrap().code, Some(64), "{path}");
            let bytes = file.bytes();
            assert!(bytes.starts_with(b"\x7fELF"), "{path}");
            assert!(!bytes.windows(4).any(|window| window == b"/ld-"), "{path} names no dynamic loader");
        }
        let again = Lookups::find_or_build(&home, &progress).unwrap();
        assert_eq!(again.musl.file_name(), built.musl.file_name());
    }
}
