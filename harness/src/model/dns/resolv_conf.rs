//! `resolv.conf`, read as glibc reads it: `resolv.conf(5)` and
//! <https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/res_init.c>.

use std::net::IpAddr;

/// glibc uses no more name servers than this.
pub(super) const MAX_NAMESERVERS: usize = 3;
/// glibc counts no more dots than this.
pub(super) const MAX_NDOTS: usize = 15;
/// glibc waits no longer than this, in seconds.
const MAX_TIMEOUT: u64 = 30;
/// glibc asks all servers no more often than this.
const MAX_ATTEMPTS: usize = 5;

/// A resolver's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers, in the order in which they are asked.
    pub nameservers: Vec<IpAddr>,
    /// The domains that are appended, in order.
    pub search: Vec<String>,
    /// A name with at least so many dots is asked as it is first.
    pub ndots: usize,
    /// What else is said in `options`.
    pub options: Options,
}

/// The options of `resolv.conf` that change what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the file")]
pub struct Options {
    /// How long one server is waited for at first, in seconds.
    pub timeout: u64,
    /// How often all servers are asked before a resolver gives up, if the file says: most try twice, BIND's tools
    /// three times.
    pub attempts: Option<usize>,
    /// Each lookup starts at another server.
    pub rotate: bool,
    /// AAAA is asked only after the answer to A (`single-request`).
    pub single_request: bool,
    /// The same, and from another port (`single-request-reopen`).
    pub single_request_reopen: bool,
    /// Questions go over TCP.
    pub use_vc: bool,
    /// AAAA is never asked.
    pub no_aaaa: bool,
    /// A name without dots is never asked as it is.
    pub no_tld_query: bool,
    /// Questions say that longer answers are welcome (RFC 6891).
    pub edns0: bool,
}

impl Options {
    /// How often all servers are asked, by all but BIND's tools.
    pub(super) fn attempts(&self) -> usize {
        self.attempts.unwrap_or(2)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: 5,
            attempts: None,
            rotate: false,
            single_request: false,
            single_request_reopen: false,
            use_vc: false,
            no_aaaa: false,
            no_tld_query: false,
            edns0: false,
        }
    }
}

impl Default for ResolvConf {
    /// The configuration that an empty file means.
    fn default() -> Self {
        Self { nameservers: Vec::new(), search: Vec::new(), ndots: 1, options: Options::default() }
    }
}

impl ResolvConf {
    /// Reads a `resolv.conf` as glibc does: what it does not understand is passed over, the last `search` or
    /// `domain` counts.
    ///
    /// ```
    /// let conf = reachmap::model::dns::ResolvConf::parse(
    ///     "search app.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
    /// );
    /// assert_eq!((conf.search.len(), conf.ndots, conf.options.timeout), (3, 5, 5));
    /// ```
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if conf.nameservers.len() < MAX_NAMESERVERS => {
                    // A scope, as in fe80::1%eth0, is no part of the address.
                    let address = words.next().and_then(|word| word.split('%').next());
                    conf.nameservers.extend(address.and_then(|text| text.parse::<IpAddr>().ok()));
                }
                Some("search") => conf.search = words.map(ToOwned::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(ToOwned::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf
    }

    /// What kubelet writes for a pod of that namespace with the policy `ClusterFirst`.
    ///
    /// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-config>
    ///
    /// ```
    /// let conf = reachmap::model::dns::ResolvConf::of_pod("shop", "cluster.local", "10.96.0.10".parse().unwrap());
    /// assert_eq!(conf.search, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
    /// assert_eq!(conf.ndots, 5);
    /// ```
    pub fn of_pod(namespace: &str, cluster_domain: &str, server: IpAddr) -> Self {
        Self {
            nameservers: vec![server],
            search: vec![
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ],
            ndots: 5,
            options: Options::default(),
        }
    }

    fn option(&mut self, word: &str) {
        let options = &mut self.options;
        match word.split_once(':') {
            Some(("ndots", value)) => self.ndots = value.parse().unwrap_or(self.ndots).min(MAX_NDOTS),
            Some(("timeout", value)) => options.timeout = value.parse().unwrap_or(options.timeout).min(MAX_TIMEOUT),
            Some(("attempts", value)) => {
                options.attempts =
                    value.parse::<usize>().ok().map(|given| given.min(MAX_ATTEMPTS)).or(options.attempts);
            }
            Some(_) => {}
            None => match word {
                "rotate" => options.rotate = true,
                "single-request" => options.single_request = true,
                "single-request-reopen" => options.single_request_reopen = true,
                "use-vc" => options.use_vc = true,
                "no-aaaa" => options.no_aaaa = true,
                "no-tld-query" => options.no_tld_query = true,
                "edns0" => options.edns0 = true,
                _ => {}
            },
        }
    }

    /// How many servers there are to ask: with none in the file it is the one on the same host.
    pub(super) fn servers(&self) -> usize {
        self.nameservers.len().max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_parses(text in "\\PC*") {
            let conf = ResolvConf::parse(&text);
            prop_assert!(conf.nameservers.len() <= MAX_NAMESERVERS && conf.ndots <= MAX_NDOTS);
        }
    }

    #[test]
    fn the_files_quirks_are_read_as_glibc_reads_them() {
        let conf = ResolvConf::parse(
            "; comment\n# comment\nnameserver 10.0.0.1\nnameserver nonsense\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\n\
             nameserver 10.0.0.3\nsearch a.test\ndomain b.test c.test\noptions rotate ndots:99\n",
        );
        assert_eq!(conf.nameservers, ["10.0.0.1", "fe80::1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(conf.search, ["b.test"]);
        assert_eq!(conf.ndots, 15);
    }
}
