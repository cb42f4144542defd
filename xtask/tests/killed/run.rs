//! A run of `xtask e2e`, listened to and killed.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// Longer than a run that builds everything takes on two slow cores.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Where runs happen.
#[derive(Debug)]
pub(crate) struct Workplace {
    /// The cache directory of the runs.
    pub(crate) home: PathBuf,
    /// The directory of their temporary files: nobody else writes there, so what is left there is theirs.
    pub(crate) scratch: PathBuf,
    logs: PathBuf,
}

impl Workplace {
    pub(crate) fn new(home: &Path, temporary: &Path) -> Self {
        let scratch = temporary.join("scratch");
        let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("killed");
        fs::create_dir_all(&scratch).unwrap();
        fs::create_dir_all(&logs).unwrap();
        println!("home: {}, logs: {}", home.display(), logs.display());
        Self { home: home.to_owned(), scratch, logs }
    }

    fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(arguments)
            .current_dir(super::workspace())
            .env("REACHMAP_CACHE", &self.home)
            .env("TMPDIR", &self.scratch)
            .env("CI", "true")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of `xtask` that must succeed, and returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.xtask(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Removes everything that no live run owns.
    pub(crate) fn collect_garbage(&self) {
        println!("gc: {}", self.run(&["gc", "--all"]).trim_end().replace('\n', "; "));
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // A failed test cleans up too, as well as it can.
        if std::thread::panicking() {
            let _ = self.xtask(&["gc", "--all"]).status();
        }
    }
}

/// A run that lives.
#[derive(Debug)]
pub(crate) struct Run {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    last: String,
    ended: bool,
    started: Instant,
}

/// What a run was heard to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It said this line.
    Line(String),
    /// It says nothing more: it has ended.
    End,
}

impl Run {
    /// Starts a run in a process group of its own, so that a kill of the group reaches nobody else.
    pub(crate) fn start(place: &Workplace, name: &str, arguments: &[&str]) -> Self {
        let log = place.logs.join(format!("{name}.log"));
        let mut file = File::create(&log).unwrap();
        let mut child = place
            .xtask(arguments)
            .process_group(0)
            .stdout(file.try_clone().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                writeln!(file, "{line}").unwrap();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, log, last: String::new(), ended: false, started: Instant::now() }
    }

    /// Listens until it says a line with `phrase`.
    pub(crate) fn until_it_says(&mut self, phrase: &str) -> Heard {
        loop {
            match self.next_line(DEADLINE.saturating_sub(self.started.elapsed())) {
                Ok(line) if line.contains(phrase) => return Heard::Line(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Heard::End,
                Err(RecvTimeoutError::Timeout) => panic!("never said `{phrase}`; last said: {}", self.last),
            }
        }
    }

    /// Listens for `time`, and tells the last line said before its end.
    pub(crate) fn until_it_has_gone_on_for(&mut self, time: Duration) -> Heard {
        let started = Instant::now();
        loop {
            match self.next_line(time.saturating_sub(started.elapsed())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Heard::End,
                Err(RecvTimeoutError::Timeout) => return Heard::Line(self.last.clone()),
            }
        }
    }

    fn next_line(&mut self, time: Duration) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(time)?;
        self.last.clone_from(&line);
        Ok(line)
    }

    /// Kills it and its whole process group.
    pub(crate) fn kill(mut self) {
        kill_process_group(self.group(), Signal::KILL).unwrap();
        let status = self.wait();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended by itself just before: {status}");
    }

    /// Waits for its end: it must be green.
    pub(crate) fn finish(mut self) {
        while self.next_line(DEADLINE.saturating_sub(self.started.elapsed())).map_err(|end| self.check(end)).is_ok() {}
        let status = self.wait();
        let log = fs::read_to_string(&self.log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        assert_eq!(status.code(), Some(0), "{}:\n{tail}", self.log.display());
        println!("  green in {:.0}s: {}", self.started.elapsed().as_secs_f64(), self.log.display());
    }

    fn check(&self, end: RecvTimeoutError) {
        assert_eq!(end, RecvTimeoutError::Disconnected, "not ended in time; last said: {}", self.last);
    }

    fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        self.ended = true;
        status
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Not waited for, so its id is still its own.
        if !self.ended {
            let _ = kill_process_group(self.group(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
