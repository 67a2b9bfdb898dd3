//! What the storage tests share: a store in a temporary folder, and short ways to write to it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

use conclave_proto::log::{self, Txn};
use conclave_storage::record::StoredRecord;
use conclave_storage::types::{Batch, Entry, EntryPayload, LeaderId, LogId, Membership, Node, Vote};
use conclave_storage::{Opened, Options, StateMachine, StateReader, StorageError, Store};
use futures::stream;
use openraft::RaftLogReader as _;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::vote::RaftLeaderId as _;

pub fn open(directory: &Path) -> Opened {
    try_open(directory).unwrap_or_else(|error| panic!("{error}"))
}

pub fn try_open(directory: &Path) -> Result<Opened, StorageError> {
    Store::open(directory, &Options::default())
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, 1), index)
}

pub fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId::new(term, 1), committed: true }
}

pub fn blank(index: u64) -> Entry {
    Entry { log_id: log_id(1, index), payload: EntryPayload::Blank }
}

pub fn batch(index: u64, time_ms: u64, txns: Vec<Txn>) -> Entry {
    Entry {
        log_id: log_id(1, index),
        payload: EntryPayload::Normal(Batch::from(log::Batch { time_ms, txns })),
    }
}

pub fn members(index: u64, voters: &[u64]) -> Entry {
    let nodes = voters.iter().map(|id| (*id, Node { name: format!("n{id}"), ..Node::default() }));
    let nodes: std::collections::BTreeMap<u64, Node> = nodes.collect();
    let membership = Membership::new(vec![voters.iter().copied().collect()], nodes).unwrap();
    Entry { log_id: log_id(1, index), payload: EntryPayload::Membership(membership) }
}

pub fn put(key: impl Into<bytes::Bytes>, value: impl Into<bytes::Bytes>) -> Txn {
    put_until(key, value, 0)
}

pub fn put_until(key: impl Into<bytes::Bytes>, value: impl Into<bytes::Bytes>, expires_at_ms: u64) -> Txn {
    let mut txn = Txn::default();
    txn.put_until(key, value, expires_at_ms);
    txn
}

/// Applies the entries as one stream, as Raft does on a follower.
pub async fn apply(state_machine: &mut StateMachine, entries: Vec<Entry>) {
    let entries = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
    state_machine.apply(entries).await.unwrap();
}

/// Appends and waits until it is on disk.
pub async fn append(log: &mut impl RaftLogStorage<conclave_storage::types::TypeConfig>, entries: Vec<Entry>) {
    log.blocking_append(entries).await.unwrap();
}

pub async fn indexes(log: &mut conclave_storage::LogStore) -> Vec<u64> {
    let entries = log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index()).collect()
}

pub fn get(reader: &StateReader, key: &str) -> Option<StoredRecord> {
    reader.view(|view| view.get(key.as_bytes())).unwrap()
}

/// All records that a reader can see.
pub fn export(reader: &StateReader) -> Vec<(Vec<u8>, StoredRecord)> {
    let mut records = Vec::new();
    let count = reader.view(|view| {
        view.export::<StorageError>(|key, record| {
            records.push((key.to_vec(), record.clone()));
            Ok(())
        })
    });
    assert_eq!(count.unwrap(), records.len() as u64);
    records
}

/// Copies a folder with all that is in it, as another process would find it now.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
