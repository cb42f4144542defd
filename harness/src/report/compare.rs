//! Two runs held against each other: what is said of the one and not of the other.
//!
//! Addresses, names of pods and nodes, and times differ from cluster to cluster and from run to run, and are no
//! difference. A cell differs if its verdict does, or the step at which it fails, or whether it is expected to be
//! reachable, or the kind of reason. Lookups differ if their outcomes do, or those that are not as predicted, or what a
//! name costs. Loads differ if their verdict does, or the law, or how many pods may answer, or the ways in which
//! requests fail, or what a test found. Loads while something changed differ if what was changed does, if requests
//! failed in the one and none in the other, or if the new state did not come to serve the same vantages: how many
//! failed, in which ways and for how long is chance.

mod facts;
mod html;
mod markdown;
mod terminal;

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

pub(crate) use self::facts::essence;
use self::facts::facts;
use super::{Run, terminal::Look};
use crate::Result;

/// How a comparison is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    #[default]
    Terminal,
    /// For a pull request or a step summary.
    Markdown,
    /// One page that needs nothing else.
    Html,
}

/// What two runs say of the same things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The ids of the two runs.
    pub runs: [String; 2],
    /// What they ran on, where that differs: the name, and what each had. It explains, and is no difference by itself.
    pub environment: Vec<(String, [String; 2])>,
    /// How many things both runs say the same of.
    pub same: usize,
    /// What they do not say the same of.
    pub differences: Vec<Difference>,
}

/// Something of which two runs do not say the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub subject: Subject,
    /// Its name: a cell's id, for instance.
    pub name: String,
    /// What each run says of it; none if that run says nothing.
    pub said: [Option<Said>; 2],
}

/// What can differ between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A run as a whole: whether it could be carried out.
    Run,
    /// A cell.
    Cell,
    /// The lookups of a resolver in a DNS configuration.
    Lookups,
    /// A load.
    Load,
    /// A load while something changed.
    Change,
    /// What the tutorial says.
    Statement,
    /// A test that failed for another reason.
    Test,
}

/// What a run says of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The verdict, in a few words.
    pub verdict: String,
    /// The reason, or what else there is to know, in full.
    pub reason: String,
}

impl Subject {
    const ALL: [Self; 7] =
        [Self::Run, Self::Cell, Self::Lookups, Self::Load, Self::Change, Self::Statement, Self::Test];

    const fn heading(self) -> &'static str {
        match self {
            Self::Run => "The runs themselves",
            Self::Cell => "Cells",
            Self::Lookups => "Lookups",
            Self::Load => "Loads",
            Self::Change => "Loads while things change",
            Self::Statement => "What the tutorial says",
            Self::Test => "Tests that failed for another reason",
        }
    }
}

/// Compares two runs.
pub fn compare(a: &Run, b: &Run) -> Comparison {
    let (mut of_a, mut of_b) = (facts(a), facts(b));
    let mut names: Vec<(Subject, String)> = of_a.keys().chain(of_b.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    let (mut same, mut differences) = (0, Vec::new());
    for key in names {
        let (fact_a, fact_b) = (of_a.remove(&key), of_b.remove(&key));
        if fact_a.as_ref().map(|fact| &fact.essence) == fact_b.as_ref().map(|fact| &fact.essence) {
            same += 1;
            continue;
        }
        let (subject, name) = key;
        let said = [(&fact_a, &fact_b), (&fact_b, &fact_a)]
            .map(|(fact, other)| fact.as_ref().map(|fact| fact.beside(other.as_ref())));
        differences.push(Difference { subject, name, said });
    }
    Comparison { runs: [a.id.clone(), b.id.clone()], environment: environment(a, b), same, differences }
}

/// Everything that a run says, by what it is about and its name.
pub fn said(run: &Run) -> Vec<(Subject, String, Said)> {
    facts(run).into_iter().map(|((subject, name), fact)| (subject, name, fact.beside(None))).collect()
}

/// What two runs ran on, where that differs.
fn environment(a: &Run, b: &Run) -> Vec<(String, [String; 2])> {
    let lines = |run: &Run| -> BTreeMap<String, String> {
        let own = [("Reachmap".to_owned(), run.reachmap.clone())];
        let lines = run.environment.lines();
        own.into_iter().chain(lines.into_iter().map(|(name, value)| (name.to_owned(), value))).collect()
    };
    let (of_a, of_b) = (lines(a), lines(b));
    let mut names: Vec<&String> = of_a.keys().chain(of_b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| of_a.get(*name) != of_b.get(*name));
    let value = |of: &BTreeMap<String, String>, name: &String| of.get(name).cloned().unwrap_or_default();
    differing.map(|name| (name.clone(), [value(&of_a, name), value(&of_b, name)])).collect()
}

/// Reads two reports and compares them.
///
/// # Errors
/// As [`read`](super::read()).
pub fn compare_files(a: &Path, b: &Path) -> Result<Comparison> {
    Ok(compare(&super::read(a)?, &super::read(b)?))
}

impl Comparison {
    /// Whether the runs say the same of everything.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    /// The exit code: 0 if they say the same, 1 if not.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.is_same())
    }

    /// The comparison, in that format.
    pub fn show(&self, format: Format) -> String {
        match format {
            Format::Terminal => terminal::terminal(self, Look::of_stdout()),
            Format::Markdown => markdown::markdown(self),
            Format::Html => html::html(self),
        }
    }

    /// The differences by subject, those that there are.
    fn by_subject(&self) -> impl Iterator<Item = (Subject, Vec<&Difference>)> {
        let of = |subject: Subject| self.differences.iter().filter(move |difference| difference.subject == subject);
        Subject::ALL
            .into_iter()
            .map(move |subject| (subject, of(subject).collect::<Vec<_>>()))
            .filter(|(_, all)| !all.is_empty())
    }

    /// `3 differ, 207 are the same`.
    fn headline(&self) -> String {
        let are = if self.same == 1 { "is" } else { "are" };
        match self.differences.len() {
            0 => format!("nothing differs, {} {are} the same", self.same),
            1 => format!("1 differs, {} {are} the same", self.same),
            number => format!("{number} differ, {} {are} the same", self.same),
        }
    }
}

#[cfg(test)]
mod tests;
