//! The key space as ordered maps in memory: the reference that RocksDB is tested against, and the state of
//! simulated nodes. It never touches a disk and keeps nothing over a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;

use crate::hash::StateHash;
use crate::keyspace::{Keyspace, Summary};
use crate::record::{EncodedRecord, StoredRecord};

#[derive(Clone, PartialEq, Eq, Default)]
pub struct MapKeyspace {
    records: BTreeMap<Bytes, EncodedRecord>,
    expiries: BTreeSet<(u64, Bytes)>,
    summary: Summary,
}

impl MapKeyspace {
    /// All records in key order, those that have expired but are not dropped yet too.
    pub fn records(&self) -> impl Iterator<Item = (&Bytes, StoredRecord)> {
        self.records.iter().map(|(key, record)| (key, record.clone().into()))
    }

    /// The record at `key`, unless it has expired at the state's own time.
    pub fn live(&self, key: &[u8]) -> Option<StoredRecord> {
        self.records
            .get(key)
            .filter(|record| record.is_live_at(self.summary.time_ms))
            .cloned()
            .map(Into::into)
    }

    pub fn time_ms(&self) -> u64 {
        self.summary.time_ms
    }

    pub fn hash(&self) -> StateHash {
        self.summary.hash
    }
}

impl Keyspace for MapKeyspace {
    type Error = Infallible;

    fn record(&mut self, key: &[u8]) -> Result<Option<EncodedRecord>, Infallible> {
        Ok(self.records.get(key).cloned())
    }

    fn put(&mut self, key: Bytes, record: EncodedRecord) {
        self.records.insert(key, record);
    }

    fn delete(&mut self, key: Bytes) {
        self.records.remove(&key);
    }

    fn index_expiry(&mut self, expires_at_ms: u64, key: &Bytes) {
        self.expiries.insert((expires_at_ms, key.clone()));
    }

    fn unindex_expiry(&mut self, expires_at_ms: u64, key: &Bytes) {
        self.expiries.remove(&(expires_at_ms, key.clone()));
    }

    fn due(&mut self, time_ms: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Infallible> {
        Ok(self.expiries.iter().take_while(|(time, _)| *time <= time_ms).take(limit).cloned().collect())
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }
}
