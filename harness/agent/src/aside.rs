//! Connections from ports that the kernel never picks by itself.
//!
//! A SYN that nobody translates or answers stays in the connection tables on its way for up to two minutes
//! (`nf_conntrack_tcp_timeout_syn_sent`). A later connection from the same port meets that entry, is not translated
//! either, and fails, though everything is in order by then. So whoever asks before the answer can be there, as a
//! barrier does, asks from ports of its own; and so does a load of which some requests fail. They come round by the clock, so that
//! the agent that stands here next does not begin where this one did a moment ago.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::net::{TcpSocket, TcpStream};

use crate::probe::any_address;

/// Below what Linux picks from (`ip_local_port_range`, from 32768 on) and below node ports, which begin at 30000.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// So many a second are passed by, whether anybody has used them or not. Whoever uses fewer is at a port again no sooner than
/// after 125 s, and so is everybody else here: all that was left has ended then.
const A_SECOND: u64 = 80;

/// Connects from the next free port of those.
pub(crate) async fn connect(destination: SocketAddr) -> io::Result<TcpStream> {
    let mut busy = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..COUNT {
        let socket = match destination {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        let port = next(SystemTime::now());
        match socket.bind(SocketAddr::new(any_address(destination), port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => busy = error,
            bound => return bound.map(|()| socket)?.connect(destination).await,
        }
    }
    Err(busy)
}

/// The next port at this time.
fn next(now: SystemTime) -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let by_now = since.as_secs() * A_SECOND + u64::from(since.subsec_millis()) * A_SECOND / 1_000;
    NEXT.fetch_max(by_now, Ordering::Relaxed);
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    FIRST + u16::try_from(index % u64::from(COUNT)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_port_comes_round_only_when_what_it_left_has_ended() {
        // By the clock alone: as agents that follow each other.
        let now = SystemTime::now() + Duration::from_secs(3_600);
        let first = next(now);
        let comes_round = (1..=300).find(|seconds| next(now + Duration::from_secs(*seconds)).abs_diff(first) < 50);
        assert!(comes_round.is_some_and(|seconds| seconds > 120), "{comes_round:?}");
    }

    #[tokio::test]
    async fn passes_by_ports_that_are_taken() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let destination = server.local_addr().unwrap();
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(connect(destination).await.unwrap());
        }
        let ports: std::collections::BTreeSet<u16> =
            taken.iter().map(|stream| stream.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)), "{ports:?}");
    }
}
