use super::{super::generator::Plan, *};
use crate::wire::{Answer, ConnectionEnd, Extent, Failure, Fate};

/// A request that a pod answered.
pub(in crate::load) fn answered(number: u64, connection: u64, took_us: u64, pod: &str) -> LoadedRequest {
    LoadedRequest {
        number,
        connection,
        start_us: number * 100,
        late_us: None,
        took_us,
        answer: Answer {
            status: Some(200),
            served_by: Some(pod.to_owned()),
            client_address: None,
            failure: None,
            fate: Fate::Answered,
        },
    }
}

/// A request that failed.
pub(in crate::load) fn failed(number: u64, connection: u64, class: FailureClass, message: &str) -> LoadedRequest {
    let failure = Some(Failure { class, message: message.to_owned() });
    let answer = Answer { failure, fate: Fate::Sent, ..Answer::default() };
    LoadedRequest { answer, ..answered(number, connection, 900, "") }
}

/// A connection that we closed.
pub(in crate::load) fn connection(number: u64, connect_us: u64) -> LoadedConnection {
    LoadedConnection {
        number,
        start_us: 0,
        connect_us: Some(connect_us),
        local_port: Some(40_000),
        requests: 2,
        end: ConnectionEnd::Ours,
    }
}

/// The result of a load with these.
pub(in crate::load) fn result(requests: Vec<LoadedRequest>, connections: Vec<LoadedConnection>) -> LoadResult {
    let load = Plan::default().load(([10, 96, 10, 1], 80).into(), "web", "r1").unwrap();
    let phase = Spread { count: 4, sum_us: 4_000, min_us: 200, max_us: 2_000 };
    let loaded = Loaded {
        started_at_unix_us: 1_000_000,
        elapsed_us: 50_000,
        requests: requests.len() as u64,
        connections: connections.len() as u64,
        parts: 1,
        body_bytes: 615 * 4,
        write: Spread { count: 4, sum_us: 40, min_us: 5, max_us: 20 },
        wait: phase,
        read: Spread::default(),
        held_us: 0,
        cancelled: false,
    };
    LoadResult::new("container laptop", load, vec![Part { requests, connections }], loaded).unwrap()
}

#[test]
fn parts_are_put_in_order_and_nothing_is_taken_twice() {
    let first = result(vec![answered(2, 0, 5, "a"), answered(0, 1, 5, "b")], vec![connection(1, 9), connection(0, 9)]);
    assert_eq!(first.requests.iter().map(|request| first.id(request)).collect::<Vec<_>>(), ["r1-0", "r1-2"]);
    assert_eq!(first.connections[0].number, 0);
    let twice = Part { requests: vec![answered(2, 0, 5, "a"), answered(2, 0, 6, "a")], connections: Vec::new() };
    let error = LoadResult::new("laptop", first.load, vec![twice], first.loaded).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to put the results of the load from laptop together: number 2 is told of twice"
    );
}

#[test]
fn several_vantages_are_merged_by_their_clocks() {
    let one = result(vec![answered(0, 0, 100, "a"), answered(1, 0, 300, "a")], vec![connection(0, 9)]);
    let mut other = result(
        vec![answered(0, 0, 200, "b"), failed(1, 1, FailureClass::Reset, "reset by peer")],
        vec![connection(0, 9), connection(1, 9)],
    );
    other.load.id_prefix = "r2".to_owned();
    other.loaded.started_at_unix_us += 50_000;
    let all = Results::merge(vec![one, other]);
    assert_eq!(all.elapsed_us, 100_000);
    assert!((all.per_second() - 40.0).abs() < 1e-9);
    assert_eq!(all.statuses(), [(200, 3)].into());
    assert_eq!(all.errors(), [(FailureClass::Reset, 1)].into());
    assert_eq!(all.served_by(), [(Some("a"), 2), (Some("b"), 1)].into());
    assert_eq!(
        all.pods_by_connection(),
        [["a"].into(), ["b"].into()],
        "a connection that nobody answered on is no sample"
    );
    assert_eq!(all.latency.len(), 3, "a failure is no latency");
    assert_eq!((all.latency.min(), all.latency.max()), (100, 300));
    assert!(all.with_ids().any(|(id, request)| id == "r2-1" && request.answer.failure.is_some()));
    assert_eq!(all.kept(), None, "there was no rate");
}

#[test]
fn a_rate_beyond_the_machine_is_told() {
    let mut load = result((0..4).map(|number| answered(number, 0, 50, "a")).collect(), vec![connection(0, 9)]);
    load.load.rate_per_second = Some(1_000.0);
    load.load.extent = Extent::DurationMs(10);
    for (request, late_us) in load.requests.iter_mut().zip([0, 0, 0, 8_000]) {
        request.late_us = Some(late_us);
        request.start_us = request.number * 1_000 + late_us;
    }
    let all = Results::merge(vec![load]);
    let kept = all.kept().unwrap();
    assert_eq!((kept.due, kept.started, kept.late_p50_us), (10, 4, 0));
    assert!((7_990..=8_010).contains(&kept.latest_us), "{kept:?}");
    assert!((kept.achieved - 3.0 * 1e6 / 11_000.0).abs() < 1e-9, "{kept:?}");
    assert!(!kept.is_kept());
    assert!(all.latency.max() >= 8_050, "the latency counts from when the request was due");
}

/// A load of a thousand requests in a second, each so many microseconds late, by its number.
fn late(late_us: impl Fn(u64) -> u64) -> Kept {
    let requests = 1_000;
    let mut load = result((0..requests).map(|number| answered(number, 0, 50, "a")).collect(), vec![connection(0, 9)]);
    load.load.rate_per_second = Some(1_000.0);
    load.load.extent = Extent::Requests(requests);
    for request in &mut load.requests {
        let late_us = late_us(request.number);
        request.late_us = Some(late_us);
        request.start_us = request.number * 1_000 + late_us;
    }
    Results::merge(vec![load]).kept().unwrap()
}

#[test]
fn a_machine_that_falls_behind_has_not_kept_a_rate_and_one_that_paused_has() {
    // Each request is a little later than the one before: 98 and 99.5 of 100 of the rate.
    let behind = |each_us: u64| late(|number| number * each_us);
    assert!(!behind(20).is_kept(), "{:?}", behind(20));
    assert!(behind(5).is_kept(), "{:?}", behind(5));
    // Nothing started for some of a second, and then all that was due at once. The time table is caught up with.
    let paused = |pause_us: u64| late(|number| pause_us.saturating_sub(number * 1_000));
    assert!(paused(15_000).is_kept(), "{:?}", paused(15_000));
    assert!(
        !paused(40_000).is_kept(),
        "more than a hundredth of them were late by more than that: {:?}",
        paused(40_000)
    );
}

#[test]
fn a_load_that_started_nothing_has_not_kept_its_rate() {
    let mut load = result(Vec::new(), Vec::new());
    load.load.rate_per_second = Some(100.0);
    load.load.extent = Extent::DurationMs(1_000);
    let kept = Results::merge(vec![load]).kept().unwrap();
    assert_eq!((kept.due, kept.started), (100, 0));
    assert!(!kept.is_kept());
}

#[test]
fn nobody_asked_for_a_rate_where_there_is_no_load() {
    let all = Results::merge(Vec::new());
    assert_eq!((all.rate_per_second(), all.kept()), (None, None));
}
