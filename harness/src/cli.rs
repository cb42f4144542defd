//! The command line, as a library: another repository's xtask is ten lines around [`Cli`].

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    Context as _, Error, ErrorKind, Result,
    bundle::Keep,
    environment::addons::coredns::Way,
    plan::{EnvironmentOptions, course::CourseOptions},
    process,
    session::{run, suite::Suite},
};

mod bundle;
mod ci;
mod cluster;
mod completion;
mod dns;
mod docs;
#[cfg(test)]
mod elsewhere;
mod examples;
mod load;
mod machine;
mod output;
mod report;
mod session;
mod statistics;
mod status;
mod watch;

#[cfg(test)]
pub(crate) use output::forms;
pub use output::{Output, OutputArguments};

/// The command line, with the suites that `e2e` can run.
///
/// ```no_run
/// use reachmap::{cli::Cli, session::suite::Suite};
/// fn main() -> std::process::ExitCode {
///     Cli::new().suite(Suite::new("access", "my-suites")).main()
/// }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Cli {
    suites: Vec<Suite>,
}

/// Proves on a real Kubernetes cluster who can reach a Service, by which way, and why.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100, after_help = examples::ALL)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the environment, run the suites, write the reports, and clean up.
    #[command(after_help = examples::E2E)]
    E2e(E2eArguments),
    /// Make the environment and keep it for later runs.
    #[command(after_help = examples::UP)]
    Up(MadeArguments),
    /// Hold a cluster in a stage for tests that run by themselves, by `cargo test` or `cargo nextest run`.
    #[command(after_help = examples::SESSION)]
    Session(session::SessionArguments),
    /// Show what is there: engine, clusters, leases, journaled edits.
    #[command(after_help = examples::STATUS)]
    Status(ShownArguments),
    /// Run kubectl against a kept cluster.
    #[command(after_help = examples::KUBECTL)]
    Kubectl(KubectlArguments),
    /// Open a shell at a vantage, or run a command there.
    #[command(after_help = examples::SHELL)]
    Shell(ShellArguments),
    /// Export the logs of a kept cluster's nodes and pods.
    #[command(after_help = examples::LOGS)]
    Logs(LogsArguments),
    /// Delete a kept cluster, and the engine if nothing else uses it.
    #[command(after_help = examples::DOWN)]
    Down(DownArguments),
    /// Put back and remove everything of ours that no live run owns.
    #[command(after_help = examples::GC)]
    Gc(GcArguments),
    /// Say what this machine can do, and what `auto` would choose.
    #[command(after_help = examples::DOCTOR)]
    Doctor(ShownArguments),
    /// Look after what was built and kept.
    Cache(CacheArguments),
    /// Follow a name through a resolver and CoreDNS, without a cluster.
    Dns(dns::DnsArguments),
    /// Compare the reports of two runs, merge those of shards, open one, or take pictures of it.
    Report(report::ReportArguments),
    /// Explain a failed run by its bundle, without its cluster, or list what is in it.
    Bundle(bundle::BundleArguments),
    /// Measure.
    Bench(BenchArguments),
    /// Print the legs of a CI matrix: Kubernetes versions, proxy modes, IP families and network plugins.
    #[command(after_help = examples::MATRIX)]
    Matrix(ci::MatrixArguments),
    /// Check what runs in CI.
    Lint(ci::LintArguments),
    /// Probe cells of a kept cluster again whenever it changes, until Ctrl-C.
    #[command(after_help = examples::WATCH)]
    Watch(watch::WatchArguments),
    /// Print the completion of the command line for a shell.
    #[command(after_help = examples::COMPLETION)]
    Completion(completion::CompletionArguments),
    /// Build the book, or write the pages of it that are made from the code.
    Docs(docs::DocsArguments),
}

/// What `e2e` takes.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct E2eArguments {
    /// The environment.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
    /// The suites to run (default: those that need not be named).
    #[arg(long, value_delimiter = ',', value_name = "SUITE")]
    pub suite: Vec<String>,
    /// Only cells that match, as `stage/vantage/method` with `*`; `,` is or, a leading `!` is not.
    #[arg(long, value_name = "FILTER")]
    pub only: Option<String>,
    /// Print the cells that would be probed, one per line, and touch nothing.
    #[arg(long, conflicts_with = "plan")]
    pub list: bool,
    /// Print what would be done, and how long it should take, and touch nothing.
    #[arg(long)]
    pub plan: bool,
    /// Make a new cluster even if a kept one would do.
    #[arg(long)]
    pub fresh: bool,
    /// Keep the cluster after the run.
    #[arg(long)]
    pub keep: bool,
    /// How many pods, over the nodes of the cluster, load Services together where a suite loads from many places.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub load_workers: u32,
    /// When to keep a bundle of what the cluster says, in the run's directory: `cargo xtask bundle explain` reads it.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub bundle: Keep,
    /// Where reports go (default: target/reachmap).
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,
    /// How the run goes.
    #[command(flatten)]
    pub course: CourseOptions,
    /// How the result is printed.
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Debug, Args)]
struct MadeArguments {
    #[command(flatten)]
    made: EnvironmentArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct ShownArguments {
    #[command(flatten)]
    home: HomeArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct EnvironmentArguments {
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// Make a new cluster even if a kept one would do.
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, Args)]
struct HomeArguments {
    /// Where everything is kept that outlives a run (default: reachmap in the XDG cache directory).
    #[arg(long, env = "REACHMAP_CACHE", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ChosenCluster {
    #[command(flatten)]
    home: HomeArguments,
    /// The cluster (default: the only one there is).
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
struct KubectlArguments {
    #[command(flatten)]
    cluster: ChosenCluster,
    /// What kubectl gets.
    #[arg(last = true, required = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct ShellArguments {
    #[command(flatten)]
    cluster: ChosenCluster,
    /// Where: testpod, testpod-other, worker-1, control-plane, laptop …
    vantage: String,
    /// What to run there (default: a shell).
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct LogsArguments {
    #[command(flatten)]
    cluster: ChosenCluster,
    /// Where to (default: target/reachmap/logs).
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct GcArguments {
    #[command(flatten)]
    home: HomeArguments,
    /// Kept clusters too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct DownArguments {
    #[command(flatten)]
    cluster: ChosenCluster,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// List what is kept, how large it is and when it was last used.
    #[command(after_help = examples::CACHE_LIST)]
    List(ShownArguments),
    /// Remove what today's recipes do not use.
    #[command(after_help = examples::CACHE_PRUNE)]
    Prune(ShownArguments),
    /// Build everything that a run needs, and run nothing.
    #[command(after_help = examples::CACHE_WARM)]
    Warm(MadeArguments),
}

#[derive(Debug, Args)]
struct BenchArguments {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// HTTP probes a second through one agent, against the cost of one exec'd curl.
    #[command(after_help = examples::BENCH_PROBES)]
    Probes(ProbesArguments),
    /// The boot's time line, step by step, in a new cluster.
    #[command(after_help = examples::BENCH_BOOT)]
    Boot(MadeArguments),
    /// How long an edit of the Corefile takes until every replica of CoreDNS serves it.
    #[command(after_help = examples::BENCH_COREFILE)]
    Corefile(CorefileArguments),
    /// Whether the statistics of the load's distribution keep their word: known balancers, tested over and over.
    #[command(after_help = examples::BENCH_STATISTICS)]
    Statistics(StatisticsArguments),
    /// The load generator beside hey and wrk, against a small server on loopback.
    #[command(after_help = examples::BENCH_LOAD)]
    Load(BenchLoadArguments),
}

#[derive(Debug, Args)]
struct StatisticsArguments {
    /// How many runs a row.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    runs: u64,
    /// The seed of the random numbers; the same seed gives the same counts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct BenchLoadArguments {
    #[command(flatten)]
    home: HomeArguments,
    /// How many requests each run sends.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    requests: u64,
    /// Over how many connections at once.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How many runs of each program.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct CorefileArguments {
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// How many edits.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    edits: u32,
    /// How CoreDNS is brought to read them.
    #[arg(long, value_enum, default_value_t = Way::Reload)]
    way: Way,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct ProbesArguments {
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// How many probes.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// How many of them side by side.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    in_flight: u32,
    #[command(flatten)]
    output: OutputArguments,
}

impl Cli {
    /// A command line without suites.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a suite that `e2e` can run.
    pub fn suite(mut self, suite: Suite) -> Self {
        self.suites.push(suite);
        self
    }

    /// Parses the process's arguments, does what they say, and returns the documented exit code.
    ///
    /// 0: all as expected. 1: a cell is not as expected. 2: wrong options. 3: the environment could not be
    /// made. 4: a defect of Reachmap. 130: interrupted.
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::parse();
        match self.dispatch(arguments.command) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                print_error(&error);
                ExitCode::from(error.kind().exit_code())
            }
        }
    }

    fn dispatch(&self, command: Command) -> Result<u8> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .tried(ErrorKind::Environment, || "start the async runtime")?;
        let done = runtime.block_on(async {
            match command {
                Command::E2e(arguments) => Box::pin(run::e2e(&self.suites, arguments)).await,
                Command::Up(arguments) => cluster::up(arguments).await,
                Command::Session(arguments) => Box::pin(session::session(arguments)).await,
                Command::Status(arguments) => status::status(&arguments).await,
                Command::Kubectl(arguments) => cluster::kubectl(&arguments),
                Command::Shell(arguments) => cluster::shell(&arguments),
                Command::Logs(arguments) => cluster::logs(&arguments),
                Command::Down(arguments) => cluster::down(&arguments).await,
                Command::Gc(arguments) => cluster::gc(&arguments).await,
                Command::Doctor(arguments) => machine::doctor(&arguments),
                Command::Cache(arguments) => machine::cache(arguments.command).await,
                Command::Dns(arguments) => dns::run(&arguments),
                Command::Report(arguments) => report::run(&arguments).await,
                Command::Bundle(arguments) => bundle::run(&arguments),
                Command::Matrix(arguments) => ci::matrix(&arguments),
                Command::Lint(arguments) => ci::lint(arguments).await,
                Command::Watch(arguments) => Box::pin(watch::watch(arguments)).await,
                Command::Completion(arguments) => {
                    completion::print(&self.suites, &arguments);
                    Ok(0)
                }
                Command::Docs(arguments) => docs::docs(&arguments),
                Command::Bench(arguments) => match arguments.command {
                    BenchCommand::Probes(arguments) => Box::pin(machine::bench_probes(arguments)).await,
                    BenchCommand::Boot(arguments) => machine::bench_boot(arguments).await,
                    BenchCommand::Corefile(arguments) => Box::pin(dns::bench_corefile(arguments)).await,
                    BenchCommand::Statistics(arguments) => statistics::bench_statistics(&arguments),
                    BenchCommand::Load(arguments) => Box::pin(load::bench_load(arguments)).await,
                },
            }
        });
        if done.is_err() {
            // What a thread has started since the run was given up.
            process::end_own();
        }
        // A thread that waits for another run's lock must not keep an interrupted process alive.
        runtime.shutdown_background();
        done
    }
}

#[expect(clippy::print_stderr, reason = "the command line speaks to its user")]
fn print_error(error: &Error) {
    eprintln!("error[{}]: {error}", error.code().as_str());
    if let Some(hint) = error.hint_text() {
        eprintln!("{hint}");
    }
}

/// Prints a result to standard output.
pub(crate) fn say(text: impl std::fmt::Display) {
    // Whoever reads may have read enough, as `head` has: that is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for arguments in [
            vec!["xtask", "e2e", "--list", "--plan"],
            vec!["xtask", "e2e", "--context", "kind"],
            vec!["xtask", "e2e", "--kubeconfig", "f", "--name", "n"],
            vec!["xtask", "e2e", "--workers", "0"],
        ] {
            assert!(Arguments::try_parse_from(&arguments).is_err(), "{arguments:?}");
        }
    }
}
