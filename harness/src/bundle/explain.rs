//! A run explained without its cluster: each expectation derived again from the recorded state, each verdict judged
//! again.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Bearing, Bundle, bearing::bearing};
use crate::{
    Error, ErrorKind, Result,
    model::{Expectation, expect},
    report,
    state::State,
    verdict::{Judgement, Verdict, judge},
};

/// What a bundle says, and what this version of Reachmap says of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    /// The run's id.
    pub run: String,
    /// The version of Reachmap that recorded it.
    pub recorded_by: String,
    /// The version that explains it.
    pub explained_by: String,
    /// How many cells came out again as they were recorded.
    pub same: usize,
    /// How many did not.
    pub different: usize,
    /// How many could not be derived again.
    pub not_derived: usize,
    /// The cells that are not as expected, those that do not come out as recorded, and the one that was asked for.
    pub cells: Vec<Explained>,
    /// What else failed, as it was recorded: it depends on more than a state, and is not derived again.
    pub others: Vec<String>,
}

/// A cell, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explained {
    /// As it was recorded.
    pub recorded: Verdict,
    /// As it comes out again.
    pub again: Again,
    /// What in the bundle bears on it.
    pub bearing: Vec<Bearing>,
}

/// How a cell comes out again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// The same expectation, and the same judgement.
    Same,
    /// The model says something else now, or the judgement is another one.
    Different {
        /// The expectation now.
        expectation: Box<Expectation>,
        /// The judgement now.
        outcome: Judgement,
    },
    /// It cannot be derived.
    NotDerived {
        /// Why.
        why: String,
    },
}

/// Explains a run by its bundle: the cells that are not as expected, or the one called `cell` alone.
///
/// # Errors
/// [`ErrorKind::Usage`] if the run has no cell of that name; those that fail are named.
pub fn explain(bundle: &Bundle, cell: Option<&str>) -> Result<Explanation> {
    let all: Vec<(&Verdict, Again)> =
        bundle.run.verdicts.iter().map(|verdict| (verdict, again(bundle, verdict))).collect();
    if let Some(cell) = cell.filter(|cell| !all.iter().any(|(verdict, _)| verdict.cell() == *cell)) {
        let failed: Vec<String> = bundle.run.not_as_expected().map(Verdict::cell).collect();
        let hint = if failed.is_empty() {
            "No cell of it failed; `cargo xtask bundle show` lists what is in it.".to_owned()
        } else {
            format!("These failed: {}.", failed.join(", "))
        };
        return Err(Error::new(ErrorKind::Usage, format!("explain the cell {cell}"), "the run has none of that name")
            .hint(hint));
    }
    let count = |is: fn(&Again) -> bool| all.iter().filter(|(_, again)| is(again)).count();
    let same = count(|again| *again == Again::Same);
    let different = count(|again| matches!(again, Again::Different { .. }));
    let not_derived = all
        .iter()
        // What was never sent has no expectation to derive.
        .filter(|(verdict, again)| matches!(again, Again::NotDerived { .. }) && verdict.is_judged())
        .count();
    let is_shown = |verdict: &Verdict, again: &Again| {
        if let Some(cell) = cell {
            return verdict.cell() == cell;
        }
        let failed = verdict.is_not_as_expected() || matches!(verdict.outcome, Judgement::NotProbed { .. });
        failed || matches!(again, Again::Different { .. })
    };
    let cells = all
        .iter()
        .filter(|(verdict, again)| is_shown(verdict, again))
        .map(|(verdict, again)| Explained {
            recorded: (*verdict).clone(),
            again: again.clone(),
            bearing: state(bundle, verdict).map(|state| bearing(&bundle.files, state, verdict)).unwrap_or_default(),
        })
        .collect();
    Ok(Explanation {
        run: bundle.run.id.clone(),
        recorded_by: bundle.run.reachmap.clone(),
        explained_by: env!("CARGO_PKG_VERSION").to_owned(),
        same,
        different,
        not_derived,
        cells,
        others: if cell.is_some() { Vec::new() } else { report::other_failures(&bundle.run) },
    })
}

impl Explanation {
    /// The exit code: 0 if every cell comes out as it was recorded, 1 if one does not.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.different > 0)
    }
}

/// The state that a cell's expectation was derived from: that of its suite and stage, else that of its stage.
fn state<'b>(bundle: &'b Bundle, verdict: &Verdict) -> Option<&'b State> {
    let own = bundle.states.get(&(verdict.suite.clone(), verdict.stage.clone()));
    own.or_else(|| bundle.run.state_in(&verdict.stage))
}

/// The cell derived and judged again.
fn again(bundle: &Bundle, verdict: &Verdict) -> Again {
    let not_derived = |why: &str| Again::NotDerived { why: why.to_owned() };
    let (Some(expected), Some(observation)) = (&verdict.expectation, &verdict.observation) else {
        return not_derived("nothing was sent");
    };
    let Some(state) = state(bundle, verdict) else {
        return not_derived("the state that it was derived from is not in the bundle");
    };
    match expect(state, &verdict.vantage, &verdict.method) {
        Ok(expectation) => {
            let outcome = judge(&expectation, observation);
            if expectation == *expected && outcome == verdict.outcome {
                return Again::Same;
            }
            Again::Different { expectation: Box::new(expectation), outcome }
        }
        Err(error) => Again::NotDerived { why: error.to_string() },
    }
}
