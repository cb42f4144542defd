//! All reports of a run, written into its directory.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Run, conformance, github, html, json, junit, markdown};
use crate::{Context as _, ErrorKind, Result, home::write_atomically};

/// Where a run's reports are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The run's directory.
    pub dir: PathBuf,
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
    /// `report.html`.
    pub html: PathBuf,
    /// `conformance.yaml`.
    pub conformance: PathBuf,
    /// The link `latest` beside the run's directory; absent if it could not be made.
    pub latest: Option<PathBuf>,
}

/// Writes all reports of `run` into `dir`, each whole or not at all.
///
/// The link `latest` beside `dir` then points to it, and in GitHub Actions the step summary gets the run, too.
///
/// # Errors
/// [`ErrorKind::Storage`] if a file cannot be written.
pub fn write(run: &Run, dir: &Path) -> Result<Paths> {
    Ok(Paths { latest: link_latest(dir), ..write_files(run, dir)? })
}

/// The same without the link: for a directory that is no run's own.
///
/// # Errors
/// [`ErrorKind::Storage`] if a file cannot be written.
pub fn write_files(run: &Run, dir: &Path) -> Result<Paths> {
    let paths = write_beside(run, dir)?;
    if let Some(summary) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        append(Path::new(&summary), &github::summary(run))?;
    }
    Ok(paths)
}

/// The files alone: of one of several repetitions, which are not shown one by one.
pub(crate) fn write_beside(run: &Run, dir: &Path) -> Result<Paths> {
    let paths = Paths {
        dir: dir.to_owned(),
        markdown: dir.join("report.md"),
        json: dir.join("report.json"),
        junit: dir.join("junit.xml"),
        html: dir.join("report.html"),
        conformance: dir.join("conformance.yaml"),
        latest: None,
    };
    write_atomically(&paths.json, json(run).as_bytes())?;
    write_atomically(&paths.markdown, markdown(run).as_bytes())?;
    write_atomically(&paths.junit, junit(run).as_bytes())?;
    write_atomically(&paths.html, html(run).as_bytes())?;
    write_atomically(&paths.conformance, conformance(run).as_bytes())?;
    Ok(paths)
}

fn append(path: &Path, text: &str) -> Result<()> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .tried(ErrorKind::Storage, || format!("write the step summary {}", path.display()))
}

/// Points `latest`, beside `dir`, to `dir`. It is a convenience: where it cannot be, there is none.
fn link_latest(dir: &Path) -> Option<PathBuf> {
    let (parent, name) = (dir.parent()?, dir.file_name()?);
    let latest = parent.join("latest");
    // Something that is no link of ours is left alone.
    if fs::symlink_metadata(&latest).is_ok_and(|metadata| !metadata.is_symlink()) {
        return None;
    }
    fs::create_dir_all(parent).ok()?;
    let new = parent.join(format!(".latest-{}", std::process::id()));
    std::os::unix::fs::symlink(name, &new).ok()?;
    // A rename replaces the old link in one step, so that there always is one.
    fs::rename(&new, &latest).ok()?;
    Some(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_are_written_and_latest_points_to_them() {
        let target = tempfile::tempdir().unwrap();
        for id in ["one", "two"] {
            let run = Run::started(id, &[]);
            let paths = write(&run, &target.path().join(id)).unwrap();
            for path in [&paths.markdown, &paths.json, &paths.junit, &paths.html, &paths.conformance] {
                assert!(fs::metadata(path).unwrap().len() > 0, "{}", path.display());
            }
            let latest = fs::read_to_string(target.path().join("latest/report.json")).unwrap();
            assert_eq!(serde_json::from_str::<Run>(&latest).unwrap(), run);
        }
    }

    #[test]
    fn a_directory_called_latest_is_left_alone() {
        let target = tempfile::tempdir().unwrap();
        let theirs = target.path().join("latest");
        fs::create_dir(&theirs).unwrap();
        let paths = write(&Run::started("one", &[]), &target.path().join("one")).unwrap();
        assert_eq!(paths.latest, None);
        assert_eq!(fs::read_dir(theirs).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_a_storage_error() {
        let target = tempfile::tempdir().unwrap();
        let file = target.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let error = write(&Run::started("one", &[]), &file.join("one")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
    }
}
