//! The commands about reports that are there already: compare two, merge several, open one, take pictures of one.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{examples, output::OutputArguments, say};
use crate::{
    Error, ErrorKind, Result,
    command::Command,
    report::{self, Format, Picture},
    session::directory::default_reports,
};

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// Show what two runs do not say the same of: exit code 0 if there is nothing, 1 if there is, 2 for bad input.
    #[command(after_help = examples::REPORT_COMPARE)]
    Compare {
        /// The one: a report.json, or a run's directory.
        a: PathBuf,
        /// The other.
        b: PathBuf,
        /// How it is shown.
        #[arg(long, value_enum, default_value_t, conflicts_with = "output")]
        format: Format,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Put the shards of one run together, and write all reports of it.
    #[command(after_help = examples::REPORT_MERGE)]
    Merge {
        /// Where the reports go.
        #[arg(value_name = "OUT-DIR")]
        directory: PathBuf,
        /// The shards: each a report.json, or a run's directory.
        #[arg(required = true, value_name = "REPORT")]
        reports: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Open report.html, or say where it is if there is nothing to open it with.
    #[command(after_help = examples::REPORT_OPEN)]
    Open {
        /// The run's directory, or the page (default: the newest run).
        report: Option<PathBuf>,
    },
    /// Take pictures of report.html, as the documentation shows them; it needs Chromium.
    #[command(after_help = examples::REPORT_SCREENSHOTS)]
    Screenshots {
        /// The run: a report.json, or a run's directory.
        #[arg(long, value_name = "REPORT")]
        from: PathBuf,
        /// Take these only, separated by commas (default: all that the run has anything for).
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Picture>,
        /// Where the pictures go.
        #[arg(value_name = "OUT-DIR")]
        directory: PathBuf,
    },
}

pub(super) async fn run(arguments: &ReportArguments) -> Result<u8> {
    match &arguments.command {
        ReportCommand::Compare { a, b, format, output } => {
            let comparison = report::compare_files(a, b)?;
            output.print(&comparison, || comparison.show(*format))?;
            Ok(comparison.exit_code())
        }
        ReportCommand::Merge { directory, reports, output } => merge(directory, reports, *output),
        ReportCommand::Open { report } => open(report.as_deref()),
        ReportCommand::Screenshots { from, only, directory } => screenshots(from, only, directory).await,
    }
}

fn merge(directory: &Path, reports: &[PathBuf], output: OutputArguments) -> Result<u8> {
    let runs = reports.iter().map(|path| report::read(path)).collect::<Result<Vec<_>>>()?;
    let name = directory.file_name().map_or_else(|| "merged".to_owned(), |name| name.to_string_lossy().into_owned());
    let merged = report::merge(&name, &runs)?;
    let paths = report::write_files(&merged, directory)?;
    output.print_run(&merged, None, &paths, None)?;
    Ok(merged.exit_code())
}

async fn screenshots(from: &Path, only: &[Picture], directory: &Path) -> Result<u8> {
    let run = report::read(from)?;
    let pictures = if only.is_empty() { Picture::ALL.as_slice() } else { only };
    for file in report::screenshots(&run, directory, pictures).await? {
        say(file.display());
    }
    Ok(0)
}

fn open(chosen: Option<&Path>) -> Result<u8> {
    let chosen = chosen.map_or_else(|| default_reports().join("latest"), Path::to_owned);
    let page = if chosen.is_dir() { chosen.join("report.html") } else { chosen };
    if !page.is_file() {
        let error = Error::new(ErrorKind::Usage, format!("open {}", page.display()), "there is no such page");
        return Err(error.hint("`cargo xtask e2e` writes one; name the directory of another run if you mean that."));
    }
    let page = std::path::absolute(&page).unwrap_or(page);
    // Without a screen, xdg-open would look for a browser that takes over the terminal.
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| std::env::var_os(name).is_some());
    let opened = screen
        && which::which("xdg-open").is_ok()
        && Command::new("xdg-open").arg(page.to_string_lossy()).interactive().is_ok_and(|code| code == 0);
    say(if opened { format!("Opened {}", page.display()) } else { page.display().to_string() });
    Ok(0)
}
