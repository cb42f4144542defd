//! A private Docker engine in mount, network, pid, ipc and uts namespaces of its own, from Debian packages.
//!
//! Its network has no uplink: nothing that runs in it can reach, or be reached from, anything else.
//! Its first process is written down, with its start time, before it does anything; when that process
//! is ended, the kernel ends everything in the engine and takes the mounts and the network away.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::limits::Limits;
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::{self, Command},
    environment::images::packages,
    home::{Home, discard, hidden, remove_tree, write_atomically},
    process::{ProcessId, boot_id},
    progress::Progress,
};

/// The lock that the engine itself holds, from its first instruction until nothing of it lives.
const LIFE: &str = "engine-life";
/// The directory of its containers, volumes, networks and images, beside its record.
const DATA: &str = "docker";
/// Where the home is seen inside the engine.
const INSIDE: &str = "/reachmap";
/// Where Debian has its programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const START: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/engine/start.sh"));

/// A private engine that runs.
#[derive(Debug, Clone)]
pub struct Sandbox {
    home: Home,
    init: ProcessId,
}

impl Sandbox {
    /// The engine of `home`, if it runs.
    pub fn running(home: &Home) -> Option<Self> {
        let state = home.engine();
        if fs::read_to_string(state.join("boot")).ok()? != boot_id() {
            return None;
        }
        let recorded = fs::read_to_string(state.join("init")).ok()?;
        let (pid, start) = recorded.trim().split_once(' ')?;
        let init = ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? };
        init.is_alive().then(|| Self { home: home.clone(), init })
    }

    /// Whether the artifact at `path` has the root file system that the engine runs on. Its mounts are its own: from here,
    /// nothing shows that somebody is using it.
    pub(crate) fn stands_on(&self, path: &Path) -> bool {
        match fs::read_to_string(self.home.engine().join("root")) {
            Ok(root) => Path::new(&root).starts_with(path),
            // An engine that was started before this was written down.
            Err(_) => path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("engine-root-")),
        }
    }

    /// The engine of `home`, started if it does not run.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] with the end of its log if it does not answer.
    pub fn start(home: &Home, progress: &Progress) -> Result<Self> {
        let root = packages::engine_root(home, progress)?;
        let _lock = home.lock("engine", progress)?;
        if let Some(sandbox) = Self::settled(home)? {
            if sandbox.answers_soon().is_ok() {
                return Ok(sandbox);
            }
            sandbox.end()?;
        }
        let step = progress.step("Start the private engine", Some(Duration::from_secs(3)));
        let state = home.engine();
        fs::create_dir_all(&state).tried(ErrorKind::Storage, || format!("create {}", state.display()))?;
        Self::sweep(home)?;
        let limits = Limits::of_this_machine();
        // Until the engine itself shares them, which is before it answers.
        let _share = limits.raise()?;
        write_atomically(&state.join("root"), root.as_os_str().as_encoded_bytes())?;
        write_atomically(&state.join("boot"), boot_id().as_bytes())?;
        let script = state.join("start.sh");
        write_atomically(&script, START.as_bytes())?;
        let log = state.join("engine.log");
        let log_file = fs::File::create(&log).tried(ErrorKind::Storage, || format!("write {}", log.display()))?;
        let errors = log_file.try_clone().tried(ErrorKind::Storage, || format!("write {}", log.display()))?;
        // `setsid --fork`: it outlives this run, and a kill of this run's process group does not reach it.
        std::process::Command::new("setsid")
            .args([
                "--fork",
                "unshare",
                "--mount",
                "--net",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "--kill-child",
                "bash",
            ])
            .args([&script, &root, home.root(), &state])
            .arg(Self::control_group(home))
            .arg(limits.lock_path())
            // What the user's environment says (TMPDIR, proxies, DOCKER_HOST) is not so in there.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
            .env("HOME", "/root")
            .stdin(std::process::Stdio::null())
            .stdout(log_file)
            .stderr(errors)
            .status()
            .tried(ErrorKind::Environment, || "start the private engine")?;
        let deadline = Duration::from_secs(60);
        let started = command::poll("see the private engine answer", deadline, || {
            Ok(match Self::running(home) {
                Some(sandbox) => sandbox.answers().map(|()| sandbox).map_err(|error| error.to_string()),
                None => Err("it has not written down its first process".to_owned()),
            })
        });
        let sandbox =
            started.map_err(|error| error.hint(format!("Its log is {}: {}", log.display(), log_end(&log))))?;
        step.done();
        Ok(sandbox)
    }

    /// Ends the engine of `home` and everything in it, unless a run uses it. Says whether there was one to end.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] if it does not end.
    pub fn stop_if_unused(home: &Home, progress: &Progress) -> Result<bool> {
        let _lock = home.lock("engine", progress)?;
        let Some(_unused) = home.try_lock("engine-use")? else { return Ok(false) };
        let running = Self::settled(home)?;
        if let Some(sandbox) = &running {
            sandbox.end()?;
        }
        Self::sweep(home)?;
        Ok(running.is_some())
    }

    /// Removes the data of the engine of `home` if it has ended without being asked to, by a kill or a power cut: nobody
    /// can use its containers any more, and only an engine could list them. Its images go as well; they are made anew of
    /// what is cached. Returns whether it was dead: one that lives is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if something cannot be removed.
    pub(crate) fn clear_if_dead(home: &Home, progress: &Progress) -> Result<bool> {
        let _lock = home.lock("engine", progress)?;
        if Self::settled(home)?.is_some() {
            return Ok(false);
        }
        // One whose starter was killed begins to live with this lock, or not at all.
        let Some(_life) = home.try_lock(LIFE)? else { return Ok(false) };
        discard(&home.engine().join(DATA))?;
        Ok(true)
    }

    /// The engine of `home`, if it runs, or is about to because its starter was killed right after it started it.
    fn settled(home: &Home) -> Result<Option<Self>> {
        command::poll("see whether a private engine lives", Duration::from_secs(10), || {
            Ok(match Self::running(home) {
                Some(sandbox) => Ok(Some(sandbox)),
                None if home.try_lock(LIFE)?.is_some() => Ok(None),
                None => Err("it lives, and has not written down its first process".to_owned()),
            })
        })
    }

    /// A command that runs inside the engine's namespaces and root file system.
    pub fn command(&self, command: Command) -> Command {
        let mut inside = Command {
            program: "nsenter".to_owned(),
            args: [
                "--target",
                &self.init.pid.to_string(),
                "--mount",
                "--net",
                "--pid",
                "--ipc",
                "--uts",
                "--root",
                "--wd",
                "--",
                "env",
            ]
            .map(ToOwned::to_owned)
            .to_vec(),
            env: BTreeMap::new(),
            ..command.clone()
        };
        // The host's environment means nothing in there.
        inside.args.extend(["-i", "HOME=/root", "LANG=C.UTF-8"].map(ToOwned::to_owned));
        inside.args.push(format!("PATH={PATH}"));
        if let Ok(term) = std::env::var("TERM") {
            inside.args.push(format!("TERM={term}"));
        }
        inside.args.extend(command.env.iter().map(|(name, value)| format!("{name}={value}")));
        inside.args.push(command.program);
        inside.args.extend(command.args);
        inside
    }

    /// The engine's network namespace.
    pub fn network_namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.init.pid))
    }

    /// The engine's root directory, as it is seen from outside.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init.pid))
    }

    /// A path below the home, as it is seen in the engine.
    pub fn inside(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.home.root()).map_or_else(|_| path.to_owned(), |below| Path::new(INSIDE).join(below))
    }

    /// The control group of the engine of `home`, in every hierarchy: one per home, so that two homes' engines do not mix.
    ///
    /// ```
    /// use reachmap::{environment::engine::Sandbox, home::Home};
    /// assert!(Sandbox::control_group(&Home::at("/var/cache/reachmap")).starts_with("/reachmap-"));
    /// ```
    pub fn control_group(home: &Home) -> String {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(home.root().as_os_str().as_encoded_bytes());
        format!("/reachmap-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
    }

    /// As [`Self::answers`], with time for one that was started a moment ago, by a run that was killed since.
    fn answers_soon(&self) -> Result<()> {
        command::poll("see the private engine answer", Duration::from_secs(30), || {
            Ok(match self.answers() {
                Err(error) if self.init.is_alive() => Err(error.to_string()),
                ended_or_answered => Ok(ended_or_answered),
            })
        })?
    }

    fn answers(&self) -> Result<()> {
        self.command(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))
            .deadline(Duration::from_secs(10))
            .run()
            .map(drop)
    }

    fn end(&self) -> Result<()> {
        let pid = i32::try_from(self.init.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid.filter(|_| self.init.is_alive()) else { return Ok(()) };
        // Asked first, so that the engine can write down what it has; it has nothing running by now.
        let ended = |signal, deadline| {
            let _ = rustix::process::kill_process(pid, signal);
            command::poll("end the private engine", deadline, || {
                Ok(if self.init.is_alive() { Err(format!("process {} lives", self.init.pid)) } else { Ok(()) })
            })
        };
        ended(rustix::process::Signal::TERM, Duration::from_secs(15))
            .or_else(|_| ended(rustix::process::Signal::KILL, Duration::from_secs(10)))
    }

    /// Takes away what an engine that has ended leaves: its control groups, its record, the limits that it raised.
    fn sweep(home: &Home) -> Result<()> {
        let state = home.engine();
        remove_cgroups(&Self::control_group(home));
        Limits::of_this_machine().restore_if_last()?;
        // What a kill has left of the data of one that was dead.
        remove_tree(&hidden(&state.join(DATA)))?;
        for name in ["init", "boot", "root"] {
            match fs::remove_file(state.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::from_source(
                        ErrorKind::Storage,
                        format!("remove the engine's record {name}"),
                        error,
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn remove_cgroups(cgroup: &str) {
    fn remove(dir: &Path) {
        if let Ok(entries) = fs::read_dir(dir) {
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                remove(&entry.path());
            }
        }
        // A group that still holds a process stays, and is removed the next time.
        let _ = fs::remove_dir(dir);
    }
    let name = cgroup.trim_start_matches('/');
    let base = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    for dir in std::iter::once(base.to_owned()).chain(hierarchies).map(|dir| dir.join(name)).filter(|dir| dir.is_dir())
    {
        remove(&dir);
    }
}

fn log_end(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Show;

    /// This test's own process, as if it were an engine that was started on `root`.
    fn running(home: &Home, root: Option<&Path>) -> Sandbox {
        let state = home.engine();
        let this = ProcessId::of(std::process::id()).unwrap();
        write_atomically(&state.join("boot"), boot_id().as_bytes()).unwrap();
        write_atomically(&state.join("init"), format!("{} {}\n", this.pid, this.start).as_bytes()).unwrap();
        if let Some(root) = root {
            write_atomically(&state.join("root"), root.as_os_str().as_encoded_bytes()).unwrap();
        }
        Sandbox::running(home).unwrap()
    }

    #[test]
    fn an_engine_stands_on_the_root_that_it_was_started_on() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let [old, new] = ["engine-root-old", "engine-root-new"].map(|name| home.artifacts().join(name));
        let unknown = running(&home, None);
        assert!(unknown.stands_on(&old) && unknown.stands_on(&new) && !unknown.stands_on(&home.artifacts().join("go")));
        let sandbox = running(&home, Some(&old.join("root")));
        assert!(sandbox.stands_on(&old) && !sandbox.stands_on(&new));
    }

    #[test]
    fn only_the_data_of_a_dead_engine_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let progress = Progress::new(Show::Nothing, dir.path());
        let container = home.engine().join("docker/containers/0123");
        fs::create_dir_all(&container).unwrap();
        drop(running(&home, None));
        assert!(!Sandbox::clear_if_dead(&home, &progress).unwrap() && container.exists());
        write_atomically(&home.engine().join("boot"), b"an earlier one").unwrap();
        assert!(Sandbox::clear_if_dead(&home, &progress).unwrap());
        assert!(!home.engine().join("docker").exists());
    }
}
