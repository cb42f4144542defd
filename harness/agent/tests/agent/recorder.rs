//! What the recorder writes down, of real programs and of hickory, against a server on loopback.

mod programs;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::op::{Message, ResponseCode};
use reachmap::{
    probe::Agent,
    wire::{Asker, DnsFailure, End, QuestionKind, Recorded, RecordedQuestion, Recording, Transport},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    dns_server::{self, Say},
    program,
};

/// An agent whose vantage has its recorder at `port`, which its `resolv.conf` sends questions to.
struct Vantage {
    agent: Agent,
    port: u16,
    file: tempfile::NamedTempFile,
}

/// IPv4 only where our own resolver asks, so that a test asks the same on every machine.
const POD: &str = "nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5 no-aaaa attempts:1 timeout:1\n";

impl Vantage {
    async fn new(conf: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), conf).unwrap();
        // A port that is free by UDP and TCP.
        let port = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            if UdpSocket::bind(address).is_ok() {
                break address.port();
            }
        };
        let command = program()
            .env("REACHMAP_RESOLV_CONF", file.path().to_str().unwrap())
            .env("REACHMAP_DNS_PORT", port.to_string());
        Self { agent: Agent::spawn(command).await.unwrap(), port, file }
    }

    /// Lets a program look up, which sends its questions to `server` by way of the recorder.
    async fn run(&self, argv: &[&str], server: SocketAddr, timeout: Duration) -> Recorded {
        let asker = Asker::Program { argv: argv.iter().copied().map(str::to_owned).collect() };
        self.record(asker, server, timeout).await.unwrap()
    }

    async fn record(&self, asker: Asker, server: SocketAddr, timeout: Duration) -> reachmap::Result<Recorded> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap();
        self.agent.record(Recording { asker, server, timeout_ms, keeps_socket: false }).await
    }

    /// A shell script that is recorded beside others.
    async fn beside(&self, script: &str, server: SocketAddr) -> Recorded {
        let asker = Asker::Program { argv: ["sh", "-c", script].map(str::to_owned).to_vec() };
        let recording = Recording { asker, server, timeout_ms: 10_000, keeps_socket: true };
        self.agent.record(recording).await.unwrap()
    }

    /// A real resolver in a process of its own: the agent itself, which asks what glibc would ask.
    async fn resolve(&self, name: &str, server: SocketAddr) -> Recorded {
        self.run(&["sh", "-c", &asking(name)], server, SOON).await
    }

    fn recorder(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

const SOON: Duration = Duration::from_secs(10);

/// A shell script that looks `name` up with the vantage's `resolv.conf`.
fn asking(name: &str) -> String {
    let request = format!(r#"{{"id":1,"action":{{"resolve":{{"name":"{name}","server":null}}}}}}"#);
    format!("echo '{request}' | {}", program().program)
}

fn asked(recorded: &Recorded) -> Vec<(&str, QuestionKind, Option<&str>)> {
    let fact = |question: &RecordedQuestion| (question.kind, question.rcode.as_deref().map(str::to_owned));
    assert!(recorded.questions.iter().all(|question| fact(question).1.is_some() == question.elapsed_us.is_some()));
    recorded
        .questions
        .iter()
        .map(|question| (question.name.as_str(), question.kind, question.rcode.as_deref()))
        .collect()
}

fn output(recorded: &Recorded) -> (Option<i32>, &str, &str) {
    match &recorded.end {
        End::Exited { code, stdout, stderr } => (*code, stdout, stderr),
        other => panic!("{other:?}"),
    }
}

/// `web` is there, in the search path's second domain, with one address of each family; nothing else is.
fn shop(name: &str, kind: &str) -> Say {
    match (name, kind) {
        ("web.svc.cluster.local.", "A") => Say::Records(vec![("web.svc.cluster.local.", "10.96.0.7")]),
        ("web.svc.cluster.local.", "AAAA") => Say::Records(vec![("web.svc.cluster.local.", "fd00::7")]),
        _ => Say::Code(ResponseCode::NXDomain),
    }
}

#[tokio::test]
async fn a_programs_questions_are_written_down_in_order() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let recorded = vantage.resolve("web", server).await;
    assert_eq!(
        asked(&recorded),
        [
            ("web.shop.svc.cluster.local.", QuestionKind::A, Some("NXDOMAIN")),
            ("web.svc.cluster.local.", QuestionKind::A, Some("NOERROR")),
        ]
    );
    let (code, stdout, _) = output(&recorded);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("10.96.0.7"), "the answer is the server's: {stdout}");
    assert_eq!(recorded.questions[1].answers.len(), 1);
    assert_eq!(recorded.unreadable, 0);
    let times: Vec<u64> = recorded.questions.iter().map(|question| question.at_us).collect();
    assert!(times[0] <= times[1] && times[1] <= recorded.elapsed_us, "{recorded:#?}");
    assert!(recorded.questions.iter().all(|question| question.transport == Transport::Udp && !question.truncated));
}

#[tokio::test]
async fn hickory_walks_the_search_path_with_both_families_at_once() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let recorded = vantage.record(Asker::Hickory { name: "web".to_owned() }, server, SOON).await.unwrap();
    let mut questions = asked(&recorded);
    questions[..2].sort();
    questions[2..].sort();
    assert_eq!(
        questions,
        [
            ("web.shop.svc.cluster.local.", QuestionKind::A, Some("NXDOMAIN")),
            ("web.shop.svc.cluster.local.", QuestionKind::Aaaa, Some("NXDOMAIN")),
            ("web.svc.cluster.local.", QuestionKind::A, Some("NOERROR")),
            ("web.svc.cluster.local.", QuestionKind::Aaaa, Some("NOERROR")),
        ]
    );
    let End::Addresses(mut addresses) = recorded.end else { panic!("{recorded:#?}") };
    addresses.sort();
    assert_eq!(addresses, ["10.96.0.7", "fd00::7"].map(|text| text.parse::<std::net::IpAddr>().unwrap()));
}

#[tokio::test]
async fn hickory_has_no_memory_and_reads_its_configuration_each_time() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let hickory = || vantage.record(Asker::Hickory { name: "web".to_owned() }, server, SOON);
    let first = hickory().await.unwrap();
    assert_eq!(asked(&hickory().await.unwrap()).len(), asked(&first).len());
    std::fs::write(vantage.file.path(), "nameserver 127.0.0.1\nsearch svc.cluster.local\n").unwrap();
    assert_eq!(hickory().await.unwrap().questions.len(), 2);
    std::fs::write(vantage.file.path(), "search svc.cluster.local\n").unwrap();
    let error = hickory().await.unwrap_err();
    assert!(error.to_string().contains("hickory cannot be configured"), "{error}");
}

#[tokio::test]
async fn hickory_fails_in_its_own_words_and_is_ended_at_its_time() {
    let vantage = Vantage::new(POD).await;
    let hickory = |server, timeout| vantage.record(Asker::Hickory { name: "web.".to_owned() }, server, timeout);
    let recorded = hickory(dns_server::start(shop).await, SOON).await.unwrap();
    let End::Failed { failure: DnsFailure::NxDomain, text } = &recorded.end else { panic!("{recorded:#?}") };
    assert!(text.contains("no records found"), "{text}");
    let silent = dns_server::start(|_, _| Say::Nothing).await;
    let recorded = hickory(silent, Duration::from_millis(300)).await.unwrap();
    assert_eq!(recorded.end, End::TimedOut);
    assert!(asked(&recorded).iter().all(|(_, _, rcode)| rcode.is_none()));
    assert_eq!(recorded.questions.len(), 2);
    assert!(recorded.elapsed_us < 2_000_000, "{recorded:#?}");
}

/// hickory repeats the question after a third of a second, and has its answer then; the other one is still to come.
#[tokio::test]
async fn an_answer_that_comes_after_the_lookup_is_written_down() {
    let vantage = Vantage::new(POD).await;
    let late = Duration::from_millis(800);
    let server = dns_server::start_late(late, |_, _| Say::Code(ResponseCode::NXDomain)).await;
    let recorded = vantage.record(Asker::Hickory { name: "web.".to_owned() }, server, SOON).await.unwrap();
    assert!(recorded.elapsed_us < 800_000, "{recorded:#?}");
    let took: Vec<_> = recorded.questions.iter().map(|question| question.elapsed_us).collect();
    assert!(took.iter().all(Option::is_some), "{recorded:#?}");
    assert!(took.iter().flatten().any(|took| *took >= 790_000), "{recorded:#?}");
}

#[tokio::test]
async fn a_truncated_answer_and_its_repetition_by_tcp_are_two_questions() {
    let vantage = Vantage::new(POD).await;
    let say = |name: &str, _: &str| match name {
        "web.shop.svc.cluster.local." => Say::Long(vec![("web.shop.svc.cluster.local.", "10.0.0.1")]),
        _ => Say::Code(ResponseCode::NXDomain),
    };
    let recorded = vantage.resolve("web", dns_server::start(say).await).await;
    let facts: Vec<_> = recorded
        .questions
        .iter()
        .map(|question| (question.transport, question.truncated, question.answers.len(), question.rcode.as_deref()))
        .collect();
    assert_eq!(facts, [(Transport::Udp, true, 0, Some("NOERROR")), (Transport::Tcp, false, 1, Some("NOERROR"))]);
    assert!(output(&recorded).1.contains("10.0.0.1"));
}

#[tokio::test]
async fn every_byte_is_passed_on_as_it_is() {
    // A server that sends back what it gets, by either way.
    let echo = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = echo.local_addr().unwrap();
    let datagrams = tokio::net::UdpSocket::bind(server).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, client)) = datagrams.recv_from(&mut buffer).await {
            datagrams.send_to(&buffer[..length], client).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    let vantage = Vantage::new(POD).await;
    // The first recording makes it listen.
    vantage.run(&["true"], server, SOON).await;
    let recording = vantage.run(&["sleep", "30"], server, Duration::from_secs(2));
    let asking = async {
        let message: Vec<u8> = (0..=255).cycle().take(2000).collect();
        let mut buffer = vec![0; 65_535];
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(vantage.recorder()).await.unwrap();
        // Only once the recording has begun is anything passed on.
        let length = loop {
            socket.send(&message).await.unwrap();
            if let Ok(length) = tokio::time::timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await {
                break length.unwrap();
            }
        };
        assert_eq!(buffer[..length], message);
        let mut stream = tokio::net::TcpStream::connect(vantage.recorder()).await.unwrap();
        for _ in 0..2 {
            stream.write_u16(2000).await.unwrap();
            stream.write_all(&message).await.unwrap();
            assert_eq!(stream.read_u16().await.unwrap(), 2000);
            stream.read_exact(&mut buffer[..2000]).await.unwrap();
            assert_eq!(buffer[..2000], message);
        }
    };
    let (recorded, ()) = tokio::join!(recording, asking);
    assert_eq!(recorded.questions, []);
    assert_eq!(recorded.unreadable, 3, "none of them is a question, and none was lost");
}

#[tokio::test]
async fn a_silent_server_is_no_answer() {
    let vantage = Vantage::new(POD).await;
    let recorded = vantage.resolve("web.", dns_server::start(|_, _| Say::Nothing).await).await;
    assert_eq!(asked(&recorded), [("web.", QuestionKind::A, None)]);
    assert!(output(&recorded).1.contains("timeout"));
}

#[tokio::test]
async fn an_answer_that_is_none_has_a_time_and_no_code() {
    let vantage = Vantage::new(POD).await;
    let recorded = vantage.resolve("web.", dns_server::start(|_, _| Say::Garbage).await).await;
    assert_eq!((recorded.questions.len(), &recorded.questions[0].rcode), (1, &None));
    assert!(recorded.questions[0].elapsed_us.is_some());
}

#[tokio::test]
async fn late_answers_and_late_questions_belong_to_no_other_recording() {
    let vantage = Vantage::new(POD).await;
    // A server that answers the name `late.` when the next recording is under way, and all else at once.
    let socket = Arc::new(tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let server = socket.local_addr().unwrap();
    let kept = Arc::new(Mutex::new(None));
    let keeping = Arc::clone(&kept);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let reply = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = reply.queries[0].name().to_ascii();
            let answer = (reply.to_vec().unwrap(), client);
            if name == "late." {
                *keeping.lock().unwrap() = Some(answer);
            } else {
                let late = keeping.lock().unwrap().take();
                for (bytes, client) in late.into_iter().chain([answer]) {
                    socket.send_to(&bytes, client).await.unwrap();
                }
            }
        }
    });
    let ask = asking("late.");
    let first = vantage.run(&["sh", "-c", &ask], server, Duration::from_millis(500)).await;
    assert_eq!((asked(&first), &first.end), (vec![("late.", QuestionKind::A, None)], &End::TimedOut));
    assert!(kept.lock().unwrap().is_some());
    // Between the two, somebody asks who belongs to neither.
    let stray = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut question = Message::query();
    question.add_query(hickory_proto::op::Query::query("stray.".parse().unwrap(), hickory_proto::rr::RecordType::A));
    stray.send_to(&question.to_vec().unwrap(), vantage.recorder()).unwrap();
    let second = vantage.resolve("soon.", server).await;
    assert_eq!(asked(&second), [("soon.", QuestionKind::A, Some("NOERROR"))]);
    assert!(kept.lock().unwrap().is_none(), "the late answer came");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_counts() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    // Bash sends one datagram and ends.
    let script = format!(r"printf '\0\7\1\0\0\1\0\0\0\0\0\0\3web\0\0\34\0\1' >/dev/udp/127.0.0.1/{}", vantage.port);
    for _ in 0..20 {
        let recorded = vantage.run(&["bash", "-c", &script], server, SOON).await;
        assert_eq!(recorded.questions.len(), 1);
        let question = &recorded.questions[0];
        assert_eq!((question.id, question.name.as_str(), question.kind), (7, "web.", QuestionKind::Aaaa));
    }
}

#[tokio::test]
async fn recordings_made_at_once_are_told_apart_by_their_sockets() {
    let say = |name: &str, _: &str| match name {
        "silent." => Say::Nothing,
        "long." => Say::Long(vec![("long.", "10.0.0.1")]),
        _ => Say::Code(ResponseCode::NXDomain),
    };
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(say).await);
    // All the time, two wait for an answer that never comes.
    let silent = async {
        let (one, two) = (asking("silent."), asking("silent."));
        tokio::join!(vantage.beside(&one, server), vantage.beside(&two, server))
    };
    let others = async {
        for number in 0..5 {
            let (one, two) = (format!("one{number}."), format!("two{number}."));
            let hickory = vantage.record(Asker::Hickory { name: two.clone() }, server, SOON);
            let again = vantage.record(Asker::Hickory { name: two.clone() }, server, SOON);
            let (asked_one, long, hickory, again) =
                tokio::join!(vantage.resolve(&one, server), vantage.resolve("long.", server), hickory, again);
            assert_eq!(asked(&asked_one), [(one.as_str(), QuestionKind::A, Some("NXDOMAIN"))]);
            let transports: Vec<_> = long.questions.iter().map(|asked| (&*asked.name, asked.transport)).collect();
            assert_eq!(transports, [("long.", Transport::Udp), ("long.", Transport::Tcp)]);
            for hickory in [hickory.unwrap(), again.unwrap()] {
                assert_eq!(asked(&hickory).len(), 2);
                assert!(hickory.questions.iter().all(|question| question.name == two), "{hickory:#?}");
                assert_eq!(hickory.strays, 0);
            }
            assert_eq!((asked_one.strays, long.strays), (0, 0));
        }
    };
    let ((one, two), ()) = tokio::join!(silent, others);
    for silent in [one, two] {
        assert_eq!((asked(&silent), silent.strays), (vec![("silent.", QuestionKind::A, None)], 0));
    }
}

#[tokio::test]
async fn a_socket_that_is_closed_already_is_that_of_the_asker_that_keeps_none() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(|_, _| Say::Nothing).await);
    let patient = asking("silent.");
    let quick = async {
        // Bash sends one datagram, and its socket is gone.
        let script = format!(r"printf '\0\7\1\0\0\1\0\0\0\0\0\0\3web\0\0\34\0\1' >/dev/udp/127.0.0.1/{}", vantage.port);
        for _ in 0..10 {
            let recorded = vantage.run(&["bash", "-c", &script], server, SOON).await;
            assert_eq!(asked(&recorded), [("web.", QuestionKind::Aaaa, None)]);
        }
    };
    let (patient, ()) = tokio::join!(vantage.beside(&patient, server), quick);
    assert_eq!((asked(&patient), patient.strays), (vec![("silent.", QuestionKind::A, None)], 0));
}

#[tokio::test]
async fn a_message_that_is_nobodys_is_told() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
    let scripts = files.each_ref().map(|file| format!("echo >{}; exec sleep 2", file.path().display()));
    // While both are under way, this process asks, which is neither of them.
    let asking = async {
        while files.iter().any(|file| std::fs::read(file.path()).unwrap().is_empty()) {
            tokio::task::yield_now().await;
        }
        let stray = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        stray.send_to(b"hello", vantage.recorder()).unwrap();
    };
    let [one, two] = &scripts;
    let (one, two, ()) = tokio::join!(vantage.beside(one, server), vantage.beside(two, server), asking);
    let strays = |recorded: &Recorded| (recorded.strays, recorded.unreadable, recorded.questions.len());
    assert_eq!((strays(&one), strays(&two)), ((1, 0, 0), (1, 0, 0)));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_what_to_do() {
    let (vantage, server) = (Vantage::new(POD).await, dns_server::start(shop).await);
    let _taken = UdpSocket::bind(vantage.recorder()).unwrap();
    let error = vantage.record(Asker::Hickory { name: "web".to_owned() }, server, SOON).await.unwrap_err();
    assert!(error.to_string().contains("ip_unprivileged_port_start"), "{error}");
}
