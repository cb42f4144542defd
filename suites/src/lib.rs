//! The conformance suites of Reachmap. Nothing here that another repository could not write.
//!
//! The suites are the test targets of this package: `access` (every way to a Service, from every
//! vantage, with its reason), `policies` (the same under each traffic policy), `dns` (every resolver's
//! walk under each Corefile), `distribution` (who answers how often, seen from both ends) and `sabotage`
//! (each fault reddens what it breaks, and nothing else).
//! `cargo xtask e2e` starts them with a session; without one they fail.

pub mod changes;
pub mod link;
pub mod live;
pub mod lives;
pub mod moving;
pub mod prelude;
pub mod steady;
pub mod watched;
pub mod web;

use std::time::Duration;

use reachmap::{Result, command::Output, session::Session, state::Cni, verdict::Verdict};

/// How long a command in a pod may take: a resolver that is not answered gives up within half a minute.
const EXEC: Duration = Duration::from_secs(60);

/// Probes one cell of the matrix in the session that this process was started with.
///
/// # Errors
/// If there is no session, or the probe could not be carried out.
pub async fn check(from: &str, by: &str) -> Result<Verdict> {
    Session::current()?.check(from, by).await
}

/// Carries a test out on the runtime of the session that this process was started with. A test that speaks to the API server
/// itself is better off there: the connections that it opens are kept for the tests after it, and those that it takes over are
/// of no test that has just ended.
///
/// # Errors
/// If there is no session; else those of the test.
pub fn on_the_sessions_runtime(test: impl Future<Output = Result<()>>) -> Result<()> {
    Session::current()?.runtime().block_on(test)
}

/// Runs a program in the test pod of the Services' namespace, as a person would by `kubectl exec`.
///
/// # Errors
/// If there is no session, or the program cannot be started there. Its exit code is no error.
pub async fn in_testpod(argv: &[&str]) -> Result<Output> {
    Session::current()?.run_at("testpod", argv, EXEC).await
}

/// Whether the test pod's image lacks a program. The test that asks is *not supported here* then, and has to return.
///
/// # Errors
/// If there is no session, or the pod cannot be asked.
pub async fn lacks(program: &str) -> Result<bool> {
    let session = Session::current()?;
    if session.has_program("testpod", program).await? {
        return Ok(false);
    }
    session.not_supported(format!("the test pod's image has no {program}")).map(|()| true)
}

/// Whether there is a snapshot of this cell: they were accepted on the tutorial's cluster, IPv4 with Flannel's vxlan and
/// three workers or more, for the first three. Elsewhere other questions are asked and other addresses are seen; the verdicts,
/// which are derived from each cluster's own state, hold everywhere.
///
/// # Errors
/// If there is no session.
pub fn is_tutorials_cell(from: &str, by: &str) -> Result<bool> {
    let session = Session::current()?;
    let state = session.state();
    let ipv4 = state.service_networks.iter().all(|network| network.addr().is_ipv4());
    let is_beyond = |id: &str| (4..=8).any(|number| id.ends_with(&format!("worker-{number}")));
    let tutorials = ipv4 && state.cni == Cni::Flannel { backend: "vxlan".to_owned() } && session.workers() >= 3;
    Ok(tutorials && !is_beyond(from) && !is_beyond(by))
}

/// The session's verdict with every address and name replaced by its role, and everything that
/// differs from run to run left out.
///
/// # Errors
/// If there is no session.
pub fn redacted(verdict: &Verdict) -> Result<impl serde::Serialize> {
    let roles = Session::current()?.roles();
    Ok(verdict.observation.as_ref().map(|observation| roles.redact(observation)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reachmap::matrix::Matrix;

    /// The ids that a list of constants' names in the source stands for.
    fn ids(list: &str) -> Vec<String> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| name.to_lowercase().replace('_', "-")).collect()
    }

    /// What stands between the first `start` in `text` and the first `end` after it.
    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        text.split_once(start).unwrap().1.split_once(end).unwrap().0
    }

    #[test]
    fn the_suite_access_has_a_test_for_every_cell_of_the_matrix() {
        let source = include_str!("../tests/access.rs");
        let mut tests = BTreeSet::new();
        let vantages = ids(between(include_str!("prelude.rs"), "#[values(", ")]"));
        for stage in ["load-balancer-pending", "load-balancer-ready"] {
            let module = between(source, &format!("mod {} {{", stage.replace('-', "_")), "\n}");
            let methods = ids(between(module, "check, by:", "}"));
            for vantage in &vantages {
                tests.extend(methods.iter().map(|method| format!("{stage}/{vantage}/{method}")));
            }
        }
        let cells: BTreeSet<String> = Matrix::tutorial(8).iter().map(reachmap::matrix::Cell::id).collect();
        assert_eq!(tests, cells);
    }
}
