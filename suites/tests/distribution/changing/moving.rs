//! Load on the load balancer's address while the speaker that announces it is killed, and while its node is cut off.

use std::time::Duration;

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    k8s_openapi::api::core::v1::Pod,
    kube::{
        Api,
        api::{DeleteParams, ListParams},
    },
    session::Session,
    state::State,
};
use reachmap_suites::{
    link,
    live::until_rules_are_new,
    lives::now_us,
    moving::{MOVED_US, Moved},
    on_the_sessions_runtime,
    prelude::LAPTOP,
};
use tokio::time::Instant;

use super::{ADDRESSES, AT_MOST, ENDPOINTS};

/// How often it is asked whether a speaker runs again.
const LOOK: Duration = Duration::from_millis(200);

/// The label of MetalLB's speakers.
const SPEAKERS: &str = "component=speaker";

/// How long a node is cut off from the network: longer than it takes until another one has taken over, and shorter than the
/// harness is patient with agents that it does not hear of.
const CUT_OFF_SECONDS: u64 = 10;

/// Until what was sent to a node that is not there has ended: as long as a request waits.
const LOST_US: u64 = 3_000_000;

fn from_the_laptop(_: &State, _: &str) -> Vec<String> {
    vec![LAPTOP.to_owned()]
}

/// The speaker that announces the load balancer's address is killed: another one takes over, and it takes the address back
/// when it runs again. A connection that is under way when the address moves ends at a node that has never heard of it,
/// and is reset; none fails before or after.
#[test]
fn a_killed_speaker_fails_requests_only_while_the_address_moves() -> Result<()> {
    on_the_sessions_runtime(async {
        let _alone = ADDRESSES.lock().await;
        let session = Session::current()?;
        let kill = |node: String| async move {
            let killed = kill_speaker(session, &node).await?;
            until_it_runs_again(session, &node, &killed).await
        };
        let (moved, runs_us) = Box::pin(Moved::while_it_moves(session, from_the_laptop, kill)).await?;
        moved.record("speaker", "the announcing speaker is killed")?;
        let (taken, back) = moved.hold(runs_us);
        moved.told(&moved.takers[0].0, back);
        moved.none_failed_outside(&[(moved.began_us(), taken + MOVED_US), (runs_us, back + MOVED_US)]);
        Ok(())
    })
}

/// The node that announces the address is cut off from the network, as a node that stops is for everybody else: another one
/// takes over. Until the node is back, a pod on it still is an endpoint, and connections that are led to it get no answer. When
/// it is back, two nodes may answer for the address until they have heard of each other; whoever talks to the other one is
/// served as well, and no request fails any more.
#[test]
fn a_node_that_is_cut_off_fails_requests_only_while_it_is() -> Result<()> {
    on_the_sessions_runtime(async {
        let endpoints = ENDPOINTS.lock().await;
        let _alone = ADDRESSES.lock().await;
        let session = Session::current()?;
        let cut = |node: String| async move {
            cut_off(session, &node).await?;
            let cut_us = now_us();
            tokio::time::sleep(Duration::from_secs(CUT_OFF_SECONDS)).await;
            until_rules_are_new(session, "cut-off").await?;
            // The address may still be on its way back; nothing else is.
            drop(endpoints);
            Ok(cut_us)
        };
        let (moved, cut_us) = Box::pin(Moved::while_it_moves(session, from_the_laptop, cut)).await?;
        moved.record("node", &format!("the announcing node is cut off for {CUT_OFF_SECONDS} s"))?;
        let off_us = CUT_OFF_SECONDS * 1_000_000;
        let (_, back) = moved.hold(moved.began_us() + off_us);
        let there_us = cut_us + off_us;
        moved.none_failed_outside(&[(moved.began_us(), there_us + LOST_US), (back, back + MOVED_US)]);
        Ok(())
    })
}

/// The speakers on a node.
async fn speakers(session: &Session, node: &str) -> Result<Vec<Pod>> {
    let list = ListParams::default().labels(SPEAKERS).fields(&format!("spec.nodeName={node}"));
    let speakers = metallb(session).list(&list).await;
    Ok(speakers.tried(ErrorKind::Environment, || format!("list the speakers on {node}"))?.items)
}

fn metallb(session: &Session) -> Api<Pod> {
    Api::namespaced(session.client().clone(), "metallb-system")
}

/// Returns which pod that was.
async fn kill_speaker(session: &Session, node: &str) -> Result<String> {
    let speaker = speakers(session, node).await?.first().and_then(|pod| pod.metadata.name.clone());
    let speaker =
        speaker.ok_or_else(|| Error::new(ErrorKind::Environment, "find the speaker", format!("none on {node}")))?;
    let killed = metallb(session).delete(&speaker, &DeleteParams::default().grace_period(0)).await;
    killed.tried(ErrorKind::Environment, || format!("kill {speaker}"))?;
    Ok(speaker)
}

/// Waits until another speaker than the `killed` one runs on the node, and returns when it was last seen that none does.
async fn until_it_runs_again(session: &Session, node: &str, killed: &str) -> Result<u64> {
    let runs = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        containers
            .into_iter()
            .flatten()
            .any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
    };
    let (mut last_us, deadline) = (now_us(), Instant::now() + AT_MOST);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let looked_us = now_us();
        let speakers = speakers(session, node).await?;
        if speakers.iter().any(|pod| pod.metadata.name.as_deref() != Some(killed) && runs(pod)) {
            return Ok(last_us);
        }
        last_us = looked_us;
        assert!(Instant::now() < deadline, "no speaker runs on {node} again");
    }
}

/// Has the node itself put its link up again, whatever becomes of us meanwhile.
const FOR_A_WHILE: &str = r#"setsid sh -c "$down; sleep $seconds; $up" </dev/null >/dev/null 2>&1 &"#;

async fn cut_off(session: &Session, node: &str) -> Result<()> {
    let script = format!("seconds={CUT_OFF_SECONDS}\n{}\n{FOR_A_WHILE}", link::of(session.state(), node)?);
    let said = session.run_on_node(node, &["sh", "-e", "-c", &script], Duration::from_secs(10)).await?;
    if said.code == Some(0) {
        return Ok(());
    }
    let tried = format!("cut {node} off from the network");
    Err(Error::new(ErrorKind::Environment, tried, String::from_utf8_lossy(&said.stderr)))
}
