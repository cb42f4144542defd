//! A bundle made, packed, read and explained again; and everything that somebody may hand over in place of one.

use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use reachmap_wire::{Failure, FailureClass};
use rstest::rstest;
use serde_json::{Value, json};

use super::{show::text, *};
use crate::{
    ErrorKind,
    report::{Run, StageRecord, terminal::Look},
    state::State,
    testing,
    verdict::{Judgement, Verdict, judge},
};

/// A bundle of a run of a suite in one stage.
fn contents(run: &Run, directory: &Path) -> Contents {
    let mut contents = of_run(run, directory);
    contents.add("facts/access.load-balancer-ready/cluster/Corefile", "the Corefile", ".:53 {\n}\n");
    contents.miss("facts/access.load-balancer-ready/nodes/w/nft-ruleset.txt", "no such program");
    contents
}

/// A run over the example's state: every cell as the model says, but for one that was refused.
pub(super) fn run() -> Run {
    let mut run = Run::started("r", &[]);
    run.verdicts = testing::verdicts();
    run.verdicts.retain(|verdict| verdict.stage == "load-balancer-ready");
    run.stages = vec![StageRecord { id: "load-balancer-ready".to_owned(), state: Some(State::example()) }];
    let id = "load-balancer-ready/worker-2/clusterip-address";
    let refused = run.verdicts.iter_mut().find(|verdict| verdict.cell() == id).unwrap();
    let observation = refused.observation.as_mut().unwrap();
    observation.respond = None;
    let connect = observation.connect.as_mut().unwrap();
    (connect.local, connect.failure) =
        (None, Some(Failure { class: FailureClass::Refused, message: "os words".to_owned() }));
    refused.outcome = judge(refused.expectation.as_ref().unwrap(), observation);
    assert!(refused.is_not_as_expected());
    run
}

fn written(contents: Contents, directory: &Path) -> std::path::PathBuf {
    write("r", contents, &Scrubber::default(), directory).unwrap()
}

#[test]
fn what_is_packed_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = run();
    let path = written(contents(&run, dir.path()), dir.path());
    for path in [path.as_path(), dir.path()] {
        let bundle = read(path).unwrap();
        assert_eq!(bundle.run, run);
        let place = ("access".to_owned(), "load-balancer-ready".to_owned());
        assert_eq!(bundle.states.get(&place), Some(&State::example()));
        assert_eq!(bundle.files["facts/access.load-balancer-ready/cluster/Corefile"], ".:53 {\n}\n");
        assert_eq!(bundle.manifest.missing[0].why, "no such program");
        let listed: Vec<&str> = bundle.manifest.parts.iter().map(|part| part.path.as_str()).collect();
        assert_eq!(listed[..2], ["report.json", "states/access.load-balancer-ready.json"]);
    }
}

#[test]
fn the_state_that_a_suite_found_itself_comes_before_the_stages_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let own = State { kubernetes: "v0.0.1".to_owned(), ..State::example() };
    let file = dir.path().join("states/load-balancer-ready/access.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, serde_json::to_string(&own).unwrap()).unwrap();
    let bundle = read(&written(of_run(&run(), dir.path()), dir.path())).unwrap();
    assert_eq!(bundle.states.values().collect::<Vec<_>>(), [&own]);
}

#[test]
fn a_state_that_nobody_has_read_is_listed_as_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run();
    run.stages = vec![StageRecord { id: "load-balancer-ready".to_owned(), state: None }];
    let bundle = read(&written(of_run(&run, dir.path()), dir.path())).unwrap();
    assert_eq!(bundle.manifest.missing[0].path, "states/access.load-balancer-ready.json");
    let explanation = explain(&bundle, None).unwrap();
    assert_eq!((explanation.same, explanation.different), (0, 0));
    assert!(
        text(&explanation, Look::PLAIN)
            .contains("not derived: the state that it was derived from is not in the bundle")
    );
}

#[test]
fn the_same_model_comes_to_the_same_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let run = run();
    let bundle = read(&written(contents(&run, dir.path()), dir.path())).unwrap();
    let explanation = explain(&bundle, None).unwrap();
    assert_eq!((explanation.same, explanation.different), (run.verdicts.len(), 0));
    assert_eq!(explanation.exit_code(), 0);
    let failed: Vec<String> = explanation.cells.iter().map(|cell| cell.recorded.cell()).collect();
    assert_eq!(failed, ["load-balancer-ready/worker-2/clusterip-address"]);
    let shown = text(&explanation, Look::PLAIN);
    assert!(shown.contains(&crate::report::explain(&explanation.cells[0].recorded)), "{shown}");
    assert!(shown.ends_with("every verdict is the same"), "{shown}");
    insta::assert_snapshot!("explained_in_every_form", crate::cli::forms(&explanation, || shown.clone()));
}

#[test]
fn what_another_version_would_say_otherwise_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run();
    let cell = |run: &mut Run, id: &str, change: &dyn Fn(&mut Verdict)| {
        change(run.verdicts.iter_mut().find(|verdict| verdict.cell() == id).unwrap());
    };
    cell(&mut run, "load-balancer-ready/laptop/pod-ip", &|verdict| {
        verdict.expectation.as_mut().unwrap().reachable = true;
    });
    cell(&mut run, "load-balancer-ready/worker-2/clusterip-address", &|verdict| {
        verdict.outcome = Judgement::AsExpected;
    });
    let bundle = read(&written(of_run(&run, dir.path()), dir.path())).unwrap();
    let explanation = explain(&bundle, None).unwrap();
    assert_eq!((explanation.different, explanation.exit_code()), (2, 1));
    let shown = text(&explanation, Look::PLAIN);
    assert!(shown.contains("NOT THE SAME: the expectation is another one now"), "{shown}");
    assert!(shown.contains("NOT THE SAME: the same expectation is judged otherwise now"), "{shown}");
    assert!(shown.contains("judged now: not as expected at connect"), "{shown}");
    assert!(shown.ends_with("2 are not as recorded"), "{shown}");
}

#[test]
fn one_cell_is_explained_whether_it_failed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = read(&written(of_run(&run(), dir.path()), dir.path())).unwrap();
    let explanation = explain(&bundle, Some("load-balancer-ready/laptop/pod-ip")).unwrap();
    assert_eq!(explanation.cells.len(), 1);
    assert!(text(&explanation, Look::PLAIN).contains("load-balancer-ready/laptop/pod-ip: as expected"));
    let error = explain(&bundle, Some("load-balancer-ready/laptop/pod")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.hint_text(), Some("These failed: load-balancer-ready/worker-2/clusterip-address."));
}

#[test]
fn a_program_gets_the_same_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = read(&written(contents(&run(), dir.path()), dir.path())).unwrap();
    let explanation = serde_json::to_value(explain(&bundle, None).unwrap()).unwrap();
    assert_eq!(explanation["different"], 0);
    assert_eq!(explanation["cells"][0]["again"], "same");
}

#[test]
fn a_list_says_what_is_there_and_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = read(&written(contents(&run(), dir.path()), dir.path())).unwrap();
    let listed = list(&bundle);
    assert!(
        listed.contains("        9  facts/access.load-balancer-ready/cluster/Corefile  (the Corefile)"),
        "{listed}"
    );
    assert!(
        listed.contains("  missing  facts/access.load-balancer-ready/nodes/w/nft-ruleset.txt: no such program"),
        "{listed}"
    );
    assert_eq!(bundle.file("facts/access.load-balancer-ready/cluster/Corefile").unwrap(), ".:53 {\n}");
    let error = bundle.file("facts/access.load-balancer-ready/nodes/w/nft-ruleset.txt").unwrap_err();
    assert!(error.to_string().ends_with("it could not be had: no such program"), "{error}");
    assert!(bundle.file("nothing").unwrap_err().to_string().ends_with("there is no such file in the bundle"));
}

#[test]
fn what_exceeds_the_limits_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut contents = of_run(&run(), dir.path());
    let own: usize = contents.files.iter().map(|file| file.text.len()).sum();
    contents.add("facts/large.txt", "too large", "x".repeat(1001));
    for number in 0..5 {
        contents.add(format!("facts/{number}.txt"), "as large as may be", "y".repeat(1000));
    }
    let packed = pack::pack_within((1000, own + 3500), "r", contents, &Scrubber::default()).unwrap();
    fs::write(dir.path().join(FILE), packed).unwrap();
    let bundle = read(dir.path()).unwrap();
    let missing: Vec<&str> = bundle.manifest.missing.iter().map(|missing| missing.path.as_str()).collect();
    assert_eq!(missing, ["facts/large.txt", "facts/3.txt", "facts/4.txt"]);
    assert_eq!(bundle.manifest.missing[0].why, "it has 1001 bytes, for which there is no room");
}

/// An archive of these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn refused(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.gz");
    fs::write(&path, bytes).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    error
        .to_string()
        .replace(dir.path().to_str().unwrap(), "DIR")
        .replace("failed to read the bundle DIR/bundle.tar.gz: ", "")
}

fn manifest(version: u32, parts: &[&str]) -> String {
    let parts: Vec<Value> =
        parts.iter().map(|path| json!({"path": path, "about": "", "bytes": 0, "cut": null, "scrubbed": 0})).collect();
    json!({"version": version, "reachmap": "9", "run": "r", "written": "2026-01-01T00:00:00Z", "parts": parts, "missing": []}).to_string()
}

#[test]
fn what_is_no_bundle_is_refused_and_it_says_why() {
    let report = crate::report::json(&run());
    let newer = report.replacen("\"version\": 1", "\"version\": 2", 1);
    let good = manifest(1, &["report.json"]);
    insta::assert_snapshot!(refused(b""), @"it is cut off: it ends in the middle");
    insta::assert_snapshot!(refused(b"<html>not an archive at all</html>"), @"it is not a bundle: it is no gzip archive, or a damaged one");
    insta::assert_snapshot!(refused(&archive(&[("hello.txt", "hello")])), @"it has no manifest.json: it is not a bundle of Reachmap's");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", "{}")])), @"manifest.json has no version: it is not a bundle of Reachmap's");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", "{")])), @"manifest.json is no JSON: EOF while parsing an object at line 1 column 1");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", &manifest(2, &[]))])), @"manifest.json is of version 2, and this is for version 1");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", "{\"version\": 1}")])), @"manifest.json is not as its version says: missing field `reachmap`");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", &manifest(1, &[]))])), @"it has no report.json");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", &good)])), @"these parts of it are missing: report.json");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", &good), ("report.json", &newer)])), @"its report.json is of version 2, and this is for version 1");
    insta::assert_snapshot!(refused(&archive(&[("manifest.json", &good), ("report.json", &report), ("states/a.b.json", "{\"version\": 7}")])), @"states/a.b.json is of version 7, and this is for version 1");
    let error = read(Path::new("/no/such/bundle.tar.gz")).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(error.hint_text().unwrap().contains("--bundle always"));
}

#[rstest]
#[case::in_the_middle(|all: usize| all / 2)]
#[case::before_the_last_byte(|all: usize| all - 1)]
#[case::without_gzips_end(|all: usize| all - 8)]
fn a_bundle_that_is_cut_off_is_refused(#[case] kept: fn(usize) -> usize) {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pack("r", contents(&run(), dir.path()), &Scrubber::default()).unwrap();
    assert_eq!(refused(&bytes[..kept(bytes.len())]), "it is cut off: it ends in the middle");
}

#[test]
fn a_bundle_that_was_damaged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = pack("r", contents(&run(), dir.path()), &Scrubber::default()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    assert!(refused(&bytes).starts_with("it is "), "{}", refused(&bytes));
}

#[test]
fn an_archive_that_grows_without_end_is_refused() {
    let bytes = archive(&[("manifest.json", &" ".repeat(100_000))]);
    assert!(bytes.len() < 2_000);
    assert_eq!(read::unpack(bytes.as_slice(), 50_000), Err("it is larger than any bundle"));
    assert_eq!(read::unpack(bytes.as_slice(), 200_000).unwrap()["manifest.json"].len(), 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), zipped in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let bytes = if zipped {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        } else {
            bytes
        };
        fs::write(&path, bytes).unwrap();
        prop_assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::Usage);
    }
}
