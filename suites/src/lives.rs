//! The lives of pods while a test changes something: when each was seen to be ready, to be ending, and to be gone.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reachmap::{
    Context as _, ErrorKind, Result,
    k8s_openapi::api::core::v1::Pod,
    kube::{Api, api::ListParams},
    kubernetes::conditions,
    load::timeline::Mark,
};

/// How often the pods are looked at: what is said of their lives is that exact.
const LOOK: Duration = Duration::from_millis(100);

/// When it was seen of a pod that it was ready, that it was ending, and that it was gone, in microseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub struct Life {
    /// That it was ready.
    pub ready: Option<u64>,
    /// That it was ending.
    pub ending: Option<u64>,
    /// That it was gone.
    pub gone: Option<u64>,
}

/// The lives of the pods that match a selector, from the first look on.
pub struct Lives {
    /// Each pod's, by its name.
    pub of_each: BTreeMap<String, Life>,
    pods: Api<Pod>,
    selector: ListParams,
    first_look_us: u64,
}

impl fmt::Debug for Lives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of_each.fmt(f)
    }
}

impl Lives {
    /// Looks for the first time.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if the API server does not answer.
    pub async fn begin(pods: Api<Pod>, labels: &str) -> Result<Self> {
        let selector = ListParams::default().labels(labels);
        let mut lives = Self { of_each: BTreeMap::new(), pods, selector, first_look_us: 0 };
        lives.look().await?;
        lives.first_look_us = now_us();
        Ok(lives)
    }

    /// Looks again and again until it is `over`.
    ///
    /// # Errors
    /// As [`Lives::begin`].
    pub async fn watch(&mut self, over: &AtomicBool) -> Result<()> {
        let mut looks = tokio::time::interval(LOOK);
        while !over.load(Ordering::Relaxed) {
            looks.tick().await;
            self.look().await?;
        }
        Ok(())
    }

    /// Those that were ready at the end, and not ending.
    pub fn still_there(&self) -> impl Iterator<Item = &str> {
        let there = |life: &Life| life.ready.is_some() && life.ending.is_none() && life.gone.is_none();
        self.of_each.iter().filter(move |(_, life)| there(life)).map(|(pod, _)| pod.as_str())
    }

    /// Those that were not there when the load began.
    pub fn came_later(&self) -> impl Iterator<Item = &str> {
        let later = |life: &Life| life.ready.is_none_or(|ready| ready > self.first_look_us);
        self.of_each.iter().filter(move |(_, life)| later(life)).map(|(pod, _)| pod.as_str())
    }

    /// When pods came or began to end after the first look, in no order.
    pub fn came_or_went_us(&self) -> impl Iterator<Item = u64> {
        let moments = self.of_each.values().flat_map(|life| [life.ready, life.ending]).flatten();
        moments.filter(|at| *at > self.first_look_us)
    }

    /// When the first of them began to end.
    pub fn first_ending_us(&self) -> Option<u64> {
        self.of_each.values().filter_map(|life| life.ending).min()
    }

    /// What was seen after the first look, as marks of a time line.
    pub fn marks(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (pod, life) in &self.of_each {
            let at = [(life.ready, "is ready"), (life.ending, "is ending"), (life.gone, "is gone")];
            marks.extend(at.into_iter().filter_map(|(at_us, what)| {
                Some(Mark { at_us: at_us.filter(|at| *at > self.first_look_us)?, what: format!("{pod} {what}") })
            }));
        }
        marks
    }

    async fn look(&mut self) -> Result<()> {
        let pods = self.pods.list(&self.selector).await.tried(ErrorKind::Environment, || "look at the pods")?.items;
        let now = now_us();
        for pod in &pods {
            let Some(name) = pod.metadata.name.clone() else { continue };
            let life = self.of_each.entry(name).or_default();
            if conditions::is_ready(pod) {
                life.ready.get_or_insert(now);
            }
            if pod.metadata.deletion_timestamp.is_some() {
                life.ending.get_or_insert(now);
            }
        }
        for (name, life) in &mut self.of_each {
            if !pods.iter().any(|pod| pod.metadata.name.as_ref() == Some(name)) {
                life.gone.get_or_insert(now);
            }
        }
        Ok(())
    }
}

/// Now, in microseconds since 1970.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
