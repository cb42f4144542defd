//! Ctrl-C and SIGTERM: the run stops what it has started, puts back what it has changed, and says so.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Context as _, Error, ErrorKind, Result, process};

/// Runs `work` to its end, or until a signal interrupts it or it panics: an error either way, so that
/// the caller cleans up in every case.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Interrupted`] on SIGINT and SIGTERM; [`ErrorKind::Internal`] on a panic.
pub async fn guarded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    // Boxed: it is all of a run.
    let work = Box::pin(AssertUnwindSafe(work).catch_unwind());
    let ended = interruptible(async {
        work.await.unwrap_or_else(|panic| {
            let cause = format!("it panicked: {}", said_by(panic.as_ref()));
            Err(Error::new(ErrorKind::Internal, "finish the run", cause)
                .hint("This is a defect of Reachmap; please report it with the run's directory."))
        })
    })
    .await;
    if ended.is_err() {
        // What runs in other threads ends when its process does.
        process::end_own();
    }
    ended
}

/// Runs `work` to its end, or until a signal interrupts it: only then are the process's commands ended, since others in the
/// process may have some. If `work` hears the signal itself, and has ended by that, it counts as ended.
pub(super) async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let listen = |kind| signal(kind).tried(ErrorKind::Internal, || "listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let name = tokio::select! {
        biased;
        ended = work => return ended,
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    process::end_own();
    Err(Error::new(ErrorKind::Interrupted, "finish the run", format!("it was interrupted by {name}")))
}

/// What a panic said.
pub(super) fn said_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_says_what_it_said() {
        let error = guarded::<()>(async { panic!("no such pod") }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().ends_with("it panicked: no such pod"), "{error}");
    }
}
