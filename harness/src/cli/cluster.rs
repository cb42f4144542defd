//! The commands about clusters that are kept.

use std::path::Path;

use super::{
    ChosenCluster, EnvironmentArguments, GcArguments, HomeArguments, KubectlArguments, LogsArguments, ShellArguments,
    say,
};
use crate::{
    Error, ErrorKind, Result,
    command::Command,
    environment::{
        self, Environment,
        cluster::{EngineAccess, connect, lease, logs, record::Record},
        engine::Sandbox,
        gc, images, release, running, workloads,
    },
    home::Home,
    probe::AgentBinary,
    progress::Progress,
    session::{
        directory::default_reports,
        handover::{Site, Start},
        interrupt::guarded,
        run::{blocking, show},
        workplace::Workplace,
    },
};

pub(super) async fn up(arguments: EnvironmentArguments) -> Result<u8> {
    let Workplace { home, run, progress } = Workplace::open(&arguments.environment, None).await?;
    let body = async {
        let agent = {
            let (home, progress) = (home.clone(), progress.clone());
            blocking(move || AgentBinary::find_or_build(&home, &progress))
        };
        let up = Environment::up(&arguments.environment, arguments.fresh, true, &home, &run.id, &progress);
        let (_agent, environment) = futures::future::try_join(agent, up).await?;
        Ok(environment.description().clone())
    };
    match guarded(body).await {
        Ok(description) => {
            for (name, value) in description {
                say(format!("{name:<16} {value}"));
            }
            say("Kept: `cargo xtask e2e` uses it, `cargo xtask down` deletes it.");
            Ok(0)
        }
        Err(error) => {
            // What is half made is not kept.
            release(&home, false, &progress).await?;
            Err(error)
        }
    }
}

pub(super) async fn status(arguments: &HomeArguments) -> Result<u8> {
    let home = Home::chosen(arguments.cache_dir.as_deref())?;
    say(format!("home             {}", home.root().display()));
    let engine = if Sandbox::running(&home).is_some() { "runs" } else { "does not run" };
    say(format!("private engine   {engine}"));
    let clusters = gc::status(&home)?;
    if clusters.is_empty() {
        say("clusters         none");
    }
    for cluster in clusters {
        say(format!("cluster          {}", cluster.line()));
        let record = &cluster.record;
        let config = &record.config;
        say(format!(
            "                 Kubernetes {}, {} workers, {:?}, {:?}, pool {}",
            config.kubernetes, config.workers, config.proxy_mode, config.ip_family, record.pool
        ));
        for run in &record.runs {
            say(format!("                 used by the run {} since {}", run.id, run.started_at));
        }
        if let Err(error) = live_status(&home, record).await {
            say(format!("                 {error}"));
        }
    }
    for record in gc::existing_clusters(&home)? {
        let kept = if record.kept { ", kept" } else { "" };
        let runs = record.runs.join(", ");
        say(format!("existing cluster {} of {}{kept}: used by {runs}", record.context, record.kubeconfig.display()));
    }
    Ok(0)
}

/// What the cluster itself says: nodes, pods of add-ons, what is journaled.
async fn live_status(home: &Home, record: &Record) -> Result<()> {
    let client = client(home, record).await?;
    for (vantage, pod) in workloads::node_places(&client).await? {
        say(format!("                 {vantage}: agent's pod {pod}"));
    }
    for add_on in ["kube-flannel", "metallb-system", workloads::NAMESPACE] {
        let unready = workloads::unready_pods(&client, &[add_on]).await;
        let state = if unready.is_empty() { "every pod ready".to_owned() } else { unready.join(", ") };
        say(format!("                 {add_on}: {state}"));
    }
    let journal = environment::journal::Journal::new(client, "status", None);
    for entry in journal.read().await? {
        say(format!("                 edited by the run {}: {}", entry.run, entry.target));
    }
    Ok(())
}

pub(super) fn kubectl(arguments: &KubectlArguments) -> Result<u8> {
    let (home, record) = chosen(&arguments.cluster)?;
    let access = access(&home, &record)?;
    let kubeconfig = Record::kubeconfig(&home, &record.name);
    let program = images::kubectl_program(&home, &record.config.kubernetes)?;
    let command = Command::new(program.to_string_lossy())
        .args(["--kubeconfig", &kubeconfig.to_string_lossy()])
        .args(arguments.arguments.iter().cloned());
    in_network_of(&access, command).interactive()
}

pub(super) fn shell(arguments: &ShellArguments) -> Result<u8> {
    let (home, record) = chosen(&arguments.cluster)?;
    let access = access(&home, &record)?;
    let program = if arguments.arguments.is_empty() { vec!["sh".to_owned()] } else { arguments.arguments.clone() };
    let runtime = tokio::runtime::Handle::current();
    let site = tokio::task::block_in_place(|| runtime.block_on(site(&home, &record, &arguments.vantage)))?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    let flags = if terminal { "-it" } else { "-i" };
    let command = match site.start {
        Start::Container { container, .. } => {
            access.command(Command::new("docker").args(["exec", flags, &container]).args(program))
        }
        Start::Pod { namespace, pod, container } => {
            let kubeconfig = Record::kubeconfig(&home, &record.name);
            let kubectl = images::kubectl_program(&home, &record.config.kubernetes)?;
            let command = Command::new(kubectl.to_string_lossy())
                .args([
                    "--kubeconfig",
                    &kubeconfig.to_string_lossy(),
                    "-n",
                    &namespace,
                    "exec",
                    flags,
                    &pod,
                    "-c",
                    &container,
                    "--",
                ])
                .args(program);
            in_network_of(&access, command)
        }
        Start::Here => Command::new(program[0].clone()).args(program[1..].iter().cloned()),
    };
    command.interactive()
}

async fn site(home: &Home, record: &Record, vantage: &str) -> Result<Site> {
    let sites = environment::sites(&client(home, record).await?, record.laptop.as_deref()).await?;
    let known: Vec<String> = sites.iter().map(|site| site.vantage.id.clone()).collect();
    sites.into_iter().find(|site| site.vantage.id == vantage).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("stand at {vantage}"), "the cluster has no such vantage")
            .hint(format!("Its vantages are: {}.", known.join(", ")))
    })
}

pub(super) fn logs(arguments: &LogsArguments) -> Result<u8> {
    let (home, record) = chosen(&arguments.cluster)?;
    let access = access(&home, &record)?;
    let directory = arguments.directory.clone().unwrap_or_else(|| default_reports().join("logs"));
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(logs::export(&access, &record.name, &directory)))?;
    say(format!("Logs: {}", directory.display()));
    Ok(0)
}

pub(super) async fn down(arguments: &ChosenCluster) -> Result<u8> {
    let (home, record) = chosen(arguments)?;
    let progress = Progress::new(show(), default_reports().join("logs"));
    lease::remove(&home, &access(&home, &record)?, &record.name).await?;
    say(format!("removed the cluster {}", record.name));
    for line in release(&home, false, &progress).await? {
        say(line);
    }
    Ok(0)
}

pub(super) async fn gc(arguments: &GcArguments) -> Result<u8> {
    let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
    let progress = Progress::new(show(), home.root().join("logs"));
    crate::process::record_in(&home);
    for command in crate::process::end_orphans(&home)? {
        say(format!("ended what a killed run left running: {command}"));
    }
    let done = release(&home, arguments.all, &progress).await?;
    if done.is_empty() {
        say("nothing to remove");
    }
    for line in done {
        say(line);
    }
    Ok(0)
}

/// The cluster that was named, else the only one.
fn chosen(arguments: &ChosenCluster) -> Result<(Home, Record)> {
    let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
    let mut all = Record::all(&home)?;
    let names: Vec<String> = all.iter().map(|record| record.name.clone()).collect();
    let refused = |cause: &str, hint: String| Error::new(ErrorKind::Usage, "choose a cluster", cause).hint(hint);
    if let Some(name) = &arguments.name {
        return match all.into_iter().find(|record| record.name == *name) {
            Some(record) => Ok((home, record)),
            None => Err(refused(&format!("there is none called {name}"), format!("There are: {}.", list(&names)))),
        };
    }
    match (all.pop(), names.len()) {
        (Some(record), 1) => Ok((home, record)),
        (None, _) => Err(refused("no cluster is kept", "Make one with `cargo xtask up`.".to_owned())),
        (Some(_), _) => Err(refused("there are several", format!("Name one with --name: {}.", list(&names)))),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn access(home: &Home, record: &Record) -> Result<EngineAccess> {
    running(home, record.config.engine)?.ok_or_else(|| {
        Error::new(ErrorKind::Environment, format!("reach the cluster {}", record.name), "its engine does not run")
            .hint("`cargo xtask up` starts it again, and makes the cluster anew.")
    })
}

async fn client(home: &Home, record: &Record) -> Result<kube::Client> {
    let kubeconfig = crate::command::read_text(&Record::kubeconfig(home, &record.name))?;
    connect::client(&kubeconfig, access(home, record)?.network_namespace.as_deref()).await
}

/// The same command where the API server's address is: its files and its terminal stay ours.
fn in_network_of(access: &EngineAccess, command: Command) -> Command {
    let Some(namespace) = &access.network_namespace else { return command };
    let words = ["nsenter".to_owned(), network_flag(namespace), "--".to_owned()];
    command.after(&words)
}

fn network_flag(namespace: &Path) -> String {
    format!("--net={}", namespace.display())
}
