//! What every replica must agree on: the log, the records, and how entries change them.
//!
//! - [`types`], [`convert`]: openraft's types filled in, and their form on disk and wire;
//! - [`keyspace`], [`apply`], [`record`], [`expiry`], [`hash`]: the pure rules, without clock, randomness or IO;
//! - [`store`]: opening a data directory; [`disk`]: on something else than RocksDB; [`recover`]: when the quorum is lost for
//!   good;
//! - [`log_store`], [`state_machine`], [`snapshot`]: Raft's storage on RocksDB;
//! - [`Awaited`]: what became of the transactions that this node proposed;
//! - [`reader`]: consistent views for everybody else.
//!
//! Keys and values that come here are already tokens and ciphertext (design invariant I1): this crate never sees
//! a path or a secret, holds no key, and prints neither keys nor values.

pub mod apply;
mod awaited;
mod batch;
mod blocking;
mod chunk;
pub mod convert;
mod count;
mod db;
pub mod disk;
pub mod error;
pub mod expiry;
mod faulty;
mod files;
pub mod hash;
mod install;
pub mod keyspace;
mod log_io;
pub mod log_store;
mod log_tail;
pub mod manifest;
pub mod model;
#[cfg(test)]
mod model_tests;
pub mod reader;
mod recent;
pub mod record;
pub mod recover;
mod rocks;
pub mod snapshot;
pub mod snapshot_writer;
mod state;
pub mod state_machine;
pub mod store;
mod synced;
pub mod types;

pub use awaited::{Awaited, Fate, Ticket, TxnName};
pub use blocking::blocking;
pub use chunk::{STATE_HASH_INTERVAL_ENTRIES, STATE_HASHES_KEPT};
pub use error::StorageError;
pub use log_store::{LatestVote, LogReader, LogStore};
pub use reader::{Cursor, Scrubbed, StateHashAt, StateReader, StateView};
pub use record::{Stamp, StoredRecord};
pub use snapshot::{SnapshotChunk, SnapshotData};
pub use snapshot_writer::{SnapshotInbox, SnapshotWriter};
pub use state_machine::StateMachine;
pub use store::{Opened, Options, Store};
