//! What is kept between runs: built artifacts, and the images made of them.

use std::{path::Path, time::SystemTime};

use super::{packages, store};
use crate::{
    Result,
    command::Command,
    environment::engine::{self, Engine, Sandbox},
    home::Home,
};

/// An artifact that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is, such as `coredns`.
    pub name: String,
    /// The hash of its inputs.
    pub hash: String,
    /// How many bytes it takes.
    pub bytes: u64,
    /// When it was last used.
    pub last_used: Option<SystemTime>,
    /// Whether today's recipes use it.
    pub current: bool,
}

/// The artifacts that are kept, in the order of their names.
///
/// # Errors
/// [`crate::ErrorKind::Storage`] if they cannot be listed.
pub fn list(home: &Home) -> Result<Vec<Entry>> {
    let unused = store::unused(home, &packages::current_recipes()?)?;
    let entries = store::list(home)?.into_iter().map(|entry| {
        let current = !unused.contains(&entry.name);
        let (name, hash) = entry.name.rsplit_once('-').unwrap_or((&entry.name, ""));
        Entry { name: name.to_owned(), hash: hash.to_owned(), bytes: entry.bytes, last_used: entry.used, current }
    });
    Ok(entries.collect())
}

/// Removes the artifacts that today's recipes do not use, unless a run is making them or the private engine stands on
/// them; where that runs, the images that it has of older ones, too. Says what was removed.
///
/// # Errors
/// [`crate::ErrorKind::Storage`] if something cannot be removed.
pub fn prune(home: &Home) -> Result<Vec<String>> {
    // Nobody stops the engine while what it does not use is removed.
    let _hold = engine::hold(home)?;
    let sandbox = Sandbox::running(home);
    let stands_on = |path: &Path| sandbox.as_ref().is_some_and(|sandbox| sandbox.stands_on(path));
    let mut removed = store::prune(home, &packages::current_recipes()?, stands_on)?;
    if let Some(sandbox) = sandbox {
        removed.extend(prune_images(&Engine::Sandbox(sandbox))?);
    }
    Ok(removed)
}

fn prune_images(engine: &Engine) -> Result<Vec<String>> {
    let list = Command::new("docker").args(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    let names = engine.command(list).run()?.text();
    let keys = packages::current_keys()?;
    let mut removed = Vec::new();
    for name in outdated(&names, &keys) {
        // One that a container still uses is refused, and stays.
        if engine.command(Command::new("docker").args(["image", "rm", name])).output()?.code == Some(0) {
            removed.push(name.to_owned());
        }
    }
    // The layers that lost their name when a newer image took it.
    engine.command(Command::new("docker").args(["image", "prune", "--force"])).run()?;
    Ok(removed)
}

/// Those of our images, one per line of `names`, whose tag is none of `keys`.
fn outdated<'a>(names: &'a str, keys: &[String]) -> Vec<&'a str> {
    let ours = names.lines().filter(|name| name.starts_with(packages::REPOSITORY));
    ours.filter(|name| name.rsplit_once(':').is_some_and(|(_, tag)| !keys.iter().any(|key| key == tag))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_images_of_older_recipes_are_outdated() {
        let names = "reachmap.local/node:old\nreachmap.local/node:new\nnginx:old\nregistry.k8s.io/pause:3.10\n";
        assert_eq!(outdated(names, &["new".to_owned()]), ["reachmap.local/node:old"]);
    }

    #[test]
    fn an_artifact_of_an_older_recipe_is_listed_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let current = packages::current_recipes().unwrap().remove(0);
        for path in [current.path(&home), home.artifacts().join("node-root-0123456789ab")] {
            std::fs::create_dir_all(path).unwrap();
        }
        let listed = list(&home).unwrap();
        let facts: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.current)).collect();
        assert_eq!(facts, [("engine-root", true), ("node-root", false)]);
        assert_eq!(prune(&home).unwrap(), ["node-root-0123456789ab"]);
    }
}
