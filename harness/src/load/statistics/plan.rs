//! How many connections a test takes, and what they can find.

use super::{
    Judgement, Law, Sample, judge,
    law::real,
    shares::{self, SharesTest},
};
use crate::{Error, ErrorKind, Result};

/// The default chance of any false failure among all tests of a suite in a run.
///
/// The promise is one run in 1,000 at most. It is tested at 7 in 10,000, since a promise that is kept on the average
/// is broken half of the time: at this alpha, 100,000 runs have more than 100 false failures with a chance of 1 in 3,000.
/// It costs three connections in a hundred.
pub const ALPHA: f64 = 7e-4;

/// The share of misses that a plan asks the approximation of the power for. In simulations, up to 6 in 5 of the misses that
/// it computes happen; three quarters of the promised ones leave room for that.
const MISSES: f64 = 0.75;

/// More connections than anybody makes: a plan that needs them is a slip of the pen.
const MOST_CONNECTIONS: u64 = 1_000_000_000;

/// What the tests of a run shall be able to find, decided before the first connection is made.
///
/// ```
/// use reachmap::{ErrorKind, load::statistics::{Law, Plan, Sample}};
/// let law = Law::even(["a", "b", "c"])?;
/// let plan = Plan::for_laws([&law]);
/// let needed = plan.connections(&law)?;
/// // The tutorial's ten requests prove nothing of this kind, and are refused.
/// let ten = Sample::of_requests((0..10).map(|number| (number, "a")));
/// let refused = plan.judge("laptop", &law, &ten).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Usage);
/// assert!(refused.to_string().contains(&needed.to_string()));
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The family-wise alpha: the chance of any false failure among all tests of the suite in a run.
    pub alpha: f64,
    /// How many tests that are.
    pub tests: u32,
    /// The shift to detect, as a share: 0.05 for one endpoint that gets 5 points of 100 too many or too few.
    pub effect: f64,
    /// The chance to detect it.
    pub power: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { alpha: ALPHA, tests: 1, effect: 0.05, power: 0.99 }
    }
}

impl Plan {
    /// The default plan for a suite whose rows follow these laws, one for each row.
    pub fn for_laws<'a>(laws: impl IntoIterator<Item = &'a Law>) -> Self {
        Self { tests: laws.into_iter().map(Law::tests).sum::<u32>().max(1), ..Self::default() }
    }

    /// The alpha of each test by itself: the smallest that Holm's procedure may ask of it.
    pub fn level(&self) -> f64 {
        self.alpha / f64::from(self.tests.max(1))
    }

    /// How many connections a row by this law takes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], as [`sample_size`].
    pub fn connections(&self, law: &Law) -> Result<u64> {
        sample_size(law, self.effect, self.level(), self.power)
    }

    /// Tests a client's connections against a law: for a random choice, the shares and the independence; for an exact
    /// law, the law. The verdicts already hold by themselves; [`Holm`](super::Holm) may find more when it knows all
    /// tests of the family, as it does when a run is over.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there are fewer connections than the plan needs, unless one of them already shows what is
    /// impossible; or if the plan or the law cannot be one.
    pub fn judge(&self, name: &str, law: &Law, sample: &Sample) -> Result<Vec<Judgement>> {
        judge::judge(self, name, law, sample)
    }
}

/// The fewest connections by which a test at `alpha` finds, with a chance of at least `power`, that one endpoint's share
/// is off by `effect` at the others' cost or to their gain, whichever endpoint and direction is hardest to find.
///
/// For round robin and affinity, alpha and the effect have no say: it is the number of connections by which a proxy that
/// chooses at random would be found out with that power.
///
/// ```
/// use reachmap::load::statistics::{Law, sample_size};
/// let n = sample_size(&Law::even(["a", "b", "c"])?, 0.05, 0.001, 0.99)?;
/// assert!((3_000..3_500).contains(&n), "{n}");
/// assert_eq!(sample_size(&Law::affinity(["a", "b"])?, 0.05, 0.001, 0.99)?, 8);
/// # Ok::<(), reachmap::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Usage`] if a value is not strictly between 0 and 1, if no endpoint can be off by that much, or if it
/// would take more than a thousand million connections.
pub fn sample_size(law: &Law, effect: f64, alpha: f64, power: f64) -> Result<u64> {
    check(law, effect, alpha)?;
    check_unit("power", power)?;
    let enough: Box<dyn Fn(u64) -> bool> = match law {
        Law::Random { shares } if shares.len() > 1 => {
            let (shares, others) = (law.shares(), alternatives(law, effect)?);
            let weakest = move |n| {
                let powers = others.iter().map(|other| shares::approximate_power(n, &shares, other, alpha));
                powers.fold(1.0, f64::min)
            };
            Box::new(move |n| 1.0 - weakest(n) <= (1.0 - power) * MISSES)
        }
        _ => Box::new(move |n| exact_law_power(law, n) >= power),
    };
    let mut high = 1;
    while !enough(high) {
        high *= 2;
        if high > MOST_CONNECTIONS {
            return Err(impossible(format!("a shift by {effect} takes more than {MOST_CONNECTIONS} connections")));
        }
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    if !matches!(law, Law::Random { shares } if shares.len() > 1) {
        return Ok(high);
    }
    // The approximation has served as a start: an exact test's own power decides, which goes up and down a little
    // from one number to the next.
    let shares = law.shares();
    let mut n = shares::fewest(&shares, high);
    while shares::is_exact(n, shares.len()) && self::power(law, effect, n, alpha)? < power {
        n = shares::fewest(&shares, n + 1);
    }
    Ok(n)
}

/// The chance that `n` connections show a shift of one endpoint's share by `effect`, at `alpha`: for the endpoint and
/// the direction that are hardest to find.
///
/// For round robin and affinity, the chance that `n` connections show up a proxy that chooses at random.
///
/// # Errors
/// [`ErrorKind::Usage`], as [`sample_size`].
pub fn power(law: &Law, effect: f64, n: u64, alpha: f64) -> Result<f64> {
    check(law, effect, alpha)?;
    match law {
        Law::Random { shares } if shares.len() > 1 => {
            let test = SharesTest::new(n, &law.shares());
            let powers = alternatives(law, effect)?.into_iter().map(|other| test.power(&other, alpha));
            Ok(powers.fold(1.0, f64::min))
        }
        _ => Ok(exact_law_power(law, n)),
    }
}

/// The smallest shift, to a tenth of a point, that `n` connections show at `alpha` with a chance of at least `power`; `None`
/// if they show not even the largest.
///
/// ```
/// use reachmap::load::statistics::{Law, smallest_effect};
/// // 1,000 requests over 50 kept connections: only a gross skew would be seen.
/// let effect = smallest_effect(&Law::even(["a", "b", "c"])?, 50, 0.001, 0.99)?;
/// assert!(effect.is_some_and(|effect| effect > 0.3));
/// # Ok::<(), reachmap::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Usage`], as [`sample_size`].
pub fn smallest_effect(law: &Law, n: u64, alpha: f64, power: f64) -> Result<Option<f64>> {
    check_unit("power", power)?;
    let (mut low, mut high) = (0_u16, 1_000_u16);
    let finds = |tenths: u16| match alternatives(law, f64::from(tenths) / 1_000.0) {
        Ok(_) => Ok(Some(self::power(law, f64::from(tenths) / 1_000.0, n, alpha)? >= power)),
        Err(_) => Ok::<_, Error>(None),
    };
    let mut found = None;
    while low + 1 < high {
        let middle = u16::midpoint(low, high);
        match finds(middle)? {
            Some(false) => low = middle,
            Some(true) => {
                found = Some(f64::from(middle) / 1_000.0);
                high = middle;
            }
            // No endpoint can be off by that much.
            None => high = middle,
        }
    }
    Ok(found)
}

/// The chance that `n` connections over `k` equal endpoints all go to the same one, as if there were no other: for the
/// tutorial's ten requests to three pods, 1 in 19,683.
///
/// ```
/// use reachmap::load::statistics::chance_of_one;
/// assert!((chance_of_one(10, 3) * 19_683.0 - 1.0).abs() < 1e-9);
/// ```
pub fn chance_of_one(n: u64, k: u64) -> f64 {
    if n == 0 || k == 0 {
        return 0.0;
    }
    (-(real(k).ln()) * real(n - 1)).exp()
}

/// The shares with one endpoint off by `effect`, the others in proportion: each endpoint, each direction that there is.
pub(super) fn alternatives(law: &Law, effect: f64) -> Result<Vec<Vec<f64>>> {
    let shares = law.shares();
    let even = shares.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1e-9);
    let mut others = Vec::new();
    for (index, share) in shares.iter().enumerate().take(if even { 1 } else { shares.len() }) {
        for moved in [share + effect, share - effect].into_iter().filter(|moved| *moved >= 0.0 && *moved <= 1.0) {
            let rest = (1.0 - moved) / (1.0 - share);
            let mut other: Vec<f64> = shares.iter().map(|share| share * rest).collect();
            other[index] = moved;
            others.push(other);
        }
    }
    if others.is_empty() {
        return Err(impossible(format!("no endpoint's share can be off by {effect}")));
    }
    Ok(others)
}

/// The chance that a random proxy does not look as if it obeyed an exact law.
fn exact_law_power(law: &Law, n: u64) -> f64 {
    let k = law.endpoints().len() as u64;
    match law {
        // Any other endpoint is outside the support: that needs one connection.
        _ if k <= 1 => {
            if n > 0 {
                1.0
            } else {
                0.0
            }
        }
        Law::Affinity { .. } => {
            if n > 0 {
                1.0 - chance_of_one(n, k)
            } else {
                0.0
            }
        }
        // Every round of k connections must go to k endpoints.
        _ => {
            let taken = |connection: u64| (real(k - connection % k) / real(k)).ln();
            let round: f64 = (0..k).map(taken).sum();
            let rest: f64 = (0..n % k).map(taken).sum();
            1.0 - (round * real(n / k) + rest).exp()
        }
    }
}

fn check(law: &Law, effect: f64, alpha: f64) -> Result<()> {
    law.check()?;
    check_unit("effect", effect)?;
    check_unit("alpha", alpha)
}

fn check_unit(what: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(impossible(format!("{what} is {value}")))
}

fn impossible(cause: String) -> Error {
    Error::new(ErrorKind::Usage, "plan a test of the load's distribution", cause)
        .hint("Effect, alpha and power are shares strictly between 0 and 1, such as 0.05, 0.001 and 0.99.")
}

/// A real number, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is right here")]
pub(super) fn whole(value: f64) -> u64 {
    value.ceil() as u64
}
