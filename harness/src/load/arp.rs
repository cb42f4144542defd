//! Who answered for an address on the link in time, by node: what a watch of ARP has seen, read. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use crate::wire::{ArpAudience, SeenArp};

/// Who answered for an address, question by question, and who said unasked that it is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The address.
    pub address: Ipv4Addr,
    /// Every question about it, in the order in which they were asked.
    pub questions: Vec<Question>,
    /// Every gratuitous ARP packet about it: when it came, in microseconds since 1970, and from which node.
    pub gratuitous: Vec<(u64, String)>,
}

/// One question, and who answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// When it was asked, in microseconds since 1970.
    pub at_us: u64,
    /// The nodes that answered, each of which says that the address is theirs; a hardware address where no node has it.
    pub by: BTreeSet<String>,
}

impl Answered {
    /// What `seen` tells of `address`. The hardware addresses of `nodes` are those that answered for the nodes' own addresses
    /// in the same watch.
    ///
    /// ```
    /// use reachmap::{load::arp::Answered, wire::{ArpAudience, HeardArp, SeenArp}};
    /// let [address, own] = [[172, 18, 255, 200], [172, 18, 0, 3]].map(std::net::Ipv4Addr::from);
    /// let heard = |number, address| {
    ///     let (from, to) = ("02:42:ac:12:00:03".to_owned(), ArpAudience::Question(number));
    ///     HeardArp { at_us: 120 + number, address, from, to }
    /// };
    /// let asked = vec![(100, address), (100, own), (200, address)];
    /// let seen = SeenArp { asked, heard: vec![heard(0, address), heard(1, own)] };
    /// let answered = Answered::of(&seen, address, &[("worker-1".to_owned(), own.into())].into());
    /// assert!(answered.questions[0].by.contains("worker-1"));
    /// assert!(answered.questions[1].by.is_empty());
    /// ```
    pub fn of(seen: &SeenArp, address: Ipv4Addr, nodes: &BTreeMap<String, IpAddr>) -> Self {
        let owner = |of: Ipv4Addr| nodes.iter().find(|(_, own)| **own == of).map(|(node, _)| node.clone());
        let own = seen.heard.iter().filter_map(|heard| Some((heard.from.as_str(), owner(heard.address)?)));
        let names: BTreeMap<&str, String> = own.collect();
        let name = |hardware: &str| names.get(hardware).cloned().unwrap_or_else(|| hardware.to_owned());
        let mut answers: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        let mut gratuitous = Vec::new();
        for heard in seen.heard.iter().filter(|heard| heard.address == address) {
            match heard.to {
                ArpAudience::Question(number) => {
                    answers.entry(number).or_default().insert(name(&heard.from));
                }
                ArpAudience::Everybody => gratuitous.push((heard.at_us, name(&heard.from))),
                ArpAudience::Other => {}
            }
        }
        let about_it = (0_u64..).zip(&seen.asked).filter(|(_, (_, about))| *about == address);
        let questions = about_it
            .map(|(number, (at_us, _))| Question { at_us: *at_us, by: answers.remove(&number).unwrap_or_default() });
        Self { address, questions: questions.collect(), gratuitous }
    }

    /// From when on each node answered, one after the other: the first question that it answered and its forerunner did not.
    pub fn moves(&self) -> Vec<(u64, &str)> {
        let mut moves: Vec<(u64, &str)> = Vec::new();
        for question in &self.questions {
            let last = moves.last().map(|(_, node)| *node);
            if last.is_some_and(|last| question.by.contains(last)) {
                continue;
            }
            moves.extend(question.by.first().map(|node| (question.at_us, node.as_str())));
        }
        moves
    }

    /// The questions that more than one node answered.
    pub fn by_several(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter().filter(|question| question.by.len() > 1)
    }

    /// The questions that nobody answered.
    pub fn by_nobody(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter().filter(|question| question.by.is_empty())
    }

    /// The questions outside of the `windows` (from, to) that were not answered by exactly one node: what no move excuses.
    pub fn not_by_one_outside(&self, windows: &[(u64, u64)]) -> Vec<&Question> {
        let excused = |question: &&Question| windows.iter().any(|(from, to)| (*from..=*to).contains(&question.at_us));
        self.questions.iter().filter(|question| question.by.len() != 1 && !excused(question)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HeardArp;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 18, 255, 200);

    fn node(number: u8) -> (String, IpAddr) {
        (format!("worker-{number}"), [172, 18, 0, number].into())
    }

    fn heard(at_us: u64, address: Ipv4Addr, from: u8, to: ArpAudience) -> HeardArp {
        HeardArp { at_us, address, from: format!("02:42:ac:12:00:0{from}"), to }
    }

    /// Five questions about the address, each of which is answered by these; and one about each of two nodes.
    fn answered(by: [&[u8]; 5]) -> Answered {
        let own = |number| Ipv4Addr::new(172, 18, 0, number);
        let mut seen = SeenArp { asked: vec![(1, own(1)), (1, own(2))], heard: Vec::new() };
        seen.heard.extend([1, 2].map(|number| heard(2, own(number), number, ArpAudience::Question(number.into()))));
        for (at_us, nodes) in (10..).step_by(10).zip(by) {
            let number = ArpAudience::Question(seen.asked.len() as u64);
            seen.asked.push((at_us, ADDRESS));
            seen.heard.extend(nodes.iter().map(|node| heard(at_us + 1, ADDRESS, *node, number)));
        }
        seen.heard.push(heard(35, ADDRESS, 2, ArpAudience::Everybody));
        seen.heard.push(heard(36, ADDRESS, 2, ArpAudience::Other));
        Answered::of(&seen, ADDRESS, &[node(1), node(2)].into())
    }

    #[test]
    fn a_move_is_seen_with_what_came_in_between() {
        let answered = answered([&[1], &[1], &[], &[2], &[2]]);
        assert_eq!(answered.moves(), [(10, "worker-1"), (40, "worker-2")]);
        assert_eq!(answered.by_nobody().map(|question| question.at_us).collect::<Vec<_>>(), [30]);
        assert_eq!(answered.by_several().count(), 0);
        assert_eq!(answered.gratuitous, [(35, "worker-2".to_owned())]);
        assert_eq!(answered.not_by_one_outside(&[(30, 30)]), Vec::<&Question>::new());
        assert_eq!(answered.not_by_one_outside(&[(31, 90)]), [&answered.questions[2]]);
    }

    #[test]
    fn two_that_answer_are_no_move_until_the_first_is_silent() {
        let answered = answered([&[1], &[1, 2], &[1, 2], &[2], &[2]]);
        assert_eq!(answered.moves(), [(10, "worker-1"), (40, "worker-2")]);
        assert_eq!(answered.by_several().count(), 2);
        assert_eq!(answered.not_by_one_outside(&[(20, 25)]), [&answered.questions[2]]);
    }

    #[test]
    fn whom_nobody_knows_is_called_by_the_hardware_address() {
        let answered = answered([&[3], &[], &[], &[], &[]]);
        assert_eq!(answered.moves(), [(10, "02:42:ac:12:00:03")]);
    }
}
