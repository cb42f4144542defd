//! Which cells a run probes, and which tests do it.

use std::collections::{BTreeMap, BTreeSet};

use super::suite::{About, Suite, SuiteBinary};
use crate::{Error, ErrorCode, ErrorKind, Result, filter::Filter, matrix::Stage};

/// The tests of one suite in one stage that a run starts, and the cells that it leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTests<'a> {
    /// The tests to start.
    pub tests: BTreeSet<&'a str>,
    /// The cells that are chosen but cannot be had here: vantage, method, and what is missing.
    pub unsupported: Vec<(String, String, String)>,
}

/// The workers that the matrix always has: without one of them, its cells are not supported, and are said to be so.
const ALWAYS: u8 = 3;

/// Where the loads come from that a suite about load cannot do without, and what they load.
const LOADED: (&str, &str) = ("laptop", "loadbalancer-address");

/// Chooses among the tests of `suite` in `stage`, by what the suite is about.
///
/// # Errors
/// As [`of_stage`].
pub fn of_suite<'a>(
    suite: &Suite,
    binary: &'a SuiteBinary,
    stage: &str,
    only: Option<&Filter>,
    workers: u8,
    unsupported: &BTreeMap<String, String>,
) -> Result<StageTests<'a>> {
    match suite.about {
        About::Load => of_load(binary, stage, only, unsupported),
        _ => of_stage(binary, stage, only, workers, unsupported),
    }
}

/// The tests that need no cluster: none of them is about a cell that `only` could match.
pub fn without_cluster<'a>(binary: &'a SuiteBinary, only: Option<&Filter>) -> impl Iterator<Item = &'a str> + use<'a> {
    let all = only.is_none();
    binary.without_cluster().filter(move |_| all)
}

/// Makes sure that a run of these suites has something to show: one that has not must not look as if all were well.
///
/// # Errors
/// [`ErrorKind::Usage`] if no test is chosen, and no cell is left out because it cannot be had here.
pub fn check_any(
    suites: &[&Suite],
    binaries: &[SuiteBinary],
    only: Option<&Filter>,
    workers: u8,
    unsupported: &BTreeMap<String, String>,
) -> Result<()> {
    for (suite, binary) in suites.iter().zip(binaries) {
        for stage in Stage::ALL {
            let chosen = of_suite(suite, binary, stage.id(), only, workers, unsupported)?;
            if !chosen.tests.is_empty() || !chosen.unsupported.is_empty() {
                return Ok(());
            }
        }
        if without_cluster(binary, only).next().is_some() {
            return Ok(());
        }
    }
    let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
    let cause =
        if only.is_some() { "`--only` matches none of their tests" } else { "this cluster has no stage of theirs" };
    Err(Error::new(ErrorKind::Usage, format!("find something to run in the suites {}", names.join(", ")), cause)
        .with_code(ErrorCode::Cells)
        .hint("`--list` prints the cells that can be chosen."))
}

/// Chooses the tests of a suite about load: all of them, or none if the cell that they rest on cannot be had here.
///
/// # Errors
/// As [`of_stage`].
pub fn of_load<'a>(
    binary: &'a SuiteBinary,
    stage: &str,
    only: Option<&Filter>,
    unsupported: &BTreeMap<String, String>,
) -> Result<StageTests<'a>> {
    let mut chosen = of_stage(binary, stage, only, ALWAYS, unsupported)?;
    for (filter, reason) in unsupported {
        if !chosen.tests.is_empty() && Filter::parse(filter)?.matches(stage, LOADED.0, LOADED.1) {
            chosen.tests.clear();
            chosen.unsupported.push((LOADED.0.to_owned(), LOADED.1.to_owned(), reason.clone()));
        }
    }
    Ok(chosen)
}

/// Chooses among the tests of `stage`: those whose cell `only` matches and `unsupported` does not.
///
/// A suite has cells for as many workers as a cluster can have; those beyond `workers` are no cells of this run.
///
/// Tests that are about no single cell run when their stage as a whole is chosen, and can be had.
///
/// # Errors
/// [`crate::ErrorKind::Usage`] if a key of `unsupported` is no filter.
pub fn of_stage<'a>(
    binary: &'a SuiteBinary,
    stage: &str,
    only: Option<&Filter>,
    workers: u8,
    unsupported: &BTreeMap<String, String>,
) -> Result<StageTests<'a>> {
    let missing: Vec<(Filter, &String)> =
        unsupported.iter().map(|(filter, reason)| Ok((Filter::parse(filter)?, reason))).collect::<Result<_>>()?;
    let mut chosen = StageTests { tests: BTreeSet::new(), unsupported: Vec::new() };
    for (test, cell) in binary.of_stage(stage) {
        let Some((vantage, method)) = cell else {
            let whole_stage = |filter: &Filter| filter.matches_stage(stage);
            if only.is_none_or(whole_stage) && !missing.iter().any(|(filter, _)| whole_stage(filter)) {
                chosen.tests.insert(test);
            }
            continue;
        };
        if [&vantage, &method].into_iter().filter_map(|id| worker(id)).any(|number| number > workers.max(ALWAYS)) {
            continue;
        }
        if !only.is_none_or(|only| only.matches(stage, &vantage, &method)) {
            continue;
        }
        match missing.iter().find(|(filter, _)| filter.matches(stage, &vantage, &method)) {
            Some((_, reason)) => chosen.unsupported.push((vantage, method, (*reason).clone())),
            None => {
                chosen.tests.insert(test);
            }
        }
    }
    Ok(chosen)
}

/// The number of the worker that a vantage or a method is about: 2 of `worker-2` and `nodeport-worker-2`.
pub(super) fn worker(id: &str) -> Option<u8> {
    let (before, number) = id.rsplit_once("worker-")?;
    if before.is_empty() || before.ends_with('-') { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary() -> SuiteBinary {
        let tests =
            ["one::reaches::from_1_LAPTOP::by_1_POD_IP", "one::reaches::from_2_TESTPOD::by_1_POD_IP", "one::table"];
        SuiteBinary { path: "access".into(), tests: tests.map(Into::into).into(), dir: "/".into() }
    }

    #[test]
    fn everything_is_chosen_unless_something_narrows_it_down() {
        let binary = binary();
        let chosen = of_stage(&binary, "one", None, 3, &BTreeMap::new()).unwrap();
        assert_eq!(chosen.tests.len(), 3);
        let laptop = Filter::parse("laptop").unwrap();
        let chosen = of_stage(&binary, "one", Some(&laptop), 3, &BTreeMap::new()).unwrap();
        assert_eq!(chosen.tests, ["one::reaches::from_1_LAPTOP::by_1_POD_IP"].into());
        let stage = Filter::parse("one").unwrap();
        assert_eq!(of_stage(&binary, "one", Some(&stage), 3, &BTreeMap::new()).unwrap().tests.len(), 3);
    }

    #[test]
    fn a_run_without_anything_to_show_is_refused() {
        let named = |tests: &[&str]| {
            let tests = tests.iter().map(|test| (*test).to_owned()).collect();
            [SuiteBinary { path: "shop".into(), tests, dir: "/".into() }]
        };
        let suite = Suite::new("shop", "shop-suite").about(About::Stages);
        let ready = "load_balancer_ready::reaches::from_1_LAPTOP::by_1_POD_IP";
        let (nothing, laptop, testpod) = (BTreeMap::new(), Filter::parse("laptop"), Filter::parse("testpod"));
        let check =
            |tests: &[&str], only: Option<&Filter>, missing| check_any(&[&suite], &named(tests), only, 3, missing);
        check(&[ready], laptop.as_ref().ok(), &nothing).unwrap();
        check(&["without_cluster::adds_up"], None, &nothing).unwrap();
        // What is not supported is said to be so, which is something.
        let missing = BTreeMap::from([("*/laptop/*".to_owned(), "no laptop here".to_owned())]);
        check(&[ready], None, &missing).unwrap();

        let no_stage = BTreeMap::from([("load-balancer-ready/*/*".to_owned(), "no load balancer".to_owned())]);
        for (tests, only, missing) in [
            (&[ready][..], testpod.as_ref().ok(), &nothing),
            (&[ready, "without_cluster::adds_up"], testpod.as_ref().ok(), &nothing),
            (&["load_balancer_redy::is_open"], None, &nothing),
            (&["load_balancer_ready::is_open"], None, &no_stage),
        ] {
            let error = check(tests, only, missing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{tests:?}");
            assert!(error.to_string().contains("in the suites shop"), "{error}");
        }
    }

    #[test]
    fn a_worker_that_no_cluster_of_the_run_has_is_no_cell() {
        let tests =
            ["one::reaches::from_1_WORKER_4::by_1_POD_IP", "one::reaches::from_1_TESTPOD::by_2_NODEPORT_WORKER_5"];
        let binary = SuiteBinary { path: "access".into(), tests: tests.map(Into::into).into(), dir: "/".into() };
        let chosen = |workers| of_stage(&binary, "one", None, workers, &BTreeMap::new()).unwrap().tests.len();
        assert_eq!([1, 3, 4, 5].map(chosen), [0, 0, 1, 2]);
    }

    #[test]
    fn what_cannot_be_had_is_left_out_with_its_reason() {
        let missing = BTreeMap::from([("*/laptop/*".to_owned(), "no laptop here".to_owned())]);
        let binary = binary();
        let chosen = of_stage(&binary, "one", None, 3, &missing).unwrap();
        assert_eq!(chosen.tests, ["one::reaches::from_2_TESTPOD::by_1_POD_IP", "one::table"].into());
        assert_eq!(chosen.unsupported, [("laptop".into(), "pod-ip".into(), "no laptop here".into())]);
        let stage = BTreeMap::from([("one/*/*".to_owned(), "not this stage".to_owned())]);
        assert!(of_stage(&binary, "one", None, 3, &stage).unwrap().tests.is_empty());
    }
}
