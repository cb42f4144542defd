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
    Error, ErrorKind, Result,
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
///
/// A C program that no compiler of the host can make is not there, for the reason that stands in its place: its resolver is
/// not supported here, and the others are.
#[derive(Debug, Clone)]
pub struct Lookups {
    /// `getaddrinfo(3)` of the pod's glibc, with `AI_ADDRCONFIG` as `getent ahosts` calls it, which does not tell how a lookup
    /// failed. Whatever glibc it meets has to be 2.34 or newer.
    pub glibc: Result<ProgramFile, String>,
    /// `getaddrinfo(3)` of musl, as Debian has it on the host, without flags.
    pub musl: Result<ProgramFile, String>,
    /// Go's own resolver, `net.DefaultResolver.LookupHost`; it fails with exit code 1 and the error's flags.
    pub go: ProgramFile,
}

impl Lookups {
    /// The programs, built if they are not there yet.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] with the host program to install, if there is no Go; those of the compilers.
    pub fn find_or_build(home: &Home, progress: &Progress) -> Result<Self> {
        let [glibc, musl] = C_PROGRAMS.map(|program| program.find_or_make(home, progress));
        let go = go::lookup().find_or_make(home, progress)?;
        let file = |made: Result<PathBuf, String>| made.map(|dir| dir.join("lookup"));
        Self::read(&file(glibc?), &file(musl?), &go.join("lookup"))
    }

    /// The programs in these files, for a process that is told where they are, or why there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if one cannot be read.
    pub fn read(glibc: &Result<PathBuf, String>, musl: &Result<PathBuf, String>, go: &Path) -> Result<Self> {
        let read = |name: &str, path: &Result<PathBuf, String>| {
            path.as_ref().map_or_else(|why| Ok(Err(why.clone())), |path| ProgramFile::read(name, path).map(Ok))
        };
        Ok(Self {
            glibc: read("lookup-glibc", glibc)?,
            musl: read("lookup-musl", musl)?,
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

    /// The directory with the program, or why none can be made here.
    fn find_or_make(self, home: &Home, progress: &Progress) -> Result<Result<PathBuf, String>> {
        if !self.recipe().path(home).is_dir()
            && let Err(why) =
                self.or_why(tools::ensure_programs(progress, &[self.compiler]).and_then(|()| self.check()))?
        {
            return Ok(Err(why));
        }
        self.make(home, progress).map(Ok)
    }

    /// Why the program is left out, if `ready` says that its compiler will not do: no other failure is a reason for that.
    fn or_why(self, ready: Result<()>) -> Result<Result<(), String>> {
        match ready {
            Err(error) if error.kind() == ErrorKind::Missing => {
                let hint = error.hint_text().map(|hint| format!(". {hint}")).unwrap_or_default();
                Ok(Err(format!("there is no program with {}'s resolver: {error}{hint}", self.library)))
            }
            other => other.map(Ok),
        }
    }

    /// Makes sure that the library is one whose lookups are predicted.
    fn check(self) -> Result<()> {
        if self.compiler != tools::MUSL {
            return Ok(());
        }
        let preprocess = Command::new(self.compiler.0).args(["-E", "-P", "-x", "c", "-"]);
        is_predicted(&preprocess.stdin("#include <netdb.h>\nEAI_NODATA\n").run()?.text())
    }

    fn make(self, home: &Home, progress: &Progress) -> Result<PathBuf> {
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

/// musl asks in another way from 1.2.4 on, over TCP where an answer is cut off, and tells "no data" from "no such name". It does
/// not say which version it is, but since then it defines that error for everybody.
fn is_predicted(preprocessed: &str) -> Result<()> {
    if preprocessed.lines().any(|line| line.trim() == "EAI_NODATA") {
        return Ok(());
    }
    let cause = "the host's is newer, and asks in another way";
    Err(Error::new(ErrorKind::Missing, "find a musl before 1.2.4, whose lookups are predicted", cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Show;

    #[test]
    fn a_compiler_that_cannot_be_had_leaves_out_its_own_program_alone_and_says_why() {
        let [_, musl] = C_PROGRAMS;
        let error = Error::new(ErrorKind::Missing, "find musl-gcc", "this process is not root")
            .hint("Install them; on Debian and Ubuntu: apt-get install musl-tools.");
        let why = musl.or_why(Err(error)).unwrap().unwrap_err();
        let expected = "there is no program with musl's resolver: failed to find musl-gcc: this process is not root. \
                        Install them; on Debian and Ubuntu: apt-get install musl-tools.";
        assert_eq!(why, expected);
        // What should have worked and did not is no reason to leave anything out.
        assert!(musl.or_why(Err(Error::new(ErrorKind::Environment, "run `apt-get update`", "exit code 100"))).is_err());

        let dir = tempfile::tempdir().unwrap();
        let (go, glibc) = (dir.path().join("go"), dir.path().join("glibc"));
        std::fs::write(&go, "go").unwrap();
        std::fs::write(&glibc, "glibc").unwrap();
        let read = Lookups::read(&Ok(glibc), &Err(why.clone()), &go).unwrap();
        assert!(read.glibc.is_ok());
        assert_eq!(read.musl.unwrap_err(), why);
    }

    #[test]
    fn a_musl_that_asks_in_another_way_than_predicted_is_left_out() {
        is_predicted("typedef unsigned int socklen_t;\nEAI_NODATA\n").unwrap();
        assert_eq!(is_predicted("typedef unsigned int socklen_t;\n-5\n").unwrap_err().kind(), ErrorKind::Missing);
    }

    /// Where the host has all compilers; elsewhere it says what to install.
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
        for file in [built.glibc.as_ref(), built.musl.as_ref(), Ok(&built.go)] {
            let file = match file {
                Ok(file) => file,
                Err(why) => {
                    assert!(why.starts_with("there is no program with "), "{why}");
                    continue;
                }
            };
            let path = file.path().to_string_lossy();
            // An address is its own name: nobody is asked.
            let output = Command::new(path.clone()).arg("192.0.2.7").output().unwrap();
            assert_eq!((output.code, output.text().as_str()), (Some(0), "192.0.2.7"), "{path}");
            assert_eq!(Command::new(path.clone()).output().unwrap().code, Some(64), "{path}");
            let bytes = file.bytes();
            assert!(bytes.starts_with(b"\x7fELF"), "{path}");
            let names_loader = bytes.windows(4).any(|window| window == b"/ld-");
            assert_eq!(names_loader, path.contains("lookup-glibc"), "{path} and a dynamic loader");
        }
        let again = Lookups::find_or_build(&home, &progress).unwrap();
        let names = |one: &Lookups| one.musl.as_ref().map(ProgramFile::file_name).ok();
        assert_eq!(names(&again), names(&built));
    }
}
