//! Connections from ports that the kernel never picks by itself.
//!
//! A SYN that nobody translates or answers stays in the connection tables on its way for up to two minutes
//! (`nf_conntrack_tcp_timeout_syn_sent`). A later connection from the same port meets that entry, is not translated
//! either, and fails, though everything is in order by then. So whoever asks before the answer can be there, as a
//! barrier does, asks from ports of its own; and so does a load of which some requests fail.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU16, Ordering},
};

use tokio::net::{TcpSocket, TcpStream};

use crate::probe::any_address;

/// Below what Linux picks from (`ip_local_port_range`, from 32768 on) and below node ports, which begin at 30000.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Connects from the next free port of those.
pub(crate) async fn connect(destination: SocketAddr) -> io::Result<TcpStream> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut busy = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..COUNT {
        let socket = match destination {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        match socket.bind(SocketAddr::new(any_address(destination), port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => busy = error,
            bound => return bound.map(|()| socket)?.connect(destination).await,
        }
    }
    Err(busy)
}

#[cfg(test)]
mod tests {
    use super::*;

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
