//! The Corefile: parsed, edited and printed without losing anything, and evaluated.
//!
//! The text itself is kept, and what was parsed only points into it, so that printing gives back
//! every byte: comments, order, white space and plugins that nobody here has heard of.
//!
//! Sources: the Corefile's syntax, <https://coredns.io/manual/configuration/>; the `hosts` plugin,
//! <https://coredns.io/plugins/hosts/>; the `kubernetes` plugin, <https://coredns.io/plugins/kubernetes/>.

use std::{fmt, net::IpAddr, ops::Range, str::FromStr};

use ipnet::IpNet;

use super::{absolute, longest_zone, parse};
use crate::{Error, Result};

/// The Corefile that kubeadm writes:
/// <https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kubeadm/app/phases/addons/dns/manifests.go>.
pub const KUBEADM: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// A Corefile.
///
/// ```
/// use reachmap::model::dns::{Corefile, HostsEntry};
/// let text = ".:53 {\n    errors # kept\n    kubernetes cluster.local\n}\n";
/// let corefile: Corefile = text.parse()?;
/// assert_eq!(corefile.to_string(), text);
///
/// let entry = HostsEntry { address: "10.96.7.7".parse().unwrap(), names: vec!["my-nginx.external.local".to_owned()] };
/// let edited = corefile.with_hosts(&[entry], true)?;
/// assert!(edited.to_string().contains("    hosts {\n       10.96.7.7 my-nginx.external.local\n       fallthrough\n    }\n    kubernetes"));
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corefile {
    pub(super) text: String,
    pub(super) blocks: Vec<ServerBlock>,
    /// The line of an `import` outside all blocks: it could bring any block.
    pub(super) imports: Option<usize>,
}

/// A server block: the zones it is for, and its plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBlock {
    /// The keys as written, such as `.:53`.
    pub keys: Vec<String>,
    /// The plugins in the order in which they are written, which is not the order in which they are asked.
    pub plugins: Vec<Plugin>,
    /// Where the block stands in the text.
    pub span: Range<usize>,
    /// The line that it starts on, from 1.
    pub line: usize,
}

/// One plugin of a server block, with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// The words after its name.
    pub arguments: Vec<String>,
    /// The lines between its braces, as words.
    pub body: Vec<Vec<String>>,
    /// Where it stands in the text, from its name to its last word or brace.
    pub span: Range<usize>,
    /// The line that it starts on, from 1.
    pub line: usize,
}

/// An entry of the `hosts` plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// The address.
    pub address: IpAddr,
    /// The names that it is given to.
    pub names: Vec<String>,
}

impl Corefile {
    /// The server blocks in the order in which they are written, snippets left out.
    pub fn blocks(&self) -> impl Iterator<Item = &ServerBlock> {
        self.blocks.iter().filter(|block| !block.is_snippet())
    }

    /// The block that answers for `name` on port 53: the one with the longest zone that the name is in.
    ///
    /// ```
    /// use reachmap::model::dns::Corefile;
    /// let corefile: Corefile = ".:53 {\n}\nexample.org:53 {\n}\n".parse()?;
    /// assert_eq!(corefile.block_for("www.example.org").unwrap().line, 3);
    /// assert_eq!(corefile.block_for("example.com").unwrap().line, 1);
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    pub fn block_for(&self, name: &str) -> Option<&ServerBlock> {
        let name = absolute(name);
        let mut best: Option<(usize, &ServerBlock)> = None;
        for block in self.blocks() {
            let zones = block.zones();
            if let Some(zone) = longest_zone(&name, zones.iter().map(String::as_str))
                && best.is_none_or(|(length, _)| zone.len() > length)
            {
                best = Some((zone.len(), block));
            }
        }
        best.map(|(_, block)| block)
    }
}

impl ServerBlock {
    /// Whether this is a snippet, `(name) { … }`, that only `import` brings to life.
    pub fn is_snippet(&self) -> bool {
        matches!(self.keys.as_slice(), [key] if key.starts_with('(') && key.ends_with(')'))
    }

    /// The zones that the block answers for over plain DNS on port 53, absolute.
    pub fn zones(&self) -> Vec<String> {
        self.keys.iter().flat_map(|key| zones_on_port_53(key)).collect()
    }

    /// The plugin of that name, if the block has it.
    pub fn plugin(&self, name: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}

impl fmt::Display for Corefile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Corefile {
    type Err = Error;

    /// Parses what CoreDNS's own parser takes, and what its `hosts` and `kubernetes` plugins accept.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) with the line number for what CoreDNS would reject.
    fn from_str(text: &str) -> Result<Self> {
        parse::corefile(text)
    }
}

/// The zones of a server block's key, if the key means plain DNS on port 53.
fn zones_on_port_53(key: &str) -> Vec<String> {
    let rest = match key.split_once("://") {
        Some(("dns", rest)) => rest,
        Some(_) => return Vec::new(),
        None => key,
    };
    let (zone, port) = split_port(rest);
    if port.is_none_or(|port| port == 53) { zones_of(zone) } else { Vec::new() }
}

/// The zones that a word means: a network such as `10.96.0.0/16` means its reverse zones.
///
/// As in CoreDNS, one that does not end at a label is as many zones as it has labels there (RFC 1035 section 3.5).
pub(super) fn zones_of(word: &str) -> Vec<String> {
    let Ok(IpNet::V4(network)) = word.parse::<IpNet>() else { return vec![absolute(word)] };
    let labels = usize::from(network.prefix_len().div_ceil(8)).max(1);
    let step = u8::try_from(labels * 8).unwrap_or(32);
    let Ok(subnets) = network.trunc().subnets(step) else { return vec![absolute(word)] };
    subnets
        .map(|subnet| {
            let octets: Vec<String> =
                subnet.network().octets().iter().take(labels).rev().map(ToString::to_string).collect();
            format!("{}.in-addr.arpa.", octets.join("."))
        })
        .collect()
}

/// A zone and the port behind its last colon, if there is one.
pub(super) fn split_port(key: &str) -> (&str, Option<u16>) {
    match key.rsplit_once(':') {
        Some((zone, port)) => match port.parse() {
            Ok(port) => (zone, Some(port)),
            Err(_) => (key, None),
        },
        None => (key, None),
    }
}
