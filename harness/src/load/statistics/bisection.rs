//! Where a condition begins to hold.

/// How often an interval is halved: until nothing is left between its ends.
const HALVINGS: u32 = 100;

/// The least number between `low` and `high` for which `holds`, which holds from there on up to `high`.
pub(super) fn least(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (low, high);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}
