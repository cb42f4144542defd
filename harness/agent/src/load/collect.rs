//! What one thread of a load has seen, on its way out.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use reachmap_wire::{LoadPart, LoadedConnection, LoadedRequest, Outcome, Reply, Spread};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::lines::{Message, Sender};

/// How many requests and connections make a part.
const PART: usize = 512;

/// How many may wait for being sent before no further request starts.
const HIGH: usize = 4_096;

/// How long something that has happened may stay unsaid.
const EVERY: Duration = Duration::from_millis(200);

/// Gathers what workers report, and sends it as parts.
#[derive(Debug)]
pub(super) struct Collector {
    id: u64,
    /// A permit for each part that may wait for being written.
    slots: Arc<Semaphore>,
    replies: Sender,
    requests: RefCell<Vec<LoadedRequest>>,
    connections: RefCell<Vec<LoadedConnection>>,
    totals: RefCell<Totals>,
    /// Since when requests have been waiting for somebody to take the results.
    held_since: Cell<Option<Instant>>,
}

/// What is told at the end, of all requests together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) parts: u64,
    pub(super) body_bytes: u64,
    pub(super) write: Spread,
    pub(super) wait: Spread,
    pub(super) read: Spread,
    pub(super) held: Duration,
    pub(super) last_end: Option<Instant>,
}

impl Totals {
    pub(super) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.connections += other.connections;
        self.parts += other.parts;
        self.body_bytes += other.body_bytes;
        self.write.merge(other.write);
        self.wait.merge(other.wait);
        self.read.merge(other.read);
        self.held = self.held.max(other.held);
        self.last_end = self.last_end.max(other.last_end);
    }
}

impl Collector {
    pub(super) fn new(id: u64, slots: Arc<Semaphore>, replies: Sender) -> Self {
        Self {
            id,
            slots,
            replies,
            requests: RefCell::default(),
            connections: RefCell::default(),
            totals: RefCell::default(),
            held_since: Cell::default(),
        }
    }

    /// Takes one request's end, and what `note` has to say to the totals.
    pub(super) fn request(&self, request: LoadedRequest, ended: Instant, note: impl FnOnce(&mut Totals)) {
        self.requests.borrow_mut().push(request);
        let mut totals = self.totals.borrow_mut();
        totals.last_end = totals.last_end.max(Some(ended));
        note(&mut totals);
        drop(totals);
        self.flush_if(PART);
    }

    /// Takes one connection's end.
    pub(super) fn connection(&self, connection: LoadedConnection) {
        self.connections.borrow_mut().push(connection);
        self.flush_if(PART);
    }

    /// Waits until there is room for one more result.
    pub(super) async fn room(&self) {
        if self.waiting() < HIGH {
            return;
        }
        let since = self.held_since.get().unwrap_or_else(Instant::now);
        self.held_since.set(Some(since));
        while self.waiting() >= HIGH {
            match Arc::clone(&self.slots).acquire_owned().await {
                Ok(slot) => self.flush(slot),
                // Never closed.
                Err(_) => return,
            }
        }
        // Whoever of those that waited comes first counts the time.
        if let Some(since) = self.held_since.take() {
            self.totals.borrow_mut().held += since.elapsed();
        }
    }

    /// Sends what there is every so often; ends only by being aborted.
    pub(super) async fn flush_now_and_then(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            self.flush_if(1);
        }
    }

    /// Sends the rest, and says what there was.
    pub(super) async fn finish(&self) -> Totals {
        while self.waiting() > 0 {
            match Arc::clone(&self.slots).acquire_owned().await {
                Ok(slot) => self.flush(slot),
                Err(_) => break,
            }
        }
        self.totals.take()
    }

    fn waiting(&self) -> usize {
        self.requests.borrow().len() + self.connections.borrow().len()
    }

    /// Sends what there is if it is at least `enough`, and there is a slot.
    fn flush_if(&self, enough: usize) {
        if self.waiting() >= enough
            && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
        {
            self.flush(slot);
        }
    }

    fn flush(&self, slot: OwnedSemaphorePermit) {
        let (mut requests, mut connections) = (self.requests.borrow_mut(), self.connections.borrow_mut());
        let part = LoadPart::pack(&requests, &connections);
        let mut totals = self.totals.borrow_mut();
        totals.parts += 1;
        totals.requests += requests.len() as u64;
        totals.connections += connections.len() as u64;
        requests.clear();
        connections.clear();
        let reply = Reply { id: self.id, outcome: Outcome::LoadPart(Box::new(part)) };
        // A failed send means that the writer is gone, and then so are we.
        let _ = self.replies.send(Message { reply, slot: Some(slot) });
    }
}
