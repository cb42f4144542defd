//! The commands about reports that are there already, and what they make of bad input.

use reachmap::report::{FailedTest, Run, json};

use super::place::Place;

/// A run, and another in which a test failed.
fn two(place: &Place) {
    let run = Run::started("run-a", &[]);
    place.write("a.json", &json(&run));
    let mut run = Run { id: "run-b".to_owned(), ..run };
    run.failed_tests.push(FailedTest {
        suite: "access".to_owned(),
        stage: "load-balancer-ready".to_owned(),
        test: "load_balancer_ready::table".to_owned(),
        output: "the snapshot differs".to_owned(),
    });
    place.write("b.json", &json(&run));
}

#[test]
fn two_reports_that_say_the_same() {
    let place = Place::new();
    two(&place);
    insta::assert_snapshot!(place.refused(&["report", "compare", "a.json", "a.json"]), @"
    exit 0
    A  run-a
    B  run-a

    nothing differs, 0 are the same
    ");
}

#[test]
fn two_reports_that_differ() {
    let place = Place::new();
    two(&place);
    insta::assert_snapshot!(place.refused(&["report", "compare", "a.json", "b.json"]), @"
    exit 1
    A  run-a
    B  run-b

    Tests that failed for another reason
      access · load_balancer_ready::table
        A  nothing is said of it
        B  failed. the snapshot differs

    1 differs, 0 are the same
    ");
    let page = place.refused(&["report", "compare", "a.json", "b.json", "--format", "html"]);
    assert!(page.starts_with("exit 1\n<!doctype html>") && page.trim_end().ends_with("</html>"), "{page}");
}

#[test]
fn what_is_no_report() {
    let place = Place::new();
    two(&place);
    place.write("text.json", "404: not found");
    place.write("later.json", "{\"version\": 2}");
    let against = |other: &str| place.refused(&["report", "compare", "a.json", other]);
    insta::assert_snapshot!(against("missing.json"), @"
    exit 2
    error[RM-USAGE]: failed to read the report missing.json: No such file or directory (os error 2)
    Name a report.json, or the directory of a run that has one.
    ");
    insta::assert_snapshot!(against("text.json"), @"
    exit 2
    error[RM-USAGE]: failed to read the report text.json: it is no JSON: trailing characters at line 1 column 4
    ");
    insta::assert_snapshot!(against("later.json"), @"
    exit 2
    error[RM-USAGE]: failed to read the report later.json: it is of version 2, and this is for version 1
    Read it with the Reachmap that wrote it.
    ");
}

#[test]
fn shards_are_merged_into_all_reports_and_nothing_beside_them() {
    let place = Place::new();
    two(&place);
    let said = place.refused(&["report", "merge", "merged", "a.json", "b.json"]);
    assert!(said.starts_with("exit 1\n") && said.contains("Reports: merged"), "{said}");
    for file in ["report.md", "report.json", "report.html", "junit.xml"] {
        assert!(place.path("merged").join(file).is_file(), "{file}");
    }
    assert!(!place.path("latest").exists());
    // A merged report is one: it says what the shard says that had all of it.
    assert!(place.refused(&["report", "compare", "merged", "b.json"]).starts_with("exit 0\n"));
}

#[test]
fn shards_of_different_environments_are_refused_and_nothing_is_written() {
    let place = Place::new();
    let run = Run::started("run-a", &[]);
    place.write("a.json", &json(&run));
    let mut run = Run { id: "run-b".to_owned(), ..run };
    run.environment.proxy_mode = Some("nftables".to_owned());
    place.write("b.json", &json(&run));
    insta::assert_snapshot!(place.refused(&["report", "merge", "merged", "a.json", "b.json"]), @"
    exit 2
    error[RM-MERGE]: failed to merge run-a, run-b: they ran on different environments: kube-proxy was not known in run-a and nftables in run-b
    Only shards of one configuration make one run. `cargo xtask report compare` holds two configurations against each other.
    ");
    assert!(!place.path("merged").exists());
}

#[test]
fn shards_that_are_not_all_there_are_refused() {
    let place = Place::new();
    let run = Run::started("run-a", &[]);
    for (name, shard) in [("1.json", "1/3"), ("2.json", "2/3"), ("3.json", "3/3"), ("other.json", "1/2")] {
        place.write(name, &json(&Run { shard: Some(shard.parse().unwrap()), ..run.clone() }));
    }
    insta::assert_snapshot!(place.refused(&["report", "merge", "merged", "1.json", "3.json"]), @"
    exit 2
    error[RM-MERGE]: failed to merge run-a, run-a: the shards 2/3 are missing
    Run them, too: `--shard` says which part.
    ");
    let said = place.refused(&["report", "merge", "merged", "1.json", "2.json", "3.json", "other.json"]);
    assert!(said.contains("one is a shard of 2, and 1/3 is one of 3"), "{said}");
    assert!(!place.path("merged").exists());
    assert!(place.refused(&["report", "merge", "merged", "3.json", "1.json", "2.json"]).starts_with("exit 0\n"));
    // The whole is no shard any more.
    assert_eq!(reachmap::report::read(&place.path("merged")).unwrap().shard, None);
}

#[test]
fn a_page_without_anything_to_open_it_with_is_named() {
    let place = Place::new();
    two(&place);
    place.refused(&["report", "merge", "merged", "a.json"]);
    let said = place.refused(&["report", "open", "merged"]);
    assert!(said.starts_with("exit 0\n") && said.trim_end().ends_with("/merged/report.html"), "{said}");
}

#[test]
fn a_page_that_is_not_there() {
    insta::assert_snapshot!(Place::new().refused(&["report", "open"]), @"
    exit 2
    error[RM-USAGE]: failed to open target/reachmap/latest: there is no such page
    `cargo xtask e2e` writes one; name the directory of another run if you mean that.
    ");
}

#[test]
fn pictures_without_a_chromium() {
    let place = Place::new();
    two(&place);
    insta::assert_snapshot!(place.refused(&["report", "screenshots", "--from", "a.json", "pictures"]), @"
    exit 3
    error[RM-MISSING]: failed to find Chromium: none of chromium, chromium-browser, google-chrome, google-chrome-stable, chrome is in PATH
    Install Chromium (`apt-get install chromium`), or name its program in REACHMAP_CHROMIUM.
    ");
    assert!(!place.path("pictures").exists());
}
