//! The probe agent: runs where a request starts, speaks [`reachmap_wire`] over its standard input
//! and output, one JSON line a message, and reports every step of every probe.
//!
//! It opens no port, but for the recorder's when it is asked to record, and needs no privilege, but to watch ARP. It ends when its standard input ends (what is under way
//! is finished first, for at most [`DRAIN_LIMIT`]; a load starts no further request), when its standard output is closed, or when it
//! has heard nothing for [`IDLE_LIMIT_SECONDS`]: its harness was killed and the connection in
//! between has not noticed.
//!
//! Standard input and output have a thread each: the runtime never blocks on a pipe, and replies
//! that are ready together are written together.

mod arp;
mod aside;
mod background;
mod clock;
mod datagrams;
mod dns;
mod http;
mod lines;
mod load;
mod place;
mod probe;
mod recorder;

use std::{process::ExitCode, sync::Arc, time::Duration};

use reachmap_wire::{Action, IDLE_LIMIT_SECONDS, Outcome, Reply, Request};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

use background::UnderWay;
use lines::Sender;
use load::Loads;
use recorder::Recorder;

/// How many probes and lookups are under way at once; more wait their turn.
const IN_FLIGHT: usize = 512;

/// How long what is under way may take once standard input has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long a lookup on its own may take; a probe brings its own limit.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let (requests, replies) = lines::start();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            lines::complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(requests, replies.sender.clone()));
    // What is left unfinished must not keep the reply channel open.
    drop(runtime);
    replies.finish();
    ExitCode::SUCCESS
}

/// Answers requests until there are no more.
async fn serve(mut requests: mpsc::Receiver<Request>, replies: Sender) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let recorder = Arc::new(Recorder::new());
    let loads = Loads::default();
    let background = UnderWay::default();
    let mut tasks = JoinSet::new();
    loop {
        let request = tokio::select! {
            request = timeout(Duration::from_secs(IDLE_LIMIT_SECONDS), requests.recv()) => request,
            () = replies.closed() => return,
            // Reap what has ended, so that the set does not grow.
            Some(_) = tasks.join_next() => continue,
        };
        match request {
            Ok(Some(request)) => {
                let (slots, recorder) = (Arc::clone(&slots), Arc::clone(&recorder));
                tasks.spawn(answer(request, slots, recorder, loads.clone(), background.clone(), replies.clone()));
            }
            Ok(None) => {
                // Nobody could end them any more.
                loads.stop_all();
                break;
            }
            Err(_idle) => {
                lines::complain(&format!("heard nothing for {IDLE_LIMIT_SECONDS} seconds: ending"));
                return;
            }
        }
    }
    let drained = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(DRAIN_LIMIT, drained) => {}
        () = replies.closed() => {}
    }
}

async fn answer(
    request: Request,
    slots: Arc<Semaphore>,
    recorder: Arc<Recorder>,
    loads: Loads,
    background: UnderWay,
    replies: Sender,
) {
    let outcome = match request.action {
        Action::Ping => Outcome::Pong,
        Action::Hello => place::hello().map_or_else(Outcome::Error, Outcome::Hello),
        Action::Probe(probe) => {
            let _slot = slots.acquire().await;
            probe::observe(&probe)
                .await
                .map_or_else(Outcome::Error, |observation| Outcome::Observation(Box::new(observation)))
        }
        // It has a queue of its own.
        Action::Record(recording) => recorder.record(recording).await.map_or_else(Outcome::Error, Outcome::Recorded),
        // It has threads of its own.
        Action::Load(load) => match loads.run(request.id, load, &replies).await {
            Ok(loaded) => Outcome::Loaded(Box::new(loaded)),
            Err(why) => Outcome::Error(why),
        },
        Action::StopLoad(id) => {
            loads.stop(id);
            Outcome::Pong
        }
        Action::Start(what) => background.start(request.id, what).await.map_or_else(Outcome::Error, Outcome::Started),
        Action::End(id) => background.end(id).await.map_or_else(Outcome::Error, Outcome::Ended),
        Action::Resolve(lookup) => {
            let _slot = slots.acquire().await;
            Outcome::Resolve(dns::resolve(&lookup.name, lookup.server, Instant::now() + LOOKUP_LIMIT).await)
        }
    };
    // A failed send means that the writer is gone, and then so are we.
    let _ = replies.send(Reply { id: request.id, outcome }.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_a_ping_puts_that_off() {
        let (requests, receiver) = mpsc::channel(1);
        let (sender, mut replies) = mpsc::unbounded_channel();
        let started = Instant::now();
        let ping = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            requests.send(Request { id: 1, action: Action::Ping }).await.unwrap();
        };
        tokio::join!(serve(receiver, sender), ping);
        assert_eq!(started.elapsed(), Duration::from_secs(20 + IDLE_LIMIT_SECONDS));
        assert_eq!(replies.recv().await.map(|message| message.reply.outcome), Some(Outcome::Pong));
        drop(requests);
    }
}
