//! Ctrl-C and SIGTERM: the run stops what it has started, puts back what it has changed, and says so.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Context as _, Error, ErrorKind, Result, process};

/// Runs `work` to its end, or until a signal interrupts it or it panics: an error either way, so that
/// the caller cleans up in every case.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Interrupted`] on SIGINT and SIGTERM; [`ErrorKind::Internal`] on a panic.
pub async fn guarded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let listen = |kind| signal(kind).tried(ErrorKind::Internal, || "listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let stopped =
        |name: &str| Err(Error::new(ErrorKind::Interrupted, "finish the run", format!("it was interrupted by {name}")));
    let ended = tokio::select! {
        ended = AssertUnwindSafe(work).catch_unwind() => ended.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().copied().map(ToOwned::to_owned)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            Err(Error::new(ErrorKind::Internal, "finish the run", format!("it panicked: {said}"))
                .hint("This is a defect of Reachmap; please report it with the run's directory."))
        }),
        _ = interrupt.recv() => stopped("SIGINT"),
        _ = terminate.recv() => stopped("SIGTERM"),
    };
    if ended.is_err() {
        // What runs in other threads ends when its process does.
        process::end_own();
    }
    ended
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
