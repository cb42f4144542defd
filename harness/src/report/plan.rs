//! What a run would do, before anything is touched.

use std::time::Duration;

use comfy_table::Table;
use serde::Serialize;

use super::{
    terminal::{Look, plain_table},
    words,
};
use crate::matrix::{Cell, Stage};

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// The cells that would be probed, by id.
    pub cells: Vec<String>,
}

/// A step of a run, and how long it usually takes when everything is cached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// The step.
    pub title: String,
    /// How long it usually takes, in seconds.
    pub seconds: f64,
}

impl Plan {
    /// The plan of a run of these steps that probes these cells.
    pub fn new(cells: &[Cell], steps: &[(String, Duration)]) -> Self {
        let step =
            |(title, usual): &(String, Duration)| PlannedStep { title: title.clone(), seconds: usual.as_secs_f64() };
        Self { steps: steps.iter().map(step).collect(), cells: cells.iter().map(Cell::id).collect() }
    }
}

/// A cell's id on each line, `stage/vantage/method`: what filters match.
///
/// ```
/// use reachmap::{matrix::{Cell, Stage}, report::plan};
/// let cells = [Cell::new(Stage::LoadBalancerReady, "laptop", "pod-ip")];
/// assert_eq!(plan::list(&cells), "load-balancer-ready/laptop/pod-ip");
/// ```
pub fn list(cells: &[Cell]) -> String {
    cells.iter().map(Cell::id).collect::<Vec<_>>().join("\n")
}

/// The steps with how long each usually takes, and how many cells are probed in each stage from each vantage.
pub fn table(cells: &[Cell], steps: &[(String, Duration)]) -> String {
    render(cells, steps, Look::of_stdout())
}

fn render(cells: &[Cell], steps: &[(String, Duration)], look: Look) -> String {
    let mut parts = Vec::new();
    if !steps.is_empty() {
        let mut table = plain(look);
        table.set_header(["step", "usually takes"]);
        for (title, expected) in steps {
            table.add_row([words::visible(title), words::seconds(expected.as_secs_f64())]);
        }
        let total: Duration = steps.iter().map(|(_, expected)| *expected).sum();
        let total = words::seconds(total.as_secs_f64());
        parts.push(format!(
            "{}\n\nIn all about {total}; less where steps overlap, or an earlier run has done them.",
            table.trim_fmt()
        ));
    }
    // Requests are sent in some stages, and names looked up in the others, each from places of their own.
    for stages in [&Stage::OF_TUTORIAL[..], &Stage::OF_POLICIES[..], &Stage::OF_COREFILES[..]] {
        let cells: Vec<&Cell> = cells.iter().filter(|cell| stages.contains(&cell.stage)).collect();
        let stages: Vec<Stage> =
            stages.iter().copied().filter(|stage| cells.iter().any(|cell| cell.stage == *stage)).collect();
        if !stages.is_empty() {
            parts.push(counts(&cells, &stages, look));
        }
    }
    parts.push(format!("{} would be probed.", words::count(cells.len(), "cell")));
    parts.join("\n\n")
}

/// How many of the cells there are in each stage from each vantage.
fn counts(cells: &[&Cell], stages: &[Stage], look: Look) -> String {
    let mut vantages: Vec<&str> = Vec::new();
    for cell in cells {
        if !vantages.contains(&cell.vantage.as_str()) {
            vantages.push(&cell.vantage);
        }
    }
    let mut table = plain(look);
    table.set_header(["vantage"].into_iter().chain(stages.iter().map(|stage| stage.id())));
    let count = |vantage: Option<&str>, stage| {
        let chosen = |cell: &&&Cell| cell.stage == stage && vantage.is_none_or(|vantage| vantage == cell.vantage);
        cells.iter().filter(chosen).count().to_string()
    };
    for vantage in vantages {
        let counts = stages.iter().map(|stage| count(Some(vantage), *stage));
        table.add_row([words::visible(vantage)].into_iter().chain(counts));
    }
    table.add_row(["in all".to_owned()].into_iter().chain(stages.iter().map(|stage| count(None, *stage))));
    table.trim_fmt()
}

fn plain(look: Look) -> Table {
    let mut table = plain_table(look);
    table.force_no_tty();
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_steps_cells_and_totals() {
        let cells = [
            Cell::new(Stage::LoadBalancerPending, "testpod", "pod-ip"),
            Cell::new(Stage::LoadBalancerPending, "laptop", "pod-ip"),
            Cell::new(Stage::LoadBalancerReady, "laptop", "pod-ip"),
        ];
        let steps = [
            ("Start the engine".to_owned(), Duration::from_secs(3)),
            ("Create the cluster".to_owned(), Duration::from_secs(72)),
        ];
        insta::assert_snapshot!(render(&cells, &steps, Look::PLAIN));
    }
}
