//! Opens the panel on a cluster that is made or kept, prints what every resolver asks for the given names in every
//! configuration, and then measures how many lookups are recorded in a minute.
//!
//!     cargo run -p reachmap --example panel -- [--name CLUSTER] [--count LOOKUPS] DOMAIN-NAME…

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use clap::Parser as _;
use futures::future::try_join_all;
use reachmap::{
    Error, ErrorKind, Result,
    environment::{
        Environment,
        images::lookups::Lookups,
        open_home,
        panel::{Panel, PanelConfiguration, PanelPods},
    },
    model::dns::Resolver,
    plan::EnvironmentOptions,
    probe::{AgentBinary, ProgramFile},
    progress::{Progress, Show},
    wire::{End, QuestionKind, Recorded},
};

const DEADLINE: Duration = Duration::from_secs(120);

#[derive(clap::Parser)]
struct Options {
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// How many lookups are measured.
    #[arg(long, default_value_t = 1200)]
    count: usize,
    /// The names that are looked up.
    names: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let home = open_home(options.environment.cache_dir.as_deref())?;
    let progress = Progress::new(Show::Plain, home.root().join("logs"));
    let (binary, lookups) = tokio::task::block_in_place(|| {
        let binary = AgentBinary::find_or_build(&home, &progress)?;
        Ok::<_, Error>((binary, Lookups::find_or_build(&home, &progress)?))
    })?;
    let bytes = |program: &Result<ProgramFile, String>| match program {
        Ok(program) => format!("{} bytes", program.bytes().len()),
        Err(why) => format!("none ({why})"),
    };
    println!(
        "the agent has {} bytes, glibc's lookup {}, musl's {}, Go's {} bytes",
        binary.bytes().len(),
        bytes(&lookups.glibc),
        bytes(&lookups.musl),
        lookups.go.bytes().len()
    );
    let environment = Environment::up(&options.environment, false, true, &home, "example", &progress).await?;
    let pods = PanelPods::beside_testpod(environment.client().clone(), "example").await?;
    let started = Instant::now();
    pods.deploy(DEADLINE).await?;
    println!("the pods run after {:.1?}", started.elapsed());
    let panel = pods.open(&binary, &lookups).await?;
    println!("the panel is open after {:.1?}; it asks {}", started.elapsed(), panel.server());
    let mut alone = BTreeMap::new();
    for name in &options.names {
        for configuration in pods.configurations() {
            for (resolver, recorded) in show(&panel, configuration, name).await? {
                alone.insert((configuration.id.clone(), resolver, name.clone()), asked(&recorded));
            }
        }
    }
    measure(&panel, pods.configurations(), &options, &alone).await?;
    drop(panel);
    pods.remove(DEADLINE).await
}

/// What is asked, whatever the order and however often: how often a question is repeated after SERVFAIL is left to chance by some.
type Asked = BTreeSet<(String, QuestionKind)>;

fn asked(recorded: &Recorded) -> Asked {
    recorded.questions.iter().map(|question| (question.name.clone(), question.kind)).collect()
}

async fn show(panel: &Panel, configuration: &PanelConfiguration, name: &str) -> Result<Vec<(Resolver, Recorded)>> {
    let mut all = Vec::new();
    let hello = panel.agent(&configuration.id)?.hello().await?;
    if hello.resolv_conf != configuration.resolv_conf() {
        let cause = format!("it is {:?}, not {:?}", hello.resolv_conf, configuration.resolv_conf());
        return Err(Error::new(ErrorKind::Environment, "find the resolv.conf that was asked for", cause));
    }
    println!("\n== {name} with ndots {} and search {}", configuration.ndots, configuration.search.join(" "));
    for resolver in Resolver::ALL {
        let recorded = panel.lookup(&configuration.id, resolver, name).await?;
        println!(
            "-- {resolver}: {} questions in {} µs: {}",
            recorded.questions.len(),
            recorded.elapsed_us,
            end(&recorded)
        );
        for question in &recorded.questions {
            let answers: Vec<String> = question.answers.iter().map(|record| record.data.to_string()).collect();
            println!(
                "   {:>7} µs {:?} id {:>5} {:<5} {:<70} {} {}{} ({} µs)",
                question.at_us,
                question.transport,
                question.id,
                question.kind.to_string(),
                question.name,
                question.rcode.as_deref().unwrap_or("no answer"),
                answers.join(" "),
                if question.truncated { " truncated" } else { "" },
                question.elapsed_us.unwrap_or_default(),
            );
        }
        if recorded.unreadable > 0 {
            println!("   and {} messages that ask nothing", recorded.unreadable);
        }
        all.push((resolver, recorded));
    }
    Ok(all)
}

fn end(recorded: &Recorded) -> String {
    match &recorded.end {
        End::Exited { code, stdout, stderr } => {
            let text = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("exit {code:?}, stdout {:.200}, stderr {:.300}", text(stdout), text(stderr))
        }
        other => format!("{other:?}"),
    }
}

/// Every resolver in turn, in all pods at once; what is asked must be what was asked when each looked up alone.
async fn measure(
    panel: &Panel,
    configurations: &[PanelConfiguration],
    options: &Options,
    alone: &BTreeMap<(String, Resolver, String), Asked>,
) -> Result<()> {
    let names = &options.names;
    if names.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    let lookups = (0..options.count).map(async |number| {
        let resolver = Resolver::ALL[number % Resolver::ALL.len()];
        let number = number / Resolver::ALL.len();
        let configuration = &configurations[number % configurations.len()];
        let name = &names[number / configurations.len() % names.len()];
        let recorded = panel.lookup(&configuration.id, resolver, name).await?;
        if let Some(wanted) = alone.get(&(configuration.id.clone(), resolver, name.clone()))
            && *wanted != asked(&recorded)
        {
            println!(
                "{resolver} asks otherwise than alone for {name} in {}: {wanted:?}, {recorded:#?}",
                configuration.id
            );
        }
        Ok::<_, Error>((resolver, recorded))
    });
    let costs = try_join_all(lookups).await?;
    let elapsed = started.elapsed();
    println!("\n{} lookups recorded in {elapsed:.1?} by {} pods", costs.len(), configurations.len());
    let strays: u32 = costs.iter().map(|(_, recorded)| recorded.strays).sum();
    println!("{strays} messages that belong to nobody");
    let mut by_resolver: BTreeMap<Resolver, Vec<(u64, usize)>> = BTreeMap::new();
    for (resolver, recorded) in costs {
        by_resolver.entry(resolver).or_default().push((recorded.elapsed_us, recorded.questions.len()));
    }
    for (resolver, mut costs) in by_resolver {
        costs.sort_unstable();
        let at = |percent: usize| costs[(costs.len() * percent).div_ceil(100).max(1) - 1].0;
        let questions: usize = costs.iter().map(|(_, questions)| questions).sum();
        println!(
            "{:<9} {:>5} lookups, {questions:>6} questions, p50 {:>7} µs, p99 {:>7} µs",
            resolver.id(),
            costs.len(),
            at(50),
            at(99)
        );
    }
    Ok(())
}
