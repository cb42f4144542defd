//! Load on the load balancer's address while it moves from node to node: whose it is by the cluster's own word, and who
//! answers for it on the link.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::try_join;
use reachmap::{
    Result,
    environment::workloads::{LOAD_BALANCER, NAMESPACE},
    load::{
        arp::{Answered, Question},
        timeline::{Mark, Timeline},
    },
    report::{ArpRecord, ChangeRecord},
    session::Session,
    state::State,
};
use tokio::time::Instant;

use crate::{live::until_announced, lives::now_us, steady::during, watched::Watched};

/// How often it is asked who announces the load balancer's address.
const LOOK: Duration = Duration::from_millis(200);

/// Until a change that the cluster says nothing of has had its effect.
const SETTLED: Duration = Duration::from_secs(10);

/// Until what was under way when the address moved has ended.
pub const MOVED_US: u64 = 2_000_000;

/// How long two speakers may go on without having heard of each other, so that both answer for an address: they try to reach
/// those that they take for dead once a minute (`joinMembers` in MetalLB's `internal/speakerlist/speakerlist.go`). Most
/// of the time something else is sooner: memberlist gossips to the dead for half a minute (`GossipToTheDeadTime`), and
/// exchanges all that it knows with somebody twice a minute (`PushPullInterval`).
const UNHEARD_US: u64 = 60_000_000;

/// How long until the address is back is waited for: as long as that may take, and what it takes to see it.
const BACK: Duration = Duration::from_secs(90);

/// What was seen while the address moved.
#[derive(Debug)]
pub struct Moved {
    /// The load.
    pub line: Timeline,
    /// Who answered for it on the link.
    pub answered: Answered,
    /// Who announced it by the cluster's own word, and since when that is known: first who did before, when the change began.
    pub takers: Vec<(String, u64)>,
}

impl Moved {
    /// Loads the address while `change` happens to the node that announces it, until that one alone answers for it again;
    /// `vantages` says from where, if it is this node. Returns what the change has to tell, too.
    ///
    /// # Errors
    /// Those of the change, and of the agents.
    ///
    /// # Panics
    /// If the load was not steady, or the address does not come back.
    pub async fn while_it_moves<T, C>(
        session: &'static Session,
        vantages: impl FnOnce(&State, &str) -> Vec<String>,
        change: impl FnOnce(String) -> C,
    ) -> Result<(Self, T)>
    where
        C: Future<Output = Result<T>>,
    {
        let before = until_announced(session, LOAD_BALANCER).await?;
        let first = announcer(&before).unwrap_or_default();
        let watched = Watched::of(&before)?;
        let watching = watched.watch(session).await?;
        let target = (watched.address, 80).into();
        let (line, _, (told, takers)) = during(session, &vantages(&before, &first), target, "nginx", async {
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

    /// When the change began.
    pub fn began_us(&self) -> u64 {
        self.takers.first().map_or(0, |(_, at)| *at)
    }

    /// The load, with who had the address marked in it, and `more`.
    pub fn marked(&self, more: Vec<Mark>) -> Timeline {
        let moves = self.answered.moves();
        let said = self.takers.iter().map(|(node, at)| Mark { at_us: *at, what: format!("announced by {node}") });
        let answered = moves.iter().map(|(at, node)| Mark { at_us: *at, what: format!("{node} answers by ARP") });
        let mut marks: Vec<Mark> = said.chain(answered).chain(more).collect();
        marks.sort_by_key(|mark| mark.at_us);
        Timeline { marks, events: self.line.events.clone() }
    }

    /// What the report says of who answered.
    pub fn arp(&self) -> ArpRecord {
        ArpRecord::of(&self.answered, self.began_us())
    }

    /// Puts it into the report as a change that has no new state.
    ///
    /// # Errors
    /// If the report cannot be written.
    pub fn record(&self, name: &str, what: &str) -> Result<()> {
        let record = ChangeRecord::of(name, what, &self.marked(Vec::new()), (self.began_us(), &BTreeSet::new()), &[]);
        Session::current()?.record_change(ChangeRecord { arp: Some(self.arp()), ..record })
    }

    /// One other node took over, and told everybody; then the first one had the address back, for which it could not answer
    /// again before `may_us`, and within a minute the other one had heard of it. Outside of the two moves, every question was
    /// answered by exactly one node.
    ///
    /// Returns when the one move was over, and when the other.
    ///
    /// # Panics
    /// If it was not so.
    pub fn hold(&self, may_us: u64) -> (u64, u64) {
        let began = self.began_us();
        let first = self.takers[0].0.as_str();
        let moves = self.answered.moves();
        let [(_, before), (taken, other), (back, after)] = moves[..] else {
            panic!("it did not go from {first} to another node and back: {moves:?}");
        };
        assert_eq!((before, after), (first, first), "who answered before and after, and who announces it");
        assert!(taken > began, "somebody else answered before anything had changed");
        self.told(other, taken);
        assert!(back <= may_us + UNHEARD_US + MOVED_US, "it could be back at {may_us}, and was only at {back}");
        let moving = [(began, taken), (may_us, back)];
        assert_eq!(self.answered.not_by_one_outside(&moving), Vec::<&Question>::new(), "moving in {moving:?}");
        let last = self.line.events.last().map_or(0, |event| event.start_us);
        let asked = self.answered.questions.last().map_or(0, |question| question.at_us);
        assert!(asked + MOVED_US > last, "nothing was asked any more after {asked}, and loaded until {last}");
        (taken, back)
    }

    /// The node that took the address told everybody (gratuitous ARP), as it must: who has talked to another node before
    /// would go on doing so.
    ///
    /// # Panics
    /// If it did not.
    pub fn told(&self, node: &str, at_us: u64) {
        let near = |(said, by): &&(u64, String)| by == node && said.abs_diff(at_us) < MOVED_US;
        let gratuitous = &self.answered.gratuitous;
        assert!(
            gratuitous.iter().any(|said| near(&said)),
            "{node} answered at {at_us} and told nobody: {gratuitous:?}"
        );
    }

    /// No request failed outside of these windows.
    ///
    /// # Panics
    /// If one did.
    pub fn none_failed_outside(&self, windows: &[(u64, u64)]) {
        let unexcused: Vec<String> = self.line.failed_outside(windows).iter().map(ToString::to_string).collect();
        assert!(unexcused.is_empty(), "{unexcused:#?}");
    }
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
    let (settled, mut deadline) = (Instant::now() + SETTLED, None);
    loop {
        looks.tick().await;
        let now = announcer(&session.snapshot().await?);
        if let Some(node) = now.filter(|node| takers.last().is_none_or(|(last, _)| last != node)) {
            takers.push((node, now_us()));
        }
        let is_over = is_over.load(Ordering::Relaxed);
        if is_over {
            deadline.get_or_insert_with(|| Instant::now() + BACK);
        }
        let is_back = is_over
            && (takers.len() > 1 || Instant::now() > settled)
            && takers.last().is_some_and(|(last, _)| last == first);
        if is_back && answered_by(watched, session).await? == [first.to_owned()].into() {
            return Ok(takers);
        }
        assert!(
            deadline.is_none_or(|deadline| Instant::now() < deadline),
            "the address is not back at {first}: {takers:?}"
        );
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
