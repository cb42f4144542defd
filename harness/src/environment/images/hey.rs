//! [hey](https://github.com/rakyll/hey), the load generator that the tutorial uses: static, so that it runs in any image.

use super::{go, store::Recipe};
use crate::{Result, home::Home, probe::ProgramFile, progress::Progress};

/// The real hey, built from its Go module if it is not there yet; [`ProgramFile::path`] is where it is.
///
/// # Errors
/// [`ErrorKind::Missing`](crate::ErrorKind::Missing) without Go; those of the compiler.
pub fn find_or_build(home: &Home, progress: &Progress) -> Result<ProgramFile> {
    ProgramFile::read("hey", &go::hey().find_or_make(home, progress)?.join("hey"))
}

pub(super) fn recipe() -> Recipe {
    go::hey().recipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, command::Command, progress::Show};

    /// Where the host has Go: a test installs nothing.
    #[test]
    fn it_is_static_and_says_how_it_is_used() {
        if which::which("go").is_err() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let progress = Progress::new(Show::Nothing, dir.path().join("logs"));
        let hey = match find_or_build(&home, &progress) {
            Ok(hey) => hey,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
                assert!(error.hint_text().is_some());
                return;
            }
        };
        let said = Command::new(hey.path().to_string_lossy()).arg("-h").output().unwrap();
        assert!(String::from_utf8_lossy(&said.stderr).contains("-disable-keepalive"));
        assert!(hey.bytes().starts_with(b"\x7fELF"));
        assert!(!hey.bytes().windows(4).any(|window| window == b"/ld-"), "it names no dynamic loader");
        assert_eq!(find_or_build(&home, &progress).unwrap().file_name(), hey.file_name());
    }
}
