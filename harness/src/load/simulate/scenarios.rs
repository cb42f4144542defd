//! The rows: which balancer is tested how, and what is promised of it.

use std::fmt;

use super::{
    Promise,
    balancer::{Balancer, Dealt, Random},
};
use crate::{
    Result,
    load::statistics::{Holm, Law, Plan, Repeats, SharesTest, critical, real},
};

/// The promise about false failures.
const FALSE_FAILURES: Promise = Promise::AtMost(1e-3);

/// The tutorial's load: `hey -n 1000 -c 50`, three pods.
const REQUESTS: u64 = 1_000;
const KEPT: u64 = 50;

/// As many as the suite `distribution` tests, with three load workers.
const ROWS: usize = 10;

/// One kind of run.
pub(super) struct Scenario {
    pub(super) what: String,
    pub(super) promise: Promise,
    n: u64,
    /// One for each row of the run.
    balancers: Vec<Balancer>,
    test: Test,
}

/// Whether what the rows of a run were dealt makes it fail.
type Test = Box<dyn Fn(&[Dealt]) -> bool + Send + Sync>;

impl Scenario {
    /// Deals the connections of one run, and tests them.
    pub(super) fn rejects(&self, random: &mut Random) -> bool {
        let dealt: Vec<Dealt> = self.balancers.iter().map(|balancer| balancer.deal(self.n, random)).collect();
        (self.test)(&dealt)
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("what", &self.what).field("n", &self.n).finish_non_exhaustive()
    }
}

/// A law and the tests that a suite of so many rows holds against it: planned for all of them by [`Plan::connections`], and
/// settled as a run's are, by [`Holm`] over the family of which the first step is each test's own verdict.
#[derive(Clone)]
struct Judge {
    n: u64,
    rows: usize,
    shares: Vec<f64>,
    shares_test: SharesTest,
    repeats: Repeats,
    plan: Plan,
}

impl Judge {
    fn planned(shares: &[f64], effect: f64) -> Result<Self> {
        Self::planned_for(1, shares, effect)
    }

    fn planned_for(rows: usize, shares: &[f64], effect: f64) -> Result<Self> {
        let law = Law::random((1..).zip(shares).map(|(number, share)| (format!("pod-{number:03}"), *share)))?;
        let plan = Plan { effect, ..Plan::for_laws(std::iter::repeat_n(&law, rows)) };
        let n = plan.connections(&law)?;
        let shares = law.shares();
        Ok(Self { n, rows, shares_test: SharesTest::new(n, &shares), repeats: Repeats::new(n, &shares), shares, plan })
    }

    /// Of each row, whether Holm rejects one of its two tests.
    fn rejected(&self, dealt: &[Dealt]) -> Vec<bool> {
        let mut holm = Holm::new(self.plan.alpha).planned(self.plan.tests);
        for Dealt { counts, repeats } in dealt {
            for p in [self.shares_test.p(counts), self.repeats.p(*repeats)] {
                // A p-value that is none counts as a rejection, so that no defect passes for a good result.
                if holm.add("", p).is_err() {
                    return vec![true; dealt.len()];
                }
            }
        }
        holm.decide().chunks(2).map(|row| row.iter().any(|decision| decision.rejected)).collect()
    }

    /// A run in which the first row's balancer is this one, and the others' is the law's own; of that first row is what is
    /// promised, or of all where it is the law's own, too.
    fn scenario(&self, what: &str, promise: Promise, first: Option<Balancer>) -> Scenario {
        let method = if self.shares_test.is_exact() { "exact" } else { "G" };
        let rows = if self.rows == 1 { String::new() } else { format!(" in each of {} rows", self.rows) };
        let is_skewed = first.is_some();
        let own = || Balancer::random(&self.shares);
        let mut balancers = vec![first.unwrap_or_else(own)];
        balancers.resize_with(self.rows, own);
        let judge = self.clone();
        Scenario {
            what: format!("{what}, {method}, n = {}{rows}", self.n),
            promise,
            n: self.n,
            balancers,
            test: Box::new(move |dealt| {
                let rejected = judge.rejected(dealt);
                if is_skewed { rejected[0] } else { rejected.contains(&true) }
            }),
        }
    }

    fn false_failures(&self, what: &str) -> Scenario {
        self.scenario(&format!("false failures: {what}"), FALSE_FAILURES, None)
    }

    /// The law's own balancer, with the first endpoint's share off by `effect`.
    fn skewed(&self, what: &str, effect: f64) -> Scenario {
        let rest = (1.0 - self.shares[0] - effect) / (1.0 - self.shares[0]);
        let mut shares: Vec<f64> = self.shares.iter().map(|share| share * rest).collect();
        shares[0] = self.shares[0] + effect;
        self.scenario(&format!("found: {what}"), Promise::AtLeast(0.99), Some(Balancer::random(&shares)))
    }

    /// The independence alone, at alpha.
    fn false_dependence(&self, what: &str) -> Scenario {
        let (repeats, alpha) = (self.repeats.clone(), self.plan.alpha);
        Scenario {
            what: format!("false failures: independence alone, {what}, n = {}", self.n),
            promise: FALSE_FAILURES,
            n: self.n,
            balancers: vec![Balancer::random(&self.shares)],
            test: Box::new(move |dealt| dealt.iter().any(|row| repeats.p(row.repeats) <= alpha)),
        }
    }

    /// A balancer that keeps the last endpoint as often as the independence test says that it can find.
    fn sticky(&self, what: &str) -> Scenario {
        let stick = self.repeats.smallest_effect(self.plan.level(), 0.99);
        let what = format!("found: {what} that keep the last endpoint in {:.1} %", stick * 100.0);
        self.scenario(&what, Promise::AtLeast(0.99), Some(Balancer::sticky(&self.shares, stick)))
    }
}

/// All rows.
pub(super) fn all() -> Result<Vec<Scenario>> {
    let three = Judge::planned(&[1.0 / 3.0; 3], 0.05)?;
    let uneven = Judge::planned(&[0.5, 0.3, 0.2], 0.05)?;
    let two = Judge::planned(&[0.5; 2], 0.05)?;
    let few = Judge::planned(&[1.0 / 3.0; 3], 0.3)?;
    let ten = Judge::planned(&[0.1; 10], 0.05)?;
    let suite = Judge::planned_for(ROWS, &[1.0 / 3.0; 3], 0.05)?;
    Ok(vec![
        suite.false_failures("3 equal shares"),
        suite.skewed("3 shares, one 5 points up", 0.05),
        three.false_failures("3 equal shares"),
        two.false_failures("2 equal shares"),
        ten.false_failures("10 equal shares"),
        few.false_failures("3 equal shares"),
        uneven.false_failures("shares 50, 30 and 20"),
        three.false_dependence("3 equal shares"),
        uneven.false_dependence("shares 50, 30 and 20"),
        three.skewed("3 shares, one 5 points up", 0.05),
        three.skewed("3 shares, one 5 points down", -0.05),
        few.skewed("3 shares, one 30 points up", 0.3),
        few.skewed("3 shares, one 30 points down", -0.3),
        ten.skewed("10 shares, one 5 points up", 0.05),
        uneven.skewed("shares 50, 30 and 20, the first 5 points down", -0.05),
        three.sticky("3 equal shares"),
        uneven.sticky("shares 50, 30 and 20"),
        kept("requests over 50 kept connections, as if independent", REQUESTS / KEPT, Promise::Between(0.8, 0.84)),
        kept("the 50 connections themselves", 1, Promise::Between(0.04, 0.06)),
    ])
}

/// What people do: Pearson's chi-square at an alpha of 0.05, on `each` requests over each of 50 connections to a perfect
/// balancer of 3.
fn kept(what: &str, each: u64, promise: Promise) -> Scenario {
    let limit = critical(2.0, 0.05);
    let expected = real(KEPT * each) / 3.0;
    Scenario {
        what: format!("naive chi-square at 0.05: {what}"),
        promise,
        n: KEPT,
        balancers: vec![Balancer::random(&[1.0 / 3.0; 3])],
        test: Box::new(move |dealt| {
            let term = |count: &u64| (real(count * each) - expected).powi(2) / expected;
            dealt.iter().any(|row| row.counts.iter().map(term).sum::<f64>() > limit)
        }),
    }
}
