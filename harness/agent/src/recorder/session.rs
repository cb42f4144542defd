//! What is written down during one recording.

use std::{
    collections::HashSet,
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use reachmap_wire::{RecordedQuestion, Transport};
use rustix::process::Pid;
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

use crate::{
    dns::message::{Question, Said},
    probe::micros,
    recorder::owner::{self, Owner},
};

/// How many questions one recording holds: a resolver that asks more is in a loop.
const LIMIT: usize = 4096;

/// How often it is looked whether an answer has come.
const LOOK: Duration = Duration::from_millis(10);

/// One recording under way, or one that is over and that nobody reads any more.
#[derive(Debug)]
pub(super) struct Session {
    /// Where its questions go.
    pub(super) server: SocketAddr,
    /// When its asker was started.
    pub(super) started: Instant,
    /// Whether its asker has its socket open as long as it waits for an answer.
    keeps_socket: bool,
    /// The process group that asks.
    pub(super) group: OnceLock<Pid>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    questions: Vec<RecordedQuestion>,
    unreadable: u32,
    strays: u32,
    /// From where it was asked, by datagrams with which ids.
    asked: HashSet<(SocketAddr, u16)>,
    /// What passes its messages on; ended with it.
    passing: JoinSet<()>,
    is_over: bool,
}

/// The place of a question in its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Index(usize);

impl Session {
    /// A recording that starts now.
    pub(super) fn new(server: SocketAddr, keeps_socket: bool) -> Self {
        Self { server, started: Instant::now(), keeps_socket, group: OnceLock::new(), log: Mutex::default() }
    }

    /// Writes down what `message` from `client` asks; its index, and its id, if that can be read.
    pub(super) fn asked(&self, message: &[u8], transport: Transport, client: SocketAddr) -> Option<(Index, u16)> {
        let at_us = micros(self.started.elapsed());
        let question = Question::read(message);
        let mut log = self.log();
        log.asked.extend(question.as_ref().map(|question| (client, question.id)));
        match question {
            Some(Question { id, name, kind }) if log.questions.len() < LIMIT => {
                log.questions.push(RecordedQuestion {
                    at_us,
                    id,
                    transport,
                    name,
                    kind,
                    rcode: None,
                    truncated: false,
                    answers: Vec::new(),
                    soa: false,
                    elapsed_us: None,
                });
                Some((Index(log.questions.len() - 1), id))
            }
            _ => {
                log.unreadable = log.unreadable.saturating_add(1);
                None
            }
        }
    }

    /// Writes down what came back to a question, unless something did before.
    pub(super) fn answered(&self, index: Index, message: &[u8]) {
        let now_us = micros(self.started.elapsed());
        let said = Said::read(message);
        let mut log = self.log();
        if let Some(question) = log.questions.get_mut(index.0)
            && question.elapsed_us.is_none()
        {
            question.elapsed_us = Some(now_us.saturating_sub(question.at_us));
            if let Some(Said { rcode, truncated, records, soa, .. }) = said {
                (question.rcode, question.truncated) = (Some(rcode), truncated);
                (question.answers, question.soa) = (records, soa);
            }
        }
    }

    /// Passes messages on by `passing`, as long as the recording lasts.
    pub(super) fn pass(&self, passing: impl Future<Output = ()> + Send + 'static) {
        let mut log = self.log();
        if !log.is_over {
            log.passing.spawn(passing);
        }
    }

    /// Waits until something has come back to every question.
    pub(super) async fn until_answered(&self) {
        let mut looks = interval(LOOK);
        while self.log().questions.iter().any(|question| question.elapsed_us.is_none()) {
            looks.tick().await;
        }
    }

    /// Ends it: nothing more is passed on. Returns what was written down, and how many messages asked nothing or may
    /// have been another's.
    pub(super) fn close(&self) -> (Vec<RecordedQuestion>, u32, u32) {
        let mut log = self.log();
        log.is_over = true;
        log.passing.abort_all();
        (mem::take(&mut log.questions), log.unreadable, log.strays)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // No code panics while it holds this; and if it did, what it wrote is still what happened.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sessions under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Current(Arc<Mutex<Vec<Arc<Session>>>>);

impl Current {
    /// Takes messages for `session` until the guard is dropped.
    pub(super) fn open(&self, session: &Arc<Session>) -> Open<'_> {
        self.sessions().push(Arc::clone(session));
        Open { current: self, session: Arc::clone(session) }
    }

    /// The session to which a message from `client` belongs, if there is one and it can be told; a datagram's `id`
    /// helps.
    pub(super) fn of(&self, client: SocketAddr, transport: Transport, id: Option<u16>) -> Option<Arc<Session>> {
        let sessions = self.sessions();
        match sessions.as_slice() {
            [] => None,
            [only] => Some(Arc::clone(only)),
            several => {
                let keep = || several.iter().filter(|session| session.keeps_socket);
                let of_group = |group: Pid| keep().find(move |session| session.group.get() == Some(&group));
                let found = match owner::of(client, transport, |group| of_group(group).is_some()) {
                    Owner::Group(group) => of_group(group),
                    Owner::Another => None,
                    // Its asker had it open, and repeated a question just before the answer came. The port alone does not
                    // tell: the kernel may have given it to another since.
                    Owner::Nobody => {
                        id.and_then(|id| keep().find(|session| session.log().asked.contains(&(client, id))))
                    }
                };
                let found = found.or_else(|| several.iter().find(|session| !session.keeps_socket));
                if found.is_none() {
                    // It is passed on for none, and every one of them says that it may lack something.
                    for session in several {
                        session.log().strays += 1;
                    }
                }
                found.cloned()
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this lives, messages are taken for its session: also when the recording is given up.
#[derive(Debug)]
pub(super) struct Open<'a> {
    current: &'a Current,
    session: Arc<Session>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.current.sessions().retain(|session| !Arc::ptr_eq(session, &self.session));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const QUESTION: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";

    #[test]
    fn a_port_that_was_one_askers_may_be_anothers_now() {
        let server = SocketAddr::from(([127, 0, 0, 1], 53));
        let current = Current::default();
        let (keeping, other) = (Arc::new(Session::new(server, true)), Arc::new(Session::new(server, false)));
        let of = |client, id| current.of(client, Transport::Udp, Some(id));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = socket.local_addr().unwrap();
        assert!(of(client, 7).is_none(), "there is no session");
        let _open = current.open(&keeping);
        assert!(Arc::ptr_eq(&of(client, 7).unwrap(), &keeping), "there is no other");
        keeping.asked(QUESTION, Transport::Udp, client);
        let also_open = current.open(&other);
        assert!(Arc::ptr_eq(&of(client, 7).unwrap(), &other), "it is open, and not by a process of the group");
        keeping.group.set(rustix::process::getpgrp()).unwrap();
        assert!(Arc::ptr_eq(&of(client, 8).unwrap(), &keeping), "it is open by a process of the group");
        drop(socket);
        assert!(Arc::ptr_eq(&of(client, 7).unwrap(), &keeping), "it is closed, and this question is repeated");
        assert!(Arc::ptr_eq(&of(client, 8).unwrap(), &other), "it is closed, and this question is new");
        drop(also_open);
        let another = Arc::new(Session::new(server, true));
        let _also_open = current.open(&another);
        assert!(of(client, 8).is_none());
        assert_eq!((keeping.close().2, another.close().2), (1, 1), "both say that it may be theirs");
    }
}
