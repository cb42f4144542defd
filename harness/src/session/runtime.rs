//! The runtime that a session's agents and client live on.

use tokio::runtime::{Handle, Runtime};

/// A runtime that ends in the background when it is dropped: whoever drops the session may be inside another one, where nobody
/// may wait for it.
pub(super) struct OwnRuntime {
    handle: Handle,
    owned: Option<Runtime>,
}

impl OwnRuntime {
    pub(super) fn new(runtime: Runtime) -> Self {
        Self { handle: runtime.handle().clone(), owned: Some(runtime) }
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.owned.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokio panics if somebody waits for a runtime's end inside another one.
    #[test]
    fn it_can_be_dropped_inside_another_runtime_of_either_kind() {
        for mut outer in [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()] {
            let outer = outer.enable_all().build().unwrap();
            outer.block_on(async {
                let own = OwnRuntime::new(Runtime::new().unwrap());
                let asked = own.handle().spawn(async { 1 });
                assert_eq!(asked.await.unwrap(), 1);
                drop(own);
            });
        }
    }
}
