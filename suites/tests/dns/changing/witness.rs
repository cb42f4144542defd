//! The second witness: what the recorder wrote down is what CoreDNS itself logs, question by question.

use std::time::{Duration, Instant};

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::{
        addons::coredns::{self, Change, Way},
        workloads::NAMESPACE,
    },
    k8s_openapi::api::core::v1::Pod,
    kube::{Api, api::LogParams},
    kubernetes::wait::{self, Seen},
    model::dns::Resolver,
    session::Session,
    wire::{RecordData, RecordedQuestion, Transport},
};
use reachmap_suites::changes::changed;

use super::{CONVERGENCE, ONE_AT_A_TIME};

const PLACE: &str = "ndots5-cluster";

/// How long a reload may take from the Corefile as the cluster came with it: the plugin looks every 30 seconds, give or take
/// 15 (<https://coredns.io/plugins/reload/>).
const RELOADED: Duration = Duration::from_secs(90);

/// Names that are found at once, on the way through the search path, and not at all.
const NAMES: [&str; 4] =
    ["nginx-clusterip-service", "kubernetes.default", "nginx-external-service", "nobody.cluster.local."];

/// A question as both witnesses put it: message id, type, name, transport and the answer's code.
type Asked = (u16, String, String, String, String);

/// The recorder stands between a pod's resolver and CoreDNS. Every question that it recorded is in CoreDNS's log
/// (<https://coredns.io/plugins/log/>), and every question that CoreDNS logged of that pod was recorded, but for those that
/// it asks itself.
#[tokio::test]
async fn coredns_logs_what_was_recorded() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    until_only_these_answer(session).await?;
    let journal = session.journal();
    let ask = |replica, name| session.ask(replica, name);
    let change = |logs: bool| {
        let edit = move |original: &str| {
            Ok(if logs { original.replacen("    errors\n", "    errors\n    log\n", 1) } else { original.to_owned() })
        };
        // Reloaded and not restarted: replicas of before would serve on for a while, unseen.
        coredns::change(session.client(), &journal, edit, ask, Way::Reload, RELOADED)
    };
    let logging = std::sync::OnceLock::new();
    changed(
        || async {
            let change = change(true).await?;
            assert!(change.corefile.contains("    log\n"), "{}", change.corefile);
            logging.set(change).map_err(|_twice| Error::new(ErrorKind::Internal, "edit the Corefile", "it was twice"))
        },
        || async {
            let change: &Change = logging.get().expect("it was just set");
            let mut recorded = Vec::new();
            for resolver in Resolver::ALL {
                for name in NAMES {
                    recorded.extend(session.panel().await?.lookup(PLACE, resolver, name).await?.questions);
                }
            }
            let expected: Vec<Asked> = recorded.iter().flat_map(as_logged).collect();
            let logged = logged(session, change).await?;
            assert!(expected.len() > 50, "only {} questions were recorded", expected.len());
            let (only_logged, only_recorded) = (without(&logged, &expected), without(&expected, &logged));
            let same = only_logged.is_empty() && only_recorded.is_empty();
            assert!(same, "only logged: {only_logged:#?}\nonly recorded: {only_recorded:#?}");
            Ok(())
        },
        || async { change(false).await.map(drop) },
    )
    .await
}

/// Waits until no replica is ending any more: one that an earlier test replaced still answers for a while, and its log is not
/// among those that are read.
async fn until_only_these_answer(session: &Session) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), "kube-system");
    wait::until_all(pods, "k8s-app=kube-dns", "see CoreDNS steady", CONVERGENCE, |replicas| {
        let ending = replicas.values().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count();
        if ending == 0 { Seen::Met(()) } else { Seen::NotYet(format!("{ending} replicas are ending")) }
    })
    .await
}

/// What is in `all` and, as often, not in `others`.
fn without(all: &[Asked], others: &[Asked]) -> Vec<Asked> {
    let mut others = others.to_vec();
    let mut left = all.to_vec();
    left.retain(|asked| match others.iter().position(|other| other == asked) {
        Some(index) => {
            others.swap_remove(index);
            false
        }
        None => true,
    });
    left
}

/// What CoreDNS logs of a question: the question, and behind an alias the one that it asks itself, through its own plugins
/// and as if by the same client, for the name that the alias leads to.
fn as_logged(asked: &RecordedQuestion) -> Vec<Asked> {
    let transport = match asked.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let line = |name: &str, rcode: &str| {
        (asked.id, asked.kind.to_string(), name.to_ascii_lowercase(), transport.to_owned(), rcode.to_owned())
    };
    let mut lines = vec![line(&asked.name, asked.rcode.as_deref().unwrap_or("-"))];
    let targets = asked.answers.iter().filter_map(|record| match &record.data {
        RecordData::Cname(target) => Some(target),
        _ => None,
    });
    // Nobody outside knows the tutorial's name while the Corefile does not.
    lines.extend(targets.map(|target| line(target, "SERVFAIL")));
    lines
}

/// What the replicas logged of the pod's questions, once each has logged one that was asked after all of them.
async fn logged(session: &Session, change: &Change) -> Result<Vec<Asked>> {
    let pod = format!("panel-{PLACE}");
    let state = session.snapshot().await?;
    let address = state.pod(NAMESPACE, &pod).and_then(|pod| pod.addresses.first().copied());
    let address =
        address.ok_or_else(|| Error::new(ErrorKind::Environment, format!("find {pod}"), "it has no address"))?;
    let pods: Api<Pod> = Api::namespaced(session.client().clone(), "kube-system");
    let mut asked = Vec::new();
    for replica in &change.replicas {
        let last = format!("last-of-{}.reachmap.invalid.", replica.pod);
        session.ask((replica.address, 53).into(), last.clone()).await?;
        let started = Instant::now();
        let mut pauses = tokio::time::interval(Duration::from_millis(100));
        let log = loop {
            pauses.tick().await;
            let log = pods.logs(&replica.pod, &LogParams::default()).await;
            let log = log.tried(ErrorKind::Environment, || format!("read the log of {}", replica.pod))?;
            if log.contains(&last) {
                break log;
            }
            assert!(started.elapsed() < CONVERGENCE, "{} never logged {last}: {log}", replica.pod);
        };
        asked.extend(log.lines().filter_map(|line| parsed(line, &format!("{address}:"))));
    }
    Ok(asked)
}

/// A line of the plugin's common format, if it is about the client:
/// `[INFO] 10.244.1.5:40000 - 23645 "A IN example.org. udp 29 false 512" NOERROR qr,rd,ra 106 0.0001s`.
fn parsed(line: &str, client: &str) -> Option<Asked> {
    let (_, rest) = line.split_once(client)?;
    let (before, rest) = rest.split_once('"')?;
    let (question, after) = rest.split_once('"')?;
    let id = before.split_whitespace().next_back()?.parse().ok()?;
    let mut words = question.split_whitespace();
    let (kind, _class, name, transport) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let rcode = after.split_whitespace().next()?;
    Some((id, kind.to_owned(), name.to_owned(), transport.to_owned(), rcode.to_owned()))
}

#[test]
fn a_line_of_the_log_is_read() {
    let line = "[INFO] 10.244.1.5:40000 - 23645 \"A IN example.org. udp 29 false 512\" NOERROR qr,rd,ra 106 0.0001s";
    let words = |id, words: [&str; 4]| {
        let [kind, name, transport, rcode] = words.map(str::to_owned);
        Some((id, kind, name, transport, rcode))
    };
    assert_eq!(parsed(line, "10.244.1.5:"), words(23645, ["A", "example.org.", "udp", "NOERROR"]));
    assert_eq!(parsed(line, "10.244.1.6:"), None);
}
