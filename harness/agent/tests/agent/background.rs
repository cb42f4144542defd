//! What agents go on with in the background: datagrams from one to another, and what is refused.

use std::{net::UdpSocket, time::Duration};

use reachmap::{
    load::datagrams::{Arrivals, Sent},
    wire::{FailureClass, SendDatagrams, WatchArp},
};

use crate::agent;

fn to(port: u16, id: &str) -> SendDatagrams {
    SendDatagrams { destination: ([127, 0, 0, 1], port).into(), id: id.to_owned(), every_ms: 2 }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn what_one_agent_sends_another_counts_and_nothing_else() {
    let (from, at) = (agent().await, agent().await);
    let port = free_port();
    let receiving = at.receive_datagrams(port).await.unwrap();
    // Somebody else's datagram is no business of ours.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", ("127.0.0.1", port)).unwrap();
    let sending = from.send_datagrams(to(port, "r1-testpod")).await.unwrap();
    let source = sending.from;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = sending.finish().await.unwrap();
    let received = receiving.finish().await.unwrap();
    assert!(sent.at_us.len() > 20, "{sent:?}");
    assert_eq!(sent.failed, []);
    assert_eq!((received.len(), received[0].source), (1, source), "one flow: one socket's");
    let count = sent.at_us.len();
    let sent = Sent { vantage: "testpod".to_owned(), id: "r1-testpod".to_owned(), sent };
    let arrivals = Arrivals::of(&[sent], &[("pod".to_owned(), received)]);
    assert!(arrivals.is_exact(), "{arrivals:?}");
    let lost: Vec<String> = arrivals.line.failed().map(ToString::to_string).collect();
    // The last one may have been under way when the receiver was ended.
    assert!(lost.len() <= 1, "{} of {count}: {lost:?}", lost.len());
}

#[tokio::test]
async fn a_sender_is_told_that_nobody_wants_its_datagrams_and_goes_on() {
    let agent = agent().await;
    let sending = agent.send_datagrams(to(free_port(), "r1")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent = sending.finish().await.unwrap();
    assert!(sent.at_us.len() > 20, "{sent:?}");
    assert!(sent.failed.len() > 10, "{sent:?}");
    assert!(sent.failed.iter().all(|(_, class)| *class == FailureClass::Refused), "{sent:?}");
}

#[tokio::test]
async fn an_address_on_no_link_of_the_vantage_is_not_watched() {
    let watch = WatchArp { addresses: vec![[127, 0, 0, 1].into()], every_ms: 100 };
    let error = agent().await.watch_arp(watch).await.unwrap_err();
    assert!(error.to_string().contains("no interface here is on the network of 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_so_is_an_id_that_is_none() {
    let agent = agent().await;
    let port = free_port();
    let _first = agent.receive_datagrams(port).await.unwrap();
    let error = agent.receive_datagrams(port).await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot receive at UDP port {port}")), "{error}");
    let error = agent.send_datagrams(to(port, "a b")).await.unwrap_err();
    assert!(error.to_string().contains("is not of letters, digits and hyphens"), "{error}");
}
