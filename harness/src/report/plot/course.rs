//! Successes and failures over time, and what happened meanwhile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    axis::{real, round_step, short_time},
    svg::{Svg, WIDTH},
};
use crate::report::words;

/// The course of a load: how many requests succeeded and failed in each interval, and when something was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Course {
    /// How long each interval is, in microseconds.
    pub interval_us: u64,
    /// The intervals, one after the other from the load's start.
    pub intervals: Vec<Interval>,
    /// What was done or seen meanwhile, in any order.
    pub marks: Vec<Mark>,
}

/// What ended in one interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// How many requests were answered.
    pub answered: u64,
    /// How many failed.
    pub failed: u64,
}

/// Something that happened at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// When, in microseconds from the load's start.
    pub at_us: u64,
    /// What: `scaled from 3 to 5`.
    pub label: String,
}

const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 24.0;
/// How high the columns above the axis may get, and those below it.
const UP: f64 = 110.0;
const DOWN: f64 = 50.0;
/// More columns than that are no columns any more.
const MOST_COLUMNS: usize = 160;
/// How many letters fit behind a mark's number and time.
const LABEL: usize = 75;

/// The course of a load: answered requests are columns above the axis and failed ones below it, each with a scale of its
/// own, so that a few failures among thousands of answers are seen; events are numbered dashed lines, named below.
///
/// `id` must be the page's only one.
///
/// ```
/// use reachmap::report::plot::{Course, Interval, Mark, course};
/// let svg = course(
///     &Course {
///         interval_us: 100_000,
///         intervals: vec![Interval { answered: 90, failed: 0 }, Interval { answered: 70, failed: 12 }],
///         marks: vec![Mark { at_us: 120_000, label: "the speaker on worker-2 killed".into() }],
///     },
///     "takeover",
/// );
/// assert!(svg.contains("160 answered, 12 failed") && svg.contains("the speaker on worker-2 killed"));
/// ```
pub fn course(course: &Course, id: &str) -> String {
    let mut svg = Svg::new(id, "Answered and failed requests over time", &description(course));
    let (interval_us, intervals) = condensed(course);
    let last_mark = course.marks.iter().map(|mark| mark.at_us).max().unwrap_or_default();
    let end = real((interval_us.saturating_mul(intervals.len() as u64)).max(last_mark).max(1));
    let x = |us: f64| LEFT + (us / end).clamp(0.0, 1.0) * (RIGHT - LEFT);
    let axis = TOP + UP;
    let most = |count: fn(&Interval) -> u64| real(intervals.iter().map(count).max().unwrap_or_default().max(1));
    let (most_answered, most_failed) = (most(|interval| interval.answered), most(|interval| interval.failed));
    let step = round_step(end / 6.0);
    let ticks: Vec<f64> =
        std::iter::successors(Some(0.0), |tick| Some(tick + step)).take_while(|tick| *tick <= end).collect();
    svg.lines(ticks.iter().map(|tick| [x(*tick), TOP, x(*tick), axis + DOWN]), "grid");
    for tick in ticks {
        svg.text([x(tick).min(RIGHT - 16.0), axis + DOWN + 16.0], "small middle", &short_time(tick));
    }
    for (number, interval) in intervals.iter().enumerate() {
        let start = real(interval_us.saturating_mul(number as u64));
        let (left, right) = (x(start), x(start + real(interval_us)));
        let width = (right - left - 0.5).max(0.5);
        let said = format!("from {}: {} answered, {} failed", short_time(start), interval.answered, interval.failed);
        let up = real(interval.answered) / most_answered * UP;
        svg.rectangle([left, axis - up, width, up], "good", &said);
        if interval.failed > 0 {
            let down = (real(interval.failed) / most_failed * DOWN).max(2.0);
            svg.rectangle([left, axis, width, down], "bad", &said);
        }
    }
    svg.line([LEFT, axis, RIGHT, axis], "base");
    svg.text([LEFT - 6.0, TOP + 10.0], "small end", &format!("{most_answered}"));
    svg.text([LEFT - 6.0, axis - 6.0], "small end", "answered");
    svg.text([LEFT - 6.0, axis + 16.0], "small end", "failed");
    let any_failed = intervals.iter().any(|interval| interval.failed > 0);
    svg.text(
        [LEFT - 6.0, axis + DOWN],
        "small end",
        &if any_failed { format!("{most_failed}") } else { "0".to_owned() },
    );
    let below = axis + DOWN + 38.0;
    let mut marks: Vec<&Mark> = course.marks.iter().collect();
    marks.sort_by_key(|mark| mark.at_us);
    for (row, mark) in marks.iter().enumerate() {
        let place = x(real(mark.at_us));
        // Neighbours stand on two heights: two marks in one moment are both to be read.
        let y = if row % 2 == 0 { 10.0 } else { 21.0 };
        svg.line([place, y + 2.0, place, axis + DOWN], "law");
        svg.text([place.clamp(8.0, RIGHT), y], "small middle", &(row + 1).to_string());
        let text = format!("{} · {} · {}", row + 1, short_time(real(mark.at_us)), words::cut(&mark.label, LABEL));
        svg.text([LEFT, below + 17.0 * real(row as u64)], "", &text);
    }
    svg.finish(below + 17.0 * real(marks.len() as u64) - 8.0)
}

/// As many intervals as there is room for: neighbours are added up, and nothing is left out.
fn condensed(course: &Course) -> (u64, Vec<Interval>) {
    let together = course.intervals.len().div_ceil(MOST_COLUMNS).max(1);
    let sum = |part: &[Interval]| Interval {
        answered: part.iter().map(|interval| interval.answered).sum(),
        failed: part.iter().map(|interval| interval.failed).sum(),
    };
    let intervals = course.intervals.chunks(together).map(sum).collect();
    (course.interval_us.saturating_mul(together as u64), intervals)
}

fn description(course: &Course) -> String {
    let answered: u64 = course.intervals.iter().map(|interval| interval.answered).sum();
    let failed: u64 = course.intervals.iter().map(|interval| interval.failed).sum();
    let start = |number: usize| short_time(real(course.interval_us.saturating_mul(number as u64)));
    let first = course.intervals.iter().position(|interval| interval.failed > 0);
    let last = course.intervals.iter().rposition(|interval| interval.failed > 0);
    let when = match (first, last) {
        (Some(first), Some(last)) => {
            format!(", the first from {} on and the last before {}", start(first), start(last + 1))
        }
        _ => String::new(),
    };
    let mut marks: Vec<&Mark> = course.marks.iter().collect();
    marks.sort_by_key(|mark| mark.at_us);
    let marks = marks.iter().map(|mark| format!(" At {}: {}.", short_time(real(mark.at_us)), mark.label));
    format!("{answered} answered, {failed} failed{when}.{}", marks.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_course_is_condensed_and_loses_nothing() {
        let intervals: Vec<Interval> =
            (0..1_001).map(|number| Interval { answered: number, failed: number % 2 }).collect();
        let long = Course { interval_us: 10_000, intervals, marks: Vec::new() };
        let (interval_us, short) = condensed(&long);
        assert!(short.len() <= MOST_COLUMNS && interval_us == 70_000, "{} of {interval_us} µs", short.len());
        assert_eq!(short.iter().map(|interval| interval.answered).sum::<u64>(), 500_500);
        assert_eq!(short.iter().map(|interval| interval.failed).sum::<u64>(), 500);
    }

    #[test]
    fn the_description_says_when_requests_failed() {
        let interval = |answered, failed| Interval { answered, failed };
        let seen = Course {
            interval_us: 500_000,
            intervals: vec![interval(9, 0), interval(4, 3), interval(0, 5), interval(8, 0)],
            marks: vec![Mark { at_us: 520_000, label: "scaled from 3 to 2".to_owned() }],
        };
        assert_eq!(
            description(&seen),
            "21 answered, 8 failed, the first from 500 ms on and the last before 1.5 s. At 520 ms: scaled from 3 to 2."
        );
        assert_eq!(description(&Course::default()), "0 answered, 0 failed.");
    }
}
