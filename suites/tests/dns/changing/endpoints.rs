//! Headless Services of the tests' own: endpoints that are not ready, and more of them than a datagram holds.

use std::collections::BTreeSet;

use reachmap::{
    Context as _, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    k8s_openapi::api::{
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
    },
    kube::{Api, Resource, core::NamespaceResourceScope},
    model::dns::{
        Corefile, Families, Question, QuestionKind, ResolvConf, Resolver, Response, compare, resolver::predict_each,
    },
    session::Session,
    wire::{DnsFailure, Transport},
};
use reachmap_suites::changes::{changed, create, delete};
use serde_json::{Value, json};

use super::{ONE_AT_A_TIME, until_answered};
use crate::tutorial::dns_server;

/// More addresses than the 1,232 bytes hold that resolvers say they take (<https://www.dnsflagday.net/2020/>).
const MANY: u8 = 120;

/// A pod that is never ready, behind a Service that waits for it and another that publishes it as it is
/// (`publishNotReadyAddresses`, <https://kubernetes.io/docs/concepts/services-networking/service/#headless-services>).
#[tokio::test]
async fn a_headless_name_has_the_endpoints_that_its_service_publishes() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let (pods, services): (Api<Pod>, Api<Service>) = (api(session), api(session));
    let image = pods.get("testpod").await.tried(ErrorKind::Environment, || "read the test pod")?;
    let mut pod: Value = serde_json::to_value(image.spec).tried(ErrorKind::Internal, || "write a pod")?;
    let container = json!({
        "name": "unready", "image": pod["containers"][0]["image"],
        "imagePullPolicy": pod["containers"][0]["imagePullPolicy"], "command": ["sleep", "infinity"],
        "ports": [{"containerPort": 80}], "securityContext": pod["containers"][0]["securityContext"],
        "readinessProbe": {"exec": {"command": ["false"]}},
    });
    let security = pod["securityContext"].take();
    let unready = json!({
        "metadata": {"name": "reachmap-unready", "labels": {"app": "reachmap-unready"}},
        "spec": {
            "serviceAccountName": "workload", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "hostname": "unready", "subdomain": "reachmap-published", "securityContext": security,
            "containers": [container],
        },
    });
    let service = |name: &str, publishes: bool| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "clusterIP": "None", "selector": {"app": "reachmap-unready"}, "ports": [{"port": 80}],
                "publishNotReadyAddresses": publishes,
            },
        })
    };
    changed(
        || async {
            create(&pods, unready).await?;
            create(&services, service("reachmap-published", true)).await?;
            create(&services, service("reachmap-waiting", false)).await
        },
        || async {
            let published = format!("reachmap-published.{NAMESPACE}.svc.cluster.local");
            until_answered(session, &published, |seen| !seen.addresses.is_empty()).await?;
            let state = session.snapshot().await?;
            let pod = state.pod(NAMESPACE, "reachmap-unready").cloned();
            assert!(pod.as_ref().is_some_and(|pod| !pod.ready), "{pod:?}");
            let corefile: Corefile = state.corefile.parse()?;
            let waiting = format!("reachmap-waiting.{NAMESPACE}.svc.cluster.local");
            let wanted = [
                (published.clone(), None),
                (format!("unready.{published}"), None),
                // CoreDNS takes a headless Service without a ready endpoint for one that does not exist.
                (waiting, Some(DnsFailure::NxDomain)),
            ];
            for (name, failure) in wanted {
                let seen = session.ask(dns_server()?, name.clone()).await?;
                let answer = corefile.answer(&Question::new(&name, QuestionKind::A), &state);
                let said: BTreeSet<_> = answer.response().into_iter().flat_map(Response::addresses).collect();
                assert_eq!(
                    (seen.failure, said),
                    (failure, seen.addresses.iter().copied().collect()),
                    "{name}: {answer}"
                );
                if failure.is_none() {
                    assert_eq!(seen.addresses, pod.clone().map(|pod| pod.addresses).unwrap_or_default(), "{name}");
                }
            }
            Ok(())
        },
        || async {
            let services = [delete(&services, "reachmap-published").await, delete(&services, "reachmap-waiting").await];
            delete(&pods, "reachmap-unready").await?;
            services.into_iter().collect()
        },
    )
    .await
}

/// An answer that no datagram holds is cut short, and asked for again over TCP by every resolver that can
/// (RFC 7766 section 5); musl before 1.2.4 makes do with what it got.
#[tokio::test]
async fn an_answer_that_no_datagram_holds_is_asked_for_over_tcp() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let session = Session::current()?;
    let (slices, services): (Api<EndpointSlice>, Api<Service>) = (api(session), api(session));
    // Addresses for documentation, which nobody has (RFC 5737): they are only looked up.
    let endpoints: Vec<Value> =
        (1..=MANY).map(|number| json!({"addresses": [format!("198.51.100.{number}")]})).collect();
    let slice = json!({
        "metadata": {"name": "reachmap-many", "labels": {"kubernetes.io/service-name": "reachmap-many"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80, "protocol": "TCP"}],
    });
    let service = json!({
        "metadata": {"name": "reachmap-many"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    });
    changed(
        || async {
            create(&services, service).await?;
            create(&slices, slice).await
        },
        || async {
            let name = format!("reachmap-many.{NAMESPACE}.svc.cluster.local.");
            until_answered(session, &name, |seen| seen.addresses.len() == usize::from(MANY)).await?;
            let mut missing = Vec::new();
            for resolver in Resolver::ALL {
                let why = falls_back(session, resolver, &name).await?;
                missing.extend(why.map(|why| format!("nothing is known of {resolver}: {why}")));
            }
            if missing.is_empty() { Ok(()) } else { session.not_supported(missing.join("; ")) }
        },
        || async {
            let slice = delete(&slices, "reachmap-many").await;
            delete(&services, "reachmap-many").await?;
            slice
        },
    )
    .await
}

/// Holds the resolver's lookup against its prediction, in which a datagram holds only a part of the answer; returns why there
/// is none, if the resolver is not there.
async fn falls_back(session: &'static Session, resolver: Resolver, name: &str) -> Result<Option<String>> {
    const PLACE: &str = "ndots5-cluster";
    let panel = session.panel().await?;
    let place = panel.agent(PLACE)?.hello().await?;
    let state = session.snapshot().await?;
    let corefile: Corefile = state.corefile.parse()?;
    let recorded = panel.lookup(PLACE, resolver, name).await?;
    if let Some(why) = panel.missing(PLACE, resolver, &recorded)? {
        return Ok(Some(why));
    }
    let families = Families::asked_by(resolver, &place.addresses);
    let prediction = predict_each(name, &ResolvConf::parse(&place.resolv_conf), resolver, families, |query| {
        let whole = corefile.answer(&query.question, &state).response().cloned()?;
        if query.transport == Transport::Tcp || query.question.kind != QuestionKind::A {
            return Some(whole);
        }
        // Which part of it the datagram held is CoreDNS's choice.
        let part = recorded.questions.iter().find(|asked| asked.transport == Transport::Udp && asked.truncated)?;
        Some(Response { truncated: true, ..Response::records(part.answers.clone()) })
    });
    if let Err(mismatch) = compare(&prediction, &recorded) {
        panic!("{resolver}: {mismatch}");
    }
    let over_tcp: Vec<_> = recorded.questions.iter().filter(|asked| asked.transport == Transport::Tcp).collect();
    match resolver {
        Resolver::Musl => assert!(over_tcp.is_empty(), "{over_tcp:#?}"),
        _ => {
            assert!(over_tcp.iter().any(|asked| asked.answers.len() == usize::from(MANY)), "{resolver}: {recorded:#?}");
        }
    }
    Ok(None)
}

fn api<K>(session: &Session) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(session.client().clone(), NAMESPACE)
}
