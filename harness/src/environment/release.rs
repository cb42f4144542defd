//! The end of a run, however it ended: by what is recorded, never by what the run remembers.

use super::{
    EngineAccess, access,
    cluster::{EngineKind, record::Record},
    engine::{Engine, Sandbox},
    gc,
    images::{self, preparation},
};
use crate::{Result, home::Home, progress::Progress};

/// Puts back every edit and removes everything that no live run owns and nobody keeps (`all`: kept clusters too);
/// stops the private engine if nothing is left in it. Says what it did, one line each.
///
/// # Errors
/// If the records cannot be read, or the engine does not end.
pub async fn release(home: &Home, all: bool, progress: &Progress) -> Result<Vec<String>> {
    let mut done = gc::collect(home, |kind| std::future::ready(running(home, kind)), all).await?;
    let engine_has_clusters = Record::all(home)?.iter().any(|record| record.config.engine == EngineKind::Sandbox);
    if !engine_has_clusters {
        let (home, progress) = (home.clone(), progress.clone());
        if crate::session::run::blocking(move || Sandbox::stop_if_unused(&home, &progress)).await? {
            done.push("stopped the private engine".to_owned());
        }
    }
    Ok(done)
}

/// Access to the engine of that kind, if it runs.
pub(crate) fn running(home: &Home, kind: EngineKind) -> Result<Option<EngineAccess>> {
    let engine = match kind {
        EngineKind::Sandbox => Sandbox::running(home).map(Engine::Sandbox),
        // Nothing of ours is in the user's engine unless a record says so.
        EngineKind::Docker => {
            let has_cluster = Record::all(home)?.iter().any(|record| record.config.engine == kind);
            (has_cluster || preparation::is_left(home, kind)).then_some(Engine::Docker)
        }
    };
    Ok(engine.map(|engine| access(&engine, &images::kind_program(&engine, home))))
}
