//! Flannel, the tutorial's network plugin.

use std::time::Duration;

use futures::future::try_join;
use ipnet::IpNet;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Result,
    kubernetes::{apply, conditions, wait},
};

const MANIFEST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/manifests/flannel.yaml"));
const NAMESPACE: &str = "kube-flannel";

/// How Flannel takes packets to pods on other nodes
/// (<https://github.com/flannel-io/flannel/blob/master/Documentation/backends.md>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// In a tunnel.
    Vxlan,
    /// By a route to the other node: all nodes are on one link.
    HostGw,
}

impl Backend {
    /// Its name in Flannel's configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::HostGw => "host-gw",
        }
    }
}

/// Flannel, as a cluster gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flannel {
    /// Its image.
    pub image: String,
    /// Its backend.
    pub backend: Backend,
}

impl Flannel {
    /// Installs it for the given pod networks, and waits until every node is Ready.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`](crate::ErrorKind::Deadline) with the last state of the DaemonSet or of the nodes.
    pub async fn install(
        &self,
        client: &Client,
        pull_policy: &str,
        pod_networks: &[IpNet],
        nodes: usize,
        run: &str,
        deadline: Duration,
    ) -> Result<()> {
        self.manifest(pull_policy, pod_networks)?.labelled(run).apply(client).await?;
        let flannel = wait::until(
            Api::<DaemonSet>::namespaced(client.clone(), NAMESPACE),
            "flannel",
            "see Flannel run on every node",
            deadline,
            conditions::daemon_set_rolled_out,
        );
        try_join(flannel, until_nodes_ready(client, nodes, deadline)).await.map(|((), ())| ())
    }

    fn manifest(&self, pull_policy: &str, pod_networks: &[IpNet]) -> Result<apply::Manifest> {
        let net_conf = net_conf(self.backend, pod_networks);
        let values = [("flannel_image", self.image.as_str()), ("pull_policy", pull_policy), ("net_conf", &net_conf)];
        apply::Manifest::parse("flannel.yaml", &apply::render("flannel.yaml", MANIFEST, &values)?)
    }
}

/// Waits until there are `nodes` nodes and all are Ready, which takes a network plugin.
///
/// # Errors
/// [`ErrorKind::Deadline`](crate::ErrorKind::Deadline) with the nodes that are not.
pub async fn until_nodes_ready(client: &Client, nodes: usize, deadline: Duration) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    wait::until_all(api, "", "see every node Ready", deadline, conditions::nodes_ready(nodes)).await
}

/// Flannel's `net-conf.json` (<https://github.com/flannel-io/flannel/blob/master/Documentation/configuration.md>).
fn net_conf(backend: Backend, pod_networks: &[IpNet]) -> String {
    let mut conf = json!({"EnableIPv4": false, "EnableNFTables": false, "Backend": {"Type": backend.as_str()}});
    for network in pod_networks {
        let (enable, name) = match network {
            IpNet::V4(_) => ("EnableIPv4", "Network"),
            IpNet::V6(_) => ("EnableIPv6", "IPv6Network"),
        };
        conf[enable] = json!(true);
        conf[name] = json!(network);
    }
    conf.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_get_their_networks() {
        let networks = ["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()];
        insta::assert_snapshot!(
            net_conf(Backend::Vxlan, &networks),
            @r#"{"Backend":{"Type":"vxlan"},"EnableIPv4":true,"EnableIPv6":true,"EnableNFTables":false,"IPv6Network":"fd00:10:244::/56","Network":"10.244.0.0/16"}"#
        );
    }

    #[test]
    fn a_backend_has_one_name_everywhere() {
        for (backend, choice) in [(Backend::Vxlan, "vxlan"), (Backend::HostGw, "host-gw")] {
            assert_eq!(backend.as_str(), choice);
            assert_eq!(serde_json::to_value(backend).unwrap(), choice);
            assert!(net_conf(backend, &[]).contains(&format!(r#""Type":"{choice}""#)));
        }
    }

    #[test]
    fn the_manifest_runs_flanneld_as_its_main_process() {
        let flannel = Flannel { image: "flannel:v0.28.4".to_owned(), backend: Backend::HostGw };
        let manifest = flannel.manifest("Never", &["10.244.0.0/16".parse().unwrap()]).unwrap();
        let daemon_set = manifest.objects().last().unwrap();
        let container = &daemon_set.data["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "flannel:v0.28.4");
        let script = container["command"][2].as_str().unwrap();
        assert!(script.trim_end().ends_with("\nexec flanneld --ip-masq --kube-subnet-mgr"), "{script}");
        let ended = crate::command::Command::new("sh").args(["-n", "-c", script]).run();
        assert!(ended.is_ok(), "{ended:?}");
    }
}
