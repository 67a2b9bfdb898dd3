//! How Conclave keeps records secret: values and paths alike are sealed before they reach the Raft log (I1).
//!
//! ```text
//! seal (shares, static key) -> root key -> keyring -> term keys  -> records   (AES-256-GCM)
//!                                                  -> sub-keys   -> key tokens, token hashes, batch tokens, audit, snapshots
//! ```
//!
//! Only the proposer seals: never `apply`, which must give the same bytes on every replica. Nothing here reads a
//! clock or asks the operating system for randomness, and no key leaves this module except through a type that
//! cannot be printed.

mod aead;
mod barrier;
mod carried;
mod derive;
mod keyring;
mod kind;
mod layout;
mod snapshot_mac;
#[cfg(test)]
pub(crate) mod testing;

pub use barrier::{Barrier, Opened, SEALED_OVERHEAD_BYTES, SEALS_PER_TERM_LIMIT, SEALS_PER_TERM_MAX};
pub use carried::{CARRIED_OVERHEAD_BYTES, Carried};
pub use keyring::{Keyring, RootKey, TERMS_MAX};
pub use kind::{Kind, plain_key};
pub use layout::{TOKEN_BYTES, after_prefix, child_key, child_token, key_len_of, parent_key};
pub use snapshot_mac::{SNAPSHOT_MAC_BYTES, SnapshotMac};

pub(crate) use aead::{NONCE_BYTES, TAG_BYTES, cipher, decrypt_in_place, encrypt_in_place};
pub(crate) use derive::derive_key;
pub(crate) use keyring::random_key;

/// Bytes of every symmetric key.
pub const KEY_BYTES: usize = 32;

/// Names a cluster for ever; part of what every sealed record is bound to.
pub type ClusterId = [u8; 16];
