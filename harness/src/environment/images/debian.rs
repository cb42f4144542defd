//! Root file systems from Debian's packages, by mmdebstrap.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{store::Recipe, versions::Debian};
use crate::{Context as _, ErrorKind, Result, command::Command, home::Home, progress::Progress};

macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/node/", $path))
    };
}

const ENGINE: &str = "docker.io,docker-cli,iptables,iproute2,nftables,ca-certificates,procps,conntrack";
const USERLAND: &str =
    "iptables,nftables,conntrack,iproute2,curl,bind9-dnsutils,nginx-light,hey,procps,iputils-ping,kmod,ca-certificates";
const NODE: &str = "systemd,systemd-sysv,dbus,iproute2,iptables,nftables,conntrack,socat,ethtool,util-linux,mount,\
                    kmod,procps,curl,containerd,runc,containernetworking-plugins,ca-certificates,libseccomp2,hostname,jq";

/// What a node's root file system gets beside Debian's packages.
const NODE_FILES: [(&str, u32, &str); 7] = [
    ("usr/local/bin/entrypoint", 0o755, fixture!("entrypoint")),
    ("etc/containerd/config.toml", 0o644, fixture!("containerd.toml")),
    ("etc/systemd/system/kubelet.service", 0o644, fixture!("kubelet.service")),
    ("etc/systemd/system/kubelet.slice", 0o644, "[Slice]\nCPUAccounting=true\nMemoryAccounting=true\n"),
    ("etc/default/kubelet", 0o644, "KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service\n"),
    // A new network namespace starts with forwarding off.
    (
        "etc/sysctl.d/99-kind.conf",
        0o644,
        "net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\nnet.ipv4.conf.all.route_localnet=1\nnet.ipv4.conf.all.arp_ignore=0\n",
    ),
    ("etc/systemd/journald.conf.d/kind.conf", 0o644, "[Journal]\nReadKMsg=no\nStorage=volatile\n"),
];

/// What a node does not start: all that belongs to a machine rather than to a container.
const NODE_SETUP: &str = "
cd /
rm -f lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service lib/systemd/system/multi-user.target.wants/* \\
  etc/systemd/system/*.wants/* lib/systemd/system/local-fs.target.wants/* \\
  lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl* lib/systemd/system/basic.target.wants/*
systemctl enable containerd kubelet
systemctl mask systemd-binfmt.service
mkdir -p etc/kubernetes/manifests kind etc/cni/net.d
";

pub(super) fn engine_recipe(debian: &Debian) -> Recipe {
    let title = format!("Unpack the engine's root (Debian {})", debian.engine);
    Recipe::new("engine-root", &title, Duration::from_secs(45), [ENGINE, &debian.engine, "1"])
}

pub(super) fn userland_recipe(debian: &Debian) -> Recipe {
    let title = format!("Unpack the pods' root (Debian {})", debian.node);
    Recipe::new("userland", &title, Duration::from_secs(40), [USERLAND, &debian.node, "1"])
}

pub(super) fn node_recipe(debian: &Debian) -> Recipe {
    let title = format!("Unpack the nodes' root (Debian {})", debian.node);
    let files = NODE_FILES.iter().flat_map(|(path, _, text)| [*path, *text]);
    Recipe::new("node-root", &title, Duration::from_secs(60), files.chain([NODE, NODE_SETUP, &debian.node, "1"]))
}

/// The engine's root file system, as a directory.
pub(super) fn engine(home: &Home, progress: &Progress, debian: &Debian) -> Result<PathBuf> {
    let made = engine_recipe(debian).make(home, progress, |dir, step| {
        let root = dir.join("root");
        bootstrap(&debian.engine, ENGINE, &root, step.log())?;
        for name in ["reachmap", ".old", "var/lib/docker"] {
            let path = root.join(name);
            fs::create_dir_all(&path).tried(ErrorKind::Storage, || format!("create {}", path.display()))?;
        }
        Ok(())
    })?;
    Ok(made.join("root"))
}

/// What pods, the laptop and the web servers are made of, as a tar archive in the directory.
pub(super) fn userland(home: &Home, progress: &Progress, debian: &Debian) -> Result<PathBuf> {
    userland_recipe(debian)
        .make(home, progress, |dir, step| bootstrap(&debian.node, USERLAND, &dir.join("root.tar"), step.log()))
}

/// A node without Kubernetes, as a tar archive in the directory.
pub(super) fn node(home: &Home, progress: &Progress, debian: &Debian) -> Result<PathBuf> {
    node_recipe(debian).make(home, progress, |dir, step| {
        let root = dir.join("root");
        bootstrap(&debian.node, NODE, &root, step.log())?;
        for (path, mode, text) in NODE_FILES {
            write(&root.join(path), mode, text)?;
        }
        Command::new("chroot").arg(root.to_string_lossy()).args(["sh", "-ec", NODE_SETUP]).log(step.log()).run()?;
        Command::new("tar")
            .args(["-C", &root.to_string_lossy(), "--numeric-owner"])
            .args(["--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "-cf"])
            .args([&*dir.join("root.tar").to_string_lossy(), "."])
            .deadline(Duration::from_secs(300))
            .log(step.log())
            .run()?;
        fs::remove_dir_all(&root).tried(ErrorKind::Storage, || format!("remove {}", root.display()))
    })
}

fn bootstrap(release: &str, packages: &str, target: &Path, log: &Path) -> Result<()> {
    // It mounts /proc, /sys and more below the target: in namespaces of its own, they go when it goes, however it goes.
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap"])
        .args(["--variant=minbase", &format!("--include={packages}"), release])
        .arg(target.to_string_lossy())
        .deadline(Duration::from_secs(1800))
        .log(log)
        .run()
        .map(drop)
        .map_err(|error| match error.kind() {
            ErrorKind::Environment => error.hint(format!(
                "mmdebstrap needs root and Debian's package archive; all that it printed is in {}.",
                log.display()
            )),
            _ => error,
        })
}

fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(path, text))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .tried(ErrorKind::Storage, || format!("write {}", path.display()))
}
