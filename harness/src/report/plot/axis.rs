//! Where values go on an axis, and which of them are written beside it.

/// The first of 1, 2, 5, 10, 20, 50 … that is at least `least`: the distance of two ticks.
pub(super) fn round_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    // Powers are not exact: a step that is all but reached counts as reached.
    [1.0, 2.0, 5.0]
        .map(|step| step * decade)
        .into_iter()
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(decade * 10.0)
}

/// The times to write beside a logarithmic axis from `from` to `to`: whole decades, and 2 and 5 of each if there is room.
pub(super) fn log_ticks(from: f64, to: f64) -> Vec<f64> {
    let (from, to) = (from.max(1.0), to.max(1.0));
    let within = |steps: &[f64]| -> Vec<f64> {
        let decades = (0..=10).map(|decade| 10_f64.powi(decade));
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
        all.filter(|value| (from..=to).contains(value)).collect()
    };
    let decades = within(&[1.0]);
    if decades.len() >= 4 { decades } else { within(&[1.0, 2.0, 5.0]) }
}

/// A time in microseconds, in as few letters as will do: `500 µs`, `2 ms`, `1.5 s`.
pub(super) fn short_time(us: f64) -> String {
    let (value, unit) = match us {
        // Nothing is nothing in every unit; beside an axis of seconds, this one reads best.
        0.0 => (us, "s"),
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
pub(super) const fn real(count: u64) -> f64 {
    count as f64
}
