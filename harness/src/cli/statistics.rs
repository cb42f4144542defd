//! The command that shows whether the statistics of the load's distribution keep their word.

use std::time::Instant;

use super::{StatisticsArguments, say};
use crate::{Result, load::simulate::Simulation};

/// How much room the description of a row has.
const WIDTH: usize = 90;

/// Simulates every row and prints it; 1 if a promise is broken.
pub(super) fn bench_statistics(arguments: &StatisticsArguments) -> Result<u8> {
    let StatisticsArguments { runs, seed } = *arguments;
    let started = Instant::now();
    let (mut all, mut broken) = (0, 0);
    say(format!("{:<WIDTH$}  rejected     rate  promised", format!("{runs} runs a row, seed {seed}")));
    for row in (Simulation { runs, seed }).rows()? {
        let kept = if row.is_kept() { "" } else { "  BROKEN" };
        say(format!("{:<WIDTH$}  {:>8}  {:.5}  {}{kept}", row.what, row.rejected, row.rate(), row.promise));
        all += 1;
        broken += u32::from(!row.is_kept());
    }
    let seconds = started.elapsed().as_secs_f64();
    say(format!("{} of {} promises kept, {seconds:.1} s", all - broken, all));
    Ok(u8::from(broken > 0))
}
