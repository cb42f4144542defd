//! Commands as data: built, printed and snapshot-tested without being run.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{Error, ErrorKind, Result, process};

/// A command that can be looked at before it is run.
///
/// ```
/// use reachmap::command::Command;
/// let command = Command::new("kind").args(["get", "clusters"]);
/// assert_eq!(command.display(), "kind get clusters");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Command {
    /// The program: a name looked up in `PATH`, or a path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables set for it, beside the inherited ones.
    pub env: BTreeMap<String, String>,
    /// Environment variables taken away from it.
    pub env_remove: Vec<String>,
    /// What it reads from its standard input; nothing if absent.
    pub stdin: Option<Vec<u8>>,
    /// Where it runs; the current directory if absent.
    pub dir: Option<PathBuf>,
    /// After this long it is killed and the run is an error.
    pub deadline: Duration,
    /// A file that gets everything it prints, appended, beside what is captured.
    pub log: Option<PathBuf>,
}

/// What a command that ended left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without the last line break.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Command {
    /// A command without arguments, with a deadline of two minutes.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            env_remove: Vec::new(),
            stdin: None,
            dir: None,
            deadline: Duration::from_secs(120),
            log: None,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Takes an environment variable away.
    pub fn env_remove(mut self, name: impl Into<String>) -> Self {
        self.env_remove.push(name.into());
        self
    }

    /// Gives it something to read.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Sets where it runs.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets how long it may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Appends everything that it prints to `path`, too.
    pub fn log(mut self, path: impl AsRef<Path>) -> Self {
        self.log = Some(path.as_ref().to_owned());
        self
    }

    /// The same command line after other words: for a program that runs another, such as `nsenter`.
    ///
    /// ```
    /// use reachmap::command::Command;
    /// let words = ["nsenter".to_owned(), "--net=/proc/7/ns/net".to_owned()];
    /// let command = Command::new("docker").arg("ps").after(&words);
    /// assert_eq!(command.display(), "nsenter --net=/proc/7/ns/net docker ps");
    /// ```
    pub fn after(mut self, words: &[String]) -> Self {
        if let Some((program, words)) = words.split_first() {
            let own = std::mem::replace(&mut self.program, program.clone());
            self.args = words.iter().cloned().chain([own]).chain(self.args).collect();
        }
        self
    }

    /// The command line as a person would type it; standard input is left out.
    pub fn display(&self) -> String {
        std::iter::once(&self.program).chain(&self.args).map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end and returns what it left, whatever its exit code.
    ///
    /// The command leads a process group of its own, so that a deadline ends its children too.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if the program is not there, [`ErrorKind::Deadline`] if it took too long.
    pub fn output(&self) -> Result<Output> {
        let tried = || format!("run `{}`", self.display());
        let log = self.log.as_deref().map(Log::at);
        let mut expression = duct::cmd(&self.program, self.args.iter().map(OsString::from)).stdout_capture();
        // What a long command says while it runs can be read while it runs.
        expression = match &log {
            Some(log) => expression.stderr_file(log.begin(&self.display())?),
            None => expression.stderr_capture(),
        };
        expression = expression.unchecked().before_spawn(|command| {
            use std::os::unix::process::CommandExt as _;
            command.process_group(0);
            Ok(())
        });
        expression = match &self.stdin {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        };
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        for (name, value) in &self.env {
            expression = expression.env(name, value);
        }
        for name in &self.env_remove {
            expression = expression.env_remove(name);
        }
        let handle = expression.start().map_err(|error| {
            let kind =
                if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::Missing } else { ErrorKind::Environment };
            Error::from_source(kind, tried(), error)
        })?;
        let _registered: Vec<_> =
            handle.pids().into_iter().map(|pid| process::register(pid, &self.display())).collect();
        let ended = handle
            .wait_timeout(self.deadline)
            .map_err(|error| Error::from_source(ErrorKind::Environment, tried(), error))?;
        let Some(ended) = ended else {
            for pid in handle.pids() {
                process::end_group(pid);
            }
            let partial = handle.kill().and_then(|()| handle.wait().cloned());
            let said = log.map_or_else(|| partial.map(|output| output.stderr).unwrap_or_default(), |log| log.said());
            let tail = tail(&said);
            return Err(Error::new(
                ErrorKind::Deadline,
                tried(),
                format!("not ended after {:?}; it last printed: {tail}", self.deadline),
            ));
        };
        let output = Output {
            code: ended.status.code(),
            stdout: ended.stdout.clone(),
            stderr: log.as_ref().map_or_else(|| ended.stderr.clone(), Log::said),
        };
        if let Some(log) = log {
            log.end(&output)?;
        }
        Ok(output)
    }

    /// Runs it and returns its output if it exits with 0.
    ///
    /// # Errors
    /// As [`Command::output`], and [`ErrorKind::Environment`] with the end of its
    /// standard error if it exits with anything else.
    pub fn run(&self) -> Result<Output> {
        self.succeeded(self.output()?)
    }

    /// What it left, if it exited with 0.
    pub(crate) fn succeeded(&self, output: Output) -> Result<Output> {
        if output.code == Some(0) {
            return Ok(output);
        }
        let code = output.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let mut error = Error::new(
            ErrorKind::Environment,
            format!("run `{}`", self.display()),
            format!("it ended with {code}: {}", tail(said)),
        );
        if let Some(log) = &self.log {
            error = error.hint(format!("All that it printed is in {}.", log.display()));
        }
        Err(error)
    }

    /// Runs it as [`Command::run`] does, without blocking the async runtime.
    pub async fn run_async(&self) -> Result<Output> {
        let command = self.clone();
        tokio::task::spawn_blocking(move || command.run())
            .await
            .map_err(|error| Error::from_source(ErrorKind::Internal, "join a command's thread", error))?
    }

    /// The same command for tokio, for children that live long and are spoken to: its three streams
    /// are pipes, it leads a process group of its own, and it is killed when its handle is dropped.
    ///
    /// [`Command::stdin`], [`Command::deadline`] and [`Command::log`] do not apply to it.
    pub fn to_tokio(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.args)
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        for name in &self.env_remove {
            command.env_remove(name);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Runs it with the terminal of this process, for a person to use, and returns its exit code.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if the program is not there.
    pub fn interactive(&self) -> Result<u8> {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).envs(&self.env);
        for name in &self.env_remove {
            command.env_remove(name);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let status = command
            .status()
            .map_err(|error| Error::from_source(ErrorKind::Missing, format!("run `{}`", self.display()), error))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }
}

/// The file that gets what a command prints: its errors while it runs, its output when it ends.
struct Log {
    path: PathBuf,
    start: u64,
}

impl Log {
    fn at(path: &Path) -> Self {
        let start = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Self { path: path.to_owned(), start }
    }

    fn begin(&self, command: &str) -> Result<std::fs::File> {
        self.write(|file| writeln!(file, "$ {command}"))
    }

    fn end(&self, output: &Output) -> Result<()> {
        self.write(|file| {
            file.write_all(&output.stdout)?;
            writeln!(
                file,
                "[{}]",
                output.code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"))
            )
        })
        .map(drop)
    }

    fn write(&self, write: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>) -> Result<std::fs::File> {
        let open = || -> std::io::Result<std::fs::File> {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut file = std::fs::File::options().create(true).append(true).open(&self.path)?;
            write(&mut file)?;
            Ok(file)
        };
        open().map_err(|error| {
            Error::from_source(ErrorKind::Storage, format!("write the log {}", self.path.display()), error)
        })
    }

    /// What the command has said so far, without the line that names it.
    fn said(&self) -> Vec<u8> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(&self.path)?;
            file.seek(std::io::SeekFrom::Start(self.start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let mut bytes = read().unwrap_or_default();
        let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        bytes.split_off(line)
    }
}

/// `word` as a shell has to be given it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n    ")
}

/// Repeats `attempt` until it returns something, at most until `deadline` has passed.
///
/// For states that no watch announces (a process that starts, a socket that appears).
///
/// # Errors
/// [`ErrorKind::Deadline`] with the last thing that `attempt` said about why it is not there yet.
///
/// ```
/// use std::time::Duration;
/// let mut n = 0;
/// let found = reachmap::command::poll("count to three", Duration::from_secs(1), || {
///     n += 1;
///     if n == 3 { Ok(Ok(n)) } else { Ok(Err(format!("at {n}"))) }
/// });
/// assert_eq!(found.unwrap(), 3);
/// ```
pub fn poll<T>(
    tried: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let last_seen = match attempt()? {
            Ok(value) => return Ok(value),
            Err(last_seen) => last_seen,
        };
        if started.elapsed() + pause > deadline {
            return Err(Error::new(
                ErrorKind::Deadline,
                tried,
                format!("not there after {deadline:?}; last seen: {last_seen}"),
            ));
        }
        #[expect(clippy::disallowed_methods, reason = "the one place that waits, with a condition and a deadline")]
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// Reads a whole file to text, and says which file if that fails.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| Error::from_source(ErrorKind::Storage, format!("read {}", path.display()), error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_what_it_printed() {
        let error = Command::new("sh").args(["-c", "echo it broke >&2; exit 7"]).run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Environment);
        assert_eq!(
            error.to_string(),
            "failed to run `sh -c 'echo it broke >&2; exit 7'`: it ended with exit code 7: it broke"
        );
    }

    #[test]
    fn a_missing_program_is_missing() {
        let error = Command::new("no-such-program-here").run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
    }

    #[test]
    fn a_deadline_ends_the_children_too() {
        let error = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; echo waiting >&2; wait"])
            .deadline(Duration::from_millis(200))
            .run()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert!(error.to_string().contains("waiting"), "{error}");
    }

    #[test]
    fn a_log_has_the_command_what_it_said_and_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("logs/step.log");
        let command = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).log(&log);
        let output = command.output().unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text, "$ sh -c 'echo out; echo err >&2; exit 3'\nerr\nout\n[exit code 3]\n");
        assert!(command.run().unwrap_err().to_string().ends_with("exit code 3: err"));
    }

    #[test]
    fn standard_input_reaches_the_command() {
        let output = Command::new("cat").stdin("kind: Cluster").run().unwrap();
        assert_eq!(output.text(), "kind: Cluster");
    }

    #[test]
    fn a_poll_that_never_succeeds_says_what_it_last_saw() {
        let error = poll::<()>("see the socket", Duration::from_millis(20), || Ok(Err("no file".into()))).unwrap_err();
        assert!(error.to_string().ends_with("last seen: no file"), "{error}");
    }
}
