//! What `apply` may do to the replicated state: an ordered map of records, the index of what expires, and two
//! numbers. RocksDB implements it (`chunk.rs`), and ordered maps do ([`crate::model`]); both must behave alike.

use bytes::Bytes;

use crate::hash::StateHash;
use crate::record::EncodedRecord;

pub trait Keyspace {
    /// The state could not be read. Nothing else can go wrong: writes are only noted, to be committed as a whole.
    type Error;

    /// What is stored at `key`, expired or not, with everything that was written before in this batch.
    fn record(&mut self, key: &[u8]) -> Result<Option<EncodedRecord>, Self::Error>;

    fn put(&mut self, key: Bytes, record: EncodedRecord);

    fn delete(&mut self, key: Bytes);

    /// Notes in the expiry index that the record at `key` expires then.
    fn index_expiry(&mut self, expires_at_ms: u64, key: &Bytes);

    /// Takes that note away.
    fn unindex_expiry(&mut self, expires_at_ms: u64, key: &Bytes);

    /// The first entries of the expiry index whose time is `time_ms` or earlier, oldest first, at most `limit`.
    fn due(&mut self, time_ms: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Self::Error>;

    /// The cluster's time and the hash of all records; `apply` keeps both up to date.
    fn summary(&mut self) -> &mut Summary;
}

/// The part of the state that is not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The cluster's time, Unix milliseconds: the greatest that any entry carried.
    pub time_ms: u64,
    pub hash: StateHash,
}
