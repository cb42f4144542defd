use rstest::rstest;

use super::*;
use crate::{
    command::Command,
    environment::cluster::{EngineKind, record::tests::record},
    progress::Show,
};

#[rstest]
#[case("reachmap-0123abcd", true)]
#[case("t", true)]
#[case("", false)]
#[case("../t", false)]
#[case("Test", false)]
#[case("a-", false)]
fn names_become_file_names_and_dns_labels(#[case] name: &str, #[case] valid: bool) {
    assert_eq!(check_name(name).is_ok(), valid);
}

/// An engine with no cluster and no network, in which none can be made; it notes the records as kind finds them.
fn engine(home: &Home) -> EngineAccess {
    let clusters = home.clusters().display().to_string();
    let script = r#"case "$1" in
        *"network inspect"*) echo '[]';;
        *"kind create"*) cat "$0"/a/lease.json >"$0"/../found; exit 1;;
        *"export logs"*) exit 1;; esac"#;
    EngineAccess::new(EngineKind::Sandbox, "kind", move |command: Command| {
        Command::new("sh").args(["-c", script, &clusters, &command.display()])
    })
}

fn request(record: &Record) -> Request {
    Request {
        name: Some("a".to_owned()),
        config: record.config.clone(),
        pool: None,
        fresh: false,
        keep: false,
        pull_policy: "Never".to_owned(),
        run: "r1".to_owned(),
    }
}

#[rstest]
#[case::kept_and_not_well(Phase::Ready, false, true)]
#[case::half_made(Phase::Creating, false, false)]
#[case::asked_for_anew(Phase::Ready, true, false)]
#[tokio::test]
async fn only_a_cluster_that_was_kept_and_is_not_well_is_kept_when_it_is_made_anew(
    #[case] phase: Phase,
    #[case] fresh: bool,
    #[case] kept: bool,
) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let earlier = Record { kept: true, phase, ..record("a") };
    earlier.write(&home).unwrap();
    let progress = Progress::new(Show::Nothing, dir.path());
    let request = Request { fresh, ..request(&earlier) };
    acquire(&home, &engine(&home), request, &progress).await.unwrap_err();
    let found: Record = serde_json::from_str(&std::fs::read_to_string(dir.path().join("found")).unwrap()).unwrap();
    assert_eq!((found.kept, found.phase, found.runs[0].id.as_str()), (kept, Phase::Creating, "r1"));
    assert!(Record::all(&home).unwrap().readable.is_empty());
}

#[tokio::test]
async fn a_new_cluster_does_not_get_the_pool_of_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let other = record("b");
    other.write(&home).unwrap();
    let progress = Progress::new(Show::Nothing, dir.path());
    let request = Request { pool: Some(other.pool), ..request(&other) };
    let error = acquire(&home, &engine(&home), request, &progress).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("the cluster b on the same network has"), "{error}");
}
