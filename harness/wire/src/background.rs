//! What an agent can go on with in the background.
//!
//! It is started ([`Action::Start`](crate::Action)), goes on while the agent answers other requests, and tells what there was
//! when it is ended ([`Action::End`](crate::Action)).

use serde::{Deserialize, Serialize};

use crate::{ReceivedDatagrams, SeenArp, SendDatagrams, SentDatagrams, WatchArp};

/// The longest that something goes on in the background, in milliseconds, if nobody ends it.
pub const MOST_BACKGROUND_MS: u64 = 10 * 60 * 1_000;

/// What to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Background {
    /// Send datagrams.
    SendDatagrams(SendDatagrams),
    /// Receive datagrams.
    ReceiveDatagrams {
        /// At this port, on every address.
        port: u16,
    },
    /// See who answers for addresses on the link.
    WatchArp(WatchArp),
}

/// What there was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// What was sent.
    Sent(SentDatagrams),
    /// What arrived.
    Received(Vec<ReceivedDatagrams>),
    /// Who answered.
    Arp(SeenArp),
}
