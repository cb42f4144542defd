//! A one-way UDP sender while the endpoints of its Service change, and while the Service itself goes and comes again: do its
//! datagrams reach whoever they should, or does what a node remembers of the flow lead them elsewhere?

#![expect(clippy::print_stdout, reason = "what a test has seen stands in its log")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use futures::future::try_join_all;
use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    k8s_openapi::api::core::v1::{Pod, Service},
    kube::{
        Api,
        api::{Patch, PatchParams},
    },
    kubernetes::{
        conditions::{self, load_balancer_addresses},
        wait::{self, Seen},
    },
    load::{
        datagrams::{Arrivals, Sent},
        generator::allow_datagrams,
        timeline::{Mark, Timeline},
    },
    model::{
        ServiceRef, Way,
        flow::{Flow, Frontend, not_known},
    },
    probe::{Receiving, Sending},
    report::ChangeRecord,
    session::Session,
    wire::SendDatagrams,
};
use reachmap_suites::{
    changes::{changed, create, delete, delete_if_there},
    live::{until_announced, until_live},
    lives::now_us,
    on_the_sessions_runtime,
    prelude::{LAPTOP, TESTPOD, WORKER_1},
};
use serde_json::{Value, json};

use super::{ADDRESSES, AT_MOST};

const NAME: &str = "datagrams";
const PORT: u16 = 5_005;

/// One datagram after the other: more often than a node forgets a flow, by far.
const EVERY_MS: u64 = 20;

/// kube-proxy deletes what nodes remember right after it has written its rules: so long after the rules are seen to be live,
/// it has.
const CLEARED: Duration = Duration::from_millis(500);

/// How long each flow is then looked at.
const STEADY: Duration = Duration::from_secs(2);

/// Who receives: two pods that the Service leads to at first, and two others.
const FIRST: [&str; 2] = ["datagrams-first-1", "datagrams-first-2"];
const SECOND: [&str; 2] = ["datagrams-second-1", "datagrams-second-2"];

/// A flow: its name, and by what it names the Service.
struct Sender {
    name: &'static str,
    frontend: Frontend,
    sending: Sending,
}

/// Some time in which nothing changed.
struct Phase {
    /// What had been changed before.
    what: &'static str,
    /// The endpoints that the Service had; none if there was no Service.
    serving: Option<BTreeSet<String>>,
    changed_us: u64,
    from_us: u64,
    to_us: u64,
}

/// What the test holds in its hands.
struct Scene {
    session: &'static Session,
    services: Api<Service>,
    phases: Vec<Phase>,
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_udp_flow_follows_the_endpoints_and_forgets_them_only_as_kube_proxy_clears_it() -> Result<()> {
    on_the_sessions_runtime(async {
        let _alone = ADDRESSES.lock().await;
        let session = Session::current()?;
        changed(
            || make_pods(session),
            || async {
                let services: Api<Service> = Api::namespaced(session.client().clone(), NAMESPACE);
                let mut scene = Scene { session, services, phases: Vec::new() };
                let (arrivals, senders) = scene.play().await?;
                assert!(arrivals.is_exact(), "twice: {:?}; never sent: {:?}", arrivals.doubled, arrivals.unknown);
                scene.record(&arrivals)?;
                scene.hold(&arrivals, &senders);
                Ok(())
            },
            || remove(session),
        )
        .await
    })
}

impl Scene {
    /// All that happens; returns where the datagrams went, and the flows in the order in which they began.
    async fn play(&mut self) -> Result<(Arrivals, Vec<(&'static str, Frontend)>)> {
        let receiving = receive(self.session).await?;
        create(&self.services, service(&json!({ "group": "first" }), None)).await?;
        self.until_live(2).await?;
        let frontends = self.frontends().await?;
        let mut senders = Vec::new();
        for (name, vantage, frontend) in [
            (TESTPOD, TESTPOD, Frontend::ClusterIp),
            (WORKER_1, WORKER_1, Frontend::ClusterIp),
            (LAPTOP, LAPTOP, Frontend::NodePort),
            ("laptop-balanced", LAPTOP, Frontend::LoadBalancer),
        ] {
            senders.push(self.send(name, vantage, frontend, frontends[&frontend]).await?);
        }
        self.steady("two endpoints", Some(set(&FIRST)), now_us()).await;
        self.select("no endpoints", "none", &[]).await?;
        self.select("two other endpoints", "second", &SECOND).await?;
        let kept = self.services.get(NAME).await.tried(ErrorKind::Environment, || "read the Service")?;
        let gone_us = now_us();
        delete(&self.services, NAME).await?;
        self.until_live(0).await?;
        // A flow that begins while there is no Service is remembered as it is: untranslated.
        senders.push(self.send("testpod-later", TESTPOD, Frontend::ClusterIp, frontends[&Frontend::ClusterIp]).await?);
        self.steady("no Service", None, gone_us).await;
        let again_us = now_us();
        create(&self.services, service(&json!({ "group": "first" }), Some(&kept))).await?;
        self.until_live(2).await?;
        self.steady("the Service again, with the first endpoints", Some(set(&FIRST)), again_us).await;
        let flows = senders.iter().map(|sender| (sender.name, sender.frontend)).collect();
        let sent = try_join_all(senders.into_iter().map(|Sender { name, sending, .. }| async move {
            let id = sending.what.id.clone();
            Ok::<_, Error>(Sent { vantage: name.to_owned(), id, sent: sending.finish().await? })
        }));
        let sent = sent.await?;
        let received =
            receiving.into_iter().map(|(pod, one)| async move { Ok::<_, Error>((pod, one.finish().await?)) });
        let received = try_join_all(received).await?;
        Ok((Arrivals::of(&sent, &received), flows))
    }

    /// Waits until the Service has so many endpoints, every node translates by them, and its address is announced if it
    /// has any.
    async fn until_live(&self, endpoints: usize) -> Result<()> {
        until_live(self.session, NAME, endpoints).await?;
        if endpoints == 0 {
            return Ok(());
        }
        until_announced(self.session, NAME).await.map(drop)
    }

    /// Where the Service can be named: its cluster IP, its load balancer's address, and its node port on a worker.
    async fn frontends(&self) -> Result<BTreeMap<Frontend, SocketAddr>> {
        let state = self.session.snapshot().await?;
        let service = || ServiceRef::new(NAMESPACE, NAME);
        let node_port = Way::NodePort { service: service(), node: "worker-2".to_owned() };
        let ways = [
            (Frontend::ClusterIp, Way::ClusterIp { service: service() }),
            (Frontend::LoadBalancer, Way::LoadBalancer { service: service() }),
            (Frontend::NodePort, node_port),
        ];
        let mut frontends = BTreeMap::new();
        for (frontend, way) in ways {
            let target = way.target(&state)?;
            let tried = || format!("read the address of {target}");
            let address = target.host.parse().map_err(|error| Error::new(ErrorKind::Internal, tried(), error))?;
            let address = SocketAddr::new(address, target.port);
            allow_datagrams(&state, address)?;
            frontends.insert(frontend, address);
        }
        Ok(frontends)
    }

    async fn send(
        &self,
        name: &'static str,
        vantage: &str,
        frontend: Frontend,
        destination: SocketAddr,
    ) -> Result<Sender> {
        let id = format!("{}-{NAME}-{name}", self.session.handover().run);
        let what = SendDatagrams { destination, id, every_ms: EVERY_MS };
        let sending = self.session.agent(vantage)?.send_datagrams(what).await?;
        Ok(Sender { name, frontend, sending })
    }

    /// Lets the Service lead to other pods.
    async fn select(&mut self, what: &'static str, group: &str, pods: &[&str]) -> Result<()> {
        let changed_us = now_us();
        let patch = Patch::Merge(json!({ "spec": { "selector": { "group": group } } }));
        let patched = self.services.patch(NAME, &PatchParams::default(), &patch).await;
        patched.map(drop).tried(ErrorKind::Environment, || format!("let {NAME} select {group}"))?;
        self.until_live(pods.len()).await?;
        self.steady(what, Some(set(pods)), changed_us).await;
        Ok(())
    }

    async fn steady(&mut self, what: &'static str, serving: Option<BTreeSet<String>>, changed_us: u64) {
        tokio::time::sleep(CLEARED).await;
        let from_us = now_us();
        tokio::time::sleep(STEADY).await;
        self.phases.push(Phase { what, serving, changed_us, from_us, to_us: now_us() });
    }

    /// Puts what was seen into the report: the change of endpoints, and the Service that went and came.
    fn record(&self, arrivals: &Arrivals) -> Result<()> {
        let version = &self.session.state().kubernetes;
        let marks = self.phases.iter().map(|phase| Mark { at_us: phase.changed_us, what: phase.what.to_owned() });
        let gone_us = self.changed_us("no Service");
        let (before, after): (Vec<_>, Vec<_>) =
            arrivals.line.events.iter().cloned().partition(|event| event.start_us < gone_us);
        let (marked, marks): (Vec<_>, Vec<_>) = marks.partition(|mark| mark.at_us < gone_us);
        let of = |name, what: &str, events, marks, since_us, pods: [&str; 2]| {
            let what = format!("{what}, UDP one way ({version})");
            let line = Timeline { events, marks };
            ChangeRecord::of(name, &what, &line, (since_us, &pods.into()), &[])
        };
        let others_us = self.changed_us("two other endpoints");
        self.session.record_change(of("udp-endpoints", "2 to 0 to 2 endpoints", before, marked, others_us, SECOND))?;
        let again_us = self.changed_us("the Service again, with the first endpoints");
        self.session.record_change(of("udp-service", "Service deleted and made again", after, marks, again_us, FIRST))
    }

    fn changed_us(&self, what: &str) -> u64 {
        self.phases.iter().find(|phase| phase.what == what).map_or(0, |phase| phase.changed_us)
    }

    /// Each flow went where the model says, datagram by datagram, in every phase.
    fn hold(&self, arrivals: &Arrivals, flows: &[(&'static str, Frontend)]) {
        let state = self.session.state();
        let not_known = not_known(&state.kubernetes, state.proxy_mode);
        let mut wrong = Vec::new();
        for (name, frontend) in flows {
            let mut flow: Option<Flow> = None;
            let mut was_gone = false;
            for phase in &self.phases {
                let went = arrivals.between(name, phase.from_us, phase.to_us);
                if went.to.is_empty() && went.lost.is_empty() {
                    // It had not begun.
                    continue;
                }
                let serving = phase.serving.as_ref();
                let goes = match (flow, serving) {
                    (None, serving) => Flow::new(serving),
                    (Some(flow), Some(serving)) if was_gone => flow.back(serving),
                    (Some(flow), serving) => flow.after(*frontend, serving),
                };
                was_gone = serving.is_none();
                let seen = went.receivers();
                println!("{name}, {}: to {:?}, lost {:?}; had to be {goes:?}", phase.what, went.to, went.lost);
                if !goes.allows(&seen, went.lost.is_empty()) {
                    wrong.push(format!("{name}, {}: {went:?}, and had to be {goes:?}", phase.what));
                }
                flow = Some(Flow::seen(&seen));
            }
        }
        match not_known {
            None => assert!(wrong.is_empty(), "{wrong:#?}"),
            Some(why) => println!("not held against anything: {why}"),
        }
    }
}

/// The Service; `like` is the one whose cluster IP, node port and load balancer's address it has.
fn service(selector: &Value, like: Option<&Service>) -> Value {
    let mut port = json!({ "port": PORT, "targetPort": PORT, "protocol": "UDP" });
    let mut spec = json!({ "type": "LoadBalancer", "selector": selector });
    let mut annotations = json!({});
    if let Some((like, its)) = like.and_then(|like| Some((like, like.spec.as_ref()?))) {
        spec["clusterIP"] = json!(its.cluster_ip);
        let node_port = its.ports.iter().flatten().find_map(|port| port.node_port);
        port["nodePort"] = json!(node_port);
        let addresses: Vec<String> = load_balancer_addresses(like).iter().map(ToString::to_string).collect();
        annotations["metallb.io/loadBalancerIPs"] = json!(addresses.join(","));
    }
    spec["ports"] = json!([port]);
    json!({ "metadata": { "name": NAME, "annotations": annotations }, "spec": spec })
}

fn pods(session: &Session) -> Api<Pod> {
    Api::namespaced(session.client().clone(), NAMESPACE)
}

/// Pods like the tutorial's test pod, with an agent each: whoever is no endpoint any more still is there, and would see what
/// is sent to it.
async fn make_pods(session: &Session) -> Result<()> {
    let testpod = pods(session).get("testpod").await.tried(ErrorKind::Environment, || "read the test pod")?;
    let mut spec = serde_json::to_value(testpod.spec).tried(ErrorKind::Internal, || "write its spec")?;
    spec["nodeName"] = Value::Null;
    for (group, names) in [("first", FIRST), ("second", SECOND)] {
        for (name, node) in names.iter().zip(["worker-1", "worker-3"]) {
            let node = session.state().node_by_id(node)?.name.clone();
            spec["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
            let labels = json!({ "app": NAME, "group": group });
            create(&pods(session), json!({ "metadata": { "name": name, "labels": labels }, "spec": spec })).await?;
        }
    }
    wait::until_all(pods(session), &format!("app={NAME}"), "see the receivers run", AT_MOST, |pods| {
        let ready = pods.values().filter(|pod| conditions::is_ready(pod)).count();
        if ready == 4 { Seen::Met(()) } else { Seen::NotYet(format!("{ready} of 4 are ready")) }
    })
    .await
}

async fn receive(session: &Session) -> Result<Vec<(String, Receiving)>> {
    let started = FIRST.into_iter().chain(SECOND).map(|pod| async move {
        let agent = session.agent_in(NAMESPACE, pod, "testpod").await?;
        Ok::<_, Error>((pod.to_owned(), agent.receive_datagrams(PORT).await?))
    });
    try_join_all(started).await
}

/// Deletes the Service and the pods, whatever there is of them.
async fn remove(session: &Session) -> Result<()> {
    let services: Api<Service> = Api::namespaced(session.client().clone(), NAMESPACE);
    delete_if_there(&services, NAME).await?;
    for name in FIRST.iter().chain(&SECOND) {
        delete_if_there(&pods(session), name).await?;
    }
    wait::until_all(pods(session), &format!("app={NAME}"), "see the receivers go", AT_MOST, |pods| match pods.len() {
        0 => Seen::Met(()),
        left => Seen::NotYet(format!("{left} are left")),
    })
    .await
}
