//! The tutorial's commands, as they are typed, with what they must print.

use std::net::{IpAddr, SocketAddr};

use reachmap::{
    Error, ErrorKind, Result,
    command::Output,
    environment::workloads::{CLUSTER_IP, NAMESPACE},
    model::dns::reverse,
    session::Session,
    state::ServiceType,
    wire::DnsFailure,
};

pub(crate) const NAME: &str = reachmap::environment::tutorial::EXTERNAL_NAME;
pub(crate) const SERVICE: &str = "nginx-clusterip-service.service-type-test";
pub(crate) const EXTERNAL_SERVICE: &str = "nginx-external-service.service-type-test";

/// curl's exit code when a name does not resolve (`EXIT CODES` in `curl(1)`).
pub(crate) const COULD_NOT_RESOLVE: i32 = 6;

pub(crate) fn alias() -> String {
    reachmap::environment::tutorial::alias()
}

pub(crate) fn service_fqdn() -> String {
    format!("{SERVICE}.svc.cluster.local")
}

pub(crate) fn cluster_ip() -> Result<IpAddr> {
    address_of(NAMESPACE, CLUSTER_IP)
}

/// The address of the node that the tutorial's only pod runs on: "172.16.211.12".
pub(crate) fn node_address() -> Result<IpAddr> {
    let node = Session::current()?.state().node_by_id("worker-1")?;
    node.addresses.first().copied().ok_or_else(|| no_address(&node.name))
}

/// Where the cluster's DNS answers.
pub(crate) fn dns_server() -> Result<SocketAddr> {
    Ok(SocketAddr::new(address_of("kube-system", "kube-dns")?, 53))
}

fn address_of(namespace: &str, name: &str) -> Result<IpAddr> {
    let service = Session::current()?.state().service(namespace, name);
    let address = service.and_then(|service| service.cluster_ips.first().copied());
    address.ok_or_else(|| no_address(name))
}

fn no_address(name: &str) -> Error {
    Error::new(ErrorKind::Environment, format!("find the address of {name}"), "the state has none")
}

/// `nslookup NAME`, which finds the name under another one, or ends at one with a code.
pub(crate) async fn nslookup(name: &str, wanted: Result<(&str, IpAddr), (&str, &str)>) -> Result<()> {
    let server = dns_server()?.ip();
    let head = format!("Server: {server} Address: {server}#53");
    let (code, said) = match wanted {
        Ok((answered, address)) => (0, format!("{head} Name: {answered} Address: {address}")),
        Err((asked, rcode)) => (1, format!("{head} ** server can't find {asked}: {rcode}")),
    };
    assert_prints(&["nslookup", name], code, &said).await
}

/// `nslookup ADDRESS`: its PTR records, in any order.
pub(crate) async fn nslookup_of_address(address: IpAddr, names: &[&str]) -> Result<()> {
    let output = in_testpod(&["nslookup", &address.to_string()]).await?;
    let mut said: Vec<String> = said_of_the_name(&output).map(squeezed).filter(|line| !line.is_empty()).collect();
    said.sort();
    let mut wanted: Vec<String> =
        names.iter().map(|name| format!("{} name = {name}.", reverse(address).trim_end_matches('.'))).collect();
    wanted.sort();
    assert_eq!((output.code, said), (Some(0), wanted), "nslookup {address}");
    Ok(())
}

/// `getent ahosts NAME`, which asks as every program does that is linked with glibc.
pub(crate) async fn getent(name: &str, address: IpAddr) -> Result<()> {
    let output = in_testpod(&["getent", "ahosts", name]).await?;
    let text = output.text();
    let found: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(output.code, Some(0), "getent ahosts {name}: {text}");
    assert!(!found.is_empty() && found.iter().all(|found| *found == address.to_string()), "{text}");
    Ok(())
}

/// `curl http://NAME:80`, with the status that it gets or the code that it ends with.
pub(crate) async fn curl(name: &str, wanted: Result<&str, i32>) -> Result<()> {
    let url = format!("http://{name}:80");
    let argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10", &url];
    let output = in_testpod(&argv).await?;
    let seen = match output.code {
        Some(0) => Ok(output.text()),
        code => Err(code.unwrap_or(-1)),
    };
    assert_eq!(seen, wanted.map(str::to_owned), "curl {url}");
    Ok(())
}

/// What the tutorial does not say of its first two Corefiles: not one name is lost, but every Service of the cluster.
pub(crate) async fn every_service_name_is_servfail() -> Result<()> {
    let session = Session::current()?;
    let server = dns_server()?;
    let services = session.state().services.iter();
    let names: Vec<String> = services
        .filter(|service| service.kind != ServiceType::ExternalName || service.namespace == NAMESPACE)
        .map(|service| format!("{}.{}.svc.cluster.local", service.name, service.namespace))
        .collect();
    assert!(names.iter().any(|name| name == "kubernetes.default.svc.cluster.local"), "{names:?}");
    for name in names {
        let seen = session.ask(server, name.clone()).await?;
        assert_eq!((seen.failure, seen.addresses), (Some(DnsFailure::ServFail), Vec::new()), "{name}");
    }
    Ok(())
}

async fn assert_prints(argv: &[&str], code: i32, said: &str) -> Result<()> {
    let output = in_testpod(argv).await?;
    let seen = squeezed(said_of_the_name(&output).collect::<Vec<_>>().join("\n"));
    assert_eq!((output.code, seen), (Some(code), said.to_owned()), "{}", argv.join(" "));
    Ok(())
}

/// What nslookup prints, without its remarks on single answers: `;; Got recursion not available from …`, as newer
/// ones say of an authoritative server that does not recurse, or `;; Got SERVFAIL reply from …`.
fn said_of_the_name(output: &Output) -> impl Iterator<Item = String> {
    let lines: Vec<String> = output.text().lines().map(str::to_owned).collect();
    lines.into_iter().filter(|line| !line.starts_with(";; Got "))
}

async fn in_testpod(argv: &[&str]) -> Result<Output> {
    reachmap_suites::in_testpod(argv).await
}

/// The text with every run of white space as one blank: what the tutorial's own text is.
fn squeezed(text: impl AsRef<str>) -> String {
    text.as_ref().split_whitespace().collect::<Vec<_>>().join(" ")
}
