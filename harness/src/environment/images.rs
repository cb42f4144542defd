//! Where images come from: a registry, or Debian packages and Go modules, built once.

use std::{path::PathBuf, time::Duration};

use crate::{
    Error, ErrorKind, Result, command::Command, environment::engine::Engine, home::Home, plan::ImagesChoice,
    progress::Progress,
};

pub mod cache;
mod debian;
mod go;
pub mod hey;
pub mod linters;
pub mod lookups;
pub mod packages;
pub(super) mod preparation;
pub mod store;
pub(crate) mod tools;
pub mod versions;

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

/// Makes or pulls whatever is missing for the Kubernetes version `wanted`, else the default one.
///
/// # Errors
/// [`ErrorKind::Usage`] for a version or a combination that cannot be had; else those of the source.
pub fn prepare(
    choice: ImagesChoice,
    wanted: Option<&str>,
    engine: &Engine,
    home: &Home,
    progress: &Progress,
) -> Result<Images> {
    let versions = Versions::embedded()?;
    let source = source(choice, engine);
    let kubernetes = versions.kubernetes_from(source, wanted)?;
    match (source, engine) {
        (ImagesChoice::Registry, Engine::Sandbox(_)) => Err(registry_in_sandbox()),
        (ImagesChoice::Registry, Engine::Docker) => registry(engine, home, progress, &versions, kubernetes),
        _ => packages::prepare(engine, home, progress, kubernetes),
    }
}

/// Whether [`prepare`] can make from `source` what is missing; asks the host alone, and makes nothing.
///
/// # Errors
/// As [`prepare`], as far as it can be told beforehand.
pub(crate) fn check(source: ImagesChoice, wanted: Option<&str>, sandbox: bool, home: &Home) -> Result<()> {
    let versions = Versions::embedded()?;
    if source != ImagesChoice::Registry {
        return packages::check(&versions, wanted, sandbox, home);
    }
    if sandbox {
        return Err(registry_in_sandbox());
    }
    node_image(versions.kubernetes_from(source, wanted)?)?;
    tools::check_toolchain(&versions, which::which("mmdebstrap").is_ok())
}

/// Whether [`metallb_manifest`] can be had.
///
/// # Errors
/// [`ErrorKind::Missing`] without Go.
pub(crate) fn check_manifest() -> Result<()> {
    tools::check_toolchain(&Versions::embedded()?, which::which("mmdebstrap").is_ok())
}

fn registry_in_sandbox() -> Error {
    Error::new(ErrorKind::Usage, "pull images into the sandbox", "it has no way out of its network")
        .hint("Choose --images packages, or --engine docker.")
}

/// MetalLB's own manifest, of the version in the table: for clusters that we did not make.
///
/// # Errors
/// [`ErrorKind::Missing`] without Go to fetch the module that it comes with.
pub fn metallb_manifest(home: &Home, progress: &Progress) -> Result<String> {
    let toolchain = tools::toolchain(home, progress, &Versions::embedded()?)?;
    go::metallb_manifest(home, progress, &toolchain)
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

/// Asks whether the engine has `image`.
fn inspect(image: &str) -> Command {
    Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", image])
}

/// Pulls `image`.
fn pull(image: &str) -> Command {
    Command::new("docker").args(["pull", "--quiet", image]).deadline(Duration::from_secs(900))
}

fn node_image(kubernetes: &versions::Kubernetes) -> Result<String> {
    kubernetes.node_image.clone().ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            format!("pull Kubernetes {}", kubernetes.version),
            "the versions table names no node image for it",
        )
        .hint("Choose another version with --k8s, or --images packages.")
    })
}

fn registry(
    engine: &Engine,
    home: &Home,
    progress: &Progress,
    versions: &Versions,
    kubernetes: &versions::Kubernetes,
) -> Result<Images> {
    let node = node_image(kubernetes)?;
    for image in [&node, &versions.nginx.image] {
        if engine.command(inspect(image)).output()?.code == Some(0) {
            continue;
        }
        let step = progress.step(format!("Pull {image}"), Some(Duration::from_secs(60)));
        engine.command(pull(image)).log(step.log()).run().map_err(|error| {
            error.hint(format!(
                "The engine must reach the registry; without one, choose --images packages. All that it printed is in {}.",
                step.log().display()
            ))
        })?;
        step.done();
    }
    let toolchain = tools::toolchain(home, progress, versions)?;
    // An older kind may not know what a newer node image expects of it.
    let installed = which::which("kind").ok().filter(|kind| tools::is_kind_enough(kind, &versions.kind.version));
    let kind = match installed {
        Some(kind) => kind,
        None => go::kind().make(home, progress, &toolchain)?.join("kind"),
    };
    Ok(Images {
        source: "registry",
        kubernetes: kubernetes.version.clone(),
        node,
        nginx: versions.nginx.image.clone(),
        testpod: versions.nginx.image.clone(),
        laptop: versions.nginx.image.clone(),
        flannel: None,
        metallb_manifest: go::metallb_manifest(home, progress, &toolchain)?,
        pull_policy: "IfNotPresent",
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Show;

    #[test]
    fn a_node_image_is_pulled_by_its_digest() {
        let versions = Versions::embedded().unwrap();
        let kubernetes = versions.kubernetes_from(ImagesChoice::Registry, None).unwrap();
        let image = kubernetes.node_image.as_deref().unwrap();
        insta::assert_snapshot!(pull(image).display(), @"docker pull --quiet kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5");
        assert!(inspect(image).display().ends_with(image));
    }

    #[test]
    fn a_version_that_the_source_does_not_have_is_refused_before_anything_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let progress = Progress::new(Show::Nothing, dir.path());
        for (source, version) in [(ImagesChoice::Registry, "v1.37.2"), (ImagesChoice::Packages, "v1.37.0")] {
            let error = prepare(source, Some(version), &Engine::Docker, &home, &progress).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint_text().unwrap().contains("--images"), "{error:?}");
        }
        assert!(!home.root().exists());
    }
}
