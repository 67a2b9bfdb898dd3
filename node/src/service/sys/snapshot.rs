//! Backups: `sys/storage/raft/snapshot`.
//!
//! The file is a gzipped tar, laid out so that Vault's own clients accept it: `meta.json`, `state.bin`, `SHA256SUMS`,
//! and last `SHA256SUMS.sealed`, here a MAC under a key of the cluster. `state.bin` holds sealed records, so the file
//! is worth nothing without the cluster's keys. Nothing is touched before the whole file has been verified.

pub mod format;
mod restore;
mod save;

use conclave_core::crypto::Kind;

pub use restore::restore;
pub use save::save;

/// The records that a snapshot brings back: secrets, mounts and tokens, with their leases. What makes the cluster itself (its seal, keys,
/// authority and register of nodes) stays as it is, and what was used once must not come alive again.
const RESTORED: [Kind; 7] =
    [Kind::Mounts, Kind::Token, Kind::Lease, Kind::LeaseOfRole, Kind::KvV1, Kind::KvMeta, Kind::KvData];

fn is_one_of(key: &[u8], kinds: &[Kind]) -> bool {
    key.first().is_some_and(|first| kinds.iter().any(|kind| kind.byte() == *first))
}
