//! Options, and what they mean will be done.

use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

pub mod course;
pub mod legs;
pub mod shard;

/// The most workers that a cluster of ours may have.
pub const MOST_WORKERS: u8 = 8;

/// Which engine runs the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// Docker if it answers, else the sandbox on Linux as root.
    #[default]
    Auto,
    /// The engine that answers `docker info`.
    Docker,
    /// A private engine in namespaces of its own, with no way out.
    Sandbox,
}

/// Where images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ImagesChoice {
    /// Packages for the sandbox, the registry for Docker.
    #[default]
    Auto,
    /// Pulled by the engine: the node image at a pinned digest, the others by their tags.
    Registry,
    /// Built from Debian packages and Go modules, once, and cached.
    Packages,
}

/// How kube-proxy programs Services in a cluster that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ProxyModeChoice {
    /// Rules in the `nat` table.
    #[default]
    Iptables,
    /// Rules in nftables maps (KEP-3866).
    Nftables,
}

/// The IP families of a cluster that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum IpFamilyChoice {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// IPv4 and IPv6.
    Dual,
}

/// The network plugin of a cluster that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CniChoice {
    /// What the image source brings: Flannel with packages, kindnet with the registry.
    #[default]
    Auto,
    /// Flannel with vxlan, as in the tutorial.
    Flannel,
    /// Flannel without a tunnel: a route to each node.
    FlannelHostGw,
    /// kind's own: plain host routes.
    Kindnet,
}

/// Everything that decides the environment.
///
/// ```
/// use reachmap::plan::EnvironmentOptions;
/// let options = EnvironmentOptions { kubeconfig: Some("kubeconfig".into()), ..EnvironmentOptions::default() };
/// assert_eq!(options.workers, 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Environment")]
pub struct EnvironmentOptions {
    /// What runs the containers.
    #[arg(long, value_enum, default_value_t, env = "REACHMAP_ENGINE")]
    pub engine: EngineChoice,
    /// Where images come from.
    #[arg(long, value_enum, default_value_t, env = "REACHMAP_IMAGES")]
    pub images: ImagesChoice,
    /// Pull all images from this registry, each under its own repository: `[http://]HOST[:PORT][/PATH]`.
    #[arg(long, env = "REACHMAP_REGISTRY", value_name = "REGISTRY")]
    pub registry: Option<String>,
    /// A file that says which images to pull instead of the published ones, at which digests (docs/src/registry.md).
    #[arg(long, env = "REACHMAP_IMAGES_TABLE", value_name = "FILE")]
    pub images_table: Option<PathBuf>,
    /// Where everything is kept that outlives a run (default: reachmap in the XDG cache directory).
    #[arg(long, env = "REACHMAP_CACHE", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The cluster's name (default: derived from its configuration).
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The Kubernetes version, such as v1.37.2 (default: the newest in the versions table).
    #[arg(long, value_name = "VERSION")]
    pub k8s: Option<String>,
    /// How many workers beside the control plane.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_WORKERS)))]
    pub workers: u8,
    /// How kube-proxy programs Services.
    #[arg(long, value_enum, default_value_t)]
    pub proxy_mode: ProxyModeChoice,
    /// The cluster's IP families.
    #[arg(long, value_enum, default_value_t)]
    pub ip_family: IpFamilyChoice,
    /// The network plugin.
    #[arg(long, value_enum, default_value_t)]
    pub cni: CniChoice,
    /// The addresses that MetalLB may give, `first-last` inside the nodes' network (default: eleven near its end).
    #[arg(long, value_name = "RANGE")]
    pub pool: Option<String>,
    /// Run on this existing cluster, and make none.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "k8s"])]
    pub kubeconfig: Option<PathBuf>,
    /// The context in that kubeconfig (default: its current one).
    #[arg(long, requires = "kubeconfig")]
    pub context: Option<String>,
    /// Allow CoreDNS's Corefile to be edited on an existing cluster; it is put back.
    #[arg(long, requires = "kubeconfig")]
    pub allow_cluster_edits: bool,
    /// Allow MetalLB to be installed on an existing cluster.
    #[arg(long, requires = "kubeconfig")]
    pub install_metallb: bool,
}

impl EnvironmentOptions {
    /// What a command line without any option means: the defaults, and what the variables `REACHMAP_ENGINE`, `REACHMAP_IMAGES`,
    /// `REACHMAP_REGISTRY`, `REACHMAP_IMAGES_TABLE` and `REACHMAP_CACHE` say.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if one of them says what it cannot.
    pub fn from_variables() -> Result<Self> {
        let command = Self::augment_args(clap::Command::new("reachmap"));
        let matches = command.try_get_matches_from(["reachmap"]);
        let read = matches.and_then(|matches| Self::from_arg_matches(&matches));
        // clap's own words begin so, too.
        let words = |error: clap::Error| error.to_string().trim_start_matches("error: ").trim_end().to_owned();
        read.map_err(|error| Error::new(ErrorKind::Usage, "read the environment's variables", words(error)))
    }
}

impl Default for EnvironmentOptions {
    /// What a command line without any option means, where no variable says otherwise.
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            images: ImagesChoice::Auto,
            registry: None,
            images_table: None,
            cache_dir: None,
            name: None,
            k8s: None,
            workers: 3,
            proxy_mode: ProxyModeChoice::Iptables,
            ip_family: IpFamilyChoice::Ipv4,
            cni: CniChoice::Auto,
            pool: None,
            kubeconfig: None,
            context: None,
            allow_cluster_edits: false,
            install_metallb: false,
        }
    }
}
