//! That this node has lost what it stored, on disk: from the moment it is known until the node has another id.
//!
//! The mark comes first, so that whatever was damaged or put back is never opened again for Raft, and goes last.

use std::path::Path;

use conclave_core::engine::time_text;
use conclave_storage::Store;
use serde::{Deserialize, Serialize};

use crate::cluster::StartError;
use crate::durable;
use crate::raft::clock::wall_clock_ms;
use crate::raft::fence::FENCE_FILE;

const LOSS_FILE: &str = "rejoin.json";
const ASIDE_PREFIX: &str = "damaged-";
/// Data directories that are kept for somebody to look at; the oldest beyond go.
const ASIDE_KEPT_MAX: usize = 2;
/// Random bytes that name one loss.
const ATTEMPT_ID_BYTES: usize = 16;

/// One loss of what was stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loss {
    /// Names it to the cluster: repeated requests are for one new id.
    attempt_id: String,
    /// The id under which the node must not act any more.
    node_id: u64,
    /// Where in the data directory the old data goes.
    aside: String,
    reason: String,
}

impl Loss {
    /// The loss that this data directory suffered, if the node has no new id since.
    ///
    /// # Errors
    /// The disk, or a mark that cannot be read: the node must not start then.
    pub fn pending(data_dir: &Path) -> Result<Option<Self>, StartError> {
        let path = data_dir.join(LOSS_FILE);
        let Some(content) = durable::read(&path).map_err(StartError::Rejoining)? else { return Ok(None) };
        let loss = serde_json::from_slice(&content).map_err(|error| StartError::Rejoining(error.into()))?;
        Ok(Some(loss))
    }

    /// Notes durably that the node `node_id` has lost what it stored.
    ///
    /// # Errors
    /// What the disk says.
    pub fn declare(data_dir: &Path, node_id: u64, reason: String) -> Result<Self, StartError> {
        let attempt_id = hex::encode(rand::random::<[u8; ATTEMPT_ID_BYTES]>());
        // Seconds are enough; letters and digits only, for a name that every tool takes.
        let now: String = time_text(wall_clock_ms()).chars().take("2026-01-01T00:00:00".len()).collect();
        let aside = format!("{ASIDE_PREFIX}{}Z", now.replace(['-', ':'], ""));
        let loss = Self { attempt_id, node_id, aside, reason };
        let content = serde_json::to_vec(&loss).map_err(|error| StartError::Rejoining(error.into()))?;
        durable::write(&data_dir.join(LOSS_FILE), &content).map_err(StartError::Rejoining)?;
        Ok(loss)
    }

    /// Moves the old data out of the way. Completes what a crash interrupted.
    ///
    /// # Errors
    /// The directory is in use, or what the disk says.
    pub fn clear_away(&self, data_dir: &Path) -> Result<(), StartError> {
        Store::set_aside(data_dir, &data_dir.join(&self.aside))?;
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(data_dir).map_err(StartError::Rejoining)? {
            let name = entry.map_err(StartError::Rejoining)?.file_name().to_string_lossy().into_owned();
            if name.starts_with(ASIDE_PREFIX) {
                kept.push(name);
            }
        }
        // Their names order them by time.
        kept.sort();
        for name in &kept[..kept.len().saturating_sub(ASIDE_KEPT_MAX)] {
            std::fs::remove_dir_all(data_dir.join(name)).map_err(StartError::Rejoining)?;
        }
        Ok(())
    }

    /// Ends it: the node has another id now, and starts as one that has never been a member.
    ///
    /// # Errors
    /// What the disk says.
    pub fn settle(data_dir: &Path) -> Result<(), StartError> {
        durable::remove(&data_dir.join(FENCE_FILE)).map_err(StartError::Rejoining)?;
        durable::remove(&data_dir.join(LOSS_FILE)).map_err(StartError::Rejoining)
    }

    pub fn attempt_id(&self) -> &str {
        &self.attempt_id
    }

    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn aside(&self) -> &str {
        &self.aside
    }
}

#[cfg(test)]
mod tests {
    use conclave_storage::Options;

    use super::*;

    #[test]
    fn a_loss_outlives_a_crash_at_any_step_and_keeps_a_bounded_number_of_old_directories() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Loss::pending(dir.path()).unwrap().is_none());
        for old in ["damaged-20200101T000000Z", "damaged-20210101T000000Z"] {
            std::fs::create_dir(dir.path().join(old)).unwrap();
        }
        drop(Store::open(dir.path(), &Options::default()).unwrap());
        std::fs::write(dir.path().join("log/mark"), b"old").unwrap();
        let loss = Loss::declare(dir.path(), 4, "a hole".to_owned()).unwrap();
        // A crash after the first step: the format is moved, the rest is not.
        let aside = dir.path().join(loss.aside());
        std::fs::create_dir(&aside).unwrap();
        std::fs::rename(dir.path().join("FORMAT"), aside.join("FORMAT")).unwrap();
        for _ in 0..2 {
            let loss = Loss::pending(dir.path()).unwrap().unwrap();
            assert_eq!((loss.node_id(), loss.reason()), (4, "a hole"));
            loss.clear_away(dir.path()).unwrap();
            assert_eq!(std::fs::read(aside.join("log/mark")).unwrap(), b"old");
            let fresh = Store::open(dir.path(), &Options::default()).unwrap();
            assert_eq!(fresh.log.last(), None);
        }
        assert!(!dir.path().join("damaged-20200101T000000Z").exists());
        assert!(dir.path().join("damaged-20210101T000000Z").exists());
        Loss::settle(dir.path()).unwrap();
        assert!(Loss::pending(dir.path()).unwrap().is_none());
    }
}
