//! One instance that log or state is kept in: RocksDB, or a given one ([`crate::disk`]). What is called for each entry
//! costs one comparison more than RocksDB itself.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Deref};
use std::path::Path;
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{Cache, ColumnFamily, DB, DBPinnableSlice, DBRawIterator, ReadOptions, Snapshot, WriteBatch};

use crate::disk::{Change, Content, Disk, Instance};
use crate::error::StorageError;
use crate::rocks;

/// Checkpoints are taken between two entries, so they must not wait for a memtable to be written: RocksDB then
/// puts its write-ahead log into the checkpoint instead.
const NEVER_FLUSH: u64 = u64::MAX;

/// What instances are opened on.
#[derive(Clone)]
pub enum Backing {
    /// RocksDB, with this cache for all instances.
    Rocks(Cache),
    Given(Arc<dyn Disk>),
}

impl Backing {
    pub fn open_log(&self, path: &Path, create: bool) -> Result<Db, StorageError> {
        match self {
            Self::Rocks(cache) => rocks::open_log(path, cache, create).map(Db::Rocks),
            Self::Given(disk) => open_given(&**disk, path, create),
        }
    }

    pub fn open_state(&self, path: &Path, create: bool) -> Result<Db, StorageError> {
        match self {
            Self::Rocks(cache) => rocks::open_state(path, cache, create).map(Db::Rocks),
            Self::Given(disk) => open_given(&**disk, path, create),
        }
    }
}

fn open_given(disk: &dyn Disk, path: &Path, create: bool) -> Result<Db, StorageError> {
    disk.open(path, create).map(Db::Given).map_err(StorageError::io("open", path))
}

fn given(source: io::Error) -> StorageError {
    StorageError::Io { what: "use the given disk".to_owned(), source }
}

pub enum Db {
    Rocks(DB),
    Given(Arc<dyn Instance>),
}

/// A family of an open instance.
#[derive(Clone, Copy)]
pub enum Family<'a> {
    Rocks(&'a ColumnFamily),
    Given(&'static str),
}

impl Family<'_> {
    fn rocks(&self) -> &ColumnFamily {
        match self {
            Self::Rocks(family) => family,
            Self::Given(_) => unreachable!("a family is used with its own instance"),
        }
    }

    fn given(&self) -> &'static str {
        match self {
            Self::Given(name) => name,
            Self::Rocks(_) => unreachable!("a family is used with its own instance"),
        }
    }
}

/// Changes that are made together.
pub enum Changes {
    Rocks(WriteBatch),
    Given(Vec<Change>),
}

impl Changes {
    pub fn put(&mut self, family: Family<'_>, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        match self {
            Self::Rocks(batch) => batch.put_cf(family.rocks(), key, value),
            Self::Given(changes) => {
                let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
                changes.push(Change::Put { family: family.given(), key, value });
            }
        }
    }

    pub fn delete(&mut self, family: Family<'_>, key: impl AsRef<[u8]>) {
        match self {
            Self::Rocks(batch) => batch.delete_cf(family.rocks(), key),
            Self::Given(changes) => {
                changes.push(Change::Delete { family: family.given(), key: key.as_ref().to_vec() });
            }
        }
    }

    /// From the first key on, up to before the other.
    pub fn delete_range(&mut self, family: Family<'_>, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        match self {
            Self::Rocks(batch) => batch.delete_range_cf(family.rocks(), from.as_ref(), to.as_ref()),
            Self::Given(changes) => {
                let (from, to) = (from.as_ref().to_vec(), to.as_ref().to_vec());
                changes.push(Change::DeleteRange { family: family.given(), from, to });
            }
        }
    }
}

/// A value as it was found.
pub enum Value<'a> {
    Rocks(DBPinnableSlice<'a>),
    Given(Vec<u8>),
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Rocks(value) => value,
            Self::Given(value) => value,
        }
    }
}

impl Db {
    /// # Panics
    /// The instance has no such family: it was opened with all of its.
    pub fn family(&self, name: &'static str) -> Family<'_> {
        match self {
            Self::Rocks(db) => {
                let family = db.cf_handle(name);
                Family::Rocks(family.expect("the instance was opened with all of its column families"))
            }
            Self::Given(_) => Family::Given(name),
        }
    }

    pub fn changes(&self) -> Changes {
        match self {
            Self::Rocks(_) => Changes::Rocks(WriteBatch::default()),
            Self::Given(_) => Changes::Given(Vec::new()),
        }
    }

    /// Without waiting for the disk.
    pub fn write(&self, changes: Changes) -> Result<(), StorageError> {
        match (self, changes) {
            (Self::Rocks(db), Changes::Rocks(batch)) => Ok(db.write(batch)?),
            (Self::Given(instance), Changes::Given(changes)) => instance.write(changes).map_err(given),
            _ => unreachable!("changes are written to the instance they were made for"),
        }
    }

    pub fn get(&self, family: Family<'_>, key: &[u8]) -> Result<Option<Value<'_>>, StorageError> {
        match self {
            Self::Rocks(db) => Ok(db.get_pinned_cf(family.rocks(), key)?.map(Value::Rocks)),
            Self::Given(instance) => Ok(found(&instance.content(), family, key).map(Value::Given)),
        }
    }

    pub fn read_owned(&self, family: Family<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self {
            Self::Rocks(db) => Ok(db.get_cf(family.rocks(), key)?),
            Self::Given(instance) => Ok(found(&instance.content(), family, key)),
        }
    }

    pub fn iterate(&self, family: Family<'_>, options: ReadOptions) -> Rows<'_> {
        match self {
            Self::Rocks(db) => Rows::Rocks(db.raw_iterator_cf_opt(family.rocks(), options)),
            Self::Given(instance) => Rows::given(&instance.content(), family),
        }
    }

    /// What it holds at this moment, for as long as it is looked at.
    pub fn moment(&self) -> Moment<'_> {
        match self {
            Self::Rocks(db) => Moment::Rocks(db.snapshot()),
            Self::Given(instance) => Moment::Given(instance.content()),
        }
    }

    /// Makes what was written durable, by the write-ahead log. For a given instance use its own [`Instance::sync`].
    pub fn sync(&self) -> Result<(), StorageError> {
        match self {
            Self::Rocks(db) => Ok(db.flush_wal(true)?),
            Self::Given(instance) => instance.flush().map_err(given),
        }
    }

    /// Writes all memtables to disk and waits for it.
    pub fn flush(&self, families: &[Family<'_>]) -> Result<(), StorageError> {
        match self {
            Self::Rocks(db) => {
                let families: Vec<&ColumnFamily> = families.iter().map(Family::rocks).collect();
                Ok(db.flush_cfs_opt(&families, &rocksdb::FlushOptions::default())?)
            }
            Self::Given(instance) => instance.flush().map_err(given),
        }
    }

    pub fn checkpoint(&self, folder: &Path) -> Result<(), StorageError> {
        match self {
            Self::Rocks(db) => Ok(Checkpoint::new(db)?.create_checkpoint_with_log_size(folder, NEVER_FLUSH)?),
            Self::Given(instance) => {
                instance.checkpoint(folder).map_err(StorageError::io("make a checkpoint in", folder))
            }
        }
    }

    /// One of RocksDB's figures; 0 for what it does not know.
    pub fn property(&self, family: Family<'_>, name: &str) -> u64 {
        match self {
            Self::Rocks(db) => {
                db.property_int_value_cf(family.rocks(), name).ok().flatten().unwrap_or_default()
            }
            Self::Given(_) => 0,
        }
    }
}

fn found(content: &Content, family: Family<'_>, key: &[u8]) -> Option<Vec<u8>> {
    content.rows(family.given()).get(key).cloned()
}

/// An instance as it was at one moment.
pub enum Moment<'a> {
    Rocks(Snapshot<'a>),
    Given(Content),
}

impl Moment<'_> {
    pub fn read_owned(&self, family: Family<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self {
            Self::Rocks(moment) => Ok(moment.get_cf(family.rocks(), key)?),
            Self::Given(content) => Ok(found(content, family, key)),
        }
    }

    pub fn iterate(&self, family: Family<'_>, options: ReadOptions) -> Rows<'_> {
        match self {
            Self::Rocks(moment) => Rows::Rocks(moment.raw_iterator_cf_opt(family.rocks(), options)),
            Self::Given(content) => Rows::given(content, family),
        }
    }
}

/// Moves over a family in key order. Stands nowhere until it is told where to.
pub enum Rows<'a> {
    Rocks(DBRawIterator<'a>),
    Given { rows: Arc<BTreeMap<Vec<u8>, Vec<u8>>>, at: Option<Vec<u8>> },
}

impl Rows<'_> {
    fn given(content: &Content, family: Family<'_>) -> Self {
        Self::Given { rows: content.rows(family.given()), at: None }
    }

    pub fn seek(&mut self, key: impl AsRef<[u8]>) {
        match self {
            Self::Rocks(rows) => rows.seek(key),
            Self::Given { rows, at } => *at = first_from(rows, Bound::Included(key.as_ref())),
        }
    }

    pub fn seek_to_first(&mut self) {
        match self {
            Self::Rocks(rows) => rows.seek_to_first(),
            Self::Given { rows, at } => *at = rows.keys().next().cloned(),
        }
    }

    pub fn seek_to_last(&mut self) {
        match self {
            Self::Rocks(rows) => rows.seek_to_last(),
            Self::Given { rows, at } => *at = rows.keys().next_back().cloned(),
        }
    }

    pub fn next(&mut self) {
        match self {
            Self::Rocks(rows) => rows.next(),
            Self::Given { rows, at } => {
                *at = at.take().and_then(|key| first_from(rows, Bound::Excluded(&key)));
            }
        }
    }

    pub fn prev(&mut self) {
        match self {
            Self::Rocks(rows) => rows.prev(),
            Self::Given { rows, at } => {
                let before = |key: Vec<u8>| rows.range(..key).next_back().map(|(key, _)| key.clone());
                *at = at.take().and_then(before);
            }
        }
    }

    pub fn valid(&self) -> bool {
        match self {
            Self::Rocks(rows) => rows.valid(),
            Self::Given { at, .. } => at.is_some(),
        }
    }

    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Rocks(rows) => rows.key(),
            Self::Given { at, .. } => at.as_deref(),
        }
    }

    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Rocks(rows) => rows.value(),
            Self::Given { rows, at } => rows.get(at.as_deref()?).map(Vec::as_slice),
        }
    }

    pub fn item(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Rocks(rows) => rows.item(),
            Self::Given { .. } => self.key().zip(self.value()),
        }
    }

    /// Why it stopped, if that was not the end.
    pub fn status(&self) -> Result<(), StorageError> {
        match self {
            Self::Rocks(rows) => Ok(rows.status()?),
            Self::Given { .. } => Ok(()),
        }
    }
}

fn first_from(rows: &BTreeMap<Vec<u8>, Vec<u8>>, from: Bound<&[u8]>) -> Option<Vec<u8>> {
    rows.range::<[u8], _>((from, Bound::Unbounded)).next().map(|(key, _)| key.clone())
}
