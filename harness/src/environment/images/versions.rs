//! The one table of pinned versions, `fixtures/versions.toml`, as types.

use serde::Deserialize;

use crate::{Context as _, Error, ErrorCode, ErrorKind, Result, plan::ImagesChoice};

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/versions.toml"));

/// Every version that Reachmap builds or pulls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The Kubernetes versions, newest first.
    pub kubernetes: Vec<Kubernetes>,
    /// kind.
    pub kind: Version,
    /// CoreDNS, where it is built.
    pub coredns: Version,
    /// etcd, where it is built.
    pub etcd: Version,
    /// Flannel, where it is built.
    pub flannel: Version,
    /// MetalLB.
    pub metallb: Version,
    /// hey, the load generator that people know.
    pub hey: Version,
    /// actionlint, which checks workflows.
    pub actionlint: Version,
    /// zizmor, which checks workflows and actions.
    pub zizmor: Version,
    /// The web server of registry clusters.
    pub nginx: Image,
    /// The Go that builds need.
    pub go: Go,
    /// The Debian releases that root file systems are made of.
    pub debian: Debian,
}

/// A Kubernetes version, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// Such as `v1.37.2`.
    pub version: String,
    /// How it is built; it cannot be had from packages without.
    pub packages: Option<Packages>,
    /// kind's node image in the registry; it cannot be pulled without one.
    pub node_image: Option<String>,
}

/// How a Kubernetes version is built from packages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// The directory of its `go.mod` in `fixtures/go`.
    pub module: String,
    /// The tag under which its kubeadm asks for CoreDNS.
    pub coredns_tag: String,
    /// The tag under which its kubeadm asks for etcd.
    pub etcd_tag: String,
    /// The tag under which its kubeadm asks for the pause image.
    pub pause_tag: String,
}

/// A program's version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Such as `v0.33.0`.
    pub version: String,
}

/// An image reference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Such as `nginx:1.29`.
    pub image: String,
}

/// What is needed of Go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {
    /// The oldest release that can fetch the toolchain which a `go.mod` asks for (Go toolchains, since 1.21).
    pub minimum: String,
}

/// The Debian releases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Of the private engine.
    pub engine: String,
    /// Of nodes and test pods.
    pub node: String,
}

impl Kubernetes {
    /// Whether `source` has it.
    pub fn is_in(&self, source: ImagesChoice) -> bool {
        match source {
            ImagesChoice::Auto => true,
            ImagesChoice::Registry => self.node_image.is_some(),
            ImagesChoice::Packages => self.packages.is_some(),
        }
    }
}

impl Versions {
    /// The table that this version of Reachmap was built with.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if it is malformed, which a test rules out.
    ///
    /// ```
    /// let versions = reachmap::environment::images::versions::Versions::embedded().unwrap();
    /// assert!(versions.kubernetes[0].version.starts_with("v1."));
    /// ```
    pub fn embedded() -> Result<Self> {
        toml::from_str(TABLE).tried(ErrorKind::Internal, || "understand the versions table")
    }

    /// The Kubernetes version called `wanted`, else the newest.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with the versions that there are.
    pub fn kubernetes(&self, wanted: Option<&str>) -> Result<&Kubernetes> {
        self.find(wanted, |_| true)
    }

    /// The Kubernetes version called `wanted`, else the newest that `source` has.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with the versions that there are.
    pub fn kubernetes_from(&self, source: ImagesChoice, wanted: Option<&str>) -> Result<&Kubernetes> {
        self.find(wanted, |kubernetes| kubernetes.is_in(source))
    }

    fn find(&self, wanted: Option<&str>, has: impl Fn(&Kubernetes) -> bool) -> Result<&Kubernetes> {
        let found = match wanted {
            None => self.kubernetes.iter().find(|kubernetes| has(kubernetes)),
            Some(wanted) => self.kubernetes.iter().find(|kubernetes| kubernetes.version == wanted),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.kubernetes.iter().map(|kubernetes| kubernetes.version.as_str()).collect();
            Error::new(
                ErrorKind::Usage,
                format!("choose Kubernetes {}", wanted.unwrap_or("(the default)")),
                "it is not in the versions table",
            )
            .with_code(ErrorCode::Version)
            .hint(format!("The versions are: {}.", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let versions = Versions::embedded().unwrap();
        assert_eq!(versions.kubernetes(None).unwrap(), &versions.kubernetes[0]);
    }

    #[test]
    fn each_source_has_a_default_of_its_own() {
        let versions = Versions::embedded().unwrap();
        let of = |source| versions.kubernetes_from(source, None).unwrap();
        assert!(of(ImagesChoice::Packages).packages.is_some());
        let image = of(ImagesChoice::Registry).node_image.clone().unwrap();
        // A tag can be moved; a digest cannot.
        assert!(image.contains("@sha256:"), "{image}");
        assert!(image.contains(&of(ImagesChoice::Registry).version), "{image}");
    }

    #[test]
    fn an_unknown_version_is_refused_with_those_there_are() {
        let error = Versions::embedded().unwrap().kubernetes(Some("v1.2.3")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().unwrap().contains("v1.37.2"));
    }
}
