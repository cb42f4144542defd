//! What one run owns, and what a test gets in its hands.
//!
//! A run (`cargo xtask e2e`) makes the environment and hands it over in a file; a test process opens
//! the session from there, with an agent at each vantage, started once per process:
//!
//! ```no_run
//! # async fn test() -> reachmap::Result<()> {
//! let session = reachmap::session::Session::current()?;
//! let verdict = session.check("testpod", "clusterip-fqdn").await?;
//! reachmap::assert_as_expected!(verdict);
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeMap, fmt, future::Future, net::SocketAddr, sync::OnceLock, time::Duration};

use futures::future::try_join_all;

use crate::{
    Context as _, Error, ErrorKind, Result,
    environment::barrier,
    environment::cluster::connect,
    environment::journal::Journal,
    environment::panel::Panel,
    environment::sha256,
    home::write_atomically,
    model::{Method, Target, Vantage, expect},
    probe::{Agent, AgentBinary, Timeouts, probe_target, request},
    report::{Beside, ChangeRecord, Holds, OtherTest},
    state::{self, NodeRole, Roles, State},
    verdict::{Verdict, judge},
    wire::{self, Hello, Lookup, Observation, Resolve},
};

pub(crate) mod cluster;
mod collector;
mod commands;
mod course;
mod deploy;
pub mod directory;
pub mod handover;
pub mod interrupt;
pub mod load;
mod look;
pub mod lookups;
mod node;
pub mod run;
mod runtime;
pub mod selection;
pub mod suite;
pub(crate) mod workplace;

use handover::{Handover, this_thread};
pub use node::NodeChange;
use runtime::OwnRuntime;

/// A running environment, as a test sees it: vantages to stand at, and the state that decides what must happen.
pub struct Session {
    handover: Handover,
    client: kube::Client,
    agents: BTreeMap<String, Agent>,
    state: State,
    roles: Roles,
    panel: tokio::sync::OnceCell<Panel>,
    // Agents and client run on it, so it must live as long as they do.
    runtime: OwnRuntime,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("run", &self.handover.run).finish_non_exhaustive()
    }
}

impl Session {
    /// The session of this process, opened at the first call: it starts the agents and takes a snapshot of the state.
    ///
    /// It blocks the calling thread, once, for about a second.
    ///
    /// In a session that `cargo xtask session` holds, nobody has chosen the tests by the stage that the cluster is in. Call it in
    /// the test itself then, on the test's own thread: it is known by that, and has to be in the stage's module.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is no session, or nobody holds it any more: a cluster test that finds no cluster fails.
    /// The same error again at every further call if opening it failed. [`ErrorKind::Usage`] in a test of another stage.
    pub fn current() -> Result<&'static Self> {
        static CURRENT: OnceLock<Result<Session>> = OnceLock::new();
        // On a thread of its own, because the caller may be inside a runtime already.
        let open = || {
            std::thread::spawn(|| Self::open(Handover::from_environment()?)).join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Internal, "open the session", "the thread that opened it panicked"))
            })
        };
        let session = CURRENT.get_or_init(open).as_ref().map_err(|error| {
            let again = Error::new(error.kind(), "open the session", error);
            match error.hint_text() {
                Some(hint) => again.hint(hint),
                None => again,
            }
        })?;
        session.handover.check_test(&this_thread())?;
        Ok(session)
    }

    /// Opens the session that `handover` describes; must not be called inside an async runtime.
    ///
    /// # Errors
    /// If the API server or one of the vantages cannot be reached.
    pub fn open(handover: Handover) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("reachmap-session")
            .enable_all()
            .build()
            .tried(ErrorKind::Environment, || "start the session's async runtime")?;
        let (client, agents, state) = runtime.block_on(async {
            let client = connect::client(&handover.kubeconfig, handover.network_namespace.as_deref()).await?;
            let agents = start_agents(&handover, &client).await?;
            let hello = agents.iter().map(async |(id, agent)| Ok::<_, Error>((id.clone(), agent.hello().await?)));
            let places = try_join_all(hello).await?.into_iter().collect();
            let state = collect(&handover, &client, places).await?;
            Ok::<_, Error>((client, agents, state))
        })?;
        let roles = Roles::of(&state);
        let panel = tokio::sync::OnceCell::new();
        let runtime = OwnRuntime::new(runtime);
        let session = Self { handover, client, agents, state, roles, panel, runtime };
        let Handover { stage, suite, .. } = &session.handover;
        session.write(&format!("states/{stage}"), &session.state)?;
        // Another suite may find the stage in another state: what its cells were derived from is kept for a bundle.
        session.write(&format!("states/{stage}/{suite}"), &session.state)?;
        Ok(session)
    }

    /// What the run handed over.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// A client for the cluster's API server.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The state as it was when the session was opened.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The roles of this cluster's addresses and names, for snapshots.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The vantage called `id`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if this cluster has no such vantage.
    pub fn vantage(&self, id: &str) -> Result<&Vantage> {
        self.handover.site(id).map(|site| &site.vantage).ok_or_else(|| self.no_vantage(id))
    }

    fn no_vantage(&self, id: &str) -> Error {
        let known: Vec<&str> = self.agents.keys().map(String::as_str).collect();
        Error::new(ErrorKind::Usage, format!("stand at {id}"), "this session has no such vantage")
            .hint(format!("Its vantages are: {}.", known.join(", ")))
    }

    /// The agent at the vantage called `id`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if this cluster has no such vantage.
    pub fn agent(&self, id: &str) -> Result<&Agent> {
        self.vantage(id)?;
        Ok(&self.agents[id])
    }

    /// How many workers the cluster has.
    pub fn workers(&self) -> u8 {
        let workers = self.state.nodes.iter().filter(|node| node.role == NodeRole::Worker).count();
        u8::try_from(workers).unwrap_or(u8::MAX)
    }

    /// A new snapshot of the state, for tests that change something.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn snapshot(&self) -> Result<State> {
        self.collect(self.handover.clone()).await
    }

    /// The same with other namespaces than the run's own in it, such as one that a test deployed something into.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn snapshot_with(&self, namespaces: &[&str]) -> Result<State> {
        let mut handover = self.handover.clone();
        handover.namespaces.extend(namespaces.iter().map(|namespace| (*namespace).to_owned()));
        self.collect(handover).await
    }

    /// On the session's own runtime: a connection that the client keeps for others must not end with a test's.
    async fn collect(&self, handover: Handover) -> Result<State> {
        let (client, places) = (self.client.clone(), self.state.places.clone());
        self.on_runtime(async move { collect(&handover, &client, places).await }).await
    }

    async fn on_runtime<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.runtime().spawn(work).await.tried(ErrorKind::Internal, || "join a task")?
    }

    /// Waits until every vantage in the cluster is answered at `target`: once a Service has endpoints, it takes a moment until
    /// each node's kube-proxy translates it.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with the vantages that still are not.
    pub async fn until_reached(&self, target: &Target, deadline: Duration) -> Result<()> {
        let inside = barrier::inside(&self.agents);
        let unseen = barrier::until_reached(&inside, target, true, deadline).await;
        if unseen.is_empty() {
            return Ok(());
        }
        let vantages: Vec<String> = unseen.into_iter().map(|(vantage, _)| vantage).collect();
        let cause = format!("it is not answered from {}", vantages.join(", "));
        Err(Error::new(ErrorKind::Deadline, format!("see {target} answered from everywhere"), cause))
    }

    /// Sends one request and reports what was seen; knows nothing of what was expected.
    ///
    /// # Errors
    /// If the agent is gone, or `state` does not have what the method names.
    pub async fn observe(&self, state: &State, vantage: &str, method: &Method) -> Result<Observation> {
        let target = method.way.target(state)?;
        probe_target(self.agent(vantage)?, &target, Timeouts::default()).await
    }

    /// Probes one cell, judges it against what the session's state says must happen, and records the verdict.
    ///
    /// # Errors
    /// If there is no such vantage or method, or the probe could not be carried out.
    pub async fn check(&self, vantage: &str, method: &str) -> Result<Verdict> {
        let verdict = self.judge_in(&self.state, vantage, method).await?;
        self.record(&verdict)?;
        Ok(verdict)
    }

    /// Puts a verdict into the run's report: one for each vantage and method of a suite in a stage, the last one if there are more.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written down.
    pub fn record(&self, verdict: &Verdict) -> Result<()> {
        self.handover.check_work(&this_thread())?;
        self.write(&verdict_file(verdict), verdict)
    }

    /// Says that the test which calls this can show nothing here, and why; it returns then. In every report it is *not supported
    /// here*, with that reason, and never counts as passed.
    ///
    /// ```no_run
    /// # use reachmap::{Result, session::Session};
    /// # async fn test() -> Result<()> {
    /// let session = Session::current()?;
    /// if !session.has_program("testpod", "nslookup").await? {
    ///     return session.not_supported("the test pod's image has no nslookup");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The run knows the test by its thread, which the test harness gives its name: what a test has spawned cannot speak for it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] on a thread that is no test's, [`ErrorKind::Storage`] if it cannot be written down.
    pub fn not_supported(&self, reason: impl Into<String>) -> Result<()> {
        let thread = std::thread::current();
        let test = thread.name().filter(|name| name.contains("::")).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "say that a test is not supported here", "this thread has no test's name")
                .hint("Call it in the test itself, and not in what it spawns.")
        })?;
        let Handover { suite, stage, .. } = &self.handover;
        let said = OtherTest {
            suite: suite.clone(),
            stage: stage.clone(),
            test: test.to_owned(),
            not_supported: Some(reason.into()),
        };
        // By a hash: a test's name may be longer than a file's.
        self.write(&format!("not-supported/{stage}/{suite}/{}", &sha256(test)[..16]), &said)
    }

    /// Probes one cell and judges it against what `state` says must happen, without recording the verdict.
    ///
    /// # Errors
    /// As [`Session::check`].
    pub async fn judge_in(&self, state: &State, vantage: impl AsRef<str>, method: impl AsRef<str>) -> Result<Verdict> {
        let method = Method::find(method.as_ref(), self.workers())?;
        self.judge(state, vantage.as_ref(), method).await
    }

    /// The same by an access method of the caller's own, such as the way to a Service that the caller deployed.
    ///
    /// ```no_run
    /// use reachmap::{model::{Method, ServiceRef, Way}, session::Session};
    /// # async fn test(session: &Session, with_the_shop: &reachmap::state::State) -> reachmap::Result<()> {
    /// let way = Way::ClusterIp { service: ServiceRef::new("shop", "storefront") };
    /// let method = Method { id: "shop-cluster-ip".to_owned(), way };
    /// let verdict = session.judge(with_the_shop, "testpod", method).await?;
    /// session.record(&verdict)?;
    /// reachmap::assert_as_expected!(verdict);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Session::check`].
    pub async fn judge(&self, state: &State, vantage: &str, method: Method) -> Result<Verdict> {
        self.handover.check_work(&this_thread())?;
        let vantage = self.vantage(vantage)?;
        let expectation = expect(state, vantage, &method)?;
        // What is not to be reached stays in connection tables on its way, and must meet no later connection there.
        let target = method.way.target(state)?;
        let probe = wire::Probe { aside: !expectation.reachable, ..request(&target, Timeouts::default()) };
        let observation = self.agent(&vantage.id)?.probe(probe).await?;
        Ok(Verdict {
            suite: self.handover.suite.clone(),
            stage: self.handover.stage.clone(),
            reproduce: self.handover.by_hand(vantage, &expectation.target),
            vantage: vantage.clone(),
            method,
            outcome: judge(&expectation, &observation),
            expectation: Some(expectation),
            observation: Some(observation),
        })
    }

    /// Puts what was just seen beside the tutorial's own words, in the report: to be called once the test has shown it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written down.
    pub fn beside(&self, id: &str, says: &str, holds: Holds, seen: impl Into<String>) -> Result<()> {
        let beside = Beside {
            place: format!("{}/{}", self.handover.suite, self.handover.stage),
            id: id.to_owned(),
            says: says.to_owned(),
            holds,
            seen: seen.into(),
        };
        self.write(&format!("beside/{}/{}/{id}", self.handover.stage, self.handover.suite), &beside)
    }

    /// Puts what a load saw while something changed into the report.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written down.
    pub fn record_change(&self, change: ChangeRecord) -> Result<()> {
        let (suite, stage) = (self.handover.suite.clone(), self.handover.stage.clone());
        let name = format!("changes/{stage}/{suite}/{}", change.name);
        self.write(&name, &ChangeRecord { suite, stage, ..change })
    }

    /// Resolves an absolute name at the DNS server at `server`, from the pod in the Services' namespace.
    ///
    /// # Errors
    /// If the agent there is gone.
    pub async fn ask(&self, server: SocketAddr, name: String) -> Result<Resolve> {
        let lookup = Lookup { name: format!("{}.", name.trim_end_matches('.')), server: Some(server) };
        self.agent("testpod")?.resolve(lookup).await
    }

    /// The journal of cluster-wide edits: what is edited through it is put back when the run ends, however it ends.
    pub fn journal(&self) -> Journal {
        Journal::new(self.client.clone(), &self.handover.run, self.handover.journal.clone())
    }

    /// The runtime that the session's agents and client live on.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    fn write(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_vec_pretty(value).tried(ErrorKind::Internal, || format!("write down {name}"))?;
        write_atomically(&self.handover.dir.join(format!("{name}.json")), &text)
    }
}

/// Where a verdict is written down, below the run's directory and without the extension: two suites may probe the same cell.
fn verdict_file(verdict: &Verdict) -> String {
    format!("verdicts/{}/{}/{}.{}", verdict.stage, verdict.suite, verdict.vantage, verdict.method)
}

async fn collect(handover: &Handover, client: &kube::Client, places: BTreeMap<String, Hello>) -> Result<State> {
    let namespaces: Vec<&str> = handover.namespaces.iter().map(String::as_str).collect();
    state::collect(client, &namespaces, places, handover.planned_pool.clone()).await
}

async fn start_agents(handover: &Handover, client: &kube::Client) -> Result<BTreeMap<String, Agent>> {
    let binary = AgentBinary::read(&handover.agent)?;
    let started = handover.vantages.iter().map(|site| {
        let binary = &binary;
        async move {
            let agent = site
                .start
                .agent(client, binary)
                .await
                .map_err(|error| Error::new(error.kind(), format!("stand at {}", site.vantage), &error))?;
            Ok::<_, Error>((site.vantage.id.clone(), agent))
        }
    });
    Ok(try_join_all(started).await?.into_iter().collect())
}

/// Asserts that a [`Verdict`] is as expected, and otherwise fails with the whole explanation.
///
/// ```no_run
/// # fn test(verdict: reachmap::verdict::Verdict) {
/// reachmap::assert_as_expected!(verdict);
/// # }
/// ```
#[macro_export]
macro_rules! assert_as_expected {
    ($verdict:expr) => {{
        let verdict = &$verdict;
        assert!(verdict.is_as_expected(), "{}", $crate::report::explain(verdict));
    }};
}
