//! The load generator: many requests, on threads of its own, and what became of each.
//!
//! It does what hey does: so many workers, each with one request under way at a time, over a connection that is kept or
//! over a new one for each. Three things it does otherwise. A request that failed is never sent again, while Go's client
//! silently repeats one whose kept connection was just being closed: here every id is on the wire once at most. If the
//! number of requests does not divide by that of the connections, the rest is not left out. And a rate is that of all
//! workers together, by a fixed time table: see [`pace`].

mod collect;
mod connection;
mod pace;
mod request;
mod worker;

use std::{
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reachmap_wire::{Extent, Load, Loaded, MOST_CONNECTIONS};
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::LocalSet,
    time::Instant,
};

use self::{
    collect::{Collector, Totals},
    pace::Pace,
    request::Template,
    worker::Quota,
};
use crate::{
    clock::{now_us, since_1970},
    lines::Sender,
    probe::micros,
};

/// How many parts may wait for being written; each holds some hundred requests.
const PARTS: usize = 16;

/// How far off a common start may be.
const START_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How many threads send: more would only take the processors from whoever else is at the vantage.
const THREADS: usize = 4;

/// How many files the agent needs beside its connections.
const OTHER_FILES: u64 = 2_048;

/// The loads that are under way, by the ids of their requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loads(Arc<Mutex<HashMap<u64, watch::Sender<bool>>>>);

impl Loads {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<u64, watch::Sender<bool>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the load of that id start no further request.
    pub(crate) fn stop(&self, id: u64) {
        self.with(|loads| {
            if let Some(stop) = loads.get(&id) {
                stop.send_replace(true);
            }
        });
    }

    /// Lets no load start any further request.
    pub(crate) fn stop_all(&self) {
        self.with(|loads| {
            for stop in loads.values() {
                stop.send_replace(true);
            }
        });
    }

    /// Carries a load out; its parts go to `replies`. An error if it makes no sense, or cannot be started.
    pub(crate) async fn run(&self, id: u64, load: Load, replies: &Sender) -> Result<Loaded, String> {
        check(&load)?;
        make_room(load.connections)?;
        let (stop, stopped) = watch::channel(false);
        self.with(|loads| loads.insert(id, stop));
        let done = run(id, load, replies, stopped).await;
        self.with(|loads| loads.remove(&id));
        done
    }
}

/// What all threads of a load share.
#[derive(Debug)]
struct Shared {
    load: Load,
    template: Template,
    started: Instant,
    /// When no request may start any more.
    until: Option<Instant>,
    /// The next request's number, where no time table gives it.
    next_number: AtomicU64,
    next_connection: AtomicU64,
    stopped: watch::Receiver<bool>,
}

impl Shared {
    /// Whether another request may start now.
    fn is_open(&self) -> bool {
        !*self.stopped.borrow() && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether there are fewer requests than that number says.
    const fn is_beyond(&self, number: u64) -> bool {
        match self.load.extent {
            Extent::Requests(count) => number >= count,
            Extent::DurationMs(_) => false,
        }
    }

    /// A moment in microseconds from the start.
    fn since_start(&self, moment: Instant) -> u64 {
        micros(moment.saturating_duration_since(self.started))
    }
}

async fn run(id: u64, load: Load, replies: &Sender, mut stopped: watch::Receiver<bool>) -> Result<Loaded, String> {
    if let Some(at) = load.start_at_unix_us {
        let wait = Duration::from_micros(at).saturating_sub(since_1970());
        if wait > START_LIMIT {
            return Err(format!("the start is {wait:?} away: are the clocks apart?"));
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }
    let (started, started_at_unix_us) = (Instant::now(), now_us());
    let until = match load.extent {
        Extent::Requests(_) => None,
        Extent::DurationMs(ms) => Some(started + Duration::from_millis(ms)),
    };
    let shared = Arc::new(Shared {
        template: Template::new(&load),
        started,
        until,
        next_number: AtomicU64::new(0),
        next_connection: AtomicU64::new(0),
        stopped,
        load,
    });
    let slots = Arc::new(Semaphore::new(PARTS));
    let connections = shared.load.connections as usize;
    let threads = match shared.load.rate_per_second {
        // Whichever connection is free first takes what is due next: that is for one thread to say.
        Some(_) => 1,
        None => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(connections),
    };
    let mut under_way = Vec::new();
    for thread in 0..threads {
        let (shared, slots, replies) = (Arc::clone(&shared), Arc::clone(&slots), replies.clone());
        let (done, ended) = oneshot::channel();
        // Not joined: what it has to say comes over the channel, and it ends with the process.
        std::thread::spawn(move || drop(done.send(send(id, &shared, slots, replies, thread, threads))));
        under_way.push(ended);
    }
    let mut totals = Totals::default();
    for ended in under_way {
        totals.merge(ended.await.unwrap_or_else(|_| Err("a thread of the load has failed".to_owned()))?);
    }
    Ok(Loaded {
        started_at_unix_us,
        elapsed_us: shared.since_start(totals.last_end.unwrap_or(started)),
        requests: totals.requests,
        connections: totals.connections,
        parts: totals.parts,
        body_bytes: totals.body_bytes,
        write: totals.write,
        wait: totals.wait,
        read: totals.read,
        held_us: micros(totals.held),
        cancelled: *shared.stopped.borrow(),
    })
}

/// One thread's share of a load.
fn send(
    id: u64,
    shared: &Arc<Shared>,
    slots: Arc<Semaphore>,
    replies: Sender,
    thread: usize,
    threads: usize,
) -> Result<Totals, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a thread's runtime: {error}"))?;
    let local = LocalSet::new();
    let collector = Rc::new(Collector::new(id, slots, replies));
    let totals = local.block_on(&runtime, async {
        let pace = shared.load.rate_per_second.map(|rate| Pace::new(shared.started, rate));
        let pace = pace.transpose().map_err(|error| format!("cannot make a timer: {error}"))?;
        let pace = Rc::new(tokio::sync::Mutex::new(pace));
        let connections = shared.load.connections as usize;
        let flushing = tokio::task::spawn_local(Rc::clone(&collector).flush_now_and_then());
        let workers: Vec<_> = (thread..connections)
            .step_by(threads)
            .map(|worker| {
                let quota = match shared.load.extent {
                    _ if shared.load.rate_per_second.is_some() => Quota::AsPaced,
                    Extent::DurationMs(_) => Quota::Open,
                    Extent::Requests(count) => Quota::Exactly(share(count, worker, connections)),
                };
                let (shared, collector, pace) = (Arc::clone(shared), Rc::clone(&collector), Rc::clone(&pace));
                tokio::task::spawn_local(worker::work(shared, collector, pace, quota))
            })
            .collect();
        for worker in workers {
            worker.await.map_err(|error| format!("a worker of the load has failed: {error}"))?;
        }
        flushing.abort();
        Ok(collector.finish().await)
    });
    // Connections that wait for the server to close them need not.
    drop(local);
    totals
}

/// How many of `count` requests that worker sends.
const fn share(count: u64, worker: usize, workers: usize) -> u64 {
    let (worker, workers) = (worker as u64, workers as u64);
    count / workers + if worker < count % workers { 1 } else { 0 }
}

/// Refuses what is no load.
fn check(load: &Load) -> Result<(), String> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !load.path.starts_with('/') || load.path.contains('#') || !plain(&load.path) {
        return Err(format!("the path {:?} is not one: it starts with / and has no blanks", load.path));
    }
    if load.host.is_empty() || !plain(&load.host) {
        return Err(format!("the host {:?} is neither a name nor an address", load.host));
    }
    // It stands in a path and in a header.
    if load.id_prefix.is_empty() || !load.id_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("the id prefix {:?} is not of letters, digits and hyphens", load.id_prefix));
    }
    if !(1..=MOST_CONNECTIONS).contains(&load.connections) {
        return Err(format!("{} connections at once: 1 to {MOST_CONNECTIONS} can be had", load.connections));
    }
    if load.rate_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(format!("a rate of {:?} a second is none", load.rate_per_second));
    }
    if load.timeout_ms == 0 || load.connect_timeout_ms == 0 {
        return Err("a time limit of nothing".to_owned());
    }
    Ok(())
}

/// Lets this process have as many files open as the connections need.
fn make_room(connections: u32) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = u64::from(connections) * 2 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let wanted = maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    if raised.is_err() || wanted < u64::from(connections) + OTHER_FILES / 2 {
        return Err(format!(
            "{connections} connections need {needed} open files, and {wanted} are allowed (ulimit -Hn)"
        ));
    }
    Ok(())
}

/// The next number of a count.
fn next(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load() -> Load {
        Load {
            destination: ([127, 0, 0, 1], 80).into(),
            host: "web".to_owned(),
            path: "/".to_owned(),
            extent: Extent::Requests(10),
            connections: 3,
            keep_alive: true,
            rate_per_second: None,
            id_prefix: "r1".to_owned(),
            connect_timeout_ms: 100,
            timeout_ms: 100,
            start_at_unix_us: None,
            max_body: 1_000,
            fresh_ports: false,
        }
    }

    #[test]
    fn nobody_and_nothing_is_left_out_when_requests_are_shared_out() {
        for (count, workers) in [(10, 3), (1, 3), (0, 2), (1_000, 50), (7, 7)] {
            let shares: Vec<u64> = (0..workers).map(|worker| share(count, worker, workers)).collect();
            assert_eq!(shares.iter().sum::<u64>(), count, "{shares:?}");
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
    }

    #[test]
    fn nothing_can_be_smuggled_into_the_requests() {
        let bad = |change: fn(&mut Load)| {
            let mut load = load();
            change(&mut load);
            check(&load).unwrap_err()
        };
        check(&load()).unwrap();
        bad(|load| load.path = "/ HTTP/1.1\r\nX: y".to_owned());
        bad(|load| load.host = "web\r\nX: y".to_owned());
        bad(|load| load.id_prefix = "a b".to_owned());
        bad(|load| load.id_prefix = String::new());
        bad(|load| load.connections = 0);
        bad(|load| load.rate_per_second = Some(0.0));
        bad(|load| load.rate_per_second = Some(f64::NAN));
        bad(|load| load.timeout_ms = 0);
    }
}
