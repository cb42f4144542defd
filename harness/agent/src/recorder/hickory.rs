//! The resolver hickory, as a Rust program has it with `Resolver::builder_tokio()` and `lookup_ip`.
//!
//! From `resolv.conf` it takes the servers, `search` or `domain`, and the options `ndots`, `timeout`, `attempts` and
//! `edns0`; all else is hickory's default (`ResolverOpts::default()` of 0.26): AAAA and A are asked at the
//! same time, UDP first and TCP if the answer was truncated, and `/etc/hosts` comes before DNS.
//! Each lookup has a fresh resolver: what an earlier one was told is not known to it.

use std::fmt::Display;

use hickory_resolver::{
    Resolver,
    config::ResolverConfig,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::op::ResponseCode,
    system_conf::parse_resolv_conf,
};
use reachmap_wire::{DnsFailure, End};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::dns;

/// Looks `name` up, until `deadline` at the latest.
///
/// In a runtime of its own: what hickory has left running in the background ends with it.
pub(super) async fn run(name: String, deadline: Instant) -> Result<End, String> {
    let (sender, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name("hickory".to_owned());
    let lookup = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let end = runtime.map_err(cannot).and_then(|runtime| runtime.block_on(lookup(&name, deadline)));
        // A failed send means that nobody waits any more.
        let _ = sender.send(end);
    };
    thread.spawn(lookup).map_err(cannot)?;
    end.await.map_err(cannot)?
}

async fn lookup(name: &str, deadline: Instant) -> Result<End, String> {
    let resolver = resolver().map_err(|error| format!("hickory cannot be configured: {error}"))?;
    Ok(match timeout_at(deadline, resolver.lookup_ip(name)).await {
        Ok(Ok(found)) => End::Addresses(found.iter().collect()),
        Ok(Err(error)) => End::Failed { failure: failure(&error), text: error.to_string() },
        Err(_late) => End::TimedOut,
    })
}

/// What `Resolver::builder_tokio()` makes, but for the file's name and the port, which tests choose.
fn resolver() -> Result<Resolver<TokioRuntimeProvider>, NetError> {
    let (config, options) = parse_resolv_conf(std::fs::read(dns::configuration_path())?)?;
    let (domain, search, mut servers) = config.into_parts();
    for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
        connection.port = dns::port();
    }
    let config = ResolverConfig::from_parts(domain, search, servers);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

/// The class of an error, by what a program can tell it by.
fn failure(error: &NetError) -> DnsFailure {
    match error {
        error if error.is_nx_domain() => DnsFailure::NxDomain,
        error if error.is_no_records_found() => DnsFailure::NoData,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => DnsFailure::ServFail,
        NetError::Dns(DnsError::ResponseCode(_)) => DnsFailure::Refused,
        NetError::Timeout => DnsFailure::Timeout,
        NetError::Io(_) | NetError::NoConnections => DnsFailure::NoServer,
        _ => DnsFailure::Malformed,
    }
}

fn cannot(error: impl Display) -> String {
    format!("hickory cannot be started: {error}")
}
