//! Who may answer, by which law, and what each of them sees as the source address.
//!
//! The unit is always the connection: what a client sends over one connection goes to one endpoint, whatever the law.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Method, Reason, Seen, Selection, Target, Vantage, expect::derive};
use crate::{Result, state::State};

/// How connections from one vantage to one target spread over the endpoints that may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Balance {
    /// What the requests name.
    pub target: Target,
    /// Why they arrive, or do not.
    pub reason: Reason,
    /// The nodes that may translate the connection and so choose: one, unless it is not known which.
    pub entries: BTreeSet<String>,
    /// The endpoints that may answer; empty if nobody does.
    pub answering: Vec<Answering>,
    /// What decided which these are; none if nobody answers, or if it differs by the node that chooses.
    pub selection: Option<Selection>,
    /// How one of them is chosen for each connection.
    pub law: Law,
}

/// One endpoint that may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answering {
    /// The name by which it answers: its pod's.
    pub pod: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// What it sees as the source address.
    pub seen: Seen,
}

/// How an endpoint is chosen, for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Each is as likely as any other, whatever was chosen before.
    Random,
    /// One after the other, on each node by itself.
    RoundRobin,
    /// The first connection of a client's address as in [`Law::Random`] or [`Law::RoundRobin`]; then the same
    /// endpoint, until no connection came for so long.
    Affinity {
        /// How long, in seconds.
        timeout_seconds: u32,
    },
    /// Nothing balances: the client connects to one of the addresses that it was given, and stays there as long as
    /// it keeps its connection. Which one is up to its resolver.
    OneConnection,
    /// Nobody answers.
    Nobody,
    /// How this cluster translates Services is not known.
    NotCovered,
}

/// How connections from `vantage` by `method` spread, in a cluster in this `state`.
///
/// ```
/// use reachmap::{model::{Law, Method, Vantage, balance}, state::State};
/// let state = State::example();
/// let balance = balance(&state, &Vantage::find(&state, "laptop")?, &Method::find("nodeport-worker-1", 3)?)?;
/// assert_eq!((balance.support().len(), balance.law), (3, Law::Random));
/// // The pod on the node that was named sees its bridge, the others its end of the tunnel.
/// let seen = |pod| balance.seen_by(pod).unwrap().addresses().unwrap().first().unwrap().to_string();
/// assert_eq!(seen("nginx-multiple-nodes-7c5ddbdf54-4v8db"), "10.244.1.1");
/// assert_eq!(seen("nginx-multiple-nodes-7c5ddbdf54-cjz2r"), "10.244.1.0");
/// # Ok::<(), reachmap::Error>(())
/// ```
///
/// # Errors
/// Those of [`expect`](super::expect()).
pub fn balance(state: &State, vantage: &Vantage, method: &Method) -> Result<Balance> {
    let (expectation, delivery) = derive(state, vantage, method)?;
    let (target, reason) = (expectation.target, expectation.reason);
    Ok(match delivery.filter(|_| expectation.reachable) {
        Some(delivery) => Balance {
            target,
            reason,
            entries: delivery.entries,
            answering: delivery.answering,
            selection: delivery.selection,
            law: delivery.law,
        },
        None => Balance {
            target,
            reason,
            entries: BTreeSet::new(),
            answering: Vec::new(),
            selection: None,
            law: Law::Nobody,
        },
    })
}

impl Balance {
    /// The pods that may answer.
    pub fn support(&self) -> BTreeSet<&str> {
        self.answering.iter().map(|answering| answering.pod.as_str()).collect()
    }

    /// What the pod sees as the source address; none if it is not one that may answer.
    pub fn seen_by(&self, pod: &str) -> Option<Seen> {
        let of_pod = self.answering.iter().filter(|answering| answering.pod == pod);
        of_pod.map(|answering| answering.seen.clone()).reduce(Seen::or)
    }

    /// What holds of connections of which some follow this and some follow another: who may answer any of them, and what that
    /// pod may then see. How one is chosen is as here.
    #[must_use]
    pub fn together(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        for answering in other.answering {
            let key = (answering.address, answering.port);
            match self.answering.iter_mut().find(|known| (known.address, known.port) == key) {
                Some(known) => known.may_also_see(answering.seen),
                None => self.answering.push(answering),
            }
        }
        self.selection = self.selection.filter(|selection| Some(*selection) == other.selection);
        self
    }

    /// The pods by each source address that they may see: what the access logs must show.
    pub fn by_source(&self) -> BTreeMap<IpAddr, BTreeSet<&str>> {
        let mut by_source: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
        for answering in &self.answering {
            for address in answering.seen.addresses().into_iter().flatten() {
                by_source.entry(address).or_default().insert(&answering.pod);
            }
        }
        by_source
    }

    /// Who answers and how it is chosen, as one plain sentence.
    pub fn why(&self) -> String {
        let count = self.support().len();
        match (self.law, self.selection) {
            (Law::Nobody, _) => self.reason.why(),
            (law, Some(selection)) => format!("{count} may answer, {selection}: {law}."),
            (law, None) => format!("{count} may answer, by what the node that chooses has: {law}."),
        }
    }
}

impl Answering {
    fn may_also_see(&mut self, seen: Seen) {
        let before = std::mem::replace(&mut self.seen, Seen::As(BTreeSet::new()));
        self.seen = before.or(seen);
    }

    /// Adds an endpoint, or another way to one that is there.
    pub(super) fn add(all: &mut Vec<Self>, pod: String, endpoint: &crate::state::Endpoint, port: u16, seen: Seen) {
        let known = all.iter_mut().find(|known| (known.address, known.port) == (endpoint.address, port));
        match known {
            Some(known) => known.may_also_see(seen),
            None => all.push(Self { pod, node: endpoint.node.clone(), address: endpoint.address, port, seen }),
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("each connection is as likely to go to one as to any other"),
            Self::RoundRobin => f.write_str("connections go to one after the other, on each node by itself"),
            Self::Affinity { timeout_seconds } => write!(
                f,
                "a client's first connection chooses, and the others follow it until none came for {timeout_seconds} s"
            ),
            Self::OneConnection => {
                f.write_str("the client connects to one of them and stays there as long as it keeps its connection")
            }
            Self::Nobody => f.write_str("nobody answers"),
            Self::NotCovered => f.write_str("how one is chosen is not known here"),
        }
    }
}
