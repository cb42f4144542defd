//! The command that shows whether the statistics of the load's distribution keep their word.

use std::time::Instant;

use serde::Serialize;

use super::{
    StatisticsArguments,
    output::{Output, OutputArguments},
    say,
};
use crate::{
    Result,
    load::simulate::{Row, Simulation},
};

/// How much room the description of a row has.
const WIDTH: usize = 90;

/// What `bench statistics` has found.
#[derive(Debug, Serialize)]
struct Statistics {
    runs: u64,
    seed: u64,
    rows: Vec<Promised>,
}

/// A row, and whether its promise is kept.
#[derive(Debug, Serialize)]
struct Promised {
    what: String,
    rejected: u64,
    rate: f64,
    promise: String,
    kept: bool,
}

impl Promised {
    fn of(row: &Row) -> Self {
        Self {
            what: row.what.clone(),
            rejected: row.rejected,
            rate: row.rate(),
            promise: row.promise.to_string(),
            kept: row.is_kept(),
        }
    }

    fn line(&self) -> String {
        let Self { what, rejected, rate, promise, kept } = self;
        let kept = if *kept { "" } else { "  BROKEN" };
        format!("{what:<WIDTH$}  {rejected:>8}  {rate:.5}  {promise}{kept}")
    }
}

/// Simulates every row and prints it, for people one by one; 1 if a promise is broken.
pub(super) fn bench_statistics(arguments: &StatisticsArguments) -> Result<u8> {
    let StatisticsArguments { runs, seed, output } = *arguments;
    let OutputArguments { output: form } = output;
    let started = Instant::now();
    let mut statistics = Statistics { runs, seed, rows: Vec::new() };
    if form == Output::Pretty {
        say(format!("{:<WIDTH$}  rejected     rate  promised", format!("{runs} runs a row, seed {seed}")));
    }
    for row in (Simulation { runs, seed }).rows()? {
        let row = Promised::of(&row);
        if form == Output::Pretty {
            say(row.line());
        }
        statistics.rows.push(row);
    }
    let (all, kept) = (statistics.rows.len(), statistics.rows.iter().filter(|row| row.kept).count());
    let seconds = started.elapsed().as_secs_f64();
    output.print(&statistics, || format!("{kept} of {all} promises kept, {seconds:.1} s"))?;
    Ok(u8::from(kept < all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::forms;

    #[test]
    fn a_broken_promise_is_told_in_every_form() {
        let row = |what: &str, rejected, rate, kept| Promised {
            what: what.to_owned(),
            rejected,
            rate,
            promise: "at most 0.001".to_owned(),
            kept,
        };
        let rows =
            vec![row("an even balancer, 4200 connections", 9, 0.0009, true), row("a skewed one", 20, 0.02, false)];
        let statistics = Statistics { runs: 10_000, seed: 1, rows };
        let pretty = || statistics.rows.iter().map(Promised::line).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!("statistics", forms(&statistics, pretty));
    }
}
