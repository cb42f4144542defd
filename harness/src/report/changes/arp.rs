//! Who answered for a load balancer's address on the link while it moved.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{load::arp::Answered, report::words};

/// Who answered for an address by ARP while it moved from node to node, as a host on the nodes' network saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArpRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// How often it was asked who has it.
    pub questions: u64,
    /// How many of the questions nobody answered.
    pub by_nobody: u64,
    /// How many of them more than one node answered.
    pub by_several: u64,
    /// Which node answered, one after the other.
    pub moves: Vec<ArpMove>,
    /// How many gratuitous ARP packets were heard from each node.
    pub gratuitous: BTreeMap<String, u64>,
}

/// A node that began to answer in another one's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArpMove {
    /// The node.
    pub node: String,
    /// How long after the change began it was asked for the first time that it answered and the one before it did not, in
    /// microseconds; 0 if that was before.
    pub after_us: u64,
}

impl ArpRecord {
    /// The record of who `answered`, for a change that began at `since_us`.
    pub fn of(answered: &Answered, since_us: u64) -> Self {
        let mut gratuitous = BTreeMap::new();
        for (_, node) in &answered.gratuitous {
            *gratuitous.entry(node.clone()).or_default() += 1;
        }
        let moved =
            |(at_us, node): (u64, &str)| ArpMove { node: node.to_owned(), after_us: at_us.saturating_sub(since_us) };
        Self {
            address: answered.address,
            questions: answered.questions.len() as u64,
            by_nobody: answered.by_nobody().count() as u64,
            by_several: answered.by_several().count() as u64,
            moves: answered.moves().into_iter().map(moved).collect(),
            gratuitous,
        }
    }
}

/// As reports say it.
impl fmt::Display for ArpRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moved = |moved: &ArpMove| match moved.after_us {
            0 => words::visible(&moved.node),
            after => format!("{} from {} on", words::visible(&moved.node), words::time(after)),
        };
        let said = |(node, count): (&String, &u64)| format!("{} {count}", words::visible(node));
        let number = |count| if count == 0 { "none".to_owned() } else { format!("{count}") };
        write!(
            f,
            "Who has {} (ARP, asked {} times): {}. Without an answer: {}. Answered by more than one node: {}. \
             Gratuitous packets: {}.",
            self.address,
            self.questions,
            listed(self.moves.iter().map(moved)),
            number(self.by_nobody),
            number(self.by_several),
            listed(self.gratuitous.iter().map(said)),
        )
    }
}

fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::arp::Question;

    #[test]
    fn a_move_is_told_in_one_sentence() {
        let question =
            |at_us: u64, by: &[&str]| Question { at_us, by: by.iter().map(|node| (*node).to_owned()).collect() };
        let answered = Answered {
            address: [172, 18, 255, 200].into(),
            questions: vec![
                question(100, &["worker-1"]),
                question(200, &[]),
                question(900_300, &["worker-2"]),
                question(9_000_300, &["worker-1", "worker-2"]),
                question(9_100_300, &["worker-1"]),
            ],
            gratuitous: vec![(900_200, "worker-2".to_owned()), (900_400, "worker-2".to_owned())],
        };
        insta::assert_snapshot!(
            ArpRecord::of(&answered, 300),
            @"Who has 172.18.255.200 (ARP, asked 5 times): worker-1, worker-2 from 900.0 ms on, worker-1 from 9.1 s on. Without an answer: 1. Answered by more than one node: 1. Gratuitous packets: worker-2 2."
        );
        let never = Answered { questions: Vec::new(), gratuitous: Vec::new(), ..answered };
        insta::assert_snapshot!(
            ArpRecord::of(&never, 300),
            @"Who has 172.18.255.200 (ARP, asked 0 times): none. Without an answer: none. Answered by more than one node: none. Gratuitous packets: none."
        );
    }
}
