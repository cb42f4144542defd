//! Is the choice independent from connection to connection?

use statrs::{
    distribution::{ContinuousCDF as _, Normal},
    function::beta::checked_beta_reg,
};

use super::{bisection, law::real};

/// Up to how many connections the distribution is computed exactly where the shares differ.
const MOST_CONNECTIONS: u64 = 20_000;

/// The share of misses that the normal approximation is asked for: a balancer that sticks varies more than it knows, the
/// more the more its shares differ.
const MISSES: f64 = 0.5;

/// What a state may have lost at the ends of the distribution without being missed.
const NEGLIGIBLE: f64 = 1e-22;

/// How often an endpoint comes twice in a row, in `n` independent connections with given shares.
///
/// One number is tested, and not the whole table of pairs: what goes wrong with the independence of a balancer is that it
/// sticks to an endpoint (connections kept or shared, an affinity left on, one hash for many ports) or that it goes
/// round; the former makes repeats more frequent, the latter rarer, and one degree of freedom finds them in a smaller
/// sample than the (k - 1)² of the table. A dependence that leaves the repeats as they are is not seen.
///
/// Where all shares are equal, each connection repeats the one before with a chance of 1/k whatever that was: the
/// repeats are binomial. Where they differ, their distribution is computed connection by connection over the pairs of
/// last endpoint and repeats so far (J. C. Fu and M. V. Koutras, *Distribution theory of runs: a Markov chain approach*,
/// Journal of the American Statistical Association 89, 1994); for more than 20,000 connections, by its mean and variance.
#[derive(Debug, Clone)]
pub(in crate::load) struct Repeats {
    n: u64,
    shares: Vec<f64>,
    distribution: Distribution,
}

#[derive(Debug, Clone)]
enum Distribution {
    Binomial,
    /// The chance of `first` repeats, and of each number after it.
    Table {
        first: u64,
        chances: Vec<f64>,
    },
    Normal,
}

impl Repeats {
    /// The distribution for `n` connections. The shares add up to 1.
    pub(in crate::load) fn new(n: u64, shares: &[f64]) -> Self {
        let even = shares.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1e-12);
        let distribution = match n {
            _ if even => Distribution::Binomial,
            ..=MOST_CONNECTIONS => table(n, shares),
            _ => Distribution::Normal,
        };
        Self { n, shares: shares.to_vec(), distribution }
    }

    /// Whether the distribution is exact.
    pub(super) const fn is_exact(&self) -> bool {
        !matches!(self.distribution, Distribution::Normal)
    }

    /// How often an endpoint comes twice in a row.
    pub(in crate::load) fn count<T: PartialEq>(sequence: &[T]) -> u64 {
        sequence.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
    }

    /// Twice the chance of at least or at most so many repeats, whichever is smaller.
    pub(in crate::load) fn p(&self, repeats: u64) -> f64 {
        (2.0 * self.at_least(repeats).min(self.at_most(repeats))).clamp(0.0, 1.0)
    }

    /// The expected number.
    pub(super) fn mean(&self) -> f64 {
        real(self.pairs()) * self.chance()
    }

    /// The smallest chance of simply taking the last endpoint again that a test at `alpha` finds with a chance of
    /// `power`, by the normal approximation.
    pub(in crate::load) fn smallest_effect(&self, alpha: f64, power: f64) -> f64 {
        let Ok(normal) = Normal::new(0.0, 1.0) else { return 1.0 };
        // By the lower tail, whose small values keep their digits.
        let (critical, reserve) = (-normal.inverse_cdf(alpha / 2.0), -normal.inverse_cdf((1.0 - power) * MISSES));
        let pairs = real(self.pairs());
        let enough = |stick: f64| {
            let chance = stick + (1.0 - stick) * self.chance();
            let shift = pairs * (chance - self.chance());
            shift >= critical * self.variance().sqrt() + reserve * (pairs * chance * (1.0 - chance)).sqrt()
        };
        bisection::least(0.0, 1.0, enough)
    }

    const fn pairs(&self) -> u64 {
        self.n.saturating_sub(1)
    }

    /// The chance that a connection goes where the one before went.
    fn chance(&self) -> f64 {
        self.shares.iter().map(|share| share * share).sum()
    }

    /// Neighbouring pairs share a connection: the cubes of the shares account for it.
    fn variance(&self) -> f64 {
        let chance = self.chance();
        let cubes: f64 = self.shares.iter().map(|share| share.powi(3)).sum();
        let neighbours = real(self.pairs().saturating_sub(1));
        real(self.pairs()) * chance * (1.0 - chance) + 2.0 * neighbours * (cubes - chance * chance)
    }

    fn at_least(&self, repeats: u64) -> f64 {
        match &self.distribution {
            _ if repeats == 0 => 1.0,
            _ if repeats > self.pairs() => 0.0,
            Distribution::Binomial => {
                let failures = real(self.pairs() - repeats + 1);
                checked_beta_reg(real(repeats), failures, self.chance()).unwrap_or(f64::NAN)
            }
            Distribution::Table { first, chances } => {
                let skipped = usize::try_from(repeats.saturating_sub(*first)).unwrap_or(usize::MAX);
                // From the far end, so that small chances are not lost in large ones.
                chances.iter().skip(skipped).rev().sum()
            }
            Distribution::Normal => self.tail(self.mean() - (real(repeats) - 0.5)),
        }
    }

    fn at_most(&self, repeats: u64) -> f64 {
        match &self.distribution {
            _ if repeats >= self.pairs() => 1.0,
            Distribution::Binomial => {
                let failures = real(self.pairs() - repeats);
                checked_beta_reg(failures, real(repeats + 1), 1.0 - self.chance()).unwrap_or(f64::NAN)
            }
            Distribution::Table { first, .. } if repeats < *first => 0.0,
            Distribution::Table { first, chances } => {
                let taken = usize::try_from(repeats - first + 1).unwrap_or(usize::MAX);
                chances.iter().take(taken).sum()
            }
            Distribution::Normal => self.tail(real(repeats) + 0.5 - self.mean()),
        }
    }

    fn tail(&self, distance: f64) -> f64 {
        Normal::new(0.0, self.variance().sqrt()).map_or(f64::NAN, |normal| normal.cdf(distance))
    }
}

/// The distribution, connection by connection: for each endpoint, the chance that it was the last and that there were so
/// many repeats.
fn table(n: u64, shares: &[f64]) -> Distribution {
    let mut first = 0;
    let mut last: Vec<Vec<f64>> = shares.iter().map(|share| vec![*share]).collect();
    let mut sums = vec![1.0];
    for _ in 1..n {
        for (chances, share) in last.iter_mut().zip(shares) {
            chances.push(0.0);
            for repeats in (0..chances.len()).rev() {
                let others = sums.get(repeats).map_or(0.0, |sum| (sum - chances[repeats]).max(0.0));
                let same = if repeats > 0 { chances[repeats - 1] } else { 0.0 };
                chances[repeats] = share * (others + same);
            }
        }
        sums = (0..=sums.len()).map(|repeats| last.iter().map(|chances| chances[repeats]).sum()).collect();
        let low = sums.iter().take_while(|sum| **sum < NEGLIGIBLE).count();
        let high = sums.iter().rev().take_while(|sum| **sum < NEGLIGIBLE).count();
        for chances in last.iter_mut().chain([&mut sums]) {
            chances.truncate(chances.len().saturating_sub(high));
            chances.drain(..low.min(chances.len()));
        }
        first += low as u64;
    }
    Distribution::Table { first, chances: sums }
}
