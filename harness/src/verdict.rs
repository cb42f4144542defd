//! Expectation against observation: the right answer for the wrong reason is a failure.

mod judge;

pub use judge::judge;
use reachmap_wire::{Observation, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Expectation, Method, Vantage};

/// One cell of the matrix, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The suite that asked, such as `access`.
    pub suite: String,
    /// The Service state in which it was asked, such as `load-balancer-pending`.
    pub stage: String,
    /// Where the request started.
    pub vantage: Vantage,
    /// What it named.
    pub method: Method,
    /// What had to happen; absent if the cell is not supported here.
    pub expectation: Option<Expectation>,
    /// What happened; absent if nothing was sent.
    pub observation: Option<Observation>,
    /// The judgement.
    pub outcome: Judgement,
    /// A command that repeats the request by hand.
    pub reproduce: String,
}

/// How expectation and observation compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Every fact that the reason needs was observed.
    AsExpected,
    /// They part at a step.
    NotAsExpected {
        /// The first step at which they part.
        step: Step,
        /// What had to be seen there.
        expected: String,
        /// What was seen there.
        observed: String,
    },
    /// This cluster or machine does not have what the cell needs; never counted as passed.
    NotSupported {
        /// What is missing.
        reason: String,
    },
    /// The probe itself could not be carried out: a failure of the environment, not of the cell.
    NotProbed {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Whether the right thing happened, for the right reason.
    pub fn is_as_expected(&self) -> bool {
        self.outcome == Judgement::AsExpected
    }

    /// Whether the cell parts from its expectation: what makes a run end with exit code 1.
    pub fn is_not_as_expected(&self) -> bool {
        matches!(self.outcome, Judgement::NotAsExpected { .. })
    }

    /// Whether a request was sent, and could be judged.
    pub fn is_judged(&self) -> bool {
        self.is_as_expected() || self.is_not_as_expected()
    }

    /// Whether an answer of one of the Service's pods had to come back.
    pub fn is_expected_reachable(&self) -> Option<bool> {
        self.expectation.as_ref().map(|expectation| expectation.reachable)
    }

    /// Whether an answer came back, from whomever.
    pub fn is_reached(&self) -> Option<bool> {
        self.observation.as_ref().map(Observation::is_reached)
    }

    /// The cell's id: stage, vantage and method.
    pub fn cell(&self) -> String {
        format!("{}/{}/{}", self.stage, self.vantage, self.method)
    }
}

#[cfg(test)]
mod tests;
