//! Many tests, one alpha.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ALPHA, Finding, Judgement};
use crate::{Error, ErrorKind, Result};

/// A family of tests of which not one may fail falsely, but with a chance of alpha in all.
///
/// Holm's step-down procedure (S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal
/// of Statistics 6, 1979): it holds whatever the tests have to do with each other.
///
/// Tests that were planned and not made count as the last in order. So whoever sees one test only, and compares its p-value
/// with alpha by the number of tests (Bonferroni), never rejects what the whole family would not: its first step is the same.
/// A family in which no test is rejected by itself has none rejected by Holm either; in another, Holm may find more.
///
/// ```
/// use reachmap::load::statistics::Holm;
/// let mut holm = Holm::new(0.05);
/// holm.add("a", 0.01)?.add("b", 0.04)?.add("c", 0.03)?;
/// let rejected: Vec<_> = holm.decide().into_iter().map(|decision| decision.rejected).collect();
/// assert_eq!(rejected, [true, false, false]);
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Holm {
    alpha: f64,
    planned: u32,
    family: Vec<(String, f64)>,
}

/// What became of one test of a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The test's name.
    pub name: String,
    /// Its own p-value.
    pub p: f64,
    /// The smallest family-wise alpha at which it would be rejected.
    pub adjusted: f64,
    /// Whether it is.
    pub rejected: bool,
}

impl Default for Holm {
    fn default() -> Self {
        Self::new(ALPHA)
    }
}

impl Holm {
    /// An empty family with a family-wise alpha.
    pub const fn new(alpha: f64) -> Self {
        Self { alpha, planned: 0, family: Vec::new() }
    }

    /// The same, of at least so many tests: those that are not added were not made.
    #[must_use]
    pub const fn planned(mut self, tests: u32) -> Self {
        self.planned = tests;
        self
    }

    /// Adds a test.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if `p` is no probability.
    pub fn add(&mut self, name: impl Into<String>, p: f64) -> Result<&mut Self> {
        let name = name.into();
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::new(ErrorKind::Internal, format!("judge {name}"), format!("its p-value is {p}")));
        }
        self.family.push((name, p));
        Ok(self)
    }

    /// The decisions, in the order in which the tests were added.
    pub fn decide(&self) -> Vec<Decision> {
        let mut order: Vec<usize> = (0..self.family.len()).collect();
        order.sort_by(|a, b| self.family[*a].1.total_cmp(&self.family[*b].1));
        let mut adjusted = vec![0.0; order.len()];
        let mut largest: f64 = 0.0;
        let mut left = super::law::real((order.len() as u64).max(self.planned.into()));
        for index in order {
            largest = largest.max((left * self.family[index].1).min(1.0));
            adjusted[index] = largest;
            left -= 1.0;
        }
        let decision = |((name, p), adjusted): (&(String, f64), f64)| Decision {
            name: name.clone(),
            p: *p,
            adjusted,
            rejected: adjusted <= self.alpha,
        };
        self.family.iter().zip(adjusted).map(decision).collect()
    }

    /// Takes the p-values of `judgements` into the family and settles their verdicts; exact laws are left as they are.
    /// Give it all judgements of the family at once: it is of as many tests as they were planned for.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there are more tests than a judgement's plan allowed for: its power would be less than it
    /// says. [`ErrorKind::Internal`] if a p-value is no probability.
    pub fn settle<'a>(mut self, judgements: impl IntoIterator<Item = &'a mut Judgement>) -> Result<Vec<Decision>> {
        let mut tested: Vec<&mut Judgement> =
            judgements.into_iter().filter(|judgement| judgement.p.is_some()).collect();
        for judgement in &tested {
            self.add(format!("{} ({})", judgement.name, judgement.question), judgement.p.unwrap_or_default())?;
        }
        let tests = self.family.len();
        let plans = || tested.iter().map(|judgement| judgement.tests);
        if let Some(planned) = plans().min()
            && tests as u64 > u64::from(planned)
        {
            let cause = format!("there are {tests} tests, and a plan for {planned}");
            return Err(Error::new(ErrorKind::Usage, "judge the load's distribution", cause)
                .hint("Plan with the laws of all rows at once, so that each test has the power that it states."));
        }
        let planned = plans().max().unwrap_or_default().max(self.planned);
        let alpha = self.alpha;
        let decisions = self.planned(planned).decide();
        let others = tests - tested.len();
        for (judgement, decision) in tested.iter_mut().zip(&decisions[others..]) {
            judgement.alpha = alpha;
            judgement.adjusted_p = Some(decision.adjusted);
            judgement.verdict = if decision.rejected { Finding::Departs } else { Finding::Consistent };
        }
        Ok(decisions)
    }
}
