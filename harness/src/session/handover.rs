//! What a run hands to its test processes: one file, named by `REACHMAP_SESSION`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    command::{self, Command},
    home::write_atomically,
    matrix::Stage,
    model::{Target, Vantage},
    probe::{Agent, AgentBinary},
    process::ProcessId,
    session::suite::module_of,
};

/// How tests get a session that no run of the suites starts.
const BY_THEMSELVES: &str = "`cargo xtask session` holds one for `cargo test` and `cargo nextest run`.";

/// The environment variable that names the session file.
pub const SESSION_VARIABLE: &str = "REACHMAP_SESSION";

/// Everything that a test process needs to stand at the vantages of a running session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The run's id.
    pub run: String,
    /// The run's directory: verdicts and states are written below it.
    pub dir: PathBuf,
    /// The suite that is running.
    pub suite: String,
    /// The Service state in which it is running.
    pub stage: String,
    /// The kubeconfig's text: our own, never the user's file.
    pub kubeconfig: String,
    /// The network namespace from which the API server can be reached; the process's own if absent.
    pub network_namespace: Option<PathBuf>,
    /// The agent's binary.
    pub agent: PathBuf,
    /// The programs that look names up in the panel; absent if the run has no panel.
    #[serde(default)]
    pub lookups: Option<LookupPrograms>,
    /// The program hey, which people load Services with; absent if no suite of the run needs it.
    #[serde(default)]
    pub hey: Option<PathBuf>,
    /// The vantages of this cluster, and where the agent of each is started.
    pub vantages: Vec<Site>,
    /// The namespaces that the run owns, where Services, pods and endpoints are read.
    pub namespaces: Vec<String>,
    /// The addresses that MetalLB was given, or would be given, `first-last`.
    pub planned_pool: Option<String>,
    /// The file that says that there may be something to put back.
    pub journal: Option<PathBuf>,
    /// The words with which a person starts kubectl, on a cluster that `cargo xtask shell` does not know.
    pub kubectl: Option<Vec<String>>,
    /// The options by which `cargo xtask shell` and the like find the cluster; absent on one that they do not know.
    #[serde(default)]
    pub here: Option<String>,
    /// Who holds the cluster in its stage for tests that nobody has chosen by that stage; absent in the session of a run that
    /// starts its tests itself.
    #[serde(default)]
    pub holder: Option<Holder>,
}

/// The process that holds a session for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The process itself, where it can be told from another one of the same id.
    pub process: Option<ProcessId>,
}

impl Holder {
    /// This process.
    pub fn here() -> Self {
        let pid = std::process::id();
        Self { pid, process: ProcessId::of(pid) }
    }
}

fn no_session(cause: String) -> Error {
    Error::new(ErrorKind::Missing, "find a session", cause).with_code(ErrorCode::NoSession)
}

/// Whether a thread of that name is that of a test in the module of `stage`.
fn is_of(thread: &str, stage: &str) -> bool {
    thread.split_once("::").is_some_and(|(module, _)| module == module_of(stage))
}

/// The name of this thread, which is that of the test that runs on it.
pub(super) fn this_thread() -> String {
    std::thread::current().name().unwrap_or("a thread without a name").to_owned()
}

/// The options by which commands find the cluster called `name`, whatever other clusters there are.
pub(crate) fn here(name: &str, cache_dir: Option<&Path>) -> String {
    format!("--name {name}{}", in_cache(cache_dir))
}

/// The option that names the cache directory, with a space before it, if it is not the usual one.
pub(super) fn in_cache(cache_dir: Option<&Path>) -> String {
    cache_dir.map_or_else(String::new, |dir| format!(" --cache-dir '{}'", dir.display()))
}

/// Where the programs are that look names up, one for each resolver that an image may lack, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupPrograms {
    /// The one with glibc's resolver.
    pub glibc: Result<PathBuf, String>,
    /// The one with musl's.
    pub musl: Result<PathBuf, String>,
    /// The one with Go's.
    pub go: PathBuf,
}

/// A vantage, and how the agent there is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The vantage.
    pub vantage: Vantage,
    /// How its agent is started.
    pub start: Start,
}

/// How an agent is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// By Kubernetes exec.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// By the engine's exec.
    Container {
        /// The words that come before `docker`, to reach the engine; none for the user's own.
        engine: Vec<String>,
        /// The container.
        container: String,
    },
    /// As a child of the test process: the machine itself is the vantage.
    Here,
}

impl Start {
    /// Starts an agent there.
    ///
    /// # Errors
    /// Those of [`Agent`]'s constructors.
    pub async fn agent(&self, client: &kube::Client, binary: &AgentBinary) -> Result<Agent> {
        match self {
            Self::Pod { namespace, pod, container } => Agent::in_pod(client, namespace, pod, container, binary).await,
            Self::Container { engine, container } => {
                let engine = engine.clone();
                Agent::in_container(move |command| command.after(&engine), container, binary).await
            }
            Self::Here => Agent::spawn(Command::new(binary.path().to_string_lossy())).await,
        }
    }
}

impl Handover {
    /// Reads the file that `REACHMAP_SESSION` names.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] without a session, or with one that has ended: a cluster test that finds no cluster fails.
    pub fn from_environment() -> Result<Self> {
        let Some(path) = std::env::var_os(SESSION_VARIABLE) else {
            let hint =
                format!("Cluster tests need a running session: start them with `cargo xtask e2e`. {BY_THEMSELVES}");
            return Err(no_session(format!("{SESSION_VARIABLE} is not set")).hint(hint));
        };
        Self::find(Path::new(&path))
    }

    /// Reads a session file that may be one of a session that has ended.
    fn find(path: &Path) -> Result<Self> {
        if !path.exists() {
            let cause = format!("{}, which {SESSION_VARIABLE} names, is gone: the session has ended", path.display());
            return Err(no_session(cause).hint(BY_THEMSELVES));
        }
        let handover = Self::read(path)?;
        match handover.holder {
            Some(Holder { pid, process: Some(process) }) if !process.is_alive() => {
                Err(no_session(format!("the process {pid}, which held it, has ended")).hint(BY_THEMSELVES))
            }
            _ => Ok(handover),
        }
    }

    /// Refuses a thread that is not that of a test of the stage which the cluster is held in: nobody has chosen the tests by
    /// stage. A run starts only those of the stage that it is in, and every thread of theirs may open the session.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with the command that brings the cluster into the test's stage.
    pub(super) fn check_test(&self, thread: &str) -> Result<()> {
        self.check_work(thread)?;
        if self.holder.is_none() || is_of(thread, &self.stage) {
            return Ok(());
        }
        let module = module_of(&self.stage);
        let cause = format!("the cluster is held in the stage {}, and this is in no stage's module", self.stage);
        Err(Error::new(ErrorKind::Usage, format!("open the session in `{thread}`"), cause).hint(format!(
            "A test of this stage is in a module `{module}`, and opens the session itself, not in what it spawns."
        )))
    }

    /// Refuses a thread that is that of a test of another stage. What a test has spawned may have any name.
    ///
    /// # Errors
    /// As [`Self::check_test`].
    pub(super) fn check_work(&self, thread: &str) -> Result<()> {
        let meant = Stage::ALL.into_iter().find(|stage| is_of(thread, stage.id()));
        match meant {
            Some(stage) if self.holder.is_some() && stage.id() != self.stage => {
                let cause = format!("the cluster is held in the stage {}, and the test is one of {stage}", self.stage);
                Err(Error::new(ErrorKind::Usage, format!("use the session in `{thread}`"), cause)
                    .hint(format!("`cargo xtask session --stage {stage}` holds it there.")))
            }
            _ => Ok(()),
        }
    }

    /// Reads a session file.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be read, [`ErrorKind::Internal`] if it is not a session file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = command::read_text(path)?;
        serde_json::from_str(&text)
            .tried(ErrorKind::Internal, || format!("understand the session file {}", path.display()))
    }

    /// Writes the session file into the run's directory and returns its path.
    ///
    /// It holds the cluster's credentials: only its owner can read it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written.
    pub fn write(&self) -> Result<PathBuf> {
        let path = self.dir.join("session.json");
        let text = serde_json::to_vec_pretty(self).tried(ErrorKind::Internal, || "write down the session")?;
        write_atomically(&path, &text)?;
        Ok(path)
    }

    /// Removes the session file from the run's directory: reports are passed around, credentials are not.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it is there and cannot be removed.
    pub fn remove(dir: &Path) -> Result<()> {
        let path = dir.join("session.json");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::from_source(ErrorKind::Storage, format!("remove {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// The site of the vantage called `id`.
    pub fn site(&self, id: &str) -> Option<&Site> {
        self.vantages.iter().find(|site| site.vantage.id == id)
    }

    /// A command that repeats a request to `target` from `vantage` by hand.
    pub fn by_hand(&self, vantage: &Vantage, target: &Target) -> String {
        let curl = format!("curl -sS -i -m 5 http://{target}/");
        match (self.site(&vantage.id).map(|site| &site.start), &self.kubectl) {
            (Some(Start::Pod { namespace, pod, container }), Some(kubectl)) => {
                let kubectl = kubectl.join(" ");
                format!("{kubectl} -n {namespace} exec {pod} -c {container} -- {curl}")
            }
            (Some(Start::Here) | None, _) => curl,
            (Some(_), _) => {
                let here = self.here.as_ref().map_or_else(String::new, |here| format!(" {here}"));
                format!("cargo xtask shell {}{here} -- {curl}", vantage.id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::VantageKind;

    fn handover(start: Start, here: Option<String>, kubectl: Option<Vec<String>>) -> (Handover, Vantage) {
        let vantage = Vantage { id: "laptop".to_owned(), kind: VantageKind::Laptop };
        let handover = Handover {
            run: "r1".to_owned(),
            dir: PathBuf::new(),
            suite: "access".to_owned(),
            stage: "load-balancer-ready".to_owned(),
            kubeconfig: String::new(),
            network_namespace: None,
            agent: PathBuf::new(),
            lookups: None,
            hey: None,
            vantages: vec![Site { vantage: vantage.clone(), start }],
            namespaces: Vec::new(),
            planned_pool: None,
            journal: None,
            kubectl,
            here,
            holder: None,
        };
        (handover, vantage)
    }

    #[test]
    fn a_test_of_another_stage_is_refused_where_nobody_has_chosen_it() {
        let (chosen, _) = handover(Start::Here, None, None);
        let held = Handover { holder: Some(Holder::here()), ..chosen.clone() };
        for handover in [&chosen, &held] {
            handover.check_test("load_balancer_ready::reaches::case_1").unwrap();
            handover.check_work("tokio-rt-worker").unwrap();
        }
        // A run has chosen it: whatever its thread is called, it is of this stage.
        for thread in ["tokio-rt-worker", "main", "load_balancer_pending::reaches"] {
            chosen.check_test(thread).unwrap();
        }
        let other = "load_balancer_pending::reaches";
        for error in [held.check_test(other), held.check_work(other)].map(Result::unwrap_err) {
            assert!(error.to_string().ends_with("load-balancer-ready, and the test is one of load-balancer-pending"));
            let hint = "`cargo xtask session --stage load-balancer-pending` holds it there.";
            assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Usage, Some(hint)));
        }
        for nobody in ["tokio-rt-worker", "main", "reaches", "load_balancer_redy::reaches", "load_balancer_ready"] {
            let error = held.check_test(nobody).unwrap_err();
            assert!(error.hint_text().unwrap().contains("`load_balancer_ready`"), "{error:?}");
        }
    }

    #[test]
    fn a_session_has_ended_with_its_file_or_with_who_held_it() {
        let dir = tempfile::tempdir().unwrap();
        let (chosen, _) = handover(Start::Here, None, None);
        let mut held = Handover { holder: Some(Holder::here()), dir: dir.path().to_owned(), ..chosen };
        let path = held.write().unwrap();
        assert_eq!(Handover::find(&path).unwrap(), held);
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = ended.id();
        held.holder = Some(Holder { pid, process: Some(ProcessId { pid, start: 0 }) });
        ended.wait().unwrap();
        held.write().unwrap();
        let error = Handover::find(&path).unwrap_err();
        assert!(error.to_string().ends_with(&format!("the process {pid}, which held it, has ended")), "{error}");
        Handover::remove(dir.path()).unwrap();
        let gone = Handover::find(&path).unwrap_err();
        assert!(gone.to_string().ends_with("is gone: the session has ended"), "{gone}");
        for error in [error, gone] {
            assert_eq!(error.kind(), ErrorKind::Missing);
            assert!(error.hint_text().unwrap().contains("cargo xtask session"), "{error:?}");
        }
    }

    #[test]
    fn a_request_is_repeated_on_the_cluster_that_it_was_sent_on() {
        let target = Target { host: "172.18.255.200".to_owned(), port: 80 };
        let curl = "curl -sS -i -m 5 http://172.18.255.200:80/";
        let container = Start::Container { engine: Vec::new(), container: "mine-laptop".to_owned() };
        let (ours, laptop) = handover(container, Some(here("mine", Some(Path::new("/a cache")))), None);
        assert_eq!(
            ours.by_hand(&laptop, &target),
            format!("cargo xtask shell laptop --name mine --cache-dir '/a cache' -- {curl}")
        );
        let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
        let kubectl = ["kubectl", "--context", "theirs"].map(str::to_owned).to_vec();
        let (theirs, laptop) = handover(Start::Pod { namespace, pod, container }, None, Some(kubectl));
        assert_eq!(theirs.by_hand(&laptop, &target), format!("kubectl --context theirs -n n exec p -c c -- {curl}"));
    }
}
