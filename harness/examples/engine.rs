//! Makes everything that a cluster needs, in the cache directory given as the first argument, and says
//! what it is called; with `stop` as the second argument, ends the private engine instead.

use std::path::PathBuf;

use reachmap::{
    Result,
    environment::{
        self,
        engine::{self, Sandbox},
        images::{self, origin::Origins},
    },
    plan::{EngineChoice, ImagesChoice},
    progress::{Progress, Show},
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let home = environment::open_home(arguments.next().map(PathBuf::from).as_deref())?;
    let progress = Progress::new(Show::Live, home.root().join("logs"));
    if arguments.next().as_deref() == Some("stop") {
        let stopped = Sandbox::stop_if_unused(&home, &progress)?;
        progress.line(if stopped { "stopped" } else { "there was none to stop, or a run uses it" });
        return Ok(());
    }
    let _hold = engine::hold(&home)?;
    let engine = engine::choose(EngineChoice::Auto, &home, &progress)?;
    let images = images::prepare(ImagesChoice::Auto, None, &Origins::default(), &engine, &home, &progress)?;
    progress.line(&format!("{}: {}", engine.name(), images.node));
    Ok(())
}
