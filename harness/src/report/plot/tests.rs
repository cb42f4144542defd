//! Every plot: nothing leaves its frame, nothing is told by colour alone, and no text is more than text.

use proptest::prelude::*;

use super::{Course, Interval, Mark, course, latency, pods, svg::WIDTH};
use crate::report::{
    Latency, LatencyBucket,
    sample::{HOSTILE, loads},
};

/// All values of the attribute `name`.
fn values(svg: &str, name: &str) -> Vec<f64> {
    let start = format!(" {name}=\"");
    svg.split(&start).skip(1).map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
}

/// Where lines begin and end, across and down: paths have nothing but absolute steps.
fn ends(svg: &str) -> [Vec<f64>; 2] {
    let [mut across, mut down] = [Vec::new(), Vec::new()];
    for path in svg.split(" d=\"").skip(1).map(|part| part.split('"').next().unwrap()) {
        for (start, step) in path.match_indices(['M', 'H', 'V']) {
            let numbers = path[start + 1..].split(['M', 'H', 'V']).next().unwrap();
            let numbers: Vec<f64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            match (step, &numbers[..]) {
                ("M", [x, y]) => {
                    across.push(*x);
                    down.push(*y);
                }
                ("H", [x]) => across.push(*x),
                ("V", [y]) => down.push(*y),
                _ => panic!("{path}"),
            }
        }
    }
    [across, down]
}

/// Whether everything that is drawn lies in the frame: a plot that is cut off tells lies.
fn is_framed(svg: &str) -> Result<(), TestCaseError> {
    let frame = svg.split("viewBox=\"0 0 ").nth(1).unwrap().split('"').next().unwrap();
    let height: f64 = frame.split(' ').nth(1).unwrap().parse().unwrap();
    let [across, down] = ends(svg);
    for (name, ends, end) in [("x", across, WIDTH), ("y", down, height)] {
        for value in values(svg, name).into_iter().chain(ends) {
            prop_assert!((0.0..=end).contains(&value), "{value} of {end}: {svg}");
        }
    }
    for (start, length, end) in [("x", "width", WIDTH), ("y", "height", height)] {
        let rectangles: String = svg.lines().filter(|line| line.starts_with("<rect")).collect();
        for (start, length) in values(&rectangles, start).into_iter().zip(values(&rectangles, length)) {
            prop_assert!(start + length <= end + 0.2, "{start} + {length} of {end}");
        }
    }
    for text in svg.lines().filter(|line| line.starts_with("<text")) {
        // About as wide as letters are in the page's fonts.
        let said = text.split('>').nth(1).unwrap().trim_end_matches("</text");
        let width = said.chars().map(|_| if text.contains("small") { 6.2 } else { 7.0 }).sum::<f64>();
        let x = values(text, "x")[0];
        let start = if text.contains(" end\"") {
            x - width
        } else if text.contains("middle") {
            x - width / 2.0
        } else {
            x
        };
        prop_assert!(start >= 0.0 && start + width <= WIDTH, "{start} + {width} of {WIDTH}: {text}");
    }
    Ok(())
}

#[test]
fn bars_stand_beside_the_laws_share_with_their_bands() {
    insta::assert_snapshot!(pods(&loads::skewed(), "one"));
}

#[test]
fn a_latency_distribution_marks_its_quantiles() {
    insta::assert_snapshot!(latency(&loads::as_expected().latency, "one"));
}

#[test]
fn a_course_numbers_what_happened_and_names_it_below() {
    insta::assert_snapshot!(course(&loads::course(), "one"));
}

#[test]
fn what_is_not_by_the_law_is_said_in_words() {
    let svg = pods(&loads::skewed(), "one");
    assert!(svg.contains("! not by the law"), "{svg}");
    assert!(!pods(&loads::as_expected(), "one").contains("alarm"));
    let mut outside = loads::as_expected();
    outside.pods[0].may_answer = false;
    assert!(pods(&outside, "one").contains("! may not answer"));
}

#[test]
fn text_from_the_network_is_only_text() {
    let mut load = loads::as_expected();
    load.pods[0].pod = HOSTILE.to_owned();
    load.expected.why = HOSTILE.to_owned();
    let happened = Course {
        interval_us: 1_000,
        intervals: vec![Interval { answered: 1, failed: 1 }],
        marks: vec![Mark { at_us: 5, label: HOSTILE.to_owned() }],
    };
    for svg in [pods(&load, HOSTILE), course(&happened, HOSTILE)] {
        assert!(!svg.contains("<script") && !svg.contains('\u{202e}') && !svg.contains('\u{1b}'), "{svg}");
        assert!(svg.contains("&lt;script&gt;"), "{svg}");
    }
}

#[test]
fn every_plot_has_a_title_and_a_description_for_those_who_cannot_see_it() {
    let load = loads::skewed();
    for svg in [
        pods(&load, "a"),
        latency(&load.latency, "a"),
        latency(&Latency::default(), "a"),
        course(&loads::course(), "a"),
    ] {
        assert!(svg.contains("role=\"img\" aria-labelledby=\"a-title a-desc\""), "{svg}");
        assert!(svg.contains("<title id=\"a-title\">") && svg.contains("<desc id=\"a-desc\">"), "{svg}");
    }
}

proptest! {
    #[test]
    fn bars_stay_in_their_frame(counts in prop::collection::vec((0_u64..1_000_000, 0.0_f64..=1.0, any::<bool>()), 0..12)) {
        let mut load = loads::as_expected();
        let one = load.pods[0].clone();
        load.connections = counts.iter().map(|(connections, ..)| connections).sum();
        load.pods = counts.iter().map(|&(connections, share, known)| {
            let (low, high) = crate::load::statistics::share_interval(connections, load.connections.max(1), 0.01);
            crate::report::PodLoad { connections, low, high, share: known.then_some(share), ..one.clone() }
        }).collect();
        is_framed(&pods(&load, "one"))?;
    }

    #[test]
    fn latencies_stay_in_their_frame(buckets in prop::collection::btree_map(0_u64..3_600_000_000, 1_u64..1_000_000, 1..30)) {
        let starts: Vec<u64> = buckets.keys().copied().collect();
        let max_us = starts[starts.len() - 1];
        let buckets = buckets.into_iter().map(|(from_us, count)| LatencyBucket { from_us, to_us: from_us + 1 + from_us / 4, count });
        let any = Latency { buckets: buckets.collect(), p50_us: starts[0], max_us, ..Latency::default() };
        is_framed(&latency(&any, "one"))?;
    }

    #[test]
    fn a_course_stays_in_its_frame(
        interval_us in 0_u64..10_000_000,
        intervals in prop::collection::vec((0_u64..100_000, 0_u64..100_000), 0..400),
        marks in prop::collection::vec(0_u64..10_000_000_000, 0..6),
    ) {
        let any = Course {
            interval_us,
            intervals: intervals.into_iter().map(|(answered, failed)| Interval { answered, failed }).collect(),
            marks: marks.into_iter().map(|at_us| Mark { at_us, label: "scaled".to_owned() }).collect(),
        };
        is_framed(&course(&any, "one"))?;
    }
}
