//! Datagrams that an agent sends or receives in the background.

use std::net::SocketAddr;

use super::{agent::Agent, background::UnderWay};
use crate::{
    Error, ErrorKind, Result,
    wire::{Background, Ended, ReceivedDatagrams, SendDatagrams, SentDatagrams},
};

/// A sender under way. It ends when it is [finished](Sending::finish), or with its agent.
#[derive(Debug)]
pub struct Sending {
    under_way: UnderWay,
    /// What was asked for.
    pub what: SendDatagrams,
    /// The socket's own address.
    pub from: SocketAddr,
}

/// A receiver under way. It ends when it is [finished](Receiving::finish), or with its agent.
#[derive(Debug)]
pub struct Receiving(UnderWay);

impl Agent {
    /// Sends datagrams from here, one after the other from one socket, until that is finished.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the agent refuses it, such as an id with blanks; [`ErrorKind::Environment`] if it is lost.
    pub async fn send_datagrams(&self, what: SendDatagrams) -> Result<Sending> {
        let under_way = UnderWay::start(self, Background::SendDatagrams(what.clone())).await?;
        let no_address = || Error::new(ErrorKind::Internal, "send datagrams", "the agent names no address of its own");
        Ok(Sending { what, from: under_way.address.ok_or_else(no_address)?, under_way })
    }

    /// Counts the datagrams that arrive here at a port, on every address; once this returns, none is missed.
    ///
    /// # Errors
    /// As [`Agent::send_datagrams`], for instance if the port is taken.
    pub async fn receive_datagrams(&self, port: u16) -> Result<Receiving> {
        UnderWay::start(self, Background::ReceiveDatagrams { port }).await.map(Receiving)
    }
}

impl Sending {
    /// Ends it, and returns what was sent.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the agent is lost.
    pub async fn finish(self) -> Result<SentDatagrams> {
        let sent = |ended| match ended {
            Ended::Sent(sent) => Ok(sent),
            other => Err(other),
        };
        self.under_way.end(sent).await
    }
}

impl Receiving {
    /// Ends it, and returns what arrived, by sender.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the agent is lost.
    pub async fn finish(self) -> Result<Vec<ReceivedDatagrams>> {
        let received = |ended| match ended {
            Ended::Received(received) => Ok(received),
            other => Err(other),
        };
        self.0.end(received).await
    }
}
