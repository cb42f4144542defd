//! Programs built by the go command from our own `go.mod` and `go.sum`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    store::Recipe,
    toolchain::{self, Toolchain},
    versions::{Kubernetes, Versions},
};
use crate::{Context as _, ErrorKind, Result, command::Command, home::Home, progress::Progress};

/// The files of a module directory in `fixtures/go`.
struct Module {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! module {
    ($name:literal: $($file:literal),+) => {
        Module {
            name: $name,
            files: &[$(($file, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/go/", $name, "/", $file)))),+],
        }
    };
}

const MODULES: [Module; 9] = [
    module!("actionlint": "go.mod", "go.sum"),
    module!("coredns": "go.mod", "go.sum", "main.go"),
    module!("etcd": "go.mod", "go.sum"),
    module!("flannel": "go.mod", "go.sum"),
    module!("hey": "go.mod", "go.sum"),
    module!("kind": "go.mod", "go.sum"),
    module!("kubernetes": "go.mod", "go.sum", "main.go"),
    module!("lookup": "go.mod", "main.go"),
    module!("metallb": "go.mod", "go.sum"),
];

/// A program, and how it is built.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) recipe: Recipe,
    module: String,
    package: &'static str,
    output: &'static str,
    tags: &'static str,
    link: String,
    cgo: bool,
}

impl Program {
    fn new(name: &str, module: &str, package: &'static str, output: &'static str, seconds: u64) -> Self {
        let mut program = Self {
            recipe: Recipe::new(name, "", Duration::ZERO, [""; 0]),
            module: module.to_owned(),
            package,
            output,
            tags: "",
            link: String::new(),
            cgo: false,
        };
        program.describe(name, seconds);
        program
    }

    fn with(mut self, tags: &'static str, link: String, cgo: bool) -> Self {
        (self.tags, self.link, self.cgo) = (tags, link, cgo);
        let (name, seconds) = (self.recipe.name.clone(), self.recipe.expected.as_secs());
        self.describe(&name, seconds);
        self
    }

    fn describe(&mut self, name: &str, seconds: u64) {
        let files = files_of(&self.module).iter().map(|(_, text)| *text);
        let how = [self.package, self.tags, &self.link, if self.cgo { "cgo" } else { "" }];
        let title = format!("Compile {name}");
        self.recipe = Recipe::new(name, &title, Duration::from_secs(seconds), files.chain(how));
    }

    /// The program, built if it is not there yet; returns its directory.
    pub(super) fn make(&self, home: &Home, progress: &Progress, toolchain: &Toolchain) -> Result<PathBuf> {
        self.recipe.make(home, progress, |dir, step| {
            let source = write_module(&self.module, dir)?;
            // What a compiler that is killed leaves behind goes with the source, and is no part of it: see `go help packages`.
            let temporary = source.join("_tmp");
            fs::create_dir(&temporary).tried(ErrorKind::Storage, || format!("create {}", temporary.display()))?;
            let output = dir.join(self.output);
            let link = format!("-s -w {}", self.link);
            toolchain
                .go(&source)
                .env("GOTMPDIR", temporary.to_string_lossy())
                .env("TMPDIR", temporary.to_string_lossy())
                .env("CGO_ENABLED", if self.cgo { "1" } else { "0" })
                .args(["build", "-trimpath", "-buildvcs=false", "-tags", self.tags, "-ldflags", link.trim_end(), "-o"])
                .args([&output.to_string_lossy(), self.package])
                .deadline(Duration::from_secs(3600))
                .log(step.log())
                .run()?;
            fs::remove_dir_all(&source).tried(ErrorKind::Storage, || format!("remove {}", source.display()))
        })
    }

    /// The same, with the toolchain looked for only if it has to be built.
    pub(super) fn find_or_make(&self, home: &Home, progress: &Progress) -> Result<PathBuf> {
        let path = self.recipe.path(home);
        if path.is_dir() {
            return Ok(path);
        }
        self.make(home, progress, &toolchain::find_or_unpack(home, progress, &Versions::embedded()?)?)
    }
}

/// All seven Kubernetes programs in one file that answers to the name it is called by.
pub(super) fn kubernetes(kubernetes: &Kubernetes, module: &str) -> Program {
    let version = &kubernetes.version;
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    // kubeadm derives what it supports from these: without them it derives nonsense.
    let link: Vec<String> = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .iter()
        .flat_map(|package| {
            [
                ("gitVersion", version.as_str()),
                ("gitMajor", major),
                ("gitMinor", minor),
                ("gitTreeState", "clean"),
                ("gitCommit", "0000000"),
                ("buildDate", "2026-01-01T00:00:00Z"),
            ]
            .map(|(name, value)| format!("-X {package}.{name}={value}"))
        })
        .collect();
    Program::new("kubernetes", module, ".", "kube", 440).with("selinux,notest,grpcnotrace", link.join(" "), false)
}

pub(super) fn actionlint() -> Program {
    Program::new("actionlint", "actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "actionlint", 15)
}

pub(super) fn coredns() -> Program {
    Program::new("coredns", "coredns", ".", "coredns", 55)
}

pub(super) fn etcd() -> Program {
    Program::new("etcd", "etcd", "go.etcd.io/etcd/server/v3", "etcd", 25)
}

pub(super) fn hey() -> Program {
    Program::new("hey", "hey", "github.com/rakyll/hey", "hey", 10).with("netgo", String::new(), false)
}

pub(super) fn kind() -> Program {
    Program::new("kind", "kind", "sigs.k8s.io/kind", "kind", 10)
}

/// Go's own resolver, and never the C library's.
pub(super) fn lookup() -> Program {
    Program::new("lookup-go", "lookup", ".", "lookup", 8).with("netgo", String::new(), false)
}

pub(super) fn metallb_controller() -> Program {
    Program::new("metallb-controller", "metallb", "go.universe.tf/metallb/controller", "controller", 60)
}

pub(super) fn metallb_speaker() -> Program {
    Program::new("metallb-speaker", "metallb", "go.universe.tf/metallb/speaker", "speaker", 35)
}

pub(super) fn flannel(version: &str) -> Program {
    let link = format!(
        "-linkmode external -extldflags -static -X github.com/flannel-io/flannel/pkg/version.Version={version}"
    );
    Program::new("flannel", "flannel", "github.com/flannel-io/flannel", "flanneld", 75).with(
        "netgo,osusergo",
        link,
        true,
    )
}

pub(super) fn metallb_manifest_recipe() -> Recipe {
    let files = files_of("metallb").iter().map(|(_, text)| *text);
    Recipe::new("metallb-manifest", "Read MetalLB's manifest", Duration::from_secs(2), files)
}

/// MetalLB's own manifest, as it comes with the very module that is built or named.
pub(super) fn metallb_manifest(home: &Home, progress: &Progress, toolchain: &Toolchain) -> Result<String> {
    let path = metallb_manifest_recipe().make(home, progress, |dir, step| {
        let source = write_module("metallb", dir)?;
        let module = toolchain
            .go(&source)
            .args(["list", "-m", "-f", "{{.Dir}}", "go.universe.tf/metallb"])
            .log(step.log())
            .deadline(Duration::from_secs(600))
            .run()?;
        let mut from = PathBuf::from(module.text());
        if from.as_os_str().is_empty() {
            // Not downloaded yet: nothing was compiled from it so far.
            toolchain.go(&source).args(["mod", "download", "go.universe.tf/metallb"]).log(step.log()).run()?;
            from = toolchain
                .go(&source)
                .args(["list", "-m", "-f", "{{.Dir}}", "go.universe.tf/metallb"])
                .run()?
                .text()
                .into();
        }
        let from = from.join("config/manifests/metallb-native.yaml");
        let to = dir.join("metallb-native.yaml");
        fs::copy(&from, &to).tried(ErrorKind::Storage, || format!("copy {}", from.display()))?;
        fs::remove_dir_all(&source).tried(ErrorKind::Storage, || format!("remove {}", source.display()))
    })?;
    crate::command::read_text(&path.join("metallb-native.yaml"))
}

fn files_of(module: &str) -> &'static [(&'static str, &'static str)] {
    MODULES.iter().find(|known| known.name == module).map_or(&[], |known| known.files)
}

fn write_module(module: &str, dir: &Path) -> Result<PathBuf> {
    let source = dir.join("source");
    fs::create_dir_all(&source).tried(ErrorKind::Storage, || format!("create {}", source.display()))?;
    for (name, text) in files_of(module) {
        fs::write(source.join(name), text).tried(ErrorKind::Storage, || format!("write {name}"))?;
    }
    Ok(source)
}

/// A go command in `dir`, with nothing of the user's settings that would change what is built.
pub(super) fn command(go: &Path, dir: &Path) -> Command {
    Command::new(go.to_string_lossy())
        .dir(dir)
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "auto")
        .env_remove("GOOS")
        .env_remove("GOARCH")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::images::versions::Versions;

    #[test]
    fn every_module_pins_the_version_in_the_table() {
        let versions = Versions::embedded().unwrap();
        let module = |name: &str| files_of(name).iter().find(|(file, _)| *file == "go.mod").unwrap().1;
        for (name, path, version) in [
            ("actionlint", "github.com/rhysd/actionlint", &versions.actionlint.version),
            ("coredns", "github.com/coredns/coredns", &versions.coredns.version),
            ("etcd", "go.etcd.io/etcd/server/v3", &versions.etcd.version),
            ("flannel", "github.com/flannel-io/flannel", &versions.flannel.version),
            ("hey", "github.com/rakyll/hey", &versions.hey.version),
            ("kind", "sigs.k8s.io/kind", &versions.kind.version),
            ("kubernetes", "k8s.io/kubernetes", &versions.kubernetes[0].version),
            ("metallb", "go.universe.tf/metallb", &versions.metallb.version),
        ] {
            assert!(module(name).contains(&format!("{path} {version}")), "{name}: {path} {version}");
        }
    }

    #[test]
    fn the_recipe_changes_with_what_it_is_made_of() {
        assert_ne!(metallb_controller().recipe.hash, metallb_speaker().recipe.hash);
        assert_ne!(flannel("v1").recipe.hash, flannel("v2").recipe.hash);
    }
}
