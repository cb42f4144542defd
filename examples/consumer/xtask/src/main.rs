//! The shop's `cargo xtask`.

use reachmap::{
    cli::Cli,
    matrix::Stage,
    session::suite::{About, Suite},
};

const VANTAGES: [&str; 5] = ["testpod", "testpod-other", "worker-1", "control-plane", "laptop"];

fn main() -> std::process::ExitCode {
    let methods = ["shop-name", "shop-cluster-ip"];
    let shop = Suite::new("shop", "shop-suite").about(About::Stages);
    Cli::new().suite(shop.cells_in(Stage::LoadBalancerPending, &VANTAGES, &methods)).main()
}
