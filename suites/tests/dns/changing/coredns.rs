//! CoreDNS itself: rolled out, one of its replicas killed, and given Corefiles that it cannot run.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::{
        addons::coredns::{self, Way},
        journal::{self, Journal},
    },
    k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod},
    kube::{
        Api,
        api::{DeleteParams, ListParams},
    },
    kubernetes::{conditions, wait::Seen},
    load::timeline::{Event, Timeline},
    report::ChangeRecord,
    session::Session,
    wire::{DnsFailure, FailureClass, Lookup},
};
use reachmap_suites::lives::{Lives, now_us};

use super::ONE_AT_A_TIME;
use crate::tutorial::dns_server;

/// How long a change of the Corefile may take that is never going to be live.
const NEVER_LIVE: Duration = Duration::from_secs(20);

/// CoreDNS's replicas.
const REPLICAS: &str = "k8s-app=kube-dns";

/// The name that is looked up all the time.
const NAME: &str = "nginx-clusterip-service.service-type-test.svc.cluster.local.";

/// The replicas of before serve on for five seconds (`lameduck`) and then end: those seconds count.
const AT_LEAST: Duration = Duration::from_secs(12);

/// Where the lookups come from.
const VANTAGE: &str = "testpod";

/// At most one lookup of so many may fail.
const MANY: usize = 50;

/// The longest time without an answer, in microseconds: a question that nobody answers is asked again after five seconds.
const SILENCE_US: u64 = 6_000_000;

const AT_MOST: Duration = Duration::from_secs(120);

/// How long a replica that was told to end serves on, in microseconds.
const LAMEDUCK_US: u64 = 5_000_000;

/// Until every node has heard that a replica is gone, in microseconds: kube-proxy gathers changes for a second.
const HEARD_US: u64 = 5_000_000;

/// How much earlier than seen, and how much later, a replica may have ended: a look, and what is under way.
const SLACK_US: u64 = 1_500_000;

/// What a pod sees of a rollout of CoreDNS: next to nothing.
///
/// A replica serves on for five seconds after it was told to end (`lameduck`), and new flows no longer go to it by then. But
/// hundreds of lookups a second use source ports again within the 30 seconds that connection tracking keeps a flow of UDP,
/// and such a question is translated as the flow was. Where that is to a replica which has just ended, it is refused or never
/// answered, until kube-proxy has cleared the flows of what no longer serves. At no other time does a lookup fail, and
/// in no other way.
#[tokio::test]
async fn a_rollout_of_coredns_fails_a_lookup_at_most_where_a_replica_ends() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let api: Api<Deployment> = Api::namespaced(session.client().clone(), "kube-system");
    let (lookups, lives) = lookups_during(session, async {
        api.restart("coredns").await.tried(ErrorKind::Environment, || "restart CoreDNS")?;
        until_whole(&api).await
    })
    .await?;
    let ends: Vec<(u64, u64)> = lives
        .of_each
        .values()
        .filter_map(|life| Some((life.ending? + LAMEDUCK_US, life.gone.unwrap_or(u64::MAX / 2))))
        .collect();
    assert!(ends.len() >= 2, "both replicas of before must have ended: {lives:?}");
    record("coredns-restarted", "rolling restart of CoreDNS, names looked up from a pod", &lookups)?;
    fails_only_around(&lookups, &ends, &lives);
    Ok(())
}

/// A replica that is killed takes with it what it has not answered yet, and is asked until every node has heard of its end:
/// as long as its network is still there, it refuses. The resolver asks again, and most often another one answers. At no other
/// time does a lookup fail, and in no other way.
#[tokio::test]
async fn a_dead_replica_of_coredns_fails_a_lookup_at_most_where_it_ends() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let api: Api<Deployment> = Api::namespaced(session.client().clone(), "kube-system");
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), "kube-system");
    let replicas = pods.list(&ListParams::default().labels(REPLICAS)).await;
    let replicas = replicas.tried(ErrorKind::Environment, || "list the replicas of CoreDNS")?.items;
    assert!(replicas.len() >= 2, "a cluster with {} replicas of CoreDNS has no other one to ask", replicas.len());
    let victim = replicas.first().and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
    let (lookups, lives) = lookups_during(session, async {
        let killed = pods.delete(&victim, &DeleteParams::default().grace_period(0)).await;
        killed.map(drop).tried(ErrorKind::Environment, || format!("kill {victim}"))?;
        until_whole(&api).await
    })
    .await?;
    let gone = lives.of_each.get(&victim).and_then(|life| life.gone);
    let gone = gone.unwrap_or_else(|| panic!("{victim} must have gone: {lives:?}"));
    record("coredns-killed", "a replica of CoreDNS killed, names looked up from a pod", &lookups)?;
    fails_only_around(&lookups, &[(gone, gone + HEARD_US)], &lives);
    Ok(())
}

/// The lookups are in the report beside the loads while things change: how many there were, and how many failed.
fn record(name: &str, what: &str, lookups: &Timeline) -> Result<()> {
    Session::current()?.record_change(ChangeRecord::of(name, what, lookups, (0, &BTreeSet::new()), &[]))
}

/// A lookup failed at most because nobody answered it, and only where a replica ended; even there, most were answered.
fn fails_only_around(lookups: &Timeline, ends: &[(u64, u64)], lives: &Lives) {
    let excused = |lookup: &&Event| {
        let silent = matches!(lookup.outcome, Err(FailureClass::Refused | FailureClass::Timeout));
        silent && ends.iter().any(|(from, to)| (from - SLACK_US..=to + SLACK_US).contains(&lookup.start_us))
    };
    let (count, failed) = (lookups.events.len(), lookups.failed().count());
    let unexcused: Vec<_> = lookups.failed().filter(|lookup| !excused(lookup)).collect();
    assert!(
        unexcused.is_empty(),
        "{failed} of {count} lookups failed, and these at no end: {unexcused:#?}\n{lives:#?}"
    );
    assert!(failed * MANY <= count, "{failed} of {count} lookups failed: more than one of {MANY}\n{lives:#?}");
    let silence = lookups.longest_silence(VANTAGE);
    assert!(silence <= SILENCE_US, "no lookup was answered for {silence} µs\n{lives:#?}");
}

/// Waits until the Deployment has all of its replicas, each of its last template.
async fn until_whole(api: &Api<Deployment>) -> Result<()> {
    let started = Instant::now();
    let mut pauses = tokio::time::interval(Duration::from_millis(200));
    loop {
        pauses.tick().await;
        let deployment = api.get("coredns").await.tried(ErrorKind::Environment, || "read CoreDNS's Deployment")?;
        let whole = matches!(conditions::deployment_rolled_out(Some(&deployment)), Seen::Met(()));
        if whole && started.elapsed() > AT_LEAST {
            return Ok(());
        }
        assert!(started.elapsed() < AT_MOST, "it is not whole again: {deployment:?}");
    }
}

/// Looks a name up in the test pod, again and again, until `change` is over; the replicas are watched meanwhile.
async fn lookups_during(session: &Session, change: impl Future<Output = Result<()>>) -> Result<(Timeline, Lives)> {
    let over = AtomicBool::new(false);
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), "kube-system");
    let mut lives = Lives::begin(pods, REPLICAS).await?;
    let lookups = async {
        let mut events = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let lookup = Lookup { name: NAME.to_owned(), server: None };
            let start_us = now_us();
            let seen = session.agent(VANTAGE)?.resolve(lookup).await?;
            // Which replica answered is not said.
            let outcome = seen.failure.map_or_else(|| Ok("CoreDNS".to_owned()), |failure| Err(class(failure)));
            let (vantage, id) = (VANTAGE.to_owned(), events.len().to_string());
            events.push(Event { vantage, id, start_us, end_us: now_us(), outcome });
        }
        Ok::<_, Error>(events)
    };
    let change = async {
        let changed = change.await;
        over.store(true, Ordering::Relaxed);
        changed
    };
    let (events, (), ()) = futures::future::try_join3(lookups, change, lives.watch(&over)).await?;
    // Far fewer than there ever are: it only says that they went on all the time.
    assert!(events.len() > 100, "only {} lookups during the change", events.len());
    Ok((Timeline { events, marks: lives.marks() }, lives))
}

/// The class of failure of a request that corresponds to a lookup's.
const fn class(failure: DnsFailure) -> FailureClass {
    match failure {
        DnsFailure::Timeout => FailureClass::Timeout,
        // An ICMP message said that nobody listens there.
        DnsFailure::NoServer => FailureClass::Refused,
        DnsFailure::Malformed => FailureClass::Malformed,
        DnsFailure::NxDomain | DnsFailure::NoData | DnsFailure::ServFail | DnsFailure::Refused => FailureClass::Other,
    }
}

async fn live_corefile(session: &Session) -> Result<String> {
    session.journal().live_text(&journal::Target::corefile()).await
}

async fn edit(session: &Session, journal: &Journal, to: impl FnOnce(&str) -> String) -> Result<coredns::Change> {
    let ask = |replica, name| session.ask(replica, name);
    coredns::change(session.client(), journal, |original| Ok(to(original)), ask, Way::Restart, NEVER_LIVE).await
}

#[tokio::test]
async fn a_corefile_that_coredns_would_reject_never_reaches_the_cluster() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let before = live_corefile(session).await?;
    let broken = |original: &str| original.replacen("    ready\n", "    ready\n    hosts {\n", 1);
    let error = edit(session, &session.journal(), broken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(error.to_string().contains("line "), "{error}");
    assert_eq!(live_corefile(session).await?, before);
    Ok(())
}

/// A text that parses and that CoreDNS still cannot run: it is taken back, and CoreDNS's own words say why.
#[tokio::test]
async fn an_edit_that_never_becomes_live_is_taken_back_with_coredns_s_own_words() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let journal = session.journal();
    let original = journal.original(&journal::Target::corefile()).await?;
    let broken = |original: &str| original.replacen("/etc/resolv.conf", "/etc/no-such-file", 1);
    let error = edit(session, &journal, broken).await.unwrap_err();
    assert!(error.to_string().contains("no-such-file"), "CoreDNS's own words are missing: {error}");
    assert_eq!(live_corefile(session).await?, original);
    let server = dns_server()?;
    let known = session.ask(server, "kubernetes.default.svc.cluster.local".to_owned()).await?;
    assert_eq!(known.failure, None, "{known:#?}");
    Ok(())
}
