//! The end of a run, however it ended: by what is recorded, never by what the run remembers.

use super::{
    EngineAccess, access,
    cluster::{EngineKind, networks, record::Record},
    engine::{Engine, Sandbox},
    gc::{self, Collected},
    images::{self, preparation},
};
use crate::{Result, home::Home, progress::Progress, session::run::blocking};

/// Puts back every edit and removes everything that no live run owns and nobody keeps (`all`: kept clusters too);
/// stops the private engine if nothing is left in it. Returns what it did, and what it could not do.
///
/// # Errors
/// If the records cannot be listed, or the engine does not end.
pub async fn release(home: &Home, all: bool, progress: &Progress) -> Result<Collected> {
    let mut collected = gc::collect(home, |kind| std::future::ready(running(home, kind)), all, progress).await?;
    let records = Record::all(home)?;
    let in_engine = |record: &Record| record.config.engine == EngineKind::Sandbox;
    // One that cannot be read may be in it.
    if !records.readable.iter().any(in_engine) && records.unreadable.is_empty() {
        let (home, progress) = (home.clone(), progress.clone());
        if blocking(move || Sandbox::stop_if_unused(&home, &progress)).await? {
            collected.done.push("stopped the private engine".to_owned());
        }
    }
    Ok(collected)
}

/// Access to the engine of that kind, if it runs.
pub(crate) fn running(home: &Home, kind: EngineKind) -> Result<Option<EngineAccess>> {
    let engine = match kind {
        EngineKind::Sandbox => Sandbox::running(home).map(Engine::Sandbox),
        // Nothing of ours is in the user's engine unless a record says so.
        EngineKind::Docker => {
            let has_cluster = Record::all(home)?.readable.iter().any(|record| record.config.engine == kind);
            let has_other = preparation::is_left(home, kind) || networks::may_be_left(home, kind);
            (has_cluster || has_other).then_some(Engine::Docker)
        }
    };
    Ok(engine.map(|engine| access(&engine, &images::kind_program(&engine, home))))
}
