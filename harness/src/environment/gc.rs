//! Removes what no live run owns, by what was recorded.

use std::future::Future;

use serde::Serialize;

use super::{
    cluster::{
        EngineAccess, EngineKind,
        lease::{destroy, lock_name},
        networks,
        record::{Record, directories},
    },
    engine::Sandbox,
    images::preparation,
};
use crate::{Error, ErrorCode, ErrorKind, Result, home::Home, progress::Progress, session::run::blocking};

mod edits;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use edits::clean;
pub use status::{ClusterStatus, existing_clusters, status, unreadable};

/// What a collection came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Collected {
    /// What was done, and what was left because a run holds it: a line each.
    pub done: Vec<String>,
    /// What could not be done.
    pub failed: Vec<Failure>,
}

/// Something that could not be removed or put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The cluster that it is about, by the name of its record; none if it is about an engine.
    pub cluster: Option<String>,
    /// A line for a person: what, and why.
    pub line: String,
}

impl Collected {
    /// All of it, a line each.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.done.iter().map(String::as_str).chain(self.failed.iter().map(|failure| failure.line.as_str()))
    }

    /// All of it but what [`of_own`](Self::of_own) ends with, a line each.
    pub fn lines_but_own(&self) -> impl Iterator<Item = &str> {
        let of_others = self.failed.iter().filter(|failure| failure.cluster.is_some());
        self.done.iter().map(String::as_str).chain(of_others.map(|failure| failure.line.as_str()))
    }

    /// Whether all is well on the clusters that the run called `run` has used.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what could not be removed or put back there.
    pub fn of_run(&self, home: &Home, run: &str) -> Result<()> {
        let is_its =
            |failure: &&Failure| failure.cluster.as_ref().is_some_and(|name| status::was_used(home, name, run));
        self.failures("clean up after the run", is_its)
    }

    /// Whether all is well but for clusters that others have left.
    ///
    /// ```
    /// use reachmap::environment::gc::{Collected, Failure};
    /// let failure = |cluster: Option<&str>| Failure { cluster: cluster.map(str::to_owned), line: "…".to_owned() };
    /// let others = Collected { failed: vec![failure(Some("theirs"))], ..Collected::default() };
    /// assert!(others.of_own().is_ok());
    /// let own = Collected { failed: vec![failure(None)], ..Collected::default() };
    /// assert!(own.of_own().is_err());
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with what could not be removed that is about no cluster: an engine, a network, what a
    /// build has left.
    pub fn of_own(&self) -> Result<()> {
        self.failures("clean up", |failure| failure.cluster.is_none())
    }

    fn failures(&self, tried: &str, counts: impl Fn(&&Failure) -> bool) -> Result<()> {
        let lines: Vec<&str> = self.failed.iter().filter(counts).map(|failure| failure.line.as_str()).collect();
        if lines.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Environment, tried, lines.join("; "))
            .with_code(ErrorCode::CleanUp)
            .hint("`cargo xtask gc` tries again."))
    }

    fn fail(&mut self, cluster: Option<&str>, what: &str, error: &Error) {
        let hint = error.hint_text().map_or_else(String::new, |hint| format!(" {hint}"));
        let line = format!("could not {what}: {error}.{hint}");
        self.failed.push(Failure { cluster: cluster.map(str::to_owned), line });
    }
}

/// Removes every recorded cluster whose lock is free, unless it is kept (or even then, if `all`), puts back edits
/// on existing clusters, and removes our networks that nobody stands on.
///
/// `engine` gives access to an engine, or `None` if that engine does not run. A cluster whose private engine has ended goes,
/// kept or not: nobody can use it any more. Whatever cannot be removed does not keep the rest from being removed.
///
/// # Errors
/// [`ErrorKind::Storage`] if the directory of the records cannot be listed.
pub async fn collect<F>(
    home: &Home,
    engine: impl Fn(EngineKind) -> F,
    all: bool,
    progress: &Progress,
) -> Result<Collected>
where
    F: Future<Output = Result<Option<EngineAccess>>>,
{
    let mut collected = Collected::default();
    let mut engines = Vec::new();
    // Before anything goes: that something is recorded may be all that leads to an engine.
    for kind in [EngineKind::Docker, EngineKind::Sandbox] {
        match engine(kind).await {
            Ok(access) => engines.extend(access),
            Err(error) => collected.fail(None, &format!("reach the engine {}", kind.as_str()), &error),
        }
    }
    for name in directories(home)? {
        match one(home, &engines, &name, all, progress).await {
            Ok(line) => collected.done.extend(line),
            Err(error) => collected.fail(Some(&name), &format!("clean up the cluster {name}"), &error),
        }
    }
    for access in &engines {
        match preparation::remove_left(home, access).await {
            Ok(lines) => collected.done.extend(lines),
            Err(error) => collected.fail(None, "remove what a killed build left", &error),
        }
        match networks::remove_unused(home, access, progress).await {
            Ok(lines) => collected.done.extend(lines),
            Err(error) => collected.fail(None, "remove networks", &error),
        }
    }
    Ok(collected)
}

/// Sees to one recorded cluster, and says what was done.
async fn one(
    home: &Home,
    engines: &[EngineAccess],
    name: &str,
    all: bool,
    progress: &Progress,
) -> Result<Option<String>> {
    let Some(_lock) = home.try_lock(&lock_name(name))? else {
        return Ok(Some(format!("left the cluster {name}: a run holds it")));
    };
    let Some(record) = Record::read(home, name)? else {
        return edits::clean_existing(home, name, all).await;
    };
    let access = engines.iter().find(|access| access.kind == record.config.engine);
    match access {
        None => forget(home, &record, progress).await.map(Some),
        Some(access) if record.is_kept() && !all => edits::put_back(home, access, &record).await,
        Some(access) => {
            destroy(home, access, record, progress).await?;
            Ok(Some(format!("removed the cluster {name}")))
        }
    }
}

/// Removes a cluster whose engine has ended, and with it what was in it. The caller holds the cluster's lock.
///
/// # Errors
/// [`ErrorKind::Environment`] if the engine is the user's, or lives after all; [`ErrorKind::Storage`] if something cannot be
/// removed.
pub(crate) async fn forget(home: &Home, record: &Record, progress: &Progress) -> Result<String> {
    let name = &record.name;
    let stays = |why: &str| Err(Error::new(ErrorKind::Environment, format!("remove the cluster {name}"), why));
    if record.config.engine == EngineKind::Docker {
        return stays("its engine does not run");
    }
    let (cleared_home, progress) = (home.clone(), progress.clone());
    if !blocking(move || Sandbox::clear_if_dead(&cleared_home, &progress)).await? {
        return stays("its engine has just been started");
    }
    Record::remove(home, name)?;
    Ok(format!("removed the cluster {name}, which had ended with its engine"))
}
