//! A load with a rate: what was due, what started, and how late.

use reachmap::{
    Result,
    load::generator::Plan as LoadPlan,
    report::{LoadOutcome, explain_load},
    session::Session,
    wire::Extent,
};
use reachmap_suites::prelude::TESTPOD;

use super::{ONE_AT_A_TIME, plan};

/// Ten times what the generator does here at best, in requests a second.
const BEYOND: f64 = 200_000.0;

/// A rate that cannot be kept is reported as such: what came of it says nothing of the Service at that rate.
#[tokio::test]
async fn a_rate_beyond_the_machine_is_reported() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let beyond = LoadPlan { extent: Extent::DurationMs(500), rate_per_second: Some(BEYOND), ..plan(1_000, true) };
    let ends = session.load(TESTPOD, "clusterip-address", &beyond, "rate-beyond").await?;
    // Not judged: it would make the run red, as it must.
    let record = session.note_load(&ends, "No machine keeps its rate: it shows that this is said.")?;
    let kept = record.kept.expect("it had a rate");
    assert_eq!(kept.due, 100_000, "{kept:?}");
    assert!(kept.started < kept.due && kept.achieved < BEYOND && !kept.is_kept(), "{kept:?}");
    let LoadOutcome::NotAsExpected { findings } = record.judge() else { panic!("{}", explain_load(&record)) };
    assert!(findings.iter().any(|finding| finding.starts_with("The rate was not kept:")), "{findings:?}");
    assert!(explain_load(&record).contains("requests that were due started"), "{}", explain_load(&record));
    Ok(())
}
