//! One question put to one server, by UDP or TCP.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reachmap_wire::{DnsFailure, Question, QuestionKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::message::{Answer, Asked, Received};
use crate::probe::micros;

/// Larger than any answer by UDP that our questions allow: 512 bytes, or 1200 with EDNS(0).
const DATAGRAM: usize = 4096;

/// Asks `server` for `name`, waiting until `until` at the latest.
///
/// An answer that was truncated is asked for again by TCP, within the same time.
pub(super) async fn ask(
    name: &str,
    kind: QuestionKind,
    server: SocketAddr,
    by_tcp: bool,
    edns: bool,
    until: Instant,
) -> Question {
    let started = Instant::now();
    let mut question = Question {
        name: name.to_owned(),
        kind,
        server,
        rcode: None,
        answers: Vec::new(),
        failure: None,
        elapsed_us: 0,
    };
    match timeout_at(until, exchange(name, kind, server, by_tcp, edns)).await {
        Ok(Ok(answer)) => {
            question.rcode = Some(answer.rcode);
            question.answers = answer.records;
            question.failure = answer.failure;
        }
        Ok(Err(failure)) => question.failure = Some(failure),
        Err(_) => question.failure = Some(DnsFailure::Timeout),
    }
    question.elapsed_us = micros(started.elapsed());
    question
}

async fn exchange(
    name: &str,
    kind: QuestionKind,
    server: SocketAddr,
    by_tcp: bool,
    edns: bool,
) -> Result<Answer, DnsFailure> {
    let asked = Asked::new(name, kind, edns).ok_or(DnsFailure::Malformed)?;
    // A socket error is the kernel's, or a router's, word that there is nobody to ask.
    let no_server = |_: io::Error| DnsFailure::NoServer;
    if !by_tcp {
        let answer = udp(&asked, server).await.map_err(no_server)?.ok_or(DnsFailure::Malformed)?;
        if !answer.truncated {
            return Ok(answer);
        }
    }
    match asked.read(&tcp(&asked, server).await.map_err(no_server)?) {
        Received::Answer(answer) => Ok(answer),
        Received::Stray | Received::Malformed => Err(DnsFailure::Malformed),
    }
}

/// `None` if what came back was not DNS. Answers to other questions are passed over.
async fn udp(asked: &Asked, server: SocketAddr) -> io::Result<Option<Answer>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Connected, so that the kernel drops what others send and reports what routers say.
    socket.connect(server).await?;
    socket.send(&asked.bytes).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match asked.read(&buffer[..length]) {
            Received::Answer(answer) => return Ok(Some(answer)),
            Received::Malformed => return Ok(None),
            Received::Stray => {}
        }
    }
}

/// RFC 1035 section 4.2.2: two bytes of length before each message.
async fn tcp(asked: &Asked, server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.bytes.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&asked.bytes);
    stream.write_all(&bytes).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
