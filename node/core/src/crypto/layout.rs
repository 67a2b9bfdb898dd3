//! The shape of a record's key, and how a scan walks it without knowing a path.
//!
//! ```text
//! [kind: 1 byte][token of "a": 16][token of "a/b": 16][token of "a/b/c": 16]
//! ```
//!
//! A subtree is one range of keys, so listing is a skip-scan: seek to the parent, read the child's record for its
//! name, seek to [`after_prefix`] of the child. Nothing here sees key material or plaintext.

/// Bytes of one segment's token.
pub const TOKEN_BYTES: usize = 16;
/// Bytes of the kind, before the first token.
const KIND_BYTES: usize = 1;

/// Length in bytes of a key with this many segments.
pub const fn key_len_of(segments: usize) -> usize {
    KIND_BYTES + segments * TOKEN_BYTES
}

/// The key of the child of `parent` that `key` is or lies under; `None`: `key` is not below `parent`.
///
/// The child itself need not have a record: it may be a folder only.
pub fn child_key<'k>(parent: &[u8], key: &'k [u8]) -> Option<&'k [u8]> {
    if key.starts_with(parent) { key.get(..parent.len() + TOKEN_BYTES) } else { None }
}

/// The token of the child of `parent` that `key` is or lies under; `None`: `key` is not below `parent`.
pub fn child_token<'k>(parent: &[u8], key: &'k [u8]) -> Option<&'k [u8]> {
    child_key(parent, key).map(|child| &child[parent.len()..])
}

/// The key one segment up; `None`: `key` has no segment.
pub fn parent_key(key: &[u8]) -> Option<&[u8]> {
    let length = key.len().checked_sub(TOKEN_BYTES)?;
    if length < KIND_BYTES { None } else { Some(&key[..length]) }
}

/// The smallest key that is greater than everything that starts with `prefix`; `None`: there is none, because the
/// prefix is empty or all ones.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tokens: &[u8]) -> Vec<u8> {
        let mut key = vec![7];
        for token in tokens {
            key.extend([*token; TOKEN_BYTES]);
        }
        key
    }

    #[test]
    fn a_key_knows_its_child_under_a_parent() {
        let leaf = key(&[1, 2, 3]);
        assert_eq!(leaf.len(), key_len_of(3));
        assert_eq!(child_key(&key(&[1]), &leaf), Some(&key(&[1, 2])[..]));
        assert_eq!(child_token(&key(&[1]), &leaf), Some(&[2; TOKEN_BYTES][..]));
        assert_eq!(child_key(&key(&[1, 2]), &leaf), Some(&leaf[..]));
        assert_eq!(child_key(&leaf, &leaf), None);
        assert_eq!(child_key(&key(&[9]), &leaf), None);
        assert_eq!(child_token(&key(&[1, 2, 3, 4]), &leaf), None);
    }

    #[test]
    fn a_key_knows_its_parent() {
        assert_eq!(parent_key(&key(&[1, 2])), Some(&key(&[1])[..]));
        assert_eq!(parent_key(&key(&[1])), Some(&key(&[])[..]));
        assert_eq!(parent_key(&key(&[])), None);
        assert_eq!(parent_key(&[]), None);
    }

    #[test]
    fn the_key_after_a_prefix_skips_its_whole_subtree_and_nothing_more() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff, 0xff]), None);
        assert_eq!(after_prefix(&[]), None);
        let prefix = key(&[5]);
        let after = after_prefix(&prefix).unwrap();
        assert!(key(&[5, 0xff, 0xff]) < after);
        assert!(after <= key(&[6]));
    }
}
