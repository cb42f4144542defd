//! What a test found, with everything that is needed to trust it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DistributionQuestion")]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Does each endpoint get its share?
    Shares,
    /// Is the choice independent from connection to connection?
    Independence,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Connections: the only thing that a Service's proxy chooses an endpoint for.
    Connection,
}

/// How the answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DistributionTest")]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The exact distribution under the law.
    Exact,
    /// The G-test with Williams' correction, against chi-square.
    G,
    /// The normal approximation of an exact distribution that would be too long to compute.
    Normal,
    /// An exact law was checked; nothing was left to chance.
    Law,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Nothing speaks against the law, in a sample that had the power to.
    Consistent,
    /// The sample is too unlikely under the law.
    Departs,
    /// What was seen is impossible under the law.
    Violates,
}

/// One endpoint in a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointCount {
    /// Its name.
    pub endpoint: String,
    /// How many connections it got.
    pub connections: u64,
    /// How many requests came over them.
    pub requests: u64,
    /// How many connections it had to get on the average; 0 for an endpoint that the law does not know.
    pub expected: f64,
    /// The lower end of the confidence interval of its share: Clopper and Pearson's, at alpha over all tests of the
    /// family and all endpoints, so that all bands of a run hold together.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What a test found: the unit, the law, the sample, the test, its power, and the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DistributionJudgement")]
pub struct Judgement {
    /// The row of the run that this is about.
    pub name: String,
    /// What was asked.
    pub question: Question,
    /// What was counted.
    pub unit: Unit,
    /// The law, in words.
    pub law: String,
    /// How many connections there were.
    pub connections: u64,
    /// How many requests came over them; reported and never tested.
    pub requests: u64,
    /// Each endpoint of the law, and each that answered without being one.
    pub endpoints: Vec<EndpointCount>,
    /// What is impossible under the law and was seen all the same, as sentences.
    pub violations: Vec<String>,
    /// How the answer was found.
    pub method: Method,
    /// The statistic: G, or for independence how often an endpoint came twice in a row. Absent from an exact law and
    /// from an exact test of shares, whose statistic is the sample's own probability.
    pub statistic: Option<f64>,
    /// The degrees of freedom, if the statistic has any.
    pub degrees_of_freedom: Option<u32>,
    /// The chance of a sample that is no more likely than this one, under the law.
    pub p: Option<f64>,
    /// The p-value among the run's others: the smallest family-wise alpha that would reject it.
    pub adjusted_p: Option<f64>,
    /// The family-wise alpha.
    pub alpha: f64,
    /// How many tests the family was planned for.
    pub tests: u32,
    /// What the sample could find: for shares, a shift of one endpoint's share; for independence, the chance that the
    /// last endpoint is simply taken again.
    pub effect: f64,
    /// The chance that it would have been found.
    pub power: f64,
    /// The verdict.
    pub verdict: Finding,
}

impl Judgement {
    /// Whether nothing speaks against the law.
    pub fn is_consistent(&self) -> bool {
        self.verdict == Finding::Consistent
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shares => "shares",
            Self::Independence => "independence",
        })
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            self.endpoints.iter().map(|count| format!("{:?} {}", count.endpoint, count.connections)).collect();
        write!(f, "{:?}, {}: {} connections", self.name, self.question, self.connections)?;
        if self.requests != self.connections {
            write!(f, " (with {} requests)", self.requests)?;
        }
        writeln!(f, " went to {}; the law is {}.", counts.join(", "), self.law)?;
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        self.write_test(f)?;
        f.write_str(match (self.verdict, self.question) {
            (Finding::Violates, _) => "That is impossible under the law.",
            (Finding::Departs, Question::Shares) => "The shares are not as the law says.",
            (Finding::Departs, Question::Independence) => "The connections are not independent of each other.",
            (Finding::Consistent, _) => "Nothing speaks against the law.",
        })
    }
}

impl Judgement {
    fn write_test(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(p), Some(adjusted)) = (self.p, self.adjusted_p) else {
            if self.verdict != Finding::Violates && self.endpoints.len() > 1 {
                let missed = short(1.0 - self.power);
                writeln!(f, "An endpoint chosen at random would have passed with a chance of {missed}.")?;
            }
            return Ok(());
        };
        match (self.question, self.method, self.statistic, self.degrees_of_freedom) {
            (Question::Independence, _, Some(repeats), _) => {
                write!(f, "An endpoint came twice in a row {repeats} times")?;
            }
            (_, _, Some(g), Some(1)) => write!(f, "G = {g:.2} with 1 degree of freedom")?,
            (_, _, Some(g), Some(degrees)) => write!(f, "G = {g:.2} with {degrees} degrees of freedom")?,
            _ => write!(f, "By the exact test")?,
        }
        let (p, adjusted, alpha) = (short(p), short(adjusted), short(self.alpha));
        let tests = if self.tests == 1 { "one test".to_owned() } else { format!("{} tests", self.tests) };
        writeln!(f, ": p = {p}, adjusted {adjusted}, at an alpha of {alpha} for {tests}.")?;
        let what = match self.question {
            Question::Shares => "A share off by",
            Question::Independence => "A proxy that keeps the last endpoint in",
        };
        let (points, power) = (self.effect * 100.0, self.power * 100.0);
        let unit = match self.question {
            Question::Shares => "points",
            Question::Independence => "of 100 connections",
        };
        writeln!(f, "{what} {points:.1} {unit} would have been found with a chance of {power:.1} %.")
    }
}

/// A small number, with as many digits as are worth reading.
fn short(value: f64) -> String {
    if value != 0.0 && value < 1e-3 { format!("{value:.1e}") } else { format!("{value:.4}") }
}
