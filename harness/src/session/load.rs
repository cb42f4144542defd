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
    model::{Balance, Method, Target, balance},
    probe::{Timeouts, load_together, request},
    state::State,
    wire::{FailureClass, LoadedRequest},
};

mod record;

/// How long the log of a pod may take to show the last request.
const LOG_LIMIT: Duration = Duration::from_secs(60);

/// The pods whose logs are held against what clients saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Their label `app`: all of them that are ready.
    pub app: &'a str,
    /// The port at which each answers a request that ends the load's part of its log.
    pub port: u16,
}

impl Logged<'static> {
    /// The pods that the tutorial's Services lead to.
    pub const TUTORIAL: Self = Self { app: "nginx", port: 80 };
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
    /// What the client saw.
    pub results: Results,
    /// The clients against the logs, request by request.
    pub conservation: Conservation,
    /// How many requests the pods logged from each client address.
    pub logged_from: BTreeMap<IpAddr, u64>,
    /// Answers that the model does not allow: from a pod that may not answer, or to a source address that the pod may
    /// not see; each with how often.
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
        Sample::of_requests(self.results.requests().filter_map(pod))
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
                compare(asked, balance, Results::merge(vec![result]), &logs, &id)
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
        let opened = self.runtime.spawn(try_join_all(opened.collect::<Vec<_>>())).await;
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

fn last(id: &str) -> String {
    format!("last-of-{id}")
}

/// The ready pods of that app, each with its address.
fn ready(state: &State, app: &str) -> Vec<(String, IpAddr)> {
    let ours = state.pods.iter().filter(|pod| pod.app.as_deref() == Some(app) && pod.ready);
    ours.filter_map(|pod| Some((pod.name.clone(), *pod.addresses.first()?))).collect()
}

fn compare(asked: Asked, balance: Balance, results: Results, logs: &[(String, String)], id: &str) -> BothEnds {
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
    let mut logged_from = BTreeMap::new();
    for (address, count) in parsed.iter().flat_map(|(_, log)| log.by_client()) {
        *logged_from.entry(address).or_default() += count;
    }
    let unreadable = parsed.iter().map(|(_, log)| log.unreadable).sum();
    let logged = parsed.iter().flat_map(|(pod, log)| {
        let lines = log.lines.iter().filter_map(|line| Some((line, line.id()?)));
        lines.map(|(line, id)| conservation::Logged { pod, id, status: line.status })
    });
    let conservation = Conservation::of(sent.iter().map(|(id, seen)| Sent { id, seen: *seen }), logged, unreadable);
    let mut not_allowed = BTreeMap::new();
    for answer in results.answered().map(|request| &request.answer) {
        let pod = answer.served_by.as_deref().unwrap_or("nobody");
        let allowed: Option<BTreeSet<IpAddr>> = match balance.seen_by(pod) {
            None => {
                *not_allowed.entry(format!("{pod} answered, and may not")).or_default() += 1;
                continue;
            }
            Some(seen) => seen.addresses(),
        };
        if let (Some(allowed), Some(seen)) = (allowed, answer.client_address)
            && !allowed.contains(&seen)
        {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let what = format!("{pod} saw {seen}, and may see {}", allowed.join(", "));
            *not_allowed.entry(what).or_default() += 1;
        }
    }
    BothEnds { asked, balance, refusing: None, results, conservation, logged_from, not_allowed }
}
