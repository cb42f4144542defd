//! The recorder: stands between another resolver and its DNS server, and writes down what passes.
//!
//! It listens where the vantage's `resolv.conf` sends questions to, port 53 of the loopback address by UDP
//! and TCP, from the first recording on. Every message is passed on byte for byte by the transport by which
//! it came, and so is every answer: what the resolver sees is the server's own word. Two things it cannot
//! pass on: that nobody listens at the server's port (an ICMP message, which a connected UDP socket
//! would be told of; here the asker hears nothing), and addresses (to the server, the agent asks).
//!
//! One recording is made at a time, and whatever comes meanwhile is its own; others are made beside it only if their
//! askers keep their sockets, by which they are known ([`owner`]). Each has a [`Session`] of its own: what still comes
//! for an earlier one is written down there, where nobody looks any more, and is not passed on.

mod hickory;
mod owner;
mod program;
mod session;
mod starved;
mod tcp;
mod udp;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use reachmap_wire::{Asker, Recorded, Recording};
use tokio::{
    net::TcpListener,
    sync::{Mutex, OnceCell, Semaphore},
    time::{Instant, interval, timeout},
};

use self::{
    session::{Current, Session},
    starved::Starved,
};
use crate::{dns, probe::micros};

/// No lookup may take longer, whatever it asks for.
const LIMIT: Duration = Duration::from_secs(120);

/// How many askers that keep their sockets are recorded at once; more wait their turn.
const AT_ONCE: usize = 16;

/// How long after a lookup's end an answer may still come that it did not wait for.
const LATE: Duration = Duration::from_secs(1);

/// How long the address may be another's: an agent that is ending still has it.
const TAKEN_LIMIT: Duration = Duration::from_secs(2);

/// The one recorder of this agent.
#[derive(Debug)]
pub(crate) struct Recorder {
    listening: OnceCell<Listening>,
    /// For askers that keep their sockets.
    slots: Semaphore,
    /// For any other.
    turn: Mutex<()>,
}

/// The recorder once it listens.
#[derive(Debug)]
struct Listening {
    /// The very socket that the questions come to.
    datagrams: Arc<UdpSocket>,
    current: Current,
}

impl Recorder {
    /// One that does not listen yet.
    pub(crate) fn new() -> Self {
        Self { listening: OnceCell::new(), slots: Semaphore::new(AT_ONCE), turn: Mutex::new(()) }
    }

    /// Makes one recording; an error if there can be none, not if the lookup fails.
    pub(crate) async fn record(&self, recording: Recording) -> Result<Recorded, String> {
        let (_slot, _turn) = match &recording {
            Recording { keeps_socket: true, asker: Asker::Program { .. }, .. } => {
                (self.slots.acquire().await.ok(), None)
            }
            Recording { keeps_socket: true, asker: Asker::Hickory { .. }, .. } => {
                return Err("hickory does not keep its sockets".to_owned());
            }
            _ => (None, Some(self.turn.lock().await)),
        };
        self.listening.get_or_try_init(Listening::start).await?.record(recording).await
    }
}

impl Listening {
    async fn start() -> Result<Self, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dns::port()));
        let bound = async {
            let mut again = interval(Duration::from_millis(20));
            loop {
                again.tick().await;
                match bind(address).await {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    bound => return bound,
                }
            }
        };
        let bound = timeout(TAKEN_LIMIT, bound).await.unwrap_or_else(|_| Err(io::ErrorKind::AddrInUse.into()));
        let (listener, datagrams, asynchronous) = bound.map_err(|error| {
            format!(
                "cannot listen on {address}: {error}; the pod needs the sysctl net.ipv4.ip_unprivileged_port_start=0 \
                 and no other server there"
            )
        })?;
        let (datagrams, current) = (Arc::new(datagrams), Current::default());
        tokio::spawn(udp::listen(asynchronous, Arc::clone(&datagrams), current.clone()));
        tokio::spawn(tcp::listen(listener, current.clone()));
        Ok(Self { datagrams, current })
    }

    async fn record(&self, recording: Recording) -> Result<Recorded, String> {
        // What an earlier asker sent and nobody has read yet is none of this recording's.
        udp::drain(&self.datagrams, &self.current);
        let session = Arc::new(Session::new(recording.server, recording.keeps_socket));
        let open = self.current.open(&session);
        let starved = Starved::watch();
        let timeout = Duration::from_millis(recording.timeout_ms).min(LIMIT);
        let deadline = Instant::now() + timeout;
        let end = match recording.asker {
            Asker::Program { argv } => program::run(&argv, deadline, &session).await,
            Asker::Hickory { name } => hickory::run(name, deadline).await,
        };
        let elapsed_us = micros(session.started.elapsed());
        let starved_us = micros(starved.longest());
        // What it asked last may not have been read yet: it counts, also if nobody waits for the answer.
        udp::drain(&self.datagrams, &self.current);
        drop(open);
        // A question that was repeated because its answer was slow is another thing than one whose answer was lost.
        let _ = tokio::time::timeout(LATE, session.until_answered()).await;
        let (questions, unreadable, strays) = session.close();
        Ok(Recorded { questions, unreadable, strays, end: end?, elapsed_us, starved_us })
    }
}

async fn bind(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket, tokio::net::UdpSocket)> {
    let listener = TcpListener::bind(address).await?;
    let datagrams = UdpSocket::bind(address)?;
    datagrams.set_nonblocking(true)?;
    let asynchronous = tokio::net::UdpSocket::from_std(datagrams.try_clone()?)?;
    Ok((listener, datagrams, asynchronous))
}
