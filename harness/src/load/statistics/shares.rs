//! Does each endpoint get its share? The exact multinomial test, and the G-test where that would take too long.

use statrs::{
    distribution::{ChiSquared, ContinuousCDF as _},
    function::factorial::ln_factorial,
};

use super::{law::real, noncentral};

/// How many outcomes the exact test enumerates at most: 315 connections over 3 endpoints, 95 over 4, 49,999 over 2.
pub(super) const MOST_OUTCOMES: u64 = 50_000;

/// How many connections each endpoint must expect for the G-test: with fewer, chi-square is no good approximation of its
/// far tail. Cochran's well-known 5 is for an alpha of 0.05.
const LEAST_EXPECTED: f64 = 10.0;

/// How much apart two probabilities may be and yet be the same, given how they are computed.
const TIE: f64 = 1e-7;

/// The test of the counts of `n` connections against shares, made once for any number of samples.
#[derive(Debug, Clone)]
pub(in crate::load) struct SharesTest {
    n: u64,
    shares: Vec<f64>,
    exact: Option<Exact>,
}

/// The exact distribution of a sample's probability under the shares.
#[derive(Debug, Clone)]
struct Exact {
    /// `ln c!` for every count.
    ln_factorials: Vec<f64>,
    /// The probabilities of all outcomes, in ascending order, and their sums.
    probabilities: Vec<f64>,
    sums: Vec<f64>,
}

impl SharesTest {
    /// The test for `n` connections. The shares add up to 1.
    pub(in crate::load) fn new(n: u64, shares: &[f64]) -> Self {
        let exact = is_exact(n, shares.len()).then(|| Exact::new(n, shares));
        Self { n, shares: shares.to_vec(), exact }
    }

    /// Whether every outcome is enumerated.
    pub(in crate::load) const fn is_exact(&self) -> bool {
        self.exact.is_some()
    }

    /// The chance of counts that are no more likely than these.
    pub(in crate::load) fn p(&self, counts: &[u64]) -> f64 {
        match &self.exact {
            Some(exact) => exact.p(exact.ln_probability(counts, &self.shares).exp()),
            None => ChiSquared::new(self.degrees()).map_or(f64::NAN, |chi| chi.sf(self.g(counts))),
        }
    }

    /// The statistic G, twice the log-likelihood ratio, divided by Williams' correction (D. A. Williams, *Improved
    /// likelihood ratio tests for complete contingency tables*, Biometrika 63, 1976), without which it is a little
    /// too large.
    pub(in crate::load) fn g(&self, counts: &[u64]) -> f64 {
        let term = |(count, share): (&u64, &f64)| match *count {
            0 => 0.0,
            count => real(count) * (real(count) / (real(self.n) * share)).ln(),
        };
        let g = 2.0 * counts.iter().zip(&self.shares).map(term).sum::<f64>();
        let inverse: f64 = self.shares.iter().map(|share| 1.0 / share).sum();
        let williams = 1.0 + (inverse - 1.0) / (6.0 * real(self.n) * self.degrees());
        (g / williams).max(0.0)
    }

    /// The degrees of freedom of the statistic.
    pub(in crate::load) fn degrees(&self) -> f64 {
        real(self.shares.len() as u64 - 1)
    }

    /// The chance to reject at `alpha` if the shares are really `other`.
    ///
    /// The exact test's is summed up; the G-test's comes from the noncentral chi-square distribution.
    pub(super) fn power(&self, other: &[f64], alpha: f64) -> f64 {
        if let Some(exact) = &self.exact {
            let mut power = 0.0;
            for_each_outcome(self.n, self.shares.len(), &mut |counts| {
                if exact.p(exact.ln_probability(counts, &self.shares).exp()) <= alpha {
                    power += exact.ln_probability(counts, other).exp();
                }
            });
            return power.min(1.0);
        }
        approximate_power(self.n, &self.shares, other, alpha)
    }
}

/// The power of the G-test by the noncentral chi-square distribution.
///
/// The distribution is the limit for laws that come closer and closer; at a distance that can be found at all, the
/// log-likelihood ratio varies more than it says if the shift is upwards (J. S. Broffitt and R. H. Randles, *A power
/// approximation for the chi-square goodness-of-fit test*, Journal of the American Statistical Association 72, 1977).
/// So the statistic is scaled to have the variance that it has.
pub(super) fn approximate_power(n: u64, shares: &[f64], other: &[f64], alpha: f64) -> f64 {
    let ratios = || {
        shares.iter().zip(other).filter(|(_, other)| **other > 0.0).map(|(share, other)| (other, (other / share).ln()))
    };
    let mean: f64 = ratios().map(|(other, ratio)| other * ratio).sum();
    let variance: f64 = ratios().map(|(other, ratio)| other * (ratio - mean).powi(2)).sum();
    let scale = (variance / (2.0 * mean)).max(1.0);
    let degrees = real(shares.len() as u64 - 1);
    let limit = noncentral::critical(degrees, alpha);
    noncentral::survival(limit / scale, degrees, 2.0 * real(n) * mean / scale)
}

/// Whether all outcomes of `n` connections over `k` endpoints are enumerated.
pub(super) fn is_exact(n: u64, k: usize) -> bool {
    // The number of outcomes is n + k - 1 over k - 1, and whole after each step.
    let mut outcomes: u64 = 1;
    for step in 1..k as u64 {
        let Some(next) = outcomes.checked_mul(n.saturating_add(step)) else { return false };
        outcomes = next / step;
        if outcomes > MOST_OUTCOMES {
            return false;
        }
    }
    true
}

/// The fewest connections for which there is a test that can be trusted.
pub(super) fn fewest(shares: &[f64], n: u64) -> u64 {
    if is_exact(n, shares.len()) {
        return n;
    }
    let smallest = shares.iter().copied().fold(1.0, f64::min);
    n.max(super::plan::whole(LEAST_EXPECTED / smallest))
}

impl Exact {
    fn new(n: u64, shares: &[f64]) -> Self {
        let ln_factorials: Vec<f64> = (0..=n).map(ln_factorial).collect();
        let mut exact = Self { ln_factorials, probabilities: Vec::new(), sums: Vec::new() };
        let mut probabilities = Vec::new();
        for_each_outcome(n, shares.len(), &mut |counts| {
            probabilities.push(exact.ln_probability(counts, shares).exp());
        });
        probabilities.sort_by(f64::total_cmp);
        let mut sum = 0.0;
        exact.sums = probabilities
            .iter()
            .map(|probability| {
                sum += probability;
                sum
            })
            .collect();
        exact.probabilities = probabilities;
        exact
    }

    fn ln_probability(&self, counts: &[u64], shares: &[f64]) -> f64 {
        let ln_factorial =
            |count: u64| usize::try_from(count).ok().and_then(|count| self.ln_factorials.get(count)).copied();
        let term = |(count, share): (&u64, &f64)| match *count {
            // Nothing of a share that is nothing.
            0 => 0.0,
            count => real(count) * share.ln() - ln_factorial(count).unwrap_or(f64::INFINITY),
        };
        let whole = self.ln_factorials.last().copied().unwrap_or_default();
        whole + counts.iter().zip(shares).map(term).sum::<f64>()
    }

    fn p(&self, probability: f64) -> f64 {
        match self.probabilities.partition_point(|other| *other <= probability * (1.0 + TIE)) {
            0 => 0.0,
            number => self.sums[number - 1].min(1.0),
        }
    }
}

/// Calls `visit` with every way to spread `n` connections over `k` endpoints.
fn for_each_outcome(n: u64, k: usize, visit: &mut impl FnMut(&[u64])) {
    fn spread(left: u64, place: usize, counts: &mut [u64], visit: &mut impl FnMut(&[u64])) {
        if place + 1 >= counts.len() {
            if let Some(last) = counts.last_mut() {
                *last = left;
            }
            return visit(counts);
        }
        for count in 0..=left {
            counts[place] = count;
            spread(left - count, place + 1, counts, visit);
        }
    }
    spread(n, 0, &mut vec![0; k], visit);
}
