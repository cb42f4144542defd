//! A program that looks a name up.

use std::{io, process::Stdio, time::Duration};

use reachmap_wire::End;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::{Instant, timeout, timeout_at},
};

use super::session::Session;

/// How much is kept of each of its outputs, in bytes.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// How long its outputs may stay open once it has ended: something that left its process group holds them.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);

/// Runs `argv` for `session` until `deadline` at the latest; then it is killed, with all that it started.
pub(super) async fn run(argv: &[String], deadline: Instant, session: &Session) -> Result<End, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("the program has no name".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that all of it can be ended.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(End::NoSuchProgram),
        Err(error) => return Err(format!("cannot start {program}: {error}")),
    };
    let mut group = Group::of(&child);
    if let Some(group) = group.0 {
        // Once for each session.
        let _ = session.group.set(group);
    }
    let pipes = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Kept::default(), Kept::default());
    let status = {
        let reading = async {
            tokio::join!(stdout.read(pipes.0), stderr.read(pipes.1));
        };
        tokio::pin!(reading);
        let mut is_read = false;
        let waiting = async {
            loop {
                tokio::select! {
                    status = child.wait() => return status,
                    () = &mut reading, if !is_read => is_read = true,
                }
            }
        };
        let status = timeout_at(deadline, waiting).await;
        group.kill();
        if status.is_ok() && !is_read {
            // What it wrote last is in the pipes still.
            let _ = timeout(CLOSE_LIMIT, reading).await;
        }
        status
    };
    match status {
        Ok(Ok(status)) => Ok(End::Exited { code: status.code(), stdout: stdout.text(), stderr: stderr.text() }),
        Ok(Err(error)) => Err(format!("cannot wait for {program}: {error}")),
        Err(_late) => {
            // Killed: it is gone as soon as the kernel gets round to it.
            child.wait().await.map_err(|error| format!("cannot wait for {program}: {error}"))?;
            Ok(End::TimedOut)
        }
    }
}

/// The process group of a program; killed at the latest when this is dropped.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// Once: later, the number may be another's.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // An error means that nobody is left of it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The start of an output.
#[derive(Debug, Default)]
struct Kept(Vec<u8>);

impl Kept {
    /// Reads all of it and keeps the start, so that a talkative program is not held up.
    async fn read(&mut self, output: Option<impl AsyncRead + Unpin>) {
        let Some(mut output) = output else { return };
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(length @ 1..) = output.read(&mut buffer).await {
            let room = OUTPUT_LIMIT.saturating_sub(self.0.len());
            self.0.extend_from_slice(&buffer[..length.min(room)]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}
