//! What an agent goes on with in the background, from the start to the end.

use std::net::SocketAddr;

use super::agent::{ANSWER_LIMIT, Agent};
use crate::{
    Result,
    wire::{Action, Background, Ended, Outcome},
};

/// Something under way. It ends when it is [ended](UnderWay::end), with its agent, or after
/// [`MOST_BACKGROUND_MS`](crate::wire::MOST_BACKGROUND_MS).
#[derive(Debug)]
pub(super) struct UnderWay {
    agent: Agent,
    id: u64,
    /// The socket's own address, if it has one.
    pub(super) address: Option<SocketAddr>,
}

impl UnderWay {
    /// Lets `agent` start with it; once this returns, it has.
    pub(super) async fn start(agent: &Agent, what: Background) -> Result<Self> {
        match agent.call_with_id(Action::Start(what), ANSWER_LIMIT).await? {
            (id, Outcome::Started(address)) => Ok(Self { agent: agent.clone(), id, address }),
            (_, other) => Err(agent.unexpected("start it", &other)),
        }
    }

    /// Ends it; `what` it has to tell is taken from the agent's answer.
    pub(super) async fn end<T>(self, what: impl FnOnce(Ended) -> Result<T, Ended>) -> Result<T> {
        let ended = match self.agent.call(Action::End(self.id), ANSWER_LIMIT).await? {
            Outcome::Ended(ended) => what(ended),
            other => return Err(self.agent.unexpected("end it", &other)),
        };
        ended.map_err(|other| self.agent.unexpected("end it", &Outcome::Ended(other)))
    }
}
