//! What this crate's tests share: a state in memory that applies transactions as every replica does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;

use conclave_proto::counted;
use conclave_proto::log::Txn;

use super::{Cursor, Record, View, ViewError};

/// All records, by key.
#[derive(Default, Clone)]
pub(crate) struct MemoryView {
    records: BTreeMap<Vec<u8>, Record>,
    revision: u64,
}

impl MemoryView {
    /// As `storage::apply` does: all of it, or nothing. Tells which precondition does not hold.
    pub(crate) fn apply(&mut self, txn: &Txn) -> Result<(), usize> {
        let revision_of = |key: &[u8]| self.records.get(key).map_or(0, |record| record.revision);
        let failed =
            txn.preconditions.iter().position(|required| revision_of(&required.key) != required.revision);
        if let Some(failed) = failed {
            return Err(failed);
        }
        let exceeded = txn.limits.iter().position(|limit| self.count(&limit.count_key) >= limit.fewer_than);
        if let Some(exceeded) = exceeded {
            return Err(txn.preconditions.len() + exceeded);
        }
        self.revision += 1;
        for write in &txn.writes {
            let key = &write.key[..];
            let (is_there, was_there) = (write.value.is_some(), self.records.contains_key(key));
            if counted::is_counted(key) && is_there != was_there {
                counted::counts_of(key).for_each(|count_key| self.recount(count_key, is_there));
            }
            match &write.value {
                Some(value) => {
                    let record = Record {
                        revision: self.revision,
                        expires_at_ms: write.expires_at_ms,
                        sealed: value.clone(),
                    };
                    self.records.insert(write.key.to_vec(), record);
                }
                None => {
                    self.records.remove(&write.key[..]);
                }
            }
        }
        Ok(())
    }

    fn count(&self, count_key: &[u8]) -> u64 {
        counted::number(self.records.get(count_key).map(|record| &record.sealed[..]))
    }

    fn recount(&mut self, count_key: Vec<u8>, is_there: bool) {
        let number = self.count(&count_key).saturating_add_signed(if is_there { 1 } else { -1 });
        if number == 0 {
            self.records.remove(&count_key);
        } else {
            let sealed = number.to_be_bytes().to_vec().into();
            self.records.insert(count_key, Record { revision: self.revision, expires_at_ms: 0, sealed });
        }
    }

    /// How many records there are beside the counts, which follow from them.
    pub(crate) fn len(&self) -> usize {
        self.records.keys().filter(|key| !counted::is_count(key)).count()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (&Vec<u8>, &Record)> {
        self.records.iter()
    }

    /// Whether `bytes` stand anywhere in a key or a value.
    pub(crate) fn contains(&self, bytes: &[u8]) -> bool {
        let holds = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
        self.records.iter().any(|(key, record)| holds(key) || holds(&record.sealed))
    }

    pub(crate) fn damage(&mut self, key: &[u8]) {
        let sealed = &mut self.records.get_mut(key).unwrap().sealed;
        let mut damaged = sealed.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        *sealed = damaged.into();
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        Ok(self.records.get(key).cloned())
    }

    fn cursor(&self) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor(self))
    }
}

struct MemoryCursor<'a>(&'a MemoryView);

impl Cursor for MemoryCursor<'_> {
    fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError> {
        let mut range = self.0.records.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        Ok(range.next().map(|(key, record)| (key.clone(), record.clone())))
    }
}

/// Counts what a rule asks of a view.
pub(crate) struct CountedView<'a> {
    inner: &'a dyn View,
    pub(crate) gets: Cell<usize>,
    pub(crate) seeks: Cell<usize>,
}

impl<'a> CountedView<'a> {
    pub(crate) fn new(inner: &'a dyn View) -> Self {
        Self { inner, gets: Cell::new(0), seeks: Cell::new(0) }
    }
}

impl View for CountedView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        self.gets.set(self.gets.get() + 1);
        self.inner.get(key)
    }

    fn cursor(&self) -> Box<dyn Cursor + '_> {
        Box::new(CountedCursor(self, self.inner.cursor()))
    }
}

struct CountedCursor<'a>(&'a CountedView<'a>, Box<dyn Cursor + 'a>);

impl Cursor for CountedCursor<'_> {
    fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError> {
        self.0.seeks.set(self.0.seeks.get() + 1);
        self.1.seek(from)
    }
}
