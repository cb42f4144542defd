//! `watch`: cells of a kept cluster, probed again whenever it changes.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    ChosenCluster,
    cluster::{access, chosen, client},
    output::{Output, OutputArguments, plain},
    say,
};
use crate::{
    Context as _, ErrorKind, Result,
    command::read_text,
    environment::{self, cluster::record::Record},
    filter::Filter,
    home::Home,
    probe::AgentBinary,
    process,
    progress::Progress,
    session::{
        Session,
        directory::RunDirectory,
        handover::{self, Handover},
        run::{blocking, show},
    },
    watch::{Cells, Changes, Turn},
};

/// Changes that come with less between them are one: a rollout is many.
const QUIET: Duration = Duration::from_millis(500);

/// And after this long, whatever still comes.
const MOST: Duration = Duration::from_secs(5);

/// A change reaches every node within this; a Corefile takes longer, and is looked at again as long as cells are wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often cells that are not as expected are looked at again without a change.
const WRONG_AGAIN: Duration = Duration::from_secs(3);

/// What `watch` takes.
#[derive(Debug, Args)]
pub(super) struct WatchArguments {
    #[command(flatten)]
    cluster: ChosenCluster,
    /// Only cells that match, as `vantage/method` with `*`; `,` is or, a leading `!` is not.
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// What is told at once.
#[derive(Debug, Serialize)]
struct Told {
    /// Since the watch began, in seconds.
    at: f64,
    /// What changed in the cluster.
    changes: Vec<String>,
    /// Since the first of these changes was heard, in seconds; none at the beginning.
    after: Option<f64>,
    /// The cells that are not as they were.
    cells: Vec<Turn>,
    /// How many cells are not as expected now.
    wrong: usize,
}

/// Watches until Ctrl-C or SIGTERM, which is its usual end: 0 if every cell is as expected then, 1 if not.
pub(super) async fn watch(arguments: WatchArguments) -> Result<u8> {
    let only = arguments.only.as_deref().map(Filter::parse).transpose()?;
    let (home, record) = chosen(&arguments.cluster)?;
    let mut cells = Cells::choose(only.as_ref(), record.config.workers)?;
    let listen = |kind| signal(kind).tried(ErrorKind::Internal, || "listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let run = RunDirectory::create(None)?;
    process::record_in(&home);
    let watched = tokio::select! {
        watched = follow(&mut cells, &home, &record, &run, arguments.output) => watched,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    // The agents' streams, and the commands that carry them.
    process::end_own();
    watched?;
    Ok(u8::from(cells.wrong() > 0))
}

async fn follow(
    cells: &mut Cells,
    home: &Home,
    record: &Record,
    run: &RunDirectory,
    output: OutputArguments,
) -> Result<()> {
    let started = Instant::now();
    let mut session = open(home, record, run).await?;
    let mut changes = Changes::watch(&client(home, record).await?, &session.handover().namespaces);
    let tell = |changes: Vec<String>, heard: Option<Instant>, cells: Vec<Turn>, wrong: usize| {
        let after = heard.map(|heard| heard.elapsed().as_secs_f64());
        show_told(&Told { at: started.elapsed().as_secs_f64(), changes, after, cells, wrong }, output)
    };
    let first = cells.turn(&session, false, PATIENCE).await?;
    let first = first.into_iter().filter(|turn| output.output != Output::Pretty || !turn.is_as_expected).collect();
    tell(
        vec![match cells.len() {
            1 => "1 cell is watched".to_owned(),
            number => format!("{number} cells are watched"),
        }],
        None,
        first,
        cells.wrong(),
    )?;
    let mut again = interval_at(Instant::now() + WRONG_AGAIN, WRONG_AGAIN);
    // A look takes a while itself: the next one comes that long after it.
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = None;
    loop {
        tokio::select! {
            batch = changes.next_batch(QUIET, MOST) => {
                let Some(batch) = batch else { return Ok(()) };
                heard = Some(Instant::now());
                if cells.has_lost_one() {
                    // A pod that was replaced has no agent yet.
                    session = open(home, record, run).await?;
                }
                let turns = cells.turn(&session, false, PATIENCE).await?;
                tell(batch, heard, turns, cells.wrong())?;
            }
            _ = again.tick(), if cells.wrong() > 0 => {
                let turns = cells.turn(&session, true, Duration::ZERO).await?;
                if !turns.is_empty() {
                    tell(Vec::new(), heard, turns, cells.wrong())?;
                }
            }
        }
    }
}

/// Stands at every vantage of the cluster; changes nothing in it.
async fn open(home: &Home, record: &Record, run: &RunDirectory) -> Result<Session> {
    let access = access(home, record)?;
    let kubeconfig = read_text(&Record::kubeconfig(home, &record.name))?;
    let vantages = environment::sites_through(&client(home, record).await?, record, &access).await?;
    let progress = Progress::new(show(), run.path.join("logs"));
    let cache_dir = (Home::chosen(None).ok().as_ref() != Some(home)).then(|| home.root());
    let here = handover::here(&record.name, cache_dir);
    let (home, network_namespace) = (home.clone(), access.network_namespace.clone());
    let handover = Handover {
        run: run.id.clone(),
        dir: run.path.clone(),
        suite: "watch".to_owned(),
        stage: "now".to_owned(),
        kubeconfig,
        network_namespace,
        agent: PathBuf::new(),
        lookups: None,
        hey: None,
        vantages,
        namespaces: environment::namespaces(),
        planned_pool: Some(record.pool.to_string()),
        journal: None,
        kubectl: None,
        here: Some(here),
        holder: None,
    };
    blocking(move || {
        let agent = AgentBinary::find_or_build(&home, &progress)?.path().to_owned();
        Session::open(Handover { agent, ..handover })
    })
    .await
}

fn show_told(told: &Told, output: OutputArguments) -> Result<()> {
    match output.output {
        Output::Pretty => say(text(told)),
        Output::Plain => say(plain(told)?),
        // A line for each, so that another program can read them as they come.
        Output::Json => say(serde_json::to_string(told).tried(ErrorKind::Internal, || "write what was seen as JSON")?),
    }
    Ok(())
}

/// For people: what changed, then each cell that is another, then how it stands.
fn text(told: &Told) -> String {
    let mut lines: Vec<String> = told.changes.iter().map(|change| format!("[{:7.1}s] {change}", told.at)).collect();
    for turn in &told.cells {
        let before = turn.before.as_ref().map_or_else(String::new, |before| format!("{before} → "));
        let reason = if turn.reason.is_empty() { String::new() } else { format!(". {}", turn.reason) };
        let mark = if turn.is_as_expected { '✓' } else { '!' };
        lines.push(format!("            {mark} {}: {before}{}{reason}", turn.cell, turn.after));
    }
    let after = told.after.map_or_else(String::new, |after| format!(", {after:.1} s after the change"));
    let stands = match told.wrong {
        0 => "all as expected".to_owned(),
        wrong => format!("{wrong} not as expected"),
    };
    lines.push(format!("            {stands}{after}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_what_came_of_it() {
        let turn = |cell: &str, before: Option<&str>, after: &str, is_as_expected| Turn {
            cell: cell.to_owned(),
            before: before.map(str::to_owned),
            after: after.to_owned(),
            reason: "No ready endpoint.".to_owned(),
            is_as_expected,
        };
        let told = Told {
            at: 12.34,
            changes: vec!["Service shop/web: selector app=a → app=b".to_owned()],
            after: Some(1.26),
            cells: vec![
                turn("laptop/nodeport", Some("as expected: reached"), "as expected: not reached", true),
                turn("testpod/pod-ip", None, "not as expected at connect", false),
            ],
            wrong: 1,
        };
        insta::assert_snapshot!(text(&told), @r"
        [   12.3s] Service shop/web: selector app=a → app=b
                    ✓ laptop/nodeport: as expected: reached → as expected: not reached. No ready endpoint.
                    ! testpod/pod-ip: not as expected at connect. No ready endpoint.
                    1 not as expected, 1.3 s after the change
        ");
    }
}
