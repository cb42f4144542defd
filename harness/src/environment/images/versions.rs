//! The one table of pinned versions, `fixtures/versions.toml`, as types.

use serde::Deserialize;

use crate::{Context as _, Error, ErrorKind, Result};

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/versions.toml"));

/// Every version that Reachmap builds or pulls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The Kubernetes versions, newest first; the first is the default.
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
    /// The tag under which its kubeadm asks for CoreDNS.
    pub coredns_tag: String,
    /// The tag under which its kubeadm asks for etcd.
    pub etcd_tag: String,
    /// The tag under which its kubeadm asks for the pause image.
    pub pause_tag: String,
    /// The directory of its `go.mod` in `fixtures/go`; it cannot be built from packages without one.
    pub packages: Option<String>,
    /// kind's node image in the registry; it cannot be pulled without one.
    pub node_image: Option<String>,
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

    /// The Kubernetes version called `wanted`, else the default one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with the versions that there are.
    pub fn kubernetes(&self, wanted: Option<&str>) -> Result<&Kubernetes> {
        let found = match wanted {
            None => self.kubernetes.first(),
            Some(wanted) => self.kubernetes.iter().find(|kubernetes| kubernetes.version == wanted),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.kubernetes.iter().map(|kubernetes| kubernetes.version.as_str()).collect();
            Error::new(
                ErrorKind::Usage,
                format!("choose Kubernetes {}", wanted.unwrap_or("(the default)")),
                "it is not in the versions table",
            )
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
    fn an_unknown_version_is_refused_with_those_there_are() {
        let error = Versions::embedded().unwrap().kubernetes(Some("v1.2.3")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().unwrap().contains("v1.37.2"));
    }
}
