//! `report.json`, read again.

use std::{fs, path::Path};

use super::{Run, VERSION};
use crate::{Error, ErrorKind, Result, versioned};

/// Reads a run from a `report.json`, or from the directory that has one.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is none, or if it is not a report of the version that this program writes.
pub fn read(path: &Path) -> Result<Run> {
    let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let refuse = |cause: String| Error::new(ErrorKind::Usage, format!("read the report {}", file.display()), cause);
    let text = fs::read(&file).map_err(|error| {
        refuse(error.to_string()).hint("Name a report.json, or the directory of a run that has one.")
    })?;
    versioned::read(&text, VERSION, ("it", "report"), refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{json, sample};

    fn refused(content: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.json");
        fs::write(&file, content).unwrap();
        let error = read(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
    }

    #[test]
    fn what_was_written_is_read_from_its_file_or_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let run = sample::run();
        fs::write(dir.path().join("report.json"), json(&run)).unwrap();
        assert_eq!(read(dir.path()).unwrap(), run);
        assert_eq!(read(&dir.path().join("report.json")).unwrap(), run);
    }

    #[test]
    fn a_report_of_before_the_loads_is_read_too() {
        let mut old = serde_json::to_value(sample::run()).unwrap();
        old.as_object_mut().unwrap().remove("loads");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("report.json"), old.to_string()).unwrap();
        assert!(read(dir.path()).unwrap().loads.is_empty());
    }

    #[test]
    fn what_is_no_report_of_this_version_is_refused() {
        insta::assert_snapshot!(refused("<html>"), @"failed to read the report DIR/report.json: it is no JSON: expected value at line 1 column 1");
        insta::assert_snapshot!(refused("{\"hello\": 1}"), @"failed to read the report DIR/report.json: it has no version: it is not a report of Reachmap's");
        insta::assert_snapshot!(refused("[]"), @"failed to read the report DIR/report.json: it has no version: it is not a report of Reachmap's");
        insta::assert_snapshot!(refused("{\"version\": 2, \"id\": \"later\"}"), @"failed to read the report DIR/report.json: it is of version 2, and this is for version 1");
        insta::assert_snapshot!(refused("{\"version\": 1, \"id\": 7}"), @"failed to read the report DIR/report.json: it is not as its version says: invalid type: integer `7`, expected a string");
        let error = read(Path::new("/no/such/report.json")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
