//! Raft's own threads.
//!
//! A busy API must never delay a heartbeat, so Raft's core, its network and its read barrier run on a runtime of
//! their own. Nothing that serves clients is spawned here.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads that only Raft uses, named `raft`. Ends its tasks when dropped, without waiting for them.
pub struct RaftRuntime {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

impl RaftRuntime {
    /// # Errors
    /// If the system gives no threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("raft").enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    pub fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("present until dropped").handle()
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
