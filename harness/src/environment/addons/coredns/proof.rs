//! The proof that a replica serves a change: it knows the change's sentinel, or has forgotten the one of before.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{Replica, SENTINEL_ADDRESS};
use crate::{
    Error, ErrorKind, Result,
    wire::{DnsFailure, Resolve},
};

/// How long one question to a replica may take.
const QUESTION: Duration = Duration::from_secs(2);

/// How often a replica is asked.
const PAUSE: Duration = Duration::from_millis(100);

/// What a replica must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// It answers for this name, the sentinel of the change.
    Knows(String),
    /// It says that it has no address for this name, the sentinel of the text before.
    Forgot(String),
    /// Whatever it answers: there is nothing that it could have forgotten.
    Anything,
}

impl Proof {
    fn is_shown_by(&self, answer: &Resolve) -> bool {
        match self {
            Self::Knows(_) => answer.addresses == [SENTINEL_ADDRESS],
            // Silence proves nothing.
            Self::Forgot(_) | Self::Anything => {
                let said_no = [DnsFailure::NxDomain, DnsFailure::NoData, DnsFailure::ServFail, DnsFailure::Refused];
                answer.failure.is_some_and(|failure| said_no.contains(&failure))
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Knows(name) | Self::Forgot(name) => name,
            Self::Anything => "live.reachmap.internal",
        }
    }

    /// Asks the replica until it shows it.
    pub(super) async fn until_shown<A, F>(
        &self,
        pod: String,
        address: IpAddr,
        ask: &A,
        started: Instant,
        deadline: Duration,
    ) -> Result<Replica>
    where
        A: Fn(SocketAddr, String) -> F,
        F: Future<Output = Result<Resolve>>,
    {
        let end = Instant::now() + deadline;
        let mut pauses = tokio::time::interval(PAUSE);
        loop {
            pauses.tick().await;
            let answer = timeout(QUESTION, ask(SocketAddr::new(address, 53), self.name().to_owned())).await;
            let last = match answer {
                Ok(Ok(answer)) if self.is_shown_by(&answer) => {
                    return Ok(Replica { pod, address, live_after: started.elapsed() });
                }
                Ok(Ok(Resolve { addresses, failure: None, .. })) => format!("it answers {addresses:?}"),
                Ok(Ok(Resolve { failure: Some(failure), .. })) => format!("it answers {failure:?}"),
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => format!("no answer within {QUESTION:?}"),
            };
            if Instant::now() >= end {
                let tried = format!("see the replica {pod} of CoreDNS at {address} answer from the edited Corefile");
                return Err(Error::new(ErrorKind::Deadline, tried, format!("asked for {}, last: {last}", self.name())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 2));

    fn answer(addresses: &[IpAddr], failure: Option<DnsFailure>) -> Resolve {
        Resolve {
            name: "live.x.".to_owned(),
            questions: Vec::new(),
            addresses: addresses.to_vec(),
            answered: None,
            failure,
            elapsed_us: 1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_asked_until_it_gives_the_sentinel_s_answer() {
        let asked = std::cell::Cell::new(0);
        let ask = |_: SocketAddr, name: String| {
            assert_eq!(name, "live.x");
            asked.set(asked.get() + 1);
            let known = asked.get() > 3;
            std::future::ready(Ok(if known {
                answer(&[SENTINEL_ADDRESS], None)
            } else {
                answer(&[], Some(DnsFailure::NxDomain))
            }))
        };
        let proof = Proof::Knows("live.x".to_owned());
        let replica =
            proof.until_shown("p".into(), ADDRESS, &ask, Instant::now(), Duration::from_secs(5)).await.unwrap();
        assert_eq!((asked.get(), replica.live_after), (4, Duration::from_millis(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_never_knows_it_is_named() {
        let ask = |_: SocketAddr, _: String| std::future::ready(Ok(answer(&[], Some(DnsFailure::NxDomain))));
        let proof = Proof::Knows("live.x".to_owned());
        let error = proof
            .until_shown("coredns-1".into(), ADDRESS, &ask, Instant::now(), Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("coredns-1 of CoreDNS at 10.244.0.2"), "{error}");
        assert!(error.to_string().ends_with("asked for live.x, last: it answers NxDomain"), "{error}");
    }

    #[test]
    fn only_an_answer_proves_that_the_sentinel_is_forgotten() {
        let forgot = Proof::Forgot("live.x".to_owned());
        assert!(forgot.is_shown_by(&answer(&[], Some(DnsFailure::ServFail))));
        assert!(!forgot.is_shown_by(&answer(&[], Some(DnsFailure::Timeout))));
        assert!(!forgot.is_shown_by(&answer(&[SENTINEL_ADDRESS], None)));
    }
}
