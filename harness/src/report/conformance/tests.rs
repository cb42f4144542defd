//! The statement of a run that has everything in it.

use serde_json::Value;

use super::*;
use crate::report::sample;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/conformance-v1.schema.json");

#[test]
fn the_statement_of_the_sample() {
    insta::assert_snapshot!(conformance(&sample::run()));
}

#[test]
fn it_is_yaml_that_obeys_its_schema() {
    let run = sample::run();
    let text = conformance(&run);
    assert_eq!(serde_saphyr::from_str::<Statement>(&text).unwrap(), statement(&run));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(SCHEMA).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let read: Value = serde_saphyr::from_str(&text).unwrap();
    let errors: Vec<String> = validator.iter_errors(&read).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let mut wrong = read;
    wrong["profiles"][0]["statistics"]["Passed"] = "many".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn the_published_schema_of_statements_is_up_to_date() {
    if std::env::var_os("REACHMAP_WRITE_SCHEMA").is_some() {
        std::fs::write(SCHEMA, conformance_schema()).unwrap();
    }
    assert!(
        std::fs::read_to_string(SCHEMA).unwrap() == conformance_schema(),
        "REACHMAP_WRITE_SCHEMA=1 cargo test -p reachmap schema writes it anew"
    );
}

#[test]
fn every_test_is_counted_once() {
    let run = sample::run();
    let statement = statement(&run);
    let sum = statement.profiles.iter().map(|profile| profile.statistics).fold(Statistics::default(), Statistics::and);
    let all = run.counts.total() + run.lookups.len() + run.loads.len() + run.failed_tests.len() + run.other_tests.len();
    assert_eq!(sum.passed + sum.failed + sum.skipped + sum.errored, all);
    assert_eq!(statement.result, ConformanceResult::Failure);
    for profile in &statement.profiles {
        assert_eq!(profile.failed_tests.len(), profile.statistics.failed, "{}", profile.name);
    }
}

#[test]
fn what_is_not_supported_makes_a_result_partial_and_never_a_success() {
    let of = |passed, failed, skipped, errored| ConformanceResult::of(&Statistics { passed, failed, skipped, errored });
    assert_eq!(of(3, 0, 0, 0), ConformanceResult::Success);
    assert_eq!(of(3, 0, 1, 0), ConformanceResult::Partial);
    assert_eq!([of(3, 1, 1, 0), of(3, 0, 0, 1), of(0, 1, 0, 0), of(0, 0, 0, 1)], [ConformanceResult::Failure; 4]);
    assert_eq!([of(0, 0, 3, 0), of(0, 0, 0, 0)], [ConformanceResult::NotRun; 2]);
}

#[test]
fn the_command_names_what_was_chosen_and_nothing_of_this_machines() {
    let words =
        ["e2e", "--name", "mine", "--suite=access", "--keep", "--report-dir=/home/me/out", "--ip-family", "dual"];
    let mut run = sample::run();
    run.options = words.map(str::to_owned).to_vec();
    run.environment.kubernetes = Some("v1.37.2".to_owned());
    run.environment.proxy_mode = Some("iptables".to_owned());
    assert_eq!(command(&run), "cargo xtask e2e --suite=access --ip-family dual --k8s v1.37.2 --proxy-mode iptables");
    run.options = ["e2e", "--kubeconfig", "/home/me/.kube/config", "--context=prod"].map(str::to_owned).to_vec();
    assert_eq!(command(&run), "cargo xtask e2e --kubeconfig KUBECONFIG");
    run.options = ["shards of", "one", "two"].map(str::to_owned).to_vec();
    run.environment.ip_family = Some("ipv4".to_owned());
    assert_eq!(command(&run), "cargo xtask e2e --k8s v1.37.2 --proxy-mode iptables --ip-family ipv4");
}
