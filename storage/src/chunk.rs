//! Applying entries to RocksDB: reads see what earlier entries of the same chunk wrote, and all of it goes to the
//! database in one write batch, or none.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use rocksdb::ReadOptions;

use crate::apply::apply;
use crate::db::Rows;
use crate::error::StorageError;
use crate::expiry::{index_key, parse_index_key};
use crate::hash::HASH_BYTES;
use crate::keyspace::{Keyspace, Summary};
use crate::record::EncodedRecord;
use crate::state::{MEMBERSHIP_KEY, PROGRESS_KEY, Progress, StateDb, encode_membership, hash_key};
use crate::types::{Entry, EntryPayload, LogId, Response, StoredMembership};

/// State hashes are kept for indexes divisible by this, so that two nodes find one in common to compare.
pub const STATE_HASH_INTERVAL_ENTRIES: u64 = 1024;
/// How many of them are kept; older ones are dropped.
pub const STATE_HASHES_KEPT: u64 = 32;
/// A chunk is written once it holds this much, so that a long replay needs little memory.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const CHUNK_ENTRIES: usize = 4096;

/// A time at or before the first entry of the expiry index. Sparing most seeks, and the tombstones at its front,
/// it never changes what is found.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExpiryFloor(u64);

pub struct Chunk<'a> {
    state: &'a StateDb,
    records: BTreeMap<Bytes, Slot>,
    /// Whether the entry is in the index, where that differs from the database.
    expiries: BTreeMap<(u64, Bytes), bool>,
    progress: Progress,
    membership: Option<StoredMembership>,
    hashes: Vec<(u64, [u8; HASH_BYTES])>,
    floor: ExpiryFloor,
    begins_stream: bool,
    entries: usize,
    bytes: usize,
}

/// A record as read or as written in this chunk.
struct Slot {
    record: Option<EncodedRecord>,
    changed: bool,
}

/// What a chunk came to, once it is in the database.
pub struct Applied {
    pub progress: Progress,
    pub membership: Option<StoredMembership>,
    pub floor: ExpiryFloor,
}

impl<'a> Chunk<'a> {
    pub fn new(state: &'a StateDb, progress: Progress, floor: ExpiryFloor, begins_stream: bool) -> Self {
        Self {
            state,
            records: BTreeMap::new(),
            expiries: BTreeMap::new(),
            progress,
            membership: None,
            hashes: Vec::new(),
            floor,
            begins_stream,
            entries: 0,
            bytes: 0,
        }
    }

    /// # Errors
    /// When the state cannot be read, or the entry is not the next one. The chunk must then be thrown away.
    pub fn apply(&mut self, entry: Entry) -> Result<Response, StorageError> {
        let index = entry.log_id.index();
        self.check_order(index)?;
        let response = match entry.payload {
            EntryPayload::Blank => Response { outcomes: Vec::new(), revision: index },
            EntryPayload::Normal(batch) => apply(self, index, &batch)?,
            EntryPayload::Membership(membership) => {
                self.membership = Some(StoredMembership::new(Some(entry.log_id), membership));
                Response { outcomes: Vec::new(), revision: index }
            }
        };
        self.progress.last_applied = Some(entry.log_id);
        if index.is_multiple_of(STATE_HASH_INTERVAL_ENTRIES) {
            let Summary { time_ms, hash } = self.progress.summary;
            self.hashes.push((index, hash.digest(time_ms)));
        }
        self.entries += 1;
        Ok(response)
    }

    /// Raft's streams have no gaps. Between two streams only going back is refused, as openraft's suite demands.
    fn check_order(&self, index: u64) -> Result<(), StorageError> {
        let Some(last) = self.progress.last_applied.as_ref().map(LogId::index) else { return Ok(()) };
        let in_order = if self.begins_stream && self.entries == 0 { index > last } else { index == last + 1 };
        if in_order {
            return Ok(());
        }
        Err(StorageError::damaged(format!("entry {index} does not follow the last applied entry {last}")))
    }

    /// How far this chunk goes.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The last entry that was applied.
    pub fn last_index(&self) -> u64 {
        self.progress.index()
    }

    pub fn is_full(&self) -> bool {
        self.entries >= CHUNK_ENTRIES || self.bytes >= CHUNK_BYTES
    }

    /// Writes everything to the database, atomically, without waiting for the disk.
    pub fn commit(self) -> Result<Applied, StorageError> {
        let state = self.state;
        let mut batch = state.db().changes();
        let changed = self.records.into_iter().filter(|(_, slot)| slot.changed);
        let changed: Vec<_> = changed.map(|(key, slot)| (key, slot.record)).collect();
        for (key, record) in &changed {
            match record {
                Some(record) => batch.put(state.records(), key, record.as_stored()),
                None => batch.delete(state.records(), key),
            }
        }
        for ((time_ms, key), present) in self.expiries {
            let index_key = index_key(time_ms, &key);
            if present {
                batch.put(state.expiry(), index_key, [0; 0]);
            } else {
                batch.delete(state.expiry(), index_key);
            }
        }
        for (index, hash) in self.hashes {
            batch.put(state.meta(), hash_key(index), hash);
            let kept = STATE_HASH_INTERVAL_ENTRIES * STATE_HASHES_KEPT;
            if let Some(forgotten) = index.checked_sub(kept) {
                batch.delete(state.meta(), hash_key(forgotten));
            }
        }
        if let Some(membership) = &self.membership {
            batch.put(state.meta(), MEMBERSHIP_KEY, encode_membership(membership));
        }
        batch.put(state.meta(), PROGRESS_KEY, self.progress.encode());
        hit(Point::ChunkCommit);
        state.change(batch, changed)?;
        hit(Point::ChunkCommitted);
        Ok(Applied { progress: self.progress, membership: self.membership, floor: self.floor })
    }

    fn set(&mut self, key: Bytes, record: Option<EncodedRecord>) {
        self.bytes += key.len() + record.as_ref().map_or(0, |record| record.as_stored().len());
        self.records.insert(key, Slot { record, changed: true });
    }
}

impl Keyspace for Chunk<'_> {
    type Error = StorageError;

    fn record(&mut self, key: &[u8]) -> Result<Option<EncodedRecord>, StorageError> {
        if let Some(slot) = self.records.get(key) {
            return Ok(slot.record.clone());
        }
        let record = self.state.record(key)?;
        // Kept: a precondition is mostly followed by a write of the same key, which needs the old record again.
        self.bytes += key.len() + record.as_ref().map_or(0, |record| record.as_stored().len());
        let slot = Slot { record: record.clone(), changed: false };
        self.records.insert(Bytes::copy_from_slice(key), slot);
        Ok(record)
    }

    fn put(&mut self, key: Bytes, record: EncodedRecord) {
        self.set(key, Some(record));
    }

    fn delete(&mut self, key: Bytes) {
        if planted::is(Bug::DeletesIgnored) {
            return;
        }
        self.set(key, None);
    }

    fn index_expiry(&mut self, expires_at_ms: u64, key: &Bytes) {
        self.floor.0 = self.floor.0.min(expires_at_ms);
        self.expiries.insert((expires_at_ms, key.clone()), true);
    }

    fn unindex_expiry(&mut self, expires_at_ms: u64, key: &Bytes) {
        self.expiries.insert((expires_at_ms, key.clone()), false);
    }

    fn due(&mut self, time_ms: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, StorageError> {
        if time_ms < self.floor.0 {
            return Ok(Vec::new());
        }
        let mut merged = MergedExpiries::from(self)?;
        let mut due = Vec::new();
        let mut next = merged.next()?;
        while let Some(entry) = next.take_if(|(time, _)| *time <= time_ms && due.len() < limit) {
            due.push(entry);
            next = merged.next()?;
        }
        drop(merged);
        self.floor.0 = due.first().or(next.as_ref()).map_or(u64::MAX, |(time, _)| *time);
        Ok(due)
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.progress.summary
    }
}

/// The expiry index from the floor on, as it will be once the chunk is written.
struct MergedExpiries<'a> {
    stored: Rows<'a>,
    noted: std::iter::Peekable<std::collections::btree_map::Range<'a, (u64, Bytes), bool>>,
}

impl<'a> MergedExpiries<'a> {
    fn from(chunk: &'a Chunk<'_>) -> Result<Self, StorageError> {
        let mut stored = chunk.state.db().iterate(chunk.state.expiry(), ReadOptions::default());
        stored.seek(index_key(chunk.floor.0, &[]));
        Ok(Self { stored, noted: chunk.expiries.range((chunk.floor.0, Bytes::new())..).peekable() })
    }

    fn next(&mut self) -> Result<Option<(u64, Bytes)>, StorageError> {
        loop {
            let stored = self.stored.key().map(parse_index_key).transpose()?;
            if stored.is_none() {
                self.stored.status()?;
            }
            let Some((noted, present)) = self.noted.peek().copied() else {
                if stored.is_some() {
                    self.stored.next();
                }
                return Ok(stored);
            };
            match stored {
                Some(stored) if stored < *noted => {
                    self.stored.next();
                    return Ok(Some(stored));
                }
                Some(stored) if stored == *noted => self.stored.next(),
                _ => {}
            }
            self.noted.next();
            if *present {
                return Ok(Some(noted.clone()));
            }
        }
    }
}
