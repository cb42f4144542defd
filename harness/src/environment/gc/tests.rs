use std::{future::ready, path::Path};

use super::*;
use crate::{
    command::Command,
    environment::cluster::record::{Phase, tests::record},
    progress::Show,
};

/// An engine whose commands do nothing but note what they were.
fn noting(kind: EngineKind, log: &Path) -> EngineAccess {
    let log = log.display().to_string();
    EngineAccess::new(kind, "kind", move |command: Command| {
        let script = r#"echo "$1" >>"$0"; case "$1" in *"network inspect"*) echo '[]';; esac"#;
        Command::new("sh").args(["-c", script, &log, &command.display()])
    })
}

/// Collects where only the private engine runs, if any does.
async fn collected(home: &Home, sandbox: Option<&EngineAccess>, all: bool) -> Collected {
    let engine = |kind| ready(Ok(sandbox.filter(|_| kind == EngineKind::Sandbox).cloned()));
    collect(home, engine, all, &Progress::new(Show::Nothing, home.root())).await.unwrap()
}

fn names(home: &Home) -> Vec<String> {
    status(home).unwrap().iter().map(|status| status.record.name.clone()).collect()
}

#[tokio::test]
async fn what_no_run_holds_and_nobody_keeps_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let log = dir.path().join("log");
    let mut gone = record("gone");
    gone.laptop = Some("gone-laptop".to_owned());
    gone.write(&home).unwrap();
    Record { kept: true, ..record("kept") }.write(&home).unwrap();
    record("held").write(&home).unwrap();
    let _held = home.try_lock(&lock_name("held")).unwrap().unwrap();
    let access = noting(EngineKind::Sandbox, &log);
    let first = collected(&home, Some(&access), false).await;
    assert_eq!(first.done, ["removed the cluster gone", "left the cluster held: a run holds it"]);
    assert_eq!(first.failed, []);
    let run = std::fs::read_to_string(&log).unwrap();
    let mut commands = run.lines();
    assert_eq!(commands.next(), Some("docker rm --force --volumes gone-laptop"));
    // Its name is free again when a container can be made with it.
    assert!(commands.next().unwrap().starts_with("docker create --pull never --name gone-laptop "), "{run}");
    assert_eq!(commands.next(), Some("docker rm --force --volumes gone-laptop"));
    assert!(commands.next().unwrap().starts_with("kind delete cluster --name gone --kubeconfig "), "{run}");
    assert_eq!(names(&home), ["held", "kept"]);

    let second = collected(&home, Some(&access), true).await;
    assert_eq!(second.done, ["left the cluster held: a run holds it", "removed the cluster kept"]);
}

#[tokio::test]
async fn what_was_to_be_kept_and_is_half_made_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    for (name, phase) in [("creating", Phase::Creating), ("deleting", Phase::Deleting), ("ready", Phase::Ready)] {
        Record { kept: true, phase, ..record(name) }.write(&home).unwrap();
    }
    let access = noting(EngineKind::Sandbox, &dir.path().join("log"));
    let collected = collected(&home, Some(&access), false).await;
    assert_eq!(collected.done, ["removed the cluster creating", "removed the cluster deleting"]);
    assert_eq!(names(&home), ["ready"]);
}

#[tokio::test]
async fn a_cluster_that_ended_with_its_engine_goes_with_what_is_left_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    record("a").write(&home).unwrap();
    Record { kept: true, ..record("b") }.write(&home).unwrap();
    let container = home.engine().join("docker/containers/0123");
    std::fs::create_dir_all(&container).unwrap();
    let done = collected(&home, None, false).await.done;
    assert_eq!(done, ["a", "b"].map(|name| format!("removed the cluster {name}, which had ended with its engine")));
    assert!(names(&home).is_empty() && !container.exists());
}

#[tokio::test]
async fn a_cluster_stays_recorded_while_the_user_s_engine_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let mut docker = record("a");
    docker.config.engine = EngineKind::Docker;
    docker.add_run("r1");
    docker.write(&home).unwrap();
    let collected = collected(&home, None, true).await;
    assert_eq!(collected.done, [""; 0]);
    let line = "could not clean up the cluster a: failed to remove the cluster a: its engine does not run.";
    assert_eq!(collected.failed, [Failure { cluster: Some("a".to_owned()), line: line.to_owned() }]);
    assert_eq!(names(&home), ["a"]);
    // A run hears of its own clusters alone.
    assert_eq!(collected.of_run(&home, "r1").unwrap_err().kind(), ErrorKind::Environment);
    collected.of_run(&home, "r2").unwrap();
}

/// Whether something is recorded of an engine of the user's decides whether it is asked: what is removed must not decide it.
#[tokio::test]
async fn the_network_goes_with_the_last_cluster_of_the_user_s_engine() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("home"));
    let log = dir.path().join("log");
    let mut last = record("last");
    last.config.engine = EngineKind::Docker;
    last.write(&home).unwrap();
    let access = noting(EngineKind::Docker, &log);
    let engine = |kind| {
        let is_recorded = Record::all(&home).unwrap().readable.iter().any(|record| record.config.engine == kind);
        ready(Ok(is_recorded.then(|| access.clone())))
    };
    let progress = Progress::new(Show::Nothing, home.root());
    let collected = collect(&home, engine, false, &progress).await.unwrap();
    assert_eq!(collected.done, ["removed the cluster last"]);
    let run = std::fs::read_to_string(&log).unwrap();
    assert!(run.lines().any(|command| command == "docker network ls --quiet"), "{run}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    for name in ["a", "b"] {
        record(name).write(&home).unwrap();
    }
    std::fs::write(Record::directory(&home, "a").join("lease.json"), "{}").unwrap();
    std::fs::create_dir_all(home.clusters().join("existing-0")).unwrap();
    std::fs::write(home.clusters().join("existing-0/existing.json"), "{}").unwrap();
    let access = noting(EngineKind::Sandbox, &dir.path().join("log"));
    let collected = collected(&home, Some(&access), true).await;
    assert_eq!(collected.done, ["removed the cluster b"]);
    let failed: Vec<&str> = collected.failed.iter().filter_map(|failure| failure.cluster.as_deref()).collect();
    assert_eq!(failed, ["a", "existing-0"]);
    let [own, existing] = &unreadable(&home).unwrap()[..] else { panic!("two records cannot be read") };
    assert!(own.contains("lease.json") && own.contains("another version of Reachmap"), "{own}");
    assert!(existing.contains("existing.json"), "{existing}");
    assert!(names(&home).is_empty() && existing_clusters(&home).unwrap().is_empty());
}

#[test]
fn status_tells_what_is_half_made() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    Record { phase: Phase::Creating, kept: true, ..record("a") }.write(&home).unwrap();
    std::fs::write(Record::journal_note(&home, "a"), "r1").unwrap();
    let line = status(&home).unwrap()[0].line();
    assert!(line.starts_with("a: half made: the next run makes it anew, "), "{line}");
    assert!(line.ends_with(" min old, edits to put back") && !line.contains("kept"), "{line}");
}
