//! What can be concluded from a run of hey and the client addresses in the logs, and what cannot.
//!
//! That is how people check a load balancer by hand, and how the tutorial does. It knows no request ids and no
//! connections, so its conclusions end early; this says where.

use std::{collections::BTreeMap, fmt};

use super::{
    hey::Hey,
    statistics::{ALPHA, Law, SharesTest, smallest_effect},
};
use crate::{Error, ErrorKind, Result};

/// A run of hey with keep-alive, and the counts from the servers' logs.
///
/// ```
/// use reachmap::load::{hey::Hey, recorded::Recorded};
/// let hey = Hey::parse("Summary: Total: 1 secs Requests/sec: 30 Status code distribution: [200] 30 responses")?;
/// let recorded = Recorded::of(&hey, 3, &[("10.244.1.1", 10), ("10.244.2.1", 20)])?;
/// assert_eq!(recorded.sums_agree(), Some(true));
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// How many requests hey saw answered with 200.
    pub ok: u64,
    /// How many it saw answered with another status.
    pub other_statuses: u64,
    /// How many it saw fail.
    pub failed: u64,
    /// How many connections it kept: its `-c`. It opens another for one that is lost, so there may have been more.
    pub connections: u64,
    /// How many lines the logs hold for each client address.
    pub by_client: BTreeMap<String, u64>,
    /// The p-value of even counts if each request had been a choice of its own; that is wrong, and shown for that.
    /// Absent with fewer than two addresses.
    pub naive_p: Option<f64>,
    /// The smallest shift of a share that so many connections show with a power of 0.99; absent if not even the largest.
    pub smallest_effect: Option<f64>,
}

impl Recorded {
    /// Puts both ends side by side. `connections` is hey's `-c`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without a connection, or if an address comes twice.
    pub fn of<S: AsRef<str>>(hey: &Hey, connections: u64, by_client: &[(S, u64)]) -> Result<Self> {
        if connections == 0 {
            return Err(Error::new(ErrorKind::Usage, "judge a run of hey", "it had no connection")
                .hint("Give the number that hey was given with `-c`; its default is 50."));
        }
        let ok = hey.statuses.get(&200).copied().unwrap_or_default();
        let counts: Vec<u64> = by_client.iter().map(|(_, count)| *count).collect();
        let lines: u64 = counts.iter().sum();
        let (mut naive_p, mut effect) = (None, None);
        if counts.len() > 1 {
            let law = Law::even(by_client.iter().map(|(client, _)| client.as_ref()))?;
            naive_p = (lines > 0).then(|| SharesTest::new(lines, &law.shares()).p(&counts));
            effect = smallest_effect(&law, connections, ALPHA, 0.99)?;
        }
        Ok(Self {
            ok,
            other_statuses: hey.answered() - ok,
            failed: hey.failed(),
            connections,
            by_client: by_client.iter().map(|(client, count)| (client.as_ref().to_owned(), *count)).collect(),
            naive_p,
            smallest_effect: effect,
        })
    }

    /// How many lines the logs hold.
    pub fn logged(&self) -> u64 {
        self.by_client.values().sum()
    }

    /// Whether the logs hold as many lines as hey saw answers; `None` if hey saw other statuses than 200 and counts of
    /// lines cannot tell which they are of.
    pub fn sums_agree(&self) -> Option<bool> {
        (self.other_statuses == 0).then(|| self.logged() == self.ok)
    }

    /// What follows, one sentence each.
    pub fn conclusions(&self) -> Vec<String> {
        let Self { ok, failed, connections, .. } = self;
        let logged = self.logged();
        let mut sentences = Vec::new();
        match self.sums_agree() {
            Some(true) => sentences.push(format!("The sums agree: {ok} answers with status 200, {logged} lines in the logs.")),
            Some(false) => {
                sentences.push(format!("The sums do not agree: {ok} answers with status 200, {logged} lines in the logs."));
            }
            None => sentences.push(format!(
                "The sums cannot be compared: {ok} answers with status 200, {} with others, {logged} lines in the logs.",
                self.other_statuses
            )),
        }
        if *failed > 0 {
            sentences.push(if self.sums_agree() == Some(true) {
                format!("If each answer was logged once, the {failed} requests that failed were never logged: no server answered them.")
            } else {
                format!("{failed} requests failed; whether a server logged them cannot be told.")
            });
        }
        sentences.push(
            "Counts alone prove neither: a line for a request that failed and an answer without a line would cancel out. \
             That takes request ids."
                .to_owned(),
        );
        sentences.push(format!(
            "The sample is the connections, not the requests: hey keeps {connections}, more only if it has to replace some."
        ));
        if let Some(p) = self.naive_p {
            let verdict = if p <= ALPHA { "would reject evenness" } else { "would not reject evenness" };
            sentences.push(format!(
                "A test of the {logged} requests as if they were independent {verdict} (p = {p:.1e}), and proves nothing: \
                 they are not."
            ));
            sentences.push(match self.smallest_effect {
                Some(effect) => format!(
                    "{connections} connections would show a share that is off by {:.0} points, and nothing smaller, with a \
                     power of 99 %.",
                    effect * 100.0
                ),
                None => format!("{connections} connections are too few to show any uneven share with a power of 99 %."),
            });
        }
        sentences.push(
            "A client address does not say which pod wrote the line, nor, behind masquerading, who the client was: that takes \
             the pods' logs one by one, and the routes between the nodes."
                .to_owned(),
        );
        sentences
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.conclusions().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::hey::tests::TUTORIAL;

    const LOGS: [(&str, u64); 3] = [("10.244.1.1", 334), ("10.244.2.1", 235), ("10.244.4.1", 405)];

    #[test]
    fn the_tutorials_run_proves_less_than_it_seems_to() {
        let recorded = Recorded::of(&Hey::parse(TUTORIAL).unwrap(), 50, &LOGS).unwrap();
        assert_eq!((recorded.ok, recorded.failed, recorded.logged()), (974, 26, 974));
        assert_eq!(recorded.sums_agree(), Some(true));
        // A perfect balancer would be called uneven; yet the sample cannot even show a shift by a quarter.
        assert!(recorded.naive_p.unwrap() < 1e-9);
        assert!(recorded.smallest_effect.unwrap() > 0.25);
        let text = recorded.to_string();
        for part in [
            "The sums agree: 974 answers with status 200, 974 lines in the logs.",
            "the 26 requests that failed were never logged",
            "That takes request ids.",
            "hey keeps 50",
            "974 requests as if they were independent would reject evenness",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_line_too_many_or_another_status_is_said() {
        let mut hey = Hey::parse(TUTORIAL).unwrap();
        let more = Recorded::of(&hey, 50, &[("10.244.1.1", 975)]).unwrap();
        assert_eq!((more.sums_agree(), more.naive_p), (Some(false), None));
        assert!(more.to_string().contains("whether a server logged them cannot be told"));
        hey.statuses.insert(404, 1);
        assert_eq!(Recorded::of(&hey, 50, &LOGS).unwrap().sums_agree(), None);
    }

    #[test]
    fn a_run_without_connections_is_refused() {
        let refused = Recorded::of(&Hey::default(), 0, &LOGS).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage);
    }
}
