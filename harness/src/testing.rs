//! What several modules' tests need.

use reachmap_wire::{
    Connect, Failure, Observation, Question, QuestionKind, Record, RecordData, Resolve, Respond, Route, RouteOutcome,
};

use crate::{
    matrix::{Matrix, Stage},
    model::{Expectation, Fact, expect},
    state::State,
    verdict::{Verdict, judge},
};

/// The example without an endpoint of any Service but the DNS's.
pub(crate) fn without_endpoints(mut state: State) -> State {
    state.endpoints.retain(|endpoint| endpoint.service == "kube-dns");
    state
}

/// What a perfect probe sees where everything is as the expectation says.
pub(crate) fn observation_of(expectation: &Expectation) -> Observation {
    let mut observation = Observation { elapsed_us: 1, ..Observation::default() };
    let mut asked: Vec<String> = vec![expectation.target.host.clone()];
    for fact in &expectation.facts {
        match fact {
            Fact::NothingAsked => {}
            Fact::Asks(names) => asked.clone_from(names),
            Fact::Resolves { answered, aliases, addresses } => {
                let mut resolve = resolve(&expectation.target.host, &asked);
                let mut records = Vec::new();
                let mut owner = answered.clone();
                for alias in aliases {
                    records.push(record(&owner, RecordData::Cname(alias.clone())));
                    owner.clone_from(alias);
                }
                records.extend(addresses.iter().map(|address| record(&owner, RecordData::Address(*address))));
                let last = resolve.questions.last_mut().unwrap();
                last.rcode = Some("NOERROR".to_owned());
                last.failure = None;
                last.answers = records;
                resolve.addresses = addresses.iter().copied().collect();
                resolve.answered = Some(answered.clone());
                observation.resolve = Some(resolve);
            }
            Fact::DoesNotResolve(ways) => {
                let mut resolve = resolve(&expectation.target.host, &asked);
                resolve.failure = ways.first().copied();
                observation.resolve = Some(resolve);
            }
            Fact::Connects(destinations) => {
                let destination = *destinations.first().unwrap();
                let source = if destination.is_ipv4() { "10.9.9.9" } else { "fd09::9" };
                let outcome = RouteOutcome::Source(source.parse().unwrap());
                observation.route = Some(Route { destination: destination.ip(), outcome });
                let local = Some(
                    format!("{}:40000", if destination.is_ipv4() { "10.9.9.9" } else { "[fd09::9]" }).parse().unwrap(),
                );
                observation.connect = Some(Connect { destination, local, failure: None, elapsed_us: 1 });
            }
            Fact::DoesNotConnect(ways) => {
                let address = match &observation.resolve {
                    Some(resolve) => *resolve.addresses.first().unwrap(),
                    None => expectation.target.host.parse().unwrap(),
                };
                let failure = Failure { class: *ways.first().unwrap(), message: "os words".to_owned() };
                let destination = (address, expectation.target.port).into();
                observation.connect = Some(Connect { destination, local: None, failure: Some(failure), elapsed_us: 1 });
            }
            Fact::ServedBy(pods) => {
                observation.respond = Some(Respond {
                    status: Some(200),
                    served_by: pods.first().cloned(),
                    client_address: None,
                    body_start: String::new(),
                    body_length: 0,
                    failure: None,
                    elapsed_us: 1,
                });
            }
            Fact::SeenBy(by_pod) => {
                let respond = observation.respond.as_mut().unwrap();
                let sources = respond.served_by.as_ref().and_then(|pod| by_pod.get(pod));
                respond.client_address = sources.and_then(|sources| sources.first()).map(|source| source.address);
            }
        }
    }
    observation
}

fn record(name: &str, data: RecordData) -> Record {
    Record { name: name.to_owned(), ttl: 30, data }
}

fn resolve(name: &str, asked: &[String]) -> Resolve {
    let question = |name: &String| Question {
        name: name.clone(),
        kind: QuestionKind::A,
        server: "10.96.0.10:53".parse().unwrap(),
        rcode: Some("NXDOMAIN".to_owned()),
        answers: Vec::new(),
        failure: Some(reachmap_wire::DnsFailure::NxDomain),
        elapsed_us: 1,
    };
    Resolve {
        name: name.to_owned(),
        questions: asked.iter().map(question).collect(),
        addresses: Vec::new(),
        answered: None,
        failure: None,
        elapsed_us: 1,
    }
}

/// Verdicts for the whole matrix with three workers, as a run gives them in which everything is as it should be.
pub(crate) fn verdicts() -> Vec<Verdict> {
    let states = [State::example_pending(), State::example()];
    Matrix::tutorial(3)
        .into_iter()
        .map(|cell| {
            let state = &states[usize::from(cell.stage == Stage::LoadBalancerReady)];
            let (vantage, method) = (cell.vantage_in(state).unwrap(), cell.method_with(3).unwrap());
            let expectation = expect(state, &vantage, &method).unwrap();
            let observation = observation_of(&expectation);
            Verdict {
                suite: "access".to_owned(),
                stage: cell.stage.to_string(),
                reproduce: format!("cargo xtask shell {vantage} -- curl -sS -i -m 5 http://{}/", expectation.target),
                outcome: judge(&expectation, &observation),
                vantage,
                method,
                expectation: Some(expectation),
                observation: Some(observation),
            }
        })
        .collect()
}
