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

/// One row.
pub(super) struct Scenario {
    pub(super) what: String,
    pub(super) promise: Promise,
    n: u64,
    balancer: Balancer,
    test: Box<dyn Fn(&Dealt) -> bool + Send + Sync>,
}

impl Scenario {
    /// Deals the connections of one run, and tests them.
    pub(super) fn rejects(&self, random: &mut Random) -> bool {
        (self.test)(&self.balancer.deal(self.n, random))
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("what", &self.what).field("n", &self.n).finish_non_exhaustive()
    }
}

/// A law and the tests that a run holds against it, as [`Plan::judge`] and [`Holm::settle`] do.
#[derive(Clone)]
struct Judge {
    n: u64,
    shares: Vec<f64>,
    shares_test: SharesTest,
    repeats: Repeats,
    alpha: f64,
}

impl Judge {
    fn planned(shares: &[f64], effect: f64) -> Result<Self> {
        let law = Law::random((1..).zip(shares).map(|(number, share)| (format!("pod-{number:03}"), *share)))?;
        let plan = Plan { effect, ..Plan::for_laws([&law]) };
        let n = plan.connections(&law)?;
        let shares = law.shares();
        Ok(Self {
            n,
            shares_test: SharesTest::new(n, &shares),
            repeats: Repeats::new(n, &shares),
            shares,
            alpha: plan.alpha,
        })
    }

    /// Whether Holm rejects one of the two tests: a run of one row.
    fn rejects(&self, dealt: &Dealt) -> bool {
        let mut holm = Holm::new(self.alpha);
        let ps = [("shares", self.shares_test.p(&dealt.counts)), ("independence", self.repeats.p(dealt.repeats))];
        // A p-value that is none counts as a rejection, so that no defect passes for a good result.
        ps.into_iter().any(|(name, p)| holm.add(name, p).is_err())
            || holm.decide().iter().any(|decision| decision.rejected)
    }

    fn scenario(&self, what: &str, promise: Promise, balancer: Balancer) -> Scenario {
        let method = if self.shares_test.is_exact() { "exact" } else { "G" };
        let judge = self.clone();
        Scenario {
            what: format!("{what}, {method}, n = {}", self.n),
            promise,
            n: self.n,
            balancer,
            test: Box::new(move |dealt| judge.rejects(dealt)),
        }
    }

    fn false_failures(&self, what: &str) -> Scenario {
        self.scenario(&format!("false failures: {what}"), FALSE_FAILURES, Balancer::random(&self.shares))
    }

    /// The law's own balancer, with the first endpoint's share off by `effect`.
    fn skewed(&self, what: &str, effect: f64) -> Scenario {
        let rest = (1.0 - self.shares[0] - effect) / (1.0 - self.shares[0]);
        let mut shares: Vec<f64> = self.shares.iter().map(|share| share * rest).collect();
        shares[0] = self.shares[0] + effect;
        self.scenario(&format!("found: {what}"), Promise::AtLeast(0.99), Balancer::random(&shares))
    }

    /// The independence alone, at alpha.
    fn false_dependence(&self, what: &str) -> Scenario {
        let (repeats, alpha) = (self.repeats.clone(), self.alpha);
        Scenario {
            what: format!("false failures: independence alone, {what}, n = {}", self.n),
            promise: FALSE_FAILURES,
            n: self.n,
            balancer: Balancer::random(&self.shares),
            test: Box::new(move |dealt| repeats.p(dealt.repeats) <= alpha),
        }
    }

    /// A balancer that keeps the last endpoint as often as the independence test says that it can find.
    fn sticky(&self, what: &str) -> Scenario {
        let stick = self.repeats.smallest_effect(self.alpha / 2.0, 0.99);
        let what = format!("found: {what} that keep the last endpoint in {:.1} %", stick * 100.0);
        self.scenario(&what, Promise::AtLeast(0.99), Balancer::sticky(&self.shares, stick))
    }
}

/// All rows.
pub(super) fn all() -> Result<Vec<Scenario>> {
    let three = Judge::planned(&[1.0 / 3.0; 3], 0.05)?;
    let uneven = Judge::planned(&[0.5, 0.3, 0.2], 0.05)?;
    let two = Judge::planned(&[0.5; 2], 0.05)?;
    let few = Judge::planned(&[1.0 / 3.0; 3], 0.3)?;
    let ten = Judge::planned(&[0.1; 10], 0.05)?;
    Ok(vec![
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
        balancer: Balancer::random(&[1.0 / 3.0; 3]),
        test: Box::new(move |dealt| {
            let term = |count: &u64| (real(count * each) - expected).powi(2) / expected;
            dealt.counts.iter().map(term).sum::<f64>() > limit
        }),
    }
}
