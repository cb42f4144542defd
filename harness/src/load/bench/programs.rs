//! The programs that are measured, and one run of each.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Bench;
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::Command,
    load::{Results, generator::Plan},
    probe::Agent,
    wire::Extent,
};

/// What the agent is called.
pub(super) const AGENT: &str = "reachmap-agent";

/// What hey is called.
pub(super) const HEY: &str = "hey";

/// How long wrk runs: it knows no number of requests.
const WRK_SECONDS: u64 = 3;

/// How long any run may take.
const LIMIT: Duration = Duration::from_secs(600);

/// How often a process is asked for its memory: what it takes in its last moment only is missed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A program, by its file.
#[derive(Debug, Clone)]
pub(super) enum Program {
    Agent(PathBuf),
    Hey(PathBuf),
    Wrk(PathBuf),
}

/// One run of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    pub(super) per_second: f64,
    pub(super) peak_kib: u64,
}

impl Program {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Agent(_) => AGENT,
            Self::Hey(_) => HEY,
            Self::Wrk(_) => "wrk",
        }
    }

    /// Runs it once, and checks that every request was answered with status 200.
    pub(super) async fn run(&self, bench: &Bench, keep_alive: bool, address: SocketAddr) -> Result<Run> {
        let directory = tempfile::tempdir().tried(ErrorKind::Storage, || "create a directory for a measurement")?;
        let pid_file = directory.path().join("pid");
        let looking = tokio::spawn(peak(pid_file.clone()));
        let run = async {
            match self {
                Self::Agent(path) => agent(&under_shell(path, &pid_file), bench, keep_alive, address).await,
                Self::Hey(path) => hey(under_shell(path, &pid_file), bench, keep_alive, address).await,
                Self::Wrk(path) => wrk(under_shell(path, &pid_file), bench, keep_alive, address).await,
            }
        };
        let per_second = run.await;
        // It ends by itself once the process has: at the latest when its directory is gone.
        drop(directory);
        let peak_kib = looking.await.tried(ErrorKind::Internal, || "look at a process")?;
        Ok(Run { per_second: per_second?, peak_kib })
    }
}

/// The program, started by a shell that says under which process id: `exec` keeps it.
fn under_shell(program: &Path, pid_file: &Path) -> Command {
    let script = r#"echo $$ > "$1.new" && mv "$1.new" "$1" && shift && exec "$@""#;
    Command::new("sh").args(["-c", script, "sh"]).arg(pid_file.to_string_lossy()).arg(program.to_string_lossy())
}

/// The most memory that the process has had, in KiB, from proc(5), once it has ended.
async fn peak(pid_file: PathBuf) -> u64 {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut pid = None;
    let mut peak = 0;
    loop {
        looks.tick().await;
        match &pid {
            None => {
                pid = std::fs::read_to_string(&pid_file).ok().map(|text| text.trim().to_owned());
                if pid.is_none() && pid_file.parent().is_none_or(|parent| !parent.exists()) {
                    return peak;
                }
            }
            Some(pid) => match std::fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(|text| high(&text))
            {
                Some(high) => peak = peak.max(high),
                None => return peak,
            },
        }
    }
}

/// `VmHWM` of a process's status, in KiB; a zombie has none any more.
fn high(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

async fn agent(command: &Command, bench: &Bench, keep_alive: bool, address: SocketAddr) -> Result<f64> {
    let agent = Agent::spawn(command.clone()).await?;
    let extent = Extent::Requests(bench.requests);
    let plan = Plan { extent, connections: bench.connections, keep_alive, ..Plan::default() };
    let results = Results::merge(vec![agent.load(plan.load(address, &address.to_string(), "bench")?).await?]);
    let good = results.statuses().get(&200).copied().unwrap_or(0);
    if good != bench.requests {
        let why = format!("{good} of {} answered with 200; failed: {:?}", bench.requests, results.errors());
        return Err(Error::new(ErrorKind::Environment, "measure the agent", why));
    }
    Ok(results.per_second())
}

async fn hey(command: Command, bench: &Bench, keep_alive: bool, address: SocketAddr) -> Result<f64> {
    // hey leaves the rest out if the connections do not divide the requests: so do we here.
    let whole = bench.requests - bench.requests % u64::from(bench.connections);
    let mut command = command.args(["-n", &whole.to_string(), "-c", &bench.connections.to_string()]);
    if !keep_alive {
        command = command.arg("-disable-keepalive");
    }
    let said = command.arg(format!("http://{address}/")).deadline(LIMIT).run_async().await?.text();
    if !said.contains(&format!("[200]\t{whole} responses")) || said.contains("Error distribution") {
        let tail = said.split("Status code distribution").last().unwrap_or_default().trim().to_owned();
        return Err(Error::new(
            ErrorKind::Environment,
            "measure hey",
            format!("not all were answered with 200: {tail}"),
        ));
    }
    rate(&said)
}

async fn wrk(command: Command, bench: &Bench, keep_alive: bool, address: SocketAddr) -> Result<f64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(bench.connections as usize);
    let mut command = command.args(["-t", &threads.to_string(), "-c", &bench.connections.to_string()]);
    command = command.args(["-d", &format!("{WRK_SECONDS}s")]);
    if !keep_alive {
        command = command.args(["-H", "Connection: close"]);
    }
    let said = command.arg(format!("http://{address}/")).deadline(LIMIT).run_async().await?.text();
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return Err(Error::new(ErrorKind::Environment, "measure wrk", format!("not all were answered: {said}")));
    }
    rate(&said)
}

/// The number after `Requests/sec:`, as hey and wrk print it.
fn rate(said: &str) -> Result<f64> {
    let number = said.split("Requests/sec:").nth(1).and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).ok_or_else(|| {
        let said: String = said.chars().take(400).collect();
        Error::new(ErrorKind::Environment, "read a measurement", format!("no number of requests a second in: {said}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_both_print() {
        assert!((rate("Summary:\n  Requests/sec:\t1234.5678\n  \n").unwrap() - 1234.5678).abs() < 1e-9);
        assert!((rate("Requests/sec:  99.50\nTransfer/sec: 1MB\n").unwrap() - 99.5).abs() < 1e-9);
        assert!(rate("usage: wrk").unwrap_err().to_string().contains("usage: wrk"));
    }

    #[tokio::test]
    async fn the_peak_is_that_of_the_program_and_is_told_when_it_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let command = under_shell(Path::new("sh"), &pid_file).args(["-c", "sleep 0.2"]);
        let (peak, ran) = tokio::join!(peak(pid_file.clone()), command.run_async());
        ran.unwrap();
        assert!((100..100_000).contains(&peak), "{peak} KiB");
    }

    #[test]
    fn a_zombie_has_no_memory() {
        assert_eq!(high("Name:\they\nVmPeak:\t  99 kB\nVmHWM:\t   1234 kB\n"), Some(1234));
        assert_eq!(high("Name:\they\nState:\tZ (zombie)\n"), None);
    }
}
