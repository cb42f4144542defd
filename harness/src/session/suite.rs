//! Suites: test binaries that cargo builds, listed and run against a session.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    command::{Command, Output},
    matrix::{Cell, Matrix, Stage},
    plan::EnvironmentOptions,
    session::handover::SESSION_VARIABLE,
};

mod own_cells;

pub use own_cells::OwnCells;

/// A suite: a test target of a package, and the Service states it is run in.
///
/// Its tests are named `<stage>::…::from_<n>_<VANTAGE>::by_<n>_<METHOD>`, as rstest's `#[values]` names
/// them, so that a selection of cells is a selection of tests: what is not selected is visibly
/// filtered out, and never counts as passed. Tests that need no cluster are in a module [`WITHOUT_CLUSTER`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Its name: what `--suite` takes.
    pub name: String,
    /// The package that it is in.
    pub package: String,
    /// The test target.
    pub target: String,
    /// Whether it runs when no suite is named.
    pub default: bool,
    /// What its tests are about.
    pub about: About,
    /// Whether it breaks nodes, or what runs for the whole cluster, on purpose.
    pub breaks_nodes: bool,
    /// The cells that it has by access methods of its own.
    pub own: Vec<OwnCells>,
}

/// What a suite's tests are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Cells of the access matrix.
    Access,
    /// Cells of the matrix under each policy of the Services, and loads there.
    Policies,
    /// Cells of the matrix of lookups, and the tutorial's commands.
    Lookups,
    /// How load spreads while everything is ready, and while things change.
    Load,
    /// Stages as a whole.
    Stages,
}

/// The module of a suite's test target whose tests need no cluster: a run starts them before its first stage, without a
/// session.
pub const WITHOUT_CLUSTER: &str = "without_cluster";

impl About {
    /// How long such a suite usually takes, the changes of the cluster between its stages included.
    pub(crate) const fn usual_seconds(self) -> u64 {
        match self {
            Self::Access => 12,
            Self::Policies => 50,
            Self::Lookups | Self::Load => 120,
            Self::Stages => 240,
        }
    }
}

/// A suite's test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteBinary {
    /// The executable.
    pub path: PathBuf,
    /// The names of its tests.
    pub tests: Vec<String>,
    /// The directory in which cargo would run it: its package's.
    pub dir: PathBuf,
}

/// How tests ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// Those that passed.
    pub passed: Vec<String>,
    /// Those that failed, each with what it printed.
    pub failed: Vec<(String, String)>,
    /// Those that their attribute `#[ignore]` keeps from running, each with the reason that it gives.
    pub ignored: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<CargoTarget>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
}

impl Suite {
    /// The suite in `package`'s test target called `name`.
    pub fn new(name: impl Into<String>, package: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            target: name.clone(),
            name,
            package: package.into(),
            default: true,
            about: About::Access,
            breaks_nodes: false,
            own: Vec::new(),
        }
    }

    /// Runs only when it is named.
    #[must_use]
    pub fn on_demand(mut self) -> Self {
        self.default = false;
        self
    }

    /// Says that it breaks nodes, or what runs for the whole cluster, on purpose: it runs on clusters that we made alone.
    ///
    /// ```
    /// use reachmap::session::suite::Suite;
    /// assert!(Suite::new("sabotage", "my-suites").breaks_nodes().breaks_nodes);
    /// ```
    #[must_use]
    pub fn breaks_nodes(mut self) -> Self {
        self.breaks_nodes = true;
        self
    }

    /// Says what its tests are about, if it is not the access matrix.
    #[must_use]
    pub fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// The cells that it can probe in a cluster with so many workers.
    pub fn cells(&self, workers: u8) -> Vec<Cell> {
        let mut cells = match self.about {
            About::Access => Matrix::tutorial(workers),
            About::Policies => Matrix::policies(workers),
            About::Lookups => Matrix::lookups(),
            About::Load | About::Stages => Vec::new(),
        };
        cells.extend(self.own.iter().flat_map(|own| own.cells(workers)));
        cells
    }

    /// The stages in which it has tests that are about no single cell.
    pub fn stages(&self) -> &'static [Stage] {
        match self.about {
            About::Access => &[],
            About::Policies => &Stage::OF_POLICIES,
            About::Lookups => &Stage::OF_NAMES,
            About::Load => &[Stage::LoadBalancerReady, Stage::Changing],
            About::Stages => &Stage::ALL,
        }
    }

    /// Builds the test binary and lists its tests.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with the compiler's words if it does not build; [`ErrorKind::Usage`] if it has no tests, or
    /// some that no run would start, because their names begin with no stage, or none for a [cell of its own](Self::cells_in).
    pub fn build(&self, log: &Path) -> Result<SuiteBinary> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        // `cargo run` has set these for us; build scripts that look at them would run again and again.
        let inherited = std::env::vars()
            .map(|(name, _)| name)
            .filter(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix)));
        let output = inherited
            .fold(Command::new(cargo), Command::env_remove)
            .args(["test", "--no-run", "--message-format=json-render-diagnostics", "--package"])
            .args([&self.package, "--test", &self.target])
            .deadline(Duration::from_secs(1200))
            .log(log)
            .run()?;
        let (path, dir) = self.find_binary(&output).ok_or_else(|| {
            Error::new(
                ErrorKind::Environment,
                format!("build the suite {}", self.name),
                format!("cargo named no executable for the test target {} of {}", self.target, self.package),
            )
            .hint(format!("All that cargo printed is in {}.", log.display()))
        })?;
        let listed = Command::new(path.to_string_lossy()).args(["--list", "--format", "terse"]).run()?;
        let tests = listed.text().lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect();
        let binary = SuiteBinary { path, tests, dir };
        self.check_names(&binary)?;
        self.check_own_cells(&binary)?;
        Ok(binary)
    }

    /// A test that no run starts would look as if it had passed.
    fn check_names(&self, binary: &SuiteBinary) -> Result<()> {
        let modules = || Stage::ALL.iter().map(|stage| module_of(stage.id())).chain([WITHOUT_CLUSTER.to_owned()]);
        let is_started = |test: &str| test.split_once("::").is_some_and(|(first, _)| modules().any(|one| one == first));
        let never: Vec<&str> = binary.tests.iter().map(String::as_str).filter(|test| !is_started(test)).collect();
        if !binary.tests.is_empty() && never.is_empty() {
            return Ok(());
        }
        let cause = if never.is_empty() {
            format!("the test target {} of {} has none", self.target, self.package)
        } else {
            format!("no stage is the first part of the name of {}", in_short(&never))
        };
        Err(Error::new(ErrorKind::Usage, format!("choose the tests of the suite {}", self.name), cause).hint(format!(
            "A test is in a module that is called after the stage in which it runs: {}. Tests that need no cluster are in \
             `{WITHOUT_CLUSTER}`.",
            Stage::ALL.map(|stage| module_of(stage.id())).join(", "),
        )))
    }

    fn find_binary(&self, output: &Output) -> Option<(PathBuf, PathBuf)> {
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok())
            .filter(|message| message.reason == "compiler-artifact")
            .filter(|message| message.target.as_ref().is_some_and(|target| target.name == self.target))
            .find_map(|message| Some((message.executable?, message.manifest_path?.parent()?.to_owned())))
    }
}

impl SuiteBinary {
    /// The tests of `stage`, each with the vantage and method it is about, if it is about a cell.
    pub fn of_stage<'a>(&'a self, stage: &str) -> impl Iterator<Item = (&'a str, Option<(String, String)>)> {
        self.of_module(&module_of(stage)).map(|test| (test, cell_of(test)))
    }

    /// The tests that need no cluster.
    pub fn without_cluster(&self) -> impl Iterator<Item = &str> {
        self.of_module(WITHOUT_CLUSTER)
    }

    fn of_module<'a>(&'a self, module: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = format!("{module}::");
        self.tests.iter().map(String::as_str).filter(move |test| test.starts_with(&prefix))
    }

    /// Runs exactly `tests` side by side, against the session in `session` if they need one; returns how they ended.
    ///
    /// # Errors
    /// As [`Command::output`]; a failed test is no error.
    pub fn run(&self, tests: &[String], session: Option<&Path>, log: &Path, deadline: Duration) -> Result<Ended> {
        // Each test mostly waits for an answer from an agent: threads are cheap, and negative cells
        // must wait for their timeouts side by side.
        let command = Command::new(self.path.to_string_lossy())
            .args(["--exact", "--test-threads", "256"])
            .args(tests.iter().cloned())
            .dir(&self.dir);
        let command = match session {
            Some(session) => command.env(SESSION_VARIABLE, session.to_string_lossy()),
            None => command.env_remove(SESSION_VARIABLE),
        };
        let output = command
            // A failed cell explains itself; a stack of the test's own functions would only bury that.
            .env("RUST_BACKTRACE", "0")
            .env("INSTA_WORKSPACE_ROOT", workspace_root(&self.dir).to_string_lossy())
            .deadline(deadline)
            .log(log)
            .output()?;
        match output.code {
            // 101 is libtest's exit code for failed tests.
            Some(0 | 101) => Ok(ended(tests, &String::from_utf8_lossy(&output.stdout))),
            code => Err(Error::new(
                ErrorKind::Environment,
                format!("run the tests in {}", self.path.display()),
                format!("the process ended with {code:?}"),
            )
            .hint(format!("All that it printed is in {}.", log.display()))),
        }
    }
}

/// The module whose tests run in `stage`.
pub(super) fn module_of(stage: &str) -> String {
    stage.replace('-', "_")
}

/// The first few of `tests`, and how many there are more.
fn in_short(tests: &[&str]) -> String {
    const NAMED: usize = 5;
    let named = tests[..tests.len().min(NAMED)].join(", ");
    if tests.len() > NAMED { format!("{named} and {} more", tests.len() - NAMED) } else { named }
}

/// How `tests` ended, in libtest's words. A test of which it says nothing has not passed.
fn ended(tests: &[String], printed: &str) -> Ended {
    let mut ended = Ended::default();
    for test in tests {
        let test = test.clone();
        match end_of(&test, printed) {
            Some("ok") => ended.passed.push(test),
            Some(end) if end.starts_with("ignored") => {
                let reason = end.trim_start_matches("ignored").trim_start_matches([',', ' ']);
                let reason = if reason.is_empty() { "its attribute `#[ignore]`" } else { reason };
                ended.ignored.push((test, reason.to_owned()));
            }
            Some(_) => ended.failed.push((test.clone(), said_by(&test, printed))),
            None => ended.failed.push((test, "the test binary does not say how it ended".to_owned())),
        }
    }
    ended
}

/// The end of the line on which libtest says how `test` ended.
fn end_of<'a>(test: &str, printed: &'a str) -> Option<&'a str> {
    let of =
        |how: &str| printed.split_once(&format!("test {test}{how} ... ")).and_then(|(_, rest)| rest.lines().next());
    of("").or_else(|| of(" - should panic"))
}

/// What a test that failed printed.
fn said_by(test: &str, printed: &str) -> String {
    let said = printed.split_once(&format!("---- {test} stdout ----\n")).map_or("", |(_, rest)| rest);
    let said = said.split("\n---- ").next().unwrap_or(said).split("\n\nfailures:").next().unwrap_or_default();
    said.trim().to_owned()
}

/// The vantage and method ids in a test's name.
///
/// ```
/// use reachmap::session::suite::cell_of;
/// let test = "load_balancer_ready::reaches::from_1_CONTROL_PLANE::by_02_POD_IP";
/// assert_eq!(cell_of(test), Some(("control-plane".into(), "pod-ip".into())));
/// assert_eq!(cell_of("claims::hold"), None);
/// ```
pub fn cell_of(test: &str) -> Option<(String, String)> {
    let part = |prefix: &str| {
        test.split("::").find_map(|segment| {
            let (number, name) = segment.strip_prefix(prefix)?.split_once('_')?;
            number.chars().all(|c| c.is_ascii_digit()).then(|| name.to_ascii_lowercase().replace('_', "-"))
        })
    };
    Some((part("from_")?, part("by_")?))
}

fn workspace_root(package: &Path) -> PathBuf {
    // The outermost directory with a lock file is the workspace that cargo built in.
    package.ancestors().filter(|dir| dir.join("Cargo.lock").is_file()).last().unwrap_or(package).to_owned()
}

/// The suites that `names` (comma-separated) choose among `all`; the default ones if there are no names.
///
/// # Errors
/// [`ErrorKind::Usage`] if a name is no suite's, naming those that there are.
pub fn choose<'a>(all: &'a [Suite], names: &[String]) -> Result<Vec<&'a Suite>> {
    if names.is_empty() {
        return Ok(all.iter().filter(|suite| suite.default).collect());
    }
    names
        .iter()
        .map(|name| {
            all.iter().find(|suite| suite.name == *name).ok_or_else(|| {
                let known: Vec<&str> = all.iter().map(|suite| suite.name.as_str()).collect();
                Error::new(ErrorKind::Usage, format!("choose the suite {name}"), "there is no such suite")
                    .with_code(ErrorCode::Suite)
                    .hint(format!("The suites are: {}.", known.join(", ")))
            })
        })
        .collect()
}

/// Refuses suites that break nodes on a cluster that we did not make: nothing of that is the run's own.
///
/// # Errors
/// [`ErrorKind::Usage`] with the first such suite.
pub fn check(suites: &[&Suite], options: &EnvironmentOptions) -> Result<()> {
    let breaking = suites.iter().find(|suite| suite.breaks_nodes);
    let (Some(suite), Some(kubeconfig)) = (breaking, &options.kubeconfig) else {
        return Ok(());
    };
    let tried = format!("run the suite {} on the cluster of {}", suite.name, kubeconfig.display());
    let cause = "it breaks nodes on purpose, and is not supported on a cluster that Reachmap did not make";
    Err(Error::new(ErrorKind::Usage, tried, cause)
        .with_code(ErrorCode::Suite)
        .hint("Leave out --kubeconfig: it runs on a cluster of its own, which may break."))
}

/// Reads every JSON file in `dir`, in the order of their names; an absent directory has none.
///
/// # Errors
/// [`ErrorKind::Storage`] if a file cannot be read, [`ErrorKind::Internal`] if it is not what was expected.
pub fn read_all<T: serde::de::DeserializeOwned>(dir: &Path) -> Result<Vec<T>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::from_source(ErrorKind::Storage, format!("list {}", dir.display()), error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The same of each directory in `dir`: one for each suite that has written something there.
///
/// # Errors
/// As [`read_all`].
pub(super) fn read_all_of_suites<T: serde::de::DeserializeOwned>(dir: &Path) -> Result<Vec<T>> {
    let entries = std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut suites: Vec<PathBuf> = match entries {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        entries => entries.tried(ErrorKind::Storage, || format!("list {}", dir.display()))?,
    };
    suites.retain(|path| path.is_dir());
    suites.sort();
    suites
        .iter()
        .map(|suite| read_all(suite))
        .collect::<Result<Vec<Vec<T>>>>()
        .map(|all| all.into_iter().flatten().collect())
}

/// Reads one JSON file.
///
/// # Errors
/// As [`read_all`].
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&crate::command::read_text(path)?)
        .tried(ErrorKind::Internal, || format!("understand {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_is_refused_with_those_there_are() {
        let all = [Suite::new("access", "suites"), Suite::new("sabotage", "suites").on_demand()];
        let error = choose(&all, &["dsn".to_owned()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert_eq!(error.hint_text(), Some("The suites are: access, sabotage."));
        assert_eq!(choose(&all, &[]).unwrap(), [&all[0]]);
    }

    #[test]
    fn what_breaks_nodes_runs_on_no_cluster_of_the_user_s() {
        let all =
            [Suite::new("access", "suites"), Suite::new("sabotage", "suites").about(About::Stages).breaks_nodes()];
        let both: Vec<&Suite> = all.iter().collect();
        let theirs = EnvironmentOptions { kubeconfig: Some("config".into()), ..EnvironmentOptions::default() };
        let error = check(&both, &theirs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("the suite sabotage on the cluster of config: it breaks nodes"), "{error}");
        check(&both[..1], &theirs).unwrap();
        check(&both, &EnvironmentOptions::default()).unwrap();
    }

    #[test]
    fn a_binary_is_found_in_what_cargo_says() {
        let said = r#"{"reason":"compiler-artifact","manifest_path":"/w/suites/Cargo.toml","target":{"name":"other"},"executable":"/w/other"}
{"reason":"compiler-artifact","manifest_path":"/w/suites/Cargo.toml","target":{"name":"access"},"executable":"/w/target/access-1"}
{"reason":"build-finished","success":true}"#;
        let output = Output { code: Some(0), stdout: said.into(), stderr: Vec::new() };
        let found = Suite::new("access", "suites").find_binary(&output);
        assert_eq!(found, Some(("/w/target/access-1".into(), "/w/suites".into())));
    }

    #[test]
    fn every_test_ends_as_libtest_says_and_none_passes_in_silence() {
        let printed = "test a::b ... ok\ntest a::c ... FAILED\ntest a::d ... FAILED\ntest a::e ... ignored\n\
                       a child's wordstest a::f ... ignored, it is slow\ntest a::g - should panic ... ok\n\nfailures:\n\n\
                       ---- a::c stdout ----\nfirst\nsecond\n\n---- a::d stdout ----\nthird\n\n\nfailures:\n    a::c\n    a::d\n";
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(test, said)| ((*test).to_owned(), (*said).to_owned())).collect()
        };
        let tests = ["a::b", "a::c", "a::d", "a::e", "a::f", "a::g", "a::h"].map(str::to_owned);
        let expected = Ended {
            passed: vec!["a::b".to_owned(), "a::g".to_owned()],
            failed: pairs(&[
                ("a::c", "first\nsecond"),
                ("a::d", "third"),
                ("a::h", "the test binary does not say how it ended"),
            ]),
            ignored: pairs(&[("a::e", "its attribute `#[ignore]`"), ("a::f", "it is slow")]),
        };
        assert_eq!(ended(&tests, printed), expected);
    }

    #[test]
    fn a_test_that_no_run_would_start_is_refused_by_name() {
        let suite = Suite::new("shop", "shop-suite");
        let check = |tests: &[&str]| {
            let tests = tests.iter().map(|test| (*test).to_owned()).collect();
            suite.check_names(&SuiteBinary { path: "shop".into(), tests, dir: "/".into() })
        };
        check(&["load_balancer_ready::is_open", "changing::deep::er::stays_open", "without_cluster::adds_up"]).unwrap();
        for never in ["load_balancer_redy::is_open", "is_open", "load_balancer_ready", "without_clusters::adds_up"] {
            let error = check(&["load_balancer_ready::is_open", never]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().ends_with(&format!("is the first part of the name of {never}")), "{error}");
            assert!(error.hint_text().unwrap().contains("load_balancer_pending, "), "{error:?}");
        }
        let many: Vec<String> = (0..7).map(|number| format!("test_{number}")).collect();
        let error = check(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        assert!(error.to_string().ends_with("test_4 and 2 more"), "{error}");
        let error = check(&[]).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
    }

    #[test]
    fn a_stage_is_the_first_part_of_a_tests_name() {
        let binary = SuiteBinary {
            path: "access".into(),
            tests: vec!["one_two::t".into(), "one::reaches::from_1_LAPTOP::by_1_POD_IP".into()],
            dir: "/".into(),
        };
        let found: Vec<_> = binary.of_stage("one").collect();
        assert_eq!(found, [("one::reaches::from_1_LAPTOP::by_1_POD_IP", Some(("laptop".into(), "pod-ip".into())))]);
    }
}
