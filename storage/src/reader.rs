//! Reading the state, for everybody but Raft: consistent views, how far it is applied, and its health.
//!
//! Everything that one decision reads comes from the state after one entry. For most that is checked afterwards
//! ([`StateReader::glance`]); where it must hold all the while, a view is one RocksDB snapshot, and short: while it lives,
//! what it can see is kept on disk. Reads block on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use conclave_faults::{Bug, planted};
use conclave_proto::counted;
use rocksdb::ReadOptions;
use tokio::sync::watch;

use crate::awaited::Awaited;
use crate::db::{Db, Family, Moment, Rows};
use crate::error::StorageError;
use crate::expiry::{index_key, parse_index_key};
use crate::hash::{HASH_BYTES, StateHash};
use crate::log_store::LatestVote;
use crate::record::{EncodedRecord, Stamp, StoredRecord};
use crate::rocks;
use crate::state::{HASH_KEY_PREFIX, Progress, SharedState, StateDb};
use crate::types::StoredMembership;

/// Reads the replicated state. Cheap to clone.
#[derive(Clone)]
pub struct StateReader {
    shared: Arc<SharedState>,
}

/// A hash of the state after the entry at `index`; equal on all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateHashAt {
    pub index: u64,
    pub hash: [u8; HASH_BYTES],
}

/// What a scrub counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrubbed {
    pub applied_index: u64,
    pub records: u64,
    pub expiring: u64,
}

impl StateReader {
    pub(crate) fn new(shared: Arc<SharedState>) -> Self {
        Self { shared }
    }

    /// Runs `read` on one consistent view, of the newest state that was applied when this was called or a newer one.
    pub fn view<T>(&self, read: impl FnOnce(&StateView<'_>) -> T) -> T {
        // Before the snapshot is taken, so that it is not ahead of it.
        let time_ms = self.shared.applied_time_ms();
        let state = self.shared.state();
        read(&StateView::new(&state, time_ms))
    }

    /// As [`StateReader::view`], much cheaper for a few records. `read` is run again if the state changed meanwhile, so
    /// the first time what it sees may contradict itself: what it leaves behind must be true all the same.
    pub fn glance<T>(&self, read: impl Fn(&StateView<'_>) -> T) -> T {
        let time_ms = self.shared.applied_time_ms();
        let state = self.shared.state();
        if let Some(moment) = state.recent().moment() {
            let seen = read(&StateView { state: &state, moment: None, time_ms });
            if state.recent().is_still(moment) {
                return seen;
            }
        }
        read(&StateView::new(&state, time_ms))
    }

    /// The index up to which entries are applied. As cheap as reading a number.
    pub fn applied_index(&self) -> u64 {
        self.shared.applied_index()
    }

    /// How far a view that is taken now may be: an entry is visible a moment before it counts as applied.
    pub fn visible_index(&self) -> u64 {
        self.shared.visible_index()
    }

    /// The newest vote of this node, before anybody else can know of it.
    pub fn latest_vote(&self) -> &LatestVote {
        &self.shared.latest_vote
    }

    /// The cluster's time as the last applied entry gives it, Unix milliseconds. As cheap as reading a number.
    pub fn applied_time_ms(&self) -> u64 {
        self.shared.applied_time_ms()
    }

    /// The transactions that this node proposed and waits for.
    pub fn awaited(&self) -> &Awaited {
        &self.shared.awaited
    }

    /// Follows the applied index: wait on it until it has reached what a read needs, then take a view.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied()
    }

    /// The membership as applied, with the log id that set it.
    pub fn membership(&self) -> Arc<StoredMembership> {
        self.shared.membership()
    }

    /// The state's hash now.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn state_hash(&self) -> Result<StateHashAt, StorageError> {
        self.view(|view| view.state_hash())
    }

    /// The state's hash at round indexes ([`crate::STATE_HASH_INTERVAL_ENTRIES`]), oldest first, so that two
    /// nodes that are not equally far can compare at an index both have passed.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn state_hashes(&self) -> Result<Vec<StateHashAt>, StorageError> {
        self.view(|view| view.state_hashes())
    }

    /// When the first record expires of those that do at `from_ms` or later, dropped or not.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn next_expiry_ms(&self, from_ms: u64) -> Result<Option<u64>, StorageError> {
        self.view(|view| {
            let mut index = view.iterate(view.state.expiry(), ReadOptions::default());
            index.seek(index_key(from_ms, &[]));
            let found = index.key().map(parse_index_key).transpose()?;
            index.status()?;
            Ok(found.map(|(time_ms, _)| time_ms))
        })
    }

    /// Reads every record, recomputes the hash, and checks the expiry index and all counts against the records. Takes
    /// long; run it on a blocking thread.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when anything does not match.
    pub fn scrub(&self) -> Result<Scrubbed, StorageError> {
        self.view(|view| view.scrub())
    }

    /// Figures of RocksDB for metrics: names with their units, and values.
    pub fn rocksdb_properties(&self) -> Vec<(&'static str, u64)> {
        let state = self.shared.state();
        let state_families = [state.records(), state.expiry(), state.meta()];
        let log = &*self.shared.log;
        let log_families = [log.family(rocks::ENTRIES), log.family(rocks::META)];
        let mut values =
            vec![("state_records_estimated", sum(state.db(), &state_families[..1], ESTIMATE_KEYS))];
        for (property, state_name, log_name) in PROPERTIES {
            values.push((state_name, sum(state.db(), &state_families, property)));
            values.push((log_name, sum(log, &log_families, property)));
        }
        // One cache serves all families, so it is asked once.
        values
            .push(("block_cache_bytes", sum(state.db(), &state_families[..1], "rocksdb.block-cache-usage")));
        values
    }
}

const ESTIMATE_KEYS: &str = "rocksdb.estimate-num-keys";
/// RocksDB's name, and ours for the two instances.
const PROPERTIES: [(&str, &str, &str); 6] = [
    ("rocksdb.live-sst-files-size", "state_files_bytes", "log_files_bytes"),
    ("rocksdb.size-all-mem-tables", "state_memtables_bytes", "log_memtables_bytes"),
    ("rocksdb.estimate-table-readers-mem", "state_table_readers_bytes", "log_table_readers_bytes"),
    (
        "rocksdb.estimate-pending-compaction-bytes",
        "state_compaction_pending_bytes",
        "log_compaction_pending_bytes",
    ),
    ("rocksdb.is-write-stopped", "state_write_stopped", "log_write_stopped"),
    ("rocksdb.background-errors", "state_background_errors", "log_background_errors"),
];

fn sum(db: &Db, families: &[Family<'_>], property: &str) -> u64 {
    families.iter().map(|family| db.property(*family, property)).sum()
}

/// The state after one entry. A record that has expired at the view's own time is not there.
pub struct StateView<'a> {
    state: &'a StateDb,
    /// `None`: whoever takes the view makes sure that the state does not change meanwhile.
    moment: Option<Moment<'a>>,
    time_ms: u64,
}

impl<'a> StateView<'a> {
    /// `time_ms`: the applied time as it was published before this call. The view may be an entry ahead of it.
    fn new(state: &'a StateDb, time_ms: u64) -> Self {
        Self { state, moment: Some(state.db().moment()), time_ms }
    }

    /// The cluster's time at this point of the log, Unix milliseconds: never later than that of the last entry that this
    /// view includes.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// How far this view is, exactly.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn progress(&self) -> Result<Progress, StorageError> {
        self.moment.as_ref().map_or_else(|| self.state.progress(), |at| self.state.progress_at(at))
    }

    /// # Errors
    /// When the state cannot be read.
    pub fn state_hash(&self) -> Result<StateHashAt, StorageError> {
        let progress = self.progress()?;
        let hash = progress.summary.hash.digest(progress.summary.time_ms);
        Ok(StateHashAt { index: progress.index(), hash })
    }

    /// # Errors
    /// When the disk fails or a checksum does not match.
    pub fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, StorageError> {
        let is_live =
            |record: &EncodedRecord| planted::is(Bug::ExpiredServed) || record.is_live_at(self.time_ms());
        Ok(self.record(key)?.filter(is_live).map(StoredRecord::from))
    }

    /// As [`StateView::get`], without the content.
    ///
    /// # Errors
    /// When the disk fails or a checksum does not match.
    pub fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, StorageError> {
        let record = self.record(key)?.filter(|record| record.is_live_at(self.time_ms()));
        Ok(record.map(|record| record.stamp()))
    }

    /// Expired or not.
    fn record(&self, key: &[u8]) -> Result<Option<EncodedRecord>, StorageError> {
        match &self.moment {
            Some(at) => at.read_owned(self.state.records(), key)?.map(EncodedRecord::from_stored).transpose(),
            None => self.state.recent().get(key, || self.state.stored_record(key)),
        }
    }

    /// A cursor over the records in key order; use one for a whole scan.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            records: self.iterate(self.state.records(), ReadOptions::default()),
            time_ms: self.time_ms(),
        }
    }

    /// The first record whose key is `from` or greater. For more than one, take a [`StateView::cursor`].
    ///
    /// # Errors
    /// When the disk fails or a checksum does not match.
    pub fn seek(&self, from: &[u8]) -> Result<Option<(Vec<u8>, StoredRecord)>, StorageError> {
        self.cursor().seek(from)
    }

    /// Gives every record in key order to `write`, still sealed, and returns how many there were. Does not fill the
    /// block cache.
    ///
    /// # Errors
    /// When the state cannot be read, or the first error of `write`.
    pub fn export<E: From<StorageError>>(
        &self,
        mut write: impl FnMut(&[u8], &StoredRecord) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut count = 0;
        for_each(self.scan(self.state.records()), |key, stored| {
            let record = StoredRecord::decode(stored)?;
            if record.is_live_at(self.time_ms()) {
                write(key, &record)?;
                count += 1;
            }
            Ok::<(), E>(())
        })?;
        Ok(count)
    }

    fn state_hashes(&self) -> Result<Vec<StateHashAt>, StorageError> {
        let mut hashes = Vec::new();
        let mut stored = self.iterate(self.state.meta(), ReadOptions::default());
        stored.seek(HASH_KEY_PREFIX);
        while let Some((key, value)) = stored.item() {
            let Some(index) = key.strip_prefix(HASH_KEY_PREFIX) else { break };
            let (Ok(index), Ok(hash)) = (index.try_into(), value.try_into()) else {
                return Err(StorageError::damaged("a kept state hash has the wrong length"));
            };
            hashes.push(StateHashAt { index: u64::from_be_bytes(index), hash });
            stored.next();
        }
        stored.status()?;
        Ok(hashes)
    }

    fn scrub(&self) -> Result<Scrubbed, StorageError> {
        let mut hash = StateHash::default();
        let progress = self.progress()?;
        let mut scrubbed = Scrubbed { applied_index: progress.index(), records: 0, expiring: 0 };
        // What each count should say less what it says.
        let mut counts: BTreeMap<Vec<u8>, i128> = BTreeMap::new();
        for_each(self.scan(self.state.records()), |key, stored| {
            hash.add(key, stored);
            scrubbed.records += 1;
            let record = StoredRecord::decode(stored)?;
            scrubbed.expiring += u64::from(record.expires_at_ms != 0);
            if counted::is_counted(key) {
                counted::counts_of(key).for_each(|count| *counts.entry(count).or_default() += 1);
            } else if counted::is_count(key) {
                *counts.entry(key.to_vec()).or_default() -= i128::from(counted::number(Some(&record.sealed)));
            }
            Ok::<(), StorageError>(())
        })?;
        if hash != progress.summary.hash {
            return Err(StorageError::damaged("the records do not match the state's hash"));
        }
        if counts.values().any(|difference| *difference != 0) {
            return Err(StorageError::damaged("a count does not match the records that it counts"));
        }
        let mut indexed = 0;
        for_each(self.scan(self.state.expiry()), |index_key, _| {
            let (expires_at_ms, key) = parse_index_key(index_key)?;
            let record = self.record(&key)?;
            if record.is_none_or(|record| record.expires_at_ms() != expires_at_ms) {
                return Err(StorageError::damaged(
                    "the expiry index names a record that does not expire then",
                ));
            }
            indexed += 1;
            Ok(())
        })?;
        if indexed != scrubbed.expiring {
            return Err(StorageError::damaged("the expiry index lacks records that expire"));
        }
        Ok(scrubbed)
    }

    fn scan(&self, family: Family<'_>) -> Rows<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        self.iterate(family, options)
    }

    fn iterate(&self, family: Family<'_>, options: ReadOptions) -> Rows<'_> {
        match &self.moment {
            Some(at) => at.iterate(family, options),
            None => self.state.db().iterate(family, options),
        }
    }
}

fn for_each<E: From<StorageError>>(
    mut stored: Rows<'_>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    stored.seek_to_first();
    while let Some((key, value)) = stored.item() {
        visit(key, value)?;
        stored.next();
    }
    stored.status().map_err(E::from)
}

/// Moves over a view's records in key order, leaving out those that have expired.
pub struct Cursor<'a> {
    records: Rows<'a>,
    time_ms: u64,
}

impl Cursor<'_> {
    /// The first record whose key is `from` or greater.
    ///
    /// # Errors
    /// When the disk fails or a checksum does not match.
    pub fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, StoredRecord)>, StorageError> {
        self.records.seek(from);
        self.first_live()
    }

    /// The record after the one returned last; `None` at the end, and before the first seek.
    ///
    /// # Errors
    /// When the disk fails or a checksum does not match.
    pub fn advance(&mut self) -> Result<Option<(Vec<u8>, StoredRecord)>, StorageError> {
        if self.records.valid() {
            self.records.next();
        }
        self.first_live()
    }

    fn first_live(&mut self) -> Result<Option<(Vec<u8>, StoredRecord)>, StorageError> {
        while let Some((key, stored)) = self.records.item() {
            let record = StoredRecord::decode(stored)?;
            if record.is_live_at(self.time_ms) {
                return Ok(Some((key.to_vec(), record)));
            }
            self.records.next();
        }
        self.records.status()?;
        Ok(None)
    }
}
