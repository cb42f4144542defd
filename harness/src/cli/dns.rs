//! The commands about DNS: a name's way explained, and how long an edit of the Corefile takes to become live.

mod explain;

use std::time::Duration;

pub(super) use self::explain::{DnsArguments, run};
use super::{CorefileArguments, say};
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
    say(table(&measured?, arguments.way));
    Ok(0)
}

/// The percentiles of the whole edits, and of the single replicas.
fn table(changes: &[Change], way: Way) -> String {
    let replicas = changes.iter().flat_map(|change| change.replicas.iter().map(|replica| replica.live_after));
    let line = |what: &str, times: Vec<Duration>| {
        let mut times: Vec<u64> =
            times.into_iter().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).collect();
        times.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| percentile(&times, percent));
        let seconds = |milliseconds: u64| format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000);
        let (first, last) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
        format!(
            "{what:<12} {:>4} times   p50 {}   p99 {}   least {}   most {}",
            times.len(),
            seconds(p50),
            seconds(p99),
            seconds(first),
            seconds(last)
        )
    };
    let way = match way {
        Way::Restart => "restart: from the edit until the Service has only replicas that serve it",
        Way::Reload => "reload: from the edit until every replica serves it",
    };
    format!(
        "{way}\n{}\n{}",
        line("the edit", changes.iter().map(|change| change.elapsed).collect()),
        line("a replica", replicas.collect())
    )
}
