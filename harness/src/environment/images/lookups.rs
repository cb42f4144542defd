//! Programs that look a name up and say how it failed, one for each resolver that is a library.
//!
//! Those with musl's and Go's are static, and run in any image; that with glibc's needs the image's own glibc, since it is
//! that one's resolver that is asked.

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
const MUSL_FLAGS: [&str; 4] = ["-static", "-Os", "-s", "-Wall"];
/// With the flag of `getent ahosts` that changes what is asked, and `EAI_NODATA`, which is an extension of GNU's.
const GLIBC_FLAGS: [&str; 5] = ["-Os", "-s", "-Wall", "-D_GNU_SOURCE", "-DFLAGS=AI_ADDRCONFIG"];

/// The programs, each of which prints the addresses of the one name that it is given.
///
/// The exit code of the two C programs is 0, or by the error: 2 `EAI_NONAME`, 3 `EAI_NODATA` (musl has none before 1.2.4),
/// 4 `EAI_AGAIN`, 5 `EAI_FAIL`, 6 any other.
#[derive(Debug, Clone)]
pub struct Lookups {
    /// `getaddrinfo(3)` of the pod's glibc, with `AI_ADDRCONFIG` as `getent ahosts` calls it, which does not tell how a lookup
    /// failed. Whatever glibc it meets has to be 2.34 or newer.
    pub glibc: ProgramFile,
    /// `getaddrinfo(3)` of musl, as Debian has it on the host, without flags.
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
        let needed: Vec<_> = C_PROGRAMS
            .into_iter()
            .filter(|program| !program.recipe().path(home).is_dir())
            .map(|program| program.compiler)
            .collect();
        if !needed.is_empty() {
            tools::ensure_programs(progress, &needed)?;
        }
        let [glibc, musl] = C_PROGRAMS.map(|program| program.find_or_make(home, progress));
        let go = go::lookup().find_or_make(home, progress)?;
        Self::read(&glibc?.join("lookup"), &musl?.join("lookup"), &go.join("lookup"))
    }

    /// The programs in these files, for a process that is told where they are.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if one cannot be read.
    pub fn read(glibc: &Path, musl: &Path, go: &Path) -> Result<Self> {
        Ok(Self {
            glibc: ProgramFile::read("lookup-glibc", glibc)?,
            musl: ProgramFile::read("lookup-musl", musl)?,
            go: ProgramFile::read("lookup-go", go)?,
        })
    }
}

pub(super) fn recipes() -> [Recipe; 3] {
    let [glibc, musl] = C_PROGRAMS.map(CProgram::recipe);
    [glibc, musl, go::lookup().recipe]
}

/// The C program, compiled for one C library.
#[derive(Debug, Clone, Copy)]
struct CProgram {
    library: &'static str,
    compiler: (&'static str, &'static str),
    flags: &'static [&'static str],
}

const C_PROGRAMS: [CProgram; 2] = [
    CProgram { library: "glibc", compiler: tools::CC, flags: &GLIBC_FLAGS },
    CProgram { library: "musl", compiler: tools::MUSL, flags: &MUSL_FLAGS },
];

impl CProgram {
    fn recipe(self) -> Recipe {
        let inputs = std::iter::once(SOURCE).chain(self.flags.iter().copied());
        let (name, step) = (format!("lookup-{}", self.library), format!("Compile lookup with {}", self.library));
        Recipe::new(&name, &step, Duration::from_secs(1), inputs)
    }

    fn find_or_make(self, home: &Home, progress: &Progress) -> Result<PathBuf> {
        self.recipe().make(home, progress, |dir, step| {
            let source = dir.join("lookup.c");
            write_atomically(&source, SOURCE.as_bytes())?;
            Command::new(self.compiler.0)
                .args(self.flags.iter().copied())
                .arg("-o")
                .args([dir.join("lookup").to_string_lossy(), source.to_string_lossy()])
                .log(step.log())
                .run()
                .map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, progress::Show};

    /// Where the host has all compilers; elsewhere the error says what to install.
    #[test]
    fn every_program_looks_names_up_and_those_that_are_brought_into_any_image_are_static() {
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
        for file in [&built.glibc, &built.musl, &built.go] {
            let path = file.path().to_string_lossy();
            // An address is its own name: nobody is asked.
            let output = Command::new(path.clone()).arg("192.0.2.7").output().unwrap();
            assert_eq!((output.code, output.text().as_str()), (Some(0), "192.0.2.7"), "{path}");
            assert_eq!(Command::new(path.clone()).output().unwrap().code, Some(64), "{path}");
            let bytes = file.bytes();
            assert!(bytes.starts_with(b"\x7fELF"), "{path}");
            let names_loader = bytes.windows(4).any(|window| window == b"/ld-");
            assert_eq!(names_loader, file.file_name() == built.glibc.file_name(), "{path} and a dynamic loader");
        }
        let again = Lookups::find_or_build(&home, &progress).unwrap();
        assert_eq!(again.musl.file_name(), built.musl.file_name());
    }
}
