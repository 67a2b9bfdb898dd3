//! The pure rules of Conclave: who may do what, what an engine stores and answers, how secrets are sealed.
//!
//! Nothing here does IO, knows HTTP, Raft or RocksDB, or asks for the time or for randomness: all of that is an
//! argument. Rules read one [`view::View`] and return a [`plan::Plan`]; the server commits it and then answers.

pub mod audit;
pub mod auth;
pub mod crypto;
pub mod duration;
pub mod engine;
pub mod errand;
pub mod error;
mod fields;
pub mod identity;
pub mod lease;
pub mod plan;
pub mod policy;
pub mod quota;
pub mod seal;
mod stored;
pub mod view;

pub use error::Error;
