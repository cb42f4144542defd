//! What the kernels of the nodes, and of the vantages, hold: rules, connections, routes, neighbours, addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Ground, NodeAccess, Wanted};
use crate::{
    Context as _, Error, ErrorKind, Result,
    bundle::{FILE_LIMIT, contents::Side},
    command::{Command, Output},
    environment::cluster::EngineAccess,
    probe::exec,
    session::handover::{Site, Start},
};

/// How long one command may take; the request around it may take a little longer.
const COMMAND: Duration = Duration::from_secs(9);

/// What is run on each node: the file that it makes, what it is, and the command.
const ON_NODES: [(&str, &str, &[&str]); 11] = [
    ("iptables-save.txt", "netfilter's rules, as iptables sees them", &["iptables-save"]),
    ("ip6tables-save.txt", "the same for IPv6", &["ip6tables-save"]),
    ("nft-ruleset.txt", "netfilter's rules, all of them", &["nft", "list", "ruleset"]),
    ("conntrack.txt", "the connections that are tracked", &["conntrack", "-L"]),
    ("ip-rule.txt", "which routing table is for whom", &["ip", "rule", "show"]),
    ("ip-route.txt", "the routes", &["ip", "route", "show", "table", "all"]),
    ("ip6-route.txt", "the same for IPv6", &["ip", "-6", "route", "show", "table", "all"]),
    ("ip-neigh.txt", "the neighbours", &["ip", "neigh", "show"]),
    ("ip-addr.txt", "the addresses", &["ip", "addr", "show"]),
    ("ip-link.txt", "the interfaces, with what they count", &["ip", "-s", "-d", "link", "show"]),
    ("uname.txt", "the kernel", &["uname", "-a"]),
];

/// What is read at each vantage that is no node: also where no program of iproute2's is.
const AT_VANTAGES: [(&str, &str, &[&str]); 4] = [
    ("proc-net-route.txt", "the routes, as the kernel writes them (proc(5))", &["cat", "/proc/net/route"]),
    ("proc-net-arp.txt", "the neighbours, as the kernel writes them", &["cat", "/proc/net/arp"]),
    ("resolv.conf", "how names are looked up", &["cat", "/etc/resolv.conf"]),
    ("hosts", "names that nobody is asked for", &["cat", "/etc/hosts"]),
];

/// The names of the cluster's nodes: all of them, whatever runs there.
pub(super) async fn names(client: &Client) -> Result<BTreeSet<String>> {
    let listed = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    Ok(listed.tried(ErrorKind::Environment, || "list the nodes")?.items.iter().map(ResourceExt::name_any).collect())
}

/// The nodes that run kube-proxy, each with the pod.
pub(super) fn proxies(pods: &[Pod]) -> BTreeMap<String, String> {
    let proxies = pods.iter().filter(|pod| pod.labels().get("k8s-app").is_some_and(|app| app == "kube-proxy"));
    proxies.filter_map(|pod| Some((pod.spec.as_ref()?.node_name.clone()?, pod.name_any()))).collect()
}

pub(super) fn on_nodes<'a>(
    ground: &'a Ground<'_>,
    nodes: &BTreeSet<String>,
    proxies: &BTreeMap<String, String>,
) -> Vec<Wanted<'a>> {
    let commands = nodes.iter().flat_map(|node| ON_NODES.iter().map(move |what| (node, what)));
    commands
        .map(|(node, (file, about, argv))| Wanted {
            path: format!("nodes/{node}/{file}"),
            about: (*about).to_owned(),
            side: Side::Head,
            limit: FILE_LIMIT,
            take: match (&ground.nodes, proxies.get(node)) {
                (NodeAccess::Engine(engine), _) => in_container(engine, node.clone(), argv).boxed(),
                (NodeAccess::ProxyPods, Some(proxy)) => {
                    in_pod(ground.client, "kube-system", proxy.clone(), None, argv).boxed()
                }
                (NodeAccess::ProxyPods, None) => ready(Err(no_proxy(node, argv))).boxed(),
            },
        })
        .collect()
}

fn no_proxy(node: &str, argv: &[&str]) -> Error {
    let cause = "no pod labelled k8s-app=kube-proxy is there, in which it could be run";
    Error::new(ErrorKind::Environment, format!("run `{}` on {node}", argv.join(" ")), cause)
}

pub(super) fn at_vantages<'a>(ground: &'a Ground<'_>) -> Vec<Wanted<'a>> {
    let sites = ground.sites.iter().filter(|site| !matches!(site.vantage.kind, crate::model::VantageKind::Node { .. }));
    let all = sites.flat_map(|site| AT_VANTAGES.iter().map(move |what| (site, what)));
    all.map(|(site, (file, about, argv))| Wanted {
        path: format!("vantages/{}/{file}", site.vantage.id),
        about: (*about).to_owned(),
        side: Side::Head,
        limit: FILE_LIMIT,
        take: at(ground.client, site, argv),
    })
    .collect()
}

fn at<'a>(client: &'a Client, site: &'a Site, argv: &'static [&'static str]) -> BoxFuture<'a, Result<String>> {
    match &site.start {
        Start::Pod { namespace, pod, container } => {
            in_pod(client, namespace, pod.clone(), Some(container.as_str()), argv).boxed()
        }
        Start::Container { engine, container } => {
            run(Command::new("docker").args(["exec", container]).args(argv.iter().copied()).after(engine)).boxed()
        }
        Start::Here => run(here(argv)).boxed(),
    }
}

fn here(argv: &[&str]) -> Command {
    let (program, arguments) = argv.split_first().unwrap_or((&"true", &[]));
    Command::new(*program).args(arguments.iter().copied())
}

async fn in_pod(
    client: &Client,
    namespace: &str,
    pod: String,
    container: Option<&str>,
    argv: &[&str],
) -> Result<String> {
    text(&exec::output(client, namespace, &pod, container, argv, b"", COMMAND).await?, argv)
}

async fn in_container(engine: &EngineAccess, node: String, argv: &'static [&'static str]) -> Result<String> {
    run(engine.command(Command::new("docker").args(["exec", &node]).args(argv.iter().copied()))).await
}

async fn run(command: Command) -> Result<String> {
    let output = command.deadline(COMMAND).run_async().await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What it printed, if it ended well.
fn text(output: &Output, argv: &[&str]) -> Result<String> {
    if output.code == Some(0) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
    let code = output.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    Err(Error::new(
        ErrorKind::Environment,
        format!("run `{}`", argv.join(" ")),
        format!("it ended with {code}: {said}"),
    ))
}
