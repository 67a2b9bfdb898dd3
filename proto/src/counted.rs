//! Records that are counted: the state holds how many of them lie below each prefix of their keys, so that to know it, or to
//! demand that they are not too many ([`Txn::limit`](crate::log::Txn)), costs one look-up however many there are.
//!
//! ```text
//! counted  [kind: 0x7c or 0x7d][segment: 16 bytes][segment: 16] ...
//! count    [kind + 2          ][as many of those segments as a prefix has, at most LEVELS_MAX]
//! ```
//!
//! Whoever applies an entry keeps the counts, as records are written, deleted and expire; nobody else can write one. A
//! number says nothing of a value or a path, so it is not sealed.

/// Kinds whose records are counted: the first byte of their keys.
const COUNTED: [u8; 2] = [0x7c, 0x7d];
/// From a counted kind to that of its counts.
const TO_COUNT: u8 = 2;
const KIND_BYTES: usize = 1;
/// Bytes of one segment of a key.
const SEGMENT_BYTES: usize = 16;
/// Segments of the longest prefix that is counted.
pub const LEVELS_MAX: usize = 4;

/// Whether records at this key are counted.
pub fn is_counted(key: &[u8]) -> bool {
    key.first().is_some_and(|kind| COUNTED.contains(kind)) && key.len() >= KIND_BYTES + SEGMENT_BYTES
}

/// Whether a count lies at this key.
pub fn is_count(key: &[u8]) -> bool {
    key.first().is_some_and(|kind| COUNTED.iter().any(|counted| counted + TO_COUNT == *kind))
}

/// Where the records below this prefix are counted; `None`: they are not, or the prefix is longer than those that are counted.
pub fn count_key(prefix: &[u8]) -> Option<Vec<u8>> {
    let (kind, segments) = prefix.split_first()?;
    let is_level =
        segments.len().is_multiple_of(SEGMENT_BYTES) && segments.len() / SEGMENT_BYTES <= LEVELS_MAX;
    (COUNTED.contains(kind) && is_level).then(|| [&[kind + TO_COUNT], segments].concat())
}

/// All counts that the record at a counted key is part of.
pub fn counts_of(key: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    // The record's own name is the last segment: it is not below itself.
    let levels = (key.len() - KIND_BYTES).div_ceil(SEGMENT_BYTES) - 1;
    (0..=levels.min(LEVELS_MAX)).filter_map(|level| count_key(&key[..KIND_BYTES + level * SEGMENT_BYTES]))
}

/// What a count's record says; 0 if there is none.
pub fn number(record: Option<&[u8]>) -> u64 {
    record.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: u8, segments: &[u8]) -> Vec<u8> {
        let mut key = vec![kind];
        for segment in segments {
            key.extend([*segment; SEGMENT_BYTES]);
        }
        key
    }

    #[test]
    fn a_record_is_counted_at_each_prefix_but_not_at_itself() {
        let counts: Vec<_> = counts_of(&key(0x7c, &[1, 2, 3])).collect();
        assert_eq!(counts, [key(0x7e, &[]), key(0x7e, &[1]), key(0x7e, &[1, 2])]);
        let deep: Vec<_> = counts_of(&key(0x7d, &[1, 2, 3, 4, 5, 6])).collect();
        assert_eq!(deep.len(), LEVELS_MAX + 1);
        assert_eq!(deep.last(), Some(&key(0x7f, &[1, 2, 3, 4])));
    }

    #[test]
    fn other_records_are_not_counted() {
        for kind in [0x00, 0x7b, 0x7e, 0x7f, 0x80] {
            assert!(!is_counted(&key(kind, &[1])) && count_key(&key(kind, &[1])).is_none(), "{kind}");
        }
        assert!(!is_counted(&[]) && !is_counted(&[0x7c]) && !is_count(&[]));
        assert!(is_counted(&key(0x7c, &[1])) && is_count(&key(0x7e, &[])) && is_count(&key(0x7f, &[1])));
    }

    #[test]
    fn what_is_deeper_than_any_count_has_none() {
        assert!(count_key(&key(0x7c, &[1, 2, 3, 4])).is_some());
        assert!(count_key(&key(0x7c, &[1, 2, 3, 4, 5])).is_none());
        assert!(count_key(&[0x7c, 1]).is_none());
    }

    #[test]
    fn a_number_is_read_as_it_is_written() {
        assert_eq!(number(Some(&7_u64.to_be_bytes())), 7);
        assert_eq!((number(None), number(Some(&[]))), (0, 0));
    }
}
