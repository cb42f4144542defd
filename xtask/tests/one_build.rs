//! `cargo xtask`, the suites and `cargo test --workspace` share one build of every dependency.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{collections::BTreeSet, process::Command};

/// Every package with the features that it is built with, for the host or for the target.
fn features(edges: &str, selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}", "--edges", edges])
        .args(selection)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // What was shown before carries a mark.
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn what_is_built_alone_has_the_features_that_the_tests_give_it() {
    let whole = features("normal,build,dev", &["--workspace"]);
    for (edges, package) in [("normal,build", "xtask"), ("normal,build,dev", "reachmap-suites")] {
        let alone = features(edges, &["--package", package]);
        let other: Vec<&String> = alone.difference(&whole).collect();
        assert!(other.is_empty(), "{package} alone compiles these once more; see xtask/Cargo.toml: {other:#?}");
    }
}
