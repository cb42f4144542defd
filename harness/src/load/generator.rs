//! What a load is to be, and whom it may hit. Pure.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    Error, ErrorKind, Result,
    environment::workloads::{NAMESPACE, OTHER_NAMESPACE},
    probe::millis,
    state::State,
    wire::{Extent, Load, MOST_CONNECTIONS},
};

/// The most requests in one load; each is kept in memory until it is reported.
pub const MOST_REQUESTS: u64 = 10_000_000;

/// The highest rate, in requests a second: no vantage comes near it, and whoever asks for more has mistyped.
pub const HIGHEST_RATE: f64 = 1_000_000.0;

/// A load without its target. The default is hey's: 200 requests over 50 kept connections, as fast as they are answered.
///
/// ```
/// use reachmap::{load::generator::Plan, wire::Extent};
/// let plan = Plan { extent: Extent::Requests(1_000), ..Plan::default() };
/// let load = plan.load("10.96.10.1:80".parse().unwrap(), "web", "run-1")?;
/// assert_eq!((load.connections, load.keep_alive), (50, true));
///
/// let more = Plan { connections: 2_000, ..plan };
/// let error = more.check().unwrap_err();
/// assert!(error.to_string().ends_with("1000 requests over 2000 connections: some would never be opened"));
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// When it has done enough (hey's `-n`, `-z`).
    pub extent: Extent,
    /// How many requests are under way at once (hey's `-c`).
    pub connections: u32,
    /// Whether connections are kept (hey's default; `-disable-keepalive`).
    pub keep_alive: bool,
    /// How many requests a second are to start, all connections together (hey's `-q` is for each).
    pub rate_per_second: Option<f64>,
    /// The path that is asked for; the request's id is added to it.
    pub path: String,
    /// For one TCP connection attempt.
    pub connect_timeout: Duration,
    /// For one request, the connection included (hey's `-t`).
    pub timeout: Duration,
    /// The longest body that is read, in bytes.
    pub max_body: u64,
    /// Whether connections leave from ports of the agent's own, none of which is used again for 10,000 connections. The kernel
    /// draws anew every ten seconds where it goes on, so a load that it picks the ports for soon comes back to some; where an
    /// earlier connection had no answer, connection tables still lead the new one to where that one went.
    pub fresh_ports: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            extent: Extent::Requests(200),
            connections: 50,
            keep_alive: true,
            rate_per_second: None,
            path: "/".to_owned(),
            connect_timeout: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
            max_body: 1024 * 1024,
            fresh_ports: false,
        }
    }
}

impl Plan {
    /// Refuses what makes no sense, or what no vantage can do.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], saying which number and why.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String, hint: &str| Err(Error::new(ErrorKind::Usage, "plan the load", why).hint(hint));
        if !(1..=MOST_CONNECTIONS).contains(&self.connections) {
            let why = format!("{} connections at once", self.connections);
            return refuse(why, &format!("Choose 1 to {MOST_CONNECTIONS}, or more vantages."));
        }
        match self.extent {
            Extent::Requests(0) => return refuse("no requests".to_owned(), "Ask for at least one."),
            Extent::Requests(requests) if requests > MOST_REQUESTS => {
                return refuse(format!("{requests} requests"), &format!("One load has at most {MOST_REQUESTS}."));
            }
            Extent::Requests(requests) if requests < u64::from(self.connections) => {
                let why =
                    format!("{requests} requests over {} connections: some would never be opened", self.connections);
                return refuse(why, "Ask for at least as many requests as connections.");
            }
            Extent::DurationMs(0) => return refuse("no time".to_owned(), "Ask for at least a millisecond."),
            Extent::DurationMs(_) | Extent::Requests(_) => {}
        }
        if let Some(rate) = self.rate_per_second
            && !(rate.is_finite() && rate > 0.0 && rate <= HIGHEST_RATE)
        {
            return refuse(format!("{rate} requests a second"), &format!("Choose more than 0, up to {HIGHEST_RATE}."));
        }
        if self.timeout < Duration::from_millis(1) || self.connect_timeout < Duration::from_millis(1) {
            return refuse("a time limit of less than a millisecond".to_owned(), "Give each request some time.");
        }
        if !self.path.starts_with('/') {
            return refuse(format!("the path {:?}", self.path), "A path starts with /.");
        }
        Ok(())
    }

    /// The load on `destination`, whose requests name `host` and have ids that start with `id_prefix`.
    ///
    /// Whether the destination may be loaded is [`allow`]'s to say.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn load(&self, destination: SocketAddr, host: &str, id_prefix: &str) -> Result<Load> {
        self.check()?;
        Ok(Load {
            destination,
            host: host.to_owned(),
            path: self.path.clone(),
            extent: self.extent,
            connections: self.connections,
            keep_alive: self.keep_alive,
            rate_per_second: self.rate_per_second,
            id_prefix: id_prefix.to_owned(),
            connect_timeout_ms: millis(self.connect_timeout),
            timeout_ms: millis(self.timeout),
            start_at_unix_us: None,
            max_body: self.max_body,
            fresh_ports: self.fresh_ports,
        })
    }

    /// How many requests the time table has, if there is one; each that did not start is one that the load owes.
    pub fn scheduled(&self) -> Option<u64> {
        scheduled(self.extent, self.rate_per_second)
    }
}

/// How many requests are due in a load with a rate.
#[expect(clippy::cast_precision_loss, reason = "no load lasts 2^52 milliseconds")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded up, not negative, and saturating")]
pub(super) fn scheduled(extent: Extent, rate_per_second: Option<f64>) -> Option<u64> {
    let rate = rate_per_second?;
    Some(match extent {
        Extent::Requests(requests) => requests,
        // Number n is due at n / rate, and counts if that is before the end.
        Extent::DurationMs(ms) => (ms as f64 / 1_000.0 * rate).ceil() as u64,
    })
}

/// Refuses a destination that is not one of the cluster's own addresses, with a TCP port that something of the run's own
/// namespaces has there: the generator loads what the run itself deployed, and nothing else.
///
/// # Errors
/// [`ErrorKind::Usage`] with what it may be.
pub fn allow(state: &State, destination: SocketAddr) -> Result<()> {
    allow_in(state, &[NAMESPACE, OTHER_NAMESPACE], destination)
}

/// The same for datagrams: a UDP port that something of the run's own namespaces has there.
///
/// # Errors
/// As [`allow`].
pub fn allow_datagrams(state: &State, destination: SocketAddr) -> Result<()> {
    refuse_unless(&targets(state, &[NAMESPACE, OTHER_NAMESPACE], "UDP"), destination)
}

/// The same, for somebody whose own namespaces are others.
///
/// # Errors
/// As [`allow`].
pub fn allow_in(state: &State, namespaces: &[&str], destination: SocketAddr) -> Result<()> {
    refuse_unless(&targets(state, namespaces, "TCP"), destination)
}

fn refuse_unless(allowed: &[SocketAddr], destination: SocketAddr) -> Result<()> {
    let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    if allowed.contains(&destination) {
        return Ok(());
    }
    let mut known = allowed.iter().map(ToString::to_string).collect::<Vec<_>>();
    known.sort_unstable();
    known.dedup();
    let why = "it is no address and port of what this run has deployed";
    Err(Error::new(ErrorKind::Usage, format!("load {destination}"), why).hint(if known.is_empty() {
        "Nothing of that kind is deployed in the run's namespaces.".to_owned()
    } else {
        format!("Choose one of {}.", known.join(", "))
    }))
}

/// Every address and port of that protocol that answers for something in these namespaces.
fn targets(state: &State, namespaces: &[&str], protocol: &str) -> Vec<SocketAddr> {
    let ours = |namespace: &String| namespaces.contains(&namespace.as_str());
    let mut targets = Vec::new();
    let mut add = |address: &IpAddr, port: u16| targets.push(SocketAddr::new(address.to_canonical(), port));
    for service in state.services.iter().filter(|service| ours(&service.namespace)) {
        for port in service.ports.iter().filter(|port| port.protocol == protocol) {
            let own = service.cluster_ips.iter().chain(&service.load_balancer_addresses);
            own.for_each(|address| add(address, port.port));
            let nodes = state.nodes.iter().flat_map(|node| &node.addresses);
            nodes.for_each(|address| port.node_port.into_iter().for_each(|port| add(address, port)));
            for endpoint in state.endpoints_of(service) {
                if let Some(port) = endpoint.ports.get(&port.name) {
                    add(&endpoint.address, *port);
                }
            }
        }
    }
    // Of the ports that containers declare, the state has those of TCP.
    let pods = state.pods.iter().filter(|pod| protocol == "TCP" && ours(&pod.namespace) && !pod.host_network);
    for pod in pods {
        pod.addresses.iter().for_each(|address| pod.ports.iter().for_each(|port| add(address, *port)));
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = Plan::default();
        change(&mut plan);
        let error = plan.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().is_some());
        error.to_string()
    }

    #[test]
    fn bad_numbers_are_refused_and_named() {
        Plan::default().check().unwrap();
        insta::assert_snapshot!(why(|plan| plan.connections = 0), @"failed to plan the load: 0 connections at once");
        insta::assert_snapshot!(why(|plan| plan.extent = Extent::Requests(0)), @"failed to plan the load: no requests");
        insta::assert_snapshot!(why(|plan| plan.extent = Extent::Requests(49)), @"failed to plan the load: 49 requests over 50 connections: some would never be opened");
        insta::assert_snapshot!(why(|plan| plan.extent = Extent::DurationMs(0)), @"failed to plan the load: no time");
        insta::assert_snapshot!(why(|plan| plan.extent = Extent::Requests(u64::MAX)), @"failed to plan the load: 18446744073709551615 requests");
        insta::assert_snapshot!(why(|plan| plan.rate_per_second = Some(-1.0)), @"failed to plan the load: -1 requests a second");
        insta::assert_snapshot!(why(|plan| plan.rate_per_second = Some(f64::NAN)), @"failed to plan the load: NaN requests a second");
        insta::assert_snapshot!(why(|plan| plan.rate_per_second = Some(1e9)), @"failed to plan the load: 1000000000 requests a second");
        insta::assert_snapshot!(why(|plan| plan.timeout = Duration::ZERO), @"failed to plan the load: a time limit of less than a millisecond");
        insta::assert_snapshot!(why(|plan| plan.path = "index".to_owned()), @r#"failed to plan the load: the path "index""#);
    }

    #[test]
    fn a_time_table_counts_what_is_due_before_the_end() {
        assert_eq!(scheduled(Extent::DurationMs(1_000), Some(10.0)), Some(10));
        assert_eq!(scheduled(Extent::DurationMs(1_001), Some(10.0)), Some(11));
        assert_eq!(scheduled(Extent::Requests(7), Some(10.0)), Some(7));
        assert_eq!(scheduled(Extent::DurationMs(1_000), None), None);
    }

    #[test]
    fn only_what_the_run_has_deployed_is_loaded() {
        let state = State::example();
        let allowed = |target: &str| allow(&state, target.parse().unwrap());
        for target in [
            "10.96.10.1:80",
            "172.18.255.200:80",
            "172.18.0.3:30080",
            "172.18.0.2:31380",
            "10.244.1.4:80",
            "[::ffff:10.244.1.4]:80",
        ] {
            allowed(target).unwrap_or_else(|error| panic!("{target}: {error}"));
        }
        for target in [
            "10.96.0.10:53",    // The cluster's DNS is not the run's.
            "10.96.10.1:81",    // No port of the Service's.
            "172.18.0.3:22",    // A node, but nothing of ours.
            "172.18.0.6:30080", // The laptop is no node.
            "10.244.0.2:53",
            "93.184.216.34:80",
            "127.0.0.1:80",
        ] {
            let error = allowed(target).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{target}");
            assert!(error.hint_text().unwrap().contains("172.18.255.200:80"), "{error:?}");
        }
    }

    #[test]
    fn a_udp_port_is_no_target() {
        let mut state = State::example();
        for service in &mut state.services {
            service.ports.iter_mut().for_each(|port| port.protocol = "UDP".to_owned());
        }
        let target = "10.96.10.1:80".parse().unwrap();
        allow(&state, target).unwrap_err();
        // It is one for datagrams, and TCP ports are not.
        allow_datagrams(&state, target).unwrap();
        allow_datagrams(&State::example(), target).unwrap_err();
        allow_datagrams(&state, "10.96.10.1:81".parse().unwrap()).unwrap_err();
    }
}
