//! The registry's content: what the engine builds from packages, under the names that are pulled.

use std::{fs, time::Duration};

use reachmap::{
    command::Command,
    environment::{
        engine::Engine,
        images::{packages, versions::Versions},
    },
    kubernetes::apply::render,
    plan::ImagesChoice,
};

use super::place::{Place, REGISTRY};

const FLANNEL: &str = include_str!("../../../fixtures/manifests/flannel.yaml");
const NET_CONF: &str =
    r#"{"EnableIPv4": true, "EnableNFTables": false, "Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}"#;

/// What kind's own node images have, and ours has not: a network plugin of its own, and a place to say how registries
/// are reached.
const NODE: &str = r#"
COPY default-cni.yaml /kind/manifests/default-cni.yaml
RUN printf '%s\n' '[plugins."io.containerd.grpc.v1.cri".registry]' 'config_path = "/etc/containerd/certs.d"' >>/etc/containerd/config.toml
"#;

#[derive(Debug)]
pub(crate) struct Filled {
    /// The Kubernetes version of the node image.
    pub(crate) kubernetes: String,
    /// The published names, and what the registry has for each, with its digest.
    pub(crate) images: Vec<(String, String)>,
}

impl Filled {
    /// The digests of all of them, as a table that `--images-table` reads.
    pub(crate) fn table(&self) -> String {
        let entries = self
            .images
            .iter()
            .map(|(published, reference)| format!("\"{published}\" = \"{}\"\n", reference.split('@').nth(1).unwrap()));
        format!("[images]\n{}", entries.collect::<String>())
    }

    /// The digest of the image whose name contains `name`.
    pub(crate) fn digest(&self, name: &str) -> String {
        let (_, reference) = self.images.iter().find(|(published, _)| published.contains(name)).unwrap();
        reference.split('@').nth(1).unwrap().to_owned()
    }
}

/// Builds the images, pushes them, and takes them all away from the engine.
pub(crate) fn fill(place: &Place) -> Filled {
    let versions = Versions::embedded().unwrap();
    let kubernetes = versions.kubernetes_from(ImagesChoice::Packages, None).unwrap();
    let engine = Engine::Sandbox(place.sandbox.clone());
    let built = packages::prepare(&engine, &place.home, &place.progress, kubernetes).unwrap();
    let node = stand_in(place, &built.node, built.flannel.as_deref().unwrap());
    // Every image of a build has the same tag.
    let (_, key) = built.node.rsplit_once(':').unwrap();
    let metallb = &versions.metallb.version;
    let pushed = [
        (node, format!("kindest/node:{}", kubernetes.version), "kindest/node"),
        (built.nginx, versions.nginx.image.clone(), "library/nginx"),
        (
            format!("reachmap.local/controller:{key}"),
            format!("quay.io/metallb/controller:{metallb}"),
            "metallb/controller",
        ),
        (format!("reachmap.local/speaker:{key}"), format!("quay.io/metallb/speaker:{metallb}"), "metallb/speaker"),
    ];
    let images = pushed.map(|(ours, published, repository)| {
        let step = place.progress.step(format!("Push {published}"), Some(Duration::from_secs(60)));
        let tag = published.rsplit_once(':').unwrap().1;
        let reference = format!("{REGISTRY}/{repository}:{tag}");
        place.docker(&["tag", &ours, &reference]);
        place.docker(&["push", "--quiet", &reference]);
        let known = place.docker(&["image", "inspect", "--format", "{{join .RepoDigests \"\\n\"}}", &reference]);
        let digest = known.lines().find_map(|line| line.strip_prefix(&format!("{REGISTRY}/{repository}@"))).unwrap();
        step.done();
        (published, format!("{reference}@{digest}"))
    });
    place.docker(&["image", "prune", "--all", "--force"]);
    assert_eq!(place.docker(&["image", "ls", "--all", "--quiet"]), "", "the engine has nothing left");
    println!("{images:#?}");
    Filled { kubernetes: kubernetes.version.clone(), images: images.to_vec() }
}

/// Our node image as kind's are.
fn stand_in(place: &Place, node: &str, flannel: &str) -> String {
    let directory = place.home.engine().join("stand-in");
    fs::create_dir_all(&directory).unwrap();
    let values = [("flannel_image", flannel), ("pull_policy", "Never"), ("net_conf", NET_CONF)];
    fs::write(directory.join("default-cni.yaml"), render("flannel.yaml", FLANNEL, &values).unwrap()).unwrap();
    fs::write(directory.join("Dockerfile"), format!("FROM {node}\n{NODE}")).unwrap();
    let name = "reachmap.local/stand-in:1";
    let inside = place.sandbox.inside(&directory);
    let build =
        Command::new("docker").args(["build", "--quiet", "--force-rm", "--tag", name, inside.to_str().unwrap()]);
    place.inside(build.env("DOCKER_BUILDKIT", "0"));
    fs::remove_dir_all(&directory).unwrap();
    name.to_owned()
}
