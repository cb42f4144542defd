//! Plots as inline SVG: pure functions of what a report has, without a script and without a picture file.
//!
//! - [`pods`]: how many connections each pod got, with its confidence band, beside the share that the law expects.
//! - [`latency`]: how long answers took, on a logarithmic axis.
//! - [`course`]: successes and failures over time, with marks for what happened meanwhile.
//!
//! They take their colours from the page, by the classes in [`STYLE`], and so are readable in light and dark. Nothing is
//! told by colour alone: what was seen is an area, what is expected a dashed line, a band a line with two ends, and what is
//! not as it must be has a mark in words. Each has a title and a description for those who cannot see it
//! (SVG 2, 5.8 *The ‘desc’ and ‘title’ elements*; WAI-ARIA Graphics Module).

mod axis;
mod course;
mod latency;
mod pods;
mod svg;
#[cfg(test)]
mod tests;

pub(super) use self::svg::escape;
pub use self::{
    course::{Course, Interval, Mark, course},
    latency::latency,
    pods::pods,
};

/// The rules of a page's style sheet that the plots need, over the page's own variables: `--text`, `--soft`, `--line`,
/// `--found` for what is as it must be, and `--wrong` for what is not.
pub const STYLE: &str = "\
svg.plot { display: block; width: 100%; min-width: 34rem; max-width: 44rem; height: auto; margin: .5rem 0 1rem; }
svg.plot text { fill: var(--text); font: 13px system-ui, sans-serif; paint-order: stroke; stroke: var(--back); stroke-width: 3px; }
svg.plot .small { font-size: 11.5px; fill: var(--soft); }
svg.plot .end { text-anchor: end; }
svg.plot .middle { text-anchor: middle; }
svg.plot .good { fill: var(--found); }
svg.plot .bad { fill: var(--wrong); }
svg.plot text.alarm { fill: var(--text); font-weight: 700; }
svg.plot .grid { stroke: var(--line); stroke-width: 1; }
svg.plot .base { stroke: var(--soft); stroke-width: 1; }
svg.plot .halo { stroke: var(--back); stroke-width: 5; }
svg.plot .band { stroke: var(--text); stroke-width: 2; }
svg.plot .law { stroke: var(--text); stroke-width: 2; stroke-dasharray: 4 3; }
";
