use reachmap_wire::Step;

use super::*;
use crate::{
    report::{Counts, json, sample},
    testing,
    verdict::Judgement,
};

/// A run with a third of the sample's cells; together they have all of them.
fn shard(number: usize) -> Run {
    let mut run = sample::run();
    let mine = |place: usize| place % 3 == number;
    let mut place = 0;
    run.verdicts.retain(|_| {
        place += 1;
        mine(place)
    });
    run.id = format!("shard-{number}");
    run.environment.other.insert("cluster reused".to_owned(), if number == 0 { "no" } else { "yes" }.to_owned());
    run.environment.nodes = vec![format!("{number}-control-plane"), format!("{number}-worker")];
    run.started += jiff::SignedDuration::from_secs(10 * i64::try_from(number).unwrap());
    run
}

#[test]
fn shards_together_are_the_whole_run() {
    let whole = merge("whole", &[sample::run()]).unwrap();
    let merged = merge("whole", &[shard(1), shard(0), shard(2)]).unwrap();
    assert_eq!(merged.verdicts, whole.verdicts);
    assert_eq!((merged.counts, merged.exit_code), (Counts::of(&whole.verdicts), 1));
    // What every shard says is said once.
    assert_eq!((&merged.lookups, &merged.beside), (&whole.lookups, &whole.beside));
    assert_eq!(merged.failed_tests.len(), whole.failed_tests.len());
    assert_eq!((merged.loads.len(), merged.stages.len()), (whole.loads.len(), whole.stages.len()));
    assert_eq!(merged.id, "whole");
    assert_eq!(merged.environment.nodes, ["1-control-plane", "1-worker"]);
    // From the start of the first to the end of the last, each step at its own time.
    assert_eq!(merged.started, whole.started);
    let starts = |title: &str| {
        let mut starts: Vec<f64> =
            merged.timeline.iter().filter(|step| step.title == title).map(|step| step.start_seconds.round()).collect();
        starts.sort_by(f64::total_cmp);
        starts
    };
    assert_eq!(starts("Start the engine"), [0.0, 10.0, 20.0]);
}

#[test]
fn the_order_of_the_shards_changes_nothing_that_they_say() {
    let (one, other) = (merge("m", &[shard(0), shard(1), shard(2)]), merge("m", &[shard(2), shard(1), shard(0)]));
    assert!(compare(&one.unwrap(), &other.unwrap()).is_same());
}

#[test]
fn rows_that_no_shard_could_show_alone_are_shown_together() {
    let half = |first: bool| {
        let mut run = Run::started(if first { "one" } else { "two" }, &[]);
        run.verdicts = testing::verdicts();
        let mut even = false;
        run.verdicts.retain(|_| {
            even = !even;
            even == first
        });
        run
    };
    let merged = merge("both", &[half(true), half(false)]).unwrap();
    assert_eq!(merged.exit_code, 0);
    assert!(!merged.tutorial.is_empty());
    assert!(
        merged.tutorial.iter().all(|row| row.outcome == crate::matrix::RowOutcome::Confirmed),
        "{:?}",
        merged.tutorial
    );
}

#[test]
fn what_is_merged_is_a_report_like_any_other() {
    let merged = merge("m", &[shard(0), shard(1)]).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&json(&merged)).unwrap(), merged);
    // Merged once more with one of its parts, it says what it said.
    let again = merge("m", &[merged.clone(), shard(1)]).unwrap();
    assert!(compare(&merged, &again).is_same());
}

#[test]
fn other_environments_are_refused_by_what_differs() {
    let mut other = shard(1);
    other.environment.proxy_mode = Some("nftables".to_owned());
    let error = merge("m", &[shard(0), other]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    insta::assert_snapshot!(error, @"failed to merge shard-0, shard-1: they ran on different environments: kube-proxy was iptables in shard-0 and nftables in shard-1");
}

#[test]
fn shards_that_contradict_each_other_are_refused_by_name() {
    let mut other = sample::run();
    other.id = "other".to_owned();
    let wrong =
        Judgement::NotAsExpected { step: Step::Connect, expected: String::new(), observed: "refused".to_owned() };
    let cell = other.verdicts.iter_mut().find(|verdict| verdict.is_as_expected()).unwrap();
    cell.outcome = wrong;
    let error = merge("m", &[sample::run(), other]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    insta::assert_snapshot!(error, @"failed to merge 20261124-024546-77, other: 20261124-024546-77 and other do not say the same of access · load-balancer-pending/testpod/clusterip-short");
}

#[test]
fn nothing_is_no_run() {
    assert_eq!(merge("m", &[]).unwrap_err().kind(), ErrorKind::Usage);
}
