//! Leases: what was given for a time, listed below the path where it was asked for, as Vault lists it.
//!
//! So far only tokens are: each that `auth/token/root` did not make has a lease, and batch tokens have none. A token's lease is
//! no second truth beside the token. Its id names the token (`PATH/h` and the token's keyed hash), and whether it holds,
//! until when and for whom is the token's own record's to say. All that is stored of it is an entry in an index
//! ([`record`]), written, prolonged and deleted in the token's own transactions and expiring with it. Nothing has to be
//! kept in memory, and nothing is loaded when leadership changes.

mod api;
pub mod record;
pub mod revoke;

pub use api::{LeaseRequest, handle};

#[cfg(test)]
mod tests;
