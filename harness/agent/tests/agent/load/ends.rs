//! How loads fail, and how they end before their time.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Ipv4Addr,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use reachmap::{
    ErrorKind,
    command::poll,
    wire::{Action, Extent, FailureClass, Fate, Load, Outcome, Reply, Request},
};
use tokio::net::TcpListener;

use super::{
    assert_conserved, failures, load,
    server::{Server, Turn},
};
use crate::{agent, http, probe};

#[tokio::test]
async fn a_closed_port_refuses_every_request_once() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let result = agent().await.load(load(port, 100, 10, true)).await.unwrap();
    assert_eq!(failures(&result), [(FailureClass::Refused, 100)].into());
    assert_eq!(result.connections.len(), 100, "each attempt is counted");
    assert!(result.connections.iter().all(|connection| connection.connect_us.is_none() && connection.requests == 0));
    assert!(result.requests.iter().all(|request| request.answer.fate == Fate::Unsent));
}

#[tokio::test]
async fn a_silent_server_takes_each_requests_time_and_a_new_connection() {
    let server = Server::start(|_, _| Turn::Silence).await;
    let load = Load { timeout_ms: 100, ..load(server.port, 8, 4, true) };
    let result = agent().await.load(load).await.unwrap();
    assert_conserved(&result, &server, 8);
    assert_eq!(failures(&result), [(FailureClass::Timeout, 8)].into());
    let message = &result.requests[0].answer.failure.as_ref().unwrap().message;
    assert!(result.requests.iter().all(|request| request.answer.failure.as_ref().unwrap().message == *message));
    assert_eq!(message, "no answer within 100 ms");
    assert_eq!(result.connections.len(), 8, "a connection that still owes an answer carries no other request");
    assert!(result.requests.iter().all(|request| request.answer.fate == Fate::Sent && request.took_us >= 100_000));
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    let server = Server::start(|_, _| Turn::Nonsense).await;
    let result = agent().await.load(load(server.port, 10, 2, true)).await.unwrap();
    assert_conserved(&result, &server, 10);
    assert_eq!(failures(&result), [(FailureClass::Malformed, 10)].into());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read_to_its_end() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let result = agent().await.load(Load { max_body: 4, ..load(server.port, 10, 2, true) }).await.unwrap();
    assert_conserved(&result, &server, 10);
    assert_eq!(failures(&result), [(FailureClass::Other, 10)].into());
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_loses_no_request() {
    // The server closes 20 ms after an answer; the next request is due after a second: time enough on a busy machine.
    let server = Server::start(|_, _| Turn::AnswerAndDrop(Duration::from_millis(20))).await;
    let load = Load { rate_per_second: Some(1.0), ..load(server.port, 4, 1, true) };
    let result = agent().await.load(load).await.unwrap();
    assert_conserved(&result, &server, 4);
    assert_eq!(failures(&result), BTreeMap::new());
    assert_eq!(result.connections.len(), 4);
}

#[tokio::test]
async fn a_load_that_makes_no_sense_is_refused() {
    let error = agent().await.load(Load { connections: 0, ..load(80, 1, 1, true) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("0 connections at once"), "{error}");
}

#[tokio::test]
async fn probes_are_answered_while_a_load_goes_on_and_a_stop_ends_it() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let other = http::server_that_echoes().await;
    let agent = agent().await;
    let load = Load { extent: Extent::DurationMs(60_000), ..load(server.port, 20, 20, true) };
    let mut under_way = agent.start_load(load).unwrap();
    let mut told = under_way.next().await.unwrap().unwrap().requests.len();
    let started = Instant::now();
    for _ in 0..20 {
        assert!(agent.probe(probe("127.0.0.1", other)).await.unwrap().is_reached());
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    under_way.stop();
    while let Some(part) = under_way.next().await.unwrap() {
        told += part.requests.len();
    }
    assert!(started.elapsed() < Duration::from_secs(20), "it was to go on for a minute");
    let result = under_way.finish().await.unwrap();
    assert!(result.loaded.cancelled);
    assert_eq!(result.loaded.requests, told as u64);
    assert_eq!(server.ids().len(), told, "whatever came was told");
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_ends() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let agent = agent().await;
    let load = Load { extent: Extent::DurationMs(60_000), ..load(server.port, 2, 2, true) };
    let mut under_way = agent.start_load(load).unwrap();
    under_way.next().await.unwrap();
    drop(under_way);
    tokio::task::spawn_blocking(move || quiet(&server)).await.unwrap();
}

/// An agent whose pipes are the test's own.
fn agent_by_hand() -> (Child, ChildStdin) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reachmap-agent"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

#[tokio::test]
async fn the_end_of_input_ends_a_load_and_what_it_did_is_told() {
    let server = Server::start(|_, _| Turn::AnswerAfter(Duration::from_millis(1))).await;
    let load = Load { extent: Extent::DurationMs(60_000), ..load(server.port, 5, 5, true) };
    let request = serde_json::to_string(&Request { id: 3, action: Action::Load(load) }).unwrap();
    let (mut child, mut stdin) = agent_by_hand();
    writeln!(stdin, "{request}").unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    // It has begun.
    stdout.read_line(&mut text).unwrap();
    let started = Instant::now();
    drop(stdin);
    stdout.read_to_string(&mut text).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(child.wait().unwrap().success());
    let mut replies = text.lines().map(|line| serde_json::from_str::<Reply>(line).unwrap().outcome).collect::<Vec<_>>();
    let Some(Outcome::Loaded(loaded)) = replies.pop() else { panic!("{text}") };
    assert!(loaded.cancelled);
    let told: usize = replies
        .iter()
        .map(|reply| match reply {
            Outcome::LoadPart(part) => part.unpack().unwrap().0.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!((loaded.requests, server.ids().len()), (told as u64, told));
}

#[test]
fn results_that_nobody_reads_take_no_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|_, _| Turn::Answer));
    let request = Request { id: 3, action: Action::Load(load(server.port, 1_000_000, 20, true)) };
    let (mut child, mut stdin) = agent_by_hand();
    writeln!(stdin, "{}", serde_json::to_string(&request).unwrap()).unwrap();
    // Nobody reads: the load comes to a halt, and the server sees no more of it.
    let sent = quiet(&server);
    assert!(sent < 100_000, "{sent} requests were sent");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits until no request has come for a while, at thousands a second else; says how many came.
fn quiet(server: &Server) -> usize {
    let mut last = (0, Instant::now());
    let look = || {
        let now = server.ids().len();
        if now != last.0 {
            last = (now, Instant::now());
        }
        let quiet = now > 0 && last.1.elapsed() > Duration::from_millis(300);
        Ok(if quiet { Ok(now) } else { Err(format!("{now} requests came")) })
    };
    poll("see the load end", Duration::from_secs(20), look).unwrap()
}
