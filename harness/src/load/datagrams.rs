//! Datagrams from both ends: which arrived where, which were rejected, and which nobody saw. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::timeline::{Event, Timeline};
use crate::wire::{FailureClass, ReceivedDatagrams, SentDatagrams};

/// What senders sent and receivers got, datagram by datagram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// Each datagram in time: the receiver's name, or how it was lost. A timeout is one that nobody saw.
    pub line: Timeline,
    /// Datagrams that arrived more than once, or at more than one receiver.
    pub doubled: Vec<String>,
    /// Datagrams that arrived and were never sent.
    pub unknown: Vec<String>,
}

/// What one sender sent: the vantage that it stood at, what its datagrams start with, and its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The vantage, or what the flow is to be called.
    pub vantage: String,
    /// What its datagrams start with.
    pub id: String,
    /// What it sent.
    pub sent: SentDatagrams,
}

impl Arrivals {
    /// Holds both ends against each other; each receiver has a name.
    pub fn of(sent: &[Sent], received: &[(String, Vec<ReceivedDatagrams>)]) -> Self {
        let mut arrived: BTreeMap<(&str, u64), Vec<(&str, u64)>> = BTreeMap::new();
        for (receiver, from) in received {
            for one in from {
                for (number, at_us) in one.numbers.iter().zip(&one.at_us) {
                    arrived.entry((&one.id, *number)).or_default().push((receiver, *at_us));
                }
            }
        }
        let mut arrivals = Self::default();
        for Sent { vantage, id, sent } in sent {
            let failed: BTreeMap<u64, FailureClass> = sent.failed.iter().copied().collect();
            for (number, start_us) in (0_u64..).zip(sent.at_us.iter().copied()) {
                let name = format!("{id}-{number}");
                let came = arrived.remove(&(id.as_str(), number)).unwrap_or_default();
                if came.len() > 1 {
                    arrivals.doubled.push(name.clone());
                }
                let lost = failed.get(&number).copied().unwrap_or(FailureClass::Timeout);
                let (end_us, outcome) = match came.first() {
                    Some((receiver, at_us)) => (*at_us, Ok((*receiver).to_owned())),
                    None => (start_us, Err(lost)),
                };
                // The clocks of both are the machine's own; what is read first may still be a little later.
                let end_us = end_us.max(start_us);
                arrivals.line.events.push(Event { vantage: vantage.clone(), id: name, start_us, end_us, outcome });
            }
        }
        arrivals.unknown = arrived.into_keys().map(|(id, number)| format!("{id}-{number}")).collect();
        arrivals.line.events.sort_by_key(|event| event.start_us);
        arrivals
    }

    /// Whether each datagram that arrived was sent, and arrived once.
    pub fn is_exact(&self) -> bool {
        self.doubled.is_empty() && self.unknown.is_empty()
    }

    /// Where the datagrams went that `vantage` sent from one moment to another: how many to each receiver, or lost in each
    /// way.
    pub fn between(&self, vantage: &str, from_us: u64, to_us: u64) -> Went {
        let mut went = Went::default();
        let of_vantage = self.line.events.iter().filter(|event| event.vantage == vantage);
        for event in of_vantage.filter(|event| (from_us..=to_us).contains(&event.start_us)) {
            match &event.outcome {
                Ok(receiver) => *went.to.entry(receiver.clone()).or_default() += 1,
                Err(class) => *went.lost.entry(*class).or_default() += 1,
            }
        }
        went
    }
}

/// Where some datagrams went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Went {
    /// How many each receiver got.
    pub to: BTreeMap<String, u64>,
    /// How many were lost, by how the sender was told.
    pub lost: BTreeMap<FailureClass, u64>,
}

impl Went {
    /// Those that got any.
    pub fn receivers(&self) -> BTreeSet<&str> {
        self.to.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64, failed: &[(u64, FailureClass)]) -> Sent {
        let at_us = (0..count).map(|number| 1_000 * (number + 1)).collect();
        let sent = SentDatagrams { at_us, failed: failed.to_vec() };
        Sent { vantage: "testpod".to_owned(), id: "r-testpod".to_owned(), sent }
    }

    fn received(numbers: &[u64]) -> ReceivedDatagrams {
        ReceivedDatagrams {
            id: "r-testpod".to_owned(),
            source: ([10, 244, 1, 7], 40_000).into(),
            numbers: numbers.to_vec(),
            at_us: numbers.iter().map(|number| 1_000 * (number + 1) + 30).collect(),
        }
    }

    fn at(receiver: &str, numbers: &[u64]) -> (String, Vec<ReceivedDatagrams>) {
        (receiver.to_owned(), vec![received(numbers)])
    }

    #[test]
    fn each_datagram_is_where_it_arrived_or_lost_in_the_way_that_was_told() {
        let both = [at("a", &[0, 1]), at("b", &[4])];
        let arrivals = Arrivals::of(&[sent(5, &[(2, FailureClass::Refused)])], &both);
        assert!(arrivals.is_exact());
        let outcomes: Vec<_> = arrivals.line.events.iter().map(|event| event.outcome.as_deref()).collect();
        let (refused, lost) = (FailureClass::Refused, FailureClass::Timeout);
        assert_eq!(outcomes, [Ok("a"), Ok("a"), Err(&refused), Err(&lost), Ok("b")]);
        let went = arrivals.between("testpod", 2_000, 4_000);
        assert_eq!(went.receivers(), ["a"].into());
        assert_eq!(went.lost, [(refused, 1), (lost, 1)].into());
        assert_eq!(arrivals.between("laptop", 0, 9_000), Went::default());
    }

    #[test]
    fn what_came_twice_and_what_nobody_sent_is_listed() {
        let both = [at("a", &[0, 1, 1]), at("b", &[0, 7])];
        let arrivals = Arrivals::of(&[sent(2, &[])], &both);
        assert_eq!(arrivals.doubled, ["r-testpod-0", "r-testpod-1"]);
        assert_eq!(arrivals.unknown, ["r-testpod-7"]);
        assert!(!arrivals.is_exact());
    }

    #[test]
    fn a_datagram_that_arrived_is_no_failure_whatever_the_sender_was_told() {
        let arrivals = Arrivals::of(&[sent(1, &[(0, FailureClass::Refused)])], &[at("a", &[0])]);
        assert_eq!(arrivals.line.failed().count(), 0);
    }
}
