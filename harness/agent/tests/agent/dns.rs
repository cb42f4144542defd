//! What the agent asks, and what it makes of the answers.

use std::io::Write as _;

use hickory_proto::op::ResponseCode;
use reachmap::{
    probe::Agent,
    wire::{DnsFailure, Lookup, QuestionKind, RecordData, Resolve, Step},
};

use crate::{
    dns_server::{self, Say},
    http::server_that_echoes,
    probe, program,
};

/// A pod's resolver configuration; IPv4 only, so that a test asks the same on every machine.
const POD: &str =
    "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 no-aaaa attempts:1 timeout:1\n";

/// Resolves `name` at a server that says `say`, with the configuration `conf`.
async fn resolve(conf: &str, name: &str, say: impl Fn(&str, &str) -> Say + Send + Sync + 'static) -> Resolve {
    let server = dns_server::start(say).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(conf.as_bytes()).unwrap();
    let agent = Agent::spawn(program().env("REACHMAP_RESOLV_CONF", file.path().to_str().unwrap())).await.unwrap();
    let resolve = agent.resolve(Lookup { name: name.to_owned(), server: Some(server) }).await.unwrap();
    assert!(resolve.questions.iter().all(|question| question.server == server));
    assert_eq!(resolve.name, name);
    resolve
}

fn asked(resolve: &Resolve) -> Vec<&str> {
    resolve.questions.iter().map(|question| question.name.as_str()).collect()
}

fn only(name: &'static str, say: Say) -> impl Fn(&str, &str) -> Say {
    move |asked, _| {
        if asked == name { say.clone() } else { Say::Code(ResponseCode::NXDomain) }
    }
}

#[tokio::test]
async fn a_short_name_is_found_by_the_search_path() {
    let records = Say::Records(vec![("web.svc.cluster.local.", "10.96.0.7")]);
    let resolve = resolve(POD, "web", only("web.svc.cluster.local.", records)).await;
    assert_eq!(asked(&resolve), ["web.shop.svc.cluster.local.", "web.svc.cluster.local."]);
    assert_eq!(resolve.addresses, ["10.96.0.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(resolve.answered.as_deref(), Some("web.svc.cluster.local."));
    assert_eq!(resolve.failure, None);
    let rcodes: Vec<_> = resolve.questions.iter().map(|question| question.rcode.as_deref().unwrap()).collect();
    assert_eq!(rcodes, ["NXDOMAIN", "NOERROR"]);
}

#[tokio::test]
async fn an_alias_is_followed_within_the_answer() {
    let records =
        Say::Records(vec![("ext.shop.svc.cluster.local.", "my-nginx.example."), ("my-nginx.example.", "10.96.0.7")]);
    let resolve = resolve(POD, "ext", only("ext.shop.svc.cluster.local.", records)).await;
    assert_eq!(resolve.addresses.len(), 1);
    assert_eq!(resolve.questions[0].answers[0].data, RecordData::Cname("my-nginx.example.".to_owned()));
}

#[tokio::test]
async fn an_alias_that_leads_nowhere_ends_the_walk_without_data() {
    let records = Say::Records(vec![("ext.shop.svc.cluster.local.", "my-nginx.example.")]);
    let resolve = resolve(POD, "ext", only("ext.shop.svc.cluster.local.", records)).await;
    assert_eq!(asked(&resolve), ["ext.shop.svc.cluster.local."]);
    assert_eq!(resolve.failure, Some(DnsFailure::NoData));
}

#[tokio::test]
async fn each_way_of_failing_is_told_apart() {
    let everywhere = |say: Say| move |_: &str, _: &str| say.clone();
    let walk = |say| async move {
        let resolve = resolve(POD, "web", everywhere(say)).await;
        assert!(resolve.addresses.is_empty() && resolve.answered.is_none());
        (resolve.questions.len(), resolve.failure.unwrap())
    };
    assert_eq!(walk(Say::Code(ResponseCode::NXDomain)).await, (4, DnsFailure::NxDomain));
    assert_eq!(walk(Say::Records(Vec::new())).await, (4, DnsFailure::NoData));
    assert_eq!(walk(Say::Code(ResponseCode::ServFail)).await, (4, DnsFailure::ServFail));
    // These end the search: what is left is the name itself.
    assert_eq!(walk(Say::Code(ResponseCode::Refused)).await, (2, DnsFailure::Refused));
    assert_eq!(walk(Say::Garbage).await, (2, DnsFailure::Malformed));
    assert_eq!(walk(Say::Nothing).await, (2, DnsFailure::Timeout));
}

#[tokio::test]
async fn one_name_without_data_is_the_walks_failure() {
    let resolve = resolve(POD, "web", only("web.svc.cluster.local.", Say::Records(Vec::new()))).await;
    assert_eq!((resolve.questions.len(), resolve.failure), (4, Some(DnsFailure::NoData)));
}

#[tokio::test]
async fn a_failing_server_is_asked_again_as_often_as_configured() {
    let conf = "options attempts:3 no-aaaa\n";
    let resolve = resolve(conf, "web.", |_, _| Say::Code(ResponseCode::ServFail)).await;
    assert_eq!(asked(&resolve), ["web.", "web.", "web."]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_fetched_by_tcp() {
    let records =
        Say::Long(vec![("web.shop.svc.cluster.local.", "10.0.0.1"), ("web.shop.svc.cluster.local.", "10.0.0.2")]);
    let resolve = resolve(POD, "web", only("web.shop.svc.cluster.local.", records)).await;
    assert_eq!((resolve.questions.len(), resolve.addresses.len()), (1, 2));
    assert!(resolve.questions.iter().all(|question| question.kind == QuestionKind::A));
}

#[tokio::test]
async fn nobody_to_ask_is_told_at_once() {
    // A UDP port that was just free: the kernel answers for it.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(POD.as_bytes()).unwrap();
    let agent = Agent::spawn(program().env("REACHMAP_RESOLV_CONF", file.path().to_str().unwrap())).await.unwrap();
    let resolve = agent.resolve(Lookup { name: "web".to_owned(), server: Some(free) }).await.unwrap();
    assert_eq!((resolve.questions.len(), resolve.failure), (1, Some(DnsFailure::NoServer)));
}

#[tokio::test]
async fn a_probe_resolves_by_the_vantages_own_configuration() {
    let server = dns_server::start(only(
        "web.shop.svc.cluster.local.",
        Say::Records(vec![("web.shop.svc.cluster.local.", "127.0.0.1")]),
    ))
    .await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "nameserver 127.0.0.1\n{POD}").unwrap();
    let command = program()
        .env("REACHMAP_RESOLV_CONF", file.path().to_str().unwrap())
        .env("REACHMAP_DNS_PORT", server.port().to_string());
    let agent = Agent::spawn(command).await.unwrap();
    assert!(agent.hello().await.unwrap().resolv_conf.contains("ndots:5"));
    let seen = agent.probe(probe("web", server_that_echoes().await)).await.unwrap();
    assert!(seen.is_reached(), "{seen:#?}");
    assert_eq!(asked(&seen.resolve.unwrap()), ["web.shop.svc.cluster.local."]);
    let seen = agent.probe(probe("nobody", 80)).await.unwrap();
    assert_eq!(seen.last_step(), Some(Step::Resolve));
    assert_eq!(seen.resolve.unwrap().failure, Some(DnsFailure::NxDomain));
}

#[tokio::test]
async fn a_probes_own_limit_ends_its_resolution() {
    let server = dns_server::start(|_, _| Say::Nothing).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "nameserver 127.0.0.1\noptions timeout:30 no-aaaa\n").unwrap();
    let command = program()
        .env("REACHMAP_RESOLV_CONF", file.path().to_str().unwrap())
        .env("REACHMAP_DNS_PORT", server.port().to_string());
    let mut probe = probe("web", 80);
    probe.timeout_ms = 200;
    let seen = Agent::spawn(command).await.unwrap().probe(probe).await.unwrap();
    assert_eq!(seen.last_step(), Some(Step::Resolve));
    assert_eq!(seen.resolve.unwrap().failure, Some(DnsFailure::Timeout));
    assert!(seen.elapsed_us < 2_000_000, "{} us", seen.elapsed_us);
}
