//! Cells of a suite's own: by access methods that only its tests know.

use super::{Suite, SuiteBinary, cell_of, in_short, module_of};
use crate::{
    Error, ErrorKind, Result,
    matrix::{Cell, Stage},
    session::selection::worker,
};

/// A matrix of a suite's own in one stage: each of its vantages by each of its access methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCells {
    /// The stage.
    pub stage: Stage,
    /// The ids of the vantages.
    pub vantages: Vec<String>,
    /// The ids of the methods.
    pub methods: Vec<String>,
}

impl OwnCells {
    /// Those that a cluster with so many workers has.
    pub(super) fn cells(&self, workers: u8) -> impl Iterator<Item = Cell> {
        let is_there = move |id: &&String| worker(id).is_none_or(|number| number <= workers);
        self.vantages.iter().filter(is_there).flat_map(move |vantage| {
            self.methods.iter().filter(is_there).map(move |method| Cell::new(self.stage, vantage, method))
        })
    }
}

impl Suite {
    /// Says which cells of its own the suite has in a stage: from each of these vantages, by each of these access methods, the
    /// ids of which its tests' names have. So they are known before anything runs: `--list` prints them, `--only` chooses among
    /// them, and `--shard` deals them out evenly.
    ///
    /// ```
    /// use reachmap::{matrix::Stage, session::suite::{About, Suite}};
    /// let stage = Stage::LoadBalancerReady;
    /// let suite = Suite::new("shop", "shop-suite").about(About::Stages).cells_in(stage, &["testpod", "laptop"], &["shop-name"]);
    /// let cells: Vec<String> = suite.cells(3).iter().map(ToString::to_string).collect();
    /// assert_eq!(cells, ["load-balancer-ready/testpod/shop-name", "load-balancer-ready/laptop/shop-name"]);
    /// ```
    #[must_use]
    pub fn cells_in(mut self, stage: Stage, vantages: &[&str], methods: &[&str]) -> Self {
        let [vantages, methods] = [vantages, methods].map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        self.own.push(OwnCells { stage, vantages, methods });
        self
    }

    /// A cell that is said to be there, and is no test's, would look as if it had been probed.
    pub(super) fn check_own_cells(&self, binary: &SuiteBinary) -> Result<()> {
        let has_test = |cell: &Cell| {
            let mut of_stage = binary.of_module(&module_of(cell.stage.id())).filter_map(cell_of);
            of_stage.any(|(vantage, method)| vantage == cell.vantage && method == cell.method)
        };
        let all = self.own.iter().flat_map(|own| own.cells(u8::MAX));
        let without: Vec<String> = all.filter(|cell| !has_test(cell)).map(|cell| cell.id()).collect();
        if without.is_empty() {
            return Ok(());
        }
        let without: Vec<&str> = without.iter().map(String::as_str).collect();
        let cause = format!("no test is about {}", in_short(&without));
        Err(Error::new(ErrorKind::Usage, format!("choose the tests of the suite {}", self.name), cause)
            .hint("A test is about a cell if `from_<n>_<VANTAGE>` and `by_<n>_<METHOD>` are in its name, as rstest's `#[values]` puts it."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Suite {
        Suite::new("shop", "shop-suite").about(super::super::About::Stages).cells_in(
            Stage::LoadBalancerReady,
            &["testpod", "worker-2"],
            &["shop-name", "shop-nodeport-worker-3"],
        )
    }

    #[test]
    fn cells_of_workers_that_a_cluster_lacks_are_none_of_its() {
        let cells = |workers: u8| shop().cells(workers).iter().map(Cell::id).collect::<Vec<_>>();
        assert_eq!(cells(1), ["load-balancer-ready/testpod/shop-name"]);
        assert_eq!(cells(2), ["load-balancer-ready/testpod/shop-name", "load-balancer-ready/worker-2/shop-name"]);
        assert_eq!(cells(3).len(), 4);
    }

    #[test]
    fn every_cell_that_a_suite_says_it_has_must_be_a_tests() {
        let check = |tests: &[&str]| {
            let tests = tests.iter().map(|test| format!("load_balancer_ready::reaches::{test}")).collect();
            shop().check_own_cells(&SuiteBinary { path: "shop".into(), tests, dir: "/".into() })
        };
        let all = [
            "from_1_TESTPOD::by_1_SHOP_NAME",
            "from_1_TESTPOD::by_2_SHOP_NODEPORT_WORKER_3",
            "from_2_WORKER_2::by_1_SHOP_NAME",
            "from_2_WORKER_2::by_2_SHOP_NODEPORT_WORKER_3",
            "from_3_LAPTOP::by_1_SHOP_NAME",
        ];
        check(&all).unwrap();
        let error = check(&all[1..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().ends_with("no test is about load-balancer-ready/testpod/shop-name"), "{error}");
    }
}
