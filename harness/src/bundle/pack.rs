//! From what was gathered to the file: scrubbed, within the limits, with a manifest.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Contents, FACTS, FILE, FILE_LIMIT, Manifest, Part, RecordedState, SIZE_LIMIT, Scrubber, VERSION,
    contents::{File, Side},
    half_made,
};
use crate::{
    Context as _, ErrorKind, Result, command,
    environment::cluster::logs::NODES,
    home::write_atomically,
    report::{self, Run},
    state::State,
};

/// How much of each log of the run's own is kept.
const LOG: usize = 64 << 10;

/// What a run itself knows: its report, the states that its failed expectations were derived from, and its own logs.
///
/// `directory` is the run's. What is not there is listed as missing.
pub fn of_run(run: &Run, directory: &Path) -> Contents {
    let mut contents = Contents::default();
    contents.add("report.json", "the run, as in its directory", report::json(run));
    for (suite, stage) in run.failed_places() {
        add_state(&mut contents, run, directory, &suite, &stage);
    }
    add_logs(&mut contents, &directory.join("logs"));
    add_node_logs(&mut contents, &directory.join("logs"));
    add_facts(&mut contents, run, &directory.join("logs"));
    contents
}

/// The state that a suite found in a stage: its own file if there is one, else the stage's.
fn add_state(contents: &mut Contents, run: &Run, directory: &Path, suite: &str, stage: &str) {
    let path = format!("states/{suite}.{stage}.json");
    let own = command::read_text(&directory.join("states").join(stage).join(format!("{suite}.json")));
    let own: Option<State> = own.ok().and_then(|text| serde_json::from_str(&text).ok());
    let Some(state) = own.or_else(|| run.state_in(stage).cloned()) else {
        contents.miss(path, "the suite ended before it had read the cluster's state");
        return;
    };
    let recorded = RecordedState { version: VERSION, suite: suite.to_owned(), stage: stage.to_owned(), state };
    match serde_json::to_string_pretty(&recorded) {
        Ok(text) => contents.add(path, "the state that the expectations were derived from", text),
        Err(error) => contents.miss(path, error.to_string()),
    }
}

/// The end of each file in the run's own `logs`.
fn add_logs(contents: &mut Contents, logs: &Path) {
    let Ok(entries) = fs::read_dir(logs) else { return };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    paths.sort();
    for file in paths {
        let Some(name) = file.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let path = format!("logs/{name}");
        match fs::read(&file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                contents.files.push(File::limited(
                    path,
                    "what a step of the run printed".to_owned(),
                    text,
                    Side::Tail,
                    LOG,
                ));
            }
            Err(error) => contents.miss(path, error.to_string()),
        }
    }
}

/// The end of each log of the nodes that the run kept because something failed before a suite could.
fn add_node_logs(contents: &mut Contents, logs: &Path) {
    let mut paths = Vec::new();
    for directory in entries(logs).filter(|path| path.extension().is_some_and(|extension| extension == NODES)) {
        add_files_below(&directory, &mut paths);
    }
    paths.sort();
    for file in paths.iter().filter(|file| file.extension().is_some_and(|extension| extension == "log")) {
        let path = format!("logs/{}", file.strip_prefix(logs).unwrap_or(file).display());
        match fs::read(file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                contents.files.push(File::limited(path, "a log of a node".to_owned(), text, Side::Tail, LOG));
            }
            Err(error) => contents.miss(path, error.to_string()),
        }
    }
}

/// What a cluster said that no environment came of, or why nobody was asked.
fn add_facts(contents: &mut Contents, run: &Run, logs: &Path) {
    let mut kept: Vec<PathBuf> =
        entries(logs).filter(|path| path.extension().is_some_and(|extension| extension == FACTS)).collect();
    kept.sort();
    for directory in &kept {
        contents.extend(half_made::kept(directory));
    }
    if kept.is_empty() && run.failure.is_some() && run.environment == report::Environment::default() {
        contents.miss("facts", "the run ended before there was a cluster to ask");
    }
}

/// The files in a directory and in those below it, but for links, which lead out of it.
fn add_files_below(directory: &Path, paths: &mut Vec<PathBuf>) {
    for path in entries(directory).filter(|path| !path.is_symlink()) {
        if path.is_dir() {
            add_files_below(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Writes the bundle of the run called `run` into its directory, and returns its path.
///
/// # Errors
/// [`ErrorKind::Storage`] if it cannot be written.
pub fn write(run: &str, contents: Contents, scrubber: &Scrubber, directory: &Path) -> Result<PathBuf> {
    let path = directory.join(FILE);
    write_atomically(&path, &pack(run, contents, scrubber)?)?;
    Ok(path)
}

/// The bundle's bytes: a gzip-compressed tar archive whose first file is the manifest.
///
/// Every file goes through the scrubber here, and nowhere else: there is no way around it. Of what exceeds the limits
/// the manifest says what was left out.
///
/// # Errors
/// [`ErrorKind::Internal`] if the archive cannot be made.
pub fn pack(run: &str, contents: Contents, scrubber: &Scrubber) -> Result<Vec<u8>> {
    pack_within((FILE_LIMIT, SIZE_LIMIT), run, contents, scrubber)
}

/// The same within other limits, for one file and for all together.
pub(super) fn pack_within(
    (file_limit, size_limit): (usize, usize),
    run: &str,
    contents: Contents,
    scrubber: &Scrubber,
) -> Result<Vec<u8>> {
    let tried = || format!("pack the bundle of the run {run}");
    let Contents { files, mut missing } = contents;
    let (mut packed, mut parts, mut size) = (Vec::new(), Vec::new(), 0);
    for file in files {
        let is_report = file.path == "report.json" || file.path.starts_with("states/");
        let (text, scrubbed) = scrub(&file, scrubber);
        if size + text.len() > size_limit || (text.len() > file_limit && !is_report) {
            let why = format!("it has {} bytes, for which there is no room", text.len());
            missing.push(super::Missing { path: file.path, why });
            continue;
        }
        size += text.len();
        parts.push(Part { path: file.path.clone(), about: file.about, bytes: text.len(), cut: file.cut, scrubbed });
        packed.push((file.path, text));
    }
    for one in &mut missing {
        one.why = scrubber.text(&one.why).0;
    }
    let written = Timestamp::now();
    let written = Timestamp::from_second(written.as_second()).unwrap_or(written);
    let reachmap = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { version: VERSION, reachmap, run: run.to_owned(), written, parts, missing };
    let manifest = serde_json::to_string_pretty(&manifest).tried(ErrorKind::Internal, tried)?;
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let time = u64::try_from(written.as_second()).unwrap_or_default();
    for (path, text) in std::iter::once(("manifest.json".to_owned(), manifest)).chain(packed) {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(time);
        archive.append_data(&mut header, &path, text.as_bytes()).tried(ErrorKind::Internal, tried)?;
    }
    let mut compressed = archive.into_inner().tried(ErrorKind::Internal, tried)?;
    compressed.flush().tried(ErrorKind::Internal, tried)?;
    compressed.finish().tried(ErrorKind::Internal, tried)
}

/// The text without secrets, and how many passages were replaced. JSON stays JSON.
fn scrub(file: &File, scrubber: &Scrubber) -> (String, usize) {
    let is_json = Path::new(&file.path).extension().is_some_and(|extension| extension == "json");
    let value = is_json.then(|| serde_json::from_str::<Value>(&file.text).ok()).flatten();
    let Some(mut value) = value else { return scrubber.text(&file.text) };
    match scrubber.json(&mut value) {
        // As it was, with its fields in their order.
        0 => (file.text.clone(), 0),
        taken => (serde_json::to_string_pretty(&value).unwrap_or_default(), taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_of_the_nodes_that_a_run_kept_are_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let nodes = logs.join("keep-the-logs-of-the-nodes.nodes");
        for (path, text) in [("t-worker/kubelet.log", "not pulled\n"), ("t-worker/inspect.json", "{}")] {
            write_atomically(&nodes.join(path), text.as_bytes()).unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", nodes.join("t-worker/link.log")).unwrap();
        let contents = of_run(&Run::started("r1", &[]), dir.path());
        let files: Vec<(&str, &str)> =
            contents.files.iter().skip(1).map(|file| (file.path.as_str(), file.text.as_str())).collect();
        assert_eq!(files, [("logs/keep-the-logs-of-the-nodes.nodes/t-worker/kubelet.log", "not pulled\n")]);
    }
}
