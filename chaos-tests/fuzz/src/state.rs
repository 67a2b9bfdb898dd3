//! A cluster's state in memory: storage's own maps, changed by the `apply` of every replica, seen through core's view.

use conclave_core::view::{Cursor, Record, View, ViewError};
use conclave_proto::log::{Batch, Txn};
use conclave_proto::txn::Outcome;
use conclave_storage::StoredRecord;
use conclave_storage::apply::apply;
use conclave_storage::model::MapKeyspace;

/// The cluster's time at which targets start, Unix milliseconds.
pub const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone)]
pub struct State {
    keyspace: MapKeyspace,
    index: u64,
    pub now_ms: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { keyspace: MapKeyspace::default(), index: 0, now_ms: START_MS }
    }
}

impl State {
    /// # Panics
    /// If a precondition does not hold, which here means that a plan contradicts the view it was made from.
    pub fn commit(&mut self, txn: Txn) {
        self.index += 1;
        let batch = Batch { time_ms: self.now_ms, txns: vec![txn] };
        let Ok(response) = apply(&mut self.keyspace, self.index, &batch.into());
        assert_eq!(response.outcomes, [Outcome::Applied { revision: self.index }], "nobody else writes");
    }
}

impl View for State {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        Ok(self.keyspace.live(key).map(record))
    }

    fn cursor(&self) -> Box<dyn Cursor + '_> {
        Box::new(Walk(self))
    }
}

struct Walk<'a>(&'a State);

impl Cursor for Walk<'_> {
    fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError> {
        let found = self.0.keyspace.records().find(|(key, _)| key.as_ref() >= from);
        Ok(found.map(|(key, stored)| (key.to_vec(), record(stored))))
    }
}

fn record(stored: StoredRecord) -> Record {
    Record { revision: stored.revision, expires_at_ms: stored.expires_at_ms, sealed: stored.sealed }
}
