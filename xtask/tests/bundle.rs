//! The bundle of a real run on a real cluster, on one node of which somebody had made the kernel pass by kube-proxy's
//! rules for one cluster IP: explained here without that cluster.
//!
//! The file is what `cargo xtask e2e --suite access` kept, reduced to the cells of that address and to the files of the
//! nodes.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use reachmap::{
    bundle::{self, Again, Explanation},
    verdict::Verdict,
};

const SABOTAGED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundle/sabotaged.tar.gz");

/// What was inserted on that node.
const SABOTAGE: &str = "reachmap sabotage";

fn explained() -> (bundle::Bundle, Explanation) {
    let bundle = bundle::read(Path::new(SABOTAGED)).unwrap();
    let explanation = bundle::explain(&bundle, None).unwrap();
    (bundle, explanation)
}

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap()
}

#[test]
fn a_sabotaged_run_comes_to_the_same_verdicts_without_its_cluster() {
    let (bundle, explanation) = explained();
    let judged = bundle.run.verdicts.iter().filter(|verdict| verdict.is_judged()).count();
    assert!(judged >= 40, "{judged}");
    assert_eq!((explanation.same, explanation.different, explanation.not_derived), (judged, 0, 0));
    let failed: BTreeSet<String> = bundle.run.not_as_expected().map(Verdict::cell).collect();
    let shown: BTreeSet<String> = explanation.cells.iter().map(|cell| cell.recorded.cell()).collect();
    assert!(!failed.is_empty());
    assert_eq!(shown, failed);
    assert!(explanation.cells.iter().all(|cell| cell.again == Again::Same));
}

#[test]
fn what_was_done_to_the_node_is_shown_at_each_cell_that_it_broke() {
    let (_, explanation) = explained();
    for cell in &explanation.cells {
        let apart = cell.bearing.iter().find(|bearing| bearing.what.starts_with("Rules that no node has but"));
        let apart = apart.unwrap_or_else(|| panic!("{}: {:#?}", cell.recorded.cell(), cell.bearing));
        assert!(apart.lines.iter().any(|line| line.contains(SABOTAGE)), "{apart:#?}");
    }
}

#[test]
fn a_model_that_says_something_else_is_noticed() {
    let (mut bundle, _) = explained();
    let broken = bundle.run.not_as_expected().next().unwrap().cell();
    for state in bundle.states.values_mut() {
        // As if the model had come to count no endpoint as ready.
        state
            .endpoints
            .iter_mut()
            .filter(|endpoint| endpoint.service != "kube-dns")
            .for_each(|endpoint| endpoint.ready = false);
    }
    let explanation = bundle::explain(&bundle, Some(&broken)).unwrap();
    assert!(explanation.different > 0);
    let shown = bundle::show(&explanation);
    assert!(shown.contains("NOT THE SAME: the expectation is another one now"), "{shown}");
    assert_eq!(explanation.exit_code(), 1);
}

#[test]
fn the_command_line_explains_it_and_says_by_its_exit_code_that_nothing_differs() {
    let told = xtask(&["bundle", "explain", SABOTAGED]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{text}");
    assert!(text.contains("not as expected, from the step `connect` on") && text.contains(SABOTAGE), "{text}");
    assert!(text.trim_end().ends_with("every verdict is the same"), "{text}");

    let listed = xtask(&["bundle", "show", SABOTAGED]);
    assert!(String::from_utf8(listed.stdout).unwrap().contains("iptables-save.txt"));

    let json = xtask(&["bundle", "explain", SABOTAGED, "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["different"], 0);
}

#[test]
fn bad_input_is_refused_with_the_exit_code_for_it() {
    for file in ["/no/such/bundle.tar.gz", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
        let told = xtask(&["bundle", "explain", file]);
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error[RM-USAGE]: failed to read the bundle {file}: ")), "{said}");
    }
}
