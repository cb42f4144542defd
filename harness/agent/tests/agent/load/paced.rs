//! Loads with a rate: an open loop, without coordinated omission.

use std::time::{Duration, Instant};

use reachmap::{
    load::{LoadResult, Results, generator::Plan},
    wire::{Extent, Load},
};

use super::{
    assert_conserved,
    server::{Server, Turn},
};
use crate::agent;

fn paced(port: u16, extent: Extent, connections: u32, rate: f64) -> Load {
    let plan = Plan { extent, connections, rate_per_second: Some(rate), ..Plan::default() };
    plan.load(([127, 0, 0, 1], port).into(), "web", "t1").unwrap()
}

fn latencies(result: &LoadResult) -> Vec<u64> {
    let mut latencies: Vec<u64> = result.requests.iter().map(reachmap::wire::LoadedRequest::latency_us).collect();
    latencies.sort_unstable();
    latencies
}

#[tokio::test]
async fn a_rate_is_kept_by_a_time_table() {
    let server = Server::start(|_, _| Turn::Answer).await;
    let result = agent().await.load(paced(server.port, Extent::Requests(600), 4, 400.0)).await.unwrap();
    assert_conserved(&result, &server, 600);
    for request in &result.requests {
        // Request n is due at n / 400 seconds, and never starts before.
        let due = request.number * 2_500;
        let start = request.start_us;
        assert!((due..=due + request.late_us.unwrap() + 1).contains(&start), "{request:?}");
    }
    let kept = Results::merge(vec![result]).kept().unwrap();
    assert!((390.0..=410.0).contains(&kept.achieved), "{kept:?}");
    assert_eq!((kept.due, kept.started), (600, 600));
}

#[tokio::test]
async fn a_server_that_stalls_is_slow_for_all_that_were_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(500);
    // The 100th request takes half a second; there is one connection, and 200 requests a second are due.
    let server = Server::start(|all, _| if all == 100 { Turn::AnswerAfter(STALL) } else { Turn::Answer }).await;
    let result = agent().await.load(paced(server.port, Extent::Requests(400), 1, 200.0)).await.unwrap();
    assert_conserved(&result, &server, 400);
    // A closed loop would have seen one slow request in 400: its 99th percentile would be that of a fast server.
    let took = result.requests.iter().filter(|request| request.took_us >= 100_000).count();
    assert_eq!(took, 1, "only one was slow once it had been sent");
    // Due while the server stalled: 100 of them, the first of which wait 500 ms, the last 5 ms; four fifths over 100 ms.
    let late = latencies(&result).iter().filter(|latency| **latency >= 100_000).count();
    assert!((75..=100).contains(&late), "{late} requests with a latency of over 100 ms");
    let p90 = Results::merge(vec![result]).latency.value_at_quantile(0.9);
    assert!((200_000..450_000).contains(&p90), "{p90}");
}

#[tokio::test]
async fn a_rate_beyond_the_connections_is_reported() {
    let server = Server::start(|_, _| Turn::AnswerAfter(Duration::from_millis(20))).await;
    // Two connections at 20 ms each carry 100 requests a second at most.
    let started = Instant::now();
    let result = agent().await.load(paced(server.port, Extent::DurationMs(1_000), 2, 400.0)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "it ends when its time is over, whatever is still due");
    let kept = Results::merge(vec![result]).kept().unwrap();
    assert_eq!(kept.due, 400);
    assert!((40..=102).contains(&kept.started), "{kept:?}");
    assert!(kept.achieved <= 103.0 && !kept.is_kept(), "{kept:?}");
    assert!(kept.latest_us > 500_000, "{kept:?}");
}

#[tokio::test]
async fn a_duration_ends_a_load_without_a_rate_too() {
    let server = Server::start(|_, _| Turn::AnswerAfter(Duration::from_millis(5))).await;
    let load = Load { rate_per_second: None, ..paced(server.port, Extent::DurationMs(300), 3, 1.0) };
    let result = agent().await.load(load).await.unwrap();
    let count = result.requests.len() as u64;
    assert_conserved(&result, &server, count);
    assert!((30..=180).contains(&count), "{count}");
    assert!((295_000..600_000).contains(&result.loaded.elapsed_us), "{:?}", result.loaded);
}
