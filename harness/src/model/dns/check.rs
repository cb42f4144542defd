//! What CoreDNS refuses at start: <https://github.com/coredns/coredns/tree/v1.14.7/plugin>, each plugin's `setup.go`,
//! and `core/dnsserver/register.go` for the keys of server blocks.

use std::collections::BTreeMap;

use super::{
    absolute,
    corefile::{Corefile, Plugin, split_port},
    parse::{error, hosts_line},
    plugins,
};
use crate::Result;

/// Plugins of which a server block can have several.
const REPEATED: &[&str] =
    &["forward", "template", "rewrite", "log", "file", "auto", "secondary", "transfer", "acl", "view"];
/// Plugins that take no argument at all.
const BARE: &[&str] = &["loop", "minimal", "any", "debug", "whoami"];
/// Options of `forward`.
const FORWARD: &[&str] = &[
    "except",
    "max_fails",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_age",
    "max_idle_conns",
    "policy",
    "tls",
    "tls_servername",
    "health_check",
    "max_concurrent",
    "next",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "max_connect_attempts",
    "source_address",
    "doh_method",
    "resolver",
];

impl Corefile {
    /// Whether CoreDNS v1.14.7 would start with this Corefile, as far as that can be seen without starting it.
    ///
    /// A plugin that is not CoreDNS's own counts as unknown, unless the `running` Corefile has it too: then CoreDNS
    /// was built with it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) with the line and the reason.
    ///
    /// ```
    /// use reachmap::model::dns::Corefile;
    /// let corefile: Corefile = ".:53 {\n    hots {\n    }\n}\n".parse()?;
    /// assert_eq!(
    ///     corefile.check(None).unwrap_err().to_string(),
    ///     "failed to parse the Corefile: line 2: CoreDNS has no plugin `hots`",
    /// );
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    pub fn check(&self, running: Option<&Self>) -> Result<()> {
        let mut keys: BTreeMap<(String, String), usize> = BTreeMap::new();
        for block in self.blocks() {
            for key in &block.keys {
                if let Some(first) = keys.insert(listener(key), block.line) {
                    return Err(error(block.line, format!("`{key}` already has a server block, on line {first}")));
                }
            }
            for (index, plugin) in block.plugins.iter().enumerate() {
                let name = plugin.name.as_str();
                let is_built_in = |corefile: &Self| corefile.blocks().any(|block| block.plugin(name).is_some());
                if !plugins::ORDER.contains(&name) && name != "import" && !running.is_some_and(is_built_in) {
                    return Err(error(plugin.line, format!("CoreDNS has no plugin `{name}`")));
                }
                if !REPEATED.contains(&name)
                    && plugins::ORDER.contains(&name)
                    && block.plugins.iter().take(index).any(|earlier| earlier.name == name)
                    && matches!(name, "hosts" | "kubernetes" | "cache" | "loop" | "reload" | "health" | "ready")
                {
                    return Err(error(plugin.line, format!("`{name}` can only be used once in a server block")));
                }
                check_plugin(plugin)?;
            }
        }
        Ok(())
    }
}

/// A key's transport and port, and its zone: no two blocks can have both alike.
fn listener(key: &str) -> (String, String) {
    let (transport, rest) = key.split_once("://").unwrap_or(("dns", key));
    let (zone, port) = split_port(rest);
    let default = match transport {
        "tls" | "quic" => 853,
        "https" | "https3" | "grpc" => 443,
        _ => 53,
    };
    (format!("{transport}:{}", port.unwrap_or(default)), absolute(zone))
}

fn check_plugin(plugin: &Plugin) -> Result<()> {
    let fail = |cause: String| Err(error(plugin.line, cause));
    let name = plugin.name.as_str();
    if BARE.contains(&name) && !plugin.arguments.is_empty() {
        return fail(format!("`{name}` takes no arguments"));
    }
    let ttl = |words: &[String], least: u32, most: u32| {
        let given = words.get(1).map(String::as_str).unwrap_or_default();
        match given.parse::<u32>() {
            Ok(seconds) if (least..=most).contains(&seconds) => Ok(()),
            _ => fail(format!("`{name}` takes a ttl from {least} to {most} seconds, not `{given}`")),
        }
    };
    for words in &plugin.body {
        let Some(option) = words.first().map(String::as_str) else { continue };
        match (name, option) {
            ("hosts", "ttl") => ttl(words, 1, 65_535)?,
            ("kubernetes", "ttl") => ttl(words, 0, 3600)?,
            ("hosts", "reload") if words.len() != 2 => return fail("`reload` of `hosts` takes a duration".to_owned()),
            ("hosts", "fallthrough_unsupported")
                if plugin.body.iter().all(|words| words.first().is_none_or(|word| word != "fallthrough")) =>
            {
                return fail("`fallthrough_unsupported` needs `fallthrough`".to_owned());
            }
            ("kubernetes", "namespaces" | "labels" | "namespace_labels" | "endpoint") if words.len() < 2 => {
                return fail(format!("`{option}` of `kubernetes` takes an argument"));
            }
            ("kubernetes", "endpoint_pod_names" | "noendpoints" | "zonal") if words.len() > 1 => {
                return fail(format!("`{option}` of `kubernetes` takes no argument"));
            }
            ("kubernetes", "ignore") if words.get(1).is_some_and(|what| what != "empty_service") => {
                return fail("`ignore` of `kubernetes` takes `empty_service`".to_owned());
            }
            ("forward", option) if !FORWARD.contains(&option) => {
                return fail(format!("`forward` has no option `{option}`"));
            }
            ("cache", option)
                if ![
                    "success",
                    "denial",
                    "prefetch",
                    "serve_stale",
                    "servfail",
                    "disable",
                    "keepttl",
                    "prefer_positive",
                ]
                .contains(&option) =>
            {
                return fail(format!("`cache` has no option `{option}`"));
            }
            ("template", option)
                if !["match", "answer", "additional", "authority", "rcode", "ederror", "upstream", "fallthrough"]
                    .contains(&option) =>
            {
                return fail(format!("`template` has no option `{option}`"));
            }
            _ => {}
        }
    }
    match name {
        "forward" if plugin.arguments.len() < 2 => fail("`forward` takes a zone and at least one server".to_owned()),
        "template" if plugin.arguments.len() < 2 => fail("`template` takes a class and a type".to_owned()),
        "rewrite" if plugin.arguments.is_empty() && plugin.body.is_empty() => fail("`rewrite` takes a rule".to_owned()),
        "kubernetes"
            if !plugin.arguments.is_empty()
                && plugin.arguments.iter().all(|zone| absolute(zone).ends_with(".arpa.")) =>
        {
            fail("`kubernetes` needs a zone that is no reverse zone".to_owned())
        }
        "hosts" => {
            match plugin.body.iter().find(|words| hosts_line(words).is_some_and(|(_, names)| names.is_empty())) {
                // CoreDNS passes over it, and then the name that was meant is missing.
                Some(words) => fail(format!("`hosts` has `{}` without a name", words.join(" "))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
