//! The command that shows whether the statistics of the load's distribution keep their word.

use std::time::Instant;

use super::{StatisticsArguments, say};
use crate::{Result, load::simulate::Simulation};

/// Simulates every row and prints it; 1 if a promise is broken.
pub(super) fn bench_statistics(arguments: &StatisticsArguments) -> Result<u8> {
    let StatisticsArguments { runs, seed } = *arguments;
    let started = Instant::now();
    let rows = Simulation { runs, seed }.run()?;
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
    say(format!("{:<width$}  rejected     rate  promised", format!("{runs} runs a row, seed {seed}")));
    for row in &rows {
        let kept = if row.is_kept() { "" } else { "  BROKEN" };
        say(format!("{:<width$}  {:>8}  {:.5}  {}{kept}", row.what, row.rejected, row.rate(), row.promise));
    }
    let broken = rows.iter().filter(|row| !row.is_kept()).count();
    let seconds = started.elapsed().as_secs_f64();
    say(format!("{} of {} promises kept, {seconds:.1} s", rows.len() - broken, rows.len()));
    Ok(u8::from(broken > 0))
}
