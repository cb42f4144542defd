//! The order of cells, and the matrix that they make.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{
    model::{Method, VantageKind},
    plan::MOST_WORKERS,
    state::NodeRole,
    verdict::{Judgement, Verdict},
};

/// What a cell shows in a matrix: a symbol that needs no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Reached, as expected.
    Reached,
    /// Not reached, as expected.
    NotReached,
    /// Not as expected.
    Wrong,
    /// Not supported here.
    NotSupported,
    /// Not probed.
    NotProbed,
}

impl Mark {
    pub(super) const ALL: [Self; 5] =
        [Self::Reached, Self::NotReached, Self::Wrong, Self::NotSupported, Self::NotProbed];

    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict.outcome {
            Judgement::AsExpected if verdict.is_expected_reachable() == Some(false) => Self::NotReached,
            Judgement::AsExpected => Self::Reached,
            Judgement::NotAsExpected { .. } => Self::Wrong,
            Judgement::NotSupported { .. } => Self::NotSupported,
            Judgement::NotProbed { .. } => Self::NotProbed,
        }
    }

    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Reached => "✓",
            Self::NotReached => "–",
            Self::Wrong => "!",
            Self::NotSupported => "·",
            Self::NotProbed => "?",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached, as expected",
            Self::NotReached => "not reached, as expected",
            Self::Wrong => "not as expected",
            Self::NotSupported => "not supported here",
            Self::NotProbed => "not probed",
        }
    }

    /// Its name in style sheets.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::NotReached => "unreached",
            Self::Wrong => "wrong",
            Self::NotSupported => "unsupported",
            Self::NotProbed => "unprobed",
        }
    }
}

/// The matrix of one suite in one stage.
#[derive(Debug)]
pub(super) struct Grid<'a> {
    pub(super) suite: &'a str,
    pub(super) stage: &'a str,
    pub(super) vantages: Vec<&'a str>,
    pub(super) methods: Vec<&'a str>,
    pub(super) verdicts: Vec<&'a Verdict>,
    cells: BTreeMap<(&'a str, &'a str), &'a Verdict>,
}

impl<'a> Grid<'a> {
    /// A matrix for each suite and stage, in order.
    pub(super) fn all(verdicts: &'a [Verdict]) -> Vec<Self> {
        let mut sorted: Vec<&Verdict> = verdicts.iter().collect();
        sorted.sort_by(|a, b| order(a, b));
        let mut grids: Vec<Self> = Vec::new();
        for verdict in sorted {
            let same = |grid: &&mut Self| grid.suite == verdict.suite && grid.stage == verdict.stage;
            match grids.last_mut().filter(same) {
                Some(grid) => grid.verdicts.push(verdict),
                None => grids.push(Self {
                    suite: &verdict.suite,
                    stage: &verdict.stage,
                    vantages: Vec::new(),
                    methods: Vec::new(),
                    verdicts: vec![verdict],
                    cells: BTreeMap::new(),
                }),
            }
        }
        for grid in &mut grids {
            grid.arrange();
        }
        grids
    }

    fn arrange(&mut self) {
        for &verdict in &self.verdicts {
            if !self.vantages.contains(&verdict.vantage.id.as_str()) {
                self.vantages.push(&verdict.vantage.id);
            }
            if !self.methods.contains(&verdict.method.id.as_str()) {
                self.methods.push(&verdict.method.id);
            }
            self.cells.insert((&verdict.vantage.id, &verdict.method.id), verdict);
        }
        // Verdicts are ordered by vantage first, so that a vantage with fewer methods would disorder these.
        self.methods.sort_by(|a, b| method_order(a, b));
    }

    pub(super) fn cell(&self, vantage: &str, method: &str) -> Option<&'a Verdict> {
        self.cells.get(&(vantage, method)).copied()
    }
}

/// Puts verdicts in the order of reports: suite, stage, vantage from the inside outwards, access method.
pub(super) fn sort(verdicts: &mut [Verdict]) {
    verdicts.sort_by(order);
}

fn order(a: &Verdict, b: &Verdict) -> Ordering {
    a.suite
        .cmp(&b.suite)
        .then_with(|| a.stage.cmp(&b.stage))
        .then_with(|| place(&a.vantage.kind).cmp(&place(&b.vantage.kind)))
        .then_with(|| natural(&a.vantage.id, &b.vantage.id))
        .then_with(|| method_order(&a.method.id, &b.method.id))
}

fn place(kind: &VantageKind) -> u8 {
    match kind {
        VantageKind::Pod { .. } => 0,
        VantageKind::Node { role: NodeRole::Worker, .. } => 1,
        VantageKind::Node { role: NodeRole::ControlPlane, .. } => 2,
        VantageKind::Laptop => 3,
    }
}

fn method_order(a: &str, b: &str) -> Ordering {
    static KNOWN: std::sync::LazyLock<Vec<Method>> = std::sync::LazyLock::new(|| Method::all(MOST_WORKERS));
    let rank = |id: &str| KNOWN.iter().position(|method| method.id == id).unwrap_or(usize::MAX);
    rank(a).cmp(&rank(b)).then_with(|| natural(a, b))
}

/// Orders `worker-2` before `worker-10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    crate::state::lookup::natural(a).cmp(&crate::state::lookup::natural(b))
}
