//! Agents at their vantages, and what they observe.
//!
//! An [`Agent`] is a small static program that runs where requests start. It is uploaded and started
//! once per vantage over the exec channel of Kubernetes or of the engine, and then answers thousands of
//! probes a second over its standard input and output ([`crate::wire`]): no exec per probe, no open port,
//! no privilege beyond the vantage's own.
//!
//! ```no_run
//! use reachmap::{home::Home, model::method::Target, probe, progress::Progress};
//! # async fn example(client: kube::Client, home: &Home, progress: &Progress) -> reachmap::Result<()> {
//! let binary = probe::AgentBinary::find_or_build(home, progress)?;
//! let agent = probe::Agent::in_pod(&client, "shop", "testpod", "main", &binary).await?;
//! let target = Target { host: "web".to_owned(), port: 80 };
//! let seen = probe::probe_target(&agent, &target, probe::Timeouts::default()).await?;
//! assert!(seen.is_reached(), "{seen:#?}");
//! # Ok(())
//! # }
//! ```

mod agent;
mod arp;
mod background;
pub mod bench;
mod binary;
mod datagrams;
pub mod exec;
pub(crate) mod install;
mod link;
mod load;
mod program;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use agent::Agent;
pub use arp::WatchingArp;
pub use binary::AgentBinary;
pub use datagrams::{Receiving, Sending};
pub use load::{LoadUnderWay, load_together};
pub use program::ProgramFile;

use crate::{Result, model::method::Target, wire};

/// How long a probe waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For one TCP connection attempt.
    ///
    /// Two seconds by default: Linux repeats a lost SYN after one second (RFC 6298 section 2), so one
    /// lost packet is survived, and a destination that drops everything is told soon.
    pub connect: Duration,
    /// For the whole probe, name resolution included.
    ///
    /// Six seconds by default: a resolver's first attempt (five seconds, `resolv.conf(5)`) fits in.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), total: Duration::from_secs(6) }
    }
}

/// Sends one `GET /` to `target` from the agent's vantage, with a request id of its own.
///
/// # Errors
/// Only if the agent is lost or refuses the request: a target that cannot be reached is an observation.
pub async fn probe_target(agent: &Agent, target: &Target, timeouts: Timeouts) -> Result<wire::Observation> {
    agent.probe(request(target, timeouts)).await
}

/// The request that [`probe_target`] sends, for callers that want to know its id.
///
/// The id is unique in every log of a run: a random word for the process, and a count.
pub fn request(target: &Target, timeouts: Timeouts) -> wire::Probe {
    static PROCESS: LazyLock<u64> = LazyLock::new(random);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    wire::Probe {
        host: target.host.clone(),
        port: target.port,
        path: "/".to_owned(),
        request_id: format!("{:016x}-{count}", *PROCESS),
        connect_timeout_ms: millis(timeouts.connect),
        timeout_ms: millis(timeouts.total),
        aside: false,
    }
}

/// A duration as the agent is told it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A number that no other process is likely to have: the seed of a fresh hasher.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
