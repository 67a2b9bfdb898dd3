//! RocksDB against the reference model: random transactions, any chunking, restarts, snapshots.

use bytes::Bytes;
use conclave_proto::counted;
use conclave_proto::log::{self, Txn};
use futures::stream;
use openraft::storage::{
    RaftLogStorage as _, RaftLogStorageExt as _, RaftSnapshotBuilder as _, RaftStateMachine as _,
};
use openraft::vote::RaftLeaderId as _;
use proptest::collection::vec;
use proptest::prelude::*;
use rocksdb::{Cache, ReadOptions};

use crate::apply::apply;
use crate::chunk::{Chunk, ExpiryFloor};
use crate::db::Backing;
use crate::model::MapKeyspace;
use crate::reader::StateReader;
use crate::record::StoredRecord;
use crate::state::{Progress, StateDb};
use crate::store::{Opened, Options, Store};
use crate::types::{Batch, Entry, EntryPayload, LeaderId, LogId, Response};
use crate::{SnapshotData, SnapshotInbox, StateMachine, StorageError};

const KEYS: u8 = 10;
/// From this one on they are counted.
const COUNTED_FROM: u8 = 6;
const TIME_MS_MAX: u64 = 60;

/// What a transaction demands and does, before it is known which revisions stand.
#[derive(Debug, Clone)]
enum Op {
    RequireCurrent(u8),
    RequireAbsent(u8),
    RequireRevision(u8, u64),
    Put(u8, Vec<u8>),
    PutUntil(u8, Vec<u8>, u64),
    Delete(u8),
    Limit(u8, u64),
}

#[derive(Debug, Clone)]
struct BatchOps {
    time_ms: u64,
    txns: Vec<Vec<Op>>,
}

fn ops() -> impl Strategy<Value = Op> {
    let key = || 0..KEYS;
    let value = || vec(any::<u8>(), 0..12);
    prop_oneof![
        2 => key().prop_map(Op::RequireCurrent),
        1 => key().prop_map(Op::RequireAbsent),
        1 => (key(), 0..20_u64).prop_map(|(key, revision)| Op::RequireRevision(key, revision)),
        3 => (key(), value()).prop_map(|(key, value)| Op::Put(key, value)),
        3 => (key(), value(), 1..TIME_MS_MAX).prop_map(|(key, value, time)| Op::PutUntil(key, value, time)),
        1 => key().prop_map(Op::Delete),
        1 => (0..3_u8, 1..4_u64).prop_map(|(level, fewer_than)| Op::Limit(level, fewer_than)),
    ]
}

fn batches(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<BatchOps>> {
    let batch = (0..TIME_MS_MAX, vec(vec(ops(), 0..5), 0..4));
    vec(batch.prop_map(|(time_ms, txns)| BatchOps { time_ms, txns }), count)
}

/// Turns random operations into entries, applying each to the model on the way.
#[derive(Default)]
struct Generator {
    model: MapKeyspace,
    index: u64,
}

impl Generator {
    fn entry(&mut self, batch: BatchOps) -> (Entry, Response) {
        self.index += 1;
        let txns = batch.txns.into_iter().map(|ops| self.txn(ops)).collect();
        let batch = Batch::from(log::Batch { time_ms: batch.time_ms, txns });
        let Ok(response) = apply(&mut self.model, self.index, &batch);
        let log_id = LogId::new(LeaderId::new(1, 1), self.index);
        (Entry { log_id, payload: EntryPayload::Normal(batch) }, response)
    }

    fn txn(&self, ops: Vec<Op>) -> Txn {
        let mut txn = Txn::default();
        for op in ops {
            match op {
                Op::RequireCurrent(key) => {
                    let revision = self.model.live(&name(key)).map_or(0, |record| record.revision);
                    txn.require(name(key), revision);
                }
                Op::RequireAbsent(key) => txn.require(name(key), 0),
                Op::RequireRevision(key, revision) => txn.require(name(key), revision),
                Op::Put(key, value) => txn.put(name(key), value),
                Op::PutUntil(key, value, time_ms) => txn.put_until(name(key), value, time_ms),
                Op::Delete(key) => txn.delete(name(key)),
                Op::Limit(level, fewer_than) => {
                    let prefix = &name(COUNTED_FROM)[..1 + 16 * usize::from(level)];
                    txn.limit(counted::count_key(prefix).expect("it is counted"), fewer_than);
                }
            }
        }
        txn
    }

    fn stored(&self) -> Vec<(Vec<u8>, StoredRecord)> {
        self.model.records().map(|(key, record)| (key.to_vec(), record)).collect()
    }

    fn live(&self) -> Vec<(Vec<u8>, StoredRecord)> {
        let time_ms = self.model.time_ms();
        self.stored().into_iter().filter(|(_, record)| record.is_live_at(time_ms)).collect()
    }
}

/// Keys of different lengths, one a prefix of another; then those of records that are counted.
fn name(key: u8) -> Bytes {
    if key >= COUNTED_FROM {
        let segments = [[1 + key % 2; 16], [2; 16], [key; 16]].concat();
        return [&[0x7c], &segments[..]].concat().into();
    }
    Bytes::from(vec![b'k'; usize::from(key) + 1])
}

struct Replica {
    _directory: tempfile::TempDir,
    state: StateDb,
    progress: Progress,
    floor: ExpiryFloor,
}

impl Replica {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let backing = Backing::Rocks(Cache::new_lru_cache(1 << 20));
        let state = StateDb::open(directory.path().join("state"), &backing, true).unwrap();
        Self { _directory: directory, state, progress: Progress::default(), floor: ExpiryFloor::default() }
    }

    fn apply(&mut self, entries: &[Entry]) -> Vec<Response> {
        let mut chunk = Chunk::new(&self.state, self.progress, self.floor, true);
        let responses = entries.iter().map(|entry| chunk.apply(entry.clone()).unwrap()).collect();
        let applied = chunk.commit().unwrap();
        self.progress = applied.progress;
        self.floor = applied.floor;
        responses
    }

    /// Every byte that is stored, family by family.
    fn bytes(&self) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
        let families = [self.state.records(), self.state.expiry(), self.state.meta()];
        let content = |family| {
            let mut stored = self.state.db().iterate(family, ReadOptions::default());
            let mut content = Vec::new();
            stored.seek_to_first();
            while let Some((key, value)) = stored.item() {
                content.push((key.to_vec(), value.to_vec()));
                stored.next();
            }
            stored.status().unwrap();
            content
        };
        families.into_iter().map(content).collect()
    }

    fn records(&self) -> Vec<(Vec<u8>, StoredRecord)> {
        let decode = |(key, value): &(Vec<u8>, Vec<u8>)| (key.clone(), StoredRecord::decode(value).unwrap());
        self.bytes()[0].iter().map(decode).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_entries_give_the_same_bytes_however_they_are_chunked(
        batches in batches(1..30),
        sizes in vec(1..8_usize, 30),
    ) {
        let mut generator = Generator::default();
        let (entries, expected): (Vec<Entry>, Vec<Response>) =
            batches.into_iter().map(|batch| generator.entry(batch)).unzip();

        let mut one_by_one = Replica::new();
        let mut chunked = Replica::new();
        for (entry, expected) in entries.iter().zip(&expected) {
            prop_assert_eq!(&one_by_one.apply(std::slice::from_ref(entry)), std::slice::from_ref(expected));
        }
        let mut rest = entries.as_slice();
        let mut responses = Vec::new();
        for size in sizes {
            let (chunk, later) = rest.split_at(size.min(rest.len()));
            responses.extend(chunked.apply(chunk));
            rest = later;
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(responses, expected);
        prop_assert!(one_by_one.bytes() == chunked.bytes());
        prop_assert!(one_by_one.records() == generator.stored());
        prop_assert_eq!(one_by_one.progress.summary.hash, generator.model.hash());
        prop_assert_eq!(one_by_one.progress.summary.time_ms, generator.model.time_ms());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<BatchOps>),
    Restart,
    /// A node that joins gets a snapshot and goes on from there.
    MoveToNewNode,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => batches(1..6).prop_map(Step::Apply),
        1 => Just(Step::Restart),
        1 => Just(Step::MoveToNewNode),
    ];
    vec(step, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_store_holds_what_the_model_holds_through_restarts_and_snapshots(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directories = tempfile::tempdir().unwrap();
        let mut node = 0;
        let path = |node: u32| directories.path().join(node.to_string());
        let open = |node| Store::open(&path(node), &Options::default()).unwrap();
        let mut generator = Generator::default();
        let mut opened = open(node);
        for step in steps {
            match step {
                Step::Apply(batches) => {
                    let entries = batches.into_iter().map(|batch| generator.entry(batch).0).collect();
                    runtime.block_on(append_and_apply(&mut opened, entries));
                }
                Step::Restart => {
                    drop(opened);
                    opened = open(node);
                }
                Step::MoveToNewNode => {
                    let snapshot = runtime.block_on(build(&mut opened.state_machine));
                    node += 1;
                    opened = open(node);
                    let received = transfer(&snapshot, &opened.inbox);
                    runtime.block_on(install(&mut opened, received));
                }
            }
            check(&opened.reader, &generator)?;
        }
    }
}

/// As on a node that runs: voted for, logged, applied.
async fn append_and_apply(opened: &mut Opened, entries: Vec<Entry>) {
    save_a_vote(opened).await;
    if opened.log.last().is_none() {
        // The first entry of a cluster is its membership.
        let first = Entry { log_id: LogId::new(LeaderId::new(1, 1), 0), payload: EntryPayload::Blank };
        opened.log.blocking_append([first]).await.unwrap();
    }
    opened.log.blocking_append(entries.clone()).await.unwrap();
    let entries = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
    opened.state_machine.apply(entries).await.unwrap();
}

async fn install(opened: &mut Opened, received: SnapshotData) {
    let meta = received.meta().clone();
    save_a_vote(opened).await;
    opened.state_machine.install_snapshot(&meta, received).await.unwrap();
    if let Some(last) = meta.last_log_id {
        opened.log.purge(last).await.unwrap();
    }
}

async fn save_a_vote(opened: &mut Opened) {
    let vote = crate::types::Vote { leader_id: LeaderId::new(1, 1), committed: true };
    opened.log.save_vote(&vote).await.unwrap();
}

async fn build(state_machine: &mut StateMachine) -> SnapshotData {
    let mut builder = state_machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap().snapshot
}

/// As the network does it.
fn transfer(snapshot: &SnapshotData, inbox: &SnapshotInbox) -> SnapshotData {
    let meta = crate::convert::snapshot_meta_to_proto(snapshot.meta(), snapshot.id());
    let mut writer = inbox.begin(meta, snapshot.files().to_vec()).unwrap();
    for chunk in snapshot.chunks(1000) {
        let chunk = chunk.unwrap();
        writer.write(chunk.file, chunk.offset, &chunk.data).unwrap();
    }
    writer.finish().unwrap()
}

fn check(reader: &StateReader, generator: &Generator) -> Result<(), TestCaseError> {
    let mut exported = Vec::new();
    let mut scanned = Vec::new();
    let view = reader.view(|view| {
        view.export::<StorageError>(|key, record| {
            exported.push((key.to_vec(), record.clone()));
            Ok(())
        })?;
        let mut cursor = view.cursor();
        let mut from = Vec::new();
        while let Some((key, record)) = cursor.seek(&from)? {
            from = [key.as_slice(), &[0]].concat();
            scanned.push((key, record));
        }
        for key in 0..KEYS {
            assert!(view.get(&name(key))? == generator.model.live(&name(key)));
            // From RocksDB or from memory, whatever was read before.
            assert!(reader.glance(|view| view.get(&name(key)))? == generator.model.live(&name(key)));
        }
        Ok::<_, StorageError>((view.progress()?.index(), view.time_ms(), view.state_hash()?.hash))
    });
    let time_ms = generator.model.time_ms();
    prop_assert_eq!(view.unwrap(), (generator.index, time_ms, generator.model.hash().digest(time_ms)));
    prop_assert!(exported == generator.live());
    prop_assert!(scanned == exported);
    prop_assert_eq!(reader.applied_index(), generator.index);
    let scrubbed = reader.scrub().unwrap();
    prop_assert_eq!(scrubbed.records, generator.stored().len() as u64);
    Ok(())
}
