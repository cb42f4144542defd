//! Makes everything that a cluster needs, in the cache directory given as argument, and says what it is called.

use std::path::PathBuf;

use reachmap::{
    Result,
    environment::{engine, images},
    home::Home,
    plan::{EngineChoice, ImagesChoice},
    process,
    progress::{Progress, Show},
};

fn main() -> Result<()> {
    let home = Home::chosen(std::env::args().nth(1).map(PathBuf::from).as_deref())?;
    process::record_in(&home);
    let progress = Progress::new(Show::Plain, home.root().join("logs"));
    let _hold = engine::hold(&home)?;
    let engine = engine::choose(EngineChoice::Auto, &home, &progress)?;
    let images = images::prepare(ImagesChoice::Auto, None, &engine, &home, &progress)?;
    progress.line(&format!("{}: {}", engine.name(), images.node));
    Ok(())
}
