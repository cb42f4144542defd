//! One probe: resolve, route, connect, respond, each step reported.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use reachmap_wire::{Connect, Failure, FailureClass, Observation, Probe, Respond, Route, RouteOutcome};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{aside, dns, http::Response};

/// No probe may take longer, whatever it asks for.
const LIMIT: Duration = Duration::from_secs(60);

/// How long the other end may take to close once its response is complete.
///
/// The side that closes first keeps the port pair for a minute (`TIME_WAIT`, RFC 9293 section 3.6.1):
/// let it be the server, or thousands of probes a second would use up this vantage's ports.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Sends one request over a new connection; an error only if the probe itself makes no sense.
pub(crate) async fn observe(probe: &Probe) -> Result<Observation, String> {
    check(probe)?;
    let started = Instant::now();
    let deadline = started + Duration::from_millis(probe.timeout_ms).min(LIMIT);
    let mut observation = Observation::default();
    let literal = probe.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let addresses = if let Ok(address) = literal {
        vec![address]
    } else {
        let resolve = dns::resolve(&probe.host, None, deadline).await;
        observation.resolve.insert(resolve).addresses.clone()
    };
    if let Some(stream) = connect(probe, &addresses, deadline, &mut observation).await {
        observation.respond = Some(respond(probe, stream, deadline).await);
    }
    observation.elapsed_us = micros(started.elapsed());
    Ok(observation)
}

/// Refuses what would not be one well-formed request.
fn check(probe: &Probe) -> Result<(), String> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !probe.path.starts_with('/') || !plain(&probe.path) {
        return Err(format!("the path {:?} is not one: it starts with / and has no blanks", probe.path));
    }
    if probe.host.is_empty() || !plain(&probe.host) {
        return Err(format!("the host {:?} is neither a name nor an address", probe.host));
    }
    if !plain(&probe.request_id) {
        return Err(format!("the request id {:?} cannot stand in a header", probe.request_id));
    }
    Ok(())
}

/// Tries `addresses` in their order until one connects.
async fn connect(
    probe: &Probe,
    addresses: &[IpAddr],
    deadline: Instant,
    observation: &mut Observation,
) -> Option<TcpStream> {
    for address in addresses {
        let destination = SocketAddr::new(*address, probe.port);
        let route = route(destination);
        let has_route = matches!(route.outcome, RouteOutcome::Source(_));
        observation.route.get_or_insert(route);
        if !has_route {
            continue;
        }
        let started = Instant::now();
        let until = deadline.min(started + Duration::from_millis(probe.connect_timeout_ms));
        let connected = async {
            if probe.aside { aside::connect(destination).await } else { TcpStream::connect(destination).await }
        };
        let result = match timeout_at(until, connected).await {
            Ok(result) => result.map_err(|error| failure(&error)),
            Err(_) => Err(timed_out(started)),
        };
        let elapsed_us = micros(started.elapsed());
        let (stream, failure) = match result {
            Ok(stream) => (Some(stream), None),
            Err(failure) => (None, Some(failure)),
        };
        let local = stream.as_ref().and_then(|stream| stream.local_addr().ok());
        observation.connect = Some(Connect { destination, local, failure, elapsed_us });
        if stream.is_some() || Instant::now() >= deadline {
            return stream;
        }
    }
    None
}

/// The address of the destination's family that stands for any.
pub(crate) const fn any_address(destination: SocketAddr) -> IpAddr {
    match destination {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Asks the kernel for its route by connecting a UDP socket, which sends nothing.
fn route(destination: SocketAddr) -> Route {
    let source = || -> io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any_address(destination), 0))?;
        socket.connect(destination)?;
        Ok(socket.local_addr()?.ip())
    };
    let outcome = match source() {
        Ok(source) => RouteOutcome::Source(source),
        Err(error) => RouteOutcome::Failed(failure(&error)),
    };
    Route { destination: destination.ip(), outcome }
}

/// Sends the request and reads the response, until `deadline` at the latest.
async fn respond(probe: &Probe, mut stream: TcpStream, deadline: Instant) -> Respond {
    let started = Instant::now();
    // Small, and sent in one piece; a failure to say so changes nothing that matters.
    let _ = stream.set_nodelay(true);
    let mut response = Response::new();
    let result = match timeout_at(deadline, exchange(&request(probe), &mut stream, &mut response)).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(started)),
    };
    let elapsed_us = micros(started.elapsed());
    if result.is_ok() {
        tokio::spawn(async move {
            let mut rest = [0; 1024];
            let until_closed = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
            let _ = timeout(CLOSE_LIMIT, until_closed).await;
        });
    }
    Respond {
        status: response.status,
        body_start: response.body_start(),
        body_length: response.body_length,
        served_by: response.served_by,
        client_address: response.client_address,
        failure: result.err(),
        elapsed_us,
    }
}

async fn exchange(request: &[u8], stream: &mut TcpStream, response: &mut Response) -> Result<(), Failure> {
    stream.write_all(request).await.map_err(|error| failure(&error))?;
    let mut buffer = vec![0; 16 * 1024];
    while !response.is_complete() {
        match stream.read(&mut buffer).await.map_err(|error| failure(&error))? {
            0 => response.end()?,
            length => response.feed(&buffer[..length])?,
        }
    }
    Ok(())
}

fn request(probe: &Probe) -> Vec<u8> {
    // Without the trailing dot, as curl does: servers choose a virtual host by this name.
    let name = probe.host.trim_end_matches('.');
    let name = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    let host = if probe.port == 80 { name } else { format!("{name}:{}", probe.port) };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: reachmap-agent/{version}\r\nAccept: */*\r\n\
         X-Request-Id: {id}\r\nConnection: close\r\n\r\n",
        path = probe.path,
        version = env!("CARGO_PKG_VERSION"),
        id = probe.request_id,
    )
    .into_bytes()
}

fn timed_out(started: Instant) -> Failure {
    Failure { class: FailureClass::Timeout, message: format!("nothing within {} ms", started.elapsed().as_millis()) }
}

/// A failure of a socket, with its class.
pub(crate) fn failure(error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let class = match error.kind() {
        Kind::NetworkUnreachable => FailureClass::NetworkUnreachable,
        Kind::HostUnreachable => FailureClass::HostUnreachable,
        Kind::ConnectionRefused => FailureClass::Refused,
        Kind::ConnectionReset | Kind::ConnectionAborted => FailureClass::Reset,
        // Writing to a connection that the other end has closed.
        Kind::BrokenPipe => FailureClass::Closed,
        Kind::PermissionDenied => FailureClass::Forbidden,
        Kind::TimedOut => FailureClass::Timeout,
        _ => FailureClass::Other,
    };
    Failure { class, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(host: &str, port: u16) -> Probe {
        Probe {
            host: host.to_owned(),
            port,
            path: "/".to_owned(),
            request_id: "r-1".to_owned(),
            connect_timeout_ms: 100,
            timeout_ms: 100,
            aside: false,
        }
    }

    #[test]
    fn the_host_header_is_what_curl_would_send() {
        let host = |host: &str, port| {
            let request = String::from_utf8(request(&probe(host, port))).unwrap();
            request.lines().find_map(|line| line.strip_prefix("Host: ").map(str::to_owned)).unwrap()
        };
        assert_eq!(host("web.shop.svc.cluster.local.", 80), "web.shop.svc.cluster.local");
        assert_eq!(host("10.0.0.1", 30080), "10.0.0.1:30080");
        assert_eq!(host("fd00::1", 80), "[fd00::1]");
    }

    #[test]
    fn nothing_can_be_smuggled_into_the_request() {
        let bad = |change: fn(&mut Probe)| {
            let mut probe = probe("web", 80);
            change(&mut probe);
            check(&probe).unwrap_err()
        };
        bad(|probe| probe.path = "/ HTTP/1.1\r\nX: y".to_owned());
        bad(|probe| probe.path = "no-slash".to_owned());
        bad(|probe| probe.request_id = "a\r\nb".to_owned());
        bad(|probe| probe.host = String::new());
        check(&probe("web", 80)).unwrap();
    }

    #[test]
    fn the_kernels_errors_have_their_classes() {
        let class = |errno| failure(&io::Error::from_raw_os_error(errno)).class;
        // ENETUNREACH, EHOSTUNREACH, ECONNREFUSED, ECONNRESET, EACCES, EPERM, ETIMEDOUT, EINVAL on Linux.
        let classes = [101, 113, 111, 104, 13, 1, 110, 22].map(class);
        assert_eq!(
            classes,
            [
                FailureClass::NetworkUnreachable,
                FailureClass::HostUnreachable,
                FailureClass::Refused,
                FailureClass::Reset,
                FailureClass::Forbidden,
                FailureClass::Forbidden,
                FailureClass::Timeout,
                FailureClass::Other,
            ]
        );
    }

    #[test]
    fn loopback_has_a_route_that_starts_at_itself() {
        let route = route("127.0.0.1:80".parse().unwrap());
        assert_eq!(route.outcome, RouteOutcome::Source("127.0.0.1".parse().unwrap()));
    }
}
