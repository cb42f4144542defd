//! Several runs put together: the shards of one, each of which has done a part.
//!
//! Shards are put together only if they ran on the same kind of environment with the same Reachmap; names of clusters and
//! nodes, and addresses, may differ. What two shards say of the same thing must be the same, in the sense of
//! [`compare`](super::compare()): then what the first of them says is kept, with its times. If it is not, they are refused. The names
//! of nodes and clusters in the result are the first shard's.

use std::collections::{BTreeMap, BTreeSet};

use super::{Run, compare};
use crate::{Error, ErrorCode, ErrorKind, Result, plan::shard::Shard, progress::StepTime};

/// Names of what is in an environment and does not decide how requests are answered: it is each cluster's own.
const OWN: [&str; 3] = ["cluster", "cluster reused", "pool"];

/// How many conflicts are named.
const NAMED: usize = 10;

/// Puts runs together as one called `id`, and derives again whatever follows from them.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is none, if they ran on different environments, or if they contradict each other; it names
/// what and which.
pub fn merge(id: &str, runs: &[Run]) -> Result<Run> {
    let tried = || format!("merge {}", runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>().join(", "));
    let Some((first, others)) = runs.split_first() else {
        return Err(Error::new(ErrorKind::Usage, "merge reports", "there is none").with_code(ErrorCode::Merge));
    };
    for other in others {
        check_environment(first, other, tried)?;
    }
    check_shards(runs, tried)?;
    for (number, a) in runs.iter().enumerate() {
        for b in &runs[number + 1..] {
            check_conflicts(a, b, tried)?;
        }
    }
    let mut merged = Run { id: id.to_owned(), ..first.clone() };
    merged.shard = None;
    merged.options = std::iter::once("shards of".to_owned()).chain(runs.iter().map(|run| run.id.clone())).collect();
    for other in others {
        add(&mut merged, other);
    }
    merged.derive();
    Ok(merged)
}

/// What tells one kind of environment from another, as name and value.
///
/// Nodes count by their number: their names are each cluster's own.
fn fingerprint(run: &Run) -> BTreeMap<String, String> {
    let lines = run.environment.lines();
    let told = lines.into_iter().filter(|(name, _)| !OWN.contains(name));
    let mut told: BTreeMap<String, String> = told.map(|(name, value)| (name.to_owned(), value)).collect();
    told.insert("nodes".to_owned(), run.environment.nodes.len().to_string());
    told.insert("Reachmap".to_owned(), run.reachmap.clone());
    told
}

fn check_environment(a: &Run, b: &Run, tried: impl Fn() -> String) -> Result<()> {
    let (of_a, of_b) = (fingerprint(a), fingerprint(b));
    let names = of_a.keys().chain(of_b.keys());
    let Some(name) = names.into_iter().find(|name| of_a.get(*name) != of_b.get(*name)) else { return Ok(()) };
    let value = |of: &BTreeMap<String, String>| of.get(name).cloned().unwrap_or_else(|| "not known".to_owned());
    let cause = format!(
        "they ran on different environments: {name} was {} in {} and {} in {}",
        value(&of_a),
        a.id,
        value(&of_b),
        b.id
    );
    Err(Error::new(ErrorKind::Usage, tried(), cause)
        .with_code(ErrorCode::Merge)
        .hint("Only shards of one configuration make one run. `cargo xtask report compare` holds two configurations against each other."))
}

/// Of a run that was divided by `--shard`, all parts must be there: one that is missing would look like cells that nobody chose.
fn check_shards(runs: &[Run], tried: impl Fn() -> String) -> Result<()> {
    let shards: BTreeSet<Shard> = runs.iter().filter_map(|run| run.shard).collect();
    let Some(of) = shards.first().map(|shard| shard.of()) else { return Ok(()) };
    let refused = |cause: String, hint: &str| {
        Err(Error::new(ErrorKind::Usage, tried(), cause).with_code(ErrorCode::Merge).hint(hint))
    };
    if let Some(other) = shards.iter().find(|shard| shard.of() != of) {
        let cause = format!("one is a shard of {of}, and {other} is one of {}", other.of());
        return refused(cause, "Merge the shards of one division.");
    }
    let is_there = |number: &u32| shards.iter().any(|shard| shard.number() == *number);
    let missing: Vec<String> =
        (1..=of).filter(|number| !is_there(number)).map(|number| format!("{number}/{of}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    refused(format!("the shards {} are missing", missing.join(", ")), "Run them, too: `--shard` says which part.")
}

fn check_conflicts(a: &Run, b: &Run, tried: impl Fn() -> String) -> Result<()> {
    let differences = compare(a, b).differences;
    // What only one of them speaks of is what shards are for.
    let conflicts: Vec<String> = differences
        .into_iter()
        .filter(|difference| difference.said.iter().all(Option::is_some))
        .map(|difference| difference.name)
        .collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    let more = if conflicts.len() > NAMED { format!(" and {} more", conflicts.len() - NAMED) } else { String::new() };
    let named = conflicts[..conflicts.len().min(NAMED)].join(", ");
    let cause = format!("{} and {} do not say the same of {named}{more}", a.id, b.id);
    Err(Error::new(ErrorKind::Usage, tried(), cause)
        .with_code(ErrorCode::Merge)
        .hint(format!("`cargo xtask report compare` shows what each says. Leave out one of {} and {}.", a.id, b.id)))
}

fn add(merged: &mut Run, other: &Run) {
    let shift = other.started.duration_since(merged.started).as_secs_f64();
    let later = |step: &StepTime, by: f64| StepTime { start_seconds: step.start_seconds + by, ..step.clone() };
    // The time line counts from whichever shard started first.
    if shift < 0.0 {
        merged.timeline = merged.timeline.iter().map(|step| later(step, -shift)).collect();
    }
    merged.timeline.extend(other.timeline.iter().map(|step| later(step, shift.max(0.0))));
    merged.started = merged.started.min(other.started);
    merged.finished = merged.finished.zip(other.finished).map(|(one, two)| one.max(two));
    if merged.failure.is_none() {
        merged.failure.clone_from(&other.failure);
    }
    extend(&mut merged.verdicts, &other.verdicts, |one| (one.suite.clone(), one.cell()));
    extend(&mut merged.lookups, &other.lookups, super::LookupGroup::cell);
    extend(&mut merged.loads, &other.loads, |one| (one.suite.clone(), one.stage.clone(), one.name.clone()));
    extend(&mut merged.changes, &other.changes, |one| (one.suite.clone(), one.stage.clone(), one.name.clone()));
    extend(&mut merged.beside, &other.beside, |one| (one.place.clone(), one.id.clone()));
    let test = |one: &super::FailedTest| (one.suite.clone(), one.stage.clone(), one.test.clone());
    extend(&mut merged.failed_tests, &other.failed_tests, test);
    let test = |one: &super::OtherTest| (one.suite.clone(), one.stage.clone(), one.test.clone());
    extend(&mut merged.other_tests, &other.other_tests, test);
    merged.retries.extend_from_slice(&other.retries);
    merged.corefile_edits.extend_from_slice(&other.corefile_edits);
    for stage in &other.stages {
        match merged.stages.iter_mut().find(|known| known.id == stage.id) {
            None => merged.stages.push(stage.clone()),
            Some(known) if known.state.is_none() => known.state.clone_from(&stage.state),
            Some(_) => {}
        }
    }
}

/// Adds those that are not there yet.
fn extend<T: Clone, K: PartialEq>(all: &mut Vec<T>, others: &[T], key: impl Fn(&T) -> K) {
    for other in others {
        if !all.iter().any(|one| key(one) == key(other)) {
            all.push(other.clone());
        }
    }
}

#[cfg(test)]
mod tests;
