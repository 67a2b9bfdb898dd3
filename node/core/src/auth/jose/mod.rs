//! Signed tokens of others (JWS, RFC 7515), whatever they are for: one verifier for all methods of logging in.
//!
//! ```text
//! compact (parts, header) -> keys (by id and algorithm) -> key (signature) -> claims (who, for whom, when)
//! ```
//!
//! A key decides which algorithms it can be used with, never the token; there is no `none` and no shared secret. A token
//! is never asked where its key is (`jku`, `x5u`, `jwk`, `x5c`), and one that demands what is not known here (`crit`) is
//! refused.

mod algorithm;
mod claims;
mod compact;
pub mod json;
mod key;
mod keys;

pub use algorithm::Algorithm;
pub use claims::{CLOCK_SKEW_S_MAX, Expected, LEEWAY_S_MAX, Leeways, audiences};
pub use compact::Compact;
pub use key::Key;
pub use keys::{KeySet, Unverified};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
