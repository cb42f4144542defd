//! What names resolve to while things change: one change at a time, each taken back.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::{
        addons::coredns::{self, Way},
        journal::{self, Journal},
        workloads::NAMESPACE,
    },
    k8s_openapi::api::{apps::v1::Deployment, core::v1::Service},
    kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    },
    session::Session,
    wire::{DnsFailure, Resolve},
};
use serde_json::json;

/// The tests of this stage share the cluster, and each changes it.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A change of a Service is in every replica of CoreDNS well within this: its TTL is 30 seconds, and it watches.
const CONVERGENCE: Duration = Duration::from_secs(30);

/// How long a change of the Corefile may take that is never going to be live.
const NEVER_LIVE: Duration = Duration::from_secs(20);

/// A change, what is seen of it, and the way back, which is taken whatever was seen.
async fn changed<T, C, S, B>(
    change: impl FnOnce() -> C,
    seen: impl FnOnce() -> S,
    back: impl FnOnce() -> B,
) -> Result<T>
where
    C: Future<Output = Result<()>>,
    S: Future<Output = Result<T>>,
    B: Future<Output = Result<()>>,
{
    let seen = match change().await {
        Ok(()) => seen().await,
        Err(error) => Err(error),
    };
    back().await?;
    seen
}

/// An ExternalName Service of the test's own.
struct Alias {
    api: Api<Service>,
    name: &'static str,
}

impl Alias {
    fn new(session: &Session, name: &'static str) -> Self {
        Self { api: Api::namespaced(session.client().clone(), NAMESPACE), name }
    }

    async fn create(&self, target: &str) -> Result<()> {
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": self.name }, "spec": { "type": "ExternalName", "externalName": target },
        }))
        .tried(ErrorKind::Internal, || "write a Service")?;
        let created = self.api.create(&PostParams::default(), &service).await;
        created.map(drop).tried(ErrorKind::Environment, || format!("make the Service {}", self.name))
    }

    async fn point_to(&self, target: &str) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "externalName": target } }));
        let patched = self.api.patch(self.name, &PatchParams::default(), &patch).await;
        patched.map(drop).tried(ErrorKind::Environment, || format!("change the Service {}", self.name))
    }

    async fn delete(&self) -> Result<()> {
        let deleted = self.api.delete(self.name, &DeleteParams::default()).await;
        deleted.map(drop).tried(ErrorKind::Environment, || format!("delete the Service {}", self.name))
    }

    fn fqdn(&self) -> String {
        format!("{}.{NAMESPACE}.svc.cluster.local", self.name)
    }
}

fn dns_server(session: &Session) -> Result<SocketAddr> {
    let service = session.state().service("kube-system", "kube-dns");
    let address = service.and_then(|service| service.cluster_ips.first().copied());
    let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, "find kube-dns", "it has no cluster IP"))?;
    Ok(SocketAddr::new(address, 53))
}

/// Asks until the answer is `wanted`; returns how long that took, or fails with the last answer.
async fn until_answered(session: &Session, name: &str, wanted: impl Fn(&Resolve) -> bool) -> Result<Duration> {
    let (server, started) = (dns_server(session)?, Instant::now());
    let mut pauses = tokio::time::interval(Duration::from_millis(50));
    loop {
        pauses.tick().await;
        let seen = session.ask(server, name.to_owned()).await?;
        if wanted(&seen) {
            return Ok(started.elapsed());
        }
        assert!(started.elapsed() < CONVERGENCE, "{name} is still answered with {seen:#?}");
    }
}

/// The CNAME of an ExternalName follows its Service within the record's TTL.
#[tokio::test]
async fn an_external_name_is_followed_when_it_changes() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let alias = Alias::new(session, "reachmap-alias");
    let targets = ["nginx-clusterip-service", "nginx-loadbalancer"]
        .map(|name| (format!("{name}.{NAMESPACE}.svc.cluster.local"), session.state().service(NAMESPACE, name)));
    let addresses = |index: usize| targets[index].1.map(|service| service.cluster_ips.clone()).unwrap_or_default();
    changed(
        || alias.create(&targets[0].0),
        || async {
            until_answered(session, &alias.fqdn(), |seen| seen.addresses == addresses(0)).await?;
            alias.point_to(&targets[1].0).await?;
            let took = until_answered(session, &alias.fqdn(), |seen| seen.addresses == addresses(1)).await?;
            assert!(took <= CONVERGENCE, "it took {took:?}");
            Ok(())
        },
        || alias.delete(),
    )
    .await
}

/// An alias to a name that does not exist is a name without an address; an alias that is an address is none at all.
#[tokio::test]
async fn an_external_name_that_leads_nowhere_says_so() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let alias = Alias::new(session, "reachmap-alias");
    let nowhere = format!("nobody.{NAMESPACE}.svc.cluster.local");
    changed(
        || alias.create(&nowhere),
        || async {
            until_answered(session, &alias.fqdn(), |seen| seen.failure == Some(DnsFailure::NoData)).await?;
            alias.point_to("10.96.0.1").await?;
            until_answered(session, &alias.fqdn(), |seen| seen.failure == Some(DnsFailure::NxDomain)).await
        },
        || alias.delete(),
    )
    .await
    .map(drop)
}

/// What a pod sees of a rollout of CoreDNS: nothing.
#[tokio::test]
async fn a_rollout_of_coredns_fails_no_lookup() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let name = "nginx-clusterip-service.service-type-test.svc.cluster.local.";
    let api: Api<Deployment> = Api::namespaced(session.client().clone(), "kube-system");
    let rollout = async {
        api.restart("coredns").await.tried(ErrorKind::Environment, || "restart CoreDNS")?;
        let rolled_out = |deployment: &Deployment| {
            let (wanted, status) = (deployment.metadata.generation, deployment.status.clone().unwrap_or_default());
            status.observed_generation == wanted
                && status.updated_replicas == status.replicas
                && status.available_replicas == status.replicas
                && status.unavailable_replicas.unwrap_or(0) == 0
        };
        let started = Instant::now();
        let mut pauses = tokio::time::interval(Duration::from_millis(200));
        loop {
            pauses.tick().await;
            let deployment = api.get("coredns").await.tried(ErrorKind::Environment, || "read CoreDNS's Deployment")?;
            // The replicas of before serve on for five seconds (`lameduck`) and then end: those seconds count.
            if rolled_out(&deployment) && started.elapsed() > Duration::from_secs(12) {
                return Ok::<(), Error>(());
            }
            assert!(started.elapsed() < Duration::from_secs(120), "the rollout does not end: {deployment:?}");
        }
    };
    let over = std::sync::atomic::AtomicBool::new(false);
    let lookups = async {
        let (mut count, mut failed) = (0_u32, Vec::new());
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            let lookup = reachmap::wire::Lookup { name: name.to_owned(), server: None };
            let seen = session.agent("testpod")?.resolve(lookup).await?;
            count += 1;
            if seen.failure.is_some() {
                failed.push(seen);
            }
        }
        Ok::<_, Error>((count, failed))
    };
    let rollout = async {
        let done = rollout.await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    };
    let ((count, failed), ()) = futures::future::try_join(lookups, rollout).await?;
    // Far fewer than there ever are: it only says that they went on all the time.
    assert!(count > 100, "only {count} lookups during the rollout");
    assert!(failed.is_empty(), "{} of {count} lookups failed, the first: {:#?}", failed.len(), failed[0]);
    Ok(())
}

async fn live_corefile(session: &Session) -> Result<String> {
    session.journal().live_text(&journal::Target::corefile()).await
}

async fn edit(session: &Session, journal: &Journal, to: impl FnOnce(&str) -> String) -> Result<coredns::Change> {
    let ask = |replica, name| session.ask(replica, name);
    coredns::change(session.client(), journal, |original| Ok(to(original)), ask, Way::Restart, NEVER_LIVE).await
}

#[tokio::test]
async fn a_corefile_that_coredns_would_reject_never_reaches_the_cluster() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let before = live_corefile(session).await?;
    let broken = |original: &str| original.replacen("    ready\n", "    ready\n    hosts {\n", 1);
    let error = edit(session, &session.journal(), broken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(error.to_string().contains("line "), "{error}");
    assert_eq!(live_corefile(session).await?, before);
    Ok(())
}

/// A text that parses and that CoreDNS still cannot run: it is taken back, and CoreDNS's own words say why.
#[tokio::test]
async fn an_edit_that_never_becomes_live_is_taken_back_with_coredns_s_own_words() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let journal = session.journal();
    let original = journal.original(&journal::Target::corefile()).await?;
    let broken = |original: &str| original.replacen("/etc/resolv.conf", "/etc/no-such-file", 1);
    let error = edit(session, &journal, broken).await.unwrap_err();
    assert!(error.to_string().contains("no-such-file"), "CoreDNS's own words are missing: {error}");
    assert_eq!(live_corefile(session).await?, original);
    let server = dns_server(session)?;
    let known = session.ask(server, "kubernetes.default.svc.cluster.local".to_owned()).await?;
    assert_eq!(known.failure, None, "{known:#?}");
    Ok(())
}
