//! UDP in one direction: a sender that keeps its socket, as statsd's and syslog's clients do, and a receiver that counts.

use std::{io, net::SocketAddr, time::Duration};

use reachmap_wire::{FailureClass, MOST_DATAGRAMS, ReceivedDatagrams, SendDatagrams, SentDatagrams};
use tokio::{
    net::UdpSocket,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    clock::now_us,
    probe::{any_address, failure},
};

/// Longer than any datagram of ours.
const LONGEST: usize = 512;

/// The socket of a sender, and its own address.
pub(crate) async fn sender(send: &SendDatagrams) -> Result<(UdpSocket, SocketAddr), String> {
    check(send)?;
    let tried = |error| format!("cannot send to {}: {error}", send.destination);
    let socket = UdpSocket::bind(SocketAddr::new(any_address(send.destination), 0)).await.map_err(tried)?;
    // What others say about its datagrams (ICMP) is told to a connected socket only.
    socket.connect(send.destination).await.map_err(tried)?;
    let address = socket.local_addr().map_err(tried)?;
    Ok((socket, address))
}

/// The socket of a receiver, and its own address.
pub(crate) async fn receiver(port: u16) -> Result<(UdpSocket, SocketAddr), String> {
    let tried = |error| format!("cannot receive at UDP port {port}: {error}");
    let socket = UdpSocket::bind(SocketAddr::new([0, 0, 0, 0].into(), port)).await.map_err(tried)?;
    let address = socket.local_addr().map_err(tried)?;
    Ok((socket, address))
}

fn check(send: &SendDatagrams) -> Result<(), String> {
    let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !plain(&send.id) || send.id.len() > LONGEST / 2 {
        return Err(format!("the id {:?} is not of letters, digits and hyphens", send.id));
    }
    if send.every_ms == 0 {
        return Err("a datagram every 0 ms is more than any vantage sends".to_owned());
    }
    Ok(())
}

/// Sends, until it is ended.
pub(crate) async fn send_until(
    socket: UdpSocket,
    send: SendDatagrams,
    until: Instant,
    mut ended: watch::Receiver<bool>,
) -> SentDatagrams {
    let mut sent = SentDatagrams::default();
    let mut ticks = interval(Duration::from_millis(send.every_ms));
    // A machine that was busy sends no burst afterwards: what is late is left out.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..MOST_DATAGRAMS {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = ended.wait_for(|ended| *ended) => break,
        }
        if Instant::now() >= until {
            break;
        }
        let text = format!("{} {number}", send.id);
        let at_us = now_us();
        let mut failed = socket.send(text.as_bytes()).await.err();
        if let Some(error) = failed.take_if(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // The kernel tells of an earlier one, and has not sent this one.
            sent.failed.push((number.saturating_sub(1), failure(&error).class));
            failed = socket.send(text.as_bytes()).await.err();
        }
        sent.at_us.push(at_us);
        sent.failed.extend(failed.map(|error| (number, own(failure(&error).class))));
    }
    sent
}

/// A refusal that comes with the second attempt is about an earlier datagram as well; this one has not left.
const fn own(class: FailureClass) -> FailureClass {
    match class {
        FailureClass::Refused => FailureClass::Other,
        other => other,
    }
}

/// Receives, until it is ended.
pub(crate) async fn receive_until(
    socket: UdpSocket,
    until: Instant,
    mut ended: watch::Receiver<bool>,
) -> Vec<ReceivedDatagrams> {
    let mut received: Vec<ReceivedDatagrams> = Vec::new();
    let mut buffer = [0; LONGEST];
    let mut kept = 0;
    while kept < MOST_DATAGRAMS {
        let next = tokio::select! {
            next = timeout_at(until, socket.recv_from(&mut buffer)) => next,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let (length, source) = match next {
            Ok(Ok(next)) => next,
            Ok(Err(_)) => continue,
            Err(_) => break,
        };
        let at_us = now_us();
        // Anybody may send to a port: what is not ours is left out.
        let text = std::str::from_utf8(&buffer[..length]).ok().and_then(|text| text.split_once(' '));
        let Some((id, Ok(number))) = text.map(|(id, number)| (id, number.parse::<u64>())) else { continue };
        kept += 1;
        match received.iter_mut().find(|one| one.id == id && one.source == source) {
            Some(one) => {
                one.numbers.push(number);
                one.at_us.push(at_us);
            }
            None => received.push(ReceivedDatagrams {
                id: id.to_owned(),
                source,
                numbers: vec![number],
                at_us: vec![at_us],
            }),
        }
    }
    received
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_or_no_pace_is_refused() {
        let send =
            |id: &str, every_ms| SendDatagrams { destination: ([127, 0, 0, 1], 9).into(), id: id.to_owned(), every_ms };
        check(&send("r1-testpod", 20)).unwrap();
        check(&send("a b", 20)).unwrap_err();
        check(&send("", 20)).unwrap_err();
        check(&send("r1", 0)).unwrap_err();
    }
}
