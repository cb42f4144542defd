//! What a run collects for its bundle while it goes on: see [`crate::bundle`].

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    bundle::{self, Contents, Keep, MOST_COLLECTIONS, Scrubber},
    environment::Environment,
    progress::Progress,
    report::Run,
};

/// Collects what the cluster says, and keeps it at the end. It never fails a run.
#[derive(Debug)]
pub(super) struct Collector {
    keep: Keep,
    contents: Contents,
    scrubber: Scrubber,
    times: usize,
}

impl Collector {
    pub(super) fn new(keep: Keep) -> Self {
        let scrubber = Scrubber::default().with_environment();
        Self { keep, contents: Contents::default(), scrubber, times: 0 }
    }

    /// Whether it is to be collected after a suite in a stage, in which something failed or nothing did.
    pub(super) fn wants(&self, something_failed: bool) -> bool {
        self.keep.collects(something_failed)
    }

    /// Collects what the cluster of `environment` says now, unless that was done often enough.
    pub(super) async fn collect(&mut self, environment: &Environment, suite: &str, stage: &str, progress: &Progress) {
        if self.keep == Keep::Never {
            return;
        }
        self.times += 1;
        if self.times > MOST_COLLECTIONS {
            let why = format!("this was collected {MOST_COLLECTIONS} times already");
            self.contents.miss(format!("facts/{suite}.{stage}"), why);
            return;
        }
        let step =
            progress.step(format!("Collect what the cluster says: {suite}, {stage}"), Some(Duration::from_secs(10)));
        self.scrubber = std::mem::take(&mut self.scrubber).with_kubeconfig(environment.kubeconfig());
        self.contents.extend(bundle::collect(&environment.ground(), suite, stage).await);
        step.done();
    }

    /// Writes the bundle of a run that is over into its `directory`, if it is worth keeping, and returns its path.
    pub(super) fn keep(self, run: &Run, directory: &Path, progress: &Progress) -> Option<PathBuf> {
        if !bundle::worth_keeping(run, self.keep) {
            return None;
        }
        let mut contents = bundle::of_run(run, directory);
        contents.extend(self.contents);
        match bundle::write(&run.id, contents, &self.scrubber, directory) {
            Ok(path) => Some(path),
            Err(error) => {
                progress.line(&format!("No bundle is kept: {error}"));
                None
            }
        }
    }
}
