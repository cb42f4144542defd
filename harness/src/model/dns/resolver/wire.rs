//! The questions that a modelled resolver asks, as they go over the wire.

use std::fmt;

use reachmap_wire::{QuestionKind, Transport};

use super::super::{Question, Response};

/// One question on its way to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The question.
    pub question: Question,
    /// The server's place in the configuration, from 0.
    pub server: usize,
    /// How it travels.
    pub transport: Transport,
    /// Whether it is sent for sure: a retransmission can depend on timing.
    pub is_certain: bool,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "",
            Transport::Tcp => " over TCP",
        };
        write!(f, "{}{transport}", self.question)
    }
}

/// Questions of which none waits for the last answer of another round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The questions.
    pub queries: Vec<Query>,
    /// How far their order is fixed.
    pub order: Order,
}

/// How far the order of the questions of a round is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Each comes after the one before it.
    Fixed,
    /// Those of one record type do; those of several types run side by side.
    PerKind,
    /// None is fixed, and not even how many are of each record type: repetitions are shared out by the order in which
    /// answers arrive. Each record type is asked at least once.
    Shared,
}

/// The other end of the wire: notes down what is asked, and gives the answers.
pub(super) struct Wire<'w> {
    answer: &'w mut dyn FnMut(&Query) -> Option<Response>,
    rounds: Vec<Round>,
}

impl<'w> Wire<'w> {
    pub(super) fn new(answer: &'w mut dyn FnMut(&Query) -> Option<Response>) -> Self {
        Self { answer, rounds: Vec::new() }
    }

    /// Begins a round.
    pub(super) fn round(&mut self, order: Order) {
        self.rounds.push(Round { queries: Vec::new(), order });
    }

    /// Asks in the current round.
    pub(super) fn ask(
        &mut self,
        name: &str,
        kind: QuestionKind,
        server: usize,
        transport: Transport,
    ) -> Option<Response> {
        if self.rounds.is_empty() {
            self.round(Order::Fixed);
        }
        let query = Query { question: Question::new(name, kind), server, transport, is_certain: true };
        let mut response = (self.answer)(&query);
        if transport == Transport::Tcp
            && let Some(response) = &mut response
        {
            // There is no limit to what a connection carries.
            response.truncated = false;
        }
        if let Some(round) = self.rounds.last_mut() {
            round.queries.push(query);
        }
        response
    }

    /// Asks once more, perhaps.
    pub(super) fn may_ask(
        &mut self,
        name: &str,
        kind: QuestionKind,
        server: usize,
        transport: Transport,
    ) -> Option<Response> {
        let response = self.ask(name, kind, server, transport);
        if let Some(query) = self.rounds.last_mut().and_then(|round| round.queries.last_mut()) {
            query.is_certain = false;
        }
        response
    }

    /// What was asked, rounds without a question left out.
    pub(super) fn rounds(self) -> Vec<Round> {
        self.rounds.into_iter().filter(|round| !round.queries.is_empty()).collect()
    }
}
