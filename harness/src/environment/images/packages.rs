//! Images built from Debian packages and Go modules: once, in the cache, with nothing pulled from a registry.

use std::{path::PathBuf, time::Duration};

use super::{
    Images, debian, go, hey, is_there, linters, lookups,
    preparation::Preparation,
    store::{self, Recipe},
    toolchain, tools,
    versions::{Kubernetes, Packages, Versions},
};
use crate::{
    Error, ErrorCode, ErrorKind, Result,
    command::Command,
    environment::engine::Engine,
    home::{Home, write_atomically},
    plan::ImagesChoice,
    progress::Progress,
};

const PAUSE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/node/pause.c"));
const BUILD: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/engine/images.sh"));

/// What everything together takes on disk, in bytes: root file systems, programs, and the engine's images.
pub const NEEDED: u64 = 8 << 30;

/// What the names of all images start with that nobody else asks for by name.
pub(super) const REPOSITORY: &str = "reachmap.local/";

/// The engine's root file system, unpacked if it is not there yet.
///
/// # Errors
/// As [`prepare`].
pub fn engine_root(home: &Home, progress: &Progress) -> Result<PathBuf> {
    let versions = Versions::embedded()?;
    if !debian::engine_recipe(&versions.debian).path(home).is_dir() {
        require_space(home)?;
        tools::ensure_programs(progress, &tools::PROGRAMS)?;
    }
    debian::engine(home, progress, &versions.debian)
}

/// The engine's root file system, if it is unpacked.
pub fn engine_root_if_made(home: &Home) -> Option<PathBuf> {
    let versions = Versions::embedded().ok()?;
    let root = debian::engine_recipe(&versions.debian).path(home).join("root");
    root.is_dir().then_some(root)
}

/// Everything that goes into a node image, and the image's own name.
struct Parts {
    programs: Vec<go::Program>,
    kubernetes: Kubernetes,
    packages: Packages,
    versions: Versions,
    key: String,
}

impl Parts {
    fn of(versions: &Versions, kubernetes: &Kubernetes) -> Result<Self> {
        let packages = kubernetes.packages.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!("build Kubernetes {} from packages", kubernetes.version),
                "the versions table names no Go module for it",
            )
            .with_code(ErrorCode::Source)
            .hint("Choose another version with --k8s, or --images registry.")
        })?;
        // The longest first: the others fit beside it.
        let programs = vec![
            go::kubernetes(kubernetes, &packages.module),
            go::flannel(&versions.flannel.version),
            go::coredns(),
            go::metallb_controller(),
            go::metallb_speaker(),
            go::etcd(),
            go::kind(),
        ];
        let debian = &versions.debian;
        let roots = [debian::userland_recipe(debian), debian::node_recipe(debian), pause_recipe()];
        let hashes = programs.iter().map(|program| program.recipe.hash.clone()).chain(roots.map(|root| root.hash));
        let tags = [&packages.coredns_tag, &packages.etcd_tag, &packages.pause_tag].map(Clone::clone);
        let key = Recipe::new("node", "", Duration::ZERO, hashes.chain(tags).chain([BUILD.to_owned()])).hash;
        Ok(Self { programs, kubernetes: kubernetes.clone(), packages, versions: versions.clone(), key })
    }

    fn image(&self, name: &str) -> String {
        format!("{REPOSITORY}{name}:{}", self.key)
    }
}

/// The recipes that today's versions use: what `cache prune` keeps.
///
/// # Errors
/// [`ErrorKind::Internal`] if the versions table is malformed.
pub fn current_recipes() -> Result<Vec<Recipe>> {
    let versions = Versions::embedded()?;
    let debian = &versions.debian;
    let mut recipes = vec![
        debian::engine_recipe(debian),
        debian::userland_recipe(debian),
        debian::node_recipe(debian),
        pause_recipe(),
        go::metallb_manifest_recipe(),
        toolchain::recipe(),
    ];
    recipes.extend(lookups::recipes());
    recipes.push(hey::recipe());
    recipes.extend(linters::recipes()?);
    for parts in current_parts()? {
        recipes.extend(parts.programs.into_iter().map(|program| program.recipe));
    }
    recipes.dedup();
    Ok(recipes)
}

/// The tags of the images that today's versions use.
pub(super) fn current_keys() -> Result<Vec<String>> {
    Ok(current_parts()?.into_iter().map(|parts| parts.key).collect())
}

fn current_parts() -> Result<Vec<Parts>> {
    let versions = Versions::embedded()?;
    let built = versions.kubernetes.iter().filter(|kubernetes| kubernetes.packages.is_some());
    built.map(|kubernetes| Parts::of(&versions, kubernetes)).collect()
}

/// Whether [`prepare`] can make what is missing, as far as the host tells: programs, Go, room on the disk.
pub(super) fn check(versions: &Versions, wanted: Option<&str>, sandbox: bool, home: &Home) -> Result<()> {
    let parts = Parts::of(versions, versions.kubernetes_from(ImagesChoice::Packages, wanted)?)?;
    let engine = sandbox.then(|| debian::engine_recipe(&versions.debian));
    let mut recipes = parts.programs.iter().map(|program| &program.recipe).chain(&engine);
    if !recipes.all(|recipe| recipe.path(home).is_dir()) {
        require_space(home)?;
        tools::missing_programs(&tools::PROGRAMS)?;
    }
    toolchain::check(home, versions)
}

/// Makes whatever is missing of the images for `kubernetes` and says what they are called.
///
/// # Errors
/// [`ErrorKind::Missing`] with the host programs to install, [`ErrorKind::Storage`] on a full disk,
/// [`ErrorKind::Environment`] with the log of the step that failed.
pub fn prepare(engine: &Engine, home: &Home, progress: &Progress, kubernetes: &Kubernetes) -> Result<Images> {
    let versions = Versions::embedded()?;
    let parts = Parts::of(&versions, kubernetes)?;
    let node = parts.image("node");
    if !is_there(engine, &node)? {
        require_space(home)?;
        tools::ensure_programs(progress, &tools::PROGRAMS)?;
    }
    let toolchain = toolchain::find_or_unpack(home, progress, &versions)?;
    // Downloads and unpacking wait for the network and the disk, compilers for the processor: side by side.
    let debian = &versions.debian;
    std::thread::scope(|scope| {
        let roots = scope.spawn(|| {
            debian::userland(home, progress, debian)?;
            debian::node(home, progress, debian)?;
            pause(home, progress)
        });
        let compiled = parts.programs.iter().try_for_each(|program| program.make(home, progress, &toolchain).map(drop));
        let unpacked = roots.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "unpack root file systems", "the thread that does it panicked"))
        });
        compiled?;
        unpacked.map(drop)
    })?;
    let metallb_manifest = go::metallb_manifest(home, progress, &toolchain)?;
    if !is_there(engine, &node)? {
        build_node_image(&parts, engine, home, progress)?;
    }
    link_kubectl(&parts, home)?;
    let kind = go::kind().recipe.path(home).join("kind");
    Ok(Images {
        source: "packages",
        kubernetes: kubernetes.version.clone(),
        node,
        nginx: parts.image("nginx"),
        testpod: parts.image("testpod"),
        laptop: parts.image("testpod"),
        flannel: Some(parts.image("flannel")),
        metallb_manifest,
        // Every image is on every node: a pull could only fail, and slowly.
        pull_policy: "Never",
        kind: engine.inside(&kind),
        pulled: Vec::new(),
        mirror: None,
    })
}

fn build_node_image(parts: &Parts, engine: &Engine, home: &Home, progress: &Progress) -> Result<()> {
    let _lock = home.lock(&Preparation::lock_name(&parts.key), progress)?;
    let node = parts.image("node");
    if is_there(engine, &node)? {
        return Ok(());
    }
    let step = progress.step("Build the node image", Some(Duration::from_secs(90)));
    let script = home.engine().join("images.sh");
    write_atomically(&script, BUILD.as_bytes())?;
    let inside = |path: PathBuf| engine.inside(&path).to_string_lossy().into_owned();
    let debian = &parts.versions.debian;
    let preparation = Preparation::begin(home, engine.kind(), &parts.key)?;
    let mut words = vec![
        format!("key={}", parts.key),
        format!("prepare={}", preparation.container),
        format!("kubernetes_version={}", parts.kubernetes.version),
        format!("coredns_tag={}", parts.packages.coredns_tag),
        format!("etcd_tag={}", parts.packages.etcd_tag),
        format!("pause_tag={}", parts.packages.pause_tag),
        format!("metallb_version={}", parts.versions.metallb.version),
        format!("node_image={node}"),
        format!("userland={}", inside(debian::userland_recipe(debian).path(home))),
        format!("node={}", inside(debian::node_recipe(debian).path(home))),
        format!("pause={}", inside(pause_recipe().path(home))),
    ];
    words.extend(["nginx", "testpod", "flannel"].map(|name| format!("{name}_image={}", parts.image(name))));
    words.extend(
        parts
            .programs
            .iter()
            .map(|program| format!("{}={}", program.recipe.name.replace('-', "_"), inside(program.recipe.path(home)))),
    );
    let build = Command::new("bash").arg(inside(script)).args(words).deadline(Duration::from_secs(900)).log(step.log());
    engine.command(build).run()?;
    preparation.end()?;
    step.done();
    Ok(())
}

fn pause_recipe() -> Recipe {
    Recipe::new("pause", "Compile pause", Duration::from_secs(1), [PAUSE])
}

fn pause(home: &Home, progress: &Progress) -> Result<PathBuf> {
    pause_recipe().make(home, progress, |dir, step| {
        let source = dir.join("pause.c");
        write_atomically(&source, PAUSE.as_bytes())?;
        Command::new("cc")
            .args(["-static", "-Os", "-s", "-o"])
            .args([dir.join("pause").to_string_lossy(), source.to_string_lossy()])
            .log(step.log())
            .run()
            .map(drop)
    })
}

/// Where kubectl is, once it is built.
pub(super) fn kubectl_program(home: &Home, kubernetes: &str) -> Result<PathBuf> {
    let versions = Versions::embedded()?;
    let parts = Parts::of(&versions, versions.kubernetes(Some(kubernetes))?)?;
    Ok(parts.programs[0].recipe.path(home).join("kubectl"))
}

/// Gives the one Kubernetes program the name by which it is kubectl.
fn link_kubectl(parts: &Parts, home: &Home) -> Result<()> {
    let link = parts.programs[0].recipe.path(home).join("kubectl");
    match std::os::unix::fs::symlink("kube", &link) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::from_source(ErrorKind::Storage, format!("link {}", link.display()), error))
        }
        _ => Ok(()),
    }
}

pub(super) fn require_space(home: &Home) -> Result<()> {
    match store::free_space(home) {
        Some(free) if free < NEEDED => Err(Error::new(
            ErrorKind::Storage,
            format!("make room in {}", home.root().display()),
            format!("building everything takes about {} GiB, and {:.1} GiB are free", NEEDED >> 30, gibibytes(free)),
        )
        .with_code(ErrorCode::NoRoom)
        .hint("Make room, remove what earlier versions built with `cargo xtask cache prune`, or name another place with --cache-dir.")),
        _ => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_image_changes_with_every_tag() {
        let versions = Versions::embedded().unwrap();
        let kubernetes = versions.kubernetes(None).unwrap();
        let mut other = kubernetes.clone();
        other.packages.as_mut().unwrap().pause_tag = "3.11".to_owned();
        assert_ne!(Parts::of(&versions, kubernetes).unwrap().key, Parts::of(&versions, &other).unwrap().key);
    }

    #[test]
    fn the_pause_image_is_the_one_that_containerd_is_told_of() {
        let containerd = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/node/containerd.toml"));
        for parts in current_parts().unwrap() {
            let pause = format!("sandbox_image = \"registry.k8s.io/pause:{}\"", parts.packages.pause_tag);
            assert!(containerd.contains(&pause), "{}", parts.kubernetes.version);
        }
    }
}
