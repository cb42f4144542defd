//! Whether the machine runs what has to run: a clock that is late says that it does not.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval},
};

/// How often the clock ticks: far more often than the shortest timer of any resolver.
const TICK: Duration = Duration::from_millis(10);

/// A watch on this process's share of the processor, until it is dropped.
#[derive(Debug)]
pub(super) struct Starved {
    ticks: Arc<Mutex<Ticks>>,
    clock: AbortHandle,
}

#[derive(Debug)]
struct Ticks {
    last: Instant,
    longest: Duration,
}

impl Starved {
    /// Watches from now on.
    pub(super) fn watch() -> Self {
        let ticks = Arc::new(Mutex::new(Ticks { last: Instant::now(), longest: Duration::ZERO }));
        let noted = Arc::clone(&ticks);
        let clock = tokio::spawn(async move {
            let mut clock = interval(TICK);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                note(&noted);
            }
        });
        Self { ticks, clock: clock.abort_handle() }
    }

    /// The longest time by which the clock was late so far.
    pub(super) fn longest(&self) -> Duration {
        // The tick that is due may not have had its turn yet.
        note(&self.ticks)
    }
}

/// Takes the time that has passed since the last tick into account.
fn note(ticks: &Mutex<Ticks>) -> Duration {
    let mut ticks = ticks.lock().unwrap_or_else(PoisonError::into_inner);
    ticks.longest = ticks.longest.max(ticks.last.elapsed().saturating_sub(TICK));
    ticks.last = Instant::now();
    ticks.longest
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
