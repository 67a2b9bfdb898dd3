//! Judges what clients saw of a cluster: whether one correct server could have answered so.
//!
//! - [`history`]: what was asked and answered, as the clients recorded it; of who may do what: [`access`]. [`register`] sorts
//!   it by key; [`place`] says what a key's name means.
//! - The checkers, each a function of a history: [`linearizable`], [`acknowledged`], [`cas`], [`idempotency`],
//!   [`monotonic`], [`stale`], [`list`], [`versions`], [`expiry`], and of rights [`revocation`], [`token_life`], [`lockout`],
//!   [`wrapping`]. [`order`] and [`tokens`] are what some of them hold to be certain.
//! - [`judge`] runs them all; [`verdict`] is how they report. The program `conclave-oracle` does it to a file.
//!
//! Nothing here knows a server: it can judge any history, also one made by hand or by a simulation.

pub mod access;
pub mod acknowledged;
pub mod cas;
pub mod expiry;
pub mod history;
pub mod idempotency;
pub mod judge;
pub mod linearizable;
pub mod list;
pub mod lockout;
pub mod monotonic;
pub mod order;
pub mod place;
pub mod register;
pub mod revocation;
pub mod stale;
#[cfg(test)]
mod testing;
pub mod token_life;
pub mod tokens;
pub mod verdict;
pub mod versions;
pub mod wrapping;
