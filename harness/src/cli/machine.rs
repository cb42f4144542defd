//! The commands about this machine: what it can do, what is cached, how fast it is.

use jiff::Timestamp;
use serde::Serialize;

use super::{CacheCommand, EnvironmentArguments, ProbesArguments, ShownArguments, say};
use crate::{
    Error, ErrorKind, Result, doctor,
    environment::{self, Environment, cluster::record::Record, gc::Collected, images, release, workloads::NAMESPACE},
    home::Home,
    model::Target,
    plan::EnvironmentOptions,
    probe::{
        AgentBinary,
        bench::{self, BenchResult},
    },
    progress::StepTime,
    session::{interrupt::guarded, run::blocking, workplace::Workplace},
};

/// How many exec'd curls are timed, one after the other: enough for a mean.
const CURLS: usize = 20;

/// The cluster whose boot is measured.
const BOOTED: &str = "reachmap-bench-boot";

pub(super) fn doctor(arguments: &ShownArguments) -> Result<u8> {
    let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
    let doctor = doctor::examine(&home);
    arguments.output.print(&doctor, || doctor.to_string())?;
    Ok(0)
}

pub(super) async fn cache(command: CacheCommand) -> Result<u8> {
    match command {
        CacheCommand::List(arguments) => {
            let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
            let entries: Vec<Kept> = images::cache::list(&home)?.into_iter().map(Kept::of).collect();
            arguments.output.print(&entries, || entries.iter().map(Kept::line).collect::<Vec<_>>().join("\n"))?;
            Ok(0)
        }
        CacheCommand::Prune(arguments) => {
            let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
            let removed = images::cache::prune(&home)?;
            let line = |name: &String| format!("removed {name}");
            arguments.output.print(&removed, || removed.iter().map(line).collect::<Vec<_>>().join("\n"))?;
            Ok(0)
        }
        CacheCommand::Warm(arguments) => warm(arguments).await,
    }
}

/// An artifact that is kept, as `cache list` shows it.
#[derive(Debug, Serialize)]
struct Kept {
    name: String,
    hash: String,
    bytes: u64,
    last_used: Option<Timestamp>,
    current: bool,
}

impl Kept {
    fn of(entry: images::cache::Entry) -> Self {
        let images::cache::Entry { name, hash, bytes, last_used, current } = entry;
        Self { name, hash, bytes, last_used: last_used.and_then(|time| Timestamp::try_from(time).ok()), current }
    }

    fn line(&self) -> String {
        let used =
            self.last_used.map_or_else(|| "never used".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M").to_string());
        let name = format!("{}-{:.12}", self.name, self.hash);
        let note = if self.current { "" } else { "  of an older recipe" };
        format!("{name:<36} {:>7} MiB  {used}{note}", self.bytes >> 20)
    }
}

async fn warm(arguments: EnvironmentArguments) -> Result<u8> {
    let Workplace { home, progress, .. } = Workplace::open(&arguments.environment, None).await?;
    let made = guarded(async {
        let hold = environment::engine::hold(&home)?;
        let made = environment::prepare(&arguments.environment, &home, &progress).await?;
        let (home, progress) = (home.clone(), progress.clone());
        blocking(move || AgentBinary::find_or_build(&home, &progress)).await?;
        drop(hold);
        Ok(made)
    })
    .await;
    let collected = release(&home, false, &progress).await;
    let made = made?;
    for line in collected.iter().flat_map(Collected::lines_but_own) {
        progress.line(line);
    }
    collected?.of_own()?;
    say(format!("ready: {}", made.1.node));
    Ok(0)
}

pub(super) async fn bench_probes(arguments: ProbesArguments) -> Result<u8> {
    let Workplace { home, run, progress } = Workplace::open(&arguments.environment, None).await?;
    let body = async {
        let agent = {
            let (home, progress) = (home.clone(), progress.clone());
            blocking(move || AgentBinary::find_or_build(&home, &progress)).await?
        };
        let mut environment = Environment::up(&arguments.environment, false, false, &home, &run.id, &progress).await?;
        let target = Target { host: format!("nginx-clusterip-service.{NAMESPACE}"), port: 80 };
        environment.stand_everywhere(&agent).await?;
        let prober = environment.agent("testpod")?;
        let (count, in_flight) = (arguments.count as usize, arguments.in_flight as usize);
        let probes = bench::bench(prober, &target, count, in_flight).await?;
        let url = format!("http://{target}/");
        let curl = bench::exec_cost(environment.client(), NAMESPACE, "testpod", &url, CURLS).await?;
        Ok((probes, curl))
    };
    let measured = guarded(body).await;
    release(&home, false, &progress).await?.of_run(&home, &run.id)?;
    let (probes, curl) = measured?;
    for (what, BenchResult { count, seconds, per_second, p50_us, p99_us, .. }) in
        [("through one agent", &probes), ("one exec'd curl each", &curl)]
    {
        say(format!(
            "{what:<21} {count:>6} in {seconds:6.2} s: {per_second:8.1} a second, p50 {p50_us} µs, p99 {p99_us} µs"
        ));
    }
    say(format!("ratio                 {:.0}", probes.per_second / curl.per_second));
    for BenchResult { count, failures, first_failure, .. } in [probes, curl] {
        if failures > 0 {
            let cause = format!("{failures} of {count} failed; first: {}", first_failure.unwrap_or_default());
            return Err(Error::new(ErrorKind::Environment, "measure probes", cause));
        }
    }
    Ok(0)
}

pub(super) async fn bench_boot(arguments: EnvironmentArguments) -> Result<u8> {
    let options = in_a_cluster_of_its_own(arguments.environment);
    let Workplace { home, run, progress } = Workplace::open(&options, None).await?;
    refuse_kept(&home, &options)?;
    let up = guarded(Environment::up(&options, true, false, &home, &run.id, &progress)).await;
    let timeline = progress.timeline();
    // What was measured is done with; what went wrong is told once it is cleaned up.
    let up = up.map(drop);
    release(&home, false, &progress).await?.of_run(&home, &run.id)?;
    up?;
    for StepTime { title, start_seconds, seconds, .. } in timeline {
        say(format!("{start_seconds:7.1}s  +{seconds:6.1}s  {title}"));
    }
    Ok(0)
}

/// The options with a name that no kept cluster has which they describe: it is made anew, and deleted.
fn in_a_cluster_of_its_own(options: EnvironmentOptions) -> EnvironmentOptions {
    let name = options.name.unwrap_or_else(|| BOOTED.to_owned());
    EnvironmentOptions { name: Some(name), ..options }
}

/// One that the user has named, and keeps, is not deleted to be measured.
fn refuse_kept(home: &Home, options: &EnvironmentOptions) -> Result<()> {
    let name = options.name.as_deref().unwrap_or(BOOTED);
    if !Record::read(home, name)?.is_some_and(|record| record.is_kept()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("boot a cluster called {name}"), "one of that name is kept")
        .hint(format!("Choose another name with --name, or delete it with `cargo xtask down --name {name}`.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::cluster::{lease, record::tests::record};

    #[test]
    fn what_is_booted_to_be_measured_is_no_cluster_that_is_kept() {
        let name = |options| in_a_cluster_of_its_own(options).name.unwrap();
        assert_eq!(name(EnvironmentOptions::default()), BOOTED);
        lease::check_name(BOOTED).unwrap();
        let named = EnvironmentOptions { name: Some("mine".to_owned()), ..EnvironmentOptions::default() };
        assert_eq!(name(named.clone()), "mine");
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        refuse_kept(&home, &named).unwrap();
        record("mine").write(&home).unwrap();
        refuse_kept(&home, &named).unwrap();
        Record { kept: true, ..record("mine") }.write(&home).unwrap();
        assert_eq!(refuse_kept(&home, &named).unwrap_err().kind(), ErrorKind::Usage);
    }
}
