//! A run of as many cells as one wants, as a run on a real cluster gives them.

use reachmap_wire::Step;

use super::super::{Counts, Environment, Run, StageRecord, grid};
use crate::{state::State, testing, verdict::Judgement};

/// A run with so many cells, in as many stages as that takes; every fiftieth is not as expected.
pub(in crate::report) fn of_cells(cells: usize) -> Run {
    let mut run = Run {
        started: "2026-11-24T02:45:46Z".parse().unwrap(),
        finished: Some("2026-11-24T02:53:35Z".parse().unwrap()),
        environment: Environment { engine: Some("sandbox".to_owned()), ..Environment::default() },
        ..Run::started("20261124-024546-77", &["e2e".to_owned()])
    };
    for round in 0.. {
        let missing = cells - run.verdicts.len();
        if missing == 0 {
            break;
        }
        let named = |stage: &str| if round == 0 { stage.to_owned() } else { format!("{stage}-{round}") };
        let mut verdicts = testing::verdicts();
        verdicts.truncate(missing);
        for verdict in &mut verdicts {
            verdict.stage = named(&verdict.stage);
        }
        run.verdicts.extend(verdicts);
        for (stage, state) in
            [("load-balancer-pending", State::example_pending()), ("load-balancer-ready", State::example())]
        {
            run.stages.push(StageRecord { id: named(stage), state: Some(state) });
        }
    }
    for verdict in run.verdicts.iter_mut().step_by(50) {
        verdict.outcome = Judgement::NotAsExpected {
            step: Step::Connect,
            expected: "a connection to 10.96.52.135:80".to_owned(),
            observed: "no answer in time at 10.96.52.135:80".to_owned(),
        };
    }
    grid::sort(&mut run.verdicts);
    run.environment.complete(&State::example());
    run.counts = Counts::of(&run.verdicts);
    run
}
