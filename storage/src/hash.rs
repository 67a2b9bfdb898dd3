//! A hash of all records that costs the same however many there are, so that replicas can be compared all the time.
//!
//! Each record's SHA-256 is added into four wrapping 64-bit lanes when it is written and subtracted when it goes;
//! the sum does not depend on the order, so it can be recomputed from the records alone (`StateReader::scrub`).
//! It finds replicas that diverged through a bug or a broken disk. It is no defence against somebody who forges
//! records on purpose: lane sums are not collision-resistant, the records' own seals are.

use sha2::{Digest as _, Sha256};

pub const HASH_BYTES: usize = 32;
const LANES: usize = 4;
/// Separates this hash from every other use of SHA-256 in Conclave; the number is the format.
const DIGEST_DOMAIN: &[u8] = b"conclave state hash 1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateHash([u64; LANES]);

impl StateHash {
    /// Counts a record in. `stored` are its bytes as [`crate::record`] lays them out.
    pub fn add(&mut self, key: &[u8], stored: &[u8]) {
        for (lane, part) in self.0.iter_mut().zip(record_lanes(key, stored)) {
            *lane = lane.wrapping_add(part);
        }
    }

    /// Counts a record out that was counted in with the same bytes.
    pub fn remove(&mut self, key: &[u8], stored: &[u8]) {
        for (lane, part) in self.0.iter_mut().zip(record_lanes(key, stored)) {
            *lane = lane.wrapping_sub(part);
        }
    }

    /// What nodes compare: the records and the cluster's time.
    pub fn digest(&self, time_ms: u64) -> [u8; HASH_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(DIGEST_DOMAIN);
        hasher.update(self.to_bytes());
        hasher.update(time_ms.to_be_bytes());
        hasher.finalize().into()
    }

    pub fn to_bytes(&self) -> [u8; HASH_BYTES] {
        let mut bytes = [0; HASH_BYTES];
        for (part, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            part.copy_from_slice(&lane.to_be_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8; HASH_BYTES]) -> Self {
        Self(lanes(bytes))
    }
}

fn record_lanes(key: &[u8], stored: &[u8]) -> [u64; LANES] {
    let mut hasher = Sha256::new();
    // The length keeps the border between key and record from being moved.
    hasher.update((key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(stored);
    lanes(&hasher.finalize().into())
}

fn lanes(bytes: &[u8; HASH_BYTES]) -> [u64; LANES] {
    let mut lanes = [0; LANES];
    let (parts, _) = bytes.as_chunks::<8>();
    for (lane, part) in lanes.iter_mut().zip(parts) {
        *lane = u64::from_be_bytes(*part);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_but_content_does() {
        let mut forwards = StateHash::default();
        forwards.add(b"a", b"1");
        forwards.add(b"b", b"2");
        let mut backwards = StateHash::default();
        backwards.add(b"b", b"2");
        backwards.add(b"a", b"1");
        assert_eq!(forwards, backwards);
        let mut swapped = StateHash::default();
        swapped.add(b"a", b"2");
        swapped.add(b"b", b"1");
        assert_ne!(forwards, swapped);
        let mut moved_border = StateHash::default();
        moved_border.add(b"a1", b"");
        moved_border.add(b"b", b"2");
        assert_ne!(forwards, moved_border);
    }

    #[test]
    fn what_was_added_can_be_taken_away() {
        let mut hash = StateHash::default();
        hash.add(b"a", b"1");
        let before = hash;
        hash.add(b"b", b"2");
        hash.remove(b"b", b"2");
        assert_eq!(hash, before);
        hash.remove(b"a", b"1");
        assert_eq!(hash, StateHash::default());
    }

    #[test]
    fn bytes_and_time_are_kept() {
        let mut hash = StateHash::default();
        hash.add(b"a", b"1");
        assert_eq!(StateHash::from_bytes(&hash.to_bytes()), hash);
        assert_ne!(hash.digest(1), hash.digest(2));
    }

    /// The digest is compared between versions during a rolling upgrade: it must not change by accident.
    #[test]
    fn the_digest_is_a_format() {
        let mut hash = StateHash::default();
        hash.add(b"key", b"record");
        let hex: String = hash.digest(7).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ffbefaa0097aafbbb0fbfd33ededc903b84bf90603893c41b096192eb52ba7e3");
    }
}
