//! Keeps a node's concurrent writes to one secret in order.
//!
//! Without it they would still be right, since a transaction names the revisions it was planned from; but of many
//! writers to one key all but one would conflict and plan again. Stripes bound the memory; two secrets that share one
//! merely wait for each other.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::{Mutex, MutexGuard};

const STRIPES: usize = 4096;

pub struct Order {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Order {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl Order {
    /// Waits for earlier writes to the same last path segment: `data/x`, `metadata/x` and `undelete/x` are one secret.
    pub async fn turn(&self, path: &[u8]) -> MutexGuard<'_, ()> {
        let subject = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let stripe = usize::try_from(self.hasher.hash_one(subject) % STRIPES as u64).unwrap_or(0);
        self.stripes[stripe].lock().await
    }
}
