//! The tests of a suite's loads are one family: what is to be said of them when all are known.

use std::collections::BTreeSet;

use super::{LoadOutcome, LoadRecord};
use crate::load::statistics::{Holm, Judgement};

/// Settles the tests of each suite's loads by Holm's method, and judges the loads by that.
///
/// A load whose test has found something by itself keeps that verdict; where there is one, others may come to it. That there
/// were more tests than their plans knew of is a finding of each: none of them has the power that it states.
pub(in crate::report) fn settle(loads: &mut [LoadRecord]) {
    let suites: BTreeSet<String> = loads.iter().map(|load| load.suite.clone()).collect();
    for suite in suites {
        let mut tested: Vec<&mut LoadRecord> =
            loads.iter_mut().filter(|load| load.suite == suite && is_tested(load)).collect();
        let judgements = || tested.iter().flat_map(|load| &load.judgements);
        let Some(alpha) = judgements().map(|judgement: &Judgement| judgement.alpha).reduce(f64::min) else { continue };
        let settled = Holm::new(alpha).settle(tested.iter_mut().flat_map(|load| &mut load.judgements));
        for load in tested {
            load.outcome = load.judge();
            if let Err(error) = &settled {
                load.outcome.find(format!("The tests of the suite could not be judged together: {error}."));
            }
        }
    }
}

/// Whether its spread was tested, and is to be judged.
fn is_tested(load: &LoadRecord) -> bool {
    let is_judged = !matches!(load.outcome, LoadOutcome::NotJudged { .. });
    is_judged && load.judgements.iter().any(|judgement| judgement.p.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// A load of which one test has this p-value, in a plan of ten.
    fn with_p(name: &str, p: f64) -> LoadRecord {
        let mut load = LoadRecord { name: name.to_owned(), ..sample::loads::as_expected() };
        load.judgements.truncate(1);
        let judgement = &mut load.judgements[0];
        (judgement.p, judgement.adjusted_p) = (Some(p), Some(p * f64::from(judgement.tests)));
        load
    }

    #[test]
    fn what_one_test_found_makes_others_stricter() {
        let (alpha, tests) = (7e-4, 10.0);
        // By itself, the second is a hair's breadth above its part of alpha; as the second of ten it is below.
        let mut loads =
            [with_p("one", alpha / tests / 2.0), with_p("two", alpha / (tests - 0.5)), with_p("three", 0.4)];
        settle(&mut loads);
        assert_eq!(loads.each_ref().map(LoadRecord::is_as_expected), [false, false, true]);
        // Alone, it is consistent; and so it is if the first is of another suite.
        let [mut first, second, _] = loads;
        first.suite = "other".to_owned();
        let mut loads = [first, second];
        settle(&mut loads);
        assert_eq!(loads.each_ref().map(LoadRecord::is_as_expected), [false, true]);
        let before = loads.clone();
        settle(&mut loads);
        assert_eq!(loads, before, "the second time changes nothing");
    }

    #[test]
    fn more_tests_than_were_planned_are_no_success() {
        let mut loads: Vec<LoadRecord> = (0..11).map(|number| with_p(&number.to_string(), 0.5)).collect();
        settle(&mut loads);
        let LoadOutcome::NotAsExpected { findings } = &loads[0].outcome else { panic!("{:?}", loads[0].outcome) };
        assert!(findings[0].contains("there are 11 tests, and a plan for 10"), "{findings:?}");
        assert!(loads.iter().all(LoadRecord::is_not_as_expected));
    }
}
