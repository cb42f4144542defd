//! A directory in which the program is run, and what it said there.

use std::{
    fs::{self, File},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reachmap::{command::poll, home::Home};

/// How long a refusal may take: many times what it does take.
const SOON: Duration = Duration::from_secs(20);

/// Nobody's user and group id.
const NOBODY: u32 = 65534;

/// A directory of its own for one test: home, cache, working directory; gone with the test.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// As whom the program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// As whom the tests run.
    Same,
    /// Root; of a user namespace of its own, if the tests do not run as root.
    Root,
    /// Not root.
    Nobody,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { directory: tempfile::Builder::new().prefix("refusals").tempdir().unwrap() };
        fs::create_dir(place.path("bin")).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn home(&self) -> Home {
        Home::at(self.path("reachmap"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_string_lossy().into_owned()
    }

    /// Makes the host's `program` one that is found in here; says whether the host has it.
    pub(crate) fn with_program(&self, program: &str) -> bool {
        let Ok(path) = which::which(program) else { return false };
        std::os::unix::fs::symlink(path, self.path("bin").join(program)).unwrap();
        true
    }

    /// Runs the program to its end; it must have refused before it made anything.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        self.refused_as(User::Same, arguments)
    }

    pub(crate) fn refused_as(&self, user: User, arguments: &[&str]) -> String {
        let said = self.run(self.command(user, arguments));
        // The notes of commands that have ended leave their directory, and nothing in it.
        let made = files(&self.path("reachmap"));
        assert!(made.is_empty(), "something was made in the cache: {made:?}");
        assert!(!self.path("target").exists(), "a run's directory was made");
        said
    }

    /// Runs the program in the cache's own small file system of `size` bytes, full to the brim if `full`.
    pub(crate) fn run_on_disk(&self, size: &str, full: bool, arguments: &[&str]) -> String {
        fs::create_dir(self.path("reachmap")).unwrap();
        let fill = if full { r#"head -c 4M /dev/zero >"$1/filler" 2>/dev/null;"# } else { "" };
        // The kernel takes it away with the mount namespace, however the test ends.
        let script = format!(
            r#"mount -t tmpfs -o size="$0" reachmap-test "$1" && {{ {fill} shift; PATH="$1"; shift; exec "$@"; }}"#
        );
        let mut words = vec![tool("unshare"), "--mount".into()];
        if !is_root() {
            words.extend(["--user".into(), "--map-root-user".into()]);
        }
        words.extend([tool("sh"), "-c".into(), script.into(), size.into(), self.path("reachmap"), self.path("bin")]);
        let mut command = self.bare(&words, arguments);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        self.run(command)
    }

    /// The program as `user`.
    pub(crate) fn command(&self, user: User, arguments: &[&str]) -> Command {
        let words = match user {
            User::Nobody if is_root() => {
                for path in [self.directory.path(), &self.path("bin")] {
                    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
                }
                let id = NOBODY.to_string();
                let words = ["--reuid", &id, "--regid", &id, "--clear-groups"];
                std::iter::once(tool("setpriv")).chain(words.map(PathBuf::from)).collect()
            }
            User::Root if !is_root() => vec![tool("unshare"), "--user".into(), "--map-root-user".into()],
            _ => Vec::new(),
        };
        self.bare(&words, arguments)
    }

    fn bare(&self, words: &[PathBuf], arguments: &[&str]) -> Command {
        let words = [words, &[self.program()]].concat();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.directory.path())
            .env("XDG_CACHE_HOME", self.directory.path())
            .env("DOCKER_HOST", format!("unix://{}", self.path("no-docker.sock").display()))
            // Nothing is compiled, whatever happens.
            .env("CARGO", self.path("no-cargo"))
            .env("REACHMAP_AGENT", self.path("agent"))
            .current_dir(self.directory.path());
        command
    }

    /// The program, where every user may run it: the target directory may be closed to others.
    fn program(&self) -> PathBuf {
        let program = self.path("xtask");
        if !program.exists() {
            let built = env!("CARGO_BIN_EXE_xtask");
            fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
        }
        program
    }

    /// Starts it; what it says goes to files, so that it never waits for a reader.
    pub(crate) fn start(&self, mut command: Command) -> Running<'_> {
        let file = |name: &str| File::create(self.path(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).process_group(0);
        Running { child: command.spawn().unwrap(), place: self }
    }

    fn run(&self, command: Command) -> String {
        self.start(command).end()
    }

    /// What was said, without what differs from test to test.
    fn said(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.replace(&*self.directory.path().to_string_lossy(), "[PLACE]")
    }
}

/// The program while it runs; ended with its group if the test gives up.
pub(crate) struct Running<'a> {
    child: Child,
    place: &'a Place,
}

impl Running<'_> {
    /// Waits until it has said `text`.
    pub(crate) fn until_said(&mut self, text: &str) {
        let seen = poll(&format!("read `{text}`"), SOON, || {
            let said = self.place.said("stderr");
            Ok(if said.contains(text) { Ok(()) } else { Err(said) })
        });
        seen.unwrap();
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended");
    }

    /// Ends it as Ctrl-C does for a person who is elsewhere.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end: the exit code, and what it said, results first.
    pub(crate) fn end(mut self) -> String {
        let ended = poll("see the program end", SOON, || {
            let status = self.child.try_wait().expect("a child of ours");
            Ok(status.ok_or_else(|| self.place.said("stderr")))
        });
        let status = ended.unwrap();
        let code = status.code().map_or_else(|| format!("signal {:?}", status.signal()), |code| code.to_string());
        format!("exit {code}\n{}{}", self.place.said("stdout"), self.place.said("stderr"))
    }

    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            rustix::process::kill_process_group(self.pid(), rustix::process::Signal::KILL).unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Every file below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether one may be root here, at least in namespaces of one's own; says so on the terminal if not.
pub(crate) fn can_be_root(test: &str) -> bool {
    let allowed = is_root()
        || Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    if !allowed {
        skipped(test, "this user may not make namespaces; run it as root");
    }
    allowed
}

/// Says on the terminal, past the harness's capture, that a test has shown nothing.
pub(crate) fn skipped(test: &str, why: &str) {
    use std::io::Write as _;
    // Where nobody can be told, nobody is told.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// A program of the host, by its path: the child's `PATH` does not have it.
fn tool(name: &str) -> PathBuf {
    which::which(name).unwrap_or_else(|_| panic!("the tests need {name}"))
}
