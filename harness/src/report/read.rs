//! `report.json`, read again.

use std::{fs, path::Path};

use serde::Deserialize;

use super::{Run, VERSION};
use crate::{Error, ErrorKind, Result};

/// What every version of the format has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

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
    from_json(&text).map_err(|(cause, hint)| match hint {
        Some(hint) => refuse(cause).hint(hint),
        None => refuse(cause),
    })
}

/// The run in the text of a `report.json`; else why there is none, and what to do.
pub(crate) fn from_json(text: &[u8]) -> Result<Run, (String, Option<&'static str>)> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| (format!("no JSON: {error}"), None))?;
    let Ok(Versioned { version }) = Versioned::deserialize(&value) else {
        return Err(("it has no version: it is not a report of Reachmap's".to_owned(), None));
    };
    if version != VERSION {
        let cause = format!("it is of version {version}, and this is for version {VERSION}");
        return Err((cause, Some("Read it with the Reachmap that wrote it.")));
    }
    serde_json::from_value(value).map_err(|error| (format!("it is not as its version says: {error}"), None))
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
        insta::assert_snapshot!(refused("<html>"), @"failed to read the report DIR/report.json: no JSON: expected value at line 1 column 1");
        insta::assert_snapshot!(refused("{\"hello\": 1}"), @"failed to read the report DIR/report.json: it has no version: it is not a report of Reachmap's");
        insta::assert_snapshot!(refused("[]"), @"failed to read the report DIR/report.json: it has no version: it is not a report of Reachmap's");
        insta::assert_snapshot!(refused("{\"version\": 2, \"id\": \"later\"}"), @"failed to read the report DIR/report.json: it is of version 2, and this is for version 1");
        insta::assert_snapshot!(refused("{\"version\": 1, \"id\": 7}"), @"failed to read the report DIR/report.json: it is not as its version says: invalid type: integer `7`, expected a string");
        let error = read(Path::new("/no/such/report.json")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
