//! A handle on one running agent.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{
    AgentBinary, LoadUnderWay, exec,
    install::{self, Place},
    link::{self, Pending},
};
use crate::{
    Error, ErrorCode, ErrorKind, Result,
    command::Command,
    load::LoadResult,
    wire::{
        Action, Background, Hello, Load, Lookup, Observation, Outcome, PROTOCOL, Probe, Recorded, Recording, Request,
        Resolve,
    },
};

/// How many requests are with an agent at once, over all handles; more wait for their turn.
const IN_FLIGHT: usize = 512;

/// How long an answer may take beyond the time that the request itself allows.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// As long as the agent gives a lookup on its own.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// A running agent; clones share it, and it ends when the last of them is dropped.
///
/// Calls may be made at the same time, as many as one likes: they are pipelined and matched by id. While
/// a handle lives, the agent is kept alive by a ping every five seconds; when the process of the handle is
/// gone, however it went, the agent ends by itself. A handle belongs to the tokio runtime that made it.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

struct Shared {
    label: String,
    requests: mpsc::UnboundedSender<Vec<u8>>,
    pending: Pending,
    next_id: AtomicU64,
    slots: Semaphore,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("label", &self.shared.label).finish_non_exhaustive()
    }
}

impl Agent {
    /// Uploads the agent to a container of a pod, unless it is there, and starts it.
    ///
    /// The container needs `sh`, `cat`, `chmod` and `mv`, and a writable directory `/agent` (an emptyDir).
    /// The caller needs the permission to create `pods/exec`.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] or [`ErrorKind::Deadline`], naming the pod and what was said there.
    pub async fn in_pod(
        client: &kube::Client,
        namespace: &str,
        pod: &str,
        container: &str,
        binary: &AgentBinary,
    ) -> Result<Self> {
        let place = Place::Pod {
            client: client.clone(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        };
        Self::install(&place, binary).await
    }

    /// Uploads the agent to a running container of an engine, unless it is there, and starts it.
    ///
    /// `engine` turns a `docker …` command into one that reaches the engine. The container needs `sh`,
    /// `cat`, `chmod`, `mv` and `mkdir`, and a root file system that can be written to.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] or [`ErrorKind::Deadline`], naming the container and what was said there;
    /// [`ErrorKind::Missing`] if the engine's program is not there.
    pub async fn in_container(
        engine: impl Fn(Command) -> Command + Send + Sync + 'static,
        container: &str,
        binary: &AgentBinary,
    ) -> Result<Self> {
        Self::install(&Place::in_container(container, engine), binary).await
    }

    /// Starts `command`, which must become an agent, as a child of this process.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if the program is not there, [`ErrorKind::Environment`] or
    /// [`ErrorKind::Deadline`] if it does not answer.
    pub async fn spawn(command: Command) -> Result<Self> {
        Self::open(command.program.clone(), exec::child(&command)?).await
    }

    async fn install(place: &Place, binary: &AgentBinary) -> Result<Self> {
        Self::open(place.label(), install::start(place, binary).await?).await
    }

    /// Takes over a running agent, once it has said that it speaks our protocol.
    async fn open(label: String, running: exec::Running) -> Result<Self> {
        let (requests, pending) = link::open(running);
        let slots = Semaphore::new(IN_FLIGHT);
        let next_id = AtomicU64::new(link::PING_ID + 1);
        let agent = Self { shared: Arc::new(Shared { label, requests, pending, next_id, slots }) };
        let protocol = agent.hello().await?.protocol;
        if protocol == PROTOCOL {
            return Ok(agent);
        }
        Err(Error::new(
            ErrorKind::Usage,
            format!("speak with the agent in {}", agent.label()),
            format!("it speaks protocol {protocol}, and this library {PROTOCOL}"),
        )
        .hint("Unset REACHMAP_AGENT, or let it name an agent of the same version."))
    }

    /// What errors call this vantage: `pod shop/testpod`, `container laptop`.
    pub fn label(&self) -> &str {
        &self.shared.label
    }

    /// Asks where the agent stands: host name, resolver configuration, addresses, routes.
    ///
    /// # Errors
    /// If the agent is lost, or cannot read its own configuration.
    pub async fn hello(&self) -> Result<Hello> {
        match self.call(Action::Hello, ANSWER_LIMIT).await? {
            Outcome::Hello(hello) => Ok(hello),
            other => Err(self.unexpected("say hello", &other)),
        }
    }

    /// Sends one HTTP request from the vantage and returns every step of it.
    ///
    /// # Errors
    /// If the agent is lost, or if the request makes no sense (a path without `/`, say). A target
    /// that cannot be reached is no error but an observation.
    pub async fn probe(&self, probe: Probe) -> Result<Observation> {
        let limit = Duration::from_millis(probe.timeout_ms).saturating_add(ANSWER_LIMIT);
        match self.call(Action::Probe(probe), limit).await? {
            Outcome::Observation(observation) => Ok(*observation),
            other => Err(self.unexpected("probe", &other)),
        }
    }

    /// Resolves a name as the vantage does, search path and all, and returns every question asked.
    ///
    /// # Errors
    /// If the agent is lost. A name that does not resolve is no error.
    pub async fn resolve(&self, lookup: Lookup) -> Result<Resolve> {
        match self.call(Action::Resolve(lookup), LOOKUP_LIMIT + ANSWER_LIMIT).await? {
            Outcome::Resolve(resolve) => Ok(resolve),
            other => Err(self.unexpected("resolve a name", &other)),
        }
    }

    /// Lets another resolver look a name up, and returns what it asked and how it ended.
    ///
    /// The agent makes one such lookup at a time, and others beside it only if they keep their sockets: more wait,
    /// within the time that each allows.
    ///
    /// # Errors
    /// If the agent is lost, or cannot listen where the vantage's `resolv.conf` sends questions to.
    pub async fn record(&self, recording: Recording) -> Result<Recorded> {
        let limit = Duration::from_millis(recording.timeout_ms).saturating_add(ANSWER_LIMIT);
        match self.call(Action::Record(recording), limit).await? {
            Outcome::Recorded(recorded) => Ok(recorded),
            other => Err(self.unexpected("record a lookup", &other)),
        }
    }

    /// Starts a load, and returns what is under way.
    ///
    /// It goes on beside any other calls. It ends when it has done enough, when it is stopped, or when what is returned
    /// is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the agent is lost.
    pub fn start_load(&self, load: Load) -> Result<LoadUnderWay> {
        let shared = &self.shared;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let replies = shared.pending.expect_many(id);
        let replies = replies.map_err(|why| self.lost(&format!("load {}", load.destination), why))?;
        // A failed send means that the agent is gone: the replies' channel tells why.
        let _ = shared.requests.send(link::line(&Request { id, action: Action::Load(load.clone()) }));
        Ok(LoadUnderWay::new(self.clone(), id, load, replies))
    }

    /// Carries a load out from here, and returns all that became of it.
    ///
    /// # Errors
    /// As [`LoadUnderWay::next`].
    pub async fn load(&self, load: Load) -> Result<LoadResult> {
        self.start_load(load)?.finish().await
    }

    /// Lets the load of that id start no further request, and waits for nothing.
    pub(super) fn stop_load(&self, load: u64) {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        // A failed send means that the agent is gone, and its load with it.
        let _ = self.shared.requests.send(link::line(&Request { id, action: Action::StopLoad(load) }));
    }

    /// Nobody takes the replies to `id` any longer.
    pub(super) fn forget(&self, id: u64) {
        self.shared.pending.forget(id);
    }

    /// The error of a call whose agent is gone.
    pub(super) fn lost(&self, what: &str, why: impl Into<Option<String>>) -> Error {
        let why = why.into().or_else(|| self.shared.pending.lost()).unwrap_or_default();
        let tried = format!("have the agent in {} answer ({what})", self.shared.label);
        Error::new(ErrorKind::Environment, tried, format!("the agent is gone: {why}")).with_code(ErrorCode::AgentGone)
    }

    /// One request and its reply.
    pub(super) async fn call(&self, action: Action, limit: Duration) -> Result<Outcome> {
        self.call_with_id(action, limit).await.map(|(_, outcome)| outcome)
    }

    /// The same with the request's id, by which a later one names it.
    pub(super) async fn call_with_id(&self, action: Action, limit: Duration) -> Result<(u64, Outcome)> {
        let shared = &*self.shared;
        let tried = || {
            let what = match &action {
                Action::Hello => "greet it".to_owned(),
                Action::Ping => "ping it".to_owned(),
                Action::Probe(probe) => format!("probe {}:{}", probe.host, probe.port),
                Action::Resolve(lookup) => format!("resolve {}", lookup.name),
                Action::Record(recording) => format!("record {:?}", recording.asker),
                Action::Load(load) => format!("load {}", load.destination),
                Action::StopLoad(id) => format!("stop load {id}"),
                Action::Start(Background::SendDatagrams(send)) => format!("send datagrams to {}", send.destination),
                Action::Start(Background::ReceiveDatagrams { port }) => format!("receive datagrams at {port}"),
                Action::Start(Background::WatchArp(watch)) => format!("watch ARP for {:?}", watch.addresses),
                Action::End(id) => format!("end what {id} has started"),
            };
            format!("have the agent in {} answer ({what})", shared.label)
        };
        let lost = |why: String| {
            Error::new(ErrorKind::Environment, tried(), format!("the agent is gone: {why}"))
                .with_code(ErrorCode::AgentGone)
        };
        // A semaphore that is never closed always has a permit in the end.
        let _slot = shared.slots.acquire().await;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let reply = shared.pending.expect(id).map_err(lost)?;
        // Also when the caller gives up and drops this future.
        let _waiting = Waiting { pending: &shared.pending, id };
        // A failed send means that the agent is gone: the reply's channel tells why.
        let _ = shared.requests.send(link::line(&Request { id, action: action.clone() }));
        match timeout(limit, reply).await {
            Ok(Ok(outcome)) => Ok((id, outcome)),
            Ok(Err(_closed)) => Err(lost(shared.pending.lost().unwrap_or_default())),
            Err(_) => Err(Error::new(ErrorKind::Deadline, tried(), format!("no answer after {limit:?}"))),
        }
    }

    pub(super) fn unexpected(&self, what: &str, outcome: &Outcome) -> Error {
        let tried = format!("have the agent in {} {what}", self.shared.label);
        match outcome {
            Outcome::Error(why) => Error::new(ErrorKind::Usage, tried, why),
            other => Error::new(ErrorKind::Internal, tried, format!("it answered {other:?}")),
        }
    }
}

struct Waiting<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.forget(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that greets like an agent of protocol `protocol`, and does `then` when asked to probe.
    fn shell(protocol: u32, then: &str) -> Command {
        let hello = format!(
            r#"{{"id":1,"outcome":{{"hello":{{"protocol":{protocol},"hostname":"h","resolv_conf":"","addresses":[],"routes":[]}}}}}}"#
        );
        let script =
            format!("while read -r line; do case $line in *hello*) echo '{hello}';; *probe*) {then};; esac; done");
        Command::new("sh").args(["-c", &script])
    }

    fn probe() -> Probe {
        let target = crate::model::method::Target { host: "web".to_owned(), port: 80 };
        crate::probe::request(&target, crate::probe::Timeouts::default())
    }

    #[tokio::test]
    async fn an_agent_that_dies_is_quoted() {
        let agent = Agent::spawn(shell(PROTOCOL, "echo out of memory >&2; exit 7")).await.unwrap();
        let error = agent.probe(probe()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to have the agent in sh answer (probe web:80): the agent is gone: \
             it ended with exit code 7; it last printed: out of memory"
        );
    }

    #[tokio::test]
    async fn an_agent_of_another_protocol_is_refused() {
        let error = Agent::spawn(shell(99, ":")).await.unwrap_err();
        assert!(error.to_string().contains("it speaks protocol 99"), "{error}");
        assert!(error.hint_text().is_some());
    }

    #[tokio::test]
    async fn a_program_that_is_no_agent_is_quoted() {
        let error = Agent::spawn(Command::new("cat")).await.unwrap_err();
        assert!(error.to_string().contains("it said something that is no reply"), "{error}");
    }

    #[tokio::test]
    async fn request_ids_are_never_the_same() {
        let (one, two) = (probe(), probe());
        assert_ne!(one.request_id, two.request_id);
        assert_eq!((one.connect_timeout_ms, one.timeout_ms), (2_000, 6_000));
    }
}
