//! The tutorial's edit of the Corefile.

use std::net::IpAddr;

use crate::{
    Result,
    environment::workloads::NAMESPACE,
    model::dns::corefile::{Corefile, HostsEntry},
};

/// The name that the tutorial makes up for its Service.
pub const EXTERNAL_NAME: &str = "my-nginx.external.local";

/// Whether the `hosts` block lets other plugins answer what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// As in the tutorial's last Corefile.
    WithFallthrough,
    /// As in its first two: every Service name in the cluster then answers SERVFAIL.
    WithoutFallthrough,
}

/// The Corefile `original` with the tutorial's `hosts` block: its name, and the alias for the search path, at `address`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the Corefile is malformed, or has no place for the block.
///
/// ```
/// use reachmap::environment::tutorial::{Hosts, corefile};
/// let original = ".:53 {\n    kubernetes cluster.local\n}\n";
/// let edited = corefile(original, "10.96.7.7".parse().unwrap(), Hosts::WithFallthrough).unwrap();
/// assert!(edited.contains("10.96.7.7 my-nginx.external.local "));
/// assert!(edited.contains("fallthrough"));
/// ```
pub fn corefile(original: &str, address: IpAddr, hosts: Hosts) -> Result<String> {
    let names = vec![EXTERNAL_NAME.to_owned(), format!("{EXTERNAL_NAME}.{NAMESPACE}.svc.cluster.local")];
    let entries = [HostsEntry { address, names }];
    let corefile = original.parse::<Corefile>()?.with_hosts(&entries, hosts == Hosts::WithFallthrough)?;
    Ok(corefile.to_string())
}
