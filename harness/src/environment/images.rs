//! Where images come from: a registry, or Debian packages and Go modules, built once.

use std::path::PathBuf;

use crate::{
    Error, ErrorCode, ErrorKind, Result, command::Command, environment::engine::Engine, home::Home, plan::ImagesChoice,
    progress::Progress,
};

pub mod cache;
mod debian;
mod go;
pub mod hey;
pub mod linters;
pub mod lookups;
pub mod origin;
pub mod packages;
pub(super) mod preparation;
pub mod reference;
mod registry;
pub mod store;
pub(crate) mod toolchain;
pub(crate) mod tools;
pub mod versions;

use origin::{Origin, Origins};
use reference::Mirror;
use versions::Versions;

/// Everything that later steps need to know about images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Where they come from: `packages` or `registry`.
    pub source: &'static str,
    /// The Kubernetes version in the node image.
    pub kubernetes: String,
    /// kind's node image.
    pub node: String,
    /// The web server.
    pub nginx: String,
    /// What test pods run: anything with `sh`, `cat` and `sleep`.
    pub testpod: String,
    /// What the laptop runs.
    pub laptop: String,
    /// Flannel, if the cluster is to have it.
    pub flannel: Option<String>,
    /// MetalLB's own manifest.
    pub metallb_manifest: String,
    /// Whether nodes may pull: `Never` or `IfNotPresent`.
    pub pull_policy: &'static str,
    /// The kind program, as commands of the engine see it.
    pub kind: PathBuf,
    /// What was pulled, or is to be by the nodes; empty if everything is built.
    pub pulled: Vec<Pulled>,
    /// The registry that is asked instead of those in which the images are published.
    pub mirror: Option<Mirror>,
}

/// An image that comes from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Where it comes from, and what holds its content.
    pub origin: Origin,
    /// The digest under which that registry has it; unknown as long as nodes alone pull it.
    pub digest: Option<String>,
}

impl Images {
    /// What reports say of the images that come from a registry: names and values.
    pub fn description(&self) -> Vec<(String, String)> {
        let mirror = self.mirror.iter().map(|mirror| ("registry".to_owned(), mirror.to_string()));
        let images = self.pulled.iter().map(|Pulled { origin, digest }| {
            let seen = digest.as_ref().filter(|digest| !origin.reference.contains(*digest));
            let seen = seen.map(|digest| format!(" (it is {digest})")).unwrap_or_default();
            (format!("image {}", origin.published), format!("{origin}{seen}"))
        });
        mirror.chain(images).collect()
    }
}

/// Which source `choice` comes to with `engine`.
pub fn source(choice: ImagesChoice, engine: &Engine) -> ImagesChoice {
    source_for(choice, matches!(engine, Engine::Sandbox(_)))
}

/// Which source `choice` comes to, with the private engine or with Docker.
pub(crate) const fn source_for(choice: ImagesChoice, sandbox: bool) -> ImagesChoice {
    match (choice, sandbox) {
        // The private engine has no way out: it could not pull anything.
        (ImagesChoice::Auto, true) => ImagesChoice::Packages,
        (ImagesChoice::Auto, false) => ImagesChoice::Registry,
        (chosen, _) => chosen,
    }
}

/// Makes or pulls whatever is missing for the Kubernetes version `wanted`, else the default one. What is pulled comes
/// from where `origins` say.
///
/// # Errors
/// [`ErrorKind::Usage`] for a version or a combination that cannot be had; else those of the source.
pub fn prepare(
    choice: ImagesChoice,
    wanted: Option<&str>,
    origins: &Origins,
    engine: &Engine,
    home: &Home,
    progress: &Progress,
) -> Result<Images> {
    let versions = origins.versions()?;
    let source = source(choice, engine);
    let kubernetes = versions.kubernetes_from(source, wanted)?;
    match (source, engine) {
        (ImagesChoice::Registry, Engine::Sandbox(_)) => Err(registry_in_sandbox()),
        (ImagesChoice::Registry, Engine::Docker) => {
            registry::prepare(engine, home, progress, origins, &versions, kubernetes)
        }
        _ => packages::prepare(engine, home, progress, kubernetes),
    }
}

/// Whether [`prepare`] can make from `source` what is missing; asks the host alone, and makes nothing.
///
/// # Errors
/// As [`prepare`], as far as it can be told beforehand.
pub(crate) fn check(
    source: ImagesChoice,
    wanted: Option<&str>,
    origins: &Origins,
    sandbox: bool,
    home: &Home,
) -> Result<()> {
    let versions = origins.versions()?;
    if source != ImagesChoice::Registry {
        return packages::check(&versions, wanted, sandbox, home);
    }
    if sandbox {
        return Err(registry_in_sandbox());
    }
    registry::node_image(versions.kubernetes_from(source, wanted)?)?;
    toolchain::check(home, &versions)
}

/// Whether [`metallb_manifest`] can be had.
///
/// # Errors
/// [`ErrorKind::Missing`] without Go.
pub(crate) fn check_manifest(home: &Home) -> Result<()> {
    toolchain::check(home, &Versions::embedded()?)
}

/// Asks whether an engine has `image`.
fn inspect(image: &str) -> Command {
    Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", image])
}

/// Whether the engine has `image`; one that is built or pulled gets its name only when it is complete.
fn is_there(engine: &Engine, image: &str) -> Result<bool> {
    Ok(engine.command(inspect(image)).output()?.code == Some(0))
}

fn registry_in_sandbox() -> Error {
    Error::new(ErrorKind::Usage, "pull images into the sandbox", "it has no way out of its network")
        .with_code(ErrorCode::Source)
        .hint("Choose --images packages, or --engine docker.")
}

/// MetalLB's own manifest, of the version in the table, with its images from where `origins` say: for clusters that we
/// did not make.
///
/// # Errors
/// [`ErrorKind::Missing`] without Go to fetch the module that it comes with.
pub fn metallb_manifest(origins: &Origins, home: &Home, progress: &Progress) -> Result<String> {
    let toolchain = toolchain::find_or_unpack(home, progress, &Versions::embedded()?)?;
    registry::point(&go::metallb_manifest(home, progress, &toolchain)?, origins).map(|(text, _)| text)
}

/// The kind program that deletes what it has made, as commands of `engine` see it.
pub fn kind_program(engine: &Engine, home: &Home) -> String {
    let built = engine.inside(&go::kind().recipe.path(home).join("kind"));
    match (engine, which::which("kind")) {
        (Engine::Docker, Ok(kind)) => kind,
        _ => built,
    }
    .to_string_lossy()
    .into_owned()
}

/// The kubectl program for a cluster of that version, as the host sees it.
///
/// # Errors
/// [`ErrorKind::Missing`] if there is none.
pub fn kubectl_program(home: &Home, kubernetes: &str) -> Result<PathBuf> {
    if let Ok(built) = packages::kubectl_program(home, kubernetes)
        && built.exists()
    {
        return Ok(built);
    }
    which::which("kubectl").map_err(|error| {
        Error::from_source(ErrorKind::Missing, "find kubectl", error)
            .hint("Install kubectl for this cluster's version.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Show;

    #[test]
    fn a_version_that_the_source_does_not_have_is_refused_before_anything_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let progress = Progress::new(Show::Nothing, dir.path());
        for (source, version) in [(ImagesChoice::Registry, "v1.37.2"), (ImagesChoice::Packages, "v1.37.0")] {
            let error =
                prepare(source, Some(version), &Origins::default(), &Engine::Docker, &home, &progress).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint_text().unwrap().contains("--images"), "{error:?}");
        }
        assert!(!home.root().exists());
    }
}
