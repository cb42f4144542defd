//! kind's configuration as types, and its commands as data.

use std::{path::Path, time::Duration};

use ipnet::IpNet;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{EngineKind, network::Network};
use crate::{
    Context as _, Error, ErrorKind, Result,
    command::Command,
    environment::{addons::cni::Flannel, sha256},
    plan::{IpFamilyChoice, ProxyModeChoice},
};

/// A kubelet that turns a container's log over loses those who follow it, and a load writes 10 MiB, its default, in no time.
const KUBELET_LOGS: &str = "kind: KubeletConfiguration\ncontainerLogMaxSize: 1Gi\n";

/// kubelets refuse cgroup v1 from this version on, unless told not to (KEP-5573).
const REFUSES_CGROUP_V1: Version = Version::new(1, 35, 0);

/// Everything that makes two clusters differ: same configuration, same fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// Which engine the nodes run in.
    pub engine: EngineKind,
    /// The Kubernetes version, such as `v1.37.2`.
    pub kubernetes: String,
    /// The nodes' image, by a reference that changes with its content.
    pub node_image: String,
    /// How many workers there are beside the control plane.
    pub workers: u8,
    /// How kube-proxy programs Services.
    pub proxy_mode: ProxyModeChoice,
    /// The IP families.
    pub ip_family: IpFamilyChoice,
    /// Flannel, if the cluster gets it; kind's own network plugin otherwise.
    pub flannel: Option<Flannel>,
    /// Whether the engine's kernel gives containers cgroup v1.
    pub cgroup_v1: bool,
}

impl ClusterConfig {
    /// The SHA-256 of the configuration, in hexadecimal.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if it cannot be serialised.
    pub fn fingerprint(&self) -> Result<String> {
        // A JSON value sorts its keys, so the order of fields in this type does not matter.
        let canonical = serde_json::to_value(self).tried(ErrorKind::Internal, || "fingerprint the cluster")?;
        Ok(sha256(canonical.to_string()))
    }

    /// `reachmap-` and the first eight digits of the fingerprint.
    ///
    /// # Errors
    /// As [`ClusterConfig::fingerprint`].
    pub fn default_name(&self) -> Result<String> {
        Ok(format!("reachmap-{}", &self.fingerprint()?[..8]))
    }

    /// How many nodes the cluster has.
    pub fn nodes(&self) -> usize {
        usize::from(self.workers) + 1
    }

    /// Where pod addresses come from.
    pub fn pod_networks(&self) -> Vec<IpNet> {
        self.networks("10.244.0.0/16", "fd00:10:244::/56")
    }

    /// Where cluster IPs come from.
    pub fn service_networks(&self) -> Vec<IpNet> {
        self.networks("10.96.0.0/16", "fd00:10:96::/112")
    }

    fn networks(&self, v4: &str, v6: &str) -> Vec<IpNet> {
        let both = [v4, v6];
        let families = if self.ip_family == IpFamilyChoice::Dual { 2 } else { 1 };
        both[..families].iter().filter_map(|network| network.parse().ok()).collect()
    }

    /// The configuration that kind reads, as YAML (<https://kind.sigs.k8s.io/docs/user/configuration/>).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the Kubernetes version is not a version.
    pub fn kind_yaml(&self) -> Result<String> {
        let version = Version::parse(self.kubernetes.trim_start_matches('v')).map_err(|error| {
            Error::from_source(ErrorKind::Usage, format!("read the Kubernetes version {}", self.kubernetes), error)
                .hint("Versions look like v1.37.2.")
        })?;
        let mut kubeadm_config_patches = vec![KUBELET_LOGS];
        if self.cgroup_v1 && version >= REFUSES_CGROUP_V1 {
            kubeadm_config_patches.push("kind: KubeletConfiguration\nfailCgroupV1: false\n");
        }
        let join = |networks: Vec<IpNet>| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let config = KindConfig {
            kind: "Cluster",
            api_version: "kind.x-k8s.io/v1alpha4",
            networking: Networking {
                ip_family: match self.ip_family {
                    IpFamilyChoice::Ipv4 => "ipv4",
                    IpFamilyChoice::Dual => "dual",
                },
                kube_proxy_mode: match self.proxy_mode {
                    ProxyModeChoice::Iptables => "iptables",
                    ProxyModeChoice::Nftables => "nftables",
                },
                pod_subnet: join(self.pod_networks()),
                service_subnet: join(self.service_networks()),
                disable_default_cni: self.flannel.is_some(),
                dns_search: [],
            },
            nodes: std::iter::once("control-plane")
                .chain(std::iter::repeat_n("worker", usize::from(self.workers)))
                .map(|role| NodeConfig { role })
                .collect(),
            kubeadm_config_patches,
        };
        serde_saphyr::to_string(&config)
            .map_err(|error| Error::new(ErrorKind::Internal, "write kind's configuration", error))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KindConfig {
    kind: &'static str,
    api_version: &'static str,
    networking: Networking,
    nodes: Vec<NodeConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubeadm_config_patches: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    ip_family: &'static str,
    kube_proxy_mode: &'static str,
    pod_subnet: String,
    service_subnet: String,
    #[serde(rename = "disableDefaultCNI")]
    disable_default_cni: bool,
    /// Empty, so that the search path of the machine that we run on does not reach the nodes.
    dns_search: [&'static str; 0],
}

#[derive(Debug, Serialize)]
struct NodeConfig {
    role: &'static str,
}

/// The commands for one cluster, as data; nothing is run here.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// The program.
    pub program: &'a str,
    /// The cluster's name.
    pub name: &'a str,
}

impl Kind<'_> {
    /// Makes the cluster from the configuration `yaml`, on `network`. What it has made so far stays if it fails.
    ///
    /// kind writes its kubeconfig to the file `kubeconfig`, as the engine's commands see it, and never to the user's.
    pub fn create(self, yaml: &str, image: &str, network: &Network, kubeconfig: &Path) -> Command {
        let kubeconfig = kubeconfig.display().to_string();
        let args = ["create", "cluster", "--name", self.name, "--image", image, "--config", "-"];
        Command::new(self.program)
            .args(args)
            .args(["--kubeconfig", &kubeconfig, "--retain"])
            .env("KIND_EXPERIMENTAL_DOCKER_NETWORK", &network.name)
            .stdin(yaml)
            .deadline(Duration::from_secs(600))
    }

    /// Prints the cluster's kubeconfig.
    pub fn kubeconfig(self) -> Command {
        Command::new(self.program).args(["get", "kubeconfig", "--name", self.name])
    }

    /// Prints the names of all clusters of the engine.
    pub fn clusters(self) -> Command {
        Command::new(self.program).args(["get", "clusters"])
    }

    /// Writes every node's logs into `directory`, as the engine's commands see it.
    pub fn export_logs(self, directory: &Path) -> Command {
        Command::new(self.program).args(["export", "logs", "--name", self.name]).arg(directory.display().to_string())
    }

    /// The containers that kind makes the nodes in: its names for one control plane and `workers` workers.
    pub fn node_names(self, workers: u8) -> Vec<String> {
        let worker = |number: u8| if number == 1 { String::new() } else { number.to_string() };
        std::iter::once(format!("{}-control-plane", self.name))
            .chain((1..=workers).map(|number| format!("{}-worker{}", self.name, worker(number))))
            .collect()
    }

    /// Deletes the cluster, or what there is of it.
    pub fn delete(self, kubeconfig: &Path) -> Command {
        Command::new(self.program)
            .args(["delete", "cluster", "--name", self.name, "--kubeconfig"])
            .arg(kubeconfig.display().to_string())
    }
}

/// Asks the engine whether its containers get cgroup v1; it prints `1` or `2`.
pub fn cgroup_version() -> Command {
    Command::new("docker").args(["info", "--format", "{{.CgroupVersion}}"])
}

/// The exit code of a command that did not get the lock that it was to hold: none of kind's.
pub(super) const CONFLICT: i32 = 75;

/// Makes `command` hold the file lock at `lock` as long as it or a child of it runs, even if we are gone by then. If somebody
/// else holds it, it ends with the exit code 75, that of a failure that passes, and does nothing.
///
/// A lock of ours would end with us: after `kill -9` the next run would delete a cluster that kind is still making.
pub fn holding(lock: &Path, mut command: Command) -> Command {
    let conflict = CONFLICT.to_string();
    let mut args = ["--exclusive", "--nonblock", "--conflict-exit-code", &conflict].map(str::to_owned).to_vec();
    args.extend([lock.display().to_string(), command.program]);
    args.append(&mut command.args);
    Command { program: "flock".to_owned(), args, ..command }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::environment::addons::cni::Backend;

    pub(crate) fn config() -> ClusterConfig {
        ClusterConfig {
            engine: EngineKind::Sandbox,
            kubernetes: "v1.37.2".to_owned(),
            node_image: "kindest/node:v1.37.2-0123".to_owned(),
            workers: 3,
            proxy_mode: ProxyModeChoice::Iptables,
            ip_family: IpFamilyChoice::Ipv4,
            flannel: Some(Flannel { image: "flannel:v0.28.4".to_owned(), backend: Backend::Vxlan }),
            cgroup_v1: true,
        }
    }

    #[test]
    fn the_default_cluster_is_the_tutorial_s() {
        insta::assert_snapshot!(config().kind_yaml().unwrap(), @r"
        kind: Cluster
        apiVersion: kind.x-k8s.io/v1alpha4
        networking:
          ipFamily: ipv4
          kubeProxyMode: iptables
          podSubnet: 10.244.0.0/16
          serviceSubnet: 10.96.0.0/16
          disableDefaultCNI: true
          dnsSearch: []
        nodes:
        - role: control-plane
        - role: worker
        - role: worker
        - role: worker
        kubeadmConfigPatches:
        - |
          kind: KubeletConfiguration
          containerLogMaxSize: 1Gi
        - |
          kind: KubeletConfiguration
          failCgroupV1: false
        ");
    }

    #[test]
    fn every_choice_reaches_kind() {
        let other = ClusterConfig {
            workers: 1,
            proxy_mode: ProxyModeChoice::Nftables,
            ip_family: IpFamilyChoice::Dual,
            flannel: None,
            cgroup_v1: false,
            ..config()
        };
        insta::assert_snapshot!(other.kind_yaml().unwrap(), @r"
        kind: Cluster
        apiVersion: kind.x-k8s.io/v1alpha4
        networking:
          ipFamily: dual
          kubeProxyMode: nftables
          podSubnet: 10.244.0.0/16,fd00:10:244::/56
          serviceSubnet: 10.96.0.0/16,fd00:10:96::/112
          disableDefaultCNI: false
          dnsSearch: []
        nodes:
        - role: control-plane
        - role: worker
        kubeadmConfigPatches:
        - |
          kind: KubeletConfiguration
          containerLogMaxSize: 1Gi
        ");
    }

    #[test]
    fn an_older_kubelet_does_not_know_the_cgroup_patch() {
        let older = ClusterConfig { kubernetes: "v1.34.4".to_owned(), ..config() };
        assert!(!older.kind_yaml().unwrap().contains("failCgroupV1"));
        let wrong = ClusterConfig { kubernetes: "latest".to_owned(), ..config() };
        assert_eq!(wrong.kind_yaml().unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn the_fingerprint_changes_with_everything_that_matters() {
        let base = config();
        let variants = [
            ClusterConfig { workers: 4, ..config() },
            ClusterConfig { node_image: "kindest/node:v1.37.2-4567".to_owned(), ..config() },
            ClusterConfig { proxy_mode: ProxyModeChoice::Nftables, ..config() },
            ClusterConfig { flannel: None, ..config() },
            ClusterConfig {
                flannel: config().flannel.map(|flannel| Flannel { backend: Backend::HostGw, ..flannel }),
                ..config()
            },
            ClusterConfig { engine: EngineKind::Docker, ..config() },
        ];
        assert_eq!(base.fingerprint().unwrap(), config().fingerprint().unwrap());
        assert_eq!(base.default_name().unwrap().len(), "reachmap-".len() + 8);
        for variant in variants {
            assert_ne!(variant.fingerprint().unwrap(), base.fingerprint().unwrap(), "{variant:?}");
        }
    }

    #[test]
    fn the_commands_are_exactly_these() {
        let kind = Kind { program: "/opt/kind", name: "reachmap-0123abcd" };
        let network = Network::on("172.18.0.0/16".parse().unwrap(), false);
        let kubeconfig = Path::new("/home/kubeconfig");
        let create = kind.create("kind: Cluster\n", "kindest/node:v1.37.2", &network, kubeconfig);
        assert_eq!(create.env["KIND_EXPERIMENTAL_DOCKER_NETWORK"], "reachmap");
        assert_eq!(create.stdin.as_deref(), Some(&b"kind: Cluster\n"[..]));
        let commands = [
            &create,
            &kind.kubeconfig(),
            &kind.clusters(),
            &kind.export_logs(Path::new("/tmp/logs")),
            &kind.delete(kubeconfig),
            &holding(Path::new("/home/locks/kind.lock"), kind.delete(kubeconfig)),
        ];
        let shown: Vec<String> = commands.iter().map(|command| command.display()).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        /opt/kind create cluster --name reachmap-0123abcd --image kindest/node:v1.37.2 --config - --kubeconfig /home/kubeconfig --retain
        /opt/kind get kubeconfig --name reachmap-0123abcd
        /opt/kind get clusters
        /opt/kind export logs --name reachmap-0123abcd /tmp/logs
        /opt/kind delete cluster --name reachmap-0123abcd --kubeconfig /home/kubeconfig
        flock --exclusive --nonblock --conflict-exit-code 75 /home/locks/kind.lock /opt/kind delete cluster --name reachmap-0123abcd --kubeconfig /home/kubeconfig
        ");
    }

    #[test]
    fn the_nodes_have_kind_s_names() {
        let kind = Kind { program: "kind", name: "t" };
        assert_eq!(kind.node_names(3), ["t-control-plane", "t-worker", "t-worker2", "t-worker3"]);
    }

    /// A run that is killed in the middle must not free the lock while kind works on.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_lock_is_held_until_the_last_child_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let home = crate::home::Home::at(dir.path());
        drop(home.try_lock("kind").unwrap());
        let lock = dir.path().join("locks/kind.lock");
        // The child stays behind when its parent ends, until it can read a line.
        let fifo = dir.path().join("fifo");
        let script = format!("mkfifo {0}; (read line <{0}) >/dev/null 2>&1 & :", fifo.display());
        holding(&lock, Command::new("sh").args(["-c", &script])).run().unwrap();
        assert!(home.try_lock("kind").unwrap().is_none());
        std::fs::write(&fifo, "go\n").unwrap();
        crate::command::poll("take the lock", Duration::from_secs(5), || {
            Ok(home.try_lock("kind")?.map(drop).ok_or_else(|| "held".to_owned()))
        })
        .unwrap();
    }
}
