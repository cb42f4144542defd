//! What a cluster is to be, the making of it, and its end.

use std::{
    any::Any,
    fmt,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
};

use futures::FutureExt as _;

use super::Cluster;
use crate::{
    Error, Result,
    environment::{self, Environment, gc::Collected},
    matrix::Stage,
    plan::{EnvironmentOptions, course::CourseOptions},
    probe::AgentBinary,
    report::{self, Paths, Run},
    session::{
        Session,
        course::Course,
        interrupt::{interruptible, said_by},
        run::{blocking, describe},
        suite::Ended,
        workplace::Workplace,
    },
};

/// What a [`Cluster`] is to be, before anything is made.
#[derive(Debug)]
#[must_use = "nothing is made until it is run or started"]
pub struct ClusterBuilder {
    plan: Result<Plan>,
}

/// A cluster that stays until it is [ended](Started::end): see [`ClusterBuilder::start`].
#[must_use = "what was made stays until it is ended"]
pub struct Started {
    cluster: Cluster,
    work: Work,
}

/// What came of a cluster that was asked: the record of the run, and where its reports are.
///
/// It displays as the terminal's report.
#[derive(Debug, Clone)]
pub struct Report {
    /// The whole of the run.
    pub run: Run,
    /// Its files.
    pub paths: Paths,
}

#[derive(Debug)]
struct Plan {
    options: EnvironmentOptions,
    fresh: bool,
    keep: bool,
    stage: Option<Stage>,
    suite: String,
    reports: Option<PathBuf>,
}

/// What is there before the cluster, and after it.
struct Work {
    place: Workplace,
    course: Course,
    suite: String,
}

impl ClusterBuilder {
    pub(super) fn of(options: Result<EnvironmentOptions>) -> Self {
        let plan =
            |options| Plan { options, fresh: false, keep: false, stage: None, suite: "own".to_owned(), reports: None };
        Self { plan: options.map(plan) }
    }

    /// Changes what decides the environment: Kubernetes version, workers, name, engine, what is allowed.
    ///
    /// ```no_run
    /// # use reachmap::Cluster;
    /// let small = Cluster::kind().options(|options| options.workers = 1);
    /// ```
    pub fn options(self, change: impl FnOnce(&mut EnvironmentOptions)) -> Self {
        self.planned(|plan| change(&mut plan.options))
    }

    /// Keeps the cluster, or what was made on one that is not ours, for later runs.
    pub fn keep(self) -> Self {
        self.planned(|plan| plan.keep = true)
    }

    /// Makes a new cluster even if a kept one would do.
    pub fn fresh(self) -> Self {
        self.planned(|plan| plan.fresh = true)
    }

    /// The stage to bring the cluster into: the load balancer ready, unless said, and pending where it is not ours.
    pub fn stage(self, stage: Stage) -> Self {
        self.planned(|plan| plan.stage = Some(stage))
    }

    /// What verdicts are of, in the reports: `own`, unless said.
    pub fn suite(self, name: impl Into<String>) -> Self {
        self.planned(|plan| plan.suite = name.into())
    }

    /// Where reports go: a directory for each run in there. Below cargo's target directory, unless said.
    pub fn reports(self, directory: impl Into<PathBuf>) -> Self {
        self.planned(|plan| plan.reports = Some(directory.into()))
    }

    fn planned(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        if let Ok(plan) = &mut self.plan {
            change(plan);
        }
        self
    }

    /// Makes the cluster, gives it to `work`, and whatever becomes of that writes the reports and gives everything back: also if
    /// `work` fails or panics, as a test does, and on Ctrl-C and SIGTERM. A panic goes on afterwards.
    ///
    /// # Errors
    /// If the environment cannot be made; those of `work`; [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted). A verdict
    /// that is not as expected is no error: it is in the [report](Report), and decides the [exit code](Report::exit_code).
    pub async fn run(self, work: impl AsyncFnOnce(&mut Cluster) -> Result<()>) -> Result<Report> {
        let (plan, mut around) = self.open().await?;
        let made = interruptible(Box::pin(async {
            let mut cluster = plan.make(&mut around).await?;
            let ended = AssertUnwindSafe(work(&mut cluster)).catch_unwind().await;
            Ok((cluster, ended))
        }));
        let (cluster, failed, panic) = match made.await {
            Ok((cluster, Ok(ended))) => (Some(cluster), ended.err(), None),
            Ok((cluster, Err(panic))) => (Some(cluster), None, Some(panic)),
            Err(error) => (None, Some(error), None),
        };
        let report = Box::pin(around.close(cluster, failed.as_ref(), panic.as_deref())).await;
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        failed.map_or(report, Err)
    }

    /// The same without a closure: for what outlives a function, such as a fixture.
    ///
    /// The caller has to [end](Started::end) it. What is not ended, because a `?` or a panic came first, is written down: the
    /// next run, or `cargo xtask gc`, removes it and puts back what was changed. Dropping it does neither, because both must
    /// wait for a cluster, and nothing can be waited for while something is dropped.
    ///
    /// # Errors
    /// If the environment cannot be made; what was made of it is removed then.
    pub async fn start(self) -> Result<Started> {
        let (plan, mut work) = self.open().await?;
        match Box::pin(plan.make(&mut work)).await {
            Ok(cluster) => Ok(Started { cluster, work }),
            Err(error) => {
                // What cannot be removed is said, and does not hide why.
                let _said = Box::pin(work.close(None, Some(&error), None)).await;
                Err(error)
            }
        }
    }

    async fn open(self) -> Result<(Plan, Work)> {
        let plan = self.plan?;
        let place = Workplace::open(&plan.options, plan.reports.as_deref()).await?;
        let course = Course::new(CourseOptions::default(), &[], &place.run, &[]);
        let suite = plan.suite.clone();
        Ok((plan, Work { place, course, suite }))
    }
}

impl Plan {
    async fn make(&self, work: &mut Work) -> Result<Cluster> {
        let Workplace { home, run, progress } = work.place.clone();
        let agent = {
            let (home, progress) = (home.clone(), progress.clone());
            blocking(move || AgentBinary::find_or_build(&home, &progress))
        };
        let up = Environment::up(&self.options, self.fresh, self.keep, &home, &run.id, &progress);
        let (agent, mut environment) = futures::future::try_join(agent, up).await?;
        describe(&mut work.course.record.environment, environment.description());
        let stage = self.stage.unwrap_or_else(|| environment.usual_stage());
        environment.check_stage(stage)?;
        environment.stand_everywhere(&agent).await?;
        work.course.begin(&progress, 0, 0);
        environment.enter(stage, &progress).await?;
        let handover = environment.handover(&run, &self.suite, stage, &agent);
        let session = blocking(move || Session::open(handover)).await?;
        let state = session.state().clone();
        let (suite, place) = (self.suite.clone(), work.place.clone());
        Ok(Cluster { session, state, namespaces: Vec::new(), stage, suite, environment, agent, place })
    }
}

impl Work {
    /// Gives back what was made, and writes the reports.
    async fn close(
        mut self,
        cluster: Option<Cluster>,
        failed: Option<&Error>,
        panic: Option<&(dyn Any + Send)>,
    ) -> Result<Report> {
        let stage = cluster.as_ref().map(|cluster| cluster.stage.id());
        let left = match cluster {
            Some(cluster) => cluster.leave(&mut self.course).await,
            None => Ok(()),
        };
        if let (Some(panic), Some(stage)) = (panic, stage) {
            let test = std::thread::current().name().unwrap_or("main").to_owned();
            let ended = Ended { failed: vec![(test, said_by(panic))], ..Ended::default() };
            self.course.note(&self.suite, stage, ended);
        }
        let Workplace { home, run, progress } = &self.place;
        let released = environment::release(home, false, progress).await;
        for line in released.iter().flat_map(Collected::lines) {
            progress.line(line);
        }
        let released = released.and_then(|collected| collected.of_run(home, &run.id));
        let given_back = left.and(released);
        let (record, _) = self.course.finish(progress, failed.or_else(|| given_back.as_ref().err()))?;
        let paths = report::write(&record, &run.path)?;
        given_back?;
        Ok(Report { run: record, paths })
    }
}

impl Started {
    /// Writes the reports, and gives everything back.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`](crate::ErrorKind::Environment) with what could not be removed or put back.
    pub async fn end(self) -> Result<Report> {
        Box::pin(self.work.close(Some(self.cluster), None, None)).await
    }
}

impl Deref for Started {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Report {
    /// The exit code of a program that was about this: 0 if everything is as expected, 1 if something is not, 3 if nothing could
    /// be shown.
    pub fn exit_code(&self) -> u8 {
        self.run.exit_code()
    }

    /// The directory with all of the run's files.
    pub fn directory(&self) -> &Path {
        &self.paths.dir
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nReports: {}", report::terminal(&self.run), self.directory().display())
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn wrong_variables_are_told_before_anything_is_made() {
        let wrong = || ClusterBuilder::of(Err(Error::new(ErrorKind::Usage, "read variables", "they are wrong")));
        let error = wrong().keep().stage(Stage::Changing).run(async |_| panic!("there is no cluster")).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(wrong().start().await.unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn what_is_said_of_a_cluster_is_what_is_planned() {
        let options = EnvironmentOptions { workers: 2, ..EnvironmentOptions::default() };
        let builder =
            Cluster::of(options).options(|options| options.name = Some("mine".to_owned())).suite("shop").keep();
        let plan = builder.plan.unwrap();
        assert_eq!((plan.options.workers, plan.options.name.as_deref()), (2, Some("mine")));
        assert_eq!((plan.suite.as_str(), plan.keep, plan.fresh, plan.stage), ("shop", true, false, None));
    }
}
