//! The commands about this machine: what it can do, what is cached, how fast it is.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::{CacheCommand, MadeArguments, ProbesArguments, ShownArguments};
use crate::{
    Error, ErrorKind, Result, doctor,
    environment::{
        self, Environment, cluster::record::Record, gc::Collected, images, images::Images, release,
        workloads::NAMESPACE,
    },
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

/// What `cache warm` has made ready.
#[derive(Debug, Serialize)]
struct Warmed {
    engine: String,
    images: &'static str,
    kubernetes: String,
    node_image: String,
}

impl Warmed {
    fn line(&self) -> String {
        format!("ready: {}", self.node_image)
    }
}

async fn warm(arguments: MadeArguments) -> Result<u8> {
    let MadeArguments { made: arguments, output } = arguments;
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
    let (engine, images) = made;
    let engine = engine.name().to_owned();
    let Images { source, kubernetes, node, .. } = images;
    let warmed = Warmed { engine, images: source, kubernetes, node_image: node };
    output.print(&warmed, || warmed.line())?;
    Ok(0)
}

/// What `bench probes` has found.
#[derive(Debug, Serialize)]
struct Probes {
    /// Through one agent.
    agent: BenchResult,
    /// By one exec'd curl each.
    curl: BenchResult,
    /// How many times as many a second the agent answers.
    ratio: f64,
}

impl fmt::Display for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, BenchResult { count, seconds, per_second, p50_us, p99_us, .. }) in
            [("through one agent", &self.agent), ("one exec'd curl each", &self.curl)]
        {
            writeln!(
                f,
                "{what:<21} {count:>6} in {seconds:6.2} s: {per_second:8.1} a second, p50 {p50_us} µs, p99 {p99_us} µs"
            )?;
        }
        write!(f, "ratio                 {:.0}", self.ratio)
    }
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
    let (agent, curl) = measured?;
    let measured = Probes { ratio: agent.per_second / curl.per_second, agent, curl };
    arguments.output.print(&measured, || measured.to_string())?;
    for BenchResult { count, failures, first_failure, .. } in [measured.agent, measured.curl] {
        if failures > 0 {
            let cause = format!("{failures} of {count} failed; first: {}", first_failure.unwrap_or_default());
            return Err(Error::new(ErrorKind::Environment, "measure probes", cause));
        }
    }
    Ok(0)
}

pub(super) async fn bench_boot(arguments: MadeArguments) -> Result<u8> {
    let options = in_a_cluster_of_its_own(arguments.made.environment);
    let Workplace { home, run, progress } = Workplace::open(&options, None).await?;
    refuse_kept(&home, &options)?;
    let up = guarded(Environment::up(&options, true, false, &home, &run.id, &progress)).await;
    let timeline = progress.timeline();
    // What was measured is done with; what went wrong is told once it is cleaned up.
    let up = up.map(drop);
    release(&home, false, &progress).await?.of_run(&home, &run.id)?;
    up?;
    arguments.output.print(&timeline, || boot(&timeline))?;
    Ok(0)
}

fn boot(timeline: &[StepTime]) -> String {
    let line = |StepTime { title, start_seconds, seconds, .. }: &StepTime| {
        format!("{start_seconds:7.1}s  +{seconds:6.1}s  {title}")
    };
    timeline.iter().map(line).collect::<Vec<_>>().join("\n")
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
    use crate::{
        cli::output::forms,
        environment::cluster::{lease, record::tests::record},
        progress::StepEnd,
    };

    #[test]
    fn the_boot_s_time_line_is_told_in_every_form() {
        let step = |title: &str, start_seconds, seconds| StepTime {
            title: title.to_owned(),
            start_seconds,
            seconds,
            end: StepEnd::Done,
        };
        let timeline = [step("Start the engine", 0.0, 2.25), step("cluster reachmap-bench-boot", 2.5, 31.0)];
        insta::assert_snapshot!("boot", forms(&timeline, || boot(&timeline)));
    }

    #[test]
    fn probes_are_told_in_every_form() {
        let of = |count, seconds, per_second| BenchResult {
            count,
            seconds,
            per_second,
            p50_us: 12_000,
            p99_us: 40_000,
            failures: 0,
            first_failure: None,
        };
        let probes = Probes { agent: of(10_000, 2.0, 5_000.0), curl: of(20, 2.5, 8.0), ratio: 625.0 };
        insta::assert_snapshot!("probes", forms(&probes, || probes.to_string()));
    }

    #[test]
    fn what_is_kept_and_what_is_ready_is_told_in_every_form() {
        let entry = |name: &str, current: bool| Kept {
            name: name.to_owned(),
            hash: "0123456789ab".to_owned(),
            bytes: 7 << 20,
            last_used: current.then(|| "2026-11-24T02:45:46Z".parse().unwrap()),
            current,
        };
        let kept = [entry("coredns", true), entry("etcd", false)];
        let pretty = || kept.iter().map(Kept::line).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!("cache-list", forms(&kept, pretty));
        let warmed = Warmed {
            engine: "sandbox".to_owned(),
            images: "packages",
            kubernetes: "v1.37.2".to_owned(),
            node_image: "reachmap.local/node:0123456789ab".to_owned(),
        };
        insta::assert_snapshot!("cache-warm", forms(&warmed, || warmed.line()));
    }

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
