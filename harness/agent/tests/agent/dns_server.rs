//! A DNS server on loopback, by UDP and TCP on one port, that answers what a test says.

use std::{net::Ipv4Addr, net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, CNAME},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

/// What the server says to one question.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// No error, with these records: owner, and an address or, with a trailing dot, an alias.
    Records(Vec<(&'static str, &'static str)>),
    Code(ResponseCode),
    /// By UDP "truncated", by TCP these records.
    Long(Vec<(&'static str, &'static str)>),
    Garbage,
    Nothing,
}

/// What is said to a name (absolute) and a type.
type Answers = dyn Fn(&str, &str) -> Say + Send + Sync;

/// Starts a server; `say` is given the name (absolute) and the type.
pub(crate) async fn start(say: impl Fn(&str, &str) -> Say + Send + Sync + 'static) -> SocketAddr {
    start_late(Duration::ZERO, say).await
}

/// The same; the first datagram is answered only after so long.
pub(crate) async fn start_late(first: Duration, say: impl Fn(&str, &str) -> Say + Send + Sync + 'static) -> SocketAddr {
    let say: Arc<Answers> = Arc::new(say);
    // The port of the TCP listener may be taken for UDP: take the first that is free for both.
    let (listener, socket) = loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, Arc::new(socket));
        }
    };
    let address = listener.local_addr().unwrap();
    let by_udp = Arc::clone(&say);
    tokio::spawn(async move {
        let (mut buffer, mut late) = ([0; 4096], first);
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let (socket, late) = (Arc::clone(&socket), std::mem::take(&mut late));
            if let Some(answer) = answer(&buffer[..length], &*by_udp, false) {
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    let _ = socket.send_to(&answer, client).await;
                });
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            if let Some(answer) = answer(&question, &*say, true) {
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    address
}

fn answer(question: &[u8], say: &Answers, by_tcp: bool) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap().into_response();
    let query = &message.queries[0];
    let said = say(&query.name().to_ascii(), &query.query_type().to_string());
    match said {
        Say::Nothing => return None,
        Say::Garbage => return Some(b"no DNS at all".to_vec()),
        Say::Code(code) => message.metadata.response_code = code,
        Say::Long(_) if !by_tcp => message.metadata.truncation = true,
        Say::Records(records) | Say::Long(records) => {
            for (owner, data) in records {
                let data = match data.parse() {
                    Ok(std::net::IpAddr::V4(address)) => RData::A(A(address)),
                    Ok(std::net::IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
                    Err(_) => RData::CNAME(CNAME(Name::from_ascii(data).unwrap())),
                };
                message.add_answer(Record::from_rdata(Name::from_ascii(owner).unwrap(), 30, data));
            }
        }
    }
    Some(message.to_vec().unwrap())
}
