//! What is recorded of clusters, for people.

use jiff::Timestamp;

use crate::{
    Error, Result,
    environment::cluster::{
        existing,
        lease::lock_name,
        record::{Phase, Record, directories},
    },
    home::Home,
};

/// What `status` shows of one cluster without asking it anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// What is recorded of it.
    pub record: Record,
    /// Whether a live run holds it.
    pub held: bool,
    /// How old it is, in seconds.
    pub age_seconds: i64,
    /// Whether cluster-wide edits may have to be put back.
    pub journaled: bool,
}

impl ClusterStatus {
    /// One line for a person.
    pub fn line(&self) -> String {
        let state = match (self.record.phase, self.held) {
            (Phase::Ready, true) => "in use",
            (Phase::Ready, false) => "free",
            (_, true) => "being made or deleted",
            (_, false) => "half made: the next run makes it anew",
        };
        let kept = if self.record.is_kept() { ", kept" } else { "" };
        let journaled = if self.journaled { ", edits to put back" } else { "" };
        let minutes = self.age_seconds / 60;
        format!("{}: {state}{kept}, {minutes} min old{journaled}", self.record.name)
    }
}

/// Every recorded cluster whose record can be read.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the records cannot be read.
pub fn status(home: &Home) -> Result<Vec<ClusterStatus>> {
    let mut all = Vec::new();
    for record in Record::all(home)?.readable {
        let held = home.try_lock(&lock_name(&record.name))?.is_none();
        let age_seconds = Timestamp::now().as_second() - record.created_at.as_second();
        let journaled = Record::journal_note(home, &record.name).exists();
        all.push(ClusterStatus { record, held, age_seconds, journaled });
    }
    Ok(all)
}

/// Every existing cluster on which there is something of ours, as far as its record can be read.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the directory of the records cannot be listed.
pub fn existing_clusters(home: &Home) -> Result<Vec<existing::Record>> {
    let all = directories(home)?;
    Ok(all.iter().filter_map(|id| existing::Record::read(home, id).ok().flatten()).collect())
}

/// The records that cannot be read, a line each.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the directory of the records cannot be listed.
pub fn unreadable(home: &Home) -> Result<Vec<String>> {
    let existing = directories(home)?.into_iter().filter_map(|id| existing::Record::read(home, &id).err());
    let own = Record::all(home)?.unreadable.into_iter().map(|(_, error)| error);
    let line = |error: Error| match error.hint_text() {
        Some(hint) => format!("{error}. {hint}"),
        None => error.to_string(),
    };
    Ok(own.chain(existing).map(line).collect())
}

/// Whether the run called `run` has used the recorded cluster called `name`, one of ours or not.
pub(super) fn was_used(home: &Home, name: &str, run: &str) -> bool {
    let own = Record::read(home, name).ok().flatten();
    let existing = existing::Record::read(home, name).ok().flatten();
    own.is_some_and(|record| record.runs.iter().any(|used| used.id == run))
        || existing.is_some_and(|record| record.runs.iter().any(|used| used == run))
}
