//! The watches themselves, and how their changes are taken together.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::changes::{Facts, Heard, Known, Scope, of_config_map, of_pod, of_service, of_slice};

/// Where CoreDNS is.
const DNS_NAMESPACE: &str = "kube-system";

/// The label of CoreDNS's pods and of its Service.
const DNS_LABEL: &str = "k8s-app=kube-dns";

/// What is heard of the cluster, as lines; the watches end when it is dropped.
#[derive(Debug)]
pub(crate) struct Changes {
    heard: UnboundedReceiver<(Scope, Heard)>,
    known: Known,
    /// What was heard and not yet asked for.
    waiting: Vec<String>,
    /// The batch that is being collected, and when its first change was heard.
    batch: Vec<String>,
    first: Option<Instant>,
    _watches: JoinSet<()>,
}

impl Changes {
    /// Watches Services, their endpoints and pods of `namespaces`, and CoreDNS with its Corefile.
    pub(crate) fn watch(client: &Client, namespaces: &[String]) -> Self {
        let (send, heard) = unbounded_channel();
        let mut watches = JoinSet::new();
        for namespace in namespaces {
            let (every, send) = (watcher::Config::default(), &send);
            watches.spawn(follow(client, "Service", namespace, every.clone(), of_service, send));
            watches.spawn(follow(client, "EndpointSlice", namespace, every.clone(), of_slice, send));
            watches.spawn(follow(client, "Pod", namespace, every, of_pod, send));
        }
        let dns = watcher::Config::default().labels(DNS_LABEL);
        let corefile = watcher::Config::default().fields("metadata.name=coredns");
        watches.spawn(follow(client, "Service", DNS_NAMESPACE, dns.clone(), of_service, &send));
        watches.spawn(follow(client, "EndpointSlice", DNS_NAMESPACE, dns.clone(), of_slice, &send));
        watches.spawn(follow(client, "Pod", DNS_NAMESPACE, dns, of_pod, &send));
        watches.spawn(follow(client, "ConfigMap", DNS_NAMESPACE, corefile, of_config_map, &send));
        Self { heard, known: Known::default(), waiting: Vec::new(), batch: Vec::new(), first: None, _watches: watches }
    }

    /// The next change, in a line; none if the watches have ended. May be dropped while it waits.
    async fn next(&mut self) -> Option<String> {
        while self.waiting.is_empty() {
            let (scope, heard) = self.heard.recv().await?;
            self.waiting = self.known.hear(&scope, heard);
        }
        Some(self.waiting.remove(0))
    }

    /// The changes that come together: all until none has come for `quiet`, or the first is older than `most`; none if the
    /// watches have ended. May be dropped while it waits: what it has heard is in the next batch.
    pub(crate) async fn next_batch(&mut self, quiet: Duration, most: Duration) -> Option<Vec<String>> {
        if self.first.is_none() {
            let change = self.next().await?;
            self.batch.push(change);
        }
        let first = *self.first.get_or_insert_with(Instant::now);
        let end = first + most;
        while Instant::now() < end {
            match timeout_at(end.min(Instant::now() + quiet), self.next()).await {
                Ok(Some(change)) => self.batch.push(change),
                _ => break,
            }
        }
        self.first = None;
        Some(std::mem::take(&mut self.batch))
    }
}

/// Follows the objects of one kind in one namespace for as long as somebody listens.
fn follow<K>(
    client: &Client,
    kind: &'static str,
    namespace: &str,
    config: watcher::Config,
    facts: fn(&K) -> Facts,
    send: &UnboundedSender<(Scope, Heard)>,
) -> impl Future<Output = ()> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let (scope, send) = ((kind, namespace.to_owned()), send.clone());
    async move {
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            let heard = match event {
                // The watch starts again by itself, with a list that tells what was missed.
                Err(_) => continue,
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    listed.insert(object.name_any(), facts(&object));
                    continue;
                }
                Ok(Event::InitDone) => Heard::Listed(std::mem::take(&mut listed)),
                Ok(Event::Apply(object)) => Heard::Applied(object.name_any(), facts(&object)),
                Ok(Event::Delete(object)) => Heard::Deleted(object.name_any()),
            };
            if send.send((scope.clone(), heard)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(3);

    /// Changes that come after those delays, each counted from the one before.
    fn coming(delays: &[u64]) -> Changes {
        let (send, heard) = unbounded_channel();
        let scope = ("Pod", "shop".to_owned());
        let mut known = Known::default();
        known.hear(&scope, Heard::Listed(BTreeMap::new()));
        let mut watches = JoinSet::new();
        let delays = delays.to_vec();
        watches.spawn(async move {
            for (number, delay) in delays.into_iter().enumerate() {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let heard = Heard::Applied(number.to_string(), Facts::from([("state", "ready".to_owned())]));
                send.send((scope.clone(), heard)).unwrap();
            }
        });
        Changes { heard, known, waiting: Vec::new(), batch: Vec::new(), first: None, _watches: watches }
    }

    async fn batches(delays: &[u64]) -> Vec<usize> {
        let mut changes = coming(delays);
        let mut sizes = Vec::new();
        while let Some(batch) = changes.next_batch(QUIET, MOST).await {
            sizes.push(batch.len());
        }
        sizes
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_is_one_batch() {
        assert_eq!(batches(&[1000, 100, 400, 499]).await, [4]);
        assert_eq!(batches(&[1000, 100, 501, 100]).await, [2, 2]);
        assert_eq!(batches(&[]).await, Vec::<usize>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_given_up_halfway_is_in_the_next() {
        let mut changes = coming(&[100, 400, 400]);
        let given_up = tokio::time::timeout(Duration::from_millis(300), changes.next_batch(QUIET, MOST)).await;
        assert!(given_up.is_err());
        assert_eq!(changes.next_batch(QUIET, MOST).await.unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_to_rest_is_cut_into_batches() {
        let sizes = batches(&[400; 30]).await;
        assert_eq!(sizes.iter().sum::<usize>(), 30);
        assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size <= 9), "{sizes:?}");
    }
}
