//! Who answers for the load balancer's address, asked by ARP from the laptop, whose kernel learns nothing from it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use reachmap::{
    Error, ErrorKind, Result,
    environment::workloads::{LOAD_BALANCER, NAMESPACE},
    load::arp::Answered,
    probe::WatchingArp,
    session::Session,
    state::State,
    wire::{SeenArp, WatchArp},
};

use crate::prelude::LAPTOP;

/// How often the laptop asks, in milliseconds: what is said of moments is that exact.
const EVERY_MS: u64 = 100;

/// The load balancer's address, and the nodes' own, by which their hardware addresses are known.
#[derive(Debug)]
pub struct Watched {
    /// The load balancer's address.
    pub address: Ipv4Addr,
    nodes: BTreeMap<String, IpAddr>,
}

impl Watched {
    /// The addresses in this state.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the load balancer has no IPv4 address.
    pub fn of(state: &State) -> Result<Self> {
        let service = state.service(NAMESPACE, LOAD_BALANCER);
        let address = service.and_then(|service| service.load_balancer_addresses.iter().find_map(as_v4));
        let none = || Error::new(ErrorKind::Environment, "watch the load balancer", "it has no IPv4 address");
        let v4 = |addresses: &[IpAddr]| addresses.iter().copied().find(IpAddr::is_ipv4);
        let nodes = state.nodes.iter().filter_map(|node| Some((node.name.clone(), v4(&node.addresses)?)));
        Ok(Self { address: address.ok_or_else(none)?, nodes: nodes.collect() })
    }

    /// Begins to ask.
    ///
    /// # Errors
    /// Those of the laptop's agent.
    pub async fn watch(&self, session: &Session) -> Result<WatchingArp> {
        let addresses = [self.address].into_iter().chain(self.nodes.values().filter_map(as_v4)).collect();
        session.agent(LAPTOP)?.watch_arp(WatchArp { addresses, every_ms: EVERY_MS }).await
    }

    /// Asks for that long.
    ///
    /// # Errors
    /// As [`Watched::watch`].
    pub async fn watch_for(&self, session: &Session, time: Duration) -> Result<Answered> {
        let watching = self.watch(session).await?;
        tokio::time::sleep(time).await;
        Ok(self.answered(&watching.finish().await?))
    }

    /// Which nodes answered what was asked.
    pub fn answered(&self, seen: &SeenArp) -> Answered {
        Answered::of(seen, self.address, &self.nodes)
    }
}

fn as_v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}
