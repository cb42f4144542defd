//! Is the load distributed as the proxy mode says? Null models, tests, and how many connections they take.
//!
//! # The unit is the connection
//!
//! A proxy of Services chooses an endpoint when a connection is made; every request that is sent over it afterwards
//! goes to the same pod. With keep-alive, 1,000 requests over 50 connections are a sample of 50. A chi-square test
//! of the 1,000 requests over 3 pods, as if each had been a choice of its own, computes a statistic that is 20 times
//! too large: at an alpha of 0.05 it calls a perfect balancer uneven in about 82 of 100 runs
//! ([`simulate`](super::simulate) reproduces it). So a [`Sample`] is made of connections, and the requests that each
//! of them carried are reported and never tested.
//!
//! # One test, planned
//!
//! The number of connections follows from the effect to detect, alpha and power ([`sample_size`]), before anything is
//! sent. A sample that is smaller than its plan is refused: a test without power would pass whatever happens. There
//! is no second try: ten tries with a tolerance of 5 points pass a 40/30/30 balancer nine times out of ten.
//! All tests of a suite are one family, and [`Holm`] keeps the chance of any false failure in it below alpha: each test is
//! judged by itself at its part of alpha, which is Holm's first step, and all of them together when the run is over.
//!
//! # Exact laws
//!
//! Round robin and session affinity leave nothing to chance, and neither does the support: an answer by a pod that is
//! no endpoint is a violation, not an outlier.

mod bisection;
mod holm;
mod independence;
mod interval;
mod judge;
mod judgement;
mod law;
mod noncentral;
mod plan;
mod sample;
mod shares;
#[cfg(test)]
mod tests;

pub use self::{
    holm::{Decision, Holm},
    interval::share_interval,
    judgement::{EndpointCount, Finding, Judgement, Method, Question, Unit},
    law::Law,
    plan::{ALPHA, Plan, chance_of_one, power, sample_size, smallest_effect},
    sample::{Connection, Sample},
};
pub(super) use self::{independence::Repeats, law::real, noncentral::critical, shares::SharesTest};
