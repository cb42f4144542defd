//! The workflows of this repository.

use std::{collections::BTreeMap, fs};

use reachmap::{
    environment::images::versions::Versions,
    plan::{
        ImagesChoice,
        legs::{self, Extent},
    },
};

use super::script::{Machine, all, find, reports_and_exit, root};

fn values(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Each script, by its place: a new one fails this until a test runs it, too.
#[test]
fn every_script_is_run_by_a_test() {
    let places: Vec<String> = all().into_iter().map(|script| script.place).collect();
    insta::assert_snapshot!(places.join("\n"), @r"
    action.yml: runs: Install musl's compiler
    action.yml: runs: Run the suites
    .github/workflows/ci.yml: check: rustup show active-toolchain || rustup toolchain install
    .github/workflows/ci.yml: check: Check
    .github/workflows/ci.yml: ci-ok: Every check has passed
    .github/workflows/ci.yml: minimum: Check with the version that Cargo.toml promises
    .github/workflows/e2e.yml: e2e: Every way to a Service, without Docker and without a registry
    .github/workflows/e2e.yml: e2e: Say what became of it
    .github/workflows/e2e.yml: e2e-ok: Every leg has passed
    .github/workflows/e2e.yml: plan: rustup show active-toolchain || rustup toolchain install
    .github/workflows/e2e.yml: plan: Read the matrix from the versions table
    ");
}

#[test]
fn the_matrix_is_the_one_of_the_versions_table() {
    let script = find(".github/workflows/e2e.yml: plan: Read the matrix from the versions table");
    for (event, extent) in [
        ("pull_request", Extent::Edges),
        ("push", Extent::Edges),
        ("schedule", Extent::Full),
        ("workflow_dispatch", Extent::Full),
        ("$(touch pwned)", Extent::Edges),
    ] {
        let machine = Machine::new("exit 9");
        let ended = machine.run(&script, &values(&[("github.event_name", event)]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let legs = legs::legs(&Versions::embedded().unwrap(), ImagesChoice::Auto, extent).unwrap();
        assert_eq!(ended.outputs["matrix"], legs::json(&legs).unwrap(), "{event}");
        assert!(!machine.has_anywhere("pwned"));
    }
}

#[test]
fn a_matrix_that_cannot_be_read_fails_the_plan() {
    let script = find(".github/workflows/e2e.yml: plan: Read the matrix from the versions table");
    let mut machine = Machine::new("exit 9");
    machine.env.insert("XTASK".to_owned(), "/nowhere/xtask".to_owned());
    let ended = machine.run(&script, &values(&[("github.event_name", "push")]));
    assert_ne!(ended.code, Some(0));
    assert_eq!(ended.outputs, BTreeMap::new());
}

#[test]
fn the_last_job_passes_only_if_every_other_has() {
    for place in [
        ".github/workflows/e2e.yml: e2e-ok: Every leg has passed",
        ".github/workflows/ci.yml: ci-ok: Every check has passed",
    ] {
        let code = |results: &str| {
            Machine::new("exit 9").run(&find(place), &values(&[("join(needs.*.result, ' ')", results)])).code
        };
        assert_eq!(code("success success success"), Some(0));
        for results in ["success failure", "cancelled success", "success skipped", "failure failure"] {
            assert_eq!(code(results), Some(1), "{place}: {results}");
        }
    }
}

#[test]
fn the_toolchain_is_installed_only_where_it_is_missing() {
    for file in ["ci.yml: check", "e2e.yml: plan"] {
        let script =
            find(&format!(".github/workflows/{file}: rustup show active-toolchain || rustup toolchain install"));
        let mut machine = Machine::new("exit 9");
        assert_eq!(machine.run(&script, &BTreeMap::new()).code, Some(0));
        assert_eq!(machine.calls().len(), 1);
        machine.env.insert("NO_TOOLCHAIN".to_owned(), "1".to_owned());
        assert_eq!(machine.run(&script, &BTreeMap::new()).code, Some(0));
        assert_eq!(machine.calls().last().unwrap()[..], ["rustup", "toolchain", "install"]);
    }
}

#[test]
fn each_check_is_a_command_and_another_is_none() {
    let script = find(".github/workflows/ci.yml: check: Check");
    let calls = |check: &str| {
        let machine = Machine::new("exit 9");
        // The real linters would be built; this is about what is asked for.
        let ended = machine.run(&script, &values(&[("matrix.check", check)]));
        (ended.code, machine.calls().iter().map(|call| call.join(" ")).collect::<Vec<_>>())
    };
    let (code, said) = calls("clippy");
    assert_eq!((code, said.len()), (Some(0), 2));
    assert!(said.iter().all(|call| call.starts_with("cargo clippy ") && call.ends_with(" -- -D warnings")), "{said:?}");
    assert_eq!(calls("doc"), (Some(0), vec!["cargo doc --workspace --no-deps".to_owned()]));
    assert_eq!(calls("test"), (Some(0), vec!["cargo test --workspace".to_owned()]));
    let example = |name: &str| {
        let manifest = format!("examples/{name}/Cargo.toml");
        format!("cargo check --locked --all-targets --manifest-path {manifest} --target-dir target/examples")
    };
    assert_eq!(calls("examples"), (Some(0), vec![example("consumer"), example("existing")]));
    let (code, said) = calls("book");
    assert_eq!(
        (code, said.len(), said[0].starts_with("cargo install --locked mdbook@")),
        (Some(0), 2, true),
        "{said:?}"
    );
    assert_eq!(said[1], "cargo test --package xtask --test book -- --include-ignored");
    let browser = "cargo test --package reachmap --lib in_browser -- --ignored";
    assert_eq!(calls("browser"), (Some(0), vec![browser.to_owned()]));
    let package = "cargo test --package xtask --test packages -- --ignored --nocapture";
    assert_eq!(calls("package"), (Some(0), vec!["cargo package --workspace".to_owned(), package.to_owned()]));
    assert_eq!(calls("nothing"), (Some(1), vec![]));
}

#[test]
fn every_example_is_checked() {
    let script = find(".github/workflows/ci.yml: check: Check").text;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let list = script.lines().find(|line| line.trim().starts_with("for example in ")).unwrap();
        assert!(list.split([' ', ';']).any(|word| word == name), "{name}: {list}");
    }
}

#[test]
fn the_check_of_the_actions_asks_the_real_program() {
    let script = find(".github/workflows/ci.yml: check: Check");
    let machine = Machine::new("exit 9");
    let ended = machine.run(&script, &values(&[("matrix.check", "actions")]));
    assert_eq!(machine.calls(), [["cargo", "xtask", "lint", "actions"]]);
    // There is nothing to check in here, and that is no pass.
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.printed.contains("has neither workflows nor an action"), "{ended:?}");
}

#[test]
fn badly_formatted_code_fails_the_check_of_the_format() {
    let script = find(".github/workflows/ci.yml: check: Check");
    for (text, passes) in [("fn main() {}\n", true), ("fn  main( ) {}\n", false)] {
        let machine = Machine::new("exit 9");
        fs::create_dir(machine.path("workspace/src")).unwrap();
        let manifest = "[package]\nname = \"one\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(machine.path("workspace/Cargo.toml"), manifest).unwrap();
        fs::write(machine.path("workspace/src/main.rs"), text).unwrap();
        let ended = machine.run(&script, &values(&[("matrix.check", "fmt")]));
        assert_eq!(ended.code == Some(0), passes, "{ended:?}");
    }
}

#[test]
fn the_minimum_version_is_the_one_that_cargo_toml_promises() {
    let script = find(".github/workflows/ci.yml: minimum: Check with the version that Cargo.toml promises");
    let machine = Machine::new("exit 9");
    fs::copy(root().join("Cargo.toml"), machine.path("workspace/Cargo.toml")).unwrap();
    assert_eq!(machine.run(&script, &BTreeMap::new()).code, Some(0));
    let promised = env!("CARGO_PKG_RUST_VERSION");
    let expected = [
        format!("rustup toolchain install {promised} --profile minimal"),
        format!("cargo +{promised} check --workspace"),
    ];
    assert_eq!(machine.calls().iter().map(|call| call.join(" ")).collect::<Vec<_>>(), expected);
}

#[test]
fn a_leg_from_packages_runs_in_an_engine_of_its_own() {
    let script = find(".github/workflows/e2e.yml: e2e: Every way to a Service, without Docker and without a registry");
    for code in [0, 1] {
        let machine = Machine::new(&reports_and_exit(code));
        let leg = [
            ("matrix.kubernetes", "v1.37.2"),
            ("matrix.proxy-mode", "nftables"),
            ("matrix.ip-family", "dual"),
            ("matrix.cni", "flannel-host-gw"),
        ];
        let ended = machine.run(&script, &values(&leg));
        assert_eq!(ended.code, Some(code.into()), "{ended:?}");
        let reports = format!("--report-dir={}", machine.path("workspace/out").display());
        let expected = ["cargo", "xtask", "e2e", "--engine=sandbox", "--images=packages", "--k8s=v1.37.2"];
        let options = ["--proxy-mode=nftables", "--ip-family=dual", "--cni=flannel-host-gw", &reports];
        let calls = machine.calls();
        let call: Vec<&str> = calls.last().unwrap().iter().map(String::as_str).collect();
        // As whoever runs this test: without root, `sudo` would be there to ask.
        assert!(call.iter().rev().eq(expected.iter().chain(&options).rev()), "{call:?}");
    }
}

#[test]
fn a_leg_says_what_became_of_it_even_if_it_got_nowhere() {
    let script = find(".github/workflows/e2e.yml: e2e: Say what became of it");
    let ended = |result: &str, directory: &str| {
        let names = ["steps.run.outputs.result", "steps.run.outputs.report-directory"];
        Machine::new("exit 9").run(&script, &values(&[(names[0], result), (names[1], directory)])).printed
    };
    assert_eq!(ended("failed", "/out/1"), "result: failed\nreports: /out/1\n");
    assert_eq!(ended("", ""), "result: none\nreports: none\n");
}
