//! Who answers for addresses on the link of a vantage, watched by its agent in the background.

use super::{agent::Agent, background::UnderWay};
use crate::{
    Result,
    wire::{Background, Ended, SeenArp, WatchArp},
};

/// A watch under way. It ends when it is [finished](WatchingArp::finish), with its agent, or after
/// [`MOST_BACKGROUND_MS`](crate::wire::MOST_BACKGROUND_MS).
#[derive(Debug)]
pub struct WatchingArp(UnderWay);

impl Agent {
    /// Asks by ARP who has these addresses, again and again, and hears what is said of them meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the agent cannot: it takes a link that all of them are on, and the
    /// capability `CAP_NET_RAW`. [`ErrorKind::Environment`](crate::ErrorKind::Environment) if it is lost.
    pub async fn watch_arp(&self, what: WatchArp) -> Result<WatchingArp> {
        UnderWay::start(self, Background::WatchArp(what)).await.map(WatchingArp)
    }
}

impl WatchingArp {
    /// Ends it, and returns what was asked and heard.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`](crate::ErrorKind::Environment) if the agent is lost.
    pub async fn finish(self) -> Result<SeenArp> {
        let seen = |ended| match ended {
            Ended::Arp(seen) => Ok(seen),
            other => Err(other),
        };
        self.0.end(seen).await
    }
}
