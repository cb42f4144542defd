//! One connection of a load, and one request over it.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use reachmap_wire::{ConnectionEnd, Failure, FailureClass, Fate, Load, LoadedConnection};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{Shared, next};
use crate::{
    aside,
    http::Response,
    probe::{CLOSE_LIMIT, failure, micros},
};

/// How many bytes are read at once.
const BUFFER: usize = 64 * 1024;

/// How many connections at once may wait for the server to close them.
const LINGERING: usize = 1_024;

thread_local! {
    /// Where answers are read to: what is read is looked at before anybody else reads.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
    /// How many connections wait for the server to close them.
    static WAITING: RefCell<usize> = const { RefCell::new(0) };
}

/// An established connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    seen: LoadedConnection,
}

/// How a request over a connection went.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) fate: Fate,
    pub(super) response: Response,
    /// When it was about to be written, had been written, and the first byte of its answer came.
    pub(super) times: [Option<Instant>; 3],
}

impl Connection {
    /// Establishes one by `deadline`; the record of one that could not be, else.
    pub(super) async fn open(shared: &Shared, deadline: Instant) -> Result<Self, LoadedConnection> {
        let started = Instant::now();
        let mut seen = LoadedConnection {
            number: next(&shared.next_connection),
            start_us: shared.since_start(started),
            connect_us: None,
            local_port: None,
            requests: 0,
            end: ConnectionEnd::Ours,
        };
        let Load { destination, fresh_ports, .. } = shared.load;
        let connecting = async {
            if fresh_ports { aside::connect(destination).await } else { TcpStream::connect(destination).await }
        };
        let connected = match timeout_at(deadline, connecting).await {
            // Small requests, each sent in one piece.
            Ok(Ok(stream)) => stream.set_nodelay(true).and_then(|()| stream.local_addr()).map(|local| (stream, local)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                seen.end = ConnectionEnd::Failed(late("connection", deadline - started));
                return Err(seen);
            }
        };
        match connected {
            Ok((stream, local)) => {
                seen.connect_us = Some(micros(started.elapsed()));
                seen.local_port = Some(local.port());
                if local == shared.load.destination {
                    seen.end = ConnectionEnd::Failed(met_itself());
                    return Err(seen);
                }
                Ok(Self { stream, seen })
            }
            Err(error) => {
                seen.end = ConnectionEnd::Failed(failure(&error));
                Err(seen)
            }
        }
    }

    /// Its number.
    pub(super) const fn number(&self) -> u64 {
        self.seen.number
    }

    /// How it ended while nobody used it, if it did.
    pub(super) fn ended_idle(&self) -> Option<ConnectionEnd> {
        match self.stream.try_read(&mut [0]) {
            Ok(0) => Some(ConnectionEnd::Servers),
            Ok(_) => Some(ConnectionEnd::Failed(Failure {
                class: FailureClass::Malformed,
                message: "the server sent something that nobody had asked for".to_owned(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => Some(ConnectionEnd::Failed(failure(&error))),
        }
    }

    /// Sends `request`, and reads the answer to its end; how far it got is in `exchange`, also if this is given up.
    pub(super) async fn exchange(&mut self, request: &[u8], exchange: &mut Exchange) -> Result<(), Failure> {
        exchange.times[0] = Some(Instant::now());
        let mut written = 0;
        while written < request.len() {
            let write = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, &request[written..]));
            let length = write.await.map_err(|error| failure(&error))?;
            if written == 0 && length > 0 {
                self.seen.requests += 1;
                exchange.fate = Fate::PartlySent;
            }
            written += length;
        }
        exchange.fate = Fate::Sent;
        exchange.times[1] = Some(Instant::now());
        while !exchange.response.is_complete() {
            self.read(exchange).await?;
        }
        exchange.fate = Fate::Answered;
        Ok(())
    }

    /// Reads what has come of an answer.
    async fn read(&mut self, exchange: &mut Exchange) -> Result<(), Failure> {
        poll_fn(|cx| {
            READ.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                    return Poll::Ready(Err(failure(&error)));
                }
                if buffer.filled().is_empty() {
                    return Poll::Ready(exchange.response.end());
                }
                if exchange.times[2].is_none() {
                    exchange.times[2] = Some(Instant::now());
                    exchange.fate = Fate::Answering;
                }
                Poll::Ready(exchange.response.feed(buffer.filled()))
            })
        })
        .await
    }

    /// Its record, once it is known how it ended.
    pub(super) fn end(self, end: ConnectionEnd) -> LoadedConnection {
        LoadedConnection { end, ..self.seen }
    }

    /// The same, but lets the server close first, which it has been told to: the side that closes first keeps the port
    /// pair for a minute (`TIME_WAIT`, RFC 9293 section 3.6.1), and this vantage has some thirty thousand.
    pub(super) fn end_by_server(self, end: ConnectionEnd) -> LoadedConnection {
        let Self { mut stream, seen } = self;
        let mut rest = [0; 256];
        let closed = matches!(stream.try_read(&mut rest), Ok(0));
        if !closed && WAITING.with_borrow(|waiting| *waiting < LINGERING) {
            WAITING.with_borrow_mut(|waiting| *waiting += 1);
            tokio::task::spawn_local(async move {
                let until_closed = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
                let _ = timeout(CLOSE_LIMIT, until_closed).await;
                WAITING.with_borrow_mut(|waiting| *waiting -= 1);
            });
        }
        LoadedConnection { end, ..seen }
    }
}

/// Something took longer than it may: by the limit and not by the time, so that failures alike are told alike.
pub(super) fn late(what: &str, limit: Duration) -> Failure {
    Failure { class: FailureClass::Timeout, message: format!("no {what} within {} ms", limit.as_millis()) }
}

/// Nobody but this very socket answered: a port in the range that local ports are taken from, where nobody listens, may
/// be the one that the connection starts from, and TCP then connects it to itself (RFC 9293 section 3.5, simultaneous
/// open).
fn met_itself() -> Failure {
    Failure { class: FailureClass::Refused, message: "nobody listens: the connection met itself".to_owned() }
}
