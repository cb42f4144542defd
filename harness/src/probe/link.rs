//! The connection to one running agent: requests out, replies in, each to its caller.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::exec::Running;
use crate::wire::{Action, IDLE_LIMIT_SECONDS, Outcome, Reply, Request};

/// How often the agent hears from us and answers: well within its idle limit.
const PING_EVERY: Duration = Duration::from_secs(5);

/// An agent from which nothing was heard for this long is lost: it missed several pings. TCP repeats what was lost while a link was
/// down for ten seconds only after up to ten more.
const SILENCE_LIMIT: Duration = Duration::from_secs(5 * PING_EVERY.as_secs());

const _: () = assert!(2 * PING_EVERY.as_secs() < IDLE_LIMIT_SECONDS, "an agent must survive a missed ping");

/// The id of pings; callers' ids start above it.
pub(crate) const PING_ID: u64 = 0;

/// Requests are written together up to this many bytes.
const BATCH: usize = 64 * 1024;

/// How long an agent that is gone may take to say why.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);

/// How many of the last lines of standard error are kept.
const LAST_WORDS: usize = 10;

/// Who waits for which reply.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug)]
enum Calls {
    Open(HashMap<u64, Caller>),
    /// The agent is gone, and why.
    Lost(String),
}

/// Where replies to one request go.
#[derive(Debug)]
enum Caller {
    /// The only one.
    One(oneshot::Sender<Outcome>),
    /// Every one, up to the first that is no part of something.
    Many(mpsc::UnboundedSender<Outcome>),
}

impl Pending {
    /// Nobody waits yet.
    fn none() -> Self {
        Self { calls: Arc::new(Mutex::new(Calls::Open(HashMap::new()))) }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the reply to `id`, or why there will be none.
    pub(crate) fn expect(&self, id: u64) -> Result<oneshot::Receiver<Outcome>, String> {
        let (sender, receiver) = oneshot::channel();
        self.put(id, Caller::One(sender))?;
        Ok(receiver)
    }

    /// A place for the replies to `id`, the last of which is no part of something, or why there will be none.
    pub(crate) fn expect_many(&self, id: u64) -> Result<mpsc::UnboundedReceiver<Outcome>, String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.put(id, Caller::Many(sender))?;
        Ok(receiver)
    }

    fn put(&self, id: u64, caller: Caller) -> Result<(), String> {
        match &mut *self.calls() {
            Calls::Open(calls) => {
                calls.insert(id, caller);
                Ok(())
            }
            Calls::Lost(why) => Err(why.clone()),
        }
    }

    /// Nobody waits for `id` any longer.
    pub(crate) fn forget(&self, id: u64) {
        if let Calls::Open(calls) = &mut *self.calls() {
            calls.remove(&id);
        }
    }

    /// Why the agent is gone, if it is.
    pub(crate) fn lost(&self) -> Option<String> {
        match &*self.calls() {
            Calls::Open(_) => None,
            Calls::Lost(why) => Some(why.clone()),
        }
    }

    fn answer(&self, reply: Reply) {
        let Calls::Open(calls) = &mut *self.calls() else {
            return;
        };
        let is_part = matches!(reply.outcome, Outcome::LoadPart(_));
        // The caller may have given up: a failed send is nobody's loss.
        match calls.remove(&reply.id) {
            Some(Caller::One(caller)) => drop(caller.send(reply.outcome)),
            Some(Caller::Many(caller)) if caller.send(reply.outcome).is_ok() && is_part => {
                calls.insert(reply.id, Caller::Many(caller));
            }
            Some(Caller::Many(_)) | None => {}
        }
    }

    fn lose(&self, why: String) {
        // Dropping the senders wakes the callers, which then find the reason here.
        *self.calls() = Calls::Lost(why);
    }
}

/// Takes over a running agent: returns where request lines go and where replies are waited for.
///
/// The agent's standard input ends when the sender is dropped, and with it the agent.
pub(crate) fn open(running: Running) -> (mpsc::UnboundedSender<Vec<u8>>, Pending) {
    let (requests, lines) = mpsc::unbounded_channel();
    let pending = Pending::none();
    let Running { stdin, stdout, stderr, mut end } = running;
    let writer = tokio::spawn(write(stdin, lines));
    let words = Words::default();
    let errors = tokio::spawn(keep_last(stderr, words.clone()));
    let ours = pending.clone();
    tokio::spawn(async move {
        let reading = read(stdout, &ours, SILENCE_LIMIT);
        tokio::pin!(reading);
        let why = tokio::select! {
            read = &mut reading => {
                // Nothing more can come of it: the end of its input ends it, if it has not ended yet.
                writer.abort();
                let end = timeout(LAST_WORDS_LIMIT, &mut end).await.map(describe_end);
                match (read, end) {
                    (Ok(()), Ok(end)) => end,
                    (Ok(()), Err(_)) => "it closed its standard output".to_owned(),
                    (Err(why), Ok(end)) => format!("{why}; {end}"),
                    (Err(why), Err(_)) => why,
                }
            }
            end = &mut end => {
                // What it said before it ended is still in the pipe.
                let _ = timeout(LAST_WORDS_LIMIT, &mut reading).await;
                describe_end(end)
            }
        };
        let said = words.collect(errors).await;
        ours.lose(if said.is_empty() { why } else { format!("{why}; it last printed: {said}") });
        writer.abort();
    });
    (requests, pending)
}

fn describe_end(end: Result<Option<i32>, String>) -> String {
    match end {
        Ok(Some(code)) => format!("it ended with exit code {code}"),
        Ok(None) => "a signal ended it".to_owned(),
        Err(why) => format!("its connection was lost: {why}"),
    }
}

/// Writes requests as they come, several at a time, and a ping now and then; ends when no handle is left.
async fn write(mut stdin: Box<dyn AsyncWrite + Send + Unpin>, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    let ping = line(&Request { id: PING_ID, action: Action::Ping });
    let mut ticks = interval(PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => batch.extend_from_slice(&line),
                None => break,
            },
            _ = ticks.tick() => batch.extend_from_slice(&ping),
        }
        while batch.len() < BATCH {
            match lines.try_recv() {
                Ok(line) => batch.extend_from_slice(&line),
                Err(_) => break,
            }
        }
        // A failure is the reader's to tell: it sees why the agent ended.
        if stdin.write_all(&batch).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

/// One message as a line.
pub(crate) fn line(request: &Request) -> Vec<u8> {
    // These types have no map with other keys than strings, and nothing else makes JSON fail.
    let mut line = serde_json::to_vec(request).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Hands replies to their callers until standard output ends; an error says what is wrong with it.
async fn read(stdout: Box<dyn AsyncRead + Send + Unpin>, pending: &Pending, silence: Duration) -> Result<(), String> {
    let mut stdout = BufReader::with_capacity(BATCH, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match timeout(silence, stdout.read_until(b'\n', &mut line)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("its standard output cannot be read: {error}")),
            Err(_) => return Err(format!("nothing was heard from it for {silence:?}")),
        }
        match serde_json::from_slice(&line) {
            Ok(reply) => pending.answer(reply),
            Err(error) => {
                let text = String::from_utf8_lossy(&line).trim().chars().take(200).collect::<String>();
                return Err(format!("it said something that is no reply ({error}): {text}"));
            }
        }
    }
}

/// The last lines of standard error; they can be had while it is still open, as a broken connection leaves it.
#[derive(Debug, Clone, Default)]
struct Words(Arc<Mutex<VecDeque<String>>>);

impl Words {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a little for the end of standard error, and returns what there is.
    async fn collect(&self, mut reader: JoinHandle<()>) -> String {
        if timeout(LAST_WORDS_LIMIT, &mut reader).await.is_err() {
            reader.abort();
        }
        self.lines().iter().map(String::as_str).collect::<Vec<_>>().join("\n    ")
    }
}

async fn keep_last(stderr: Box<dyn AsyncRead + Send + Unpin>, words: Words) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut kept = words.lines();
        if kept.len() == LAST_WORDS {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_agent_that_falls_silent_is_told_from_one_that_ends() {
        let pending = Pending::none();
        let mut waiting = pending.expect(1).unwrap();
        let (mut theirs, ours) = tokio::io::duplex(64);
        theirs.write_all(b"{\"id\":1,\"outcome\":\"pong\"}\n").await.unwrap();
        let silent = read(Box::new(ours), &pending, Duration::from_millis(30)).await;
        assert_eq!(silent, Err("nothing was heard from it for 30ms".to_owned()));
        assert_eq!(waiting.try_recv(), Ok(Outcome::Pong));
        let ended = read(Box::new(tokio::io::empty()), &pending, Duration::from_secs(30)).await;
        assert_eq!(ended, Ok(()));
    }

    #[tokio::test]
    async fn parts_go_to_one_caller_until_the_last_reply() {
        let pending = Pending::none();
        let mut load = pending.expect_many(1).unwrap();
        let mut ping = pending.expect(2).unwrap();
        let part = || Outcome::LoadPart(Box::default());
        for (id, outcome) in [(1, part()), (2, Outcome::Pong), (1, part()), (1, Outcome::Error("enough".to_owned()))] {
            pending.answer(Reply { id, outcome });
        }
        // The call is over: this one is nobody's.
        pending.answer(Reply { id: 1, outcome: part() });
        assert_eq!(ping.try_recv(), Ok(Outcome::Pong));
        assert_eq!(load.recv().await, Some(part()));
        assert_eq!(load.recv().await, Some(part()));
        assert_eq!(load.recv().await, Some(Outcome::Error("enough".to_owned())));
        assert_eq!(load.recv().await, None);
    }

    #[tokio::test]
    async fn a_lost_agent_ends_the_parts() {
        let pending = Pending::none();
        let mut load = pending.expect_many(1).unwrap();
        pending.lose("it fell over".to_owned());
        assert_eq!(load.recv().await, None);
        assert_eq!(pending.lost().as_deref(), Some("it fell over"));
    }

    #[tokio::test]
    async fn a_lost_agent_wakes_who_waits_and_refuses_who_comes() {
        let pending = Pending::none();
        let waiting = pending.expect(1).unwrap();
        pending.lose("it fell over".to_owned());
        waiting.await.unwrap_err();
        assert_eq!(pending.expect(2).unwrap_err(), "it fell over");
    }
}
