//! Do the statistics keep their word? Balancers whose law is known are tested over and over, and the verdicts counted.
//!
//! A false failure may come once in 1,000 runs; a skew by 5 points must be found 99 times in 100. `cargo xtask bench
//! statistics` shows it over 100,000 runs a row; a test does the same with fewer. Nothing here is a network: the
//! balancers are a few lines of arithmetic with a seeded generator of random numbers, so that every count can be had again.
//!
//! ```
//! use reachmap::load::simulate::Simulation;
//! let rows = Simulation { runs: 100, seed: 1 }.run()?;
//! assert!(rows.iter().all(|row| row.is_kept()));
//! # Ok::<(), reachmap::Error>(())
//! ```

mod balancer;
mod scenarios;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use statrs::function::beta::checked_beta_reg;

use self::{balancer::Random, scenarios::Scenario};
use super::statistics::real;
use crate::Result;

/// From so many runs on, a promise is taken literally.
const MANY: u64 = 100_000;

/// With fewer runs, a count contradicts a promise if it is one that a kept promise brings with a smaller chance.
const UNLIKELY: f64 = 1e-4;

/// How a simulation is made. The same seed gives the same counts, on however many cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulation {
    /// How many runs each row has.
    pub runs: u64,
    /// The seed.
    pub seed: u64,
}

/// What was promised of a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Promise {
    /// It is no higher.
    AtMost(f64),
    /// It is no lower.
    AtLeast(f64),
    /// It is within these bounds.
    Between(f64, f64),
}

/// One kind of balancer, tested in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The balancer, the test, and the number of connections.
    pub what: String,
    /// How many runs there were.
    pub runs: u64,
    /// In how many of them the test rejected the law.
    pub rejected: u64,
    /// What was promised of their share.
    pub promise: Promise,
}

impl Simulation {
    /// Makes all runs, on all cores.
    ///
    /// # Errors
    /// As [`sample_size`](super::statistics::sample_size), which plans them.
    pub fn run(self) -> Result<Vec<Row>> {
        Ok(self.rows()?.collect())
    }

    /// The same, row by row: the runs of a row are made when it is asked for.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn rows(self) -> Result<impl Iterator<Item = Row>> {
        Ok(scenarios::all()?.into_iter().zip(0..).map(move |(scenario, number)| self.row(&scenario, number)))
    }

    fn row(self, scenario: &Scenario, number: u64) -> Row {
        let next = AtomicU64::new(0);
        let rejected = AtomicU64::new(0);
        let work = || {
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= self.runs {
                    break;
                }
                if scenario.rejects(&mut Random::of_run(self.seed, number, run)) {
                    rejected.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(work);
            }
        });
        Row { what: scenario.what.clone(), runs: self.runs, rejected: rejected.into_inner(), promise: scenario.promise }
    }
}

impl Row {
    /// The share of runs in which the law was rejected.
    pub fn rate(&self) -> f64 {
        real(self.rejected) / real(self.runs.max(1))
    }

    /// Whether the promise was kept. From 100,000 runs on, the rate decides. With fewer, chance alone may carry it over
    /// the bound: then the promise counts as broken if the binomial distribution gives such a count, or one that is
    /// further off, a chance below 1 in 10,000.
    pub fn is_kept(&self) -> bool {
        let at_most = |bound: f64| self.rate() <= bound || (self.runs < MANY && self.at_least(bound) >= UNLIKELY);
        let at_least = |bound: f64| self.rate() >= bound || (self.runs < MANY && self.at_most(bound) >= UNLIKELY);
        match self.promise {
            Promise::AtMost(bound) => at_most(bound),
            Promise::AtLeast(bound) => at_least(bound),
            Promise::Between(low, high) => at_least(low) && at_most(high),
        }
    }

    /// The chance of at least so many at this rate.
    fn at_least(&self, rate: f64) -> f64 {
        if self.rejected == 0 {
            return 1.0;
        }
        checked_beta_reg(real(self.rejected), real(self.runs - self.rejected + 1), rate).unwrap_or(0.0)
    }

    /// The chance of at most so many at this rate.
    fn at_most(&self, rate: f64) -> f64 {
        if self.rejected == self.runs {
            return 1.0;
        }
        checked_beta_reg(real(self.runs - self.rejected), real(self.rejected + 1), 1.0 - rate).unwrap_or(0.0)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::Between(low, high) => write!(f, "from {low} to {high}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rejected: u64, runs: u64, promise: Promise) -> Row {
        Row { what: String::new(), runs, rejected, promise }
    }

    /// 1,000 runs a row: a rate of 2 in 100 false failures, or a power of 0.96, would be noticed.
    #[test]
    fn the_statistics_keep_their_word() {
        for row in (Simulation { runs: 1_000, seed: 20_261_125 }).run().unwrap() {
            assert!(row.is_kept(), "{row:?}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_counts_again() {
        let simulation = Simulation { runs: 40, seed: 7 };
        assert_eq!(simulation.run().unwrap(), simulation.run().unwrap());
    }

    #[test]
    fn a_broken_promise_is_seen() {
        assert!(row(100, 100_000, Promise::AtMost(1e-3)).is_kept());
        assert!(!row(101, 100_000, Promise::AtMost(1e-3)).is_kept());
        assert!(row(3, 1_000, Promise::AtMost(1e-3)).is_kept());
        assert!(!row(20, 1_000, Promise::AtMost(1e-3)).is_kept());
        assert!(row(985, 1_000, Promise::AtLeast(0.99)).is_kept());
        assert!(!row(960, 1_000, Promise::AtLeast(0.99)).is_kept());
        assert!(!row(98_999, 100_000, Promise::AtLeast(0.99)).is_kept());
        assert!(!row(700, 1_000, Promise::Between(0.8, 0.84)).is_kept());
    }
}
