//! The way as inline SVG: a box for each place, in it what happens there, from top to bottom.

use std::fmt::Write as _;

use super::{Place, Stop, Told, Way};
use crate::report::{plot, words};

/// All lengths are in the drawing's own units; the page scales it to at most a little more than pixels.
const WIDTH: usize = 380;
const MARGIN: usize = 12;
/// How high a line of text is, the title of a place, and what lies between two boxes.
const LINE: usize = 17;
const TITLE: usize = 24;
const BETWEEN: usize = 14;
/// How many letters fit into a line.
const LETTERS: usize = 50;

/// What all drawings have in common, and is therefore in the page once: SVG 2 has the geometry of a shape among the style's
/// properties (7.1, *Geometry Properties*).
pub(in super::super) fn style() -> String {
    format!(
        ".way rect {{ x: {MARGIN}px; width: {}px; rx: 6px; }}\n.way .place {{ x: 1px; width: {}px; }}\n",
        WIDTH - 2 * MARGIN,
        WIDTH - 2
    )
}

/// The drawing. Its texts are read in the order of the way; it needs no id, so that a page may hold thousands.
pub(in super::super) fn draw(way: &Way) -> String {
    let (mut body, mut arrows) = (String::new(), String::new());
    let mut y = 1;
    for stops in way.stops.chunk_by(|one, next| one.place == next.place) {
        if y > 1 {
            arrow(&mut arrows, y, BETWEEN + 4);
            y += BETWEEN + 4;
        }
        y = place(&mut body, &mut arrows, y, way, stops);
    }
    if !arrows.is_empty() {
        // All of them in one, after the places on which they stand.
        let _ = write!(body, "<path d=\"{arrows}\"/>");
    }
    format!(
        "<svg class=\"way\" viewBox=\"0 0 {WIDTH} {}\" role=\"group\" aria-label=\"The way of the request\">{body}</svg>",
        y + 1
    )
}

/// A place with its stops, from `top` on; says where it ends.
fn place(body: &mut String, arrows: &mut String, top: usize, way: &Way, stops: &[Stop]) -> usize {
    let is_told = stops.first().is_some_and(|stop| stop.place != Place::NotTold || stop.told == Told::Seen);
    let heights: usize = stops.iter().map(height).sum();
    let height_of_all = heights + BETWEEN * (stops.len() - 1) + if is_told { TITLE + MARGIN } else { 0 };
    let mut y = top;
    if is_told {
        rect(body, "place", top, height_of_all);
        text(body, "s", MARGIN, top + 17, &title(way, &stops[0].place));
        y += TITLE;
    }
    for (number, stop) in stops.iter().enumerate() {
        if number > 0 {
            arrow(arrows, y, BETWEEN);
            y += BETWEEN;
        }
        rect(body, class(stop.told), y, height(stop));
        for (number, line) in stop.lines.iter().enumerate() {
            let line = if number == 0 { format!("{}{line}", sign(stop.told)) } else { line.clone() };
            text(body, if number == 0 { "" } else { "s" }, MARGIN + 12, y + 19 + number * LINE, &line);
        }
        y += height(stop);
    }
    if is_told { y + MARGIN } else { y }
}

const fn height(stop: &Stop) -> usize {
    11 + LINE * stop.lines.len()
}

fn title(way: &Way, place: &Place) -> String {
    match place {
        Place::Outside => "outside the cluster".to_owned(),
        Place::NotTold => "a place that the record does not tell".to_owned(),
        Place::Node(name) => match way.names.iter().find(|(known, _)| known == name) {
            Some((_, id)) if id != name => format!("node {id} ({name})"),
            _ => format!("node {name}"),
        },
    }
}

const fn class(told: Told) -> &'static str {
    match told {
        Told::Seen => "seen",
        Told::Reasoned => "told",
        Told::Ends => "ends",
        Told::Owed => "owed",
    }
}

const fn sign(told: Told) -> &'static str {
    match told {
        Told::Seen | Told::Reasoned => "",
        Told::Ends => "✕ ",
        Told::Owed => "! ",
    }
}

/// A box; how wide it is, the style sheet says by its class ([`style`]).
fn rect(body: &mut String, class: &str, y: usize, height: usize) {
    // Writing to a string cannot fail.
    let _ = write!(body, "<rect class=\"{class}\" y=\"{y}\" height=\"{height}\"/>");
}

fn arrow(arrows: &mut String, y: usize, length: usize) {
    let (middle, length) = (WIDTH / 2, length - 2);
    let _ = write!(arrows, "M{middle} {y}v{length}m-4-4 4 4 4-4");
}

fn text(body: &mut String, class: &str, x: usize, y: usize, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = write!(body, "<text{class} x=\"{x}\" y=\"{y}\">{}</text>", plot::escape(&shortened(text)));
}

/// A text that fits: names differ at their ends, and so the middle is left out.
fn shortened(text: &str) -> String {
    let letters: Vec<char> = words::visible(text).chars().collect();
    if letters.len() <= LETTERS {
        return letters.into_iter().collect();
    }
    let (start, end) = (LETTERS / 2, letters.len() - (LETTERS / 2 - 1));
    letters[..start].iter().chain(&['…']).chain(&letters[end..]).collect()
}
