//! A load and both of its ends: what the clients saw, what the pods logged, and what the model says of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    time::Duration,
};

use futures::future::try_join_all;

use super::Session;
use crate::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    kubernetes::logs,
    load::{
        Results,
        access_log::AccessLog,
        conservation::{self, Conservation, Seen, Sent},
        generator::{Plan, allow},
        statistics::{Law, Sample},
    },
    model::{self, Balance, Method, Target, balance},
    probe::{Timeouts, load_together, request},
    state::State,
    wire::{FailureClass, LoadedRequest},
};

mod hey;
mod record;

pub use self::hey::HeyRun;

/// How long the log of a pod may take to show the last request.
const LOG_LIMIT: Duration = Duration::from_secs(60);

/// The pods whose logs are held against what clients saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Their label `app`: all of them that are ready.
    pub app: &'a str,
    /// The port at which each answers a request that ends the load's part of its log.
    pub port: u16,
    /// Whether their answers say whose they are, and what source address was seen, as the tutorial's do by its headers. Where
    /// they do not, only the logs tell.
    pub says_who: bool,
}

impl Logged<'static> {
    /// The pods that the tutorial's Services lead to.
    pub const TUTORIAL: Self = Self { app: "nginx", port: 80, says_who: true };
}

/// A load, seen from both ends.
#[derive(Debug, Clone)]
pub struct BothEnds {
    /// What was loaded, and from where.
    pub asked: Asked,
    /// Who may answer, and what source address each pod may see, by the model.
    pub balance: Balance,
    /// A pod that is known to refuse every connection, by whoever deployed it so: what is refused counts as its own. At most
    /// one, since nothing tells two of them apart.
    pub refusing: Option<String>,
    /// Whether the answers do not say whose they are: who answered is then what the logs say.
    pub by_logs: bool,
    /// What the client saw.
    pub results: Results,
    /// The clients against the logs, request by request.
    pub conservation: Conservation,
    /// How many requests the pods logged from each client address.
    pub logged_from: BTreeMap<IpAddr, u64>,
    /// The same of each pod.
    pub logged_by: BTreeMap<String, BTreeMap<IpAddr, u64>>,
    /// What the model does not allow: an answer or a line in a log by a pod that may not answer, or about a source address
    /// that the pod may not see, or about none; each with how often.
    pub not_allowed: BTreeMap<String, u64>,
}

/// What was loaded, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The vantage's id.
    pub vantage: String,
    /// The access method's id.
    pub method: String,
    /// The load's own short name.
    pub name: String,
}

impl BothEnds {
    /// The connections in the order in which they were made, each with the pod that answered on it, or refused it.
    pub fn sample(&self) -> Sample {
        let pod = |request: &LoadedRequest| {
            let pod = match request.answer.failure {
                None => request.answer.served_by.as_deref(),
                Some(_) => self.refused_by(request),
            };
            pod.map(|pod| (request.connection, pod.to_owned()))
        };
        let of_each = self.results.loads.iter().scan(0, |others, load| {
            let before = *others;
            *others += load.requests.iter().map(|request| request.connection + 1).max().unwrap_or_default();
            Some((before, load))
        });
        // Each load numbers its connections from 0 on.
        let numbered = of_each.flat_map(|(before, load)| {
            load.requests.iter().filter_map(pod).map(move |(connection, pod)| (before + connection, pod))
        });
        Sample::of_requests(numbered)
    }

    /// Loads that started together as one, called `name`: what several vantages sent, and what the pods saw of all of them.
    /// None if there is none.
    pub fn together(name: &str, all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let merged = all.into_iter().reduce(|mut one, other| {
            one.asked.vantage = format!("{}, {}", one.asked.vantage, other.asked.vantage);
            one.balance = one.balance.together(other.balance);
            one.results = Results::merge(one.results.loads.into_iter().chain(other.results.loads).collect());
            one.conservation = one.conservation.together(other.conservation);
            add(&mut one.logged_from, other.logged_from);
            for (pod, clients) in other.logged_by {
                add(one.logged_by.entry(pod).or_default(), clients);
            }
            add(&mut one.not_allowed, other.not_allowed);
            one
        });
        merged.map(|ends| Self { asked: Asked { name: name.to_owned(), ..ends.asked }, ..ends })
    }

    /// The pod that refused the request's connection, if it is known.
    fn refused_by(&self, request: &LoadedRequest) -> Option<&str> {
        let class = request.answer.failure.as_ref()?.class;
        self.refusing.as_deref().filter(|_| class == FailureClass::Refused)
    }
}

impl Session {
    /// What the model says of the spread of connections from `vantage` by `method`, and the law that it follows.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such vantage or method, or no law.
    pub fn balance(&self, vantage: &str, method: &str) -> Result<(Balance, Law)> {
        let balance = balance(&self.state, self.vantage(vantage)?, &Method::find(method, self.workers())?)?;
        let law = Law::of(&balance)?;
        Ok((balance, law))
    }

    /// Loads what `method` names from `vantage`, follows the log of every pod meanwhile, and holds both ends against each
    /// other.
    ///
    /// `name` is part of the ids of its requests: no other load of the run may have the same.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the plan makes no sense, or the target is not an address of the run's own;
    /// [`ErrorKind::Deadline`] if a pod's log never shows the request that is sent to it last.
    pub async fn load(&self, vantage: &str, method: &str, plan: &Plan, name: &str) -> Result<BothEnds> {
        self.load_by(vantage, &Method::find(method, self.workers())?, Logged::TUTORIAL, plan, name).await
    }

    /// The same by an access method of the caller's own, to pods of the caller's own, whose `logged` logs are followed.
    ///
    /// # Errors
    /// As [`Session::load`].
    pub async fn load_by(
        &self,
        vantage: &str,
        method: &Method,
        logged: Logged<'_>,
        plan: &Plan,
        name: &str,
    ) -> Result<BothEnds> {
        let ends = self.load_all(&[vantage], method, logged, plan, name).await?;
        let missing = || Error::new(ErrorKind::Internal, format!("load from {vantage}"), "nothing came of it");
        ends.into_iter().next().ok_or_else(missing)
    }

    /// As [`Session::load`] from several vantages, which start at the same moment, each with all of `plan`; in their order.
    ///
    /// # Errors
    /// As [`Session::load`].
    pub async fn load_together(
        &self,
        vantages: &[&str],
        method: &str,
        plan: &Plan,
        name: &str,
    ) -> Result<Vec<BothEnds>> {
        self.load_all(vantages, &Method::find(method, self.workers())?, Logged::TUTORIAL, plan, name).await
    }

    async fn load_all(
        &self,
        vantages: &[&str],
        method: &Method,
        logged: Logged<'_>,
        plan: &Plan,
        name: &str,
    ) -> Result<Vec<BothEnds>> {
        let state = self.snapshot().await?;
        let Target { host, port } = method.way.target(&state)?;
        let address: IpAddr = host.parse().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("load {host}"), "only an address can be loaded, and this is a name")
        })?;
        let destination = (address, port).into();
        allow(&state, destination)?;
        let id = format!("{}-{name}", self.handover.run);
        let (mut asked, mut loads) = (Vec::new(), Vec::new());
        for vantage in vantages {
            let name = if vantages.len() == 1 { name.to_owned() } else { format!("{name}-{vantage}") };
            let what = Asked { vantage: (*vantage).to_owned(), method: method.id.clone(), name };
            asked.push((what, balance(&state, self.vantage(vantage)?, method)?));
            let load = plan.load(destination, &host, &format!("{id}-{vantage}"))?;
            loads.push((self.agent(vantage)?.clone(), load));
        }
        let (results, logs) = self.logs_of_during(logged, &state, &id, load_together(loads)).await?;
        let of_each = asked.into_iter().zip(results.loads);
        Ok(of_each
            .map(|((asked, balance), result)| {
                let id = result.load.id_prefix.clone();
                compare(asked, balance, Results::merge(vec![result]), (logged.says_who, &logs), &id)
            })
            .collect())
    }

    /// What every pod that the Services may lead to logs with `id` in it while `work` goes on: each pod with its lines.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Deadline`] if a pod's log never shows the request that is sent to it last.
    pub async fn logs_during<T>(
        &self,
        state: &State,
        id: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Vec<(String, String)>)> {
        self.logs_of_during(Logged::TUTORIAL, state, id, work).await
    }

    async fn logs_of_during<T>(
        &self,
        logged: Logged<'_>,
        state: &State,
        id: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Vec<(String, String)>)> {
        let pods = ready(state, logged.app);
        // Each is followed from before the first request: one that is read afterwards may be cut off at its beginning.
        let opened = pods.iter().map(|(pod, _)| {
            let lines = logs::Lines { holding: id.to_owned(), last: last(id) };
            logs::follow(self.client.clone(), NAMESPACE, pod.clone(), lines)
        });
        // On the session's own runtime, which the client belongs to.
        let opened = self.runtime().spawn(try_join_all(opened.collect::<Vec<_>>())).await;
        let logs = opened.tried(ErrorKind::Internal, || "join a task")??;
        let done = work.await?;
        for (_, address) in &pods {
            self.say_last(*address, logged.port, id).await?;
        }
        let mut texts = Vec::new();
        for ((pod, _), log) in pods.iter().zip(logs) {
            let read = tokio::time::timeout(LOG_LIMIT, log).await;
            let read = read.map_err(|_| {
                Error::new(ErrorKind::Deadline, format!("follow the log of {pod}"), "it never showed the last request")
                    .hint("Where kubelets turn logs over at 10 MiB, their default, a larger containerLogMaxSize helps.")
            })?;
            texts.push((pod.clone(), read.tried(ErrorKind::Internal, || "join a task")??));
        }
        Ok((done, texts))
    }

    /// Sends the request that ends the load's part of the pod's log.
    async fn say_last(&self, pod: IpAddr, port: u16, id: &str) -> Result<()> {
        let mut probe = request(&Target { host: pod.to_string(), port }, Timeouts::default());
        probe.path = format!("/?id={}", last(id));
        let seen = self.agent("testpod")?.probe(probe).await?;
        if seen.is_reached() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Environment, format!("end the log of the pod at {pod}"), "it does not answer"))
    }
}

fn add<K: Ord>(all: &mut BTreeMap<K, u64>, others: BTreeMap<K, u64>) {
    for (key, count) in others {
        *all.entry(key).or_default() += count;
    }
}

fn last(id: &str) -> String {
    format!("last-of-{id}")
}

/// The ready pods of that app, each with its address.
fn ready(state: &State, app: &str) -> Vec<(String, IpAddr)> {
    let ours = state.pods.iter().filter(|pod| pod.app.as_deref() == Some(app) && pod.ready);
    ours.filter_map(|pod| Some((pod.name.clone(), *pod.addresses.first()?))).collect()
}

fn compare(
    asked: Asked,
    balance: Balance,
    results: Results,
    (says_who, logs): (bool, &[(String, String)]),
    id: &str,
) -> BothEnds {
    let sent: Vec<(String, Seen)> = results
        .with_ids()
        .map(|(id, request)| {
            let answer = &request.answer;
            let seen = match (&answer.failure, answer.status) {
                (None, Some(status)) => Seen::Status(status),
                (failure, _) => Seen::Failed(failure.as_ref().map_or(FailureClass::Other, |failure| failure.class)),
            };
            (id, seen)
        })
        .collect();
    // Of `load-worker-1`, and not of `load-worker-10`; several loads may have been followed together.
    let of_this = |line_id: &str| line_id.strip_prefix(id).is_some_and(|number| number.starts_with('-'));
    let parsed = logs.iter().map(|(pod, text)| {
        let mut log = AccessLog::parse(text);
        log.lines.retain(|line| line.id().is_some_and(of_this));
        (pod.as_str(), log)
    });
    let parsed: Vec<(&str, AccessLog<'_>)> = parsed.collect();
    let unreadable = parsed.iter().map(|(_, log)| log.unreadable).sum();
    let logged = parsed.iter().flat_map(|(pod, log)| {
        let lines = log.lines.iter().filter_map(|line| Some((line, line.id()?)));
        lines.map(|(line, id)| conservation::Logged { pod, id, status: line.status })
    });
    let conservation = Conservation::of(sent.iter().map(|(id, seen)| Sent { id, seen: *seen }), logged, unreadable);
    let by_pod = parsed.iter().map(|(pod, log)| ((*pod).to_owned(), log.by_client()));
    let logged_by: BTreeMap<String, BTreeMap<IpAddr, u64>> =
        by_pod.filter(|(_, clients)| !clients.is_empty()).collect();
    let mut logged_from = BTreeMap::new();
    for (address, count) in logged_by.values().flatten() {
        *logged_from.entry(*address).or_default() += count;
    }
    let answers = if says_who { answers_not_allowed(&balance, &results) } else { BTreeMap::new() };
    let not_allowed = answers.into_iter().chain(lines_not_allowed(&balance, &logged_by)).collect();
    let by_logs = !says_who;
    BothEnds { asked, balance, refusing: None, by_logs, results, conservation, logged_from, logged_by, not_allowed }
}

/// The answers that the model does not allow, by what they say themselves.
fn answers_not_allowed(balance: &Balance, results: &Results) -> BTreeMap<String, u64> {
    let mut not_allowed = BTreeMap::new();
    for answer in results.answered().map(|request| &request.answer) {
        let pod = answer.served_by.as_deref().unwrap_or("nobody");
        let what = match (balance.seen_by(pod), answer.client_address) {
            (None, _) => Some(format!("{pod} answered, and may not")),
            (Some(seen), Some(address)) => {
                other_than(&seen, address).map(|may| format!("{pod} saw {address}, and may see {may}"))
            }
            (Some(seen), None) => {
                seen.addresses().map(|may| format!("{pod} did not say what it saw, and may see {}", list(&may)))
            }
        };
        if let Some(what) = what {
            *not_allowed.entry(what).or_default() += 1;
        }
    }
    not_allowed
}

/// The lines of the logs that the model does not allow.
fn lines_not_allowed(balance: &Balance, logged_by: &BTreeMap<String, BTreeMap<IpAddr, u64>>) -> BTreeMap<String, u64> {
    let lines =
        logged_by.iter().flat_map(|(pod, clients)| clients.iter().map(move |(address, times)| (pod, address, times)));
    let not_allowed = lines.filter_map(|(pod, address, times)| {
        let what = match balance.seen_by(pod) {
            None => format!("{pod} logged {address}, and may not answer"),
            Some(seen) => format!("{pod} logged {address}, and may see {}", other_than(&seen, *address)?),
        };
        Some((what, *times))
    });
    not_allowed.collect()
}

/// What may be seen, if the model says so and this address is none of it.
fn other_than(seen: &model::Seen, address: IpAddr) -> Option<String> {
    seen.addresses().filter(|may| !may.contains(&address)).map(|may| list(&may))
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
