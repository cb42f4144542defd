//! A worker: one request after the other.

use std::{rc::Rc, sync::Arc, time::Duration};

use reachmap_wire::{Answer, ConnectionEnd, Failure, Fate, LoadedRequest};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    Shared,
    collect::Collector,
    connection::{Connection, Exchange, late},
    next,
    pace::Pace,
};
use crate::{http::Response, lines::complain, probe::micros};

/// How long a name in an answer may be, in bytes; a pod's name has 253 at most.
const NAME_LIMIT: usize = 256;

/// How many requests a worker sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quota {
    /// So many.
    Exactly(u64),
    /// As many as the time allows.
    Open,
    /// As the time table says.
    AsPaced,
}

/// Sends requests until there are no more to send.
pub(super) async fn work(
    shared: Arc<Shared>,
    collector: Rc<Collector>,
    pace: Rc<Mutex<Option<Pace>>>,
    mut quota: Quota,
) {
    let mut worker = Worker { shared, collector, connection: None, bytes: Vec::new() };
    loop {
        worker.collector.room().await;
        let (number, due) = match &mut quota {
            _ if !worker.shared.is_open() => break,
            Quota::Exactly(0) => break,
            Quota::Exactly(left) => {
                *left -= 1;
                (next(&worker.shared.next_number), None)
            }
            Quota::Open => (next(&worker.shared.next_number), None),
            Quota::AsPaced => match as_paced(&worker.shared, &pace).await {
                Some((number, due)) => (number, Some(due)),
                None => break,
            },
        };
        worker.send(number, due).await;
        // One that never has to wait must let the others have their turn.
        tokio::task::consume_budget().await;
    }
    if let Some(connection) = worker.connection.take() {
        worker.collector.connection(connection.end(ConnectionEnd::Ours));
    }
}

/// Waits for the next request of the time table that is anybody's; none if it is past the load's end.
///
/// Only one of the workers that are free waits for the clock; the others wait for it, in the order in which they came.
async fn as_paced(shared: &Shared, pace: &Mutex<Option<Pace>>) -> Option<(u64, Instant)> {
    let mut stopped = shared.stopped.clone();
    let due = async {
        let mut pace = pace.lock().await;
        let pace = pace.as_mut()?;
        let (number, due) = pace.next();
        if shared.is_beyond(number) || shared.until.is_some_and(|until| due >= until) {
            return None;
        }
        if let Err(error) = pace.wait().await {
            complain(&format!("cannot wait for the time table: {error}"));
            return None;
        }
        Some((number, due))
    };
    tokio::select! {
        biased;
        due = due => due,
        _ = stopped.wait_for(|stopped| *stopped) => None,
    }
}

struct Worker {
    shared: Arc<Shared>,
    collector: Rc<Collector>,
    connection: Option<Connection>,
    /// The request that is being sent.
    bytes: Vec<u8>,
}

impl Worker {
    /// Sends one request, and reports what became of it.
    async fn send(&mut self, number: u64, due: Option<Instant>) {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(self.shared.load.timeout_ms);
        let mut exchange = Exchange {
            fate: Fate::Unsent,
            response: Response::with_body_limit(self.shared.load.max_body),
            times: [None; 3],
        };
        let (connection, result) = match self.connect(started, deadline).await {
            Ok(mut connection) => {
                self.shared.template.write(number, &mut self.bytes);
                let done = timeout_at(deadline, connection.exchange(&self.bytes, &mut exchange)).await;
                let result = done.unwrap_or_else(|_| Err(late("answer", deadline - started)));
                let ended = Instant::now();
                let number = connection.number();
                self.keep_or_end(connection, &exchange.response, result.as_ref().err());
                (number, result.map(|()| ended))
            }
            Err((connection, failure)) => (connection, Err(failure)),
        };
        let ended = result.as_ref().map_or_else(|_| Instant::now(), |ended| *ended);
        let Exchange { fate, response, times } = exchange;
        let answered = result.is_ok();
        let answer = Answer {
            status: response.status,
            served_by: response.served_by.as_deref().map(cut),
            client_address: response.client_address,
            failure: result.err(),
            fate,
        };
        let seen = LoadedRequest {
            number,
            connection,
            start_us: self.shared.since_start(started),
            late_us: due.map(|due| micros(started.saturating_duration_since(due))),
            took_us: micros(ended.saturating_duration_since(started)),
            answer,
        };
        self.collector.request(seen, ended, |totals| {
            totals.body_bytes += response.body_length;
            if let ([Some(begun), Some(written), Some(first)], true) = (times, answered) {
                totals.write.add(micros(written.saturating_duration_since(begun)));
                totals.wait.add(micros(first.saturating_duration_since(written)));
                totals.read.add(micros(ended.saturating_duration_since(first)));
            }
        });
    }

    /// The connection that was kept, if it still stands, else a new one; else the number of the one that failed.
    async fn connect(&mut self, started: Instant, deadline: Instant) -> Result<Connection, (u64, Failure)> {
        if let Some(connection) = self.connection.take() {
            match connection.ended_idle() {
                None => return Ok(connection),
                Some(end) => self.collector.connection(connection.end(end)),
            }
        }
        let until = deadline.min(started + Duration::from_millis(self.shared.load.connect_timeout_ms));
        match Connection::open(&self.shared, until).await {
            Ok(connection) => Ok(connection),
            Err(seen) => {
                let failure = match &seen.end {
                    ConnectionEnd::Failed(failure) => failure.clone(),
                    ConnectionEnd::Ours | ConnectionEnd::Servers => late("connection", until - started),
                };
                let number = seen.number;
                self.collector.connection(seen);
                Err((number, failure))
            }
        }
    }

    /// Keeps a connection for the next request if it can be, else reports its end.
    fn keep_or_end(&mut self, connection: Connection, response: &Response, failure: Option<&Failure>) {
        let keep_alive = self.shared.load.keep_alive;
        let ended = match failure {
            Some(failure) => connection.end(ConnectionEnd::Failed(failure.clone())),
            None if keep_alive && !response.closes => {
                self.connection = Some(connection);
                return;
            }
            None if keep_alive => connection.end_by_server(ConnectionEnd::Servers),
            // As we have asked it to.
            None => connection.end_by_server(ConnectionEnd::Ours),
        };
        self.collector.connection(ended);
    }
}

/// A name, no longer than it can be.
fn cut(name: &str) -> String {
    let mut end = name.len().min(NAME_LIMIT);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_between_characters() {
        assert_eq!(cut("nginx-1"), "nginx-1");
        assert_eq!(cut(&"ä".repeat(200)).len(), NAME_LIMIT);
        assert_eq!(cut(&format!("a{}", "ä".repeat(200))).len(), NAME_LIMIT - 1);
    }
}
