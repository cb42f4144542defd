//! Load on the load balancer's address while it moves from node to node: whose it is by the cluster's own word, and who
//! answers for it on the link.

use std::{
    collections::BTreeSet,
    future::Future,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::try_join;
use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::{LOAD_BALANCER, NAMESPACE},
    k8s_openapi::api::core::v1::Pod,
    kube::{
        Api,
        api::{DeleteParams, ListParams},
    },
    load::{
        arp::{Answered, Question},
        timeline::{Mark, Timeline},
    },
    report::{ArpRecord, ChangeRecord},
    session::Session,
    state::State,
};
use reachmap_suites::{
    live::{until_announced, until_rules_are_new},
    lives::now_us,
    on_the_sessions_runtime,
    prelude::LAPTOP,
    watched::Watched,
};
use tokio::time::Instant;

use super::{ADDRESSES, AT_MOST, ENDPOINTS, steady::during};

/// How often it is asked who announces the load balancer's address.
const LOOK: Duration = Duration::from_millis(200);

/// The label of MetalLB's speakers.
const SPEAKERS: &str = "component=speaker";

/// How long a node is cut off from the network: longer than it takes until another one has taken over, and shorter than the
/// harness is patient with agents that it does not hear of.
const CUT_OFF_SECONDS: u64 = 10;

/// Until a change that the cluster says nothing of has had its effect.
const SETTLED: Duration = Duration::from_secs(10);

/// Until what was under way when the address moved has ended.
const MOVED_US: u64 = 2_000_000;

/// The same for what is sent to a node that is not there: as long as a request waits.
const LOST_US: u64 = 3_000_000;

/// What was seen while the address moved.
struct Moved {
    line: Timeline,
    answered: Answered,
    /// Who announced it by the cluster's own word, and since when that is known: first who did before, when the change began.
    takers: Vec<(String, u64)>,
}

impl Moved {
    /// Loads the address from the laptop while `change` happens to the node that announces it, until that one alone answers for
    /// it again; returns what the change has to tell, too.
    async fn while_it_moves<T, C>(session: &'static Session, change: impl FnOnce(String) -> C) -> Result<(Self, T)>
    where
        C: Future<Output = Result<T>>,
    {
        let before = until_announced(session, LOAD_BALANCER).await?;
        let first = announcer(&before).unwrap_or_default();
        let watched = Watched::of(&before)?;
        let watching = watched.watch(session).await?;
        let laptop = [LAPTOP.to_owned()];
        let target = (watched.address, 80).into();
        let (line, _, (told, takers)) = during(session, &laptop, target, "nginx", async {
            let is_over = AtomicBool::new(false);
            let change = async {
                let told = change(first.clone()).await?;
                is_over.store(true, Ordering::Relaxed);
                Ok(told)
            };
            try_join(change, until_back(&watched, session, &first, &is_over)).await
        })
        .await?;
        Ok((Self { line, answered: watched.answered(&watching.finish().await?), takers }, told))
    }

    fn began_us(&self) -> u64 {
        self.takers.first().map_or(0, |(_, at)| *at)
    }

    fn record(&self, name: &str, what: &str) -> Result<()> {
        let moves = self.answered.moves();
        let said = self.takers.iter().map(|(node, at)| Mark { at_us: *at, what: format!("announced by {node}") });
        let answered = moves.iter().map(|(at, node)| Mark { at_us: *at, what: format!("{node} answers by ARP") });
        let mut marks: Vec<Mark> = said.chain(answered).collect();
        marks.sort_by_key(|mark| mark.at_us);
        let line = Timeline { marks, events: self.line.events.clone() };
        let record = ChangeRecord::of(name, what, &line, (self.began_us(), &BTreeSet::new()), &[]);
        let arp = Some(ArpRecord::of(&self.answered, self.began_us()));
        Session::current()?.record_change(ChangeRecord { arp, ..record })
    }

    /// One other node took over, and told everybody; then the first one had the address back, for which it could not answer
    /// again before `may_us`. Outside of the two moves, every question was answered by exactly one node.
    ///
    /// Returns when the one move was over, and when the other.
    fn hold(&self, may_us: u64) -> (u64, u64) {
        let began = self.began_us();
        let first = self.takers[0].0.as_str();
        let moves = self.answered.moves();
        let [(_, before), (taken, other), (back, after)] = moves[..] else {
            panic!("it did not go from {first} to another node and back: {moves:?}");
        };
        assert_eq!((before, after), (first, first), "who answered before and after, and who announces it");
        assert!(taken > began, "somebody else answered before anything had changed");
        self.told(other, taken);
        let moving = [(began, taken), (may_us, back)];
        assert_eq!(self.answered.not_by_one_outside(&moving), Vec::<&Question>::new(), "moving in {moving:?}");
        let last = self.line.events.last().map_or(0, |event| event.start_us);
        let asked = self.answered.questions.last().map_or(0, |question| question.at_us);
        assert!(asked + MOVED_US > last, "nothing was asked any more after {asked}, and loaded until {last}");
        (taken, back)
    }

    /// The node that took the address told everybody (gratuitous ARP), as it must: who has talked to another node before
    /// would go on doing so.
    fn told(&self, node: &str, at_us: u64) {
        let near = |(said, by): &&(u64, String)| by == node && said.abs_diff(at_us) < MOVED_US;
        let gratuitous = &self.answered.gratuitous;
        assert!(
            gratuitous.iter().any(|said| near(&said)),
            "{node} answered at {at_us} and told nobody: {gratuitous:?}"
        );
    }

    /// No request failed outside of these windows.
    fn none_failed_outside(&self, windows: &[(u64, u64)]) {
        let unexcused: Vec<String> = self.line.failed_outside(windows).iter().map(ToString::to_string).collect();
        assert!(unexcused.is_empty(), "{unexcused:#?}");
    }
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
        let (moved, runs_us) = Box::pin(Moved::while_it_moves(session, kill)).await?;
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
        let (moved, cut_us) = Box::pin(Moved::while_it_moves(session, cut)).await?;
        moved.record("node", &format!("the announcing node is cut off for {CUT_OFF_SECONDS} s"))?;
        let off_us = CUT_OFF_SECONDS * 1_000_000;
        let (_, back) = moved.hold(moved.began_us() + off_us);
        let there_us = cut_us + off_us;
        moved.none_failed_outside(&[(moved.began_us(), there_us + LOST_US), (back, back + MOVED_US)]);
        Ok(())
    })
}

/// Who announces it by the cluster's word, one after the other, until the change is over and the first of them alone
/// announces it and answers for it again: MetalLB's choice is always the same among the same nodes.
/// The cluster's word may leave out one who had the address for a moment; who answered for it does not.
async fn until_back(
    watched: &Watched,
    session: &Session,
    first: &str,
    is_over: &AtomicBool,
) -> Result<Vec<(String, u64)>> {
    let mut takers = vec![(first.to_owned(), now_us())];
    let mut looks = tokio::time::interval(LOOK);
    let (settled, deadline) = (Instant::now() + SETTLED, Instant::now() + AT_MOST);
    loop {
        looks.tick().await;
        let now = announcer(&session.snapshot().await?);
        if let Some(node) = now.filter(|node| takers.last().is_none_or(|(last, _)| last != node)) {
            takers.push((node, now_us()));
        }
        let is_back = is_over.load(Ordering::Relaxed)
            && (takers.len() > 1 || Instant::now() > settled)
            && takers.last().is_some_and(|(last, _)| last == first);
        if is_back && answered_by(watched, session).await? == [first.to_owned()].into() {
            return Ok(takers);
        }
        assert!(Instant::now() < deadline, "the address is not back at {first}: {takers:?}");
    }
}

/// The nodes that answer for it, asked for a second.
async fn answered_by(watched: &Watched, session: &Session) -> Result<BTreeSet<String>> {
    let answered = watched.watch_for(session, Duration::from_secs(1)).await?;
    Ok(answered.questions.into_iter().flat_map(|question| question.by).collect())
}

/// The node that announces the load balancer's address, if exactly one does.
fn announcer(state: &State) -> Option<String> {
    state.service(NAMESPACE, LOAD_BALANCER)?.announced_by.clone()
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

/// Takes a node's link down, and has the node itself put it up again with the routes that it had, whatever becomes of us
/// meanwhile.
const CUT_OFF: &str = r#"
link=$(ip -o -4 address show to "$1" | awk '{ print $2 }')
test -n "$link"
keep=/proc/sys/net/ipv6/conf/$link/keep_addr_on_down
kept=$(cat "$keep" 2>/dev/null || true)
[ -z "$kept" ] || echo 1 >"$keep"
back=$(for family in -4 -6; do
  ip $family route show dev "$link" | sed "s/^/ip $family route replace /; s/\$/ dev $link/"
done
[ -z "$kept" ] || echo "echo $kept >$keep")
setsid sh -c "ip link set $link down; sleep $2; ip link set $link up; $back" </dev/null >/dev/null 2>&1 &
"#;

async fn cut_off(session: &Session, node: &str) -> Result<()> {
    let tried = || format!("cut {node} off from the network");
    let addresses = session.state().nodes.iter().find(|one| one.name == *node).map(|one| &one.addresses);
    let address = addresses.and_then(|addresses| addresses.iter().copied().find(IpAddr::is_ipv4));
    let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "it has no IPv4 address"))?;
    let (address, seconds) = (address.to_string(), CUT_OFF_SECONDS.to_string());
    let argv = ["sh", "-e", "-c", CUT_OFF, "sh", &address, &seconds];
    let said = session.run_on_node(node, &argv, Duration::from_secs(10)).await?;
    match said.code {
        Some(0) => Ok(()),
        _ => Err(Error::new(ErrorKind::Environment, tried(), String::from_utf8_lossy(&said.stderr))),
    }
}
