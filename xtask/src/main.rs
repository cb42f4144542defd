//! `cargo xtask`: Reachmap's own front door, and all that another repository's xtask has to be.

use std::process::ExitCode;

use reachmap::{cli::Cli, session::suite::Suite};

fn main() -> ExitCode {
    Cli::new()
        .suite(Suite::new("access", "reachmap-suites"))
        .suite(Suite::new("dns", "reachmap-suites"))
        .suite(Suite::new("sabotage", "reachmap-suites").on_demand())
        .main()
}
