//! Programs at a vantage, beside its agent: what a person would start there.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Session, handover::Start};
use crate::{
    Error, ErrorKind, Result,
    command::{Command, Output},
    probe::{Agent, AgentBinary, ProgramFile, exec, install::Place},
};

impl Session {
    /// Runs `argv` at a vantage, to its end, whatever its exit code: as `cargo xtask shell` does.
    ///
    /// ```no_run
    /// # async fn test(session: &reachmap::session::Session) -> reachmap::Result<()> {
    /// let limit = std::time::Duration::from_secs(10);
    /// let said = session.run_at("laptop", &["curl", "-sS", "http://172.18.255.200/"], limit).await?;
    /// assert_eq!(said.code, Some(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such vantage, [`ErrorKind::Environment`] if the program cannot be started,
    /// [`ErrorKind::Deadline`] if it has not ended within `limit`.
    pub async fn run_at(&self, vantage: &str, argv: &[&str], limit: Duration) -> Result<Output> {
        self.run(self.place(vantage)?, vantage, argv, limit).await
    }

    /// Whether there is a program of that name at a vantage, where a shell would look for it.
    ///
    /// # Errors
    /// As [`Session::run_at`]; a place without a shell cannot be asked.
    pub async fn has_program(&self, vantage: &str, program: &str) -> Result<bool> {
        const LIMIT: Duration = Duration::from_secs(30);
        let said = self.run_at(vantage, &["sh", "-c", "command -v -- \"$1\"", "sh", program], LIMIT).await?;
        Ok(said.code == Some(0))
    }

    /// Runs `argv` on a node itself, as root: in the container that is the node.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the nodes are no containers beside the laptop, as in a cluster that we did not make; else as
    /// [`Session::run_at`].
    pub async fn run_on_node(&self, node: &str, argv: &[&str], limit: Duration) -> Result<Output> {
        self.run(self.node_place(node)?, node, argv, limit).await
    }

    /// The container that a node is.
    pub(super) fn node_place(&self, node: &str) -> Result<Place> {
        let engine = self.handover.vantages.iter().find_map(|site| match &site.start {
            Start::Container { engine, .. } => Some(engine.clone()),
            _ => None,
        });
        let no_engine = || Error::new(ErrorKind::Usage, format!("run on {node}"), "it is no container of ours");
        let engine = engine.ok_or_else(no_engine)?;
        Ok(Place::in_container(node, move |command| command.after(&engine)))
    }

    async fn run(&self, place: Place, at: &str, argv: &[&str], limit: Duration) -> Result<Output> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let tried = format!("run `{}` at {at}", argv.join(" "));
        let run = async move {
            let running = place.start(argv).await?;
            match timeout(limit, exec::finish(running, &[])).await {
                Ok(Ok(output)) => Ok(output),
                Ok(Err(why)) => Err(Error::new(ErrorKind::Environment, tried, why)),
                Err(_) => Err(Error::new(ErrorKind::Deadline, tried, format!("not ended after {limit:?}"))),
            }
        };
        // On the session's own runtime, which the client belongs to.
        self.on_runtime(run).await
    }

    /// Takes a program to a vantage, unless it is there; returns its path there.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such vantage; else as [`ProgramFile::put_in_pod`].
    pub async fn put_at(&self, vantage: &str, program: &ProgramFile) -> Result<String> {
        let (place, program) = (self.place(vantage)?, program.clone());
        let put = async move { program.put(&place).await };
        self.on_runtime(put).await
    }

    /// Starts an agent in a pod of the caller's own, such as one that is there to receive.
    ///
    /// # Errors
    /// As [`Agent::in_pod`].
    pub async fn agent_in(&self, namespace: &str, pod: &str, container: &str) -> Result<Agent> {
        let (client, binary) = (self.client.clone(), AgentBinary::read(&self.handover.agent)?);
        let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
        let start = async move { Agent::in_pod(&client, &namespace, &pod, &container, &binary).await };
        self.on_runtime(start).await
    }

    fn place(&self, vantage: &str) -> Result<Place> {
        let site = self.handover.site(vantage).ok_or_else(|| self.no_vantage(vantage))?;
        Ok(match &site.start {
            Start::Pod { namespace, pod, container } => Place::Pod {
                client: self.client.clone(),
                namespace: namespace.clone(),
                pod: pod.clone(),
                container: container.clone(),
            },
            Start::Container { engine, container } => {
                let engine = engine.clone();
                Place::in_container(container, move |command| command.after(&engine))
            }
            Start::Here => Place::Command { label: vantage.to_owned(), wrap: Arc::new(here) },
        })
    }
}

/// A command of this machine's own.
fn here(argv: Vec<String>) -> Command {
    let mut words = argv.into_iter();
    Command::new(words.next().unwrap_or_default()).args(words)
}
