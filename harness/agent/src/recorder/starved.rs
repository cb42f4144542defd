//! Whether the machine runs what has to run: a clock that is late says that it does not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::probe::micros;

/// How often the clock ticks: far more often than the shortest timer of any resolver.
const TICK: Duration = Duration::from_millis(10);

/// A watch on this process's share of the processor, until it is dropped.
#[derive(Debug)]
pub(super) struct Starved {
    longest_us: Arc<AtomicU64>,
    last_tick: Arc<std::sync::Mutex<Instant>>,
    clock: AbortHandle,
}

impl Starved {
    /// Watches from now on.
    pub(super) fn watch() -> Self {
        let longest_us = Arc::new(AtomicU64::new(0));
        let last_tick = Arc::new(std::sync::Mutex::new(Instant::now()));
        let (longest, last) = (Arc::clone(&longest_us), Arc::clone(&last_tick));
        let clock = tokio::spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                note(&longest, &last);
            }
        });
        Self { longest_us, last_tick, clock: clock.abort_handle() }
    }

    /// The longest time by which the clock was late so far.
    pub(super) fn longest(&self) -> Duration {
        // The tick that is due may not have had its turn yet.
        note(&self.longest_us, &self.last_tick);
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

fn note(longest: &AtomicU64, last: &std::sync::Mutex<Instant>) {
    let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    longest.fetch_max(micros(last.elapsed().saturating_sub(TICK)), Ordering::Relaxed);
    *last = Instant::now();
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_that_does_nothing_else_for_a_while_is_starved() {
        let starved = Starved::watch();
        tokio::time::sleep(Duration::from_millis(30)).await;
        let busy = Instant::now();
        while busy.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        assert!(starved.longest() >= Duration::from_millis(150), "{:?}", starved.longest());
    }
}
