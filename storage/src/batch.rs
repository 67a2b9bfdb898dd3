//! Transactions proposed together: the application data of a log entry.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use conclave_proto::log::{self, Txn};
use prost::{DecodeError, Message as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Encoded once, where it is proposed, and decoded once at each other node: what is on the disk and on the wire are the
/// same bytes. Cheap to clone.
///
/// A wrapper, so that openraft's `Debug` and `Display` of an entry can only ever show counts.
#[derive(Clone)]
pub struct Batch(Arc<Both>);

struct Both {
    decoded: log::Batch,
    encoded: Bytes,
}

impl Batch {
    /// # Errors
    /// The bytes are not an encoded batch.
    pub fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        let decoded = log::Batch::decode(encoded.clone())?;
        Ok(Self(Arc::new(Both { decoded, encoded })))
    }

    pub fn encoded(&self) -> &Bytes {
        &self.0.encoded
    }

    /// The leader's clock when it proposed, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.0.decoded.time_ms
    }

    pub fn txns(&self) -> &[Txn] {
        &self.0.decoded.txns
    }
}

impl From<log::Batch> for Batch {
    fn from(decoded: log::Batch) -> Self {
        let encoded = decoded.encode_to_vec().into();
        Self(Arc::new(Both { decoded, encoded }))
    }
}

/// openraft asks for one.
impl Default for Batch {
    fn default() -> Self {
        log::Batch::default().into()
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.0.decoded == other.0.decoded
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} transactions)", self.txns().len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// openraft demands serde of application data; ours is its protobuf, so that there is one encoding.
impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.encoded())
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Vec::<u8>::deserialize(deserializer)?;
        Self::decode(encoded.into()).map_err(de::Error::custom)
    }
}
