//! How pure rules see the replicated state: one consistent view, given by the caller.
//!
//! The server implements this over RocksDB, tests over a map. Rules never keep a view. A rule may be run on a view that
//! contradicts itself, and its result thrown away then: what a rule keeps of what it read must name its revision.

use bytes::Bytes;

/// A stored record: still sealed, with the revision that a transaction can require.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The log index that wrote it.
    pub revision: u64,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    pub sealed: Bytes,
}

/// What is known of a record without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The log index that wrote it.
    pub revision: u64,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
}

/// The state could not be read: the disk failed or a checksum did not match. Carries no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored state cannot be read: {0}")]
pub struct ViewError(pub String);

/// A consistent view of all records.
pub trait View {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError>;

    /// As [`View::get`], for who has the content from before: a record of one revision never changes.
    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, ViewError> {
        let record = self.get(key)?;
        Ok(record.map(|Record { revision, expires_at_ms, .. }| Stamp { revision, expires_at_ms }))
    }

    /// A cursor over the keys in byte order.
    fn cursor(&self) -> Box<dyn Cursor + '_>;
}

/// Moves over a view's records. Every step is a seek, so that a scan can skip whole subtrees.
pub trait Cursor {
    /// The first record whose key is `from` or greater.
    fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError>;
}

#[cfg(test)]
pub(crate) mod testing;
