//! The one thread that makes the log durable: group commit.
//!
//! Writers put their batch into RocksDB unsynced and queue here. The thread takes all who wait, syncs the
//! write-ahead log once, and tells them all; while it does, the next group gathers. Everything that must be on
//! disk (entries, votes, truncations, purges) passes through it in order. After one failed sync it never syncs
//! again: the kernel may have dropped the pages, and a later success would be a lie.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::db::Db;
use crate::disk::Instance;
use crate::error::StorageError;
use crate::synced::Synced;
use crate::types::TypeConfig;

/// Writes that wait for a sync at most; more make the next writer wait.
const QUEUE_WRITES_MAX: usize = 8192;
const FSYNC_SECONDS: &str = "conclave_log_fsync_seconds";
const ENTRIES_PER_FSYNC: &str = "conclave_log_entries_per_fsync";

/// Somebody whose writes are in RocksDB but not yet on disk.
enum Waiting {
    /// `end`: behind the last entry.
    Append {
        entries: usize,
        end: u64,
        done: IOFlushed<TypeConfig>,
    },
    Write {
        done: oneshot::Sender<io::Result<()>>,
    },
}

pub struct LogIo {
    failure: Failure,
    synced: Synced,
    // Both options are taken only by drop: the thread ends when the queue is closed.
    queue: Option<Queue>,
    thread: Option<JoinHandle<()>>,
}

enum Queue {
    Thread(SyncSender<Waiting>),
    /// Of a given disk: the runtime waits for it.
    Task(mpsc::Sender<Waiting>),
}

impl LogIo {
    /// `end`: behind the log's last entry.
    pub fn start(db: Arc<Db>, end: u64) -> Result<Self, StorageError> {
        let failure = Failure::default();
        let seen = failure.clone();
        let synced = Synced::new(end);
        let reached = synced.clone();
        if let Db::Given(instance) = &*db {
            let (queue, waiting) = mpsc::channel(QUEUE_WRITES_MAX);
            tokio::spawn(run_given(Arc::clone(instance), waiting, seen, reached));
            return Ok(Self { failure, synced, queue: Some(Queue::Task(queue)), thread: None });
        }
        let (queue, waiting) = sync_channel(QUEUE_WRITES_MAX);
        let thread = thread::Builder::new()
            .name("log-io".to_owned())
            .spawn(move || run(&db, &waiting, &seen, &reached))
            .map_err(|source| StorageError::Io { what: "start the log thread".to_owned(), source })?;
        Ok(Self { failure, synced, queue: Some(Queue::Thread(queue)), thread: Some(thread) })
    }

    /// Why the log stopped, if it did.
    pub fn check(&self) -> io::Result<()> {
        self.failure.check()
    }

    /// Notes that the log must not be written any more.
    pub fn fail(&self, error: &dyn std::error::Error) -> io::Error {
        self.failure.set(error)
    }

    /// How far the log is on disk.
    pub fn synced(&self) -> &Synced {
        &self.synced
    }

    /// Calls `done` when what was written before, up to `end`, is on disk.
    pub fn append(&self, entries: usize, end: u64, done: IOFlushed<TypeConfig>) {
        if planted::is(Bug::AckBeforeFsync) {
            self.synced.reached(end);
            return done.io_completed(Ok(()));
        }
        if let Err(Waiting::Append { done, .. }) = self.send(Waiting::Append { entries, end, done }) {
            done.io_completed(Err(stopped()));
        }
    }

    /// Returns when what was written before is on disk.
    pub async fn sync(&self) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        if self.send(Waiting::Write { done }).is_err() {
            return Err(stopped());
        }
        synced.await.map_err(|_| stopped())?
    }

    fn send(&self, waiting: Waiting) -> Result<(), Waiting> {
        let queue = self.queue.as_ref().expect("the queue is taken only by drop");
        match queue {
            Queue::Thread(queue) => queue.send(waiting).map_err(|refused| refused.0),
            Queue::Task(queue) => queue.try_send(waiting).map_err(mpsc::error::TrySendError::into_inner),
        }
    }
}

impl Drop for LogIo {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            // Waits for the last sync, so that the database is free when this returns.
            let _ = thread.join();
        }
    }
}

fn run(db: &Db, waiting: &Receiver<Waiting>, failure: &Failure, synced: &Synced) {
    while let Ok(first) = waiting.recv() {
        let group: Vec<Waiting> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let result = sync(db, &group, failure);
        tell(group, result, synced);
    }
}

/// As [`run`], on a disk that is waited for without a thread.
async fn run_given(
    instance: Arc<dyn Instance>,
    mut waiting: mpsc::Receiver<Waiting>,
    failure: Failure,
    synced: Synced,
) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, QUEUE_WRITES_MAX).await > 0 {
        let result = match failure.check() {
            Ok(()) => instance.sync().await.map_err(|error| failure.set(&error)),
            Err(error) => Err(error),
        };
        tell(std::mem::take(&mut group), result.map_err(|error| error.to_string()), &synced);
    }
}

fn tell(group: Vec<Waiting>, result: Result<(), String>, synced: &Synced) {
    let end = group.iter().rev().find_map(|member| match member {
        Waiting::Append { end, .. } => Some(*end),
        Waiting::Write { .. } => None,
    });
    match (&result, end) {
        (Ok(()), Some(end)) => synced.reached(end),
        (Ok(()), None) => {}
        (Err(_), _) => synced.stop(),
    }
    for member in group {
        let result = result.as_ref().copied().map_err(|why| io::Error::other(why.clone()));
        match member {
            Waiting::Append { done, .. } => done.io_completed(result),
            // A caller that went away needs no answer.
            Waiting::Write { done } => drop(done.send(result)),
        }
    }
}

fn sync(db: &Db, group: &[Waiting], failure: &Failure) -> Result<(), String> {
    if planted::is(Bug::SyncErrorIgnored) {
        drop(db.sync());
        return Ok(());
    }
    failure.check().map_err(|error| error.to_string())?;
    let started = Instant::now();
    hit(Point::LogSync);
    db.sync().map_err(|error| failure.set(&error).to_string())?;
    hit(Point::LogSynced);
    metrics::histogram!(FSYNC_SECONDS).record(started.elapsed().as_secs_f64());
    let entries: usize = group
        .iter()
        .map(|member| match member {
            Waiting::Append { entries, .. } => *entries,
            Waiting::Write { .. } => 0,
        })
        .sum();
    if entries > 0 {
        metrics::histogram!(ENTRIES_PER_FSYNC).record(entries as f64);
    }
    Ok(())
}

fn stopped() -> io::Error {
    io::Error::other("the log thread has ended")
}

/// The first error of the log, for good.
#[derive(Clone, Default)]
struct Failure(Arc<OnceLock<String>>);

impl Failure {
    fn check(&self) -> io::Result<()> {
        self.0.get().map_or(Ok(()), |why| Err(StorageError::Stopped(why.clone()).into()))
    }

    fn set(&self, error: &dyn std::error::Error) -> io::Error {
        let why = self.0.get_or_init(|| {
            tracing::error!(%error, "the log cannot be written; this node stops");
            error.to_string()
        });
        StorageError::Stopped(why.clone()).into()
    }
}

#[cfg(test)]
mod tests {
    use openraft::type_config::TypeConfigExt as _;

    use super::*;

    #[tokio::test]
    async fn after_one_failure_nothing_is_reported_as_synced() {
        let directory = tempfile::tempdir().unwrap();
        let cache = rocksdb::Cache::new_lru_cache(1 << 20);
        let db = Db::Rocks(crate::rocks::open_log(directory.path(), &cache, true).unwrap());
        let io = LogIo::start(Arc::new(db), 0).unwrap();
        io.sync().await.unwrap();
        io.fail(&io::Error::other("no space left on device"));
        for _ in 0..2 {
            let error = io.sync().await.unwrap_err();
            assert!(error.to_string().contains("no space left on device"), "{error}");
        }
        let (done, synced) = TypeConfig::oneshot();
        io.append(1, 1, IOFlushed::signal(done));
        assert!(synced.await.unwrap().is_err());
        assert!(io.check().is_err());
    }
}
