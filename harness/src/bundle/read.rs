//! A bundle read again, also one that somebody else sent: nothing in it is trusted.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use super::{FILE, Manifest, SIZE_LIMIT, VERSION};
use crate::{
    Error, ErrorKind, Result,
    report::{self, Run},
    state::State,
    versioned,
};

/// The state that a suite found in a stage, as a bundle has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedState {
    /// The version of this format: that of the bundle.
    pub version: u32,
    /// The suite.
    pub suite: String,
    /// The stage.
    pub stage: String,
    /// What the model takes.
    pub state: State,
}

/// A bundle that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What is in it, and what is not.
    pub manifest: Manifest,
    /// The run.
    pub run: Run,
    /// The states, by suite and stage.
    pub states: BTreeMap<(String, String), State>,
    /// All other files, by path.
    pub files: BTreeMap<String, String>,
}

/// The most bytes that are read of an archive: what we write is smaller, with the manifest and the archive's own
/// blocks.
const MOST: u64 = 2 * SIZE_LIMIT as u64;

impl Bundle {
    /// The text of the file of that path, made safe to print.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is none; it says why, if the manifest does.
    pub fn file(&self, path: &str) -> Result<String> {
        if let Some(text) = self.files.get(path) {
            return Ok(text.lines().map(report::words::visible).collect::<Vec<_>>().join("\n"));
        }
        let why = self.manifest.missing.iter().find(|missing| missing.path == path).map(|missing| missing.why.as_str());
        let is_typed = self.manifest.parts.iter().any(|part| part.path == path);
        let cause = match (why, is_typed) {
            (Some(why), _) => format!("it could not be had: {}", report::words::visible(why)),
            (None, true) => "it is read as a whole, not as text: unpack the archive with tar".to_owned(),
            (None, false) => "there is no such file in the bundle".to_owned(),
        };
        let error = Error::new(ErrorKind::Usage, format!("print {path}"), cause);
        Err(error.hint("`cargo xtask bundle show FILE` lists what there is."))
    }
}

/// Reads a bundle from its file, or from the run's directory that has one.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is none, or if it is not a whole bundle of the version that this program writes; it
/// says what is wrong with it.
pub fn read(path: &Path) -> Result<Bundle> {
    let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let refuse = |cause: String| Error::new(ErrorKind::Usage, format!("read the bundle {}", file.display()), cause);
    let opened = File::open(&file).map_err(|error| {
        refuse(error.to_string()).hint(format!(
            "Name a {FILE}, or the directory of a run that has one. \
             A run keeps one if something is not as expected, or with --bundle always."
        ))
    })?;
    let mut files = unpack(opened, MOST).map_err(|why| refuse(why.to_owned()))?;
    let manifest = files
        .remove("manifest.json")
        .ok_or_else(|| refuse("it has no manifest.json: it is not a bundle of Reachmap's".to_owned()))?;
    let manifest: Manifest = versioned::read(manifest.as_bytes(), VERSION, ("manifest.json", "bundle"), refuse)?;
    let absent: Vec<&str> =
        manifest.parts.iter().map(|part| part.path.as_str()).filter(|path| !files.contains_key(*path)).collect();
    if !absent.is_empty() {
        return Err(refuse(format!("these parts of it are missing: {}", absent.join(", ")))
            .hint("It was changed, or cut off, after it was written."));
    }
    let text = files.remove("report.json").ok_or_else(|| refuse("it has no report.json".to_owned()))?;
    let run = versioned::read(text.as_bytes(), report::VERSION, ("its report.json", "report"), refuse)?;
    let mut states = BTreeMap::new();
    let paths: Vec<String> = files.keys().filter(|path| path.starts_with("states/")).cloned().collect();
    for path in paths {
        let text = files.remove(&path).unwrap_or_default();
        let recorded: RecordedState = versioned::read(text.as_bytes(), VERSION, (&path, "bundle"), refuse)?;
        states.insert((recorded.suite, recorded.stage), recorded.state);
    }
    Ok(Bundle { manifest, run, states, files })
}

/// The archive's files, in memory alone: no path in it leads anywhere. They have `most` bytes at most.
pub(super) fn unpack(compressed: impl io::Read, most: u64) -> Result<BTreeMap<String, String>, &'static str> {
    let mut bytes = Vec::new();
    // Decompressed as a whole: only gzip's own end tells whether something was cut off.
    GzDecoder::new(compressed).take(most).read_to_end(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off: it ends in the middle",
        _ => "it is not a bundle: it is no gzip archive, or a damaged one",
    })?;
    if bytes.len() as u64 == most {
        return Err("it is larger than any bundle");
    }
    files(&bytes).map_err(|_| "it is not a bundle: it is no tar archive, or a damaged one")
}

fn files(bytes: &[u8]) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(files)
}
