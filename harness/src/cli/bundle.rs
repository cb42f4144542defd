//! The commands about bundles: explain one without its cluster, or say what is in it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{examples, output::OutputArguments, say};
use crate::{Result, bundle};

#[derive(Debug, Args)]
pub(super) struct BundleArguments {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// Derive the expectations again from the recorded state, and show the failed cells with what bears on them: exit
    /// code 0 if every verdict is as recorded, 1 if one is not, 2 for bad input.
    #[command(after_help = examples::BUNDLE_EXPLAIN)]
    Explain {
        /// The bundle, or the directory of the run that has one.
        file: PathBuf,
        /// Only this cell, failed or not: `stage/vantage/method`.
        #[arg(long, value_name = "ID")]
        cell: Option<String>,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// List what is in a bundle, and what is not and why; or print one of its files.
    #[command(after_help = examples::BUNDLE_SHOW)]
    Show {
        /// The bundle, or the directory of the run that has one.
        file: PathBuf,
        /// The file to print.
        #[arg(value_name = "PATH")]
        path: Option<String>,
        #[command(flatten)]
        output: OutputArguments,
    },
}

pub(super) fn run(arguments: &BundleArguments) -> Result<u8> {
    match &arguments.command {
        BundleCommand::Explain { file, cell, output } => {
            let explanation = bundle::explain(&bundle::read(file)?, cell.as_deref())?;
            output.print(&explanation, || bundle::show(&explanation))?;
            Ok(explanation.exit_code())
        }
        BundleCommand::Show { file, path: None, output } => {
            let bundle = bundle::read(file)?;
            output.print(&bundle.manifest, || bundle::list(&bundle))?;
            Ok(0)
        }
        BundleCommand::Show { file, path: Some(path), .. } => {
            say(bundle::read(file)?.file(path)?);
            Ok(0)
        }
    }
}
