//! Raft's log on RocksDB: entries by index, and beside them the vote and how far the log is purged or committed.
//!
//! A write is one atomic batch; it is readable at once and reported only when the log-IO thread has synced it. The
//! vote is visible only after that, so that no reader acts on a vote that a crash could take back. An entry on disk
//! is `[format version u8][protobuf]`, keyed by its index, big-endian.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use conclave_proto::log;
use futures::{Stream, StreamExt as _, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use prost::Message;
use rocksdb::ReadOptions;

use crate::convert::{
    entry_from_proto, entry_to_proto, log_id_from_proto, log_id_to_proto, vote_from_proto, vote_to_proto,
};
use crate::db::{Changes, Db, Family, Rows};
use crate::error::StorageError;
use crate::faulty;
use crate::files::DirectoryLock;
use crate::log_io::LogIo;
use crate::log_tail::Tail;
use crate::rocks;
use crate::synced::OnDisk;
use crate::types::{Entry, LeaderId, LogId, TypeConfig, Vote};

const ENTRY_FORMAT: u8 = 1;
const VOTE_KEY: &[u8] = b"vote";
const PURGED_KEY: &[u8] = b"purged";
const COMMITTED_KEY: &[u8] = b"committed";
/// Entries are read for replication and for apply in pieces of about this size, in bytes, so that a message stays
/// below gRPC's limit of 4 MiB and a long replay needs little memory. A single larger entry comes alone.
pub const READ_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What Raft writes its log to. There is one.
pub struct LogStore {
    log: Arc<Log>,
}

/// Reads the log, from any task.
#[derive(Clone)]
pub struct LogReader {
    log: Arc<Log>,
}

struct Log {
    // Before the database: its thread must have ended when the instance is closed.
    io: LogIo,
    db: Arc<Db>,
    held: Mutex<Held>,
    vote: Mutex<Option<Vote>>,
    latest_vote: Arc<LatestVote>,
    // Last: somebody else may open the directory only when the instance is closed.
    _lock: Arc<DirectoryLock>,
}

/// The newest vote that this node has decided to save: known here before it is on disk, and so before any other node can
/// learn of it. A vote names whom the node follows, itself if it leads.
#[derive(Debug, Default)]
pub struct LatestVote {
    term: AtomicU64,
    node_id: AtomicU64,
}

impl LatestVote {
    /// Whether it is for this leader. `false` as soon as it begins to change.
    pub fn is_for(&self, leader: LeaderId) -> bool {
        self.term.load(Ordering::Acquire) == leader.term
            && self.node_id.load(Ordering::Acquire) == leader.node_id
    }

    fn set(&self, vote: &Vote) {
        self.term.store(vote.leader_id.term, Ordering::Release);
        self.node_id.store(vote.leader_id.node_id, Ordering::Release);
    }
}

/// Changed together with the database, under one lock.
struct Held {
    extent: Extent,
    /// Its end, in memory: what is replicated and applied was written just now.
    tail: Tail,
}

/// What the log holds.
#[derive(Debug, Clone, Default)]
struct Extent {
    purged: Option<LogId>,
    /// The first index that is there, if any is.
    first: Option<u64>,
    /// The last entry, or the purged one when there is none.
    last: Option<LogId>,
}

impl Extent {
    /// Behind the last entry.
    fn end(&self) -> u64 {
        self.last.map_or(0, |last| last.index() + 1)
    }

    /// The part of `[start, end)` that is there.
    fn intersect(&self, (start, end): (u64, u64)) -> (u64, u64) {
        let (Some(first), Some(last)) = (self.first, &self.last) else { return (start, start) };
        (start.max(first), end.min(last.index() + 1))
    }
}

impl LogStore {
    /// # Errors
    /// [`StorageError::Damaged`] when what is stored contradicts itself.
    pub(crate) fn open(db: Arc<Db>, lock: Arc<DirectoryLock>) -> Result<Self, StorageError> {
        let held = Held { extent: read_extent(&db)?, tail: Tail::default() };
        let vote = read_meta::<log::Vote>(&db, VOTE_KEY)?.map(|vote| vote_from_proto(&vote));
        let latest_vote = Arc::new(LatestVote::default());
        vote.iter().for_each(|vote| latest_vote.set(vote));
        let io = LogIo::start(db.clone(), held.extent.end())?;
        let log = Log { io, db, held: Mutex::new(held), vote: Mutex::new(vote), latest_vote, _lock: lock };
        Ok(Self { log: Arc::new(log) })
    }

    pub(crate) fn latest_vote(&self) -> Arc<LatestVote> {
        Arc::clone(&self.log.latest_vote)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.log.vote.lock().is_none() && self.log.held.lock().extent.last.is_none()
    }

    pub(crate) fn on_disk(&self) -> OnDisk {
        self.log.io.synced().on_disk()
    }

    pub(crate) fn purged(&self) -> Option<LogId> {
        self.log.held.lock().extent.purged
    }

    pub(crate) fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        self.log.read(start, end, bytes_max)
    }

    /// Writes a vote and an entry behind the last one, both or neither, and waits for the disk. The log must be opened
    /// anew to see them: this is for a directory that no Raft uses.
    pub(crate) fn write_offline(&self, vote: &Vote, entry: &Entry) -> Result<(), StorageError> {
        let mut batch = self.log.db.changes();
        batch.put(self.log.meta(), VOTE_KEY, vote_to_proto(vote).encode_to_vec());
        batch.put(self.log.entries(), entry.log_id.index().to_be_bytes(), encode_entry(entry));
        self.log.db.write(batch)?;
        self.log.db.sync()
    }

    /// The last entry, or the purged one when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.log.held.lock().extent.last
    }

    /// The vote on disk.
    pub fn vote(&self) -> Option<Vote> {
        *self.log.vote.lock()
    }

    /// Writes a batch, unsynced; an error is the log's last word.
    fn write(&self, batch: Changes) -> io::Result<()> {
        self.log.db.write(batch).map_err(|error| self.log.io.fail(&error))
    }

    /// How many they are, and where the log ends with them.
    fn append_unsynced(&self, entries: impl IntoIterator<Item = Entry>) -> io::Result<(usize, u64)> {
        self.log.io.check()?;
        let mut held = self.log.held.lock();
        let mut grown = held.extent.clone();
        let mut batch = self.log.db.changes();
        let mut appended = Vec::new();
        for entry in entries {
            let index = entry.log_id.index();
            if grown.last.as_ref().is_some_and(|last| last.index() + 1 != index) {
                return Err(
                    StorageError::damaged(format!("entry {index} would leave a hole in the log")).into()
                );
            }
            grown.first.get_or_insert(index);
            grown.last = Some(entry.log_id);
            let encoded = encode_entry(&entry);
            batch.put(self.log.entries(), index.to_be_bytes(), &encoded);
            appended.push((entry, encoded.len()));
        }
        let count = appended.len();
        hit(Point::LogAppend);
        self.write(batch)?;
        hit(Point::LogAppended);
        held.extent = grown;
        held.tail.append(appended);
        let end = held.extent.end();
        self.log.io.synced().wrote(end);
        Ok((count, end))
    }

    fn truncate_unsynced(&self, keep: Option<LogId>) -> io::Result<()> {
        self.log.io.check()?;
        let mut held = self.log.held.lock();
        let Held { extent, tail } = &mut *held;
        let (Some(first), Some(last)) = (extent.first, extent.last) else { return Ok(()) };
        let from = keep.as_ref().map_or(0, |keep| keep.index() + 1).max(first);
        if from > last.index() {
            return Ok(());
        }
        let mut batch = self.log.db.changes();
        delete_entries(&mut batch, self.log.entries(), from, last.index());
        hit(Point::TruncateBegin);
        self.write(batch)?;
        hit(Point::TruncateWritten);
        tail.truncate(from);
        if from == first {
            *extent = Extent { purged: extent.purged, first: None, last: extent.purged };
        } else {
            extent.last = keep;
        }
        Ok(())
    }

    fn purge_unsynced(&self, upto: LogId) -> io::Result<()> {
        self.log.io.check()?;
        let mut held = self.log.held.lock();
        let Held { extent, tail } = &mut *held;
        if extent.purged.as_ref().is_some_and(|purged| purged.index() >= upto.index()) {
            return Ok(());
        }
        let mut batch = self.log.db.changes();
        if let Some(first) = extent.first.filter(|first| *first <= upto.index()) {
            delete_entries(&mut batch, self.log.entries(), first, upto.index());
        }
        batch.put(self.log.meta(), PURGED_KEY, log_id_to_proto(&upto).encode_to_vec());
        hit(Point::PurgeBegin);
        self.write(batch)?;
        hit(Point::PurgeWritten);
        tail.purge(upto.index());
        if extent.last.as_ref().is_some_and(|last| last.index() > upto.index()) {
            extent.first = extent.first.map(|first| first.max(upto.index() + 1));
        } else {
            extent.first = None;
            extent.last = Some(upto);
        }
        extent.purged = Some(upto);
        Ok(())
    }
}

impl Log {
    fn entries(&self) -> Family<'_> {
        entries_family(&self.db)
    }

    fn meta(&self) -> Family<'_> {
        meta_family(&self.db)
    }

    /// Entries of `[start, end)` that the log holds, the first in any case, further ones while they fit `bytes_max`.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        // The iterator is made under the lock, so that it sees exactly what the extent says.
        let held = self.held.lock();
        let (start, end) = held.extent.intersect((start, end));
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = held.tail.read(start, end, bytes_max) {
            return Ok(entries);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end.to_be_bytes());
        let mut stored = self.db.iterate(self.entries(), options);
        drop(held);
        let mut entries = Vec::new();
        let mut bytes = 0;
        stored.seek(start.to_be_bytes());
        for index in start..end {
            let Some((key, value)) = stored.item() else {
                stored.status()?;
                return Err(hole(index));
            };
            if key != index.to_be_bytes() {
                return Err(hole(index));
            }
            bytes += value.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            let entry = decode_entry(value)?;
            entries.push(if planted::is(Bug::ReplayedRecordEmptied) {
                faulty::emptied(entry)
            } else {
                entry
            });
            stored.next();
        }
        Ok(entries)
    }
}

fn hole(index: u64) -> StorageError {
    StorageError::damaged(format!("entry {index} is missing from the log"))
}

fn encode_entry(entry: &Entry) -> Vec<u8> {
    let entry = entry_to_proto(entry);
    let mut bytes = Vec::with_capacity(1 + entry.encoded_len());
    bytes.push(ENTRY_FORMAT);
    entry.encode_raw(&mut bytes);
    bytes
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, StorageError> {
    let Some((&ENTRY_FORMAT, body)) = bytes.split_first() else {
        return Err(StorageError::damaged("a log entry has an unknown format"));
    };
    // One copy of the whole entry; its keys and values are then slices of it.
    let entry = log::Entry::decode(bytes::Bytes::copy_from_slice(body))
        .map_err(|error| StorageError::damaged(format!("a log entry does not decode: {error}")))?;
    Ok(entry_from_proto(entry)?)
}

fn delete_entries(batch: &mut Changes, entries: Family<'_>, from: u64, last: u64) {
    batch.delete_range(entries, from.to_be_bytes(), last.saturating_add(1).to_be_bytes());
}

fn entries_family(db: &Db) -> Family<'_> {
    db.family(rocks::ENTRIES)
}

fn meta_family(db: &Db) -> Family<'_> {
    db.family(rocks::META)
}

fn read_meta<M: Message + Default>(db: &Db, key: &[u8]) -> Result<Option<M>, StorageError> {
    let Some(bytes) = db.get(meta_family(db), key)? else { return Ok(None) };
    let message = M::decode(&*bytes).map_err(|error| {
        StorageError::damaged(format!("a record beside the log does not decode: {error}"))
    })?;
    Ok(Some(message))
}

fn read_extent(db: &Db) -> Result<Extent, StorageError> {
    let purged = read_meta::<log::LogId>(db, PURGED_KEY)?.map(|id| log_id_from_proto(&id));
    let mut stored = db.iterate(entries_family(db), ReadOptions::default());
    stored.seek_to_first();
    let first = stored.value().map(decode_entry).transpose()?.map(|entry| entry.log_id.index());
    stored.seek_to_last();
    if planted::is(Bug::LastRecordForgotten) && stored.key() > Some(&[0; 8]) {
        stored.prev();
    }
    let last = stored.value().map(decode_entry).transpose()?.map(|entry| entry.log_id);
    stored.status()?;
    if let (Some(first), Some(last)) = (first, &last) {
        check_tail(stored, first, last.index())?;
    }
    let expected = purged.as_ref().map_or(0, |purged| purged.index() + 1);
    if first.is_some_and(|first| first != expected) {
        return Err(StorageError::damaged(format!("the log does not begin with entry {expected}")));
    }
    Ok(Extent { first, last: last.or(purged), purged })
}

/// Looks for holes in what was last written. A power loss can take the end of a write-ahead log file that was
/// full but not yet synced, and leave the next file: nothing of that was acknowledged, but the log must not claim
/// to reach beyond a hole. Older entries are in synced files and need not be read again.
fn check_tail(mut stored: Rows<'_>, first: u64, last: u64) -> Result<(), StorageError> {
    if planted::is(Bug::LogHoleAccepted) {
        return Ok(());
    }
    let mut bytes_left = 2 * rocks::WAL_BYTES_MAX;
    for index in (first..=last).rev() {
        let Some((key, value)) = stored.item() else {
            stored.status()?;
            return Err(hole(index));
        };
        if key != index.to_be_bytes() {
            return Err(hole(index));
        }
        bytes_left = bytes_left.saturating_sub(value.len() as u64);
        if bytes_left == 0 {
            break;
        }
        stored.prev();
    }
    stored.status()
}

/// `[start, end)` of any range of indexes.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        Ok(self.log.read(start, end, usize::MAX)?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let entries = self.log.read(start, end, READ_BYTES_MAX)?;
        // Its beginning was purged meanwhile. A follower to which the rest was sent would have a hole in its log; of nothing
        // Raft makes a heartbeat, learns how far the follower is, and sends a snapshot.
        let follows_on = entries.first().is_none_or(|first| first.log_id.index() == start);
        Ok(if follows_on { entries } else { Vec::new() })
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.log.clone();
        // What the log holds now must come, or an error: a stream that just ended early would make Raft believe
        // that it has applied everything.
        let (mut next, end) = log.held.lock().extent.intersect(bounds(&range));
        let pieces = stream::iter(std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let piece = log.read(next, end, READ_BYTES_MAX).and_then(|entries| match entries.first() {
                Some(first) if first.log_id.index() == next => Ok(entries),
                _ => Err(hole(next)),
            });
            next = piece.as_ref().map_or(end, |entries| next + entries.len() as u64);
            Some(piece)
        }));
        pieces.flat_map(|piece| {
            let (entries, error) = match piece {
                Ok(entries) => (entries, None),
                Err(error) => (Vec::new(), Some(Err(error.into()))),
            };
            stream::iter(entries.into_iter().map(Ok).chain(error))
        })
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.log.vote.lock())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let Extent { purged, last, .. } = self.log.held.lock().extent.clone();
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { log: self.log.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log.io.check()?;
        self.log.latest_vote.set(vote);
        if planted::is(Bug::VoteInTwoWrites) {
            let mut term = self.log.db.changes();
            let mixed = faulty::new_term_old_candidate(vote, self.log.vote.lock().as_ref());
            term.put(self.log.meta(), VOTE_KEY, vote_to_proto(&mixed).encode_to_vec());
            self.write(term)?;
            self.log.io.sync().await?;
        }
        let mut batch = self.log.db.changes();
        batch.put(self.log.meta(), VOTE_KEY, vote_to_proto(vote).encode_to_vec());
        hit(Point::VoteSave);
        self.write(batch)?;
        hit(Point::VoteWritten);
        if !planted::is(Bug::VoteUnsynced) && !planted::is(Bug::VoteInTwoWrites) {
            self.log.io.sync().await?;
        }
        hit(Point::VoteSynced);
        *self.log.vote.lock() = Some(*vote);
        Ok(())
    }

    /// Not synced: it only spares a restarted node from serving a state older than before, and the next append's
    /// sync covers it.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.log.io.check()?;
        let mut batch = self.log.db.changes();
        match &committed {
            Some(id) => batch.put(self.log.meta(), COMMITTED_KEY, log_id_to_proto(id).encode_to_vec()),
            None => batch.delete(self.log.meta(), COMMITTED_KEY),
        }
        hit(Point::CommittedSave);
        self.write(batch)?;
        hit(Point::CommittedWritten);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(read_meta::<log::LogId>(&self.log.db, COMMITTED_KEY)?.map(|id| log_id_from_proto(&id)))
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (count, end) = self.append_unsynced(entries)?;
        self.log.io.append(count, end, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.truncate_unsynced(last_log_id)?;
        self.log.io.sync().await?;
        // All that was written before is synced by now, and nothing was written since.
        self.log.io.synced().cut(self.log.held.lock().extent.end());
        hit(Point::TruncateSynced);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.purge_unsynced(log_id)?;
        self.log.io.sync().await?;
        hit(Point::PurgeSynced);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use openraft::storage::RaftStateMachine as _;
    use openraft::type_config::TypeConfigExt as _;
    use openraft::vote::RaftLeaderId as _;
    use rocksdb::Cache;

    use super::*;
    use crate::store::{Opened, Options, Store};
    use crate::types::EntryPayload;

    fn open_with(indexes: &[u64], purged: Option<u64>) -> Result<LogStore, StorageError> {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::Rocks(rocks::open_log(directory.path(), &Cache::new_lru_cache(1 << 20), true)?);
        let mut batch = db.changes();
        let id = |index| LogId::new(LeaderId::new(1, 1), index);
        for index in indexes {
            let entry = Entry { log_id: id(*index), payload: EntryPayload::Blank };
            batch.put(entries_family(&db), index.to_be_bytes(), encode_entry(&entry));
        }
        if let Some(purged) = purged {
            batch.put(meta_family(&db), PURGED_KEY, log_id_to_proto(&id(purged)).encode_to_vec());
        }
        db.write(batch)?;
        LogStore::open(Arc::new(db), Arc::new(DirectoryLock::take(directory.path())?))
    }

    /// A power cut between a node's applying what others had committed and its own sync left a state that was ahead of its log.
    #[tokio::test]
    async fn nothing_is_applied_before_it_is_on_this_disk() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { block_cache_bytes: 1 << 20 };
        let Opened { log, mut state_machine, .. } = Store::open(directory.path(), &options).unwrap();
        let entry = || Entry { log_id: LogId::new(LeaderId::new(1, 1), 0), payload: EntryPayload::Blank };
        let committed = || stream::iter([Ok((entry(), None))]);
        let (count, end) = log.append_unsynced([entry()]).unwrap();
        assert!(state_machine.apply(committed()).now_or_never().is_none());
        assert_eq!(state_machine.applied_state().await.unwrap().0, None);
        let (done, synced) = TypeConfig::oneshot();
        log.log.io.append(count, end, IOFlushed::signal(done));
        synced.await.unwrap().unwrap();
        state_machine.apply(committed()).await.unwrap();
        assert_eq!(state_machine.applied_state().await.unwrap().0, Some(entry().log_id));
    }

    #[test]
    fn a_log_with_a_hole_is_refused() {
        assert!(open_with(&[], None).is_ok());
        assert!(open_with(&[0, 1, 2], None).is_ok());
        assert!(open_with(&[4, 5], Some(3)).is_ok());
        for (indexes, purged) in
            [(&[0, 1, 3][..], None), (&[1, 2], None), (&[5, 6], Some(3)), (&[3], Some(3))]
        {
            assert!(matches!(open_with(indexes, purged), Err(StorageError::Damaged(_))), "{indexes:?}");
        }
    }

    /// What is purged while a follower is being sent entries must not leave a hole in what it is sent.
    #[tokio::test]
    async fn what_is_to_be_sent_begins_where_it_was_asked_for_or_is_nothing() {
        let mut log = open_with(&[4, 5, 6], Some(3)).unwrap();
        let mut reader = log.get_log_reader().await;
        let mut indexes = async |start, end| {
            let entries = reader.limited_get_log_entries(start, end).await.unwrap();
            entries.iter().map(|entry| entry.log_id.index()).collect::<Vec<_>>()
        };
        assert_eq!(indexes(4, 7).await, [4, 5, 6]);
        assert_eq!(indexes(5, 6).await, [5]);
        assert!(indexes(3, 7).await.is_empty() && indexes(0, 7).await.is_empty());
    }

    #[test]
    fn an_entry_of_an_unknown_format_is_refused() {
        let entry = Entry { log_id: LogId::new(LeaderId::new(1, 2), 3), payload: EntryPayload::Blank };
        let mut bytes = encode_entry(&entry);
        // The version byte, then protobuf: this is what is on disks.
        assert_eq!(bytes, [1, 10, 6, 8, 1, 16, 2, 24, 3, 16, 1]);
        assert!(decode_entry(&bytes).unwrap() == entry);
        let txn = log::Txn { proposer: 1, number: 2, ..log::Txn::default() };
        let payload = EntryPayload::Normal(log::Batch { time_ms: 9, txns: vec![txn] }.into());
        let batch = encode_entry(&Entry { log_id: entry.log_id, payload });
        assert_eq!(batch, [1, 10, 6, 8, 1, 16, 2, 24, 3, 26, 8, 8, 9, 18, 4, 24, 1, 32, 2]);
        bytes[0] = 2;
        assert!(matches!(decode_entry(&bytes), Err(StorageError::Damaged(_))));
        assert!(matches!(decode_entry(&[]), Err(StorageError::Damaged(_))));
    }
}
