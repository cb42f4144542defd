//! Standard input and output as lines of JSON, each on a thread of its own.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use reachmap_wire::{Outcome, Reply, Request};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The longest line that is read, in bytes: a request is a few hundred.
const LINE_LIMIT: u64 = 64 * 1024;

/// How many requests may wait in memory before reading stops.
const QUEUE: usize = 65_536;

/// Replies are written together up to about this many bytes.
const BATCH: usize = 64 * 1024;

/// How long the last replies may take to be written; nobody may be reading any more.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Where replies go; closed when standard output is.
pub(crate) type Sender = mpsc::UnboundedSender<Message>;

/// A reply on its way out.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) reply: Reply,
    /// Given back when the reply is written: who sends many keeps to what is read.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
}

impl From<Reply> for Message {
    fn from(reply: Reply) -> Self {
        Self { reply, slot: None }
    }
}

/// The way out for replies.
#[derive(Debug)]
pub(crate) struct Replies {
    /// Where they are put in.
    pub(crate) sender: Sender,
    writer: JoinHandle<()>,
}

/// Only the id of a request that could not be understood otherwise.
#[derive(Deserialize)]
struct OnlyId {
    id: u64,
}

/// Starts both threads.
pub(crate) fn start() -> (mpsc::Receiver<Request>, Replies) {
    let (request_sender, requests) = mpsc::channel(QUEUE);
    let (sender, replies) = mpsc::unbounded_channel();
    let errors = sender.clone();
    // Not joined: it may be blocked on a standard input that never ends, and ends with the process.
    std::thread::spawn(move || read(&request_sender, &errors));
    let writer = std::thread::spawn(move || write(replies));
    (requests, Replies { sender, writer })
}

impl Replies {
    /// Waits until everything is written, for at most [`FLUSH_LIMIT`].
    pub(crate) fn finish(self) {
        drop(self.sender);
        let deadline = Instant::now() + FLUSH_LIMIT;
        while !self.writer.is_finished() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Says something to whoever reads standard error; the harness quotes it when the agent is lost.
#[expect(clippy::print_stderr, reason = "standard output carries the protocol")]
pub(crate) fn complain(text: &str) {
    eprintln!("reachmap-agent: {text}");
}

fn read(requests: &mpsc::Sender<Request>, replies: &Sender) {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return complain(&format!("cannot read standard input: {error}")),
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LINE_LIMIT {
            return complain(&format!("a line is longer than {LINE_LIMIT} bytes"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                if requests.blocking_send(request).is_err() {
                    return;
                }
            }
            Err(error) => {
                let why = format!("not a request that this agent knows: {error}");
                match serde_json::from_slice::<OnlyId>(&line) {
                    // A failed send means that the writer is gone: the main task sees that, too.
                    Ok(OnlyId { id }) => drop(replies.send(Reply { id, outcome: Outcome::Error(why) }.into())),
                    Err(_) => complain(&why),
                }
            }
        }
    }
}

fn write(mut replies: mpsc::UnboundedReceiver<Message>) {
    let mut output = std::io::stdout().lock();
    let mut batch = Vec::with_capacity(2 * BATCH);
    let mut slots = Vec::new();
    while let Some(message) = replies.blocking_recv() {
        let mut next = Some(message);
        while let Some(Message { reply, slot }) = next {
            slots.extend(slot);
            if let Err(error) = serde_json::to_writer(&mut batch, &reply) {
                return complain(&format!("cannot write reply {}: {error}", reply.id));
            }
            batch.push(b'\n');
            next = if batch.len() < BATCH { replies.try_recv().ok() } else { None };
        }
        // An error means that nobody reads any more: ending closes the channel, which ends the agent.
        if output.write_all(&batch).and_then(|()| output.flush()).is_err() {
            return;
        }
        batch.clear();
        slots.clear();
    }
}
