//! Load on the load balancer's address while it moves from node to node: whose it is by the cluster's own word, and who
//! answers for it on the link.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use futures::future::try_join;
use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::{CLUSTER_IP, LOAD_BALANCER, NAMESPACE},
    k8s_openapi::api::core::v1::Pod,
    kube::{
        Api,
        api::{DeleteParams, ListParams},
    },
    load::{
        arp::{Answered, Question},
        timeline::{Mark, Timeline},
    },
    model::{ServiceRef, Way},
    report::{ArpRecord, ChangeRecord},
    session::Session,
    state::State,
    wire::WatchArp,
};
use reachmap_suites::{lives::now_us, on_the_sessions_runtime, prelude::LAPTOP};
use tokio::time::Instant;

use super::{ADDRESSES, AT_MOST, ENDPOINTS, steady::during};

/// How often it is asked who announces the load balancer's address.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is asked by ARP, in milliseconds.
const ARP_EVERY_MS: u64 = 100;

/// Until a speaker that was killed is back.
const SPEAKER_BACK: Duration = Duration::from_secs(15);

/// How long a node is cut off from the network: longer than it takes until another one has taken over, and shorter than the
/// harness is patient with agents that it does not hear of.
const CUT_OFF_SECONDS: u64 = 10;

/// Until a node that was cut off has its link again, and a little longer.
const NODE_BACK: Duration = Duration::from_secs(CUT_OFF_SECONDS + 5);

/// Until what was under way when the address moved has ended.
const MOVED_US: u64 = 2_000_000;

/// What was seen while the address moved.
struct Moved {
    line: Timeline,
    answered: Answered,
    /// Who announced it by the cluster's own word, and since when that is known: first who did before, when the change began.
    takers: Vec<(String, u64)>,
}

impl Moved {
    /// Loads the address from the laptop while `change` happens to the node that announces it, until it is one node's again
    /// after `back`.
    async fn while_it_moves<C>(
        session: &'static Session,
        back: Duration,
        change: impl FnOnce(String) -> C,
    ) -> Result<Self>
    where
        C: Future<Output = Result<()>>,
    {
        let before = announced(session).await?;
        let service = before.service(NAMESPACE, LOAD_BALANCER);
        let address = service.and_then(|service| service.load_balancer_addresses.iter().find_map(as_v4));
        let address =
            address.ok_or_else(|| Error::new(ErrorKind::Environment, "load the load balancer", "no IPv4 address"))?;
        let nodes = nodes(&before);
        let addresses = [address].into_iter().chain(nodes.values().filter_map(as_v4)).collect();
        let watch = WatchArp { addresses, every_ms: ARP_EVERY_MS };
        let watching = session.agent(LAPTOP)?.watch_arp(watch).await?;
        let laptop = [LAPTOP.to_owned()];
        let first = announcer(&before).unwrap_or_default();
        let change = async {
            let change = change(first.clone());
            let takers = takers(session, first.clone(), back, (address, &nodes));
            try_join(takers, change).await.map(|(takers, ())| takers)
        };
        let (line, _, takers) = during(session, &laptop, (address, 80).into(), "nginx", change).await?;
        let answered = Answered::of(&watching.finish().await?, address, &nodes);
        Ok(Self { line, answered, takers })
    }

    fn began_us(&self) -> u64 {
        self.takers.first().map_or(0, |(_, at)| *at)
    }

    /// From the change until what was under way at the last move has ended.
    fn window(&self) -> (u64, u64) {
        let began = self.began_us();
        let said = self.takers.last().map_or(began, |(_, at)| *at);
        let answered = self.answered.moves().last().map_or(began, |(at, _)| *at);
        (began, said.max(answered) + MOVED_US)
    }

    fn record(&self, name: &str, what: &str) -> Result<()> {
        let said = self.takers.iter().map(|(node, at)| Mark { at_us: *at, what: format!("announced by {node}") });
        let moves = self.answered.moves();
        let answered = moves.iter().map(|(at, node)| Mark { at_us: *at, what: format!("{node} answers by ARP") });
        let line = Timeline { marks: said.chain(answered).collect(), events: self.line.events.clone() };
        let record = ChangeRecord::of(name, what, &line, (self.began_us(), &BTreeSet::new()), &[]);
        let arp = Some(ArpRecord::of(&self.answered, self.began_us()));
        Session::current()?.record_change(ChangeRecord { arp, ..record })
    }

    /// Another node took over, and gave the address back; outside of the moves no request failed, and every question was
    /// answered by exactly one node.
    fn hold(&self) {
        let (first, began) = &self.takers[0];
        assert!(self.takers.len() > 1, "no other node has taken over: {:?}", self.takers);
        let moves = self.answered.moves();
        assert!(moves.len() > 1, "nobody else has answered for the address: {moves:?}");
        assert_eq!(moves[0].1, first, "who answered before");
        assert!(moves[1].0 > *began, "somebody else answered before anything had changed");
        let last = self.takers.last().map(|(node, _)| node.as_str());
        assert_eq!(moves.last().map(|(_, node)| *node), last, "who answered at last, and who says that it announces");
        let window = [self.window()];
        assert_eq!(self.answered.not_by_one_outside(&window), Vec::<&Question>::new());
        let unexcused: Vec<String> = self.line.failed_outside(&window).iter().map(ToString::to_string).collect();
        assert!(unexcused.is_empty(), "{unexcused:#?}");
    }

    /// The node that took the address so manieth told everybody (gratuitous ARP), as it must: who has talked to the node
    /// before would go on doing so.
    fn told(&self, number: usize) {
        let (at, node) = self.answered.moves()[number];
        let gratuitous = &self.answered.gratuitous;
        let near = |(said, by): &(u64, String)| by == node && said.abs_diff(at) < MOVED_US;
        assert!(gratuitous.iter().any(near), "{node} answered at {at} and told nobody: {gratuitous:?}");
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
        let kill = |node: String| async move { kill_speaker(session, &node).await };
        let moved = Moved::while_it_moves(session, SPEAKER_BACK, kill).await?;
        moved.record("speaker", "the announcing speaker is killed")?;
        moved.hold();
        (1..moved.answered.moves().len()).for_each(|number| moved.told(number));
        Ok(())
    })
}

/// The node that announces the address is cut off from the network, as a node that stops is for everybody else: another one
/// takes over. Until the node is back, a pod on it still is an endpoint, and connections that are led to it get no answer. When
/// it is back, two nodes answer for the address until they have heard of each other.
#[test]
fn a_node_that_is_cut_off_fails_requests_only_while_it_is() -> Result<()> {
    on_the_sessions_runtime(async {
        let endpoints = ENDPOINTS.lock().await;
        let _alone = ADDRESSES.lock().await;
        let session = Session::current()?;
        let cut = |node: String| async move {
            cut_off(session, &node).await?;
            tokio::time::sleep(Duration::from_secs(CUT_OFF_SECONDS + 1)).await;
            let way = Way::ClusterIp { service: ServiceRef::new(NAMESPACE, CLUSTER_IP) };
            session.until_reached(&way.target(session.state())?, AT_MOST).await?;
            // The address is still on its way back; nothing else is.
            drop(endpoints);
            Ok(())
        };
        let moved = Moved::while_it_moves(session, NODE_BACK, cut).await?;
        let what = format!("the announcing node is cut off for {CUT_OFF_SECONDS} s");
        moved.record("node", &what)?;
        moved.hold();
        // It gets the address back without a word: as far as it knows, it never lost it.
        moved.told(1);
        Ok(())
    })
}

fn as_v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

/// The nodes by their names, with their IPv4 addresses.
fn nodes(state: &State) -> BTreeMap<String, IpAddr> {
    let v4 = |addresses: &[IpAddr]| addresses.iter().copied().find(IpAddr::is_ipv4);
    state.nodes.iter().filter_map(|node| Some((node.name.clone(), v4(&node.addresses)?))).collect()
}

/// Who announces the address, one after the other, for as long as `back` and until only one node answers for it.
async fn takers(
    session: &Session,
    first: String,
    back: Duration,
    (address, nodes): (Ipv4Addr, &BTreeMap<String, IpAddr>),
) -> Result<Vec<(String, u64)>> {
    let mut takers = vec![(first, now_us())];
    let mut looks = tokio::time::interval(LOOK);
    let (until, deadline) = (Instant::now() + back, Instant::now() + back + AT_MOST);
    loop {
        looks.tick().await;
        let now = announcer(&session.snapshot().await?);
        if let Some(node) = now.filter(|node| takers.last().is_none_or(|(last, _)| last != node)) {
            takers.push((node, now_us()));
        }
        if Instant::now() < until {
            continue;
        }
        let by = answered_by(session, address, nodes).await?;
        if takers.last().is_some_and(|(node, _)| by == [node.clone()].into()) {
            return Ok(takers);
        }
        assert!(Instant::now() < deadline, "{by:?} answer for {address}, which is announced by {takers:?}");
    }
}

/// The nodes that answer for an address, asked for a second.
async fn answered_by(
    session: &Session,
    address: Ipv4Addr,
    nodes: &BTreeMap<String, IpAddr>,
) -> Result<BTreeSet<String>> {
    let addresses = [address].into_iter().chain(nodes.values().filter_map(as_v4)).collect();
    let watching = session.agent(LAPTOP)?.watch_arp(WatchArp { addresses, every_ms: ARP_EVERY_MS }).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answered = Answered::of(&watching.finish().await?, address, nodes);
    Ok(answered.questions.into_iter().flat_map(|question| question.by).collect())
}

/// The node that announces the load balancer's address, if exactly one does.
fn announcer(state: &State) -> Option<String> {
    state.service(NAMESPACE, LOAD_BALANCER)?.announced_by.clone()
}

/// The state, once exactly one node announces the load balancer's address.
async fn announced(session: &Session) -> Result<State> {
    let deadline = Instant::now() + AT_MOST;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let state = session.snapshot().await?;
        if announcer(&state).is_some() {
            return Ok(state);
        }
        assert!(Instant::now() < deadline, "no node, or more than one, announces the load balancer's address");
    }
}

async fn kill_speaker(session: &Session, node: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(session.client().clone(), "metallb-system");
    let list = ListParams::default().labels("component=speaker").fields(&format!("spec.nodeName={node}"));
    let speakers = api.list(&list).await.tried(ErrorKind::Environment, || "find the speaker")?;
    let speaker = speakers.items.first().and_then(|pod| pod.metadata.name.clone());
    let speaker =
        speaker.ok_or_else(|| Error::new(ErrorKind::Environment, "find the speaker", format!("none on {node}")))?;
    let killed = api.delete(&speaker, &DeleteParams::default().grace_period(0)).await;
    killed.map(drop).tried(ErrorKind::Environment, || format!("kill {speaker}"))
}

/// Takes a node's link down, and has the node itself put it up again with the routes that it had, whatever becomes of us
/// meanwhile.
const CUT_OFF: &str = r#"
link=$(ip -o -4 address show to "$1" | awk '{ print $2 }')
test -n "$link"
[ ! -e "/proc/sys/net/ipv6/conf/$link" ] || echo 1 >"/proc/sys/net/ipv6/conf/$link/keep_addr_on_down"
back=$(for family in -4 -6; do
  ip $family route show dev "$link" | sed "s/^/ip $family route replace /; s/\$/ dev $link/"
done)
setsid sh -c "ip link set $link down; sleep $2; ip link set $link up; $back" </dev/null >/dev/null 2>&1 &
"#;

async fn cut_off(session: &Session, node: &str) -> Result<()> {
    let tried = || format!("cut {node} off from the network");
    let address = nodes(session.state()).remove(node);
    let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "it has no IPv4 address"))?;
    let (address, seconds) = (address.to_string(), CUT_OFF_SECONDS.to_string());
    let argv = ["sh", "-e", "-c", CUT_OFF, "sh", &address, &seconds];
    let said = session.run_on_node(node, &argv, Duration::from_secs(10)).await?;
    match said.code {
        Some(0) => Ok(()),
        _ => Err(Error::new(ErrorKind::Environment, tried(), String::from_utf8_lossy(&said.stderr))),
    }
}
