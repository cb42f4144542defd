//! Which pod answers, how evenly, seen from both ends: what the clients saw and what the pods logged, request by request.

use std::{collections::BTreeMap, time::Duration};

use reachmap::{
    Result,
    environment::load_workers::VANTAGE_PREFIX,
    load::{
        access_log::AccessLine,
        generator::Plan as LoadPlan,
        hey::Hey,
        statistics::{Judgement, Law, Plan, chance_of_one},
        summary::AsHey,
    },
    model::Method,
    probe::ProgramFile,
    report::{Holds, explain_load},
    session::{
        Session,
        load::{Asked, BothEnds, HeyRun},
    },
    wire::Extent,
};
use reachmap_suites::prelude::{LAPTOP, TESTPOD, WORKER_1};
use rstest::rstest;

mod changing;

/// One load at a time: they share the machine. What a load needs of its own is deployed while others are under way.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Rows whose distribution is tested below, each for its shares and for independence; the load workers' come to them.
const ROWS: u32 = 7;

/// Connections at once.
const AT_ONCE: u32 = 50;

/// How long hey may take: a thousand requests take less than a second.
const HEY: Duration = Duration::from_secs(60);

fn plan(requests: u64, keep_alive: bool) -> LoadPlan {
    let connections = AT_ONCE.min(u32::try_from(requests).unwrap_or(AT_ONCE));
    LoadPlan { extent: Extent::Requests(requests), connections, keep_alive, ..LoadPlan::default() }
}

/// A connection for each request: one after the other where they go in turn, since nobody knows whose turn comes first of
/// several that are made at once.
fn connections_by(law: &Law, requests: u64) -> LoadPlan {
    let all = plan(requests, false);
    let connections = if matches!(law, Law::RoundRobin { .. }) { 1 } else { all.connections };
    LoadPlan { connections, ..all }
}

/// The laws that hold for every load: nothing failed, both ends agree on every request, and every answer came from a pod
/// that may answer and that saw a source address that it may see. With `statistics`, its spread is tested as well. The load
/// is in the report, whether they hold or not.
fn holds_exactly(ends: &BothEnds, requests: u64, statistics: Option<&Plan>) -> Result<()> {
    let load = Session::current()?.judge_load(ends, statistics)?;
    assert!(load.is_as_expected(), "{}", explain_load(&load));
    assert!(load.judgements.iter().all(Judgement::is_consistent), "{}", explain_load(&load));
    let results = &ends.results;
    assert!(results.errors().is_empty(), "{}", AsHey(results));
    assert!(ends.conservation.is_exact(), "{}", ends.conservation);
    assert_eq!(ends.conservation.matched, requests, "{}", ends.conservation);
    assert_eq!(ends.logged_from.values().sum::<u64>(), requests, "{:?}", ends.logged_from);
    assert!(ends.not_allowed.is_empty(), "{:#?}", ends.not_allowed);
    Ok(())
}

/// The vantages of the run's load workers.
fn load_workers(session: &Session) -> Vec<&str> {
    let vantages = session.handover().vantages.iter().map(|site| site.vantage.id.as_str());
    vantages.filter(|vantage| vantage.starts_with(VANTAGE_PREFIX)).collect()
}

/// What every row is tested with: they share one alpha.
fn statistics(session: &Session, law: &Law) -> Plan {
    let workers = u32::try_from(load_workers(session).len()).unwrap_or(u32::MAX);
    Plan { tests: (ROWS + workers) * law.tests(), ..Plan::default() }
}

mod load_balancer_ready {
    use super::*;

    mod faulty;
    mod headless;
    mod ports;
    mod rates;
    mod tutorial;

    /// A connection for each request: as many as it takes to find a shift of five points.
    #[rstest]
    #[tokio::test]
    async fn connections_spread_by_the_proxys_law(
        #[values(
            (LAPTOP, "loadbalancer-address"), (LAPTOP, "nodeport-worker-1"), (TESTPOD, "clusterip-address"),
            (TESTPOD, "loadbalancer-address"), (WORKER_1, "clusterip-address")
        )]
        row: (&str, &str),
    ) -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        let (vantage, method) = row;
        let (_, law) = session.balance(vantage, method)?;
        let statistics = statistics(session, &law);
        let connections = statistics.connections(&law)?;
        let name = format!("{vantage}-{method}");
        let ends = session.load(vantage, method, &connections_by(&law, connections), &name).await?;
        holds_exactly(&ends, connections, Some(&statistics))
    }

    /// The pods of an Indexed Job on several nodes start together: what each node translates spreads by the same law.
    #[tokio::test]
    async fn load_workers_on_the_nodes_load_together() -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        let workers = load_workers(session);
        let (_, law) = session.balance(workers[0], "clusterip-address")?;
        let statistics = statistics(session, &law);
        let connections = statistics.connections(&law)?;
        let plan = connections_by(&law, connections);
        let all = session.load_together(&workers, "clusterip-address", &plan, "together").await?;
        assert_eq!(all.len(), workers.len());
        for ends in &all {
            holds_exactly(ends, connections, Some(&statistics))?;
        }
        let requests = connections * all.len() as u64;
        let merged = BothEnds::together("together", all).expect("there are load workers");
        println!("{}", AsHey(&merged.results));
        // Each one's spread is tested above, and no connection twice.
        holds_exactly(&merged, requests, None)
    }

    /// "for i in {1..10}": "some responses should come from different pods".
    #[tokio::test]
    async fn ten_requests_name_more_than_one_pod() -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        let one_by_one = LoadPlan { connections: 1, ..plan(10, false) };
        let ends = session.load(LAPTOP, "loadbalancer-address", &one_by_one, "ten").await?;
        holds_exactly(&ends, 10, None)?;
        let pods = ends.results.served_by().len();
        let chance = chance_of_one(10, 3);
        assert!(pods > 1, "one pod answered ten connections: the chance of that is {chance:.6}");
        session.beside(
            "ten-requests",
            "some responses should come from different pods",
            Holds::Yes,
            format!(
                "{pods} pods answered ten connections; the chance to see one only is {chance:.6}. Without the header \
                     X-Served-By nothing in the answers tells the pods apart, as the tutorial's first try showed."
            ),
        )
    }

    /// "hey -n 1000 -c 50": a connection has one pod, and so there are 50 samples, not 1,000.
    #[tokio::test]
    async fn a_kept_connection_stays_with_its_pod() -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        let ends = session.load(LAPTOP, "loadbalancer-address", &plan(1_000, true), "hey").await?;
        holds_exactly(&ends, 1_000, None)?;
        let connections = ends.results.pods_by_connection();
        assert_eq!(connections.len(), 50, "{}", AsHey(&ends.results));
        assert!(connections.iter().all(|pods| pods.len() == 1), "{connections:?}");
        println!("{}", AsHey(&ends.results));
        let logged: Vec<String> =
            ends.logged_from.iter().map(|(address, count)| format!("{count} {address}")).collect();
        session.beside(
            "hey",
            "Add up 334 + 235 + 405 , it’s 974 match to hey output [200] 974 response !!!",
            Holds::InPart,
            format!(
                "The logs have every request by its id: {}. The sums alone prove little: keep-alive makes 50 connections \
                 the sample, and no number of requests over them tells more.",
                logged.join(" + ")
            ),
        )?;
        let why = ends.balance.why();
        let sources: Vec<String> = ends.balance.by_source().keys().map(ToString::to_string).collect();
        session.beside(
            "client-addresses",
            "By default, Nginx logs the IP of the last network hop—which in this case is the Flannel bridge (cni0) instead of \
             the original client",
            Holds::InPart,
            format!(
                "{why} The node that translates the connection puts its own address in, that of the interface by which it \
                 leads to the pod: its bridge for a pod of its own, another one for any other. Predicted and seen here: {}.",
                sources.join(", ")
            ),
        )
    }

    /// The same by hey itself, from the laptop. Its requests have no ids of their own, so what it counts is held against lines.
    #[tokio::test]
    async fn hey_counts_what_the_pods_log() -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        let state = session.snapshot().await?;
        let method = "loadbalancer-address";
        let target = Method::find(method, session.workers())?.way.target(&state)?;
        let id = format!("{}-real-hey", session.handover().run);
        let program = session.handover().hey.clone().unwrap_or_default();
        let program = session.put_at(LAPTOP, &ProgramFile::read("hey", &program)?).await?;
        let url = format!("http://{target}/?id={id}");
        let argv = [&program, "-n", "1000", "-c", "50", &url];
        let (said, logs) = session.logs_during(&state, &id, session.run_at(LAPTOP, &argv, HEY)).await?;
        let said = said.text();
        println!("{said}");
        let hey = Hey::parse(&said)?;
        let (balance, _) = session.balance(LAPTOP, method)?;
        let asked = Asked { vantage: LAPTOP.to_owned(), method: method.to_owned(), name: "real-hey".to_owned() };
        let run = HeyRun { asked, balance, requests: 1_000, connections: AT_ONCE, hey, logs: lines_of(&id, logs) };
        let load = session.judge_hey(&run)?;
        assert!(load.is_as_expected(), "{}", explain_load(&load));
        let hey = &run.hey;
        assert_eq!((hey.answered(), hey.failed()), (1_000, 0), "{said}");
        assert_eq!(hey.statuses, BTreeMap::from([(200, 1_000)]), "{said}");
        assert_eq!(hey.latencies.len(), 7, "hey's percentiles are not read: {said}");
        assert_eq!(load.logged_from.values().sum::<u64>(), 1_000, "{:?}", load.logged_from);
        Ok(())
    }

    /// Of each log, the lines with just this id: the request that ends it has another.
    fn lines_of(id: &str, logs: Vec<(String, String)>) -> Vec<(String, String)> {
        let is_of = |line: &&str| AccessLine::parse(line).is_some_and(|line| line.id() == Some(id));
        let only = |text: String| text.lines().filter(is_of).flat_map(|line| [line, "\n"]).collect();
        logs.into_iter().map(|(pod, text)| (pod, only(text))).collect()
    }

    /// Responses are access-log lines: by request id, over 100,000 of them.
    #[tokio::test]
    async fn not_one_of_a_hundred_thousand_requests_is_lost_or_doubled() -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let session = Session::current()?;
        let ends = session.load(TESTPOD, "clusterip-address", &plan(100_000, true), "conserved").await?;
        holds_exactly(&ends, 100_000, None)
    }
}
