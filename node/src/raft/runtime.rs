//! Raft's own threads.
//!
//! A busy API must never delay a heartbeat, so Raft's core, its network and its read barrier run on a runtime of
//! their own. Nothing that serves clients is spawned here.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads that only Raft uses, named `raft`. Ends its tasks when dropped, without waiting for them.
pub struct RaftRuntime {
    handle: Handle,
    /// None while it is dropped, and for a runtime that is somebody else's.
    runtime: Option<Runtime>,
}

impl RaftRuntime {
    /// # Errors
    /// If the system gives no threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("raft").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// The runtime of whoever calls this, for Raft too. Whoever has made it ends it.
    ///
    /// # Panics
    /// The caller is on none.
    pub fn current() -> Self {
        Self { handle: Handle::current(), runtime: None }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends all tasks and waits until they are gone, for `timeout` at most: a process that ends while one of them is
    /// in RocksDB would abort.
    pub async fn stop(mut self, timeout: Duration) {
        let Some(runtime) = self.runtime.take() else { return };
        // Waiting blocks, so it is done on a thread that may.
        if let Err(error) = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(timeout)).await {
            tracing::warn!(%error, "raft's threads did not end in order");
        }
    }

    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle().spawn(future)
    }
}

impl Drop for RaftRuntime {
    fn drop(&mut self) {
        // A plain drop would block, which panics on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
