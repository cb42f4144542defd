//! One run of `cargo xtask e2e`: from options to reports, and everything put back.

use std::{collections::BTreeMap, io::IsTerminal as _, time::Duration};

use super::{
    collector::Collector,
    course::Course,
    directory::RunDirectory,
    interrupt::guarded,
    look::Failed,
    selection,
    suite::{self, About, Ended, Suite, SuiteBinary, WITHOUT_CLUSTER},
    workplace::Workplace,
};
use crate::{
    Error, ErrorCode, ErrorKind, Result,
    cli::E2eArguments,
    environment::{
        self, Environment,
        gc::Collected,
        images::{hey, lookups::Lookups},
    },
    filter::Filter,
    home::Home,
    matrix::{Cell, Stage},
    model::{self, Method, Vantage, VantageKind},
    plan::{EnvironmentOptions, MOST_WORKERS, shard::Shard},
    probe::{AgentBinary, ProgramFile},
    progress::{Progress, Show},
    report,
    state::NodeRole,
    verdict::{Judgement, Verdict},
};

/// A test binary with hundreds of cells side by side ends in seconds; after this it hangs.
const SUITE_DEADLINE: Duration = Duration::from_secs(600);

/// Runs the chosen suites and returns the exit code: 0 if every cell is as expected, 1 if one is not.
///
/// # Errors
/// If the environment cannot be made, or the run is interrupted. Whatever happens, what the run
/// changed is put back, and what it made is removed unless it is to be kept.
pub async fn e2e(all: &[Suite], arguments: E2eArguments) -> Result<u8> {
    let suites = suite::choose(all, &arguments.suite)?;
    suite::check(&suites, &arguments.environment)?;
    let only = arguments.only.as_deref().map(Filter::parse).transpose()?;
    let all = chosen_cells(&suites, arguments.environment.workers, only.as_ref())?;
    let cells = cells_of_shard(&all, &suites, only.as_ref(), arguments.course.shard)?;
    let output = arguments.output;
    if arguments.list {
        output.print(&cells, || report::plan::list(&cells))?;
        return Ok(0);
    }
    if arguments.plan {
        let steps = environment::expected_steps(&arguments.environment, &suites);
        output.print(&report::plan::Plan::new(&cells, &steps), || report::plan::table(&cells, &steps))?;
        return Ok(0);
    }
    check_stages(&cells, &arguments.environment)?;
    let Workplace { home, run, progress } =
        Workplace::open(&arguments.environment, arguments.report_dir.as_deref()).await?;
    let options: Vec<String> = std::env::args().skip(1).collect();
    let mut course = Course::new(arguments.course, &all, &run, &options);
    let mut collector = Collector::new(arguments.bundle);

    let way = Way { suites: &suites, only: only.as_ref(), arguments: &arguments, progress: &progress };
    // Boxed: it holds all of the environment.
    let ended = guarded(Box::pin(way.go(&home, &run, &mut course, &mut collector))).await;
    // Whatever happened, and whatever the body still held: what is recorded and nobody keeps goes.
    let released = environment::release(&home, false, &progress).await;

    for line in released.iter().flat_map(Collected::lines) {
        progress.line(line);
    }
    let released = released.and_then(|collected| collected.of_run(&home, &run.id));
    let (record, ledger) = course.finish(&progress, ended.as_ref().err().or_else(|| released.as_ref().err()))?;
    let paths = report::write(&record, &run.path)?;
    let bundle = collector.keep(&record, &run.path, &progress);
    output.print_run(&record, ledger.as_ref(), &paths, bundle.as_deref())?;
    ended?;
    released?;
    Ok(record.exit_code())
}

pub(super) fn describe(environment: &mut report::Environment, description: &BTreeMap<String, String>) {
    for (name, value) in description {
        let known = match name.as_str() {
            "engine" => &mut environment.engine,
            "images" => &mut environment.images,
            "kubernetes" => &mut environment.kubernetes,
            "proxy mode" => &mut environment.proxy_mode,
            "ip family" => &mut environment.ip_family,
            "cni" => &mut environment.cni,
            _ => {
                environment.other.insert(name.clone(), value.clone());
                continue;
            }
        };
        *known = Some(value.clone());
    }
}

/// How progress is shown to whoever is looking: live to a person at a terminal, in plain lines else.
pub fn show() -> Show {
    let live = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none();
    if live { Show::Live } else { Show::Plain }
}

/// MetalLB on a cluster that we did not make needs addresses that only the user knows.
fn check_stages(cells: &[Cell], options: &EnvironmentOptions) -> Result<()> {
    let ready = cells.iter().any(|cell| cell.stage == Stage::LoadBalancerReady);
    if ready && options.install_metallb && options.pool.is_none() {
        return Err(environment::no_pool());
    }
    Ok(())
}

fn chosen_cells(suites: &[&Suite], workers: u8, only: Option<&Filter>) -> Result<Vec<Cell>> {
    let all: Vec<Cell> = suites.iter().flat_map(|suite| suite.cells(workers)).collect();
    let stages: Vec<Stage> = suites.iter().flat_map(|suite| suite.stages().iter().copied()).collect();
    let Some(only) = only else { return Ok(all) };
    only.choose(&all, &stages)
}

/// The part of the chosen cells that the run's shard has.
fn cells_of_shard(all: &[Cell], suites: &[&Suite], only: Option<&Filter>, shard: Option<Shard>) -> Result<Vec<Cell>> {
    let Some(shard) = shard else { return Ok(all.to_vec()) };
    let share = shard.share(all);
    let cells: Vec<Cell> = all.iter().filter(|cell| share.has(&cell.id())).cloned().collect();
    let has_others = suites
        .iter()
        .flat_map(|suite| suite.stages())
        .any(|stage| only.is_none_or(|only| only.matches_stage(stage.id())));
    if cells.is_empty() && !has_others {
        let cells = if all.len() == 1 { "is only 1 cell".to_owned() } else { format!("are only {} cells", all.len()) };
        let cause = format!("there {cells}, and none is left for it");
        return Err(Error::new(ErrorKind::Usage, format!("run the shard {shard}"), cause)
            .with_code(ErrorCode::Shard)
            .hint("Divide the run into fewer shards, or choose more cells."));
    }
    Ok(cells)
}

/// What a run is to do: the same in each of its repetitions.
#[derive(Clone, Copy)]
struct Way<'a> {
    suites: &'a [&'a Suite],
    only: Option<&'a Filter>,
    arguments: &'a E2eArguments,
    progress: &'a Progress,
}

impl Way<'_> {
    async fn go(self, home: &Home, run: &RunDirectory, course: &mut Course, collector: &mut Collector) -> Result<()> {
        let Self { suites, arguments, progress, .. } = self;
        // The suites compile while the environment comes up: the one waits mostly for other machines.
        let compiled = compile(suites, home, run, progress);
        let up = Environment::up(&arguments.environment, arguments.fresh, arguments.keep, home, &run.id, progress);
        let (compiled, mut environment) = futures::future::try_join(compiled, up).await?;
        describe(&mut course.record.environment, environment.description());
        match self.repeat(home, &compiled, &mut environment, course, collector).await {
            Ok(()) => Ok(()),
            Err(error) => {
                collector.collect(&environment, "run", "end", progress).await;
                Err(environment.keep_logs(error).await)
            }
        }
    }

    /// Passes through all stages, as often as the run is to.
    async fn repeat(
        self,
        home: &Home,
        compiled: &Compiled,
        environment: &mut Environment,
        course: &mut Course,
        collector: &mut Collector,
    ) -> Result<()> {
        let Self { arguments, progress, .. } = self;
        loop {
            // Each time anew: a test that stops a node loses the agents there.
            environment.stand_everywhere(&compiled.agent).await?;
            course.begin(progress, environment.retries().len(), environment.edits().len());
            if let Some((stage, tests)) = self.pass(compiled, environment, course, collector).await? {
                environment.keep(home)?;
                let handle = environment.handle();
                let cluster = handle.as_deref().map_err(Vec::as_slice);
                let cache_dir = arguments.environment.cache_dir.as_deref();
                Failed { stage, tests: &tests, cluster, cache_dir }.look(progress).await?;
            } else {
                environment.reset_policies(progress).await?;
            }
            environment.remove_panel().await?;
            if !course.end(progress, environment.retries(), environment.edits())? {
                return Ok(());
            }
        }
    }

    /// Runs the suites stage by stage. If the run is to stop at a failure: the stage with one, and the tests that failed.
    async fn pass(
        self,
        compiled: &Compiled,
        environment: &mut Environment,
        course: &mut Course,
        collector: &mut Collector,
    ) -> Result<Option<(Stage, Vec<String>)>> {
        let Self { suites, only, progress, .. } = self;
        selection::check_any(suites, &compiled.binaries, only, environment.workers(), environment.unsupported())?;
        self.probe_without_cluster(compiled, course).await?;
        for stage in Stage::ALL {
            let needed: Vec<_> = suites
                .iter()
                .zip(&compiled.binaries)
                .map(|(suite, binary)| {
                    let (workers, missing) = (environment.workers(), environment.unsupported());
                    let mut chosen = selection::of_suite(suite, binary, stage.id(), only, workers, missing)?;
                    chosen.tests.retain(|test| course.has_test(&suite.name, stage, test));
                    chosen.unsupported.retain(|(vantage, method, _)| course.has_cell(stage, vantage, method));
                    Ok((suite, binary, chosen))
                })
                .collect::<Result<_>>()?;
            // A stage in which nothing can be probed is not entered: here it may not even exist.
            if needed.iter().any(|(_, _, chosen)| !chosen.tests.is_empty()) {
                if let Some(programs) = compiled.lookups.as_ref().filter(|_| Stage::OF_NAMES.contains(&stage)) {
                    environment.deploy_panel(programs, progress).await?;
                }
                environment.enter(stage, progress).await?;
            }
            let mut red = Vec::new();
            for (suite, binary, chosen) in needed {
                for (vantage, method, reason) in chosen.unsupported {
                    match suite.about {
                        About::Lookups => course.record.lookups.push(no_lookups(stage, vantage, method, reason)),
                        _ => course.record.verdicts.push(not_supported(&suite.name, stage, vantage, method, reason)),
                    }
                }
                if chosen.tests.is_empty() {
                    continue;
                }
                let tests: Vec<String> = chosen.tests.iter().map(|test| (*test).to_owned()).collect();
                let directory = &course.directory;
                let ended = self.probe((*suite, binary, &tests), stage, directory, compiled, environment).await?;
                // At once: the next stage changes what is to be looked at.
                if collector.wants(!ended.failed.is_empty()) {
                    collector.collect(environment, &suite.name, stage.id(), progress).await;
                }
                red.extend(ended.failed.iter().map(|(test, _)| test.clone()));
                course.note(&suite.name, stage.id(), ended);
            }
            if course.stops(red.len()) {
                return Ok(Some((stage, red)));
            }
        }
        Ok(None)
    }

    /// Runs the suites' tests that need no cluster, unless the run is about certain cells.
    async fn probe_without_cluster(self, compiled: &Compiled, course: &mut Course) -> Result<()> {
        for (suite, binary) in self.suites.iter().zip(&compiled.binaries) {
            let tests =
                selection::without_cluster(binary, self.only).filter(|test| course.has_other(&suite.name, test));
            let tests: Vec<String> = tests.map(ToOwned::to_owned).collect();
            if tests.is_empty() {
                continue;
            }
            let step =
                self.progress.step(format!("Run {} tests of {} without the cluster", tests.len(), suite.name), None);
            let (binary, log) = (binary.clone(), step.log().to_owned());
            let ended = blocking(move || binary.run(&tests, None, &log, SUITE_DEADLINE)).await?;
            step.done();
            course.note(&suite.name, &WITHOUT_CLUSTER.replace('_', "-"), ended);
        }
        Ok(())
    }

    /// Runs tests of one suite in a stage that the cluster is in.
    async fn probe(
        self,
        (suite, binary, tests): (&Suite, &SuiteBinary, &[String]),
        stage: Stage,
        directory: &RunDirectory,
        compiled: &Compiled,
        environment: &mut Environment,
    ) -> Result<Ended> {
        let mut handover = environment.handover(directory, &suite.name, stage, &compiled.agent);
        handover.hey = compiled.hey.as_ref().map(|hey| hey.path().to_owned());
        let loads_from_many = suite.about == About::Load && stage == Stage::LoadBalancerReady;
        if loads_from_many {
            let workers = environment.deploy_load_workers(self.arguments.load_workers, self.progress).await?;
            handover.vantages.extend(workers);
        }
        let session = handover.write()?;
        let title = format!("Probe: {} tests of {} in {stage}", tests.len(), suite.name);
        let step = self.progress.step(title, Some(Duration::from_secs(6)));
        let (binary, tests, log) = (binary.clone(), tests.to_vec(), step.log().to_owned());
        let ended = blocking(move || binary.run(&tests, Some(&session), &log, SUITE_DEADLINE)).await?;
        step.done();
        if loads_from_many {
            environment.remove_load_workers().await?;
        }
        Ok(ended)
    }
}

/// What is built while the environment comes up.
struct Compiled {
    binaries: Vec<SuiteBinary>,
    agent: AgentBinary,
    /// The panel's programs, if a suite is about lookups.
    lookups: Option<Lookups>,
    /// The program hey, if a suite is about load.
    hey: Option<ProgramFile>,
}

async fn compile(suites: &[&Suite], home: &Home, run: &RunDirectory, progress: &Progress) -> Result<Compiled> {
    let suites: Vec<Suite> = suites.iter().map(|suite| (*suite).clone()).collect();
    let (home, progress, logs) = (home.clone(), progress.clone(), run.path.join("logs"));
    blocking(move || {
        let step = progress.step("Compile the suites", Some(Duration::from_secs(10)));
        let log = logs.join("compile-the-suites.log");
        let binaries = suites.iter().map(|suite| suite.build(&log)).collect::<Result<_>>()?;
        step.done();
        let agent = AgentBinary::find_or_build(&home, &progress)?;
        let is_about = |about| suites.iter().any(|suite| suite.about == about);
        let lookups = is_about(About::Lookups).then(|| Lookups::find_or_build(&home, &progress)).transpose()?;
        let hey = is_about(About::Load).then(|| hey::find_or_build(&home, &progress)).transpose()?;
        Ok(Compiled { binaries, agent, lookups, hey })
    })
    .await
}

fn not_supported(suite: &str, stage: Stage, vantage: String, method: String, reason: String) -> Verdict {
    let kind = if vantage == "laptop" {
        VantageKind::Laptop
    } else {
        VantageKind::Node { node: String::new(), role: NodeRole::Worker }
    };
    // A method of the suite's own is known to its tests alone, and they were not started.
    let method = Method::find(&method, MOST_WORKERS)
        .unwrap_or(Method { id: method, way: model::Way::Name { name: String::new() } });
    Verdict {
        suite: suite.to_owned(),
        stage: stage.id().to_owned(),
        vantage: Vantage { id: vantage, kind },
        method,
        expectation: None,
        observation: None,
        outcome: Judgement::NotSupported { reason },
        reproduce: String::new(),
    }
}

fn no_lookups(stage: Stage, configuration: String, resolver: String, reason: String) -> report::LookupGroup {
    report::LookupGroup { not_supported: Some(reason), ..report::LookupGroup::of(stage.id(), configuration, resolver) }
}

/// Runs what blocks on a thread of its own.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Internal`] if it panics.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::from_source(ErrorKind::Internal, "join a thread", error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_by_a_method_of_the_suites_own_can_be_not_supported() {
        let of = |method: &str| {
            let (vantage, reason) = ("laptop".to_owned(), "no laptop here".to_owned());
            not_supported("shop", Stage::LoadBalancerReady, vantage, method.to_owned(), reason)
        };
        let own = of("shop-name");
        assert_eq!(own.cell(), "load-balancer-ready/laptop/shop-name");
        assert_eq!(own.outcome, Judgement::NotSupported { reason: "no laptop here".to_owned() });
        assert_eq!(of("pod-ip").method, Method::find("pod-ip", MOST_WORKERS).unwrap());
    }
}
