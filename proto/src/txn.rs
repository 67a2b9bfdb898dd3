//! Building transactions, and what comes of applying them.

use bytes::Bytes;

use crate::log::{Limit, Precondition, Txn, Write};

/// What became of one transaction. Every replica computes the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All writes are in the state, at this revision (the log index of the entry).
    Applied { revision: u64 },
    /// A precondition did not hold; nothing was written. Plan again from the current state.
    Conflict {
        /// Which of the transaction's preconditions failed first; limits come after them.
        precondition: usize,
    },
}

impl Txn {
    /// Demands that `key` still stands at `revision` (0: does not exist).
    pub fn require(&mut self, key: impl Into<Bytes>, revision: u64) {
        self.preconditions.push(Precondition { key: key.into(), revision });
    }

    /// Demands that fewer than so many records are counted at `count_key` ([`crate::counted`]).
    pub fn limit(&mut self, count_key: impl Into<Bytes>, fewer_than: u64) {
        self.limits.push(Limit { count_key: count_key.into(), fewer_than });
    }

    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.put_until(key, value, 0);
    }

    /// Writes a record that is gone from `expires_at_ms` on (Unix milliseconds of the cluster's time; 0: never).
    pub fn put_until(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>, expires_at_ms: u64) {
        self.writes.push(Write { key: key.into(), value: Some(value.into()), expires_at_ms });
    }

    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.writes.push(Write { key: key.into(), value: None, expires_at_ms: 0 });
    }

    /// Adds all that another demands and writes.
    pub fn append(&mut self, other: Self) {
        let Self { preconditions, writes, limits, proposer: _, number: _ } = other;
        self.preconditions.extend(preconditions);
        self.writes.extend(writes);
        self.limits.extend(limits);
    }

    /// How many of the writes carry a value.
    pub fn values(&self) -> usize {
        self.writes.iter().filter(|write| write.value.is_some()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes that this transaction adds to a log entry, about.
    pub fn size_bytes(&self) -> usize {
        use prost::Message as _;
        self.encoded_len()
    }
}
