//! A load that an agent is carrying out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::{sync::mpsc, time::timeout};

use super::agent::{ANSWER_LIMIT, Agent};
use crate::{
    Error, ErrorKind, Result,
    load::{LoadResult, Part, Results},
    wire::{Load, Loaded, Outcome},
};

/// How long agents have to hear of a common start.
const TOGETHER: Duration = Duration::from_millis(500);

/// A load under way: its results come while it goes on. Dropped, it is stopped.
#[derive(Debug)]
pub struct LoadUnderWay {
    agent: Agent,
    id: u64,
    load: Load,
    replies: mpsc::UnboundedReceiver<Outcome>,
    limit: Duration,
    /// How many requests, connections and parts have been returned.
    told: [u64; 3],
    loaded: Option<Loaded>,
}

impl LoadUnderWay {
    pub(super) fn new(agent: Agent, id: u64, load: Load, replies: mpsc::UnboundedReceiver<Outcome>) -> Self {
        let limit = silence(&load);
        Self { agent, id, load, replies, limit, told: [0; 3], loaded: None }
    }

    /// What has been asked for.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// The next results; none once there are no more.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the agent refuses the load, [`ErrorKind::Environment`] if it is lost,
    /// [`ErrorKind::Deadline`] if nothing comes for longer than any of its requests may take.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        if self.loaded.is_some() {
            return Ok(None);
        }
        let what = || format!("load {}", self.load.destination);
        match timeout(self.limit, self.replies.recv()).await {
            Ok(Some(Outcome::LoadPart(part))) => {
                let (requests, connections) = part.unpack().map_err(|why| self.nonsense(why))?;
                let told = [requests.len() as u64, connections.len() as u64, 1];
                self.told.iter_mut().zip(told).for_each(|(all, one)| *all += one);
                Ok(Some(Part { requests, connections }))
            }
            Ok(Some(Outcome::Loaded(loaded))) => {
                let said = [loaded.requests, loaded.connections, loaded.parts];
                if said != self.told {
                    let why = format!("it tells of {said:?} requests, connections and parts, and {:?} came", self.told);
                    return Err(self.nonsense(why));
                }
                self.loaded = Some(*loaded);
                Ok(None)
            }
            Ok(Some(other)) => Err(self.agent.unexpected(&what(), &other)),
            Ok(None) => Err(self.agent.lost(&what(), None)),
            Err(_) => {
                let tried = format!("have the agent in {} {}", self.agent.label(), what());
                Err(Error::new(ErrorKind::Deadline, tried, format!("nothing more was heard for {:?}", self.limit)))
            }
        }
    }

    fn nonsense(&self, why: String) -> Error {
        Error::new(ErrorKind::Internal, format!("read what the agent in {} says", self.agent.label()), why)
    }

    /// Lets it start no further request; what is under way is still reported.
    pub fn stop(&self) {
        self.agent.stop_load(self.id);
    }

    /// Waits for its end, and returns all of it; what [`LoadUnderWay::next`] has returned before is not in it.
    ///
    /// # Errors
    /// As [`LoadUnderWay::next`]; [`ErrorKind::Internal`] if the results are not those of the load.
    pub async fn finish(mut self) -> Result<LoadResult> {
        let mut parts = Vec::new();
        while let Some(part) = self.next().await? {
            parts.push(part);
        }
        // Set by the last of them.
        let loaded = self.loaded.clone().ok_or_else(|| self.agent.lost("load", None))?;
        LoadResult::new(self.agent.label(), self.load.clone(), parts, loaded)
    }
}

impl Drop for LoadUnderWay {
    fn drop(&mut self) {
        if self.loaded.is_none() {
            self.agent.stop_load(self.id);
        }
        self.agent.forget(self.id);
    }
}

/// Carries loads out together: each agent waits for the same moment, and then starts.
///
/// # Errors
/// As [`LoadUnderWay::next`]; the others are then stopped.
pub async fn load_together(loads: Vec<(Agent, Load)>) -> Result<Results> {
    let at = since_1970() + TOGETHER;
    let under_way = loads.into_iter().map(|(agent, load)| {
        let start_at_unix_us = Some(u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        agent.start_load(Load { start_at_unix_us, ..load })
    });
    let under_way: Vec<LoadUnderWay> = under_way.collect::<Result<_>>()?;
    let results = futures::future::try_join_all(under_way.into_iter().map(LoadUnderWay::finish)).await?;
    Ok(Results::merge(results))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long it may be silent: until the start, and then as long as a request takes, and as the time table waits.
fn silence(load: &Load) -> Duration {
    let until_start =
        load.start_at_unix_us.map_or(Duration::ZERO, |at| Duration::from_micros(at).saturating_sub(since_1970()));
    let between = load.rate_per_second.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
    [until_start, Duration::from_millis(load.timeout_ms), between.unwrap_or_default(), ANSWER_LIMIT]
        .into_iter()
        .fold(Duration::ZERO, Duration::saturating_add)
}
