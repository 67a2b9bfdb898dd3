//! Judges what clients saw of a cluster: whether one correct server could have answered so.
//!
//! - [`history`]: what was asked and answered, as the clients recorded it. [`register`] sorts it by key; [`place`] says
//!   what a key's name means.
//! - The checkers, each a function of a history: [`linearizable`], [`acknowledged`], [`cas`], [`idempotency`],
//!   [`monotonic`], [`stale`], [`list`], [`versions`], [`expiry`]. [`order`] is what some of them hold to be certain.
//! - [`judge`] runs them all; [`verdict`] is how they report. The program `conclave-oracle` does it to a file.
//!
//! Nothing here knows a server: it can judge any history, also one made by hand or by a simulation.

pub mod acknowledged;
pub mod cas;
pub mod expiry;
pub mod history;
pub mod idempotency;
pub mod judge;
pub mod linearizable;
pub mod list;
pub mod monotonic;
pub mod order;
pub mod place;
pub mod register;
pub mod stale;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod versions;
