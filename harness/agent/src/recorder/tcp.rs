//! Connections: each is one connection to the server, with the same messages on it (RFC 7766).

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use reachmap_wire::Transport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::session::{Current, Index, Session};
use crate::{dns::message::Said, lines};

/// Questions of one connection that wait for their answers, by id.
type Waiting = Mutex<Vec<(u16, Index)>>;

/// Takes what comes, for as long as the agent lives.
pub(super) async fn listen(listener: TcpListener, current: Current) {
    loop {
        match listener.accept().await {
            Ok((client, address)) => {
                // Between two recordings there is nobody to whom it belongs: it is closed.
                if let Some(session) = current.of(address, Transport::Tcp, None) {
                    let passing = Arc::clone(&session);
                    // An error on one side closes the other: the asker sees what it would have seen.
                    session.pass(async move { drop(connect(client, address, &passing).await) });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return lines::complain(&format!("cannot take connections any more: {error}")),
        }
    }
}

async fn connect(client: TcpStream, address: SocketAddr, session: &Session) -> io::Result<()> {
    let server = TcpStream::connect(session.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let waiting = Waiting::default();
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let forth = pass(from_client, to_server, |message| {
        if let Some((index, id)) = session.asked(message, Transport::Tcp, address) {
            lock().push((id, index));
        }
    });
    let back = pass(from_server, to_client, |message| {
        let mut waiting = lock();
        let id = Said::read(message).map(|said| said.id);
        // What cannot be read is the answer to whatever has waited longest.
        let found = waiting.iter().position(|(waiting, _)| id.is_none_or(|id| id == *waiting));
        if let Some(found) = found {
            session.answered(waiting.remove(found).1, message);
        }
    });
    // Each direction ends by itself: a client may have said its last word and still listen.
    tokio::try_join!(forth, back).map(drop)
}

/// Passes messages on in one direction until its end, and then passes that on.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        // RFC 1035 section 4.2.2: two bytes of length before each message.
        let length = match from.read_u16().await {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return to.shutdown().await,
            Err(error) => return Err(error),
        };
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.resize(2 + usize::from(length), 0);
        from.read_exact(&mut bytes[2..]).await?;
        seen(&bytes[2..]);
        to.write_all(&bytes).await?;
    }
}
