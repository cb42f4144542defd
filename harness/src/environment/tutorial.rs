//! The tutorial's edits of the Corefile.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    environment::workloads::NAMESPACE,
    model::dns::corefile::{Corefile, HostsEntry},
};

/// The name that the tutorial makes up for its Service.
pub const EXTERNAL_NAME: &str = "my-nginx.external.local";

/// The Corefiles that the tutorial goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As the cluster came with it.
    Original,
    /// (a) A `hosts` block with the name alone: every Service name in the cluster then answers SERVFAIL.
    Name,
    /// (b) The same with the alias for the search path of the tutorial's namespace.
    NameAndAlias,
    /// (c) The name, the alias, and `fallthrough`, so that other plugins answer what the block does not know.
    WithFallthrough,
}

/// The Corefile `original` with the tutorial's `hosts` block, its names at `address`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the Corefile is malformed, or has no place for the block.
///
/// ```
/// use reachmap::environment::tutorial::{Names, corefile};
/// let original = ".:53 {\n    kubernetes cluster.local\n}\n";
/// let edited = corefile(original, "10.96.7.7".parse().unwrap(), Names::WithFallthrough).unwrap();
/// assert!(edited.contains("10.96.7.7 my-nginx.external.local my-nginx.external.local.service-type-test"));
/// assert!(edited.contains("fallthrough"));
/// assert_eq!(corefile(original, "10.96.7.7".parse().unwrap(), Names::Original).unwrap(), original);
/// ```
pub fn corefile(original: &str, address: IpAddr, names: Names) -> Result<String> {
    let mut entry = HostsEntry { address, names: vec![EXTERNAL_NAME.to_owned()] };
    match names {
        Names::Original => return Ok(original.to_owned()),
        Names::Name => {}
        Names::NameAndAlias | Names::WithFallthrough => entry.names.push(alias()),
    }
    let corefile = original.parse::<Corefile>()?.with_hosts(&[entry], names == Names::WithFallthrough)?;
    Ok(corefile.to_string())
}

/// What the name becomes by the first domain of the search path in the tutorial's namespace.
pub fn alias() -> String {
    format!("{EXTERNAL_NAME}.{NAMESPACE}.svc.cluster.local")
}
