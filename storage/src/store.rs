//! Opening a data directory.
//!
//! | name | what |
//! |---|---|
//! | `LOCK` | held while a process has the directory open |
//! | `FORMAT` | which version of these formats; written last when a directory is made |
//! | `log/` | RocksDB: entries and vote, synced |
//! | `state/` | `ACTIVE` names the folder with the current RocksDB state |
//! | `snapshots/` | the newest snapshot |
//! | `incoming/` | a snapshot that is being received |
//!
//! Other names in it are somebody else's and left alone.

use std::path::Path;
use std::sync::Arc;

use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use rocksdb::Cache;

use crate::db::Backing;
use crate::disk::Disk;
use crate::error::StorageError;
use crate::files::{self, DirectoryLock};
use crate::install::StateFolder;
use crate::log_store::LogStore;
use crate::reader::StateReader;
use crate::snapshot::SnapshotStore;
use crate::snapshot_writer::SnapshotInbox;
use crate::state::SharedState;
use crate::state_machine::StateMachine;
use crate::types::LogId;

/// The version of everything under the directory. Raise it with a migration, never silently.
pub const STORAGE_FORMAT: u32 = 1;
const FORMAT_NAME: &str = "FORMAT";
const FORMAT_PREFIX: &str = "conclave storage ";
const BLOCK_CACHE_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for blocks that were read from disk, in bytes, shared by log and state.
    pub block_cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { block_cache_bytes: BLOCK_CACHE_BYTES_DEFAULT }
    }
}

/// What [`Store::open`] makes, the format first: with data and without it a directory is refused, so that a crash while
/// they are taken away is noticed.
const OWN_NAMES: [&str; 5] = [FORMAT_NAME, "log", "state", "snapshots", "incoming"];

/// Opens data directories.
pub struct Store;

/// A data directory, open. It is locked until the last of these, of their clones and of their views is dropped.
pub struct Opened {
    /// For Raft.
    pub log: LogStore,
    /// For Raft.
    pub state_machine: StateMachine,
    /// For everybody who reads.
    pub reader: StateReader,
    /// For the network: where snapshots arrive.
    pub inbox: SnapshotInbox,
}

impl Store {
    /// Removes everything that [`Store::open`] would find: the node's log, state and snapshots. Other files stay.
    ///
    /// # Errors
    /// [`StorageError::InUse`], or what the disk says.
    pub fn erase(directory: &Path) -> Result<(), StorageError> {
        files::create_directory(directory)?;
        let _lock = DirectoryLock::take(directory)?;
        hit(Point::EraseBegin);
        for name in OWN_NAMES {
            files::remove_all(&directory.join(name))?;
            hit(Point::EraseHalf);
        }
        Ok(())
    }

    /// Moves what [`Store::open`] would find into the folder `aside`, for somebody to look at, and leaves the directory as
    /// before its first opening. Repeating it after a crash completes it: what is in `aside` already stays, and what was
    /// made anew since is removed.
    ///
    /// # Errors
    /// [`StorageError::InUse`], or what the disk says.
    pub fn set_aside(directory: &Path, aside: &Path) -> Result<(), StorageError> {
        let _lock = DirectoryLock::take(directory)?;
        files::create_directory(aside)?;
        for name in OWN_NAMES {
            let (from, to) = (directory.join(name), aside.join(name));
            if to.exists() {
                files::remove_all(&from)?;
            } else if from.exists() {
                files::rename_durably(&from, &to, aside)?;
            }
        }
        files::sync_directory(directory)
    }

    /// Opens the directory, or makes a new one. Blocks on the disk.
    ///
    /// # Errors
    /// [`StorageError::InUse`], [`StorageError::Format`], [`StorageError::Damaged`], or what the disk says.
    pub fn open(directory: &Path, options: &Options) -> Result<Opened, StorageError> {
        Self::open_on(Backing::Rocks(Cache::new_lru_cache(options.block_cache_bytes)), directory)
    }

    /// As [`Store::open`], with log and state on `disk`; only snapshots and the names of folders are files. Call it on the
    /// runtime that is to wait for the disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_given(directory: &Path, disk: Arc<dyn Disk>) -> Result<Opened, StorageError> {
        Self::open_on(Backing::Given(disk), directory)
    }

    fn open_on(backing: Backing, directory: &Path) -> Result<Opened, StorageError> {
        files::create_directory(directory)?;
        let lock = Arc::new(DirectoryLock::take(directory)?);
        let is_new = !has_known_format(directory)?;

        let log_db = Arc::new(backing.open_log(&directory.join("log"), is_new)?);
        let log = LogStore::open(log_db.clone(), lock.clone())?;
        let folder = StateFolder::new(directory.join("state"), backing);
        let state = folder.open(is_new)?;
        let (progress, membership) = (state.progress()?, state.membership()?);
        let snapshots =
            Arc::new(SnapshotStore::open(directory.join("snapshots"), directory.join("incoming"))?);

        if is_new {
            if !log.is_empty() || progress.last_applied.is_some() {
                return Err(StorageError::damaged("the file FORMAT is missing, though there is data"));
            }
            hit(Point::FormatWrite);
            files::write_durably(&directory.join(FORMAT_NAME), format_line().as_bytes())?;
            hit(Point::FormatWritten);
        }
        check_agreement(&log, progress.last_applied.as_ref(), &snapshots)?;

        let on_disk = log.on_disk();
        let shared =
            Arc::new(SharedState::new(state, &progress, membership, log_db, log.latest_vote(), lock));
        Ok(Opened {
            log,
            state_machine: StateMachine::new(shared.clone(), folder, snapshots.clone(), progress, on_disk),
            reader: StateReader::new(shared),
            inbox: SnapshotInbox::new(snapshots),
        })
    }
}

/// Log and state must fit together; a node that lost one of them must not vote with the other.
fn check_agreement(
    log: &LogStore,
    applied: Option<&LogId>,
    snapshots: &SnapshotStore,
) -> Result<(), StorageError> {
    if planted::is(Bug::LogLossAccepted) {
        return Ok(());
    }
    if applied.is_some() && log.is_empty() {
        return Err(StorageError::damaged("the log is empty, though entries of it were applied"));
    }
    check_vote(log)?;
    let current = snapshots.current();
    let snapshot = current.as_ref().and_then(|snapshot| snapshot.meta().last_log_id.as_ref());
    // A snapshot that was just installed reaches beyond the log. Applied entries come from the log, and only once they are
    // on disk there: what is missing may have been acknowledged.
    let last = log.last();
    if let Some(applied) = applied.filter(|applied| last.as_ref().max(snapshot) < Some(*applied)) {
        return Err(StorageError::damaged(format!(
            "the log ends with entry {}, though entry {} was applied",
            last.map_or(0, |last| last.index()),
            applied.index()
        )));
    }
    let Some(purged) = log.purged() else { return Ok(()) };
    if applied.max(snapshot).is_none_or(|reached| reached.index() < purged.index()) {
        return Err(StorageError::damaged(format!(
            "neither the state nor a snapshot reaches entry {}, up to which the log is purged",
            purged.index()
        )));
    }
    Ok(())
}

/// An entry of a term comes after a vote of that term or a later one, so a log without it has lost it: the node would
/// vote a second time in a term. Only the first entry of a cluster, from before its first election, needs none.
fn check_vote(log: &LogStore) -> Result<(), StorageError> {
    let Some(last) = log.last() else { return Ok(()) };
    let entry_term = last.leader_id.term;
    let vote_term = log.vote().map_or(0, |vote| vote.leader_id.term);
    if vote_term < entry_term {
        return Err(StorageError::damaged(format!(
            "the log has entries of term {entry_term}, though the last vote is of term {vote_term}"
        )));
    }
    Ok(())
}

/// `false`: the directory has not been made completely yet.
pub(crate) fn has_known_format(directory: &Path) -> Result<bool, StorageError> {
    let Some(content) = files::read_if_exists(&directory.join(FORMAT_NAME))? else { return Ok(false) };
    if content == format_line().as_bytes() {
        return Ok(true);
    }
    let line = String::from_utf8_lossy(&content);
    let found = line.trim_end().strip_prefix(FORMAT_PREFIX).unwrap_or("unknown").to_owned();
    Err(StorageError::Format { directory: directory.to_owned(), found, expected: STORAGE_FORMAT })
}

fn format_line() -> String {
    format!("{FORMAT_PREFIX}{STORAGE_FORMAT}\n")
}
