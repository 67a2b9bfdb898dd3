//! The Conclave server: everything that does IO.
//!
//! See `ARCHITECTURE.md` for the map. In short: [`server`] starts and stops a node, [`http`] speaks to clients,
//! [`service`] takes each request its way, [`cluster`] holds the running Raft node, [`raft`] and [`identity`] connect
//! it to the others, [`seal`] guards the keys, [`task`] does what no request asks for, and [`recover`] is for the day when the quorum is gone.

pub mod cluster;
pub mod config;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod node;
pub mod raft;
pub mod recover;
pub mod seal;
pub mod server;
pub mod service;
pub mod task;
