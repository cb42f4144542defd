//! Datagrams: each question goes on from a socket of its own, by which its answers are told apart.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use reachmap_wire::Transport;

use super::session::{Current, Session};
use crate::lines;

/// The longest datagram.
const DATAGRAM: usize = 65_535;

/// Takes what comes, for as long as the agent lives.
///
/// `same` is another handle on `socket`: it is read directly, without the runtime's word that it can be.
pub(super) async fn listen(socket: tokio::net::UdpSocket, same: Arc<UdpSocket>, current: Current) {
    loop {
        if let Err(error) = socket.readable().await {
            return lines::complain(&format!("cannot read questions any more: {error}"));
        }
        // An error is no reason to stop: it tells that a client is gone, which is its own affair.
        let _ = socket.try_io(tokio::io::Interest::READABLE, || -> io::Result<()> {
            take(&same, &current)?;
            Err(io::ErrorKind::WouldBlock.into())
        });
    }
}

/// Takes what has come already and was not read yet.
pub(super) fn drain(socket: &Arc<UdpSocket>, current: &Current) {
    // As above.
    let _ = take(socket, current);
}

/// Reads until there is nothing left to read.
fn take(socket: &Arc<UdpSocket>, current: &Current) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, client)) => {
                let id = buffer[..length].first_chunk().copied().map(u16::from_be_bytes);
                // Between two recordings there is nobody to whom it belongs.
                if let Some(session) = current.of(client, Transport::Udp, id) {
                    pass(Arc::clone(socket), &session, buffer[..length].to_vec(), client);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Writes a message down, passes it on, and passes back what comes.
fn pass(socket: Arc<UdpSocket>, session: &Arc<Session>, message: Vec<u8>, client: SocketAddr) {
    let index = session.asked(&message, Transport::Udp, client).map(|(index, _)| index);
    let server = session.server;
    let passing = Arc::clone(session);
    session.pass(async move {
        let any = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let exchange = async {
            let onward = tokio::net::UdpSocket::bind(SocketAddr::new(any, 0)).await?;
            onward.connect(server).await?;
            onward.send(&message).await?;
            let mut answer = vec![0; DATAGRAM];
            loop {
                let length = onward.recv(&mut answer).await?;
                // First written down: with the answer, the asker may end, and the recording with it.
                if let Some(index) = index {
                    passing.answered(index, &answer[..length]);
                }
                // A full buffer loses a datagram, as any network may.
                socket.send_to(&answer[..length], client)?;
            }
        };
        // An error is silence to the asker: that nobody listens there cannot be passed on.
        let _: io::Result<()> = exchange.await;
    });
}
