//! What goes on in the background, from the request that starts it to the one that ends it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reachmap_wire::{Background, Ended, MOST_BACKGROUND_MS};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{arp, datagrams};

/// What is under way, by the ids of the requests that started it.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashMap<u64, Task>>>);

/// One of them: set to true, it ends.
type Task = (watch::Sender<bool>, JoinHandle<Ended>);

impl UnderWay {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<u64, Task>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens what it takes, returns the socket's own address if it has one, and goes on in the background.
    pub(crate) async fn start(&self, id: u64, what: Background) -> Result<Option<SocketAddr>, String> {
        let (end, ended) = watch::channel(false);
        let until = Instant::now() + Duration::from_millis(MOST_BACKGROUND_MS);
        let (address, task) = match what {
            Background::SendDatagrams(send) => {
                let (socket, address) = datagrams::sender(&send).await?;
                let sent = datagrams::send_until(socket, send, until, ended);
                (Some(address), tokio::spawn(async { Ended::Sent(sent.await) }))
            }
            Background::ReceiveDatagrams { port } => {
                let (socket, address) = datagrams::receiver(port).await?;
                let received = datagrams::receive_until(socket, until, ended);
                (Some(address), tokio::spawn(async { Ended::Received(received.await) }))
            }
            Background::WatchArp(what) => {
                let by = arp::open(&what)?;
                let watch = move || Ended::Arp(arp::watch(&by, &what, until.into_std(), &ended));
                (None, tokio::task::spawn_blocking(watch))
            }
        };
        self.with(|tasks| tasks.insert(id, (end, task)));
        Ok(address)
    }

    /// Ends it, and tells what there was.
    pub(crate) async fn end(&self, id: u64) -> Result<Ended, String> {
        let task = self.with(|tasks| tasks.remove(&id));
        let (end, task) = task.ok_or_else(|| format!("request {id} has started nothing"))?;
        end.send_replace(true);
        task.await.map_err(|error| format!("what went on in the background has failed: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_never_started_cannot_be_ended() {
        assert!(UnderWay::default().end(7).await.unwrap_err().contains("request 7"));
    }
}
