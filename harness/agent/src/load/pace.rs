//! The time table of a load with a rate.
//!
//! Request `n` is due at `n / rate`, whatever became of those before it (an open loop). One that starts late, because
//! every connection was waiting for an answer or because this machine is not fast enough, is late by a known time, and
//! its latency counts from when it was due. A generator that only starts the next request when it can, and forgets that
//! it should have done so before, leaves out of its numbers just what a slow server does to its clients:
//! "coordinated omission" (Gil Tene, "How NOT to Measure Latency", 2013; the README of wrk2).

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{io::unix::AsyncFd, time::Instant};

/// The time table, and where in it the load is.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    rate: f64,
    next: u64,
    /// The kernel's own: the runtime's timer counts whole milliseconds.
    timer: AsyncFd<OwnedFd>,
}

impl Pace {
    pub(super) fn new(start: Instant, rate: f64) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "an OwnedFd keeps to I/O safety, and what takes its place is unsafe to call")]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { start, rate, next: 0, timer })
    }

    /// The number of the next request, and when it is due.
    pub(super) fn next(&self) -> (u64, Instant) {
        (self.next, self.start + due(self.next, self.rate))
    }

    /// Waits for that moment, and goes on to the one after it. Nothing is lost if it is not waited for to the end.
    pub(super) async fn wait(&mut self) -> io::Result<()> {
        let (_, due) = self.next();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.next += 1;
                return Ok(());
            }
            let once = Itimerspec { it_interval: Timespec::default(), it_value: timespec(left) };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            let mut ready = self.timer.readable().await?;
            match rustix::io::read(&self.timer, &mut [0; 8]) {
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                read => drop(read?),
            }
        }
    }
}

/// When request `number` is due, from the start.
fn due(number: u64, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
    let seconds = number as f64 / rate;
    Duration::try_from_secs_f64(seconds).unwrap_or(FAR)
}

/// Later than any load lasts, and a moment that can be told still.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_table_does_not_drift() {
        assert_eq!(due(0, 1_000.0), Duration::ZERO);
        assert_eq!(due(3, 1_000.0), Duration::from_millis(3));
        // A third of a second each, a million times: no error adds up.
        assert_eq!(due(3_000_000, 3.0), Duration::from_secs(1_000_000));
        assert_eq!(due(u64::MAX, f64::MIN_POSITIVE), FAR);
    }

    #[tokio::test]
    async fn a_due_request_does_not_wait_and_another_waits_to_the_microsecond() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 100.0).unwrap();
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let (number, due) = pace.next();
            pace.wait().await.unwrap();
            numbers.push(number);
            assert!(Instant::now() >= due, "never too early");
        }
        assert_eq!(numbers, [0, 1, 2]);
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
