//! How the programs that look up are run, and ended.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reachmap::wire::{Asker, End};

use super::{POD, SOON, Vantage, output, shop};
use crate::dns_server;

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let recorded = vantage.run(&["/no/such/program", "web"], server, SOON).await;
    assert_eq!((recorded.end, recorded.questions.len()), (End::NoSuchProgram, 0));
    let directory = Asker::Program { argv: vec!["/tmp".to_owned()] };
    let error = vantage.record(directory, server, SOON).await.unwrap_err();
    assert!(error.to_string().contains("cannot start /tmp"), "{error}");
    let nothing = Asker::Program { argv: Vec::new() };
    assert!(vantage.record(nothing, server, SOON).await.is_err());
}

#[tokio::test]
async fn how_a_program_ended_and_what_it_said_is_told() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let shell = async |script: &str| vantage.run(&["sh", "-c", script], server, SOON).await;
    assert_eq!(output(&shell("echo out; echo err >&2; exit 7").await), (Some(7), "out\n", "err\n"));
    assert_eq!(output(&shell("kill -9 $$").await), (None, "", ""));
    assert_eq!(output(&shell("cat").await), (Some(0), "", ""), "its standard input is empty");
}

#[tokio::test]
async fn a_talkative_program_is_cut_and_not_held_up() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let script = "head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y >&2";
    let recorded = vantage.run(&["sh", "-c", script], server, SOON).await;
    assert_eq!(output(&recorded), (Some(0), "x".repeat(65_536).as_str(), "y".repeat(65_536).as_str()));
}

#[tokio::test]
async fn at_its_time_a_program_is_killed_with_all_that_it_started() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let started = Instant::now();
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("trap '' TERM; sleep 1000 & echo $! $$ >{}; wait", file.path().display());
    let recorded = vantage.run(&["sh", "-c", &script], server, Duration::from_millis(500)).await;
    assert_eq!(recorded.end, End::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(5));
    gone(file.path());
}

#[tokio::test]
async fn what_a_program_leaves_running_goes_with_it() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let file = tempfile::NamedTempFile::new().unwrap();
    // It keeps the pipes open, too.
    let script = format!("sleep 1000 & echo $! >{}; echo done", file.path().display());
    let recorded = vantage.run(&["sh", "-c", &script], server, SOON).await;
    assert_eq!(output(&recorded), (Some(0), "done\n", ""));
    assert!(recorded.elapsed_us < 5_000_000);
    gone(file.path());
}

/// The processes whose ids are in `file` are gone; who was killed may still be a zombie for a moment.
fn gone(file: &Path) {
    let ids = std::fs::read_to_string(file).unwrap();
    assert!(!ids.trim().is_empty());
    for id in ids.split_whitespace() {
        let deadline = Instant::now() + SOON;
        let lives = || std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty());
        while lives() {
            assert!(Instant::now() < deadline, "process {id} lives");
            std::thread::yield_now();
        }
    }
}
