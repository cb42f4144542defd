//! Clusters that are not there, cannot be reached, or are somebody else's at the moment.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener},
    os::fd::OwnedFd,
};

use reachmap::{
    environment::cluster::{
        EngineKind,
        kind::ClusterConfig,
        network::Network,
        record::{Phase, Record},
    },
    plan::{IpFamilyChoice, ProxyModeChoice},
};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use sha2::Digest as _;

use super::place::{Place, User};

/// A kubeconfig whose only context is `here`.
pub(crate) fn kubeconfig(server: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         contexts: [{{name: here, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'http://{server}'}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n"
    )
}

/// What of an API server answers `/version`, and knows nothing else; it ends with the test's process.
pub(crate) fn server() -> SocketAddr {
    const VERSION: &str = r#"{"major":"1","minor":"37","gitVersion":"v1.37.2","gitCommit":"","gitTreeState":"",
        "buildDate":"","goVersion":"","compiler":"","platform":""}"#;
    const NOTHING: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            // A client that goes away in between is none of ours to mind.
            let read = stream.read(&mut request).unwrap_or(0);
            let (status, body) = if request[..read].starts_with(b"GET /version ") {
                ("200 OK", VERSION)
            } else {
                ("404 Not Found", NOTHING)
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// A port on loopback that is taken, and on which nobody listens.
fn refusing() -> (OwnedFd, SocketAddr) {
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = getsockname(&held).unwrap().try_into().unwrap();
    (held, address)
}

#[test]
fn a_kubeconfig_that_is_not_there() {
    insta::assert_snapshot!(Place::new().refused(&["e2e", "--kubeconfig", "nowhere"]), @r#"
    exit 2
    error[RM-KUBECONFIG]: failed to use the kubeconfig [PLACE]/nowhere: failed to read kubeconfig from '"[PLACE]/nowhere"': No such file or directory (os error 2)
    Name a kubeconfig file that kubectl can use.
    "#);
}

#[test]
fn a_malformed_kubeconfig() {
    let place = Place::new();
    place.write("config", "clusters: {not: [a list");
    insta::assert_snapshot!(place.refused(&["e2e", "--kubeconfig", "config"]), @"
    exit 2
    error[RM-KUBECONFIG]: failed to use the kubeconfig [PLACE]/config: failed to parse kubeconfig YAML: error: line 1 column 11: expected sequence start
     --> <input>:1:11
      |
    1 | clusters: {not: [a list
      |           ^ expected sequence start
    Name a kubeconfig file that kubectl can use.
    ");
    place.write("config", "contexts: []\n");
    insta::assert_snapshot!(place.refused(&["e2e", "--kubeconfig", "config"]), @"
    exit 2
    error[RM-KUBECONFIG]: failed to use the kubeconfig [PLACE]/config: it has no current context
    Choose one with --context; it has these: none.
    ");
}

#[test]
fn an_unknown_context() {
    let place = Place::new();
    place.write("config", &kubeconfig(([127, 0, 0, 1], 1).into()));
    insta::assert_snapshot!(place.refused(&["e2e", "--kubeconfig", "config", "--context", "there"]), @"
    exit 2
    error[RM-KUBECONFIG]: failed to use the kubeconfig [PLACE]/config: it has no context `there`
    It has these: here.
    ");
}

#[test]
fn an_unreachable_cluster() {
    let place = Place::new();
    let (_held, address) = refusing();
    place.write("config", &kubeconfig(address));
    let said = place.refused(&["e2e", "--kubeconfig", "config"]).replace(&address.port().to_string(), "[PORT]");
    insta::assert_snapshot!(said, @"
    exit 3
    error[RM-UNREACHABLE]: failed to reach the API server http://127.0.0.1:[PORT]/ of the context `here`: ServiceError: client error (Connect): tcp connect error: Connection refused (os error 111)
    Try `kubectl --kubeconfig [PLACE]/config --context here version`.
    ");
}

#[test]
fn metallb_without_addresses_on_a_cluster_that_is_not_ours() {
    let place = Place::new();
    let arguments = ["e2e", "--kubeconfig", "config", "--install-metallb"];
    insta::assert_snapshot!(place.refused(&arguments), @"
    exit 2
    error[RM-POOL]: failed to give MetalLB addresses: none are known for this cluster
    Name a range of the nodes' network with --pool first-last.
    ");
}

#[test]
fn no_cluster_is_kept() {
    let place = Place::new();
    insta::assert_snapshot!(place.refused(&["status"]), @"
    exit 0
    home             [PLACE]/reachmap
    private engine   does not run
    clusters         none
    ");
    let expected = place.refused(&["down"]);
    insta::assert_snapshot!(expected, @"
    exit 2
    error[RM-CLUSTER]: failed to choose a cluster: no cluster is kept
    Make one with `cargo xtask up`.
    ");
    for command in [&["kubectl", "--", "get", "pods"][..], &["shell", "laptop"], &["logs"]] {
        assert_eq!(place.refused(command), expected, "{command:?}");
    }
    insta::assert_snapshot!(place.refused(&["down", "--name", "other"]), @"
    exit 2
    error[RM-CLUSTER]: failed to choose a cluster: there is none called other
    There are: none.
    ");
}

/// A record of a cluster in Docker; there is none, and nothing gets as far as to ask for it.
fn recorded(place: &Place, name: &str) {
    let network = Network::on("172.18.0.0/16".parse().unwrap(), false);
    let config = ClusterConfig {
        engine: EngineKind::Docker,
        kubernetes: "v1.37.0".to_owned(),
        node_image: "kindest/node:v1.37.0".to_owned(),
        workers: 3,
        proxy_mode: ProxyModeChoice::Iptables,
        ip_family: IpFamilyChoice::Ipv4,
        flannel: None,
        cgroup_v1: false,
    };
    let record = Record {
        name: name.to_owned(),
        fingerprint: config.fingerprint().unwrap(),
        config,
        phase: Phase::Ready,
        created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        pool: network.default_pool(0).unwrap(),
        network,
        laptop: None,
        kept: true,
        runs: Vec::new(),
    };
    record.write(&place.home()).unwrap();
}

#[test]
fn a_cluster_that_a_run_holds_is_not_deleted() {
    let place = Place::new();
    recorded(&place, "mine");
    let _held = place.home().try_lock("cluster-mine").unwrap().unwrap();
    insta::assert_snapshot!(place.start(place.command(User::Same, &["down"])).end(), @"
    exit 3
    error[RM-BUSY]: failed to delete the cluster mine: a run holds it
    Wait until that run has ended, or end it.
    ");
}

#[test]
fn one_of_several_clusters_has_to_be_named() {
    let place = Place::new();
    recorded(&place, "mine");
    recorded(&place, "yours");
    insta::assert_snapshot!(place.start(place.command(User::Same, &["down"])).end(), @"
    exit 2
    error[RM-CLUSTER]: failed to choose a cluster: there are several
    Name one with --name: mine, yours.
    ");
}

#[test]
fn a_busy_lock_is_waited_for() {
    let place = Place::new();
    let held = place.home().try_lock("engine").unwrap().unwrap();
    let mut waiting = place.start(place.command(User::Same, &["gc"]));
    waiting.until_said("another run holds the lock `engine`; waiting for it");
    drop(held);
    let said = waiting.end();
    assert!(said.starts_with("exit 0\nnothing to remove\n"), "{said}");
}

#[test]
fn who_waits_for_a_busy_cluster_can_be_interrupted() {
    let place = Place::new();
    let server = server();
    place.write("config", &kubeconfig(server));
    place.write("agent", "never started");
    let hash = sha2::Sha256::digest(format!("http://{server}/"));
    let lock = format!("cluster-existing-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
    let _held = place.home().try_lock(&lock).unwrap().unwrap();
    let mut waiting = place.start(place.command(User::Same, &["up", "--kubeconfig", "config"]));
    waiting.until_said(&format!("another run holds the lock `{lock}`; waiting for it"));
    waiting.terminate();
    let said = waiting.end();
    let error = said.split_once("waiting for it\n").map(|(_, rest)| rest);
    insta::assert_snapshot!(format!("{}\n{}", said.lines().next().unwrap(), error.unwrap()), @"
    exit 130
    error[RM-INTERRUPTED]: failed to finish the run: it was interrupted by SIGTERM
    ");
}
