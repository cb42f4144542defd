//! What names resolve to while things change: one change at a time, each taken back.

use std::time::{Duration, Instant};

use reachmap::{Result, session::Session, wire::Resolve};

mod coredns;
mod endpoints;
mod external_name;
mod witness;

/// The tests of this stage share the cluster, and each changes it.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A change of a Service is in every answer within this: a replica of CoreDNS keeps what it has answered for 30 seconds at most,
/// that a name does not exist included, and then goes by what it has watched.
const CONVERGENCE: Duration = Duration::from_secs(35);

/// Asks until the answer is `wanted`, from every replica of CoreDNS: by their Service, any of them may answer. Returns how long
/// that took, or fails with the last answer.
async fn until_answered(session: &Session, name: &str, wanted: impl Fn(&Resolve) -> bool) -> Result<Duration> {
    let started = Instant::now();
    for server in session.snapshot().await?.dns_addresses() {
        let mut pauses = tokio::time::interval(Duration::from_millis(50));
        loop {
            pauses.tick().await;
            let seen = session.ask((server, 53).into(), name.to_owned()).await?;
            if wanted(&seen) {
                break;
            }
            assert!(started.elapsed() < CONVERGENCE, "{name} is still answered by {server} with {seen:#?}");
        }
    }
    Ok(started.elapsed())
}
