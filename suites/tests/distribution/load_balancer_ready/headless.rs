//! A headless Service: its name stands for the pods themselves, and nothing of the cluster balances between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use reachmap::{
    Error, ErrorKind, Result,
    load::generator::Plan as LoadPlan,
    model::{Law, Method, Way},
    session::{Session, load::Logged},
    state::State,
    wire::Lookup,
};
use reachmap_suites::prelude::TESTPOD;

use super::{ONE_AT_A_TIME, holds_exactly, plan};

const METHOD: &str = "headless-short";

/// How often the name is looked up anew. If any pod is as likely to come first as any other, one of three never does once
/// in 10^17 times: 3 × (2/3)^100.
const LOOKUPS: usize = 100;

/// A client that asks once and keeps what it was told has one pod: with one connection, and with a new one each time.
#[tokio::test]
async fn a_client_that_resolves_once_has_one_pod() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let name = Method::find(METHOD, session.workers())?.way.target(session.state())?.host;
    let told = session.agent(TESTPOD)?.resolve(Lookup { name, server: None }).await?;
    let ready: BTreeSet<IpAddr> = pods(session.state()).into_keys().collect();
    assert_eq!(told.addresses.iter().copied().collect::<BTreeSet<_>>(), ready, "what the name stands for (left)");
    let Some(first) = told.addresses.first().copied() else {
        return Err(Error::new(ErrorKind::Environment, "resolve the headless name", "no address came of it"));
    };
    let way = Way::Address { address: first, port: 80 };
    let method = Method { id: "headless-resolved-once".to_owned(), way };
    for (keep_alive, name, connections) in [(true, "headless-kept", 1), (false, "headless-new", 300)] {
        let one = LoadPlan { connections: 1, ..plan(300, keep_alive) };
        let ends = session.load_by(TESTPOD, &method, Logged::TUTORIAL, &one, name).await?;
        holds_exactly(&ends, 300, None)?;
        assert_eq!(ends.balance.law, Law::OneConnection, "{}", ends.balance.why());
        assert_eq!(ends.sample().len(), connections);
        let answered: Vec<Option<&str>> = ends.results.served_by().into_keys().collect();
        assert_eq!(
            answered,
            [pods(session.state()).get(&first).map(String::as_str)],
            "the pod at {first}, and no other"
        );
    }
    Ok(())
}

/// A client that asks anew for each connection comes to every pod: CoreDNS's plugin `loadbalance` turns the addresses
/// round, and the client takes the first.
#[tokio::test]
async fn a_client_that_resolves_each_time_comes_to_every_pod() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let state = session.state();
    let method = Method::find(METHOD, session.workers())?;
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..LOOKUPS {
        let seen = session.observe(state, TESTPOD, &method).await?;
        let first = seen.resolve.as_ref().and_then(|resolve| resolve.addresses.first().copied());
        let pod = seen.respond.and_then(|answer| answer.served_by).unwrap_or_default();
        let of_first = first.and_then(|first| pods(state).remove(&first));
        assert_eq!(Some(&pod), of_first.as_ref(), "who answered (left), and whose address came first: {first:?}");
        *came.entry(pod).or_default() += 1;
    }
    println!("{LOOKUPS} lookups, and a connection after each: {came:?}");
    let every: BTreeSet<String> = pods(state).into_values().collect();
    assert_eq!(came.into_keys().collect::<BTreeSet<_>>(), every, "who answered (left)");
    Ok(())
}

/// The pods that the headless Service stands for, by their addresses.
fn pods(state: &State) -> BTreeMap<IpAddr, String> {
    let service = state.services.iter().find(|service| service.headless && service.name == "nginx-headless-service");
    let endpoints = service.into_iter().flat_map(|service| state.endpoints_of(service));
    endpoints.filter(|endpoint| endpoint.ready).filter_map(|one| Some((one.address, one.pod.clone()?))).collect()
}
