//! How one record lies in the `state` column family: `[revision u64][expires_at_ms u64][sealed bytes]`, big-endian.
//!
//! The bytes are part of the state hash, so the layout is a format: a change needs a new format version.

use bytes::Bytes;

use crate::error::StorageError;

const HEADER_BYTES: usize = 16;

/// A record as readers get it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The log index that wrote it.
    pub revision: u64,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    /// As the proposer sealed it.
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

/// A record's stored bytes, known to be long enough.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedRecord(Bytes);

impl EncodedRecord {
    pub fn new(revision: u64, expires_at_ms: u64, sealed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + sealed.len());
        bytes.extend_from_slice(&revision.to_be_bytes());
        bytes.extend_from_slice(&expires_at_ms.to_be_bytes());
        bytes.extend_from_slice(sealed);
        Self(bytes.into())
    }

    /// # Errors
    /// [`StorageError::Damaged`] when there are fewer bytes than a header has.
    pub fn from_stored(bytes: impl Into<Bytes>) -> Result<Self, StorageError> {
        let bytes = bytes.into();
        if bytes.len() < HEADER_BYTES {
            return Err(StorageError::damaged("a record is shorter than its header"));
        }
        Ok(Self(bytes))
    }

    pub fn revision(&self) -> u64 {
        number_at(&self.0, 0)
    }

    /// Unix milliseconds; 0: never.
    pub fn expires_at_ms(&self) -> u64 {
        number_at(&self.0, 8)
    }

    pub fn is_live_at(&self, time_ms: u64) -> bool {
        is_live(self.expires_at_ms(), time_ms)
    }

    pub fn stamp(&self) -> Stamp {
        Stamp { revision: self.revision(), expires_at_ms: self.expires_at_ms() }
    }

    pub fn as_stored(&self) -> &[u8] {
        &self.0
    }

    /// As the proposer sealed it.
    pub fn sealed(&self) -> &[u8] {
        &self.0[HEADER_BYTES..]
    }
}

/// Whether a record that expires at `expires_at_ms` (0: never) is still there at `time_ms`.
pub fn is_live(expires_at_ms: u64, time_ms: u64) -> bool {
    expires_at_ms == 0 || time_ms < expires_at_ms
}

impl StoredRecord {
    /// # Errors
    /// [`StorageError::Damaged`] when there are fewer bytes than a header has.
    pub fn decode(stored: &[u8]) -> Result<Self, StorageError> {
        EncodedRecord::from_stored(Bytes::copy_from_slice(stored)).map(Self::from)
    }

    pub fn is_live_at(&self, time_ms: u64) -> bool {
        is_live(self.expires_at_ms, time_ms)
    }
}

impl From<EncodedRecord> for StoredRecord {
    fn from(record: EncodedRecord) -> Self {
        Self {
            revision: record.revision(),
            expires_at_ms: record.expires_at_ms(),
            sealed: record.0.slice(HEADER_BYTES..),
        }
    }
}

fn number_at(bytes: &[u8], offset: usize) -> u64 {
    let number = bytes[offset..offset + 8].try_into().expect("the caller checked the length of the header");
    u64::from_be_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_fixed() {
        let record = EncodedRecord::new(0x0102, 0x0304, b"xy");
        assert_eq!(record.as_stored(), b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x03\x04xy");
        let stored = StoredRecord::decode(record.as_stored()).unwrap();
        assert!(stored == StoredRecord { revision: 0x0102, expires_at_ms: 0x0304, sealed: b"xy"[..].into() });
        assert!(stored == StoredRecord::from(record));
    }

    #[test]
    fn short_bytes_are_damage_not_a_panic() {
        assert!(matches!(EncodedRecord::from_stored(vec![0; 15]), Err(StorageError::Damaged(_))));
        assert!(matches!(StoredRecord::decode(&[0; 15]), Err(StorageError::Damaged(_))));
        assert!(EncodedRecord::from_stored(vec![0; 16]).is_ok());
    }

    #[test]
    fn a_record_is_gone_from_the_millisecond_it_expires() {
        assert!(is_live(10, 9));
        assert!(!is_live(10, 10));
        assert!(is_live(0, u64::MAX));
    }
}
