//! How fast the generator is, beside hey and wrk: the same server, connections and machine, in rounds that take turns.
//!
//! Each run is a process of its own, and is measured alike: requests a second as the program itself counts them, and
//! the most memory that the kernel has seen it take (`VmHWM`, proc(5)). What the agent reports travels through a pipe to
//! this process and is read and kept there meanwhile, on the same machine: that is a part of its price, and in its number.

mod programs;
mod server;

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use self::{
    programs::{Program, Run},
    server::Server,
};
use crate::{Error, ErrorKind, Result, environment::images::hey, home::Home, probe::AgentBinary, progress::Progress};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bench {
    /// How many requests each run sends.
    pub requests: u64,
    /// Over how many connections at once.
    pub connections: u32,
    /// How many runs of each program there are.
    pub rounds: u32,
}

/// All runs of one program in one mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Its name.
    pub program: &'static str,
    /// Whether it kept connections.
    pub keep_alive: bool,
    /// Requests a second, one for each round.
    pub per_second: Vec<f64>,
    /// The most memory in any round, in KiB.
    pub peak_kib: u64,
}

impl Measured {
    /// The median of the rounds, in requests a second.
    pub fn median(&self) -> f64 {
        median(self.per_second.clone())
    }
}

/// What a benchmark has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchResult {
    bench: Bench,
    server: String,
    notes: Vec<String>,
    /// First without kept connections, then with: the agent, hey, and wrk if it is there.
    pub measured: Vec<Measured>,
}

/// Runs all programs in turn.
///
/// # Errors
/// [`ErrorKind::Usage`] for numbers that make no load; those of building the agent and hey, and of running them.
pub async fn bench(bench: Bench, home: &Home, progress: &Progress) -> Result<BenchResult> {
    let Bench { requests, connections, rounds } = bench;
    if rounds == 0 || requests < u64::from(connections) || connections == 0 {
        let why = format!("{requests} requests, {connections} connections, {rounds} rounds");
        return Err(Error::new(ErrorKind::Usage, "measure loads", why)
            .hint("Take at least one of each, and no more connections than requests."));
    }
    let (agent, hey) = {
        let (home, progress) = (home.clone(), progress.clone());
        let build = move || Ok((AgentBinary::find_or_build(&home, &progress)?, hey::find_or_build(&home, &progress)?));
        crate::session::run::blocking(build).await?
    };
    let server = Server::start().await?;
    let mut notes = Vec::new();
    let mut programs = vec![Program::Agent(agent.path().to_owned()), Program::Hey(hey.path().to_owned())];
    match which::which("wrk") {
        Ok(wrk) => programs.push(Program::Wrk(wrk)),
        Err(_) => {
            notes.push("wrk is left out: it is not there (on Debian and Ubuntu: apt-get install wrk).".to_owned());
        }
    }
    notes.extend(server.note().map(str::to_owned));
    let mut measured = Vec::new();
    for keep_alive in [false, true] {
        let mut runs: Vec<Vec<Run>> = programs.iter().map(|_| Vec::new()).collect();
        let step =
            progress.step(if keep_alive { "Measure with keep-alive" } else { "Measure without keep-alive" }, None);
        for round in 0..rounds as usize {
            for turn in 0..programs.len() {
                // Nobody is always the first.
                let place = (round + turn) % programs.len();
                runs[place].push(programs[place].run(&bench, keep_alive, server.address()).await?);
            }
        }
        step.done();
        measured.extend(programs.iter().zip(runs).map(|(program, runs)| Measured {
            program: program.name(),
            keep_alive,
            per_second: runs.iter().map(|run| run.per_second).collect(),
            peak_kib: runs.iter().map(|run| run.peak_kib).max().unwrap_or(0),
        }));
    }
    Ok(BenchResult { bench, server: server.describe().to_owned(), notes, measured })
}

impl BenchResult {
    /// How much faster than hey the agent is in the median, and how much of hey's memory it takes.
    pub fn ratios(&self, keep_alive: bool) -> Option<(f64, f64)> {
        let find = |name| self.measured.iter().find(|one| one.program == name && one.keep_alive == keep_alive);
        let (agent, hey) = (find(programs::AGENT)?, find(programs::HEY)?);
        #[expect(clippy::cast_precision_loss, reason = "no process has 2^52 KiB")]
        let memory = agent.peak_kib as f64 / hey.peak_kib as f64;
        Some((agent.median() / hey.median(), memory))
    }
}

impl Display for BenchResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Bench { requests, connections, rounds } = self.bench;
        writeln!(f, "{requests} requests over {connections} connections to {}, {rounds} rounds in turn", self.server)?;
        writeln!(
            f,
            "{:<16}{:<12}{:>12}{:>12}{:>12}{:>14}{:>8}",
            "program", "keep-alive", "median/s", "least/s", "most/s", "peak memory", "to hey"
        )?;
        for one in &self.measured {
            let is_its_hey = |other: &&Measured| other.program == programs::HEY && other.keep_alive == one.keep_alive;
            let ratio = self.measured.iter().find(is_its_hey).map_or(f64::NAN, |hey| one.median() / hey.median());
            let least = one.per_second.iter().copied().fold(f64::MAX, f64::min);
            let most = one.per_second.iter().copied().fold(0.0, f64::max);
            let kept = if one.keep_alive { "yes" } else { "no" };
            let memory = format!("{:.1} MiB", mebibytes(one.peak_kib));
            let median = one.median();
            writeln!(
                f,
                "{:<16}{kept:<12}{median:>12.0}{least:>12.0}{most:>12.0}{memory:>14}{ratio:>8.2}",
                one.program
            )?;
        }
        for (keep_alive, wanted) in [(false, 1.0), (true, 1.5)] {
            if let Some((speed, memory)) = self.ratios(keep_alive) {
                let what = if keep_alive { "with keep-alive" } else { "without keep-alive" };
                let met = if speed >= wanted && memory <= 1.0 { "met" } else { "not met" };
                writeln!(
                    f,
                    "{what}: {speed:.2} times hey's throughput (goal {wanted:.1}), {memory:.2} of its memory (goal 1.0): {met}"
                )?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, middle.checked_sub(1).and_then(|before| values.get(before)), values.get(middle)) {
        (0, Some(before), Some(after)) => f64::midpoint(*before, *after),
        (_, _, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^52 KiB")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < 1e-9);
        assert!((median(vec![7.0]) - 7.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_goal_that_is_not_met_is_said_to_be_so() {
        let one = |program, keep_alive, rates: [f64; 3], peak_kib| Measured {
            program,
            keep_alive,
            per_second: rates.into(),
            peak_kib,
        };
        let result = BenchResult {
            bench: Bench { requests: 1_000, connections: 50, rounds: 3 },
            server: "nginx on 127.0.0.1".to_owned(),
            notes: vec!["wrk is left out.".to_owned()],
            measured: vec![
                one(programs::AGENT, false, [900.0, 1_000.0, 1_100.0], 8_192),
                one(programs::HEY, false, [800.0, 1_250.0, 1_300.0], 16_384),
                one(programs::AGENT, true, [3_000.0, 3_100.0, 3_200.0], 8_192),
                one(programs::HEY, true, [1_000.0, 1_550.0, 1_600.0], 16_384),
            ],
        };
        insta::assert_snapshot!(result);
        insta::assert_snapshot!("in_every_form", crate::cli::forms(&result, || result.to_string()));
    }

    #[tokio::test]
    async fn no_rounds_are_no_measurement() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let progress = Progress::new(crate::progress::Show::Nothing, dir.path());
        let none = Bench { requests: 10, connections: 1, rounds: 0 };
        assert_eq!(bench(none, &home, &progress).await.unwrap_err().kind(), ErrorKind::Usage);
        assert!(!home.root().exists(), "nothing was built");
    }
}
