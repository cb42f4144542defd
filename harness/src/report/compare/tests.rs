use proptest::prelude::*;
use reachmap_wire::{FailureClass, Step};

use super::*;
use crate::{
    report::{ChangeRecord, Cost, ErrorCount, LoadRecord, sample},
    verdict::Judgement,
};

/// The sample, and a run of another day in which some things went otherwise.
fn two() -> (Run, Run) {
    let a = sample::run();
    let mut b = a.clone();
    b.id = "20261125-010203-9".to_owned();
    b.environment.proxy_mode = Some("nftables".to_owned());
    b.environment.kernel = None;
    let cell = |run: &mut Run, id: &str, outcome: Judgement| {
        run.verdicts.iter_mut().find(|verdict| verdict.cell() == id).unwrap().outcome = outcome;
    };
    let refused = Judgement::NotAsExpected {
        step: Step::Connect,
        expected: "a connection".to_owned(),
        observed: "refused".to_owned(),
    };
    cell(&mut b, "load-balancer-pending/testpod/clusterip-short", refused);
    cell(
        &mut b,
        "load-balancer-pending/worker-10/pod-ip",
        Judgement::NotSupported { reason: "no such worker".to_owned() },
    );
    b.verdicts.retain(|verdict| verdict.cell() != "load-balancer-pending/laptop/pod-ip");
    b.lookups[0].costs[0] = Cost { questions: 10, ..b.lookups[0].costs[0].clone() };
    b.loads.retain(LoadRecord::is_as_expected);
    b.failed_tests.clear();
    b.changes[0].errors = vec![ErrorCount { class: FailureClass::Refused, requests: 7 }];
    (a, b)
}

#[test]
fn a_run_is_the_same_as_itself() {
    let run = sample::run();
    let comparison = compare(&run, &run);
    assert!(comparison.is_same() && comparison.environment.is_empty());
    assert_eq!(comparison.exit_code(), 0);
    let things = run.verdicts.len() + run.lookups.len() + run.loads.len() + run.beside.len() + run.failed_tests.len();
    let missing = run.other_tests.iter().filter(|test| !test.is_passed()).count();
    let things = things + run.changes.len() + missing;
    assert_eq!(comparison.same, things);
}

#[test]
fn times_addresses_and_pods_are_no_difference() {
    let a = sample::run();
    let mut b = a.clone();
    for verdict in &mut b.verdicts {
        if let Some(observation) = &mut verdict.observation {
            observation.elapsed_us += 1_000;
        }
        verdict.reproduce.push_str(" --again");
    }
    for load in &mut b.loads {
        load.requests_per_second *= 1.5;
        load.pods.iter_mut().for_each(|pod| pod.pod.push_str("-other"));
    }
    for change in &mut b.changes {
        change.requests += 1;
        change.errors.iter_mut().for_each(|error| error.requests += 3);
        change.settled_us.values_mut().for_each(|settled| *settled += 1_000_000);
        change.late_connections += 1;
    }
    b.beside[0].seen = "something with other numbers".to_owned();
    b.timeline.clear();
    // Pods are looked up by names that have their addresses in them.
    let mut a = a;
    for (run, name) in [(&mut a, "10-244-1-3.web.svc.cluster.local"), (&mut b, "fd00--1.web.svc.cluster.local")] {
        run.lookups[0].costs[0].name = name.to_owned();
    }
    assert_eq!(compare(&a, &b).differences, []);
    b.lookups[0].costs[0].questions += 1;
    assert_eq!(compare(&a, &b).differences.len(), 1);
}

#[test]
fn a_change_differs_if_requests_failed_or_the_new_state_did_not_come_everywhere() {
    let mut a = sample::run();
    assert!(a.changes[0].errors.is_empty());
    a.changes[0].vantages.insert("laptop".to_owned());
    a.changes[0].settled_us.insert("laptop".to_owned(), 1_000_000);
    let differences = |change: &dyn Fn(&mut ChangeRecord)| {
        let mut b = a.clone();
        change(&mut b.changes[0]);
        compare(&a, &b).differences
    };
    assert_eq!(differences(&|_| {}), []);
    let failed = differences(&|change| change.errors = vec![ErrorCount { class: FailureClass::Reset, requests: 2 }]);
    assert_eq!((failed.len(), failed[0].subject), (1, Subject::Change));
    let said = failed[0].said.each_ref().map(|said| said.as_ref().unwrap().verdict.as_str());
    assert_eq!(said, ["no request failed", "requests failed"]);
    let unsettled = differences(&|change| drop(change.settled_us.pop_first()));
    let reason = &unsettled[0].said[1].as_ref().unwrap().reason;
    assert!(reason.ends_with("The new state never served laptop alone."), "{reason}");
}

#[test]
fn a_terminal_shows_what_both_runs_say() {
    let (a, b) = two();
    insta::assert_snapshot!(terminal::terminal(&compare(&a, &b), Look::PLAIN));
}

#[test]
fn markdown_has_a_table_for_each_subject() {
    let (a, b) = two();
    let text = compare(&a, &b).show(Format::Markdown);
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(table.lines().all(|line| columns(line) == 4), "{table}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_format_lets_hostile_text_through() {
    let (a, b) = two();
    for format in [Format::Terminal, Format::Markdown, Format::Html] {
        // Each as the other's successor: what is only in one of them is shown in both places.
        for text in [compare(&a, &b).show(format), compare(&b, &a).show(format)] {
            let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(bad, None, "{format:?}");
            assert!(format == Format::Terminal || !text.contains("<script"), "{text}");
        }
    }
    let page = compare(&a, &b).show(Format::Html);
    assert!(page.contains("clusterip-short") && page.contains("nftables"), "{page}");
    assert!(!page.contains(" src=") && !page.contains("url("));
}

proptest! {
    #[test]
    fn what_differs_from_a_to_b_differs_from_b_to_a(kept in prop::collection::vec(any::<bool>(), 40)) {
        let a = sample::run();
        let mut b = a.clone();
        let mut kept = kept.into_iter().cycle();
        b.verdicts.retain(|_| kept.next().unwrap());
        b.lookups.retain(|_| kept.next().unwrap());
        b.loads.retain(|_| kept.next().unwrap());
        let (there, back) = (compare(&a, &b), compare(&b, &a));
        prop_assert_eq!(there.same, back.same);
        let turned: Vec<Difference> = back.differences.into_iter().map(|mut difference| {
            difference.said.reverse();
            difference
        }).collect();
        prop_assert_eq!(&there.differences, &turned);
        let left = a.verdicts.len() + a.lookups.len() + a.loads.len() - b.verdicts.len() - b.lookups.len() - b.loads.len();
        prop_assert_eq!(there.differences.len(), left);
    }
}

#[test]
fn what_two_runs_do_not_say_the_same_of_is_told_in_every_form() {
    let (a, b) = two();
    let comparison = compare(&a, &b);
    insta::assert_snapshot!("in_every_form", crate::cli::forms(&comparison, || comparison.show(Format::Markdown)));
}
