//! The front door: a cluster to ask in a few lines, without `cargo xtask` and without suites.

use std::{fmt, path::PathBuf};

use super::{
    Session,
    course::Course,
    handover::{Handover, Holder},
    run::blocking,
    workplace::Workplace,
};
use crate::{
    Result, environment::Environment, matrix::Stage, model::Method, plan::EnvironmentOptions, probe::AgentBinary,
    state::State, verdict::Verdict,
};

mod builder;

pub use builder::{ClusterBuilder, Report, Started};

/// A cluster with Reachmap's workloads in it, an agent at every vantage, and a report that is under way.
///
/// ```no_run
/// # async fn test() -> reachmap::Result<()> {
/// use reachmap::Cluster;
/// let report = Cluster::kind()
///     .run(async |cluster| {
///         let verdict = cluster.check("laptop", "loadbalancer-address").await?;
///         reachmap::assert_as_expected!(verdict);
///         Ok(())
///     })
///     .await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub struct Cluster {
    session: Session,
    state: State,
    namespaces: Vec<String>,
    stage: Stage,
    suite: String,
    environment: Environment,
    agent: AgentBinary,
    place: Workplace,
}

impl Cluster {
    /// A kind cluster of our own: one that is kept and as it is to be, or a new one.
    pub fn kind() -> ClusterBuilder {
        ClusterBuilder::of(EnvironmentOptions::from_variables())
    }

    /// The cluster that a kubeconfig names. What is made there is recorded first and removed at the end, and nothing else on it
    /// is changed, unless the [options](ClusterBuilder::options) allow it.
    pub fn existing(kubeconfig: impl Into<PathBuf>) -> ClusterBuilder {
        Self::kind().options(|options| options.kubeconfig = Some(kubeconfig.into()))
    }

    /// The cluster that `options` describe, and no variable says otherwise.
    pub fn of(options: EnvironmentOptions) -> ClusterBuilder {
        ClusterBuilder::of(Ok(options))
    }

    /// Sends one request from `vantage`, by one of the tutorial's access methods (its id) or one of the caller's own, and holds
    /// what was seen against what the cluster's state says must happen. The verdict is in the report.
    ///
    /// # Errors
    /// If there is no such vantage or method, the state does not have what the method names, or no request could be sent. A
    /// verdict that is not as expected is no error.
    ///
    /// ```no_run
    /// # async fn test(cluster: &reachmap::Cluster) -> reachmap::Result<()> {
    /// use reachmap::model::{Method, ServiceRef, Way};
    /// let theirs = cluster.check("laptop", "pod-ip").await?;
    /// let way = Way::ClusterIp { service: ServiceRef::new("shop", "storefront") };
    /// let own = cluster.check("testpod", Method::new("shop-cluster-ip", way)).await?;
    /// reachmap::assert_as_expected!(own);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self, vantage: &str, method: impl Into<Asked<'_>>) -> Result<Verdict> {
        let method = match method.into() {
            Asked::Known(id) => Method::find(id, self.session.workers())?,
            Asked::Own(method) => method,
        };
        let verdict = self.session.judge(&self.state, vantage, method).await?;
        self.session.record(&verdict)?;
        Ok(verdict)
    }

    /// The ids of the vantages that this cluster has.
    pub fn vantages(&self) -> impl Iterator<Item = &str> {
        self.session.handover().vantages.iter().map(|site| site.vantage.id.as_str())
    }

    /// Deploys workloads of the caller's own, as [`Session::deploy`] does; from now on they are in the
    /// [state](Self::state). On a cluster that is not ours they are recorded first, and removed at the end.
    ///
    /// # Errors
    /// Those of [`Session::deploy`]; [`ErrorKind::Usage`](crate::ErrorKind::Usage) if something of it is there already, and is
    /// somebody's.
    pub async fn deploy(&mut self, name: &str, template: &str) -> Result<()> {
        let manifest = self.session.manifest(name, template).await?;
        self.environment.claim(&manifest, &self.place.home).await?;
        self.namespaces.extend(manifest.namespaces().into_iter().map(ToOwned::to_owned));
        self.state = self.session.deploy_manifest(manifest, &self.namespaces).await?;
        Ok(())
    }

    /// The state that expectations are derived from: as it was when the cluster entered its stage, something was
    /// [deployed](Self::deploy), or it was [looked at](Self::look) again.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Takes the state anew, after the caller has changed something, and seen the change arrive.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn look(&mut self) -> Result<&State> {
        let namespaces: Vec<&str> = self.namespaces.iter().map(String::as_str).collect();
        self.state = self.session.snapshot_with(&namespaces).await?;
        Ok(&self.state)
    }

    /// The stage that the cluster is in.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Brings the cluster into another stage, and opens a new session there.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`](crate::ErrorKind::Missing) if this cluster cannot be in it; those of [`Environment::enter`].
    pub async fn enter(&mut self, stage: Stage) -> Result<()> {
        self.environment.check_stage(stage)?;
        self.environment.enter(stage, &self.place.progress).await?;
        self.stage = stage;
        let handover = self.environment.handover(&self.place.run, &self.suite, stage, &self.agent);
        self.session = blocking(move || Session::open(handover)).await?;
        self.look().await?;
        Ok(())
    }

    /// The session in this stage: all that a test of a suite has in its hands. It derives expectations from the state as it was
    /// when the stage was entered.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Writes down where the session is, so that other processes find it by [`Session::current`] as long as this cluster is held:
    /// with the path in the variable [`SESSION_VARIABLE`](super::handover::SESSION_VARIABLE). A test that belongs into another
    /// stage than the cluster is in then fails.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if it cannot be written.
    pub fn hand_over(&self) -> Result<PathBuf> {
        Handover { holder: Some(Holder::here()), ..self.session.handover().clone() }.write()
    }

    /// Notes what the environment has seen, and leaves the Services as they are kept.
    async fn leave(mut self, course: &mut Course) -> Result<()> {
        let reset = self.environment.reset_policies(&self.place.progress).await;
        course.end(&self.place.progress, self.environment.retries(), self.environment.edits())?;
        reset
    }
}

/// A way that is asked for: one of the tutorial's by its id, or one of the caller's own.
#[derive(Debug, Clone)]
pub enum Asked<'a> {
    /// The id of an access method of the tutorial's Services.
    Known(&'a str),
    /// The way itself.
    Own(Method),
}

impl<'a> From<&'a str> for Asked<'a> {
    fn from(id: &'a str) -> Self {
        Self::Known(id)
    }
}

impl From<Method> for Asked<'_> {
    fn from(method: Method) -> Self {
        Self::Own(method)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("session", &self.session).field("stage", &self.stage).finish_non_exhaustive()
    }
}
