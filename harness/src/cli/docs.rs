//! `docs`: the book, and the pages of it that are made from the code.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{examples, say};
use crate::{
    Error, ErrorKind, Result,
    command::{Command, read_text},
    docs,
    home::write_atomically,
};

/// What `docs` takes.
#[derive(Debug, Args)]
pub(super) struct DocsArguments {
    #[command(subcommand)]
    command: DocsCommand,
}

#[derive(Debug, Subcommand)]
enum DocsCommand {
    /// Build the book with mdbook.
    #[command(after_help = examples::DOCS_BUILD)]
    Build {
        /// The directory with book.toml.
        #[arg(default_value = "docs", value_name = "DIR")]
        directory: PathBuf,
        /// Where the pages go (default: target/book).
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// The program mdbook.
        #[arg(long, default_value = "mdbook", value_name = "PROGRAM")]
        mdbook: String,
    },
    /// Write the page of the matrix.
    #[command(after_help = examples::DOCS_MATRIX)]
    Matrix {
        /// Only say whether the page is what the code says: exit code 1 if not.
        #[arg(long)]
        check: bool,
        /// The page.
        #[arg(default_value = "docs/src/matrix.md", value_name = "FILE")]
        page: PathBuf,
    },
}

pub(super) fn docs(arguments: &DocsArguments) -> Result<u8> {
    match &arguments.command {
        DocsCommand::Build { directory, into, mdbook } => {
            if !directory.join("book.toml").is_file() {
                let error = Error::new(
                    ErrorKind::Usage,
                    format!("build the book in {}", directory.display()),
                    "it has no book.toml",
                );
                return Err(error.hint("Run this in the repository's root, or name the directory of the book."));
            }
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
            let into = std::path::absolute(into.clone().unwrap_or_else(|| target.join("book"))).unwrap_or_default();
            let build = Command::new(mdbook)
                .arg("build")
                .arg(directory.to_string_lossy())
                .arg("--dest-dir")
                .arg(into.to_string_lossy());
            build.run().map_err(|error| match error.kind() {
                ErrorKind::Missing => error.hint("Install it with `cargo install mdbook`, or name it with --mdbook."),
                _ => error,
            })?;
            say(into.join("index.html").display());
            Ok(0)
        }
        DocsCommand::Matrix { check, page } => {
            let now = docs::matrix()?;
            if *check {
                let is_same = read_text(page).is_ok_and(|text| text == now);
                say(if is_same {
                    format!("{} is what the code says", page.display())
                } else {
                    format!("{} is not what the code says: run `cargo xtask docs matrix`", page.display())
                });
                return Ok(u8::from(!is_same));
            }
            if !page.parent().is_none_or(|parent| parent.as_os_str().is_empty() || parent.is_dir()) {
                let error =
                    Error::new(ErrorKind::Usage, format!("write {}", page.display()), "there is no such directory");
                return Err(error.hint("Run this in the repository's root, or name the page."));
            }
            write_atomically(page, now.as_bytes())?;
            say(page.display());
            Ok(0)
        }
    }
}
