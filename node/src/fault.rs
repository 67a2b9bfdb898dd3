//! Why this node cannot go on (I12): the first error of its storage ends the process, in order and with a sentence.
//!
//! A node that cannot write must not stay half alive: it would hold its place as leader, or answer from a state that goes
//! no further. Started again it recovers by itself: once there is space, or, if what it holds is damaged, by rejoining.

use conclave_storage::StorageError;
use conclave_storage::error::tells_of_damage;
use tokio::sync::watch;

/// How the C library says EIO, and RocksDB after it.
const UNREADABLE: &str = "Input/output error";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub sentence: String,
    /// Trying again with the same data is of no use.
    pub is_damage: bool,
}

/// The first fault, for all parts that may find one. Cheap to clone.
#[derive(Clone)]
pub struct Faults(watch::Sender<Option<Fault>>);

impl Default for Faults {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Faults {
    /// Takes note of what a part met that cannot go on. openraft hands on errors of the storage as text only.
    pub fn report(&self, sentence: String) {
        let is_damage = tells_of_damage(&sentence);
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                tracing::error!(reason = %sentence, "this node cannot go on");
                *first = Some(Fault { sentence, is_damage });
            }
            is_first
        });
    }

    /// As [`Faults::report`], if what was to be read is damaged or the disk cannot read it. Other errors may pass, and
    /// concern one request.
    pub fn report_unreadable(&self, error: &StorageError) {
        let sentence = error.to_string();
        if error.is_damage() || sentence.contains(UNREADABLE) {
            self.report(sentence);
        }
    }

    /// Waits for a fault.
    pub async fn first(&self) -> Fault {
        let mut faults = self.0.subscribe();
        match faults.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(Some(fault)) => fault,
            // Cannot be: `self` holds the sender, and only faults are waited for.
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_fault_counts_and_damage_is_told_from_a_full_disk() {
        let faults = Faults::default();
        faults.report("IO error: No space left on device".to_owned());
        faults.report("the stored data is damaged: a hole".to_owned());
        assert!(!faults.first().await.is_damage);

        let faults = Faults::default();
        faults.report_unreadable(&StorageError::Stopped("it is full".to_owned()));
        faults.report_unreadable(&StorageError::Damaged("a hole".to_owned()));
        let fault = faults.first().await;
        assert!(fault.is_damage && fault.sentence.contains("a hole"), "{fault:?}");
    }
}
