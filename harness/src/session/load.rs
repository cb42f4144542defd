//! A load and both of its ends: what the clients saw, what the pods logged, and what the model says of both.

use std::{
    collections::{BTreeMap, BTreeSet},
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
        LoadResult, Results,
        access_log::AccessLog,
        conservation::{Conservation, Logged, Seen, Sent},
        generator::{Plan, allow},
        statistics::{Law, Sample},
    },
    model::{Balance, Method, Target, balance},
    probe::{Timeouts, request},
    state::State,
};

mod record;

/// How long the log of a pod may take to show the last request.
const LOG_LIMIT: Duration = Duration::from_secs(60);

/// A load, seen from both ends.
#[derive(Debug, Clone)]
pub struct BothEnds {
    /// What was loaded, and from where.
    pub asked: Asked,
    /// Who may answer, and what source address each pod may see, by the model.
    pub balance: Balance,
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
    /// The connections in the order in which they were made, each with the pod that answered on it.
    pub fn sample(&self) -> Sample {
        let pod = |request: &crate::wire::LoadedRequest| {
            request.answer.served_by.as_ref().map(|pod| (request.connection, pod.clone()))
        };
        Sample::of_requests(self.results.answered().filter_map(pod))
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
    /// `id` starts the ids of its requests: no other load of the run may have the same.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the plan makes no sense, or the target is not an address of the run's own;
    /// [`ErrorKind::Deadline`] if a pod's log never shows the request that is sent to it last.
    pub async fn load(&self, vantage: &str, method: &str, plan: &Plan, id: &str) -> Result<BothEnds> {
        let method = Method::find(method, self.workers())?;
        let state = self.snapshot().await?;
        let balance = balance(&state, self.vantage(vantage)?, &method)?;
        let Target { host, port } = method.way.target(&state)?;
        let address: IpAddr = host.parse().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("load {host}"), "only an address can be loaded, and this is a name")
        })?;
        let destination = (address, port).into();
        allow(&state, destination)?;
        let asked = Asked { vantage: vantage.to_owned(), method: method.id.clone(), name: id.to_owned() };
        let id = format!("{}-{id}", self.handover.run);
        let load = plan.load(destination, &host, &id)?;
        let pods = nginx(&state);
        // Each is followed from before the first request: a log that is read afterwards may have been turned over.
        let opened = pods.iter().map(|(pod, _)| {
            let lines = logs::Lines { holding: id.clone(), last: last(&id) };
            logs::follow(self.client.clone(), NAMESPACE, pod.clone(), lines)
        });
        // On the session's own runtime, which the client belongs to.
        let opened = self.runtime.spawn(try_join_all(opened.collect::<Vec<_>>())).await;
        let logs = opened.tried(ErrorKind::Internal, || "join a task")??;
        let result: LoadResult = self.agent(vantage)?.load(load).await?;
        let results = Results::merge(vec![result]);
        for (_, address) in &pods {
            self.say_last(*address, &id).await?;
        }
        let mut texts = Vec::new();
        for ((pod, _), log) in pods.iter().zip(logs) {
            let read = tokio::time::timeout(LOG_LIMIT, log).await;
            let read = read.map_err(|_| {
                Error::new(ErrorKind::Deadline, format!("follow the log of {pod}"), "it never showed the last request")
            })?;
            texts.push((pod.clone(), read.tried(ErrorKind::Internal, || "join a task")??));
        }
        Ok(compare(asked, balance, results, &texts, &id))
    }

    /// Sends the request that ends the load's part of the pod's log.
    async fn say_last(&self, pod: IpAddr, id: &str) -> Result<()> {
        let mut probe = request(&Target { host: pod.to_string(), port: 80 }, Timeouts::default());
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

/// The pods that any Service of the tutorial may lead to, each with its address.
fn nginx(state: &State) -> Vec<(String, IpAddr)> {
    let ours = state.pods.iter().filter(|pod| pod.app.as_deref() == Some("nginx") && pod.ready);
    ours.filter_map(|pod| Some((pod.name.clone(), *pod.addresses.first()?))).collect()
}

fn compare(asked: Asked, balance: Balance, results: Results, logs: &[(String, String)], id: &str) -> BothEnds {
    let sent: Vec<(String, Seen)> = results
        .with_ids()
        .map(|(id, request)| {
            let answer = &request.answer;
            let seen = match (&answer.failure, answer.status) {
                (None, Some(status)) => Seen::Status(status),
                (failure, _) => {
                    Seen::Failed(failure.as_ref().map_or(crate::wire::FailureClass::Other, |failure| failure.class))
                }
            };
            (id, seen)
        })
        .collect();
    let parsed: Vec<(&str, AccessLog<'_>)> =
        logs.iter().map(|(pod, text)| (pod.as_str(), AccessLog::parse(text))).collect();
    let mut logged_from = BTreeMap::new();
    for (address, count) in parsed.iter().flat_map(|(_, log)| log.by_client()) {
        *logged_from.entry(address).or_default() += count;
    }
    let unreadable = parsed.iter().map(|(_, log)| log.unreadable).sum();
    let logged = parsed.iter().flat_map(|(pod, log)| {
        let of_this_load = log.lines.iter().filter_map(|line| Some((line, line.id()?)));
        of_this_load.filter(|(_, line_id)| line_id.starts_with(id)).map(|(line, id)| Logged {
            pod,
            id,
            status: line.status,
        })
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
    BothEnds { asked, balance, results, conservation, logged_from, not_allowed }
}
