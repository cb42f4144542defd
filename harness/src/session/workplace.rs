//! Where a command that makes an environment works: its home, its directory, its progress.

use std::path::Path;

use super::{directory::RunDirectory, run::show};
use crate::{
    Result,
    environment::{self, open_home},
    home::Home,
    plan::EnvironmentOptions,
    progress::Progress,
};

/// What every such command begins with.
#[derive(Debug, Clone)]
pub(crate) struct Workplace {
    /// The home that the user chose, with what a killed run left running ended.
    pub(crate) home: Home,
    /// The directory of this run.
    pub(crate) run: RunDirectory,
    /// What its steps are shown with; their logs are in the run's directory.
    pub(crate) progress: Progress,
}

impl Workplace {
    /// Opens the home, refuses options that cannot work here, and makes the run's directory below `reports`.
    ///
    /// # Errors
    /// Those of [`open_home`], [`environment::check`] and [`RunDirectory::create`].
    pub(crate) async fn open(options: &EnvironmentOptions, reports: Option<&Path>) -> Result<Self> {
        let home = open_home(options.cache_dir.as_deref())?;
        environment::check(options, &home).await?;
        let run = RunDirectory::create(reports)?;
        let progress = Progress::new(show(), run.path.join("logs"));
        Ok(Self { home, run, progress })
    }
}
