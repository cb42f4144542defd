//! The commands about clusters that are kept.

use std::path::Path;

use super::{
    ChosenCluster, DownArguments, GcArguments, KubectlArguments, LogsArguments, MadeArguments, ShellArguments, say,
};
use crate::{
    Error, ErrorCode, ErrorKind, Result,
    command::Command,
    environment::{
        self, Environment,
        cluster::{
            EngineAccess, connect, lease, logs,
            record::{Record, Records},
        },
        gc::Collected,
        images, release, running,
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

pub(super) async fn up(arguments: MadeArguments) -> Result<u8> {
    let MadeArguments { made: arguments, output } = arguments;
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
            let mut lines: Vec<String> =
                description.iter().map(|(name, value)| format!("{name:<16} {value}")).collect();
            lines.push("Kept: `cargo xtask e2e` uses it, `cargo xtask down` deletes it.".to_owned());
            output.print(&description, || lines.join("\n"))?;
            Ok(0)
        }
        Err(error) => {
            // What is half made is not kept.
            release(&home, false, &progress).await?;
            Err(error)
        }
    }
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

pub(super) async fn down(arguments: &DownArguments) -> Result<u8> {
    let (home, record) = chosen(&arguments.cluster)?;
    let progress = Progress::new(show(), default_reports().join("logs"));
    let removed = lease::remove(&home, running(&home, record.config.engine)?.as_ref(), &record.name, &progress).await?;
    let collected = released_after(vec![removed], &home, false, &progress).await?;
    // The trouble of other clusters is told, and is not this command's.
    arguments.output.print(&collected, || lines(collected.lines_but_own()))?;
    collected.of_own()?;
    Ok(0)
}

pub(super) async fn gc(arguments: &GcArguments) -> Result<u8> {
    let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
    let progress = Progress::new(show(), home.root().join("logs"));
    crate::process::record_in(&home);
    let orphans = crate::process::end_orphans(&home)?;
    let ended = orphans.iter().map(|command| format!("ended what a killed run left running: {command}")).collect();
    let collected = released_after(ended, &home, arguments.all, &progress).await?;
    arguments.output.print(&collected, || match collected.lines().next() {
        Some(_) => lines(collected.lines()),
        None => "nothing to remove".to_owned(),
    })?;
    Ok(if collected.failed.is_empty() { 0 } else { ErrorKind::Environment.exit_code() })
}

/// Releases what no run owns, after what was `done` already: that is told also if nothing can be released.
async fn released_after(done: Vec<String>, home: &Home, all: bool, progress: &Progress) -> Result<Collected> {
    match release(home, all, progress).await {
        Ok(collected) => Ok(Collected { done: [done, collected.done].concat(), ..collected }),
        Err(error) => {
            for line in &done {
                progress.line(line);
            }
            Err(error)
        }
    }
}

fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

/// The cluster that was named, else the only one.
pub(super) fn chosen(arguments: &ChosenCluster) -> Result<(Home, Record)> {
    let home = Home::chosen(arguments.home.cache_dir.as_deref())?;
    let Records { readable: mut all, unreadable } = Record::all(&home)?;
    let names: Vec<String> = all.iter().map(|record| record.name.clone()).collect();
    let is_meant = |name: &str| arguments.name.as_deref().map_or(all.is_empty(), |chosen| chosen == name);
    if let Some((_, error)) = unreadable.into_iter().find(|(name, _)| is_meant(name)) {
        return Err(error);
    }
    let refused = |cause: &str, hint: String| {
        Error::new(ErrorKind::Usage, "choose a cluster", cause).with_code(ErrorCode::Cluster).hint(hint)
    };
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

pub(super) fn access(home: &Home, record: &Record) -> Result<EngineAccess> {
    running(home, record.config.engine)?.ok_or_else(|| {
        let tried = format!("reach the cluster {}", record.name);
        Error::new(ErrorKind::Environment, tried, "its engine does not run").with_code(ErrorCode::EngineEnded).hint(
            "`cargo xtask up` starts it again, and makes the cluster anew; `cargo xtask down` removes what is left of it.",
        )
    })
}

pub(super) async fn client(home: &Home, record: &Record) -> Result<kube::Client> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::output::forms, environment::gc::Failure};

    #[test]
    fn what_was_cleaned_up_and_what_was_not_is_told_in_every_form() {
        let failure =
            |cluster: Option<&str>, line: &str| Failure { cluster: cluster.map(str::to_owned), line: line.to_owned() };
        let collected = Collected {
            done: vec!["removed the cluster mine".to_owned(), "stopped the private engine".to_owned()],
            failed: vec![
                failure(Some("theirs"), "could not clean up the cluster theirs: it is busy."),
                failure(None, "could not remove networks: the engine refused."),
            ],
        };
        insta::assert_snapshot!("gc", forms(&collected, || lines(collected.lines())));
        insta::assert_snapshot!("down", forms(&collected, || lines(collected.lines_but_own())));
    }
}
