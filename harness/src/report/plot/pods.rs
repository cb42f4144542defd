//! Bars for pods: the share of the connections that each got, with its band, beside what the law expects.

use super::{
    axis::{real, round_step},
    svg::{Svg, WIDTH},
};
use crate::report::{LoadRecord, PodLoad, words};

/// Where the bars start and end.
const LEFT: f64 = 8.0;
const RIGHT: f64 = WIDTH - 170.0;

/// How high a pod's row is, and its bar.
const ROW: f64 = 46.0;
const BAR: f64 = 18.0;

/// How many letters fit over a bar.
const LABEL: usize = 90;

/// Each pod's share of the connections as a bar, its confidence band (exact, by Clopper and Pearson; see
/// [`share_interval`](crate::load::statistics::share_interval)), and the law's expected share as a dashed line.
///
/// `id` must be the page's only one.
pub fn pods(load: &LoadRecord, id: &str) -> String {
    let mut svg = Svg::new(id, &format!("Connections of {} by pod", load.place()), &description(load));
    let share = |pod: &PodLoad| real(pod.connections) / real(load.connections.max(1));
    let most = load.pods.iter().map(|pod| pod.high.max(share(pod)).max(pod.share.unwrap_or(0.0))).fold(0.05, f64::max);
    let step = round_step(most / 6.0);
    let end = (most / step).ceil() * step;
    let x = |share: f64| LEFT + (share / end).clamp(0.0, 1.0) * (RIGHT - LEFT);
    let bottom = 8.0 + ROW * real(load.pods.len().max(1) as u64);
    let ticks: Vec<f64> = std::iter::successors(Some(0.0), |tick| Some(tick + step))
        .take_while(|tick| *tick <= end + step / 2.0)
        .collect();
    svg.line([x(0.0), 4.0, x(0.0), bottom], "base");
    svg.lines(ticks.iter().skip(1).map(|tick| [x(*tick), 4.0, x(*tick), bottom]), "grid");
    for (number, tick) in ticks.into_iter().enumerate() {
        svg.text([x(tick), bottom + 16.0], if number == 0 { "small" } else { "small middle" }, &percent(tick));
    }
    for (row, pod) in load.pods.iter().enumerate() {
        let top = 8.0 + ROW * real(row as u64);
        let (middle, seen) = (top + 20.0 + BAR / 2.0, share(pod));
        let good = is_within(pod);
        let node = pod.node.as_ref().map_or_else(String::new, |node| format!(" on {node}"));
        svg.text([LEFT + 3.0, top + 14.0], "", &words::cut(&format!("{}{node}", pod.pod), LABEL));
        let said = sentence(pod, seen);
        svg.rectangle([LEFT, top + 20.0, x(seen) - LEFT, BAR], if good { "good" } else { "bad" }, &said);
        svg.band(x(pod.low), x(pod.high), middle);
        if let Some(expected) = pod.share {
            svg.line([x(expected), top + 17.0, x(expected), top + 23.0 + BAR], "halo");
            svg.line([x(expected), top + 17.0, x(expected), top + 23.0 + BAR], "law");
        }
        svg.text([RIGHT + 12.0, middle + 4.5], "", &format!("{} ({})", pod.connections, percent(seen)));
        let alarm = match (pod.may_answer, good) {
            (false, _) => Some("! may not answer"),
            (true, false) => Some("! not by the law"),
            (true, true) => None,
        };
        if let Some(alarm) = alarm {
            svg.text([RIGHT + 12.0, middle - 12.0], "alarm", alarm);
        }
    }
    legend(&mut svg, load, bottom + 36.0);
    svg.finish(bottom + 46.0)
}

/// Whether the law's share is within the band; there is nothing to be outside of if the law names no share.
fn is_within(pod: &PodLoad) -> bool {
    pod.may_answer && pod.share.is_none_or(|share| (pod.low..=pod.high).contains(&share))
}

fn legend(svg: &mut Svg, load: &LoadRecord, y: f64) {
    svg.rectangle([LEFT, y - 10.0, 14.0, 12.0], "good", "share");
    svg.text([LEFT + 20.0, y], "small", "share of the connections");
    svg.band(180.0, 204.0, y - 4.0);
    let sure = (1.0 - load.band_alpha) * 100.0;
    svg.text([212.0, y], "small", &format!("exact confidence band of {} %", trimmed(sure)));
    if load.pods.iter().any(|pod| pod.share.is_some()) {
        svg.line([452.0, y - 13.0, 452.0, y + 3.0], "law");
        svg.text([460.0, y], "small", "the law's share");
    }
}

/// A confidence, with as many digits as tell it from 100.
fn trimmed(percent: f64) -> String {
    let text = format!("{percent:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

fn sentence(pod: &PodLoad, seen: f64) -> String {
    let expected = match (pod.may_answer, pod.share) {
        (false, _) => ", and may not answer".to_owned(),
        (true, None) => String::new(),
        (true, Some(share)) => format!(", the law says {}", percent(share)),
    };
    let (low, high) = (percent(pod.low), percent(pod.high));
    format!("{}: {} connections, {} (band {low} to {high}){expected}", pod.pod, pod.connections, percent(seen))
}

fn description(load: &LoadRecord) -> String {
    let sentences = load.pods.iter().map(|pod| sentence(pod, real(pod.connections) / real(load.connections.max(1))));
    let pods = sentences.collect::<Vec<_>>().join("; ");
    format!("{} connections. {} {pods}.", load.connections, load.expected.why)
}
