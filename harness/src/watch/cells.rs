//! The cells that are watched, and what is known of each.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::{
    Result,
    filter::Filter,
    matrix::{Matrix, Stage},
    model::Method,
    report,
    session::Session,
    state::State,
};

/// How many cells are probed side by side.
const AT_ONCE: usize = 64;

/// The time between two looks at cells that are not as expected yet.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// What is the same as long as the verdict is.
    essence: String,
    /// The verdict, in a few words.
    verdict: String,
    /// The reason.
    reason: String,
    is_as_expected: bool,
}

/// A cell whose verdict changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Turn {
    /// The cell, `vantage/method`.
    pub(crate) cell: String,
    /// The verdict before, in a few words; none when it was not known yet.
    pub(crate) before: Option<String>,
    /// The verdict now.
    pub(crate) after: String,
    /// The reason for it.
    pub(crate) reason: String,
    /// Whether the cell is as expected now.
    pub(crate) is_as_expected: bool,
}

/// The cells that are watched: vantages and access methods, in whatever state the cluster is.
#[derive(Debug)]
pub(crate) struct Cells {
    chosen: Vec<(String, Method)>,
    known: BTreeMap<String, Known>,
}

impl Cells {
    /// Those of the tutorial's matrix that `only` chooses, by vantage and method. There are no stages here: a pattern's stage matches
    /// if the matrix has the cell in it.
    ///
    /// # Errors
    /// As [`Filter::choose`].
    pub(crate) fn choose(only: Option<&Filter>, workers: u8) -> Result<Self> {
        let all = Matrix::tutorial(workers);
        let cells = match only {
            Some(only) => only.choose(&all, &[])?,
            None => all.into_iter().filter(|cell| cell.stage == Stage::LoadBalancerPending).collect(),
        };
        let mut chosen: Vec<(String, Method)> = Vec::new();
        for cell in cells {
            if !chosen.iter().any(|(vantage, method)| *vantage == cell.vantage && method.id == cell.method) {
                chosen.push((cell.vantage.clone(), cell.method_with(workers)?));
            }
        }
        Ok(Self { chosen, known: BTreeMap::new() })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.chosen.len()
    }

    /// How many of them are not as expected.
    pub(crate) fn wrong(&self) -> usize {
        self.known.values().filter(|known| !known.is_as_expected).count()
    }

    /// Whether one could not be probed: its agent may be gone.
    pub(crate) fn has_lost_one(&self) -> bool {
        self.known.values().any(|known| known.essence == LOST)
    }

    /// Probes all (or, `wrong`: those that are not as expected) until they are as expected or the time is up, and says which are not
    /// as they were before.
    ///
    /// A change takes a moment to reach every node: what is not as expected at first is probed again, each time against the state of
    /// that moment.
    pub(crate) async fn turn(&mut self, session: &Session, wrong: bool, patience: Duration) -> Result<Vec<Turn>> {
        let end = Instant::now() + patience;
        let before = self.known.clone();
        let mut probed: Vec<(String, Method)> =
            self.chosen.iter().filter(|(vantage, method)| !wrong || self.is_wrong(vantage, method)).cloned().collect();
        loop {
            let state = session.snapshot().await?;
            self.probe(session, &state, &probed).await;
            probed.retain(|(vantage, method)| self.is_wrong(vantage, method));
            let next = Instant::now() + AGAIN;
            if probed.is_empty() || next > end {
                return Ok(turns(&before, &self.known));
            }
            sleep_until(next).await;
        }
    }

    fn is_wrong(&self, vantage: &str, method: &Method) -> bool {
        self.known.get(&id(vantage, method)).is_none_or(|known| !known.is_as_expected)
    }

    async fn probe(&mut self, session: &Session, state: &State, cells: &[(String, Method)]) {
        let probes = cells.iter().map(async |(vantage, method)| {
            let seen = match session.judge(state, vantage, method.clone()).await {
                Ok(verdict) => {
                    let (essence, said) = report::essence(&verdict);
                    let is_as_expected = verdict.is_as_expected();
                    Known { essence, verdict: said.verdict, reason: said.reason, is_as_expected }
                }
                Err(error) => Known {
                    essence: LOST.to_owned(),
                    verdict: "could not be probed".to_owned(),
                    reason: error.to_string(),
                    is_as_expected: false,
                },
            };
            (id(vantage, method), seen)
        });
        let seen: Vec<(String, Known)> = stream::iter(probes).buffer_unordered(AT_ONCE).collect().await;
        self.known.extend(seen);
    }
}

/// The essence of a cell that could not be probed.
const LOST: &str = "lost";

fn id(vantage: &str, method: &Method) -> String {
    format!("{vantage}/{method}")
}

fn turns(before: &BTreeMap<String, Known>, now: &BTreeMap<String, Known>) -> Vec<Turn> {
    let changed = now.iter().filter(|(cell, known)| before.get(*cell).is_none_or(|was| was.essence != known.essence));
    changed
        .map(|(cell, known)| Turn {
            cell: cell.clone(),
            before: before.get(cell).map(|was| was.verdict.clone()),
            after: known.verdict.clone(),
            reason: known.reason.clone(),
            is_as_expected: known.is_as_expected,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn cells_are_chosen_once_whatever_stages_they_are_in() {
        let all = Cells::choose(None, 3).unwrap();
        assert_eq!(
            all.len(),
            Matrix::tutorial(3).iter().filter(|cell| cell.stage == Stage::LoadBalancerPending).count()
        );
        let filter = Filter::parse("laptop/pod-ip, laptop/loadbalancer-address").unwrap();
        let ids: Vec<String> = Cells::choose(Some(&filter), 3)
            .unwrap()
            .chosen
            .iter()
            .map(|(vantage, method)| id(vantage, method))
            .collect();
        assert_eq!(ids, ["laptop/pod-ip", "laptop/loadbalancer-address"]);
    }

    #[test]
    fn a_filter_that_matches_nothing_is_refused() {
        let filter = Filter::parse("labtop").unwrap();
        assert_eq!(Cells::choose(Some(&filter), 3).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn only_cells_whose_verdict_is_another_are_told() {
        let known = |essence: &str, reason: &str| Known {
            essence: essence.to_owned(),
            verdict: essence.to_owned(),
            reason: reason.to_owned(),
            is_as_expected: essence == "reached",
        };
        let before = BTreeMap::from([
            ("a".to_owned(), known("reached", "by 10.0.0.1")),
            ("b".to_owned(), known("reached", "by 10.0.0.1")),
        ]);
        let now = BTreeMap::from([
            ("a".to_owned(), known("reached", "by 10.0.0.2")),
            ("b".to_owned(), known("not reached", "no endpoint")),
            ("c".to_owned(), known("reached", "")),
        ]);
        let turns = turns(&before, &now);
        let told: Vec<_> = turns.iter().map(|turn| (turn.cell.as_str(), turn.before.as_deref())).collect();
        assert_eq!(told, [("b", Some("reached")), ("c", None)]);
        assert_eq!((turns[0].reason.as_str(), turns[0].is_as_expected), ("no endpoint", false));
    }
}
