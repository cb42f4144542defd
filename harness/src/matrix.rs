//! The matrix: which request is sent from where, in which state of the Services, and which row of the tutorial it proves.
//!
//! Cells are data. What must happen in one is never written here: [`expect`](crate::model::expect()) derives it.

mod tutorial;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use tutorial::{RowOutcome, TutorialRow};

use crate::{
    environment::{
        panel::PanelConfiguration,
        policies::{AFFINITY_SECONDS, Distribution, Policies},
        tutorial::Names,
    },
    model::{Method, Vantage, dns::Resolver},
    state::TrafficPolicy,
};

/// A state of the cluster in which requests are sent and names are looked up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// MetalLB is installed and has no pool: the `LoadBalancer` Service waits for its address.
    LoadBalancerPending,
    /// The pool is applied, and the address is announced.
    LoadBalancerReady,
    /// The same, with `externalTrafficPolicy: Local`: what comes from outside goes to endpoints of the node that it
    /// arrives at, and keeps its source address.
    PolicyExternalLocal,
    /// With `internalTrafficPolicy: Local`: what comes from inside goes to endpoints of the client's node.
    PolicyInternalLocal,
    /// With `trafficDistribution: PreferSameNode`: endpoints of the node that translates, where it has any (KEP-3015).
    PolicySameNode,
    /// With `trafficDistribution: PreferClose`: endpoints in the zone of the node that translates, where it has any (KEP-4444).
    PolicySameZone,
    /// With `sessionAffinity: ClientIP`: a client stays with its endpoint until it has been silent for a while.
    PolicyAffinity,
    /// The tutorial's last Corefile: name, alias and `fallthrough`. All stages before have it, too.
    CorefileFallthrough,
    /// The tutorial's second Corefile: name and alias.
    CorefileAlias,
    /// The tutorial's first Corefile: the name alone.
    CorefileName,
    /// The Corefile as the cluster came with it.
    CorefileOriginal,
    /// The same, while tests change one thing after the other.
    Changing,
}

impl Stage {
    /// All, in the order in which a run passes through them.
    pub const ALL: [Self; 12] = [
        Self::LoadBalancerPending,
        Self::LoadBalancerReady,
        Self::PolicyExternalLocal,
        Self::PolicyInternalLocal,
        Self::PolicySameNode,
        Self::PolicySameZone,
        Self::PolicyAffinity,
        Self::CorefileFallthrough,
        Self::CorefileAlias,
        Self::CorefileName,
        Self::CorefileOriginal,
        Self::Changing,
    ];

    /// Those in which the Services are as in the tutorial.
    pub const OF_TUTORIAL: [Self; 2] = [Self::LoadBalancerPending, Self::LoadBalancerReady];

    /// Those in which they have other policies.
    pub const OF_POLICIES: [Self; 5] = [
        Self::PolicyExternalLocal,
        Self::PolicyInternalLocal,
        Self::PolicySameNode,
        Self::PolicySameZone,
        Self::PolicyAffinity,
    ];

    /// Those that differ in the Corefile, where names are looked up.
    pub const OF_COREFILES: [Self; 4] =
        [Self::CorefileFallthrough, Self::CorefileAlias, Self::CorefileName, Self::CorefileOriginal];

    /// The same, and the one in which names change meanwhile.
    pub const OF_NAMES: [Self; 5] =
        [Self::CorefileFallthrough, Self::CorefileAlias, Self::CorefileName, Self::CorefileOriginal, Self::Changing];

    /// Its name in reports and filters.
    pub const fn id(self) -> &'static str {
        match self {
            Self::LoadBalancerPending => "load-balancer-pending",
            Self::LoadBalancerReady => "load-balancer-ready",
            Self::PolicyExternalLocal => "policy-external-local",
            Self::PolicyInternalLocal => "policy-internal-local",
            Self::PolicySameNode => "policy-same-node",
            Self::PolicySameZone => "policy-same-zone",
            Self::PolicyAffinity => "policy-affinity",
            Self::CorefileFallthrough => "corefile-fallthrough",
            Self::CorefileAlias => "corefile-alias",
            Self::CorefileName => "corefile-name",
            Self::CorefileOriginal => "corefile-original",
            Self::Changing => "changing",
        }
    }

    /// The Corefile that is live in it.
    pub const fn corefile(self) -> Names {
        match self {
            Self::CorefileAlias => Names::NameAndAlias,
            Self::CorefileName => Names::Name,
            Self::CorefileOriginal | Self::Changing => Names::Original,
            _ => Names::WithFallthrough,
        }
    }

    /// The policies that the Services have in it.
    pub const fn policies(self) -> Policies {
        let tutorial = Policies::TUTORIAL;
        match self {
            Self::PolicyExternalLocal => Policies { external: TrafficPolicy::Local, ..tutorial },
            Self::PolicyInternalLocal => Policies { internal: TrafficPolicy::Local, ..tutorial },
            Self::PolicySameNode => Policies { distribution: Some(Distribution::SameNode), ..tutorial },
            Self::PolicySameZone => Policies { distribution: Some(Distribution::Close), ..tutorial },
            Self::PolicyAffinity => Policies { affinity_seconds: Some(AFFINITY_SECONDS), ..tutorial },
            _ => tutorial,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// One request: from a vantage, by an access method, in a state of the Services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// The state of the Services.
    pub stage: Stage,
    /// The vantage's id.
    pub vantage: String,
    /// The method's id.
    pub method: String,
}

impl Cell {
    /// A cell by its parts' ids.
    pub fn new(stage: Stage, vantage: impl Into<String>, method: impl Into<String>) -> Self {
        Self { stage, vantage: vantage.into(), method: method.into() }
    }

    /// Its name in reports and filters, `stage/vantage/method`, the same on every cluster.
    ///
    /// ```
    /// use reachmap::matrix::{Cell, Stage};
    /// let cell = Cell::new(Stage::LoadBalancerReady, "laptop", "loadbalancer-address");
    /// assert_eq!(cell.id(), "load-balancer-ready/laptop/loadbalancer-address");
    /// ```
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.stage, self.vantage, self.method)
    }

    /// Whether every word of `filter` is part of the cell's id.
    ///
    /// ```
    /// use reachmap::matrix::{Cell, Stage};
    /// let cell = Cell::new(Stage::LoadBalancerReady, "laptop", "loadbalancer-address");
    /// assert!(cell.matches("laptop address") && !cell.matches("laptop nodeport"));
    /// ```
    pub fn matches(&self, filter: &str) -> bool {
        let id = self.id();
        filter.split_whitespace().all(|word| id.contains(word))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

/// The access methods that are tried again when the load balancer is ready: those that it can change, and a core of
/// the others, to see that nothing else changed.
const READY: [&str; 8] = [
    "clusterip-namespace",
    "clusterip-address",
    "externalname-namespace",
    "pod-ip",
    "nodeport-worker-1",
    "nodeport-control-plane",
    "loadbalancer-address",
    "loadbalancer-name",
];

/// The access methods that are tried under each policy: one for each way of translating, and one without.
const POLICIES: [&str; 5] =
    ["clusterip-address", "pod-ip", "nodeport-worker-1", "nodeport-control-plane", "loadbalancer-address"];

/// The tutorial's matrix, and those beside it.
///
/// ```
/// assert!(reachmap::matrix::Matrix::tutorial(3).len() >= 100);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Matrix;

impl Matrix {
    /// Every cell of a cluster with so many workers: all pairs while the load balancer is pending, and once it is
    /// ready those that it can change and a core of the others. The suite `access` has a test for each.
    pub fn tutorial(workers: u8) -> Vec<Cell> {
        let vantages = Self::vantages(workers);
        let methods = Method::all(workers);
        let mut cells = Vec::new();
        for stage in Stage::OF_TUTORIAL {
            for vantage in &vantages {
                for Method { id, .. } in &methods {
                    if stage == Stage::LoadBalancerPending || READY.contains(&id.as_str()) {
                        cells.push(Cell::new(stage, vantage, id));
                    }
                }
            }
        }
        cells
    }

    /// Every way of translating, from every vantage, under every policy. The suite `policies` has a test for each.
    ///
    /// ```
    /// assert_eq!(reachmap::matrix::Matrix::policies(3).len(), 5 * 7 * 5);
    /// ```
    pub fn policies(workers: u8) -> Vec<Cell> {
        let mut cells = Vec::new();
        for stage in Stage::OF_POLICIES {
            for vantage in Self::vantages(workers) {
                cells.extend(POLICIES.map(|method| Cell::new(stage, &vantage, method)));
            }
        }
        cells
    }

    /// Every resolver in every DNS configuration under every Corefile: each of these cells is many lookups.
    ///
    /// ```
    /// assert_eq!(reachmap::matrix::Matrix::lookups().len(), 4 * 9 * 7);
    /// ```
    pub fn lookups() -> Vec<Cell> {
        let mut cells = Vec::new();
        for stage in Stage::OF_COREFILES {
            for configuration in PanelConfiguration::all() {
                for resolver in Resolver::ALL {
                    cells.push(Cell::new(stage, &configuration.id, resolver.id()));
                }
            }
        }
        cells
    }

    /// The ids of the vantages of a cluster with so many workers.
    ///
    /// They are known without a cluster; [`Vantage::find`] makes one of them a place in a cluster.
    pub fn vantages(workers: u8) -> Vec<String> {
        let workers = (1..=workers).map(|number| format!("worker-{number}"));
        let pods = ["testpod", "testpod-other"].map(str::to_owned);
        pods.into_iter().chain(workers).chain(["control-plane", "laptop"].map(str::to_owned)).collect()
    }

    /// The rows of the tutorial's tables, each with the cells that prove it.
    pub fn tutorial_rows(workers: u8) -> Vec<TutorialRow> {
        tutorial::rows(workers)
    }
}

impl Cell {
    /// The cell's vantage in a cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the cluster does not have it.
    pub fn vantage_in(&self, state: &crate::state::State) -> crate::Result<Vantage> {
        Vantage::find(state, &self.vantage)
    }

    /// The cell's access method in a cluster with so many workers.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if there is none of that id.
    pub fn method_with(&self, workers: u8) -> crate::Result<Method> {
        Method::find(&self.method, workers)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;
    use crate::{model::expect, state::State};

    #[rstest]
    #[case(1)]
    #[case(3)]
    #[case(4)]
    fn every_cell_is_there_once(#[case] workers: u8) {
        let cells = Matrix::tutorial(workers);
        assert!(cells.len() >= 100, "{}", cells.len());
        assert_eq!(cells.iter().map(Cell::id).collect::<BTreeSet<_>>().len(), cells.len());
        for cell in &cells {
            assert!(cell.method_with(workers).is_ok(), "{cell}");
        }
    }

    #[test]
    fn every_cell_of_the_tutorial_has_an_expectation() {
        let mut kinds = BTreeSet::new();
        for cell in Matrix::tutorial(3) {
            let state = match cell.stage {
                Stage::LoadBalancerPending => State::example_pending(),
                _ => State::example(),
            };
            let expectation = expect(&state, &cell.vantage_in(&state).unwrap(), &cell.method_with(3).unwrap())
                .unwrap_or_else(|error| panic!("{cell}: {error:?}"));
            kinds.insert(expectation.reason.kind());
        }
        assert!(kinds.len() >= 9, "{kinds:?}");
    }

    #[test]
    fn vantage_ids_are_those_of_the_cluster() {
        let state = State::example();
        let found: Vec<String> = Vantage::all(&state).into_iter().map(|vantage| vantage.id).collect();
        assert_eq!(found, Matrix::vantages(3));
    }
}
