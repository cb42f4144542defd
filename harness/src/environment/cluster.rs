//! A kind cluster that we made, or one named by a kubeconfig.

pub mod connect;
mod containers;
pub mod existing;
pub(crate) mod facts;
pub mod kind;
mod laptop;
pub mod lease;
pub(crate) mod logs;
pub mod network;
pub(crate) mod networks;
pub mod record;
pub mod registry;

use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Context as _, ErrorKind, Result,
    command::{Command, Output},
};

/// Which engine a cluster's containers run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// The user's Docker engine.
    Docker,
    /// The private engine.
    Sandbox,
}

impl EngineKind {
    /// Its name in reports and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Sandbox => "sandbox",
        }
    }
}

/// How the cluster's part of the environment reaches the engine: nothing else of it matters here.
#[derive(Clone)]
pub struct EngineAccess {
    /// Which engine it is.
    pub kind: EngineKind,
    /// Where ports that containers publish on loopback are reached; `None` means our own network namespace.
    pub network_namespace: Option<PathBuf>,
    /// Where the engine's root directory is seen from here, such as `/proc/4711/root`; `None` means it is ours.
    pub root: Option<PathBuf>,
    /// The program `kind`, as the engine's commands see it.
    pub kind_program: String,
    wrap: Arc<dyn Fn(Command) -> Command + Send + Sync>,
}

impl EngineAccess {
    /// Access through `wrap`, which rewrites a command so that it runs against the engine.
    pub fn new(
        kind: EngineKind,
        kind_program: impl Into<String>,
        wrap: impl Fn(Command) -> Command + Send + Sync + 'static,
    ) -> Self {
        Self { kind, network_namespace: None, root: None, kind_program: kind_program.into(), wrap: Arc::new(wrap) }
    }

    /// The command as it has to be run.
    pub fn command(&self, command: Command) -> Command {
        (self.wrap)(command)
    }
}

impl fmt::Debug for EngineAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineAccess").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Runs a command whose exit code is part of its answer, without blocking the async runtime.
async fn output(command: Command) -> Result<Output> {
    tokio::task::spawn_blocking(move || command.output())
        .await
        .tried(ErrorKind::Internal, || "join a command's thread")?
}
