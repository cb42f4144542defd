//! The comparison of Service types at the tutorial's end, as claims that the matrix checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    matrix::{Cell, Stage},
    state::ServiceType,
    verdict::Verdict,
};

/// A column of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// "Use Case".
    UseCase,
    /// "How It Works".
    HowItWorks,
    /// "When to Use".
    WhenToUse,
}

/// One field of the comparison, and what must be seen for it to be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Its name in reports: `nodeport/how-it-works`.
    pub id: String,
    /// The row.
    pub service_type: ServiceType,
    /// The column.
    pub column: Column,
    /// The tutorial's own words.
    pub text: String,
    /// What must be seen, all of it.
    pub evidence: Vec<Evidence>,
}

/// What a claim says of one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The cell.
    pub cell: Cell,
    /// Whether the Service must be reached there.
    pub reached: bool,
    /// The kind of reason that the model must have for it ([`Reason::kind`](crate::model::Reason::kind)), if the claim
    /// is about how it works.
    pub because: Option<String>,
}

/// A claim, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimVerdict {
    /// The claim.
    pub claim: Claim,
    /// Whether it holds.
    pub outcome: ClaimOutcome,
}

/// Whether a claim holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimOutcome {
    /// All of its evidence was seen.
    Holds,
    /// This was seen, and speaks against it.
    Fails {
        /// The cell's id, and what was seen there.
        because: String,
    },
    /// Nothing speaks against it, but this cell was not judged.
    NotShown {
        /// The cell's id.
        cell: String,
    },
}

/// The comparison's twelve fields.
///
/// Every claim is about the cluster with so many workers; with one worker, "every node" is two nodes.
#[expect(clippy::too_many_lines, reason = "it is a table")]
pub fn claims(workers: u8) -> Vec<Claim> {
    let pending = Stage::LoadBalancerPending;
    let ready = Stage::LoadBalancerReady;
    let seen = |stage: Stage, vantage: &str, method: &str, reached: bool, because: Option<&str>| Evidence {
        cell: Cell::new(stage, vantage, method),
        reached,
        because: because.map(ToOwned::to_owned),
    };
    let claim = |kind: &str, service_type: ServiceType, column: Column, text: &str, evidence: Vec<Evidence>| {
        let column_id = match column {
            Column::UseCase => "use-case",
            Column::HowItWorks => "how-it-works",
            Column::WhenToUse => "when-to-use",
        };
        Claim { id: format!("{kind}/{column_id}"), service_type, column, text: text.to_owned(), evidence }
    };
    let nodes: Vec<String> =
        (1..=workers).map(|number| format!("worker-{number}")).chain(["control-plane".to_owned()]).collect();
    vec![
        claim(
            "clusterip",
            ServiceType::ClusterIp,
            Column::UseCase,
            "Internal communication within the cluster",
            vec![
                seen(pending, "testpod", "clusterip-fqdn", true, None),
                seen(pending, "testpod-other", "clusterip-fqdn", true, None),
                seen(pending, "laptop", "clusterip-address", false, None),
            ],
        ),
        claim(
            "clusterip",
            ServiceType::ClusterIp,
            Column::HowItWorks,
            "Creates a stable internal IP that other pods can use",
            vec![
                seen(pending, "testpod", "clusterip-address", true, Some("cluster_ip")),
                seen(pending, "testpod-other", "clusterip-address", true, Some("cluster_ip")),
                seen(ready, "testpod", "clusterip-address", true, Some("cluster_ip")),
            ],
        ),
        claim(
            "clusterip",
            ServiceType::ClusterIp,
            Column::WhenToUse,
            "Use when exposing a service only to other pods (e.g., backend services, databases)",
            vec![
                seen(pending, "testpod", "clusterip-short", true, None),
                seen(pending, "laptop", "clusterip-fqdn", false, Some("name_unknown_outside")),
                seen(pending, "laptop", "clusterip-address", false, Some("no_route_to_services")),
            ],
        ),
        claim(
            "nodeport",
            ServiceType::NodePort,
            Column::UseCase,
            "Expose services externally via a node’s IP and a high-numbered port",
            vec![seen(pending, "laptop", "nodeport-worker-1", true, Some("node_port"))],
        ),
        claim(
            "nodeport",
            ServiceType::NodePort,
            Column::HowItWorks,
            "Maps a fixed port (30000-32767) on each node to the service",
            nodes
                .iter()
                .map(|node| seen(pending, "laptop", &format!("nodeport-{node}"), true, Some("node_port")))
                .collect(),
        ),
        claim(
            "nodeport",
            ServiceType::NodePort,
            Column::WhenToUse,
            "Use when external access is needed without a LoadBalancer, mainly for development & testing",
            vec![
                seen(pending, "laptop", "loadbalancer-address", false, None),
                seen(pending, "laptop", "nodeport-worker-1", true, None),
            ],
        ),
        claim(
            "loadbalancer",
            ServiceType::LoadBalancer,
            Column::UseCase,
            "Expose services externally with a dedicated external IP",
            vec![seen(ready, "laptop", "loadbalancer-address", true, Some("load_balancer_announced"))],
        ),
        claim(
            "loadbalancer",
            ServiceType::LoadBalancer,
            Column::HowItWorks,
            "Allocates an external IP via cloud provider or MetalLB",
            vec![
                seen(pending, "laptop", "loadbalancer-address", false, Some("no_load_balancer_address")),
                seen(ready, "laptop", "loadbalancer-address", true, Some("load_balancer_announced")),
            ],
        ),
        claim(
            "loadbalancer",
            ServiceType::LoadBalancer,
            Column::WhenToUse,
            "Use when running on a cloud provider or using MetalLB in bare-metal environments",
            vec![
                seen(ready, "laptop", "loadbalancer-address", true, None),
                seen(ready, "control-plane", "loadbalancer-address", true, None),
                seen(ready, "testpod", "loadbalancer-address", true, None),
            ],
        ),
        claim(
            "externalname",
            ServiceType::ExternalName,
            Column::UseCase,
            "Map a service name to an external DNS name",
            vec![seen(pending, "testpod", "externalname-fqdn", true, Some("external_name"))],
        ),
        claim(
            "externalname",
            ServiceType::ExternalName,
            Column::HowItWorks,
            "DNS lookup redirects traffic to an external domain",
            vec![
                seen(pending, "testpod", "externalname-short", true, Some("external_name")),
                seen(pending, "testpod", "external-domain-absolute", true, Some("hosts_entry")),
            ],
        ),
        claim(
            "externalname",
            ServiceType::ExternalName,
            Column::WhenToUse,
            "Use when integrating Kubernetes services with external systems (e.g., external databases or APIs)",
            vec![
                seen(pending, "testpod", "externalname-namespace", true, None),
                seen(pending, "laptop", "externalname-fqdn", false, Some("name_unknown_outside")),
            ],
        ),
    ]
}

/// Judges every claim by what was seen.
///
/// A cell that did not go as the model says counts against every claim that rests on it: what was seen there then
/// has another cause than the one that the claim needs.
pub fn judge_claims(workers: u8, verdicts: &[Verdict]) -> Vec<ClaimVerdict> {
    claims(workers).into_iter().map(|claim| ClaimVerdict { outcome: outcome(&claim, verdicts), claim }).collect()
}

fn outcome(claim: &Claim, verdicts: &[Verdict]) -> ClaimOutcome {
    let mut not_shown = None;
    for Evidence { cell, reached, because } in &claim.evidence {
        let id = cell.id();
        let fails = |what: &str| ClaimOutcome::Fails { because: format!("{id}: {what}") };
        let Some(verdict) = verdicts.iter().find(|verdict| verdict.cell() == id).filter(|verdict| verdict.is_judged())
        else {
            not_shown.get_or_insert(id);
            continue;
        };
        if verdict.is_not_as_expected() {
            return fails("not as expected");
        }
        match verdict.is_reached() {
            Some(true) if !reached => return fails("reached"),
            Some(false) if *reached => return fails("not reached"),
            _ => {}
        }
        let kind = verdict.expectation.as_ref().map(|expectation| expectation.reason.kind());
        if because.is_some() && because.as_deref() != kind {
            return fails(kind.unwrap_or("no reason"));
        }
    }
    not_shown.map_or(ClaimOutcome::Holds, |cell| ClaimOutcome::NotShown { cell })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{matrix::Matrix, testing::verdicts};

    #[test]
    fn every_claim_rests_on_cells_of_the_matrix_and_holds_in_the_example() {
        let cells = Matrix::tutorial(3);
        let judged = judge_claims(3, &verdicts());
        assert_eq!(judged.len(), 12);
        for ClaimVerdict { claim, outcome } in judged {
            assert!(!claim.evidence.is_empty());
            assert!(claim.evidence.iter().all(|evidence| cells.contains(&evidence.cell)), "{claim:?}");
            assert_eq!(outcome, ClaimOutcome::Holds, "{}", claim.id);
        }
    }

    #[test]
    fn claims_fall_with_the_cells_that_they_rest_on_and_no_others() {
        let mut verdicts = verdicts();
        let laptop = "load-balancer-ready/laptop/loadbalancer-address";
        let broken = verdicts.iter_mut().find(|verdict| verdict.cell() == laptop).unwrap();
        broken.observation.as_mut().unwrap().respond = None;
        let failed: Vec<String> = judge_claims(3, &verdicts)
            .into_iter()
            .filter(|verdict| matches!(verdict.outcome, ClaimOutcome::Fails { .. }))
            .map(|verdict| verdict.claim.id)
            .collect();
        assert_eq!(failed, ["loadbalancer/use-case", "loadbalancer/how-it-works", "loadbalancer/when-to-use"]);
    }

    #[test]
    fn a_claim_whose_cell_was_not_judged_is_not_shown() {
        let outcomes: Vec<ClaimOutcome> = judge_claims(3, &[]).into_iter().map(|verdict| verdict.outcome).collect();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, ClaimOutcome::NotShown { .. })));
    }
}
