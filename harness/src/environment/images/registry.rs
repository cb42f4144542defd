//! Images pulled from a registry: by the engine what it runs itself, by the nodes what their pods run.

use std::time::Duration;

use super::{
    Images, Pulled, go, is_there,
    origin::{Origin, Origins, Pin},
    reference::Reference,
    toolchain, tools,
    versions::{Kubernetes, Versions},
};
use crate::{
    Error, ErrorCode, ErrorKind, Result, command::Command, environment::engine::Engine, home::Home, progress::Progress,
};

/// The published name of the node image for `kubernetes`.
///
/// # Errors
/// [`ErrorKind::Usage`] if the table has none.
pub(super) fn node_image(kubernetes: &Kubernetes) -> Result<String> {
    kubernetes.node_image.clone().ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            format!("pull Kubernetes {}", kubernetes.version),
            "the versions table names no node image for it",
        )
        .with_code(ErrorCode::Source)
        .hint("Choose another version with --k8s, name an image in --images-table, or choose --images packages.")
    })
}

/// Pulls what the engine runs, and says what the nodes are to pull.
///
/// # Errors
/// [`ErrorKind::Environment`] with what was tried and what to do; [`ErrorKind::Missing`] without Go.
pub(super) fn prepare(
    engine: &Engine,
    home: &Home,
    progress: &Progress,
    origins: &Origins,
    versions: &Versions,
    kubernetes: &Kubernetes,
) -> Result<Images> {
    let node = origins.find(&node_image(kubernetes)?)?;
    let toolchain = toolchain::find_or_unpack(home, progress, versions)?;
    let published = go::metallb_manifest(home, progress, &toolchain)?;
    let (metallb_manifest, metallb) = point(&published, origins)?;
    let nginx = origins.find(&versions.nginx.image)?;
    let all: Vec<&Origin> = [&node, &nginx].into_iter().chain(&metallb).collect();
    origins.refuse_strangers(&all)?;
    let mut pulled = Vec::new();
    for origin in all {
        let by_engine = !metallb.contains(origin);
        let digest = if by_engine { pull_once(engine, progress, origins, origin)? } else { None };
        progress.line(&format!("image {}: {origin}", origin.published));
        pulled.push(Pulled { origin: origin.clone(), digest });
    }
    // An older kind may not know what a newer node image expects of it.
    let installed = which::which("kind").ok().filter(|kind| tools::is_kind_enough(kind, &versions.kind.version));
    let kind = match installed {
        Some(kind) => kind,
        None => go::kind().make(home, progress, &toolchain)?.join("kind"),
    };
    Ok(Images {
        source: "registry",
        kubernetes: kubernetes.version.clone(),
        node: node.reference,
        nginx: nginx.reference.clone(),
        testpod: nginx.reference.clone(),
        laptop: nginx.reference,
        flannel: None,
        metallb_manifest,
        pull_policy: "IfNotPresent",
        kind,
        pulled,
        mirror: origins.mirror.clone(),
    })
}

/// The manifest `text` with each of its images where it is pulled from, and those images.
pub(super) fn point(text: &str, origins: &Origins) -> Result<(String, Vec<Origin>)> {
    let mut found: Vec<Origin> = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        // MetalLB's release has each image on a line of its own, as Kubernetes' own tools print it.
        let Some((before, image)) =
            line.split_once("image: ").filter(|(before, _)| before.trim_matches([' ', '-']).is_empty())
        else {
            lines.push(line.to_owned());
            continue;
        };
        let origin = origins.find(image.trim().trim_matches(['"', '\'']))?;
        lines.push(format!("{before}image: {}", origin.reference));
        if !found.contains(&origin) {
            found.push(origin);
        }
    }
    Ok((lines.join("\n") + "\n", found))
}

/// Asks under which digests registries have what the engine has as `image`.
fn digests(image: &str) -> Command {
    Command::new("docker").args(["image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", image])
}

/// Pulls `image`.
fn pull(image: &str) -> Command {
    Command::new("docker").args(["pull", "--quiet", image]).deadline(Duration::from_secs(900))
}

/// Asks the registry whether it has `image`, without pulling it.
fn manifest(image: &str, is_plain: bool) -> Command {
    let plain: &[&str] = if is_plain { &["--insecure"] } else { &[] };
    Command::new("docker")
        .args(["manifest", "inspect"])
        .args(plain.iter().copied())
        .arg(image)
        .deadline(Duration::from_secs(30))
}

/// Pulls `origin` unless the engine has it, and returns the digest under which its registry has it.
fn pull_once(engine: &Engine, progress: &Progress, origins: &Origins, origin: &Origin) -> Result<Option<String>> {
    let image = &origin.reference;
    if !is_there(engine, image)? {
        let step = progress.step(format!("Pull {image}"), Some(Duration::from_secs(60)));
        engine.command(pull(image)).log(step.log()).run().map_err(|error| {
            let trouble = Trouble::of(&error.to_string());
            let is_plain = origins.mirror.as_ref().is_some_and(|mirror| mirror.is_plain);
            let other_digest = trouble == Trouble::Missing && origin.pin != Pin::Tag && {
                let named = image.split('@').next().unwrap_or(image);
                engine.command(manifest(named, is_plain)).output().is_ok_and(|output| output.code == Some(0))
            };
            let advice = trouble.advice(origin, other_digest);
            error
                .with_code(ErrorCode::Pull)
                .hint(format!("{advice} All that it printed is in {}.", step.log().display()))
        })?;
        step.done();
    }
    let known = engine.command(digests(image)).output()?.text();
    Ok(digest(&known, image))
}

/// The digest that the repository of `image` has in the list `known`.
fn digest(known: &str, image: &str) -> Option<String> {
    let place = |text: &str| text.parse::<Reference>().ok().map(|it| (it.registry, it.repository));
    let wanted = place(image);
    let found = known.lines().find(|line| place(line) == wanted)?;
    found.split_once('@').map(|(_, digest)| digest.to_owned())
}

/// Why an image could not be pulled, by what the engine said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Unreachable,
    Plain,
    Certificate,
    Refused,
    Limited,
    Missing,
    Other,
}

impl Trouble {
    fn of(said: &str) -> Self {
        let said = said.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        // What the registry itself said comes first: its answer may quote a name that looks like a failure.
        if has(&["gave http response to https client"]) {
            Self::Plain
        } else if has(&["x509:", "certificate"]) {
            Self::Certificate
        } else if has(&["toomanyrequests", "too many requests"]) {
            Self::Limited
        } else if has(&["unauthorized", "authentication required", "no basic auth", "access denied", "forbidden"]) {
            Self::Refused
        } else if has(&["manifest unknown", "not found", "name unknown", "repository does not exist"]) {
            Self::Missing
        } else if has(&[
            "connection refused",
            "no such host",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "deadline exceeded",
            "timeout",
            "server misbehaving",
            "request canceled",
        ]) {
            Self::Unreachable
        } else {
            Self::Other
        }
    }

    /// What the user can do about it.
    fn advice(self, origin: &Origin, other_digest: bool) -> String {
        let registry =
            origin.reference.parse::<Reference>().map_or_else(|_| "the registry".to_owned(), |it| it.registry);
        let Origin { published, reference, .. } = origin;
        match self {
            Self::Unreachable => format!(
                "The engine cannot reach {registry}: name a registry that it reaches with --registry, or choose --images packages."
            ),
            Self::Plain => format!(
                "{registry} speaks HTTP without TLS: put http:// before it in --registry, and list it under \
                 insecure-registries in the engine's daemon.json."
            ),
            Self::Certificate => format!(
                "The engine does not trust the certificate of {registry}: give it the authority's, in \
                 /etc/docker/certs.d/{registry}/ca.crt."
            ),
            Self::Refused => format!(
                "{registry} does not have it, or wants to know who asks: log in with `docker login {registry}`, or name \
                 another registry with --registry."
            ),
            Self::Limited => format!(
                "{registry} has served this address as often as it likes: log in with `docker login {registry}`, or name a \
                 mirror with --registry."
            ),
            Self::Missing if other_digest => format!(
                "{registry} has the tag with another content than the one that is pinned: mirror the published image as it \
                 is, or, if it is to be another build, name its digest for `{published}` in --images-table."
            ),
            Self::Missing => {
                let named = reference.split('@').next().unwrap_or(reference);
                format!(
                    "{registry} does not have it: push {published} there as {named}, or name what it has in --images-table."
                )
            }
            Self::Other => "Try the command by hand; without a registry, choose --images packages.".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{environment::images::inspect, plan::ImagesChoice};

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_node_image_is_pulled_by_its_digest() {
        let versions = Versions::embedded().unwrap();
        let kubernetes = versions.kubernetes_from(ImagesChoice::Registry, None).unwrap();
        let image = node_image(kubernetes).unwrap();
        insta::assert_snapshot!(pull(&image).display(), @"docker pull --quiet kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5");
        assert!(inspect(&image).display().ends_with(&image));
        insta::assert_snapshot!(manifest("192.0.2.1:5000/a:1", true).display(), @"docker manifest inspect --insecure 192.0.2.1:5000/a:1");
    }

    #[test]
    fn each_image_of_a_manifest_is_pulled_from_where_it_is() {
        let text = "spec:\n  containers:\n  - args: [--image: a]\n    image: quay.io/metallb/controller:v1\n  - image: quay.io/metallb/speaker:v1\n";
        let origins = Origins::at("registry.example/q".parse().unwrap());
        let (pointed, found) = point(text, &origins).unwrap();
        assert_eq!(pointed, text.replace("quay.io", "registry.example/q"), "and nothing else of it has changed");
        assert_eq!(found.len(), 2);
        assert_eq!(point(text, &Origins::default()).unwrap().0, text);
    }

    #[test]
    fn the_digest_of_what_was_pulled_is_its_repository_s() {
        let known = format!("registry.example/nginx@{}\nnginx@{DIGEST}\n", DIGEST.replace('0', "f"));
        assert_eq!(digest(&known, "nginx:1.29").as_deref(), Some(DIGEST));
        assert_eq!(digest(&known, "quay.io/nginx:1.29"), None);
    }

    /// What Docker 26.1.5 prints.
    #[test]
    fn each_way_to_fail_has_its_own_advice() {
        let origin = Origin {
            published: "nginx:1.29".to_owned(),
            reference: "registry.example:5000/library/nginx:1.29".to_owned(),
            pin: Pin::Tag,
        };
        let advice = |said: &str| Trouble::of(said).advice(&origin, false);
        insta::assert_snapshot!(
            [
                "Get \"http://192.0.2.1:5001/v2/\": dial tcp 192.0.2.1:5001: connect: connection refused",
                "Get \"https://registry.example:5000/v2/\": http: server gave HTTP response to HTTPS client",
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "pull access denied for a/b, repository does not exist or may require 'docker login'",
                "toomanyrequests: You have reached your unauthenticated pull rate limit.",
                "manifest for registry.example:5000/library/nginx:1.29 not found: manifest unknown: manifest unknown",
                "no space left on device",
            ]
            .map(advice)
            .join("\n"),
            @r"
        The engine cannot reach registry.example:5000: name a registry that it reaches with --registry, or choose --images packages.
        registry.example:5000 speaks HTTP without TLS: put http:// before it in --registry, and list it under insecure-registries in the engine's daemon.json.
        The engine does not trust the certificate of registry.example:5000: give it the authority's, in /etc/docker/certs.d/registry.example:5000/ca.crt.
        registry.example:5000 does not have it, or wants to know who asks: log in with `docker login registry.example:5000`, or name another registry with --registry.
        registry.example:5000 has served this address as often as it likes: log in with `docker login registry.example:5000`, or name a mirror with --registry.
        registry.example:5000 does not have it: push nginx:1.29 there as registry.example:5000/library/nginx:1.29, or name what it has in --images-table.
        Try the command by hand; without a registry, choose --images packages.
        "
        );
        let pinned = Origin { reference: format!("registry.example:5000/kindest/node:v1@{DIGEST}"), ..origin };
        insta::assert_snapshot!(Trouble::Missing.advice(&pinned, true), @"registry.example:5000 has the tag with another content than the one that is pinned: mirror the published image as it is, or, if it is to be another build, name its digest for `nginx:1.29` in --images-table.");
    }
}
