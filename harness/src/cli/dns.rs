//! The commands about DNS: a name's way explained, and how long an edit of the Corefile takes to become live.

mod explain;

use std::{fmt, time::Duration};

use serde::Serialize;

pub(super) use self::explain::{DnsArguments, run};
use super::CorefileArguments;
use crate::{
    Result,
    environment::{
        self, Environment,
        addons::coredns::{Change, Way},
        open_home, release,
        tutorial::Names,
    },
    probe::{AgentBinary, bench::percentile},
    progress::Progress,
    session::{
        directory::RunDirectory,
        interrupt::guarded,
        run::{blocking, show},
    },
};

/// The Corefiles that the benchmark goes through, over and over: each differs from the one before.
///
/// The original is not among them: it leaves the `reload` plugin at its own 30 seconds, give or take 15, and so says
/// nothing of how soon the next edit is seen.
const ROUND: [Names; 3] = [Names::Name, Names::NameAndAlias, Names::WithFallthrough];

pub(super) async fn bench_corefile(arguments: CorefileArguments) -> Result<u8> {
    let home = open_home(arguments.environment.cache_dir.as_deref())?;
    environment::check(&arguments.environment, &home).await?;
    let run = RunDirectory::create(None)?;
    let progress = Progress::new(show(), run.path.join("logs"));
    let body = async {
        let agent = {
            let (home, progress) = (home.clone(), progress.clone());
            blocking(move || AgentBinary::find_or_build(&home, &progress)).await?
        };
        let mut environment = Environment::up(&arguments.environment, false, false, &home, &run.id, &progress).await?;
        environment.stand_everywhere(&agent).await?;
        // The first edit finds the plugin looking every 30 seconds only; it is restarted into ours, and not counted.
        environment.edit_corefile(Names::WithFallthrough, Way::Restart).await?;
        let mut changes = Vec::new();
        for names in ROUND.into_iter().cycle().take(arguments.edits as usize) {
            changes.push(environment.edit_corefile(names, arguments.way).await?);
        }
        Ok(changes)
    };
    let measured = guarded(body).await;
    release(&home, false, &progress).await?.of_run(&home, &run.id)?;
    let measured = Measured::of(&measured?, arguments.way);
    arguments.output.print(&measured, || measured.to_string())?;
    Ok(0)
}

/// What `bench corefile` has found.
#[derive(Debug, Serialize)]
struct Measured {
    way: Way,
    /// Of the whole edits.
    edits: Times,
    /// Of the single replicas.
    replicas: Times,
}

/// How long something took, over and over, in milliseconds.
#[derive(Debug, Serialize)]
struct Times {
    count: usize,
    p50_ms: u64,
    p99_ms: u64,
    least_ms: u64,
    most_ms: u64,
}

impl Measured {
    fn of(changes: &[Change], way: Way) -> Self {
        let replicas = changes.iter().flat_map(|change| change.replicas.iter().map(|replica| replica.live_after));
        Self { way, edits: Times::of(changes.iter().map(|change| change.elapsed)), replicas: Times::of(replicas) }
    }
}

impl Times {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<u64> = times.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).collect();
        times.sort_unstable();
        let [p50_ms, p99_ms] = [50, 99].map(|percent| percentile(&times, percent));
        let (least_ms, most_ms) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
        Self { count: times.len(), p50_ms, p99_ms, least_ms, most_ms }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |milliseconds: u64| format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000);
        let [p50, p99, least, most] = [self.p50_ms, self.p99_ms, self.least_ms, self.most_ms].map(seconds);
        write!(f, "{:>4} times   p50 {p50}   p99 {p99}   least {least}   most {most}", self.count)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Restart => "restart: from the edit until the Service has only replicas that serve it",
            Way::Reload => "reload: from the edit until every replica serves it",
        };
        write!(f, "{way}\n{:<12} {}\n{:<12} {}", "the edit", self.edits, "a replica", self.replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::forms;

    #[test]
    fn how_long_edits_took_is_told_in_every_form() {
        let times = |all: &[u64]| Times::of(all.iter().map(|milliseconds| Duration::from_millis(*milliseconds)));
        let measured = Measured {
            way: Way::Reload,
            edits: times(&[2_100, 1_900]),
            replicas: times(&[1_400, 2_100, 1_200, 1_900]),
        };
        insta::assert_snapshot!("corefile", forms(&measured, || measured.to_string()));
    }
}
