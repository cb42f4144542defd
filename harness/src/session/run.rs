//! One run of `cargo xtask e2e`: from options to reports, and everything put back.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::try_join;

use super::{
    handover::Handover,
    interrupt::guarded,
    selection,
    stage::Stage,
    suite::{self, Suite, SuiteBinary, read_all},
};
use crate::{
    Context as _, Error, ErrorKind, Result,
    cli::{E2eArguments, say},
    environment::Environment,
    filter::Filter,
    home::Home,
    matrix::{self, Cell},
    process,
    progress::{Progress, Show},
    report,
    verdict::{Judgement, Verdict},
};

/// A test binary with hundreds of cells side by side ends in seconds; after this it hangs.
const SUITE_DEADLINE: Duration = Duration::from_secs(300);

/// Runs the chosen suites and returns the exit code: 0 if every cell is as expected, 1 if one is not.
///
/// # Errors
/// If the environment cannot be made, or the run is interrupted. Whatever happens, what the run
/// changed is put back, and what it made is removed unless it is to be kept.
pub async fn e2e(all: &[Suite], arguments: E2eArguments) -> Result<u8> {
    let suites = suite::choose(all, &arguments.suite)?;
    let only = arguments.only.as_deref().map(Filter::parse).transpose()?;
    let cells = selected_cells(arguments.environment.workers, only.as_ref())?;
    if arguments.list {
        say(report::plan::list(&cells));
        return Ok(0);
    }
    if arguments.plan {
        say(report::plan::table(&cells, &Environment::expected_steps(&arguments.environment)));
        return Ok(0);
    }
    let home = open_home(arguments.environment.cache_dir.as_deref())?;
    let run = RunDirectory::create(arguments.report_dir.as_deref())?;
    let progress = Progress::new(show(), run.path.join("logs"));
    let mut record = report::Run::started(&run.id, &std::env::args().skip(1).collect::<Vec<_>>());

    let body = run_suites(&suites, only.as_ref(), &arguments, &home, &run, &progress, &mut record);
    let ended = guarded(body).await;
    let released = Environment::release(&home, &run.id, arguments.keep, &progress).await;

    record.verdicts.extend(run.verdicts()?);
    record.finish(&progress, ended.as_ref().err());
    let paths = report::write(&record, &run.path)?;
    say(report::terminal(&record));
    say(format!("Report: {}", paths.markdown.display()));
    ended?;
    released?;
    Ok(record.exit_code())
}
