//! The ordered index of what expires: keys `[expires_at_ms u64 big-endian][record key]`, without values.
//!
//! Byte order is time order, so the oldest are found by one seek, and replicas that hold the same records drop
//! the same ones in the same order. Records that never expire are not in it.

use bytes::Bytes;

use crate::error::StorageError;

const TIME_BYTES: usize = 8;

pub fn index_key(expires_at_ms: u64, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TIME_BYTES + key.len());
    bytes.extend_from_slice(&expires_at_ms.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// The time in Unix milliseconds, and the record's key.
///
/// # Errors
/// [`StorageError::Damaged`] when there are fewer bytes than a time has.
pub fn parse_index_key(bytes: &[u8]) -> Result<(u64, Bytes), StorageError> {
    let Some((time, key)) = bytes.split_first_chunk::<TIME_BYTES>() else {
        return Err(StorageError::damaged("an expiry index key is shorter than its time"));
    };
    Ok((u64::from_be_bytes(*time), Bytes::copy_from_slice(key)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn byte_order_is_time_order_then_key_order(a: (u64, Vec<u8>), b: (u64, Vec<u8>)) {
            let bytes = |(time, key): &(u64, Vec<u8>)| index_key(*time, key);
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
            prop_assert_eq!(parse_index_key(&bytes(&a)).unwrap(), (a.0, Bytes::from(a.1)));
        }
    }

    #[test]
    fn short_bytes_are_damage_not_a_panic() {
        assert!(matches!(parse_index_key(&[0; 7]), Err(StorageError::Damaged(_))));
    }
}
