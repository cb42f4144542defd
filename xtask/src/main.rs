//! `cargo xtask`: Reachmap's own front door, and all that another repository's xtask has to be.

use std::process::ExitCode;

use reachmap::{
    cli::Cli,
    session::suite::{About, Suite},
};

fn main() -> ExitCode {
    Cli::new()
        .suite(Suite::new("access", "reachmap-suites"))
        .suite(Suite::new("policies", "reachmap-suites").about(About::Policies))
        .suite(Suite::new("dns", "reachmap-suites").about(About::Lookups))
        .suite(Suite::new("distribution", "reachmap-suites").about(About::Load))
        .suite(Suite::new("sabotage", "reachmap-suites").about(About::Stages).on_demand().breaks_nodes())
        .main()
}
