//! The rows of the tutorial's comparison of access methods, in its own words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cell, Stage};
use crate::verdict::Verdict;

/// A row of the tutorial: what it says, and the cells that prove it or prove it wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TutorialRow {
    /// Where the request starts.
    pub source: String,
    /// Whether the tutorial says that the Service can be reached.
    pub can_access: bool,
    /// What the tutorial says to type.
    pub method: String,
    /// Why, in the tutorial's own words.
    pub why: String,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowOutcome {
    /// Every one of its cells went as the model says, and as the tutorial says.
    Confirmed,
    /// At least one went otherwise than the model, or the tutorial, says.
    Refuted,
    /// At least one was not judged, and none went otherwise.
    NotShown,
}

impl TutorialRow {
    /// What these verdicts say of the row.
    pub fn outcome(&self, verdicts: &[Verdict]) -> RowOutcome {
        let mut outcome = RowOutcome::Confirmed;
        for cell in &self.cells {
            match verdicts.iter().find(|verdict| verdict.cell() == cell.id()).filter(|verdict| verdict.is_judged()) {
                None => outcome = RowOutcome::NotShown,
                Some(verdict) if verdict.is_not_as_expected() || verdict.is_reached() != Some(self.can_access) => {
                    return RowOutcome::Refuted;
                }
                Some(_) => {}
            }
        }
        outcome
    }
}

/// The nine rows of "The Comparison of Access Methods", and the three requests after MetalLB's pool is there.
pub(super) fn rows(workers: u8) -> Vec<TutorialRow> {
    let pending = |vantage: &str, methods: &[&str]| {
        methods.iter().map(|method| Cell::new(Stage::LoadBalancerPending, vantage, *method)).collect::<Vec<_>>()
    };
    let ready = |vantage: &str| vec![Cell::new(Stage::LoadBalancerReady, vantage, "loadbalancer-address")];
    let row = |source: &str, can_access: bool, method: &str, why: &str, cells: Vec<Cell>| TutorialRow {
        source: source.to_owned(),
        can_access,
        method: method.to_owned(),
        why: why.to_owned(),
        cells,
    };
    let worker_cells =
        (1..=workers).flat_map(|number| pending(&format!("worker-{number}"), &["clusterip-address"])).collect();
    vec![
        row(
            "testpod (inside cluster, same namespace)",
            true,
            "curl http://nginx-clusterip-service.service-type-test:80",
            "Resolves to ClusterIP 10.98.205.55, accessible within the cluster.",
            pending("testpod", &["clusterip-namespace"]),
        ),
        row(
            "testpod (inside cluster, using ExternalName service)",
            true,
            "curl http://nginx-external-service.service-type-test:80",
            "DNS resolves my-nginx.external.local to 10.98.205.55.",
            pending("testpod", &["externalname-namespace"]),
        ),
        row(
            "testpod (inside cluster, using Pod IP directly)",
            true,
            "curl http://10.244.1.4:80",
            "Works as Pod IP is routable within the cluster.",
            pending("testpod", &["pod-ip"]),
        ),
        row(
            "testpod (inside cluster, different namespace)",
            true,
            "curl http://nginx-clusterip-service.service-type-test.svc.cluster.local:80",
            "DNS resolves to ClusterIP, accessible within the cluster.",
            pending("testpod-other", &["clusterip-fqdn"]),
        ),
        row(
            "Worker nodes (k8s-2, k8s-3, etc.)",
            true,
            "curl http://10.98.205.55:80",
            "ClusterIP is accessible from within the cluster.",
            worker_cells,
        ),
        row(
            "Master node (k8s-1)",
            true,
            "curl http://10.98.205.55:80",
            "ClusterIP is accessible from within the cluster.",
            pending("control-plane", &["clusterip-address"]),
        ),
        row(
            "Laptop (VMFusion, same vmnet2 network as worker nodes)",
            false,
            "N/A",
            "Resolve internally within Kubernetes only.",
            pending("laptop", &["clusterip-fqdn", "clusterip-namespace", "externalname-fqdn", "external-domain"]),
        ),
        row(
            "Laptop using Pod IP directly (curl http://10.244.1.4:80)",
            false,
            "N/A",
            "Pod IPs (10.244.x.x) are not reachable from outside the cluster.",
            pending("laptop", &["pod-ip"]),
        ),
        row(
            "Laptop (VMFusion) using LoadBalancer (if configured)",
            false,
            "N/A",
            "Not provide external access for the current service.",
            pending("laptop", &["loadbalancer-address"]),
        ),
        row(
            "Master node (k8s-1), LoadBalancer with MetalLB",
            true,
            "curl http://172.16.211.200:80",
            "Above is testing on master node k8s-1.",
            ready("control-plane"),
        ),
        row(
            "testpod, LoadBalancer with MetalLB",
            true,
            "curl http://172.16.211.200:80",
            "Let’s also test from testpod and from my laptop. All work!",
            ready("testpod"),
        ),
        row(
            "Laptop (VMFusion), LoadBalancer with MetalLB",
            true,
            "curl http://172.16.211.200:80",
            "Let’s also test from testpod and from my laptop. All work!",
            ready("laptop"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{matrix::Matrix, testing::verdicts};

    #[test]
    fn the_rows_are_proved_by_cells_of_the_matrix_and_agree_with_the_model() {
        let cells = Matrix::tutorial(4);
        let verdicts = verdicts();
        let rows = rows(4);
        assert_eq!(rows.len(), 12);
        for row in &rows {
            assert!(!row.cells.is_empty());
            assert!(row.cells.iter().all(|cell| cells.contains(cell)), "{row:?}");
        }
        for row in self::rows(3) {
            assert_eq!(row.outcome(&verdicts), RowOutcome::Confirmed, "{row:?}");
        }
    }

    #[test]
    fn a_row_without_verdicts_is_not_shown_and_one_that_went_wrong_is_refuted() {
        let row = &rows(3)[0];
        assert_eq!(row.outcome(&[]), RowOutcome::NotShown);
        let mut verdicts = verdicts();
        for verdict in &mut verdicts {
            verdict.observation.as_mut().unwrap().respond = None;
        }
        assert_eq!(row.outcome(&verdicts), RowOutcome::Refuted);
    }
}
