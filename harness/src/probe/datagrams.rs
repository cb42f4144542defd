//! Datagrams that an agent sends or receives in the background.

use std::net::SocketAddr;

use super::agent::{ANSWER_LIMIT, Agent};
use crate::{
    Result,
    wire::{Action, Datagrams, DatagramsDone, Outcome, ReceivedDatagrams, SendDatagrams, SentDatagrams},
};

/// A sender under way. It ends when it is [finished](Sending::finish), or with its agent.
#[derive(Debug)]
pub struct Sending {
    agent: Agent,
    id: u64,
    /// What was asked for.
    pub what: SendDatagrams,
    /// The socket's own address.
    pub from: SocketAddr,
}

/// A receiver under way. It ends when it is [finished](Receiving::finish), or with its agent.
#[derive(Debug)]
pub struct Receiving {
    agent: Agent,
    id: u64,
}

impl Agent {
    /// Sends datagrams from here, one after the other from one socket, until that is finished.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the agent refuses it, such as an id with blanks;
    /// [`ErrorKind::Environment`](crate::ErrorKind::Environment) if it is lost.
    pub async fn send_datagrams(&self, what: SendDatagrams) -> Result<Sending> {
        let (id, from) = self.start_datagrams(Datagrams::Send(what.clone())).await?;
        Ok(Sending { agent: self.clone(), id, what, from })
    }

    /// Counts the datagrams that arrive here at a port, on every address; once this returns, none is missed.
    ///
    /// # Errors
    /// As [`Agent::send_datagrams`], for instance if the port is taken.
    pub async fn receive_datagrams(&self, port: u16) -> Result<Receiving> {
        let (id, _) = self.start_datagrams(Datagrams::Receive { port }).await?;
        Ok(Receiving { agent: self.clone(), id })
    }

    async fn start_datagrams(&self, what: Datagrams) -> Result<(u64, SocketAddr)> {
        match self.call_with_id(Action::StartDatagrams(what), ANSWER_LIMIT).await? {
            (id, Outcome::DatagramsStarted(address)) => Ok((id, address)),
            (_, other) => Err(self.unexpected("start with datagrams", &other)),
        }
    }

    async fn end_datagrams(&self, id: u64) -> Result<DatagramsDone> {
        match self.call(Action::EndDatagrams(id), ANSWER_LIMIT).await? {
            Outcome::DatagramsDone(done) => Ok(done),
            other => Err(self.unexpected("end datagrams", &other)),
        }
    }
}

impl Sending {
    /// Ends it, and returns what was sent.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`](crate::ErrorKind::Environment) if the agent is lost.
    pub async fn finish(self) -> Result<SentDatagrams> {
        match self.agent.end_datagrams(self.id).await? {
            DatagramsDone::Sent(sent) => Ok(sent),
            other @ DatagramsDone::Received(_) => {
                Err(self.agent.unexpected("end a sender", &Outcome::DatagramsDone(other)))
            }
        }
    }
}

impl Receiving {
    /// Ends it, and returns what arrived, by sender.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`](crate::ErrorKind::Environment) if the agent is lost.
    pub async fn finish(self) -> Result<Vec<ReceivedDatagrams>> {
        match self.agent.end_datagrams(self.id).await? {
            DatagramsDone::Received(received) => Ok(received),
            other @ DatagramsDone::Sent(_) => {
                Err(self.agent.unexpected("end a receiver", &Outcome::DatagramsDone(other)))
            }
        }
    }
}
