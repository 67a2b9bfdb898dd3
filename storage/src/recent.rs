//! What was read or written lately, in memory as it is stored (still sealed), and how to read the newest state without
//! a snapshot of RocksDB.
//!
//! A snapshot costs a lock of the whole database, and a record that was just written lies in a skip list that takes a
//! dozen cache misses to find; most requests read the same few records. So point reads go by this cache, and notice
//! afterwards if a chunk was written meanwhile, as a sequence lock does: then they are made again, on a snapshot.
//!
//! A record can only come into the cache as the newest one. A reader reserves the key's place before it asks RocksDB;
//! the writer fills the places of what it changed after RocksDB has it, and a reservation it met is void.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use conclave_faults::{Bug, planted};
use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::error::StorageError;
use crate::record::EncodedRecord;

/// Memory for cached records, with their keys and about what the cache itself needs.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Of one record, beside its key and content: two allocations, and its places in table and list.
const OVERHEAD_BYTES: usize = 128;
/// As most records are: key, path and a few short values.
const RECORD_BYTES_EXPECTED: usize = 512;
/// Parts of the cache with a lock each. As many on every machine: they share its bytes.
const SHARDS: usize = 8;
/// Larger records are read from RocksDB: one of them would push out thousands. As large as a record of one secret gets.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Longest key that is kept, in bytes.
const KEY_BYTES_MAX: usize = 64 * 1024;

// A record that is kept must fit into a shard: the cache would drop one that does not, without voiding what a reader has
// reserved for it.
const _: () = assert!(RECORD_BYTES_MAX + KEY_BYTES_MAX + OVERHEAD_BYTES < CACHE_BYTES as usize / SHARDS / 2);

/// `None`: there is no record at the key.
pub type Found = Option<EncodedRecord>;

pub struct Recent {
    records: Cache<Vec<u8>, Found, Bytewise>,
    /// Odd while a chunk is being written.
    changes: AtomicU64,
}

/// The state between two changes.
#[derive(Clone, Copy)]
pub struct Moment(u64);

#[derive(Clone)]
struct Bytewise;

impl Weighter<Vec<u8>, Found> for Bytewise {
    fn weight(&self, key: &Vec<u8>, found: &Found) -> u64 {
        (OVERHEAD_BYTES + key.len() + found.as_ref().map_or(0, |record| record.as_stored().len())) as u64
    }
}

impl Default for Recent {
    fn default() -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(CACHE_BYTES as usize / (OVERHEAD_BYTES + RECORD_BYTES_EXPECTED))
            .weight_capacity(CACHE_BYTES)
            .build()
            .expect("both capacities are given");
        let records = Cache::with_options(
            options,
            Bytewise,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Self { records, changes: AtomicU64::new(0) }
    }
}

impl Recent {
    /// The current moment; `None` while a chunk is being written.
    pub fn moment(&self) -> Option<Moment> {
        Some(self.changes.load(Ordering::SeqCst)).filter(|changes| changes % 2 == 0).map(Moment)
    }

    /// Whether all that was read since `moment` is of one state.
    pub fn is_still(&self, moment: Moment) -> bool {
        planted::is(Bug::GlanceNotRepeated) || self.changes.load(Ordering::SeqCst) == moment.0
    }

    /// The newest record at `key`, from memory or by `load`.
    pub fn get(
        &self,
        key: &[u8],
        load: impl FnOnce() -> Result<Found, StorageError>,
    ) -> Result<Found, StorageError> {
        match self.records.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(found) => Ok(found),
            GuardResult::Guard(place) => {
                let found = load()?;
                if fits(key, &found) {
                    // Refused when a newer one has come meanwhile; whoever asked will notice that it did.
                    let _newer = place.insert(found.clone());
                }
                Ok(found)
            }
            // Somebody else is loading it.
            GuardResult::Timeout => load(),
        }
    }

    /// The newest record at `key` if it is in memory: for the writer, whose next change will bring it here anyway.
    pub fn peek(&self, key: &[u8]) -> Option<Found> {
        self.records.get(key)
    }

    /// Changes the state by `write`, and remembers what `changed`. After an error nothing may be read but snapshots,
    /// so no moment begins any more. There is one writer.
    pub fn change(
        &self,
        write: impl FnOnce() -> Result<(), StorageError>,
        changed: impl IntoIterator<Item = (Bytes, Found)>,
    ) -> Result<(), StorageError> {
        let changed: Vec<(Vec<u8>, Found)> =
            changed.into_iter().map(|(key, found)| (key.into(), found)).collect();
        self.changes.fetch_add(1, Ordering::SeqCst);
        write()?;
        for (key, found) in changed {
            if planted::is(Bug::CacheNotUpdated) {
                continue;
            }
            if fits(&key, &found) {
                self.records.insert(key, found);
            } else {
                self.records.remove(&*key);
            }
        }
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn fits(key: &[u8], found: &Found) -> bool {
    key.len() <= KEY_BYTES_MAX
        && found.as_ref().is_none_or(|record| record.as_stored().len() <= RECORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64) -> Found {
        Some(EncodedRecord::new(revision, 0, b"sealed"))
    }

    fn revision(found: &Found) -> u64 {
        found.as_ref().map_or(0, EncodedRecord::revision)
    }

    fn never() -> Result<Found, StorageError> {
        panic!("it is in memory")
    }

    fn put(recent: &Recent, key: &'static str, found: Found) {
        recent.change(|| Ok(()), [(Bytes::from(key), found)]).unwrap();
    }

    #[test]
    fn a_record_is_loaded_once_and_its_absence_too() {
        let recent = Recent::default();
        assert_eq!(revision(&recent.get(b"a", || Ok(record(1))).unwrap()), 1);
        assert_eq!(revision(&recent.get(b"a", never).unwrap()), 1);
        assert_eq!(revision(&recent.get(b"b", || Ok(None)).unwrap()), 0);
        assert_eq!(revision(&recent.get(b"b", never).unwrap()), 0);
        put(&recent, "b", record(2));
        assert_eq!(revision(&recent.get(b"b", never).unwrap()), 2);
    }

    #[test]
    fn what_was_loaded_before_a_change_does_not_hide_it() {
        let recent = Recent::default();
        for newer in [record(2), None] {
            let moment = recent.moment().unwrap();
            let late = || {
                put(&recent, "a", newer.clone());
                Ok(record(1))
            };
            put(&recent, "a", Some(EncodedRecord::new(9, 0, &vec![0; RECORD_BYTES_MAX])));
            assert_eq!(revision(&recent.get(b"a", late).unwrap()), 1);
            assert!(!recent.is_still(moment), "the one who asked knows");
            assert_eq!(revision(&recent.get(b"a", never).unwrap()), revision(&newer));
        }
    }

    #[test]
    fn no_moment_begins_while_a_chunk_is_written_nor_after_it_failed() {
        let recent = Recent::default();
        let moment = recent.moment().unwrap();
        let write = || {
            assert!(recent.moment().is_none());
            assert!(!recent.is_still(moment));
            Ok(())
        };
        recent.change(write, []).unwrap();
        assert!(!recent.is_still(moment));
        assert!(recent.is_still(recent.moment().unwrap()));
        recent.change(|| Err(StorageError::damaged("the disk failed")), []).unwrap_err();
        assert!(recent.moment().is_none());
    }

    /// The cache drops what does not fit into a shard, and must not leave a reader's reservation standing then.
    #[test]
    fn the_largest_record_that_is_kept_replaces_what_a_reader_has_reserved() {
        let recent = Recent::default();
        let largest = RECORD_BYTES_MAX - record(1).unwrap().as_stored().len();
        let newer = Some(EncodedRecord::new(2, 0, &vec![0; largest]));
        let late = || {
            put(&recent, "a", newer.clone());
            Ok(record(1))
        };
        recent.get(b"a", late).unwrap();
        assert_eq!(revision(&recent.get(b"a", never).unwrap()), 2);
    }

    #[test]
    fn large_records_are_not_kept() {
        let recent = Recent::default();
        let large = || Ok(Some(EncodedRecord::new(1, 0, &vec![0; RECORD_BYTES_MAX])));
        recent.get(b"a", large).unwrap();
        assert!(recent.peek(b"a").is_none());
        put(&recent, "a", record(2));
        assert!(recent.peek(b"a").is_some());
        put(&recent, "a", large().unwrap());
        assert!(recent.peek(b"a").is_none());
    }
}
