//! What runs containers: the Docker engine that is there, or a private one in namespaces of its own.

use std::path::{Path, PathBuf};

use crate::{
    Error, ErrorCode, ErrorKind, Result,
    command::Command,
    environment::cluster::EngineKind,
    home::{Home, Lock},
    plan::EngineChoice,
    progress::Progress,
};

mod limits;
pub mod sandbox;

pub use sandbox::Sandbox;

/// What runs containers.
#[derive(Debug, Clone)]
pub enum Engine {
    /// The engine that the `docker` program reaches, by `DOCKER_HOST` and its contexts.
    Docker,
    /// A private engine in namespaces of its own, with no way out.
    Sandbox(Sandbox),
}

/// What decides which engine `auto` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What `docker info` said: the server's version, or why there is none.
    pub docker: std::result::Result<String, String>,
    /// Whether this is Linux.
    pub linux: bool,
    /// Whether this process is root.
    pub root: bool,
}

impl Facts {
    /// Looks at this machine.
    pub fn learn() -> Self {
        Self { docker: docker_version(), linux: cfg!(target_os = "linux"), root: rustix::process::geteuid().is_root() }
    }

    /// Which engine `choice` comes to here, and why.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] with what to install.
    ///
    /// ```
    /// use reachmap::{environment::engine::Facts, plan::EngineChoice};
    /// let facts = Facts { docker: Err("no such program".into()), linux: true, root: true };
    /// assert_eq!(facts.decide(EngineChoice::Auto).unwrap().0, EngineChoice::Sandbox);
    /// ```
    pub fn decide(&self, choice: EngineChoice) -> Result<(EngineChoice, String)> {
        let sandbox = self.linux && self.root;
        match (choice, &self.docker) {
            (EngineChoice::Auto | EngineChoice::Docker, Ok(version)) => {
                Ok((EngineChoice::Docker, format!("`docker info` answers: server version {version}")))
            }
            (EngineChoice::Docker, Err(why)) => {
                Err(Error::new(ErrorKind::Missing, "use the Docker engine", why).with_code(ErrorCode::NoEngine).hint(
                    "Start it, point DOCKER_HOST or `docker context use` at one that runs, or choose --engine sandbox.",
                ))
            }
            (EngineChoice::Auto, Err(why)) if sandbox => {
                Ok((EngineChoice::Sandbox, format!("no Docker engine answers ({why}); this is Linux and we are root")))
            }
            (EngineChoice::Sandbox, _) if sandbox => Ok((EngineChoice::Sandbox, "as chosen".to_owned())),
            (EngineChoice::Auto | EngineChoice::Sandbox, _) => {
                let why = if self.linux { "this process is not root" } else { "this is not Linux" };
                Err(Error::new(ErrorKind::Missing, "find something to run containers", why)
                    .with_code(ErrorCode::NoEngine)
                    .hint(
                        "Either start a Docker engine that `docker info` reaches, or run as root on Debian or Ubuntu, \
                     where a private engine is built from the distribution's packages.",
                    ))
            }
        }
    }
}

fn docker_version() -> std::result::Result<String, String> {
    let asked = Command::new("docker")
        .args(["info", "--format", "{{.ServerVersion}}"])
        .deadline(std::time::Duration::from_secs(10))
        .output();
    match asked {
        Ok(output) if output.code == Some(0) && !output.text().is_empty() => Ok(output.text()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(said.lines().next().unwrap_or("`docker info` failed without a word").trim().to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Finds or starts the engine that `choice` comes to here.
///
/// # Errors
/// [`ErrorKind::Missing`] with what to install; [`ErrorKind::Environment`] if it does not start.
pub fn choose(choice: EngineChoice, home: &Home, progress: &Progress) -> Result<Engine> {
    match Facts::learn().decide(choice)?.0 {
        EngineChoice::Sandbox => Ok(Engine::Sandbox(Sandbox::start(home, progress)?)),
        _ => Ok(Engine::Docker),
    }
}

/// Holds the private engine: as long as one of these lives, nobody stops it.
///
/// # Errors
/// [`ErrorKind::Storage`] if the lock file cannot be made.
pub fn hold(home: &Home) -> Result<Lock> {
    home.lock_shared("engine-use")
}

impl Engine {
    /// Which of the two it is, as clusters record it.
    pub fn kind(&self) -> EngineKind {
        match self {
            Self::Docker => EngineKind::Docker,
            Self::Sandbox(_) => EngineKind::Sandbox,
        }
    }

    /// The same command, so that it runs against this engine.
    ///
    /// Paths among its arguments must be as they are seen there: see [`Engine::inside`].
    pub fn command(&self, command: Command) -> Command {
        match self {
            Self::Docker => command,
            Self::Sandbox(sandbox) => sandbox.command(command),
        }
    }

    /// Where ports that containers publish on loopback are reached; the process's own network if absent.
    pub fn network_namespace(&self) -> Option<PathBuf> {
        match self {
            Self::Docker => None,
            Self::Sandbox(sandbox) => Some(sandbox.network_namespace()),
        }
    }

    /// A path below the home, as this engine's commands see it.
    pub fn inside(&self, path: &Path) -> PathBuf {
        match self {
            Self::Docker => path.to_owned(),
            Self::Sandbox(sandbox) => sandbox.inside(path),
        }
    }

    /// Where the engine's root directory is seen from here; ours if absent.
    pub fn root(&self) -> Option<PathBuf> {
        match self {
            Self::Docker => None,
            Self::Sandbox(sandbox) => Some(sandbox.root()),
        }
    }

    /// Its name in reports and records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Docker => EngineKind::Docker.as_str(),
            Self::Sandbox(_) => EngineKind::Sandbox.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(docker: bool, linux: bool, root: bool) -> Facts {
        let docker = if docker { Ok("26.1.5".to_owned()) } else { Err("cannot connect".to_owned()) };
        Facts { docker, linux, root }
    }

    #[test]
    fn auto_prefers_the_engine_that_is_there() {
        for (docker, root, expected) in [
            (true, true, EngineChoice::Docker),
            (true, false, EngineChoice::Docker),
            (false, true, EngineChoice::Sandbox),
        ] {
            assert_eq!(facts(docker, true, root).decide(EngineChoice::Auto).unwrap().0, expected);
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_what_to_do() {
        for (facts, choice) in [
            (facts(false, true, false), EngineChoice::Auto),
            (facts(false, false, true), EngineChoice::Auto),
            (facts(false, true, true), EngineChoice::Docker),
            (facts(true, true, false), EngineChoice::Sandbox),
        ] {
            let error = facts.decide(choice).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Missing);
            assert!(error.hint_text().is_some(), "{error}");
        }
    }
}
