//! Records of other types than addresses: what the live Corefile must answer, and what it does answer.

use std::net::IpAddr;

use reachmap::{
    Error, ErrorKind, Result,
    environment::workloads::{CLUSTER_IP, NAMESPACE},
    model::dns::{Corefile, Question, QuestionKind, reverse, said},
    session::Session,
    wire::{Asker, RecordedQuestion, Recording},
};

/// Any of the panel's pods will do: the names are absolute.
const PLACE: &str = "ndots5-cluster";

/// SRV of named ports and of headless endpoints; PTR of a cluster IP, a headless endpoint, a pod, and of nobody.
pub(crate) async fn are_as_the_corefile_says() -> Result<()> {
    let session = Session::current()?;
    let state = session.state();
    let corefile: Corefile = state.corefile.parse()?;
    let headless = format!("nginx-headless-service.{NAMESPACE}.svc.cluster.local.");
    let mut asked = vec![
        ("_dns._udp.kube-dns.kube-system.svc.cluster.local.".to_owned(), QuestionKind::Srv),
        ("_dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local.".to_owned(), QuestionKind::Srv),
        ("_none._tcp.kube-dns.kube-system.svc.cluster.local.".to_owned(), QuestionKind::Srv),
        (headless.clone(), QuestionKind::Srv),
        (headless, QuestionKind::Txt),
        (format!("nginx-external-service.{NAMESPACE}.svc.cluster.local."), QuestionKind::Cname),
    ];
    let pod = state.pod(NAMESPACE, "testpod").and_then(|pod| pod.addresses.first().copied());
    let endpoint = state.endpoints.iter().find(|endpoint| endpoint.service == "nginx-headless-service");
    let cluster_ip = state.service(NAMESPACE, CLUSTER_IP).and_then(|service| service.cluster_ips.first().copied());
    let nobody = Some(IpAddr::from([10, 96, 255, 253]));
    for address in [cluster_ip, endpoint.map(|endpoint| endpoint.address), pod, nobody] {
        let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, "find an address", "there is none"))?;
        asked.push((reverse(address), QuestionKind::Ptr));
    }
    let mut judged = 0;
    for (name, kind) in asked {
        let answer = corefile.answer(&Question::new(&name, kind), state);
        let seen = ask(session, &name, kind).await?;
        // What other servers say of an address that is nobody's in the cluster is theirs to decide.
        let Some(response) = answer.response() else { continue };
        let rcode = seen.rcode.as_deref();
        assert_eq!(rcode, Some(response.rcode.mnemonic()), "{name} {kind}: {answer}; seen: {seen:#?}");
        assert_eq!(said(&seen.answers), said(&response.answers), "{name} {kind}: {answer}");
        judged += 1;
    }
    assert!(judged >= 8, "the model said what only {judged} questions are answered with");
    Ok(())
}

/// `dig -t KIND NAME`, as the recorder in the panel saw it.
async fn ask(session: &'static Session, name: &str, kind: QuestionKind) -> Result<RecordedQuestion> {
    let panel = session.panel().await?;
    let argv = ["dig", "-t", &kind.to_string(), name].map(str::to_owned).to_vec();
    let asker = Asker::Program { argv };
    let recording = Recording { asker, server: panel.server(), timeout_ms: 20_000, keeps_socket: false };
    let recorded = panel.agent(PLACE)?.record(recording).await?;
    let end = recorded.end;
    recorded.questions.into_iter().next().ok_or_else(|| {
        Error::new(ErrorKind::Environment, format!("ask for {name} {kind}"), format!("nothing was asked: {end:?}"))
    })
}
