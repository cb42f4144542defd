//! `resolv.conf(5)` as glibc reads it. Pure: no I/O.
//!
//! Not read: `LOCALDOMAIN` and `RES_OPTIONS` from the environment, `sortlist`, and the options
//! `rotate`, `inet6`, `single-request` and others that change neither names nor their order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// glibc's `MAXNS`: later servers are never asked.
const SERVER_LIMIT: usize = 3;

/// What a stub resolver is told by its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// The servers, in the order in which they are asked.
    pub(crate) servers: Vec<SocketAddr>,
    /// The search path.
    pub(crate) search: Vec<String>,
    /// A name with at least this many dots is first asked as it is.
    pub(crate) ndots: usize,
    /// How long the first server is waited for, in seconds.
    pub(crate) timeout: u64,
    /// How often the round of servers is made.
    pub(crate) attempts: usize,
    /// Questions say that longer answers are welcome (EDNS(0), RFC 6891).
    pub(crate) edns0: bool,
    /// Questions go by TCP.
    pub(crate) use_tcp: bool,
    /// AAAA is never asked for.
    pub(crate) no_aaaa: bool,
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`, on a host called `hostname`; servers are asked on `port`.
    ///
    /// Like glibc, it takes what it understands and skips the rest.
    pub(crate) fn parse(text: &str, hostname: &str, port: u16) -> Self {
        let mut this = Self {
            servers: Vec::new(),
            // Without `search` or `domain`, it is the host name's own domain.
            search: hostname.split_once('.').map(|(_, domain)| domain.to_owned()).into_iter().collect(),
            ndots: 1,
            timeout: 5,
            attempts: 2,
            edns0: false,
            use_tcp: false,
            no_aaaa: false,
        };
        for line in text.lines() {
            // A keyword stands at the line's very start and blanks follow it: anything else, comments included, is skipped.
            let Some((keyword, rest)) = line.split_once([' ', '\t']) else {
                continue;
            };
            let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
            match keyword {
                "nameserver" if this.servers.len() < SERVER_LIMIT => {
                    this.servers.extend(words.next().and_then(|word| server(word, port)));
                }
                "domain" => {
                    if let Some(domain) = words.next() {
                        this.search = vec![domain.to_owned()];
                    }
                }
                "search" => {
                    let search: Vec<String> = words.map(str::to_owned).collect();
                    if !search.is_empty() {
                        this.search = search;
                    }
                }
                "options" => words.for_each(|word| this.option(word)),
                _ => {}
            }
        }
        if this.servers.is_empty() {
            this.servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        this
    }

    fn option(&mut self, word: &str) {
        // As atoi does: the leading digits, 0 if there are none.
        let number = |text: &str| {
            let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
            if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) }
        };
        // The limits are glibc's RES_MAXNDOTS, RES_MAXRETRANS and RES_MAXRETRY.
        let capped = |value: u64, limit: u8| usize::from(u8::try_from(value).unwrap_or(u8::MAX).min(limit));
        match word.split_once(':') {
            Some(("ndots", value)) => self.ndots = capped(number(value), 15),
            Some(("timeout", value)) => self.timeout = number(value).min(30),
            Some(("attempts", value)) => self.attempts = capped(number(value), 5),
            None if word == "edns0" => self.edns0 = true,
            None if word == "use-vc" => self.use_tcp = true,
            None if word == "no-aaaa" => self.no_aaaa = true,
            _ => {}
        }
    }
}

/// An address as `nameserver` takes it; `%` and a number choose the link of a link-local one.
fn server(word: &str, port: u16) -> Option<SocketAddr> {
    match word.split_once('%') {
        Some((address, scope)) => {
            Some(SocketAddr::V6(SocketAddrV6::new(address.parse().ok()?, port, 0, scope.parse().ok()?)))
        }
        None => Some(SocketAddr::new(word.parse().ok()?, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, "worker-1", 53)
    }

    #[test]
    fn a_pods_configuration() {
        let conf = parse(
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
        );
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(conf.search, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (5, 5, 2));
    }

    #[test]
    fn an_empty_file_means_the_local_server_and_the_hosts_own_domain() {
        let conf = ResolvConf::parse("", "worker-1.example.org", 53);
        assert_eq!(conf.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(conf.search, ["example.org"]);
        assert_eq!(conf.ndots, 1);
        assert!(parse("").search.is_empty());
    }

    #[test]
    fn the_last_of_search_and_domain_wins() {
        assert_eq!(parse("search a b\ndomain c d\n").search, ["c"]);
        assert_eq!(parse("domain c\nsearch a\tb \n").search, ["a", "b"]);
        assert_eq!(parse("search a\nsearch \n").search, ["a"]);
    }

    #[test]
    fn comments_indented_lines_and_a_fourth_server_are_skipped() {
        let conf = parse(
            "# nameserver 1.1.1.1\n;nameserver 1.1.1.1\n nameserver 1.1.1.1\nnameserver 10.0.0.1 # first\nnameserver fe80::1%2\nnameserver nonsense\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n",
        );
        let shown: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:53", "[fe80::1%2]:53", "10.0.0.3:53"]);
    }

    #[test]
    fn options_add_up_and_are_capped() {
        let conf = parse("options ndots:99 timeout:99\noptions attempts:99 edns0 use-vc no-aaaa trust-ad rotate\n");
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (15, 30, 5));
        assert!(conf.edns0 && conf.use_tcp && conf.no_aaaa);
        assert_eq!(parse("options ndots:0\n").ndots, 0);
        assert_eq!(parse("options ndots:-1\n").ndots, 0);
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(text in "(?s).{0,200}") {
            let conf = parse(&text);
            assert!(!conf.servers.is_empty() && conf.servers.len() <= SERVER_LIMIT);
            assert!(conf.ndots <= 15);
        }

        #[test]
        fn what_is_written_is_read_back(
            search in proptest::collection::vec("[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", 1..6),
            servers in proptest::collection::vec(proptest::prelude::any::<Ipv4Addr>(), 1..=3),
            ndots in 0_usize..=15,
        ) {
            let lines = servers.iter().map(|server| format!("nameserver {server}")).collect::<Vec<_>>().join("\n");
            let conf = parse(&format!("search {}\n{lines}\noptions ndots:{ndots}\n", search.join(" ")));
            assert_eq!(conf.search, search);
            assert_eq!(conf.servers, servers.iter().map(|server| SocketAddr::new((*server).into(), 53)).collect::<Vec<_>>());
            assert_eq!(conf.ndots, ndots);
        }
    }
}
