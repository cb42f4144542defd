//! A backend that is slow, and one that refuses: nothing of kube-proxy looks at what becomes of a connection, so both get
//! their full share of them.

#![expect(clippy::print_stdout, reason = "what a test has seen stands in its log")]

use std::{collections::BTreeMap, time::Duration};

use reachmap::{
    Result,
    load::{generator::Plan as LoadPlan, summary::AsHey},
    model::Method,
    report::explain_load,
    session::{Session, load::BothEnds},
    wire::{Extent, FailureClass},
};
use reachmap_suites::{
    changes::changed,
    on_the_sessions_runtime,
    prelude::TESTPOD,
    web::{ALWAYS, PAGE, Servers, Web, page, server},
};
use serde_json::json;

use super::{
    super::{AT_ONCE, statistics},
    ONE_AT_A_TIME, connections_by, holds_exactly, plan,
};

/// How long the slow one waits before it says anything.
const SLOW: Duration = Duration::from_millis(300);

/// As quick as it can be all the same: nginx counts from when it last looked at its clock, once in a turn of its event loop,
/// which on a busy machine is a while ago.
const LEAST_US: u64 = 200_000;

/// How long connections are kept where the slow one is loaded over kept connections.
const KEPT_MS: u64 = 3_000;

/// Two servers as they should be, and one as `faulty` is.
fn web(session: &'static Session, name: &'static str, faulty: Servers) -> Web {
    let good = match name {
        "slow" => "quick",
        _ => "willing",
    };
    let ports = vec![("web", 80), ("always", ALWAYS)];
    let good = Servers { name: good, replicas: 2, configuration: server(&[80, ALWAYS], &page()), ports };
    Web::new(session, name, vec![good, faulty], json!({ "ports": [{ "port": 80, "targetPort": 80 }] }))
}

/// A server that asks another one, which never has a whole answer, gives that up after [`SLOW`], and answers by itself.
fn slow() -> Servers {
    let patience = SLOW.as_millis();
    let locations = format!(
        "location / {{ proxy_pass http://127.0.0.1:82; proxy_read_timeout {patience}ms; error_page 504 = @page; }} \
         location @page {{ {PAGE} root /usr/share/nginx/html; try_files /index.html =404; }}"
    );
    let never = "server { listen 127.0.0.1:82; access_log off; root /usr/share/nginx/html; limit_rate 1; }\n";
    Servers {
        name: "slow-one",
        replicas: 1,
        configuration: server(&[80, ALWAYS], &locations) + never,
        ports: vec![("web", 80), ("always", ALWAYS)],
    }
}

/// A server that runs, is ready, and does not listen where the Service leads to.
fn refusing() -> Servers {
    let ports = vec![("web", 80), ("always", ALWAYS)];
    Servers { name: "refusing-one", replicas: 1, configuration: server(&[ALWAYS], &page()), ports }
}

/// Loads the Service's cluster IP from a pod.
async fn load(session: &Session, web: &Web, plan: &LoadPlan, name: &str) -> Result<BothEnds> {
    let method = Method { id: format!("{}-address", web.name), way: web.cluster_ip() };
    session.load_by(TESTPOD, &method, web.logged(), plan, name).await
}

/// As many new connections as it takes to test their spread.
fn enough(session: &Session) -> Result<(reachmap::load::statistics::Plan, u64, LoadPlan)> {
    let (_, law) = session.balance(TESTPOD, "clusterip-address")?;
    let statistics = statistics(session, &law);
    let connections = statistics.connections(&law)?;
    Ok((statistics, connections, connections_by(&law, connections)))
}

/// A third of the connections go to the slow one, whatever it takes: the median shows nothing of it.
#[test]
fn a_slow_backend_gets_its_full_share_of_connections() -> Result<()> {
    on_the_sessions_runtime(async {
        let session = Session::current()?;
        let web = web(session, "slow", slow());
        changed(
            || web.deploy(),
            || async {
                let _alone = ONE_AT_A_TIME.lock().await;
                let slow = web.pods_of(&session.snapshot().await?, "slow-one")?.remove(0);
                let (statistics, connections, each) = enough(session)?;
                // Connections that wait for the slow one cost nothing: with more of them at once the load is over sooner.
                let at_once = if each.connections == AT_ONCE { 3 * AT_ONCE } else { each.connections };
                let each = LoadPlan { connections: at_once, ..each };
                let ends = load(session, &web, &each, "slow-new").await?;
                holds_exactly(&ends, connections, Some(&statistics))?;
                let mut took: BTreeMap<bool, Vec<u64>> = BTreeMap::new();
                for request in ends.results.answered() {
                    let is_slow = request.answer.served_by.as_ref() == Some(&slow);
                    took.entry(is_slow).or_default().push(request.took_us);
                }
                let [quick, waited] = [false, true].map(|is_slow| took.remove(&is_slow).unwrap_or_default());
                assert!(waited.iter().all(|us| *us >= LEAST_US), "{slow} answered sooner than it can: {waited:?}");
                let late = quick.iter().filter(|us| **us >= LEAST_US).count();
                assert!(late * 2 < quick.len(), "{late} of {} answers of the others took as long", quick.len());
                // A third of all is slow: half of all is not, and the 99th percentile is.
                assert!(ends.results.latency.value_at_quantile(0.5) < LEAST_US, "{}", AsHey(&ends.results));
                assert!(ends.results.latency.value_at_quantile(0.99) >= LEAST_US, "{}", AsHey(&ends.results));
                kept_by_the_slow_one(session, &web, &slow).await
            },
            || web.remove(),
        )
        .await
    })
}

/// Over kept connections it has its share of the connections, and far less than that of the requests: whoever counts
/// requests takes a slow backend for one that gets little traffic.
async fn kept_by_the_slow_one(session: &Session, web: &Web, slow: &str) -> Result<()> {
    let kept =
        LoadPlan { extent: Extent::DurationMs(KEPT_MS), connections: 40, keep_alive: true, ..LoadPlan::default() };
    let ends = load(session, web, &kept, "slow-kept").await?;
    holds_exactly(&ends, ends.results.answered().count() as u64, None)?;
    let sample = ends.sample();
    let of_slow: Vec<u64> =
        sample.connections().iter().filter(|one| one.endpoint == slow).map(|one| one.requests).collect();
    // The last of them may start just before the end.
    let most = KEPT_MS * 1_000 / LEAST_US + 1;
    assert!(of_slow.iter().all(|requests| *requests <= most), "more than {most} requests: {of_slow:?}");
    let of_others = sample.requests() - of_slow.iter().sum::<u64>();
    let others = sample.len() - of_slow.len() as u64;
    println!(
        "kept connections: {} of {} with {} of {} requests at the slow one",
        of_slow.len(),
        sample.len(),
        of_slow.iter().sum::<u64>(),
        sample.requests()
    );
    assert!(of_others / others.max(1) > most, "{of_others} requests over {others} connections of the others");
    Ok(())
}

/// A third of the new connections are refused; over kept connections, a client is refused only until it has one.
#[test]
fn a_backend_that_refuses_gets_its_full_share_of_connections() -> Result<()> {
    on_the_sessions_runtime(async {
        let session = Session::current()?;
        let web = web(session, "refusing", refusing());
        changed(
            || web.deploy(),
            || async {
                let _alone = ONE_AT_A_TIME.lock().await;
                let refusing = web.pods_of(&session.snapshot().await?, "refusing-one")?.remove(0);
                let (statistics, _, each) = enough(session)?;
                let mut ends = load(session, &web, &each, "refused-new").await?;
                ends.refusing = Some(refusing.clone());
                refused_and_nothing_else(session, &ends, Some(&statistics))?;
                let mut ends = load(session, &web, &plan(1_000, true), "refused-kept").await?;
                ends.refusing = Some(refusing);
                refused_and_nothing_else(session, &ends, None)?;
                let by_connection = ends.results.pods_by_connection();
                let established = by_connection.iter().filter(|pods| !pods.is_empty()).count();
                assert_eq!(established, 50, "each client keeps the connection that it was given: {by_connection:?}");
                let refused = ends.results.errors().values().sum::<u64>();
                println!("kept connections: {refused} refused before 50 were established; 25 are to be expected");
                Ok(())
            },
            || web.remove(),
        )
        .await
    })
}

/// What failed was refused, and every request that was not stands in a log, once.
fn refused_and_nothing_else(
    session: &Session,
    ends: &BothEnds,
    statistics: Option<&reachmap::load::statistics::Plan>,
) -> Result<()> {
    let record = session.judge_load(ends, statistics)?;
    println!("{}", explain_load(&record));
    assert!(record.is_as_expected(), "{}", explain_load(&record));
    let errors = ends.results.errors();
    let refused = errors.get(&FailureClass::Refused).copied().unwrap_or_default();
    assert_eq!(errors.values().sum::<u64>(), refused, "{errors:?}");
    assert!(refused > 0, "nobody was refused");
    assert!(ends.conservation.is_exact(), "{}", ends.conservation);
    assert_eq!(ends.conservation.failed_and_unlogged, refused, "{}", ends.conservation);
    assert_eq!(ends.conservation.matched, record.answered, "{}", ends.conservation);
    Ok(())
}
