//! CoreDNS's own plugins: <https://github.com/coredns/coredns/blob/v1.14.7/plugin.cfg>.

use super::{Rcode, Response, chain::option, corefile::Plugin};

/// Every plugin of CoreDNS's own, in the order in which a question goes through them.
pub(super) const ORDER: &[&str] = &[
    "root",
    "metadata",
    "geoip",
    "cancel",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "reload",
    "nsid",
    "bufsize",
    "bind",
    "debug",
    "trace",
    "ready",
    "health",
    "pprof",
    "shed",
    "prometheus",
    "errors",
    "log",
    "dnstap",
    "local",
    "dns64",
    "any",
    "chaos",
    "loadbalance",
    "tsig",
    "rewrite",
    "autopath",
    "acl",
    "cache",
    "header",
    "dnssec",
    "tls",
    "minimal",
    "template",
    "transfer",
    "hosts",
    "route53",
    "azure",
    "clouddns",
    "k8s_external",
    "kubernetes",
    "file",
    "auto",
    "secondary",
    "etcd",
    "loop",
    "forward",
    "grpc",
    "erratic",
    "whoami",
    "on",
    "sign",
    "view",
    "nomad",
];

/// Those that change neither code nor records of an answer to a pod's question: they observe, or tune the server.
///
/// `cache` only delays a change and caps times to live, `loadbalance` only shuffles records, `chaos` answers only in
/// the class CH, `loop` only its own question.
const OBSERVING: &[&str] = &[
    "root",
    "metadata",
    "geoip",
    "cancel",
    "timeouts",
    "multisocket",
    "reload",
    "nsid",
    "bufsize",
    "debug",
    "trace",
    "ready",
    "health",
    "pprof",
    "prometheus",
    "errors",
    "log",
    "dnstap",
    "chaos",
    "loadbalance",
    "cache",
    "minimal",
    "transfer",
    "loop",
    "on",
];

/// Whether the plugin leaves answers as they are.
pub(super) fn changes_no_answer(name: &str) -> bool {
    OBSERVING.contains(&name)
}

/// What the `cache` plugin does to times to live: <https://coredns.io/plugins/cache/>.
pub(super) struct Cache {
    positive: u32,
    least: u32,
}

impl Cache {
    /// `cache [TTL] [ZONES…]`, with `success CAPACITY [TTL] [MINTTL]` in its body.
    pub(super) fn of(plugin: &Plugin) -> Self {
        let ttl = plugin.arguments.first().and_then(|text| text.parse().ok());
        let mut this = Self { positive: ttl.unwrap_or(3600), least: 5 };
        if option(plugin, "success").is_some()
            && let Some(words) = plugin.body.iter().find(|words| words.first().is_some_and(|word| word == "success"))
        {
            let number = |index: usize| words.get(index).and_then(|text| text.parse().ok());
            this.positive = number(2).unwrap_or(this.positive);
            this.least = number(3).unwrap_or(this.least);
        }
        this
    }

    /// Every record gets the time of the one that lives shortest, within the plugin's limits.
    pub(super) fn cap(&self, response: &mut Response) {
        if response.rcode != Rcode::NoError {
            return;
        }
        if let Some(shortest) = response.answers.iter().map(|record| record.ttl).min() {
            let ttl = shortest.clamp(self.least.min(self.positive), self.positive);
            for record in &mut response.answers {
                record.ttl = ttl;
            }
        }
    }
}
