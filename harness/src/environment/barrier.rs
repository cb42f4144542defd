//! Barriers: a change counts as made when it is seen in every data plane, not when the API server has heard of it.
//!
//! A barrier asks the same question at every vantage until the answer has been the new one several times
//! in a row. One that never passes does not stop the run: the cells behind it will be red, and say why.

use std::{future::Future, net::SocketAddr, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    model::Target,
    probe::{self, Agent, Timeouts},
    wire::{self, DnsFailure, Lookup},
};

/// A change reaches every node within a second or two; after this it is not on its way.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How often in a row the new answer must come: more than there are replicas that could answer by chance.
const IN_A_ROW: usize = 6;

/// The same for names: a replica of CoreDNS that is ending still answers as before, and where a node's rules still
/// have it, this many questions all pass it by once in a million times.
const QUESTIONS_IN_A_ROW: usize = 20;

/// A probe that a data plane answers at all is answered well within this.
const QUICK: Timeouts = Timeouts { connect: Duration::from_millis(400), total: Duration::from_secs(1) };

/// Waits until every agent gets an answer at `target`, or until none does (`answers: false`).
///
/// Returns the vantages that had not seen it when the time was up, each with how often it was asked.
pub(crate) async fn until_reached(
    agents: &[(String, Agent)],
    target: &Target,
    answers: bool,
    patience: Duration,
) -> Vec<(String, u32)> {
    // Without an answer each try costs a timeout, and nothing is balanced over several answers.
    let in_a_row = if answers { IN_A_ROW } else { 2 };
    everywhere(agents, in_a_row, patience, |agent| async move {
        // Aside: what is asked before the change leaves entries behind that later connections must not meet.
        let probe = wire::Probe { aside: true, ..probe::request(target, QUICK) };
        agent.probe(probe).await.is_ok_and(|seen| seen.is_reached() == answers)
    })
    .await
}

/// Waits until the DNS server at `server` knows `name` (or, `known: false`, denies it) from everywhere.
///
/// Returns the vantages that had not seen it when the time was up, each with how often it was asked.
pub(super) async fn until_known(
    agents: &[(String, Agent)],
    server: SocketAddr,
    name: &str,
    known: bool,
) -> Vec<(String, u32)> {
    let name = format!("{}.", name.trim_end_matches('.'));
    let lookup = &Lookup { name, server: Some(server) };
    everywhere(agents, QUESTIONS_IN_A_ROW, PATIENCE, |agent| async move {
        let silent = [Some(DnsFailure::Timeout), Some(DnsFailure::NoServer)];
        agent
            .resolve(lookup.clone())
            .await
            .is_ok_and(|seen| seen.addresses.is_empty() != known && !silent.contains(&seen.failure))
    })
    .await
}

/// Those of `agents` that stand in the cluster, where its Services and its DNS can be asked.
pub(crate) fn inside<'a>(agents: impl IntoIterator<Item = (&'a String, &'a Agent)>) -> Vec<(String, Agent)> {
    let inside = agents.into_iter().filter(|(vantage, _)| *vantage != "laptop");
    inside.map(|(vantage, agent)| (vantage.clone(), agent.clone())).collect()
}

async fn everywhere<'a, F: Future<Output = bool>>(
    agents: &'a [(String, Agent)],
    in_a_row: usize,
    patience: Duration,
    sees: impl Fn(&'a Agent) -> F,
) -> Vec<(String, u32)> {
    let sees = &sees;
    let waits = agents.iter().map(|(vantage, agent)| async move {
        let deadline = Instant::now() + patience;
        let (mut seen, mut asked) = (0, 0);
        while seen < in_a_row {
            if Instant::now() > deadline {
                return Some((vantage.clone(), asked));
            }
            asked += 1;
            seen = if sees(agent).await { seen + 1 } else { 0 };
        }
        None
    });
    join_all(waits).await.into_iter().flatten().collect()
}
