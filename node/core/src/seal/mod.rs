//! The seal: what a cluster needs to open itself, and the credentials that exist before any auth method does.
//!
//! ```text
//! shares (Shamir) ─┐
//!                  ├─> slot key ─ wraps ─> root key ─ wraps ─> keyring
//! static key ──────┘
//! ```
//!
//! A cluster has one root key and one or two slots that wrap it: shares, a static key, or both, when the shares are
//! the way in after the static key is lost. All wraps are records of the replicated state, so a node that was away
//! unseals with what is current. Nothing here keeps a key longer than its caller does.

pub mod config;
pub mod count;
pub mod init;
pub mod join_token;
pub mod keys;
pub mod shamir;
#[cfg(test)]
pub(crate) mod testing;
pub mod unseal;

pub use config::{SealConfig, SealType, StaticKey};
pub use count::{Reservation, SEALS_RESERVED_AT_ONCE, plan_reservation};
pub use init::{Initialized, Parameters, initialize, replace_shares, replace_static_key};
pub use keys::{load_config, open_barrier, plan_rotation};
pub use shamir::Share;
pub use unseal::{Progress, UnsealProgress};
