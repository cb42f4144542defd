//! What names resolve to while things change: one change at a time, each taken back.

use std::time::{Duration, Instant};

use reachmap::{Result, session::Session, wire::Resolve};

use super::tutorial::dns_server;

mod coredns;
mod endpoints;
mod external_name;
mod witness;

/// The tests of this stage share the cluster, and each changes it.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A change of a Service is in every replica of CoreDNS well within this: its TTL is 30 seconds, and it watches.
const CONVERGENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is `wanted`; returns how long that took, or fails with the last answer.
async fn until_answered(session: &Session, name: &str, wanted: impl Fn(&Resolve) -> bool) -> Result<Duration> {
    let (server, started) = (dns_server()?, Instant::now());
    let mut pauses = tokio::time::interval(Duration::from_millis(50));
    loop {
        pauses.tick().await;
        let seen = session.ask(server, name.to_owned()).await?;
        if wanted(&seen) {
            return Ok(started.elapsed());
        }
        assert!(started.elapsed() < CONVERGENCE, "{name} is still answered with {seen:#?}");
    }
}
