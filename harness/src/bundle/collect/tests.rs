//! A cluster with secrets in every place where somebody may have left one, and with much that it does not let us see.

use std::{collections::BTreeSet, io::Read as _, time::Duration};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::*;
use crate::{
    bundle::{self, Scrubber},
    kubernetes::mock::{self, Asked},
    model::{Vantage, VantageKind},
    report::{FailedTest, Run},
    session::handover::Start,
};

const JWT: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";
const BEARER: &str = "0f9e8d7c6b5a49382716";
const PASSWORD: &str = "correct-horse-battery";
const KEY: &str = "MHcCAQEEIPlantedPlantedPlantedPlantedPlanted";
const KEY_DATA: &str = "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpwbGFudGVk";
const FROM_ENVIRONMENT: &str = "in-the-environment-of-a-container";
const IN_ANNOTATION: &str = "in-an-annotation-without-any-hint";
const IN_CONFIG_MAP: &str = "in-another-entry-of-a-config-map";
const KNOWN: &str = "known-from-the-kubeconfig";

const PLANTED: [&str; 9] =
    [JWT, BEARER, PASSWORD, KEY, KEY_DATA, FROM_ENVIRONMENT, IN_ANNOTATION, IN_CONFIG_MAP, KNOWN];

fn list(items: &[Value]) -> (u16, String) {
    (200, json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }).to_string())
}

fn annotated(name: &str) -> Value {
    json!({
        "namespace": "kube-system", "name": name, "labels": {"k8s-app": if name == "coredns-1" { "kube-dns" } else { "kube-proxy" }},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": IN_ANNOTATION},
    })
}

fn pod(name: &str) -> Value {
    let container = json!({
        "name": "main", "image": "registry.test/main:1", "args": [format!("--token={BEARER}")],
        "env": [{"name": "SOMETHING", "value": FROM_ENVIRONMENT}],
    });
    json!({ "metadata": annotated(name), "spec": {"nodeName": "worker", "containers": [container]}, "status": {"phase": "Running"} })
}

fn answer(asked: &Asked) -> (u16, String) {
    let log = format!(
        "started\nAuthorization: Bearer {BEARER}\n-----BEGIN EC PRIVATE KEY-----\n{KEY}\n-----END EC PRIVATE KEY-----\ngot {JWT}\n"
    );
    let event = json!({
        "metadata": {}, "involvedObject": {"kind": "Pod", "name": "p"}, "type": "Warning", "reason": "Failed",
        "message": format!("pulling from https://user:{PASSWORD}@registry.test failed"),
    });
    match asked.path.as_str() {
        "/version" => (200, json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}).to_string()),
        "/api/v1/namespaces/kube-system/pods" => list(&[pod("coredns-1"), pod("kube-proxy-1")]),
        "/api/v1/namespaces/metallb-system/pods" => mock::status(403, "Forbidden", "pods is forbidden"),
        "/api/v1/nodes" => list(&[json!({"metadata": {"name": "worker"}}), json!({"metadata": {"name": "without-proxy"}})]),
        "/api/v1/namespaces/kube-system/events" => list(&[event]),
        "/api/v1/namespaces/kube-system/pods/coredns-1/log" => (200, log),
        "/api/v1/services" => list(&[json!({"metadata": annotated("s"), "spec": {"clusterIP": "10.96.0.1"}})]),
        "/api/v1/namespaces/kube-system/configmaps/coredns" => {
            let corefile = format!(".:53 {{\n  etcd {{\n    credentials root {PASSWORD}\n  }}\n}}\n");
            (200, json!({"metadata": annotated("coredns"), "data": {"Corefile": corefile, "kubeconfig": IN_CONFIG_MAP}}).to_string())
        }
        path if path.ends_with("/log") => mock::not_found(),
        path if path.contains("/configmaps/") => mock::not_found(),
        _ => list(&[]),
    }
}

fn ground<'a>(client: &'a Client, sites: &'a [Site]) -> Ground<'a> {
    Ground { client, nodes: NodeAccess::ProxyPods, sites, namespaces: vec!["shop".to_owned()] }
}

/// A vantage that is this machine itself.
fn here() -> Site {
    Site { vantage: Vantage { id: "laptop".to_owned(), kind: VantageKind::Laptop }, start: Start::Here }
}

fn unpacked(bytes: &[u8]) -> String {
    let mut all = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn no_planted_secret_is_in_the_finished_file() {
    let (client, asked) = mock::server(answer);
    let mut contents = collect(&ground(&client, &[here()]), "access", "load-balancer-ready").await;
    drop(client);
    let asked = asked.await.unwrap();
    assert!(asked.iter().all(|asked| !asked.path.contains("/secrets")), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.method == "GET"), "{asked:?}");

    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    let log = format!("$ kind get kubeconfig\n    client-key-data: {KEY_DATA}\n    token: {JWT}\nsaid {KNOWN}\n");
    std::fs::write(dir.path().join("logs/make-the-cluster.log"), log).unwrap();
    let mut run = Run::started("r", &["e2e".to_owned(), format!("--password={PASSWORD}")]);
    let failed = FailedTest {
        suite: "s".to_owned(),
        stage: "t".to_owned(),
        test: "x::y".to_owned(),
        output: format!("sent bearer {BEARER}, {KNOWN}"),
    };
    run.failed_tests.push(failed);
    let own = bundle::of_run(&run, dir.path());
    contents.extend(own);

    let before: String = contents.files.iter().map(|file| file.text.as_str()).collect();
    for secret in [JWT, BEARER, PASSWORD, KEY, KEY_DATA, KNOWN] {
        assert!(before.contains(secret), "planted where it is looked at: {secret}");
    }
    for secret in [FROM_ENVIRONMENT, IN_ANNOTATION, IN_CONFIG_MAP] {
        assert!(!before.contains(secret), "never listed: {secret}");
    }
    let kubeconfig = json!({"users": [{"name": "u", "user": {"token": KNOWN}}]}).to_string();
    let packed = bundle::pack("r", contents, &Scrubber::default().with_kubeconfig(&kubeconfig)).unwrap();
    let all = unpacked(&packed);
    assert!(all.contains("got [removed]") && all.contains("10.96.0.1"), "{all}");
    for secret in PLANTED {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test]
async fn what_could_not_be_had_is_listed_with_the_reason_and_the_rest_is_there() {
    let (client, _asked) = mock::server(answer);
    let contents = collect(&ground(&client, &[here()]), "access", "load-balancer-ready").await;
    let paths: BTreeSet<&str> = contents.files.iter().map(|file| file.path.as_str()).collect();
    for path in [
        "cluster/pods.json",
        "cluster/services.json",
        "cluster/Corefile",
        "logs/kube-system/coredns-1.main.log",
        "vantages/laptop/hosts",
    ] {
        assert!(paths.contains(format!("facts/access.load-balancer-ready/{path}").as_str()), "{path}: {paths:?}");
    }
    let why = |path: &str| {
        let found = contents.missing.iter().find(|missing| missing.path.ends_with(path));
        found.unwrap_or_else(|| panic!("{path}: {:?}", contents.missing)).why.clone()
    };
    assert!(
        why("cluster/pods.json").contains("in metallb-system: failed to list the pods in metallb-system"),
        "{}",
        why("cluster/pods.json")
    );
    assert!(why("cluster/kube-proxy.yaml").ends_with("there is none"));
    assert!(
        why("nodes/worker/iptables-save.txt")
            .starts_with("failed to start `iptables-save` in pod kube-system/kube-proxy-1")
    );
    // A node on which kube-proxy does not run, or runs under another label, is not left out without a word.
    let without = why("nodes/without-proxy/ip-route.txt");
    assert!(without.starts_with("failed to run `ip route show table all` on without-proxy: no pod"), "{without}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_costs_no_more_than_the_limit() {
    let (client, _asked) = mock::server(|_| (mock::SILENCE, String::new()));
    let started = Instant::now();
    let contents = collect_within(&ground(&client, &[]), "facts/a.b", Duration::from_secs(25)).await;
    assert!(started.elapsed() <= Duration::from_secs(26), "{:?}", started.elapsed());
    assert_eq!(
        contents.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["facts/a.b/cluster/pods.json"]
    );
    assert!(contents.missing.iter().any(|missing| missing.path == "facts/a.b/nodes"), "{:?}", contents.missing);
    let whys: BTreeSet<&str> =
        contents.missing.iter().map(|missing| missing.why.rsplit(": ").next().unwrap()).collect();
    assert_eq!(whys, BTreeSet::from(["no answer after 10s", "the time for collecting was over"]));
}
