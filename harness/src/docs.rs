//! The pages of the book that are made from the code, so that they cannot say anything else.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    Result,
    environment::panel::PanelConfiguration,
    environment::{policies::Distribution, zones},
    matrix::{Cell, Matrix, Stage},
    model::{Expectation, Vantage, dns::Resolver, expect},
    plan::MOST_WORKERS,
    state::{SessionAffinity, State},
};

/// With how many workers the page's cluster is: as many as a run has unless it is said.
const WORKERS: u8 = 3;

/// The first lines of every such page.
const HEAD: &str = "<!-- Written by `cargo xtask docs matrix`: change the code, not this page. -->\n";

/// The page of the matrix: what is asked from where in which stage, and what the model derives for a cluster such as the
/// tutorial's.
///
/// # Errors
/// Those of [`expect`](crate::model::expect()), which the tests rule out.
pub fn matrix() -> Result<String> {
    let mut page = format!("{HEAD}# The matrix\n\n");
    let (tutorial, policies, lookups) = (Matrix::tutorial(WORKERS), Matrix::policies(WORKERS), Matrix::lookups());
    let total = tutorial.len() + policies.len() + lookups.len();
    let _ = writeln!(
        page,
        "A run on a cluster of one control plane and {WORKERS} workers has {total} cells: {} of the suite `access`, {} of the suite \
         `policies`, and {} of the suite `dns`, each of which is many lookups. `cargo xtask e2e --list` prints them. With more \
         workers (at most {MOST_WORKERS}) there are more.\n",
        tutorial.len(),
        policies.len(),
        lookups.len()
    );
    page.push_str(
        "What is below is derived, not measured: the model's answer for a cluster such as the tutorial's, with Flannel and kube-proxy \
         in the mode `iptables`. A run derives it anew from the state of the cluster that is there, and holds it against what it \
         sees.\n\n`✓` reached, `–` not reached; the number is that of the reason below.\n",
    );
    let mut reasons = Reasons::default();
    for (stages, cells) in [(&Stage::OF_TUTORIAL[..], &tutorial), (&Stage::OF_POLICIES[..], &policies)] {
        for stage in stages {
            let cells: Vec<&Cell> = cells.iter().filter(|cell| cell.stage == *stage).collect();
            grid(&mut page, *stage, &cells, &mut reasons)?;
        }
    }
    reasons.list(&mut page);
    lookup_cells(&mut page);
    Ok(page)
}

/// Why cells are reached or not, numbered in the order in which they come up.
#[derive(Default)]
struct Reasons {
    /// Number and example, by kind.
    known: BTreeMap<&'static str, (usize, String)>,
}

impl Reasons {
    fn number(&mut self, expectation: &Expectation) -> usize {
        let next = self.known.len() + 1;
        self.known.entry(expectation.reason.kind()).or_insert_with(|| (next, expectation.why())).0
    }

    fn list(&self, page: &mut String) {
        page.push_str("\n## The reasons\n\nEach as the report words it, for the first cell that has it.\n\n");
        let mut all: Vec<_> = self.known.iter().collect();
        all.sort_by_key(|(_, (number, _))| *number);
        for (kind, (number, why)) in all {
            let _ = writeln!(page, "{number}. `{kind}`: {}", why.replace('|', "\\|").replace('\n', " "));
        }
    }
}

/// The state of the example cluster in a stage.
fn state(stage: Stage) -> State {
    let mut state = if stage == Stage::LoadBalancerPending { State::example_pending() } else { State::example() };
    let policies = stage.policies();
    for service in &mut state.services {
        service.external_traffic_policy = policies.external;
        service.internal_traffic_policy = policies.internal;
        if let Some(seconds) = policies.affinity_seconds {
            service.session_affinity = SessionAffinity::ClientIp { timeout_seconds: seconds.into() };
        }
    }
    match policies.distribution {
        None => {}
        // The EndpointSlice controller's hints: each endpoint for its own node (KEP-3015), or for its zone (KEP-4444).
        Some(Distribution::SameNode) => {
            for endpoint in &mut state.endpoints {
                endpoint.for_nodes = endpoint.node.iter().cloned().collect();
            }
        }
        Some(Distribution::Close) => {
            let zones = zones::of(&state.nodes);
            let zone = |node: &str| zones.get(node).map(|zone| (*zone).to_owned());
            for node in &mut state.nodes {
                node.zone = zone(&node.name);
            }
            for endpoint in &mut state.endpoints {
                endpoint.for_zones = endpoint.node.as_deref().and_then(zone).into_iter().collect();
            }
        }
    }
    state
}

/// A table of one stage: access methods down, vantages across.
fn grid(page: &mut String, stage: Stage, cells: &[&Cell], reasons: &mut Reasons) -> Result<()> {
    let state = state(stage);
    let vantages = Matrix::vantages(WORKERS);
    let _ = write!(page, "\n## {stage}\n\n| |");
    for vantage in &vantages {
        let _ = write!(page, " {vantage} |");
    }
    let _ = write!(page, "\n|---|{}\n", ":-:|".repeat(vantages.len()));
    let mut methods: Vec<&str> = Vec::new();
    for cell in cells {
        if !methods.contains(&cell.method.as_str()) {
            methods.push(&cell.method);
        }
    }
    for method in methods {
        let _ = write!(page, "| `{method}` |");
        for vantage in &vantages {
            let Some(cell) = cells.iter().find(|cell| cell.method == method && cell.vantage == *vantage) else {
                page.push_str(" |");
                continue;
            };
            let expectation = expect(&state, &Vantage::find(&state, vantage)?, &cell.method_with(WORKERS)?)?;
            let symbol = if expectation.reachable { '✓' } else { '–' };
            let _ = write!(page, " {symbol} {} |", reasons.number(&expectation));
        }
        page.push('\n');
    }
    Ok(())
}

/// What is looked up by whom, from where: there is no single answer in these cells.
fn lookup_cells(page: &mut String) {
    let resolvers: Vec<String> = Resolver::ALL.iter().map(|resolver| format!("`{}`", resolver.id())).collect();
    let configurations: Vec<String> =
        PanelConfiguration::all().iter().map(|configuration| format!("`{}`", configuration.id)).collect();
    let stages: Vec<String> = Stage::OF_COREFILES.iter().map(|stage| format!("`{stage}`")).collect();
    let _ = write!(
        page,
        "\n## The cells of lookups\n\nEvery resolver in every configuration under every Corefile; see [DNS](dns.md).\n\n\
         - {} resolvers: {}\n- {} configurations: {}\n- {} Corefiles: {}\n",
        resolvers.len(),
        resolvers.join(", "),
        configurations.len(),
        configurations.join(", "),
        stages.len(),
        stages.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_on_the_page_and_every_reason_has_a_number() {
        let page = matrix().unwrap();
        let marks = page.matches(" ✓ ").count() + page.matches(" – ").count();
        // The legend has one of each, in backquotes.
        assert_eq!(marks, Matrix::tutorial(WORKERS).len() + Matrix::policies(WORKERS).len());
        for number in 1..=9 {
            assert!(page.contains(&format!("\n{number}. `")), "{number}");
        }
    }

    #[test]
    fn a_policy_changes_what_is_derived() {
        let page = matrix().unwrap();
        let rows = |stage: &str| {
            let part = page.split(&format!("\n## {stage}\n")).nth(1).unwrap();
            part.split("\n## ").next().unwrap().to_owned()
        };
        assert_ne!(rows("policy-internal-local"), rows("policy-affinity"));
    }
}
