//! How RocksDB is set up: two instances, so that the fsynced log never carries the state's bytes.
//!
//! Sizes are bounds: with the default block cache both instances together stay far below 1 GiB at a million
//! records, and a memtable is small enough that replaying it at start takes well under a second.

use std::path::Path;

use conclave_faults::{Bug, planted};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, ErrorKind,
    Options,
};

use crate::error::StorageError;

/// Log entries, by index.
pub const ENTRIES: &str = "entries";
/// Few, small records beside the main data, in both instances.
pub const META: &str = "meta";
/// Records, by key.
pub const RECORDS: &str = "state";
/// What expires, by time.
pub const EXPIRY: &str = "expiry";

const MIB: usize = 1024 * 1024;
const LOG_MEMTABLE_BYTES: usize = 32 * MIB;
/// Small: a skip list that does not fit the processor's cache costs several times as much to write to.
const RECORDS_MEMTABLE_BYTES: usize = 8 * MIB;
const EXPIRY_MEMTABLE_BYTES: usize = 8 * MIB;
const META_MEMTABLE_BYTES: usize = 4 * MIB;
/// Memtables of one family at a time: one that is written, the others on their way to disk.
const MEMTABLES_MAX: i32 = 3;
/// Reaching it flushes, so that little has to be replayed at start.
pub const WAL_BYTES_MAX: u64 = 96 * MIB as u64;
/// Flushed memtables of records that gather before they are merged into the next level, so that small ones do not mean more merging.
const LEVEL_0_FILES: i32 = 8;
const BLOCK_BYTES: usize = 8 * 1024;
/// About one false positive in a hundred lookups of an absent key.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// The same for memtables, as a share of their size: a new record is looked for before it is written.
const MEMTABLE_BLOOM_RATIO: f64 = 0.02;
/// RocksDB's own text log: enough to diagnose, not enough to fill a disk.
const INFO_LOG_BYTES_MAX: usize = 4 * MIB;
const INFO_LOG_FILES_MAX: usize = 4;
/// How the C library says ENOENT, and RocksDB after it.
const NO_SUCH_FILE: &str = "No such file or directory";
/// Written data is handed to the disk in pieces of this size, so that a flush does not stall a neighbour's fsync.
const BYTES_PER_SYNC: u64 = MIB as u64;

pub fn open_log(path: &Path, cache: &Cache, create: bool) -> Result<DB, StorageError> {
    let mut options = database_options(create);
    // A torn record at the very end is a crash in the middle of a write that was never acknowledged: tolerated.
    // Anything else that does not read back was acknowledged, and dropping it silently would let this node vote
    // with a shortened log (I12): refused. Point-in-time recovery, the default, would drop it.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    if planted::is(Bug::WalDamageTolerated) {
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    }
    let entries = family_options(cache, LOG_MEMTABLE_BYTES, false);
    let meta = family_options(cache, META_MEMTABLE_BYTES, false);
    open(&options, path, vec![(ENTRIES, entries), (META, meta)])
}

pub fn open_state(path: &Path, cache: &Cache, create: bool) -> Result<DB, StorageError> {
    let mut options = database_options(create);
    // The state may be older after a crash, as long as it is whole: the log is applied again from there.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    let records = family_options(cache, RECORDS_MEMTABLE_BYTES, true);
    let expiry = family_options(cache, EXPIRY_MEMTABLE_BYTES, false);
    let meta = family_options(cache, META_MEMTABLE_BYTES, false);
    open(&options, path, vec![(RECORDS, records), (EXPIRY, expiry), (META, meta)])
}

fn open(options: &Options, path: &Path, families: Vec<(&str, Options)>) -> Result<DB, StorageError> {
    let descriptors = families.into_iter().map(|(name, options)| ColumnFamilyDescriptor::new(name, options));
    DB::open_cf_descriptors(options, path, descriptors).map_err(|error| match error.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument => StorageError::Damaged(error.into_string()),
        // A file that the instance names and that is not there; RocksDB tells it as an error of the disk.
        _ if error.as_ref().contains(NO_SUCH_FILE) => StorageError::Damaged(error.into_string()),
        _ => StorageError::Rocks(error),
    })
}

fn database_options(create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_paranoid_checks(true);
    // A write-ahead log that vanished as a whole is noticed at start.
    options.set_track_and_verify_wals_in_manifest(true);
    // All families of an instance become durable together: what is on disk is always one point in time.
    options.set_atomic_flush(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_max_background_jobs(2);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_FILES_MAX);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_options(cache: &Cache, memtable_bytes: usize, point_lookups: bool) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    if point_lookups {
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_optimize_filters_for_memory(true);
    }
    let mut options = Options::default();
    if point_lookups {
        options.set_level_zero_file_num_compaction_trigger(LEVEL_0_FILES);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    }
    options.set_block_based_table_factory(&table);
    // Ciphertext and keyed hashes do not get smaller; trying costs time at every flush.
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(memtable_bytes);
    options.set_max_write_buffer_number(MEMTABLES_MAX);
    options
}
