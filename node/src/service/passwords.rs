//! Hashing passwords off the threads that answer requests, a few at a time: each takes memory and tens of milliseconds
//! of a processor, and strangers can ask for it.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::auth::{PasswordDone, PasswordWork};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failure::Failure;

/// Passwords that are hashed at a time: 19 MiB each.
const AT_ONCE: usize = 4;
/// Requests that wait for their turn at most.
const WAITING_MAX: usize = 256;
/// What is left of a request's time when it has waited for its turn as long as it may: what is hashed is also to be
/// decided and committed.
const TIME_LEFT: Duration = Duration::from_secs(2);

/// The turns of one node.
pub struct Passwords {
    hashing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            hashing: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
        }
    }
}

impl Passwords {
    /// Does the work when it is its turn.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: too much is waiting. [`Failure::Rule`]: as the work says.
    pub async fn run(&self, work: PasswordWork, deadline: Instant) -> Result<PasswordDone, Failure> {
        let _place = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let turn =
            tokio::time::timeout_at(deadline - TIME_LEFT, Arc::clone(&self.hashing).acquire_owned()).await;
        let turn = turn.map_err(|_| overloaded())?.map_err(|_| Failure::Stopping)?;
        let salt = rand::random();
        let work = tokio::task::spawn_blocking(move || {
            // Kept by the work itself: a client that goes away does not make room for another.
            let _turn = turn;
            work.run(salt)
        });
        Ok(work.await.map_err(Failure::internal)??)
    }
}

fn overloaded() -> Failure {
    Failure::Overloaded("too many passwords are waiting to be checked: try again in a moment".to_owned())
}
