//! Loads from the agent's real binary, against servers on loopback.

mod ends;
mod paced;
mod server;

use std::collections::BTreeMap;

use reachmap::{
    load::{
        LoadResult, Results,
        generator::Plan,
        summary::{AsHey, Summary},
    },
    probe::load_together,
    wire::{ConnectionEnd, Extent, FailureClass, Fate, Load},
};

use self::server::{Server, Turn};
use crate::agent;

/// A load of `requests` over `connections`.
fn load(port: u16, requests: u64, connections: u32, keep_alive: bool) -> Load {
    let plan = Plan { extent: Extent::Requests(requests), connections, keep_alive, ..Plan::default() };
    plan.load(([127, 0, 0, 1], port).into(), "web", "t1").unwrap()
}

/// How many requests each class of failure has taken.
fn failures(result: &LoadResult) -> BTreeMap<FailureClass, u64> {
    Results::merge(vec![result.clone()]).errors()
}

/// Every id is answered, or reported as failed, once; and what was answered is what the server has seen.
fn assert_conserved(result: &LoadResult, server: &Server, requests: u64) {
    let numbers: Vec<u64> = result.requests.iter().map(|request| request.number).collect();
    assert_eq!(numbers, (0..requests).collect::<Vec<_>>(), "each number once");
    let seen = server.ids();
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert_eq!(doubled, [], "no id came twice");
    for request in &result.requests {
        let id = result.id(request);
        match request.answer.fate {
            Fate::Answered => assert!(seen.contains_key(&id), "{id} was answered, and never came"),
            Fate::Unsent => assert!(!seen.contains_key(&id), "{id} came, and was never sent"),
            Fate::PartlySent | Fate::Sent | Fate::Answering => {}
        }
    }
    let ours = result.requests.iter().map(|request| result.id(request)).collect::<std::collections::HashSet<_>>();
    assert!(seen.keys().all(|id| ours.contains(id)), "nothing came that was not reported");
}

#[tokio::test]
async fn kept_connections_are_as_many_as_asked_for_and_share_the_requests_evenly() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let result = agent().await.load(load(server.port, 1_003, 50, true)).await.unwrap();
    assert_conserved(&result, &server, 1_003);
    assert_eq!((server.connections(), result.connections.len()), (50, 50));
    let carried: Vec<u32> = result.connections.iter().map(|connection| connection.requests).collect();
    assert_eq!(carried.iter().sum::<u32>(), 1_003, "the rest is not left out");
    assert!(carried.iter().all(|carried| [20, 21].contains(carried)), "{carried:?}");
    assert!(result.connections.iter().all(|connection| connection.end == ConnectionEnd::Ours));
    let ports: std::collections::HashSet<_> =
        result.connections.iter().map(|connection| connection.local_port).collect();
    assert_eq!(ports, server.client_ports().into_iter().map(Some).collect());
    let request = &result.requests[0];
    assert_eq!(request.answer.status, Some(200));
    assert_eq!(request.answer.served_by.as_deref(), Some("nginx-1"));
    assert_eq!(request.answer.client_address, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(result.loaded.body_bytes, 1_003 * 5);
    assert_eq!((result.loaded.write.count, result.loaded.wait.count, result.loaded.read.count), (1_003, 1_003, 1_003));
    assert_eq!((result.loaded.held_us, result.loaded.cancelled), (0, false));
}

#[tokio::test]
async fn without_keep_alive_each_request_has_its_own_connection() {
    let server = Server::start(|_, _| Turn::AnswerAndClose).await;
    let result = agent().await.load(load(server.port, 500, 20, false)).await.unwrap();
    assert_conserved(&result, &server, 500);
    assert_eq!((server.connections(), result.connections.len()), (500, 500));
    for request in &result.requests {
        let connection = &result.connections[usize::try_from(request.connection).unwrap()];
        assert_eq!((connection.number, connection.requests), (request.connection, 1));
        assert!(connection.start_us >= request.start_us, "connecting is a part of the request");
        assert!(connection.connect_us.unwrap() <= request.took_us);
    }
}

#[tokio::test]
async fn a_hundred_thousand_requests_lose_and_double_no_id() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let result = agent().await.load(load(server.port, 100_000, 50, true)).await.unwrap();
    assert_conserved(&result, &server, 100_000);
    assert_eq!(server.ids().len(), 100_000);
    assert_eq!(failures(&result), BTreeMap::new());
    let parts = result.loaded.parts;
    assert!((100_000 / 4_096..10_000).contains(&parts), "{parts} parts");
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_opened_anew_and_counted() {
    // As nginx does by keepalive_requests: it says so with the last answer.
    let server = Server::start(|_, nth| if nth == 10 { Turn::AnswerAndClose } else { Turn::Answer }).await;
    let result = agent().await.load(load(server.port, 1_000, 10, true)).await.unwrap();
    assert_conserved(&result, &server, 1_000);
    assert_eq!(failures(&result), BTreeMap::new());
    assert_eq!((server.connections(), result.connections.len()), (100, 100));
    let ends = result.connections.iter().filter(|connection| connection.end == ConnectionEnd::Servers).count();
    assert_eq!(ends, 100);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_reported_and_not_asked_for_again() {
    let server = Server::start(|_, nth| match nth {
        5 => Turn::CutOff,
        9 => Turn::CloseUnanswered,
        12 => Turn::Reset,
        _ => Turn::Answer,
    })
    .await;
    let result = agent().await.load(load(server.port, 1_200, 6, true)).await.unwrap();
    assert_conserved(&result, &server, 1_200);
    let failed = failures(&result);
    assert!(failed.keys().eq(&[FailureClass::Closed]), "{failed:?}: each connection ends with its fifth answer");
    let first = result.requests.iter().find(|request| request.answer.failure.is_some()).unwrap();
    assert_eq!((first.answer.fate, first.answer.status), (Fate::Answering, Some(200)));
    assert_eq!(failed[&FailureClass::Closed], 240);
    assert_eq!(server.ids().len(), 1_200, "each came once, also those whose answers were cut off");
}

#[tokio::test]
async fn a_close_and_a_reset_without_an_answer_are_told_apart() {
    for (turn, class) in [(Turn::CloseUnanswered, FailureClass::Closed), (Turn::Reset, FailureClass::Reset)] {
        let server = Server::start(move |_, nth| if nth == 3 { turn } else { Turn::Answer }).await;
        let result = agent().await.load(load(server.port, 300, 5, true)).await.unwrap();
        assert_conserved(&result, &server, 300);
        assert_eq!(failures(&result), [(class, 100)].into());
        for request in result.requests.iter().filter(|request| request.answer.failure.is_some()) {
            assert_eq!((request.answer.fate, request.answer.status), (Fate::Sent, None));
        }
        let broken = |end: &ConnectionEnd| matches!(end, ConnectionEnd::Failed(failure) if failure.class == class);
        assert_eq!(result.connections.iter().filter(|connection| broken(&connection.end)).count(), 100);
    }
}

#[tokio::test]
async fn several_agents_start_together_and_print_one_summary() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let loads = ["a", "b", "c"].map(|prefix| Load { id_prefix: prefix.to_owned(), ..load(server.port, 400, 8, true) });
    let mut with_agents = Vec::new();
    for load in loads {
        with_agents.push((agent().await, load));
    }
    let results = load_together(with_agents).await.unwrap();
    let starts: Vec<u64> = results.loads.iter().map(|load| load.loaded.started_at_unix_us).collect();
    let apart = starts.iter().max().unwrap() - starts.iter().min().unwrap();
    assert!(apart < 100_000, "{apart} microseconds apart");
    assert_eq!(server.ids().len(), 1_200);
    assert_eq!(results.latency.len(), 1_200);
    let text = AsHey(&results).to_string();
    assert!(text.contains("  [200]\t1200 responses\n"), "{text}");
    assert!(Summary(&results).to_string().contains("Established:\t24 of 24"), "{text}");
}
