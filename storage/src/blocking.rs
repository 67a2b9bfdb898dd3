//! Where work runs that waits for the disk.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs `work` off the runtime's threads; on a runtime that is one thread, at once, so that a simulation on such a one
/// stays in one order.
///
/// # Errors
/// It panicked, or the runtime is ending.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
