//! The commands for continuous integration: its matrix, and the checks of its workflows.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{HomeArguments, examples, output::OutputArguments, say};
use crate::{
    Result,
    environment::images::{linters::Linters, versions::Versions},
    lint,
    plan::{
        ImagesChoice,
        legs::{self, Extent, Leg},
    },
    progress::Progress,
    session::run::{blocking, show},
};

/// What `matrix` takes.
#[derive(Debug, Args)]
pub(super) struct MatrixArguments {
    /// One line of JSON, as GitHub's `fromJSON` takes it for a `strategy.matrix`.
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Every version in every mode and family, with every plugin; else only the newest is tried in all of them.
    #[arg(long)]
    full: bool,
    /// Only the versions and plugins that can be had from there; auto is all.
    #[arg(long, value_enum, default_value_t = ImagesChoice::Registry)]
    images: ImagesChoice,
    #[command(flatten)]
    output: OutputArguments,
}

/// What `lint` takes.
#[derive(Debug, Args)]
pub(super) struct LintArguments {
    #[command(subcommand)]
    command: LintCommand,
}

#[derive(Debug, Subcommand)]
enum LintCommand {
    /// The GitHub workflows and actions, with actionlint, ShellCheck and zizmor.
    #[command(after_help = examples::LINT_ACTIONS)]
    Actions(LintActionsArguments),
}

#[derive(Debug, Args)]
struct LintActionsArguments {
    #[command(flatten)]
    home: HomeArguments,
    /// The repository.
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn matrix(arguments: &MatrixArguments) -> Result<u8> {
    let extent = if arguments.full { Extent::Full } else { Extent::Edges };
    let legs = legs::legs(&Versions::embedded()?, arguments.images, extent)?;
    if arguments.json {
        say(legs::json(&legs)?);
    } else {
        let line = |leg: &Leg| {
            let Leg { kubernetes, proxy_mode, ip_family, cni, images } = leg;
            format!("{kubernetes:<10} {proxy_mode:<9} {ip_family:<5} {cni:<16} {images}")
        };
        arguments.output.print(&legs, || legs.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(0)
}

pub(super) async fn lint(arguments: LintArguments) -> Result<u8> {
    let LintCommand::Actions(arguments) = arguments.command;
    let home = crate::home::Home::chosen(arguments.home.cache_dir.as_deref())?;
    let progress = Progress::new(show(), home.root().join("logs"));
    let actions = lint::Actions::of(&arguments.directory)?;
    let checks = blocking(move || actions.check(&Linters::find_or_build(&home, &progress)?)).await?;
    let found = checks.iter().any(|check| !check.is_clean);
    for lint::Check { what, is_clean, said } in checks {
        say(format!("{} {what}", if is_clean { "ok      " } else { "findings" }));
        if !is_clean {
            say(said);
        }
    }
    Ok(u8::from(found))
}
