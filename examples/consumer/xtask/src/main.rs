//! The shop's `cargo xtask`.

use reachmap::{
    cli::Cli,
    session::suite::{About, Suite},
};

fn main() -> std::process::ExitCode {
    Cli::new().suite(Suite::new("shop", "shop-suite").about(About::Stages)).main()
}
