//! The noncentral chi-square distribution: what the statistic of a false null hypothesis does.

use statrs::{
    distribution::{ChiSquared, ContinuousCDF as _},
    function::{factorial::ln_factorial, gamma::checked_gamma_ur},
};

use super::{bisection, law::real};

/// Beyond this noncentrality, every alpha that anybody asks for is far exceeded.
const CERTAIN: f64 = 5_000.0;

/// The value that a chi-square variable exceeds with a chance of `alpha`.
///
/// By bisection of the survival function: at an alpha of 1e-5, one minus alpha has lost half of its digits already.
pub(in crate::load) fn critical(degrees: f64, alpha: f64) -> f64 {
    let Ok(chi) = ChiSquared::new(degrees) else { return f64::INFINITY };
    let mut high = degrees + 10.0;
    while chi.sf(high) > alpha {
        high *= 2.0;
    }
    bisection::least(0.0, high, |value| chi.sf(value) <= alpha)
}

/// The chance that a noncentral chi-square variable exceeds `x`.
///
/// It is a central one whose degrees of freedom have grown by twice a Poisson variable with mean `noncentrality / 2`
/// (Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* 2, chapter 29): the sum over that variable,
/// from twelve deviations below its mean to as many above.
pub(super) fn survival(x: f64, degrees: f64, noncentrality: f64) -> f64 {
    if x <= 0.0 || (noncentrality > CERTAIN && x < noncentrality / 2.0) {
        return 1.0;
    }
    let mean = noncentrality / 2.0;
    if mean <= 0.0 {
        return checked_gamma_ur(degrees / 2.0, x / 2.0).unwrap_or(f64::NAN);
    }
    let reach = 12.0 * mean.sqrt() + 30.0;
    let first = super::plan::whole((mean - reach).max(0.0));
    let last = super::plan::whole(mean + reach);
    let term = |growth: u64| {
        let chance = (real(growth) * mean.ln() - mean - ln_factorial(growth)).exp();
        chance * checked_gamma_ur(degrees / 2.0 + real(growth), x / 2.0).unwrap_or(f64::NAN)
    };
    (first..=last).map(term).sum::<f64>().min(1.0)
}
