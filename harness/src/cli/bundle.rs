//! The commands about bundles: explain one without its cluster, or say what is in it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::say;
use crate::{
    Result,
    bundle::{self, Output},
};

#[derive(Debug, Args)]
pub(super) struct BundleArguments {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// Derive the expectations again from the recorded state, and show the failed cells with what bears on them: exit
    /// code 0 if every verdict is as recorded, 1 if one is not, 2 for bad input.
    Explain {
        /// The bundle, or the directory of the run that has one.
        file: PathBuf,
        /// Only this cell, failed or not: `stage/vantage/method`.
        #[arg(long, value_name = "ID")]
        cell: Option<String>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// List what is in a bundle, and what is not and why; or print one of its files.
    Show {
        /// The bundle, or the directory of the run that has one.
        file: PathBuf,
        /// The file to print.
        #[arg(value_name = "PATH")]
        path: Option<String>,
        /// How the list is printed.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

pub(super) fn run(arguments: &BundleArguments) -> Result<u8> {
    match &arguments.command {
        BundleCommand::Explain { file, cell, output } => {
            let explanation = bundle::explain(&bundle::read(file)?, cell.as_deref())?;
            say(bundle::show(&explanation, *output));
            Ok(explanation.exit_code())
        }
        BundleCommand::Show { file, path: None, output } => {
            say(bundle::list(&bundle::read(file)?, *output));
            Ok(0)
        }
        BundleCommand::Show { file, path: Some(path), .. } => {
            say(bundle::read(file)?.file(path)?);
            Ok(0)
        }
    }
}
