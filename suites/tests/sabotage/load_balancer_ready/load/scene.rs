//! What a test looks at before, under and after a fault, and what one look finds.

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, time::Duration};

use reachmap::{
    Error, ErrorKind, Result,
    environment::workloads::{LOAD_BALANCER, NAMESPACE},
    load::{
        generator::Plan as LoadPlan,
        statistics::{EndpointCount, Judgement, Law, Plan, Question},
        summary::AsHey,
    },
    model::{Balance, Method, balance},
    report::explain_load,
    session::{Session, load::BothEnds},
    state::State,
    wire::Extent,
};
use reachmap_suites::{changes::changed, watched::Watched};

use super::super::super::node::{forget_attempts, no_node};

/// The looks of all tests of faults by load, each of which tests the spread: one family.
const LOOKS: u32 = 6 * 3;

/// How many connections there are at once: many, since under some faults each waits for its timeout.
pub(super) const AT_ONCE: u32 = 200;

/// How long it is watched who answers for an address.
const WATCHED: Duration = Duration::from_secs(2);

/// What a test looks at, as it is before the fault.
pub(super) struct Scene {
    pub(super) state: State,
    pub(super) balance: Balance,
    session: &'static Session,
    /// The fault's name.
    fault: &'static str,
    vantage: &'static str,
    method: &'static str,
    law: Law,
}

impl Scene {
    pub(super) async fn of(fault: &'static str, vantage: &'static str, method: &'static str) -> Result<Self> {
        let session = Session::current()?;
        let state = session.snapshot().await?;
        let balance = balance(&state, session.vantage(vantage)?, &Method::find(method, session.workers())?)?;
        let law = Law::of(&balance)?;
        Ok(Self { state, balance, session, fault, vantage, method, law })
    }

    /// All is in order; then something is broken, and one look names it; then it is mended, and all is in order.
    ///
    /// `inject` returns once the fault is live, and `mend` once it is not any more.
    pub(super) async fn sabotage<I, M>(
        &self,
        inject: impl FnOnce() -> I,
        mend: impl FnOnce() -> M,
        names_it: impl Fn(&Found) -> bool,
    ) -> Result<()>
    where
        I: Future<Output = Result<()>>,
        M: Future<Output = Result<()>>,
    {
        if let Some(reason) = no_node(self.session) {
            return self.session.not_supported(reason);
        }
        self.is_in_order("before").await?;
        let found = changed(inject, || self.look(), mend).await?;
        assert!(names_it(&found), "the fault is not named: {found:#?}");
        self.is_in_order("after").await
    }

    fn statistics(&self) -> Plan {
        Plan { tests: LOOKS * self.law.tests(), ..Plan::default() }
    }

    async fn load(&self, when: &str) -> Result<BothEnds> {
        let plan = LoadPlan {
            extent: Extent::Requests(self.statistics().connections(&self.law)?),
            connections: AT_ONCE,
            keep_alive: false,
            connect_timeout: Duration::from_secs(4),
            timeout: Duration::from_secs(6),
            ..LoadPlan::default()
        };
        self.session.load(self.vantage, self.method, &plan, &format!("{}-{when}", self.fault)).await
    }

    /// One look where all must be in order; it is in the report.
    async fn is_in_order(&self, when: &str) -> Result<()> {
        forget_attempts(self.session).await?;
        assert_eq!(self.others_answer().await?, Vec::<String>::new(), "{when} the fault");
        let ends = self.load(when).await?;
        let load = self.session.judge_load(&ends, Some(&self.statistics()))?;
        assert!(load.is_as_expected(), "{when} the fault: {}", explain_load(&load));
        assert_eq!(Law::of(&ends.balance)?, self.law, "the law {when} the fault (left) and before it (right)");
        Ok(())
    }

    /// One look at the fault, held against what had to be before it.
    async fn look(&self) -> Result<Found> {
        let mut found = Found { said: self.others_answer().await?, shares: None };
        let ends = match self.load("under").await {
            Ok(ends) => ends,
            // A pod whose log never shows the last request: it is named.
            Err(error) if error.kind() == ErrorKind::Deadline => {
                found.said.push(error.to_string());
                return Ok(found);
            }
            Err(error) => return Err(error),
        };
        found.said.extend(ends.not_allowed.keys().cloned());
        if !ends.conservation.is_exact() {
            found.said.push(ends.conservation.to_string());
        }
        if !ends.results.errors().is_empty() {
            // Connections that failed are no sample of anything.
            found.said.push(format!("failed: {:?}\n{}", ends.results.errors(), AsHey(&ends.results)));
            return Ok(found);
        }
        let name = format!("{}/{}", self.vantage, self.method);
        let judgements = self.statistics().judge(&name, &self.law, &ends.sample())?;
        found.said.extend(judgements.iter().filter(|one| !one.is_consistent()).map(ToString::to_string));
        found.shares = judgements.into_iter().find(|judgement| judgement.question == Question::Shares);
        Ok(found)
    }

    /// Who else answers for the load balancer's address than the node that announces it, and whether that one is silent: asked by
    /// ARP from the laptop, whose kernel learns nothing from it. Nothing, if the scene is not about that address.
    async fn others_answer(&self) -> Result<Vec<String>> {
        if self.method != "loadbalancer-address" {
            return Ok(Vec::new());
        }
        let Announced { address, by } = Announced::of(&self.state)?;
        let answered = Watched::of(&self.state)?.watch_for(self.session, WATCHED).await?;
        let due = [by.clone()].into();
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for question in answered.questions.iter().filter(|question| question.by != due) {
            let by: Vec<&str> = question.by.iter().map(String::as_str).collect();
            *others.entry(if by.is_empty() { "nobody".to_owned() } else { by.join(" and ") }).or_default() += 1;
        }
        let asked = answered.questions.len();
        let said = |(others, times)| {
            format!("{times} of {asked} questions who has {address}, which {by} announces, were answered by {others}")
        };
        Ok(others.into_iter().map(said).collect())
    }
}

/// What one look has found; nothing, if all is in order.
#[derive(Debug)]
pub(super) struct Found {
    said: Vec<String>,
    /// What was found of the shares, if they could be judged.
    shares: Option<Judgement>,
}

impl Found {
    pub(super) fn says(&self, what: &str) -> bool {
        self.said.iter().any(|said| said.contains(what))
    }

    /// Whether the shares are not as the law says, and what `is_so` says of each endpoint that had so many connections of all.
    pub(super) fn has_shares(&self, is_so: impl Fn(&EndpointCount, u64) -> bool) -> bool {
        let off = self.shares.as_ref().filter(|shares| !shares.is_consistent());
        off.is_some_and(|shares| shares.endpoints.iter().all(|count| is_so(count, shares.connections)))
    }
}

/// Whether an endpoint has got more than its share of all connections, by the whole of its confidence band.
pub(super) fn has_too_many(count: &EndpointCount, connections: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "there are some thousands of them")]
    let all = connections as f64;
    count.low * all > count.expected
}

/// The load balancer's address, and the node that announces it by the cluster's word.
pub(super) struct Announced {
    pub(super) address: Ipv4Addr,
    pub(super) by: String,
}

impl Announced {
    pub(super) fn of(state: &State) -> Result<Self> {
        let Watched { address, .. } = Watched::of(state)?;
        let by = state.service(NAMESPACE, LOAD_BALANCER).and_then(|service| service.announced_by.clone());
        let tried = || format!("find who announces {LOAD_BALANCER}");
        let by = by.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "it is not one node alone"))?;
        Ok(Self { address, by })
    }
}
