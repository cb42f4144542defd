//! Who answers, and what source address it sees, under each traffic policy of the Services: one test per cell, and loads
//! for what one request cannot tell.

use std::{collections::BTreeSet, time::Duration};

use futures::future::try_join_all;
use reachmap::{
    Result,
    environment::policies::AFFINITY_SECONDS,
    load::{
        generator::Plan as LoadPlan,
        statistics::{Law, Plan as Statistics},
        summary::AsHey,
    },
    model::{Method, Selection},
    report::explain_load,
    session::{Session, load::BothEnds},
    wire::Extent,
};
use reachmap_suites::prelude::*;
use rstest::rstest;

/// One load at a time: each follows the logs of the same pods.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Enough that an endpoint which may answer as well as another is missed once in 10^17 times: (2/3)^100.
const CONNECTIONS: u32 = 100;

/// Every vantage by every way of translating, and one without.
macro_rules! cells {
    () => {
        reachmap_suites::from_everywhere! {
            check, by: CLUSTERIP_ADDRESS, POD_IP, NODEPORT_WORKER_1, NODEPORT_CONTROL_PLANE, LOADBALANCER_ADDRESS,
        }
    };
}

async fn check(from: &str, by: &str) -> Result<()> {
    let verdict = reachmap_suites::check(from, by).await?;
    reachmap::assert_as_expected!(verdict);
    Ok(())
}

/// As many connections as [`CONNECTIONS`], answered without a failure by pods that may answer, which saw what they may see. A
/// law that leaves nothing to chance holds for them exactly. The load is in the report, whether it is so or not.
async fn load(vantage: &str, method: &str) -> Result<BothEnds> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let id = format!("{}-{vantage}-{method}", session.handover().stage);
    holds(session, session.load(vantage, method, &plan(), &id).await?)
}

fn plan() -> LoadPlan {
    let extent = Extent::Requests(CONNECTIONS.into());
    LoadPlan { extent, connections: 10, keep_alive: false, ..LoadPlan::default() }
}

/// What holds of every load here.
fn holds(session: &Session, ends: BothEnds) -> Result<BothEnds> {
    let law = Law::of(&ends.balance)?;
    let exact = (law.tests() == 0).then(Statistics::default);
    let record = session.judge_load(&ends, exact.as_ref())?;
    assert!(record.is_as_expected(), "{}", explain_load(&record));
    assert!(ends.results.errors().is_empty(), "{}", AsHey(&ends.results));
    assert!(ends.conservation.is_exact(), "{}", ends.conservation);
    assert!(ends.not_allowed.is_empty(), "{:#?}", ends.not_allowed);
    Ok(ends)
}

fn answered(ends: &BothEnds) -> BTreeSet<String> {
    ends.results.served_by().into_keys().flatten().map(ToOwned::to_owned).collect()
}

/// All that may answer do, and nobody else.
async fn spreads(vantage: &str, method: &str) -> Result<usize> {
    let ends = load(vantage, method).await?;
    let may: BTreeSet<String> = ends.balance.support().into_iter().map(ToOwned::to_owned).collect();
    assert_eq!(answered(&ends), may, "who answered (left) and who may (right)");
    Ok(may.len())
}

mod policy_external_local {
    use super::*;

    cells!();

    #[tokio::test]
    async fn from_outside_only_the_nodes_own_pod_answers() -> Result<()> {
        assert_eq!(spreads(WORKER_2, NODEPORT_WORKER_1).await?, 1);
        Ok(())
    }

    #[tokio::test]
    async fn from_inside_every_pod_answers_as_before() -> Result<()> {
        assert_eq!(spreads(TESTPOD, CLUSTERIP_ADDRESS).await?, 3);
        Ok(())
    }
}

mod policy_internal_local {
    use super::*;

    cells!();

    #[tokio::test]
    async fn from_inside_only_the_nodes_own_pod_answers() -> Result<()> {
        assert_eq!(spreads(WORKER_1, CLUSTERIP_ADDRESS).await?, 1);
        Ok(())
    }

    #[tokio::test]
    async fn from_outside_every_pod_answers_as_before() -> Result<()> {
        assert_eq!(spreads(WORKER_2, NODEPORT_WORKER_1).await?, 3);
        Ok(())
    }
}

mod policy_same_node {
    use super::*;

    cells!();

    #[tokio::test]
    async fn where_a_node_has_a_pod_that_one_answers() -> Result<()> {
        assert_eq!(spreads(WORKER_1, CLUSTERIP_ADDRESS).await?, 1);
        assert_eq!(spreads(WORKER_2, NODEPORT_WORKER_1).await?, 1);
        Ok(())
    }

    /// It is a preference, where the policy `Local` is a rule.
    #[tokio::test]
    async fn where_a_node_has_none_every_pod_answers() -> Result<()> {
        assert_eq!(spreads(CONTROL_PLANE, CLUSTERIP_ADDRESS).await?, 3);
        Ok(())
    }
}

mod policy_same_zone {
    use reachmap_suites::{
        changes::changed,
        on_the_sessions_runtime,
        web::{ALWAYS, Servers, Web, page, server},
    };
    use serde_json::json;

    use super::*;

    /// A Service of the test's own, with a server in each of two zones.
    const NAME: &str = "zoned";
    const HERE: &str = "zoned-here";
    const ELSEWHERE: &str = "zoned-elsewhere";

    cells!();

    /// Two of the three pods are in the zone of worker-1 and worker-2, one is in that of worker-3.
    #[tokio::test]
    async fn where_a_zone_has_pods_those_answer() -> Result<()> {
        assert_eq!(spreads(WORKER_1, CLUSTERIP_ADDRESS).await?, 2);
        assert_eq!(spreads(WORKER_3, CLUSTERIP_ADDRESS).await?, 1);
        // The node that is named translates, and goes by its own zone.
        assert_eq!(spreads(WORKER_3, NODEPORT_WORKER_1).await?, 2);
        Ok(())
    }

    /// The control plane is in a zone without a pod of the tutorial's.
    #[tokio::test]
    async fn where_a_zone_has_none_every_pod_answers() -> Result<()> {
        assert_eq!(spreads(CONTROL_PLANE, CLUSTERIP_ADDRESS).await?, 3);
        Ok(())
    }

    /// From worker-3: its zone's only server answers; once that is gone, the one elsewhere; and once it is there again, it
    /// alone. `PreferSameZone` is the same as `PreferClose`, by its newer name.
    #[test]
    fn a_zone_that_loses_its_endpoints_is_served_from_elsewhere() -> Result<()> {
        on_the_sessions_runtime(async {
            let session = Session::current()?;
            let node = |id| session.state().node_by_id(id).map(|node| node.name.clone());
            let kind = |name| Servers {
                name,
                replicas: 1,
                configuration: server(&[80, ALWAYS], &page()),
                ports: vec![("web", 80), ("always", ALWAYS)],
            };
            let ports = json!([{ "port": 80, "targetPort": 80 }]);
            let spec = json!({ "ports": ports, "trafficDistribution": "PreferSameZone" });
            let web = Web::new(session, NAME, vec![kind(HERE), kind(ELSEWHERE)], spec)
                .pinned(HERE, &node(WORKER_3)?)
                .pinned(ELSEWHERE, &node(WORKER_1)?);
            changed(
                || web.deploy(),
                || async {
                    answers(session, &web, HERE, Selection::SameZone, "zoned-before").await?;
                    web.scale(HERE, 0, 1).await?;
                    answers(session, &web, ELSEWHERE, Selection::Ready, "zoned-without").await?;
                    web.scale(HERE, 1, 2).await?;
                    answers(session, &web, HERE, Selection::SameZone, "zoned-after").await
                },
                || web.remove(),
            )
            .await
        })
    }

    /// To worker-3, every answer is from that kind of server alone, and by that selection.
    async fn answers(session: &Session, web: &Web, kind: &str, by: Selection, name: &str) -> Result<()> {
        let _alone = ONE_AT_A_TIME.lock().await;
        let method = Method { id: "zoned-address".to_owned(), way: web.cluster_ip() };
        let ends = session.load_by(WORKER_3, &method, web.logged(), &plan(), name).await?;
        let ends = holds(session, ends)?;
        assert_eq!(ends.balance.selection, Some(by), "{}", ends.balance.why());
        let due: BTreeSet<String> = web.pods_of(&session.snapshot().await?, kind)?.into_iter().collect();
        assert_eq!(answered(&ends), due, "who answered (left), and the pods of {kind}");
        Ok(())
    }
}

mod policy_affinity {
    use super::*;

    const CLIENTS: [&str; 6] = [TESTPOD, TESTPOD_OTHER, WORKER_1, WORKER_2, WORKER_3, CONTROL_PLANE];

    cells!();

    #[rstest]
    #[tokio::test]
    async fn a_client_keeps_its_pod(
        #[values((TESTPOD, CLUSTERIP_ADDRESS), (WORKER_2, NODEPORT_WORKER_1))] row: (&str, &str),
    ) -> Result<()> {
        let ends = load(row.0, row.1).await?;
        assert_eq!(answered(&ends).len(), 1, "{:?}", ends.results.served_by());
        Ok(())
    }

    /// Six clients are silent for longer than the timeout, three times, and each then chooses anew among three pods. The
    /// other tests may break the first silence; that nobody chooses another pod in the other two has a chance of (1/3)^12.
    #[tokio::test]
    async fn a_client_that_was_silent_chooses_anew() -> Result<()> {
        let session = Session::current()?;
        let mut chosen = vec![BTreeSet::new(); CLIENTS.len()];
        for _ in 0..4 {
            let asked = CLIENTS.map(|client| session.judge_in(session.state(), client, CLUSTERIP_ADDRESS));
            for (pods, verdict) in chosen.iter_mut().zip(try_join_all(asked).await?) {
                reachmap::assert_as_expected!(verdict);
                let answer = verdict.observation.and_then(|seen| seen.respond).and_then(|answer| answer.served_by);
                pods.insert(answer.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_secs(u64::from(AFFINITY_SECONDS) + 2)).await;
        }
        assert!(chosen.iter().any(|pods| pods.len() > 1), "{chosen:?}");
        Ok(())
    }
}
