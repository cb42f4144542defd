//! Confidence intervals of shares, for plots.

use statrs::function::beta::checked_beta_reg;

use super::{bisection, law::real};

/// Clopper and Pearson's confidence interval of a share of which `count` in `n` were seen, at `alpha` (*The use of
/// confidence or fiducial limits illustrated in the case of the binomial*, Biometrika 26, 1934).
///
/// It is wider than Wilson's, and unlike Wilson's it never covers less than it says; at the small alphas of a family,
/// that matters more.
///
/// ```
/// let (low, high) = reachmap::load::statistics::share_interval(0, 10, 0.05);
/// assert!(low == 0.0 && (high - 0.3085).abs() < 1e-4);
/// ```
pub fn share_interval(count: u64, n: u64, alpha: f64) -> (f64, f64) {
    let count = count.min(n);
    let (seen, left) = (real(count), real(n - count));
    // The chance of at least `count`, and of at most `count`, at a share: both by the incomplete beta function.
    let at_least = |share: f64| checked_beta_reg(seen, left + 1.0, share).unwrap_or(f64::NAN);
    let at_most = |share: f64| 1.0 - checked_beta_reg(seen + 1.0, left, share).unwrap_or(f64::NAN);
    let low = if count == 0 { 0.0 } else { bisection::least(0.0, 1.0, |share| at_least(share) >= alpha / 2.0) };
    let high = if count == n { 1.0 } else { bisection::least(0.0, 1.0, |share| at_most(share) <= alpha / 2.0) };
    (low, high)
}
