//! Hashing passwords off the threads that answer requests, a few at a time: each takes memory and tens of milliseconds
//! of a processor, and strangers can ask for it.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::auth::{PasswordDone, PasswordWork};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failure::Failure;

/// Passwords that are hashed at a time at most, 19 MiB each; and on no more than half of the processors, so that strangers
/// who guess do not slow consensus down.
const AT_ONCE_MAX: usize = 4;
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
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = (processors / 2).clamp(1, AT_ONCE_MAX);
        Self {
            hashing: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(at_once + WAITING_MAX)),
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
