//! The commands about load.

use super::BenchLoadArguments;
use crate::{
    Result,
    load::bench::{Bench, bench},
    progress::Progress,
    session::{directory::RunDirectory, interrupt::guarded, run::show},
};

pub(super) async fn bench_load(arguments: BenchLoadArguments) -> Result<u8> {
    let home = crate::home::Home::chosen(arguments.home.cache_dir.as_deref())?;
    let run = RunDirectory::create(None)?;
    let progress = Progress::new(show(), run.path.join("logs"));
    let BenchLoadArguments { requests, connections, rounds, output, .. } = arguments;
    let measured = guarded(bench(Bench { requests, connections, rounds }, &home, &progress)).await?;
    output.print(&measured, || measured.to_string().trim_end().to_owned())?;
    Ok(0)
}
