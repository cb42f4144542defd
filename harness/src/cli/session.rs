//! `session`: a cluster that is held for tests which run by themselves.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::say;
use crate::{
    Cluster, Context as _, ErrorKind, Result,
    command::{Command, quote},
    matrix::Stage,
    plan::EnvironmentOptions,
    session::{handover::SESSION_VARIABLE, run::blocking},
};

/// What `session` takes.
#[derive(Debug, Args)]
pub(super) struct SessionArguments {
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// The stage to hold the cluster in (default: load-balancer-ready, or load-balancer-pending where the load balancer is not
    /// ours).
    #[arg(long, value_enum, value_name = "STAGE", hide_possible_values = true)]
    stage: Option<Stage>,
    /// Keep the cluster afterwards.
    #[arg(long)]
    keep: bool,
    /// What the tests' verdicts are of, in the reports.
    #[arg(long, value_name = "NAME", default_value = "own")]
    suite: String,
    /// Where reports go (default: target/reachmap).
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// The command to run with the session, such as `cargo nextest run` (default: none, and hold it until Ctrl-C).
    #[arg(last = true)]
    command: Vec<String>,
}

/// Holds the session as long as the command runs, or until Ctrl-C or SIGTERM. The exit code is the command's, else what the
/// verdicts come to.
pub(super) async fn session(arguments: SessionArguments) -> Result<u8> {
    let SessionArguments { environment, stage, keep, suite, report_dir, command } = arguments;
    let mut builder = Cluster::of(environment).suite(suite);
    if let Some(stage) = stage {
        builder = builder.stage(stage);
    }
    if keep {
        builder = builder.keep();
    }
    if let Some(directory) = report_dir {
        builder = builder.reports(directory);
    }
    let mut code = 0;
    let report = builder
        .run(async |cluster| {
            let file = cluster.hand_over()?;
            code = if command.is_empty() { hold(&file, cluster.stage()).await? } else { with(&file, &command).await? };
            Ok(())
        })
        .await?;
    say(&report);
    Ok(if code == 0 { report.exit_code() } else { code })
}

/// Says how other processes find the session, and waits for the signal that ends it.
async fn hold(file: &Path, stage: Stage) -> Result<u8> {
    let listen = |kind| signal(kind).tried(ErrorKind::Internal, || "listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    say(told(file, stage));
    tokio::select! {
        _ = interrupt.recv() => Ok(0),
        _ = terminate.recv() => Ok(0),
    }
}

async fn with(file: &Path, command: &[String]) -> Result<u8> {
    let command = Command::new(command[0].clone())
        .args(command[1..].iter().cloned())
        .env(SESSION_VARIABLE, file.to_string_lossy());
    blocking(move || command.interactive()).await
}

/// Lines that a shell can read, the first of which it has to.
fn told(file: &Path, stage: Stage) -> String {
    format!(
        "export {SESSION_VARIABLE}={}\n# The cluster is held in the stage {stage} until Ctrl-C. In another shell: the line above, then \
         `cargo nextest run`.",
        quote(&file.to_string_lossy())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_finds_the_session_by_what_is_said() {
        let path = Path::new("/a run's/session.json");
        let script = format!("{}\nprintf %s \"${SESSION_VARIABLE}\"", told(path, Stage::LoadBalancerReady));
        let said = Command::new("sh").args(["-c", &script]).run().unwrap();
        assert_eq!(said.text(), "/a run's/session.json");
    }

    #[tokio::test]
    async fn a_command_has_the_session_and_its_exit_code_is_passed_on() {
        let command = ["sh", "-c", "[ \"$REACHMAP_SESSION\" = /session.json ] && exit 7"].map(str::to_owned);
        assert_eq!(with(Path::new("/session.json"), &command).await.unwrap(), 7);
    }
}
