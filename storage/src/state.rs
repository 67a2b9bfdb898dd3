//! The state instance: records, expiry index, and how far it has been applied.
//!
//! Everything that one entry changes is in one write batch with the progress, so that whatever a crash leaves is
//! the state after some entry, whole. This file reads; [`crate::chunk`] writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use conclave_proto::log;
use prost::Message as _;
use tokio::sync::watch;

use crate::awaited::Awaited;
use crate::convert::{
    log_id_from_proto, log_id_to_proto, stored_membership_from_proto, stored_membership_to_proto,
};
use crate::db::{Backing, Changes, Db, Family, Moment};
use crate::error::StorageError;
use crate::files::{Directory, DirectoryLock};
use crate::hash::{HASH_BYTES, StateHash};
use crate::keyspace::Summary;
use crate::log_store::LatestVote;
use crate::recent::Recent;
use crate::record::EncodedRecord;
use crate::rocks;
use crate::types::{LeaderId, LogId, StoredMembership};

pub const PROGRESS_KEY: &[u8] = b"progress";
pub const MEMBERSHIP_KEY: &[u8] = b"membership";
/// Followed by the log index, big-endian.
pub const HASH_KEY_PREFIX: &[u8] = b"hash/";

/// How far entries are applied, with the numbers that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    pub last_applied: Option<LogId>,
    pub summary: Summary,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProgressRecord {
    #[prost(message, optional, tag = "1")]
    last_applied: Option<log::LogId>,
    #[prost(uint64, tag = "2")]
    time_ms: u64,
    #[prost(bytes = "vec", tag = "3")]
    hash: Vec<u8>,
}

impl Progress {
    /// The index of the last applied entry; 0 when there is none, and for the first entry, which holds no records.
    pub fn index(&self) -> u64 {
        self.last_applied.as_ref().map_or(0, LogId::index)
    }

    /// Who led when the last applied entry was appended.
    pub fn leader(&self) -> Option<LeaderId> {
        self.last_applied.as_ref().map(|last| *last.committed_leader_id())
    }

    pub fn encode(&self) -> Vec<u8> {
        let record = ProgressRecord {
            last_applied: self.last_applied.as_ref().map(log_id_to_proto),
            time_ms: self.summary.time_ms,
            hash: self.summary.hash.to_bytes().to_vec(),
        };
        record.encode_to_vec()
    }

    pub fn decode(bytes: Option<&[u8]>) -> Result<Self, StorageError> {
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        let record = ProgressRecord::decode(bytes)
            .map_err(|error| StorageError::damaged(format!("the state's progress record: {error}")))?;
        let hash: [u8; HASH_BYTES] = record
            .hash
            .as_slice()
            .try_into()
            .map_err(|_| StorageError::damaged("the state's progress record has no hash"))?;
        Ok(Self {
            last_applied: record.last_applied.as_ref().map(log_id_from_proto),
            summary: Summary { time_ms: record.time_ms, hash: StateHash::from_bytes(&hash) },
        })
    }
}

/// One open state instance. Replaced as a whole when a snapshot is installed; views keep the old one open.
pub struct StateDb {
    // Before the directory: the files must be closed before they are removed.
    db: Db,
    directory: Directory,
    recent: Recent,
}

impl StateDb {
    pub fn open(path: PathBuf, backing: &Backing, create: bool) -> Result<Self, StorageError> {
        let db = backing.open_state(&path, create)?;
        Ok(Self { db, directory: Directory::kept(path), recent: Recent::default() })
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The folder is removed once the last view of this instance is gone.
    pub fn retire(&self) {
        self.directory.retire();
    }

    pub fn records(&self) -> Family<'_> {
        self.db.family(rocks::RECORDS)
    }

    pub fn expiry(&self) -> Family<'_> {
        self.db.family(rocks::EXPIRY)
    }

    pub fn meta(&self) -> Family<'_> {
        self.db.family(rocks::META)
    }

    /// What is in memory of the newest state.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The newest record at `key`, from memory if it is there; for the one who writes.
    pub fn record(&self, key: &[u8]) -> Result<Option<EncodedRecord>, StorageError> {
        self.recent.peek(key).map_or_else(|| self.stored_record(key), Ok)
    }

    /// The newest record at `key` in the instance.
    pub fn stored_record(&self, key: &[u8]) -> Result<Option<EncodedRecord>, StorageError> {
        self.db.read_owned(self.records(), key)?.map(EncodedRecord::from_stored).transpose()
    }

    /// Writes a batch that changes these records, without waiting for the disk.
    pub fn change(
        &self,
        batch: Changes,
        changed: impl IntoIterator<Item = (Bytes, Option<EncodedRecord>)>,
    ) -> Result<(), StorageError> {
        self.recent.change(|| self.db.write(batch), changed)
    }

    pub fn progress(&self) -> Result<Progress, StorageError> {
        Progress::decode(self.db.get(self.meta(), PROGRESS_KEY)?.as_deref())
    }

    pub fn progress_at(&self, moment: &Moment<'_>) -> Result<Progress, StorageError> {
        Progress::decode(moment.read_owned(self.meta(), PROGRESS_KEY)?.as_deref())
    }

    pub fn membership(&self) -> Result<StoredMembership, StorageError> {
        let Some(bytes) = self.db.get(self.meta(), MEMBERSHIP_KEY)? else {
            return Ok(StoredMembership::default());
        };
        let record = log::StoredMembership::decode(&*bytes)
            .map_err(|error| StorageError::damaged(format!("the state's membership record: {error}")))?;
        Ok(stored_membership_from_proto(record)?)
    }

    /// Writes all memtables to disk and waits for it.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.db.flush(&[self.records(), self.expiry(), self.meta()])
    }
}

pub fn encode_membership(membership: &StoredMembership) -> Vec<u8> {
    stored_membership_to_proto(membership).encode_to_vec()
}

pub fn hash_key(index: u64) -> Vec<u8> {
    [HASH_KEY_PREFIX, &index.to_be_bytes()].concat()
}

/// What the state machine shares with everybody who reads.
pub struct SharedState {
    state: ArcSwap<StateDb>,
    /// At most this far views can see: ahead of what is published only while a chunk is written.
    visible_index: AtomicU64,
    applied_index: AtomicU64,
    applied_time_ms: AtomicU64,
    applied: watch::Sender<u64>,
    membership: ArcSwap<StoredMembership>,
    pub awaited: Awaited,
    pub latest_vote: Arc<LatestVote>,
    /// For its properties only.
    pub log: Arc<Db>,
    // Last: the directory may be opened by somebody else only when both instances are closed.
    _lock: Arc<DirectoryLock>,
}

impl SharedState {
    pub fn new(
        state: StateDb,
        progress: &Progress,
        membership: StoredMembership,
        log: Arc<Db>,
        latest_vote: Arc<LatestVote>,
        lock: Arc<DirectoryLock>,
    ) -> Self {
        Self {
            state: ArcSwap::from_pointee(state),
            visible_index: AtomicU64::new(progress.index()),
            applied_index: AtomicU64::new(progress.index()),
            applied_time_ms: AtomicU64::new(progress.summary.time_ms),
            applied: watch::Sender::new(progress.index()),
            membership: ArcSwap::from_pointee(membership),
            awaited: Awaited::new(progress.leader()),
            latest_vote,
            log,
            _lock: lock,
        }
    }

    pub fn state(&self) -> Arc<StateDb> {
        self.state.load_full()
    }

    pub fn applied_index(&self) -> u64 {
        self.applied_index.load(Ordering::Acquire)
    }

    pub fn visible_index(&self) -> u64 {
        self.visible_index.load(Ordering::Acquire)
    }

    /// Views may see entries up to `index` from now on; call before they can.
    pub fn announce(&self, index: u64) {
        self.visible_index.store(index, Ordering::Release);
    }

    pub fn applied_time_ms(&self) -> u64 {
        self.applied_time_ms.load(Ordering::Acquire)
    }

    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub fn membership(&self) -> Arc<StoredMembership> {
        self.membership.load_full()
    }

    /// Tells readers how far entries are in the state; call only after they are.
    pub fn publish_applied(&self, progress: &Progress) {
        let index = progress.index();
        self.applied_time_ms.store(progress.summary.time_ms, Ordering::Release);
        self.applied_index.store(index, Ordering::Release);
        self.applied.send_replace(index);
    }

    pub fn publish_membership(&self, membership: StoredMembership) {
        self.membership.store(Arc::new(membership));
    }

    /// Puts another instance in place; the old one is removed when its last view is gone.
    pub fn replace(&self, state: Arc<StateDb>) {
        self.state.swap(state).retire();
    }
}
