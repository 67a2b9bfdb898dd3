//! A disk in memory that knows what of its content is synced, and loses the rest when the power fails.
//!
//! Each instance is its content, what of that is certain to be still there after a power cut, and the writes in between, in
//! order. A power cut leaves some of the writes from the oldest on, as a write-ahead log does. A process that only dies
//! loses nothing; but what its successor finds was not synced by that, so opening an instance syncs it, as RocksDB does.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conclave_storage::disk::{Change, Content, Disk, Instance};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::random::Dice;

/// In an instance's folder: which one it is.
const NAME_FILE: &str = "INSTANCE";
/// In a checkpoint: its content, under a name that is sent to other nodes.
const CONTENT_FILE: &str = "000001.sst";
/// Of a sync, in microseconds, and of the rare slow one.
const SYNC_US: (u64, u64) = (50, 3_000);
const SLOW_SYNC_US: (u64, u64) = (20_000, 400_000);
const SLOW_SYNCS_IN_THOUSAND: u64 = 5;

/// How a disk may betray, to prove that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// Syncs are answered without anything being synced, most of the time.
    LyingSync,
    /// The vote is written, and left unsynced.
    UnsyncedVote,
    /// A power cut takes the last record, synced or not.
    LostRecord,
}

/// A node's disk: it outlives the node's processes.
pub struct SimDisk {
    state: Mutex<State>,
    bug: Option<Bug>,
}

struct State {
    dice: Dice,
    instances: BTreeMap<u64, Stored>,
    next: u64,
    syncs: u64,
    lost_writes: u64,
}

#[derive(Default)]
struct Stored {
    content: Content,
    durable: Content,
    /// With their numbers, oldest first.
    unsynced: VecDeque<(u64, Vec<Change>)>,
    written: u64,
    is_log: bool,
}

impl Stored {
    fn sync_to(&mut self, number: u64) {
        while self.unsynced.front().is_some_and(|(at, _)| *at <= number) {
            if let Some((_, changes)) = self.unsynced.pop_front() {
                changes.into_iter().for_each(|change| self.durable.apply(change));
            }
        }
    }

    fn is_vote(changes: &[Change]) -> bool {
        matches!(changes, [Change::Put { key, .. }] if key == b"vote")
    }
}

impl SimDisk {
    pub fn new(dice: Dice, bug: Option<Bug>) -> Arc<Self> {
        let state = State { dice, instances: BTreeMap::new(), next: 1, syncs: 0, lost_writes: 0 };
        Arc::new(Self { state: Mutex::new(state), bug })
    }

    /// What Conclave's storage opens.
    pub fn handle(self: &Arc<Self>) -> Arc<dyn Disk> {
        Arc::new(Handle(Arc::clone(self)))
    }

    /// Takes what was not synced, or some of it. Nobody has the disk open.
    pub fn cut_power(&self) {
        let mut state = self.state.lock();
        let State { dice, instances, lost_writes, .. } = &mut *state;
        for stored in instances.values_mut() {
            let left = dice.range(0, stored.unsynced.len() as u64 + 1);
            let upto = left.checked_sub(1).map(|at| stored.unsynced[at as usize].0);
            if self.bug == Some(Bug::UnsyncedVote) {
                // Where nothing else needed a sync, the vote never got one.
                stored.unsynced.retain(|(number, changes)| {
                    upto.is_some_and(|upto| *number <= upto) && !Stored::is_vote(changes)
                });
            }
            if let Some(upto) = upto {
                stored.sync_to(upto);
            }
            *lost_writes += stored.unsynced.len() as u64;
            stored.unsynced.clear();
            if self.bug == Some(Bug::LostRecord) && stored.is_log {
                let last = stored.durable.rows("entries").keys().next_back().cloned();
                if let Some(key) = last {
                    stored.durable.apply(Change::Delete { family: "entries", key });
                }
            }
            stored.content = stored.durable.clone();
        }
    }

    /// The log's entries as a process that read them would find them, by index.
    pub fn log_entries(&self) -> Option<conclave_storage::disk::Rows> {
        let state = self.state.lock();
        state.instances.values().find(|stored| stored.is_log).map(|stored| stored.content.rows("entries"))
    }

    /// Syncs that were waited for, and writes that power cuts took.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.syncs, state.lost_writes)
    }
}

struct Handle(Arc<SimDisk>);

impl Disk for Handle {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Instance>> {
        let mut state = self.0.state.lock();
        let name_file = path.join(NAME_FILE);
        let name = match fs::read_to_string(&name_file) {
            Ok(text) => text.parse().map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let content = match fs::read(path.join(CONTENT_FILE)) {
                    Ok(bytes) => decode(&bytes)?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound && create => Content::default(),
                    Err(error) => return Err(error),
                };
                let name = state.next;
                state.next += 1;
                fs::create_dir_all(path)?;
                fs::write(&name_file, name.to_string())?;
                let is_log = path.ends_with("log");
                state.instances.insert(name, Stored { content, is_log, ..Stored::default() });
                name
            }
            Err(error) => return Err(error),
        };
        let stored = state.instances.get_mut(&name).ok_or(io::ErrorKind::NotFound)?;
        stored.durable = stored.content.clone();
        stored.unsynced.clear();
        Ok(Arc::new(Open { disk: Arc::clone(&self.0), name }))
    }
}

struct Open {
    disk: Arc<SimDisk>,
    name: u64,
}

impl Open {
    fn with<T>(&self, act: impl FnOnce(&mut Stored) -> T) -> T {
        let mut state = self.disk.state.lock();
        act(state.instances.get_mut(&self.name).expect("an open instance is kept"))
    }
}

impl Instance for Open {
    fn content(&self) -> Content {
        self.with(|stored| stored.content.clone())
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        self.with(|stored| {
            stored.written += 1;
            changes.iter().cloned().for_each(|change| stored.content.apply(change));
            stored.unsynced.push_back((stored.written, changes));
        });
        Ok(())
    }

    fn sync(&self) -> BoxFuture<'static, io::Result<()>> {
        let (disk, name) = (Arc::clone(&self.disk), self.name);
        let (upto, us, lies) = {
            let mut state = disk.state.lock();
            state.syncs += 1;
            let slow = state.dice.chance(SLOW_SYNCS_IN_THOUSAND);
            let (low, high) = if slow { SLOW_SYNC_US } else { SYNC_US };
            let us = state.dice.range(low, high);
            let drawn = state.dice.chance(900);
            let stored = &state.instances[&name];
            let only_votes = stored.unsynced.iter().all(|(_, changes)| Stored::is_vote(changes));
            let lies = match disk.bug {
                Some(Bug::LyingSync) => drawn,
                Some(Bug::UnsyncedVote) => only_votes,
                _ => false,
            };
            (stored.written, us, lies)
        };
        async move {
            tokio::time::sleep(Duration::from_micros(us)).await;
            if !lies && let Some(stored) = disk.state.lock().instances.get_mut(&name) {
                stored.sync_to(upto);
            }
            Ok(())
        }
        .boxed()
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|stored| {
            stored.unsynced.clear();
            stored.durable = stored.content.clone();
        });
        Ok(())
    }

    fn checkpoint(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(CONTENT_FILE), encode(&self.content()))
    }
}

/// Families, each with its name and its rows; every string with its length before it.
fn encode(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    let number = |bytes: &mut Vec<u8>, number: usize| bytes.extend((number as u64).to_be_bytes());
    let string = |bytes: &mut Vec<u8>, string: &[u8]| {
        number(bytes, string.len());
        bytes.extend(string);
    };
    for (name, rows) in &content.0 {
        string(&mut bytes, name.as_bytes());
        number(&mut bytes, rows.len());
        for (key, value) in &**rows {
            string(&mut bytes, key);
            string(&mut bytes, value);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> io::Result<Content> {
    fn number(bytes: &mut &[u8]) -> io::Result<usize> {
        let (number, rest) = bytes.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        *bytes = rest;
        usize::try_from(u64::from_be_bytes(*number)).map_err(io::Error::other)
    }
    fn string(bytes: &mut &[u8]) -> io::Result<Vec<u8>> {
        let length = number(bytes)?;
        let (string, rest) = bytes.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        *bytes = rest;
        Ok(string.to_vec())
    }
    let mut content = Content::default();
    while !bytes.is_empty() {
        let name = String::from_utf8(string(&mut bytes)?).map_err(io::Error::other)?;
        let count = number(&mut bytes)?;
        let rows = (0..count).map(|_| Ok((string(&mut bytes)?, string(&mut bytes)?)));
        let rows: BTreeMap<Vec<u8>, Vec<u8>> = rows.collect::<io::Result<_>>()?;
        content.0.insert(name, Arc::new(rows));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Vec<Change> {
        vec![Change::Put { family: "entries", key: key.into(), value: vec![1] }]
    }

    fn keys(instance: &Arc<dyn Instance>) -> usize {
        instance.content().rows("entries").len()
    }

    #[test]
    fn a_power_cut_leaves_what_was_synced_and_a_beginning_of_the_rest() {
        let mut left = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let folder = tempfile::tempdir().unwrap();
            let disk = SimDisk::new(Dice::new(seed), None);
            let instance = disk.handle().open(folder.path(), true).unwrap();
            instance.write(put("a")).unwrap();
            instance.flush().unwrap();
            for key in ["b", "c"] {
                instance.write(put(key)).unwrap();
            }
            assert_eq!(keys(&instance), 3);
            disk.cut_power();
            let instance = disk.handle().open(folder.path(), false).unwrap();
            left.insert(instance.content().rows("entries").keys().cloned().collect::<Vec<_>>());
        }
        let expected: [&[&str]; 3] = [&["a"], &["a", "b"], &["a", "b", "c"]];
        let expected = expected.map(|keys| keys.iter().map(|key| key.as_bytes().to_vec()).collect());
        assert_eq!(left, expected.into());
    }

    #[test]
    fn a_checkpoint_opens_as_an_instance_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(Dice::new(1), None);
        let instance = disk.handle().open(&folder.path().join("a"), true).unwrap();
        instance.write(put("a")).unwrap();
        instance.checkpoint(&folder.path().join("b")).unwrap();
        instance.write(put("b")).unwrap();
        let copy = disk.handle().open(&folder.path().join("b"), false).unwrap();
        assert_eq!((keys(&copy), keys(&instance)), (1, 2));
        assert!(disk.handle().open(&folder.path().join("c"), false).is_err());
    }
}
