//! What the agent makes of servers that behave well and of servers that do not.

use std::{future::Future, net::Ipv4Addr, time::Duration};

use futures::future::join_all;
use reachmap::wire::{FailureClass, RouteOutcome, Step};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{agent, observe, probe};

/// A server that treats each connection, once the request's head has been read, as `behave` says.
pub(crate) async fn server<F, B>(behave: B) -> u16
where
    B: Fn(TcpStream, String) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let behave = behave.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut buffer = [0; 1024];
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(length) => head.extend_from_slice(&buffer[..length]),
                    }
                }
                behave(stream, String::from_utf8(head).unwrap()).await;
            });
        }
    });
    port
}

/// A server that answers every request with the same bytes and closes.
async fn server_that_says(bytes: &'static str) -> u16 {
    server(move |mut stream, _| async move {
        let _ = stream.write_all(bytes.as_bytes()).await;
    })
    .await
}

/// A server that answers with the request's id and the client's address, as the workloads do.
pub(crate) async fn server_that_echoes() -> u16 {
    server(|mut stream, head| async move {
        let id = head.lines().find_map(|line| line.strip_prefix("X-Request-Id: ")).unwrap().to_owned();
        let client = stream.peer_addr().unwrap().ip();
        let text = format!(
            "HTTP/1.1 200 OK\r\nX-Served-By: nginx-1\r\nX-Client-Address: {client}\r\nContent-Length: {}\r\n\r\n{id}",
            id.len()
        );
        let _ = stream.write_all(text.as_bytes()).await;
    })
    .await
}

#[tokio::test]
async fn a_good_answer_is_reported_step_by_step() {
    let port = server_that_echoes().await;
    let seen = observe(port).await;
    assert!(seen.is_reached(), "{seen:#?}");
    assert_eq!(seen.resolve, None, "an address is not resolved");
    assert_eq!(seen.route.unwrap().outcome, RouteOutcome::Source("127.0.0.1".parse().unwrap()));
    let connect = seen.connect.unwrap();
    assert_eq!((connect.destination.port(), connect.failure), (port, None));
    assert!(connect.local.unwrap().ip().is_loopback());
    let respond = seen.respond.unwrap();
    assert_eq!(respond.served_by.as_deref(), Some("nginx-1"));
    assert_eq!(respond.client_address, Some("127.0.0.1".parse().unwrap()));
    assert_eq!((respond.body_start.as_str(), respond.body_length), ("test-1", 6));
    assert!(seen.elapsed_us >= connect.elapsed_us + respond.elapsed_us);
}

#[tokio::test]
async fn a_thousand_probes_at_once_each_get_their_own_answer() {
    let port = server_that_echoes().await;
    let agent = agent().await;
    let all = (0..1_000).map(|number| {
        let mut probe = probe("127.0.0.1", port);
        probe.request_id = format!("number-{number}");
        // Hundreds of connections at once may overflow the server's queue: a SYN is then sent again, later.
        (probe.connect_timeout_ms, probe.timeout_ms) = (20_000, 30_000);
        let agent = agent.clone();
        async move { (probe.request_id.clone(), agent.probe(probe).await.unwrap()) }
    });
    for (id, seen) in join_all(all).await {
        assert!(seen.is_reached(), "{id}: {seen:#?}");
        assert_eq!(seen.respond.unwrap().body_start, id);
    }
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let seen = observe(port).await;
    assert_eq!(seen.last_step(), Some(Step::Connect));
    assert_eq!(seen.connect.unwrap().failure.unwrap().class, FailureClass::Refused);
}

#[tokio::test]
async fn an_address_without_a_route_ends_at_the_route() {
    // The limited broadcast address: TCP has no route to it anywhere, and the kernel says so.
    let seen = agent().await.probe(probe("255.255.255.255", 80)).await.unwrap();
    assert_eq!(seen.last_step(), Some(Step::Route));
    assert!(matches!(seen.route.unwrap().outcome, RouteOutcome::Failed(_)));
}

#[tokio::test]
async fn a_reset_after_the_request_is_a_reset() {
    let port = server(|stream, _| async move {
        stream.set_zero_linger().unwrap();
        drop(stream);
    })
    .await;
    let respond = observe(port).await.respond.unwrap();
    assert_eq!((respond.status, respond.failure.unwrap().class), (None, FailureClass::Reset));
}

#[tokio::test]
async fn an_answer_that_stops_short_is_closed() {
    let port = server_that_says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let seen = observe(port).await;
    assert!(!seen.is_reached());
    let respond = seen.respond.unwrap();
    assert_eq!((respond.status, respond.body_length), (Some(200), 9));
    assert_eq!(respond.failure.unwrap().class, FailureClass::Closed);
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out_in_time() {
    let port = server(|stream, _| async move {
        futures::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut probe = probe("127.0.0.1", port);
    probe.timeout_ms = 200;
    let seen = agent().await.probe(probe).await.unwrap();
    assert_eq!(seen.respond.unwrap().failure.unwrap().class, FailureClass::Timeout);
    let elapsed = Duration::from_micros(seen.elapsed_us);
    assert!(elapsed >= Duration::from_millis(200) && elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[tokio::test]
async fn another_protocol_is_malformed() {
    let port = server_that_says("SSH-2.0-OpenSSH_9.2p1\r\n").await;
    let respond = observe(port).await.respond.unwrap();
    assert_eq!((respond.status, respond.failure.unwrap().class), (None, FailureClass::Malformed));
}

#[tokio::test]
async fn chunks_are_one_body() {
    let port =
        server_that_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n")
            .await;
    let seen = observe(port).await;
    assert!(seen.is_reached(), "{seen:#?}");
    assert_eq!(seen.respond.unwrap().body_start, "hello world");
}

#[tokio::test]
async fn a_probe_that_makes_no_sense_is_an_error() {
    let agent = agent().await;
    let mut probe = probe("127.0.0.1", 80);
    probe.path = "/ HTTP/1.1\r\nX-Smuggled: yes".to_owned();
    let error = agent.probe(probe).await.unwrap_err();
    assert_eq!(error.kind(), reachmap::ErrorKind::Usage, "{error}");
    agent.hello().await.expect("the agent goes on");
}
