//! How long answers took: columns over a logarithmic axis, with the quantiles that people ask for.

use super::{
    axis::{log_ticks, real, short_time},
    svg::{Svg, WIDTH},
};
use crate::report::Latency;

const LEFT: f64 = 8.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 190.0;

/// The latency distribution from its histogram: the axis is logarithmic, ten columns a decade; p50, p90, p99 and the
/// longest are marked.
///
/// `id` must be the page's only one.
pub fn latency(latency: &Latency, id: &str) -> String {
    let (Some(first), Some(last)) = (latency.buckets.first(), latency.buckets.last()) else {
        let mut svg = Svg::new(id, "Latency", "No request was answered.");
        svg.text([LEFT, 24.0], "", "No request was answered.");
        return svg.finish(36.0);
    };
    let mut svg = Svg::new(id, "Latency of the answered requests", &description(latency));
    let (from, to) = (real(first.from_us.max(1)), real(last.to_us.max(first.from_us + 1)));
    let width = (to / from).ln();
    let x = |us: f64| LEFT + ((us.max(1.0) / from).ln() / width).clamp(0.0, 1.0) * (RIGHT - LEFT);
    let ticks = log_ticks(from, to);
    svg.lines(ticks.iter().map(|tick| [x(*tick), TOP, x(*tick), BOTTOM]), "grid");
    for tick in ticks {
        svg.text([x(tick).clamp(LEFT + 22.0, RIGHT - 22.0), BOTTOM + 16.0], "small middle", &short_time(tick));
    }
    let most = latency.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1);
    for bucket in &latency.buckets {
        let (left, right) = (x(real(bucket.from_us)), x(real(bucket.to_us)));
        // One in a hundred thousand is to be seen, too.
        let height = (real(bucket.count) / real(most) * (BOTTOM - TOP)).max(2.0);
        let said =
            format!("{} to {}: {}", short_time(real(bucket.from_us)), short_time(real(bucket.to_us)), bucket.count);
        svg.rectangle([left + 0.5, BOTTOM - height, right - left - 1.0, height], "good", &said);
    }
    svg.line([LEFT, BOTTOM, RIGHT, BOTTOM], "base");
    quantiles(&mut svg, latency, x);
    svg.finish(BOTTOM + 26.0)
}

/// Each in a line of its own, so that two that are close to each other are told apart.
fn quantiles(svg: &mut Svg, latency: &Latency, x: impl Fn(f64) -> f64) {
    let all = [("p50", latency.p50_us), ("p90", latency.p90_us), ("p99", latency.p99_us), ("longest", latency.max_us)];
    for (row, (name, us)) in all.into_iter().enumerate() {
        let (place, y) = (x(real(us)), 11.0 + 12.0 * real(row as u64));
        svg.line([place, y - 4.0, place, BOTTOM], "law");
        let text = format!("{name} {}", short_time(real(us)));
        let (place, class) =
            if place > f64::midpoint(LEFT, RIGHT) { (place - 5.0, "small end") } else { (place + 5.0, "small") };
        svg.text([place, y], class, &text);
    }
}

fn description(latency: &Latency) -> String {
    let time = |us: u64| short_time(real(us));
    format!(
        "{} answers on a logarithmic axis: the shortest took {}, half at most {}, 90 of 100 at most {}, 99 of 100 at most \
         {}, the longest {}.",
        latency.count,
        time(latency.min_us),
        time(latency.p50_us),
        time(latency.p90_us),
        time(latency.p99_us),
        time(latency.max_us)
    )
}
