//! The Conclave server: everything that does IO.
//!
//! See `ARCHITECTURE.md` for the map. In short: [`server`] starts and stops a node, [`http`] speaks to clients,
//! [`service`] takes each request its way, [`cluster`] holds the running Raft node, [`raft`] and [`identity`] connect
//! it to the others, [`seal`] guards the keys, and [`task`] does what no request asks for. [`fault`] says when a node
//! must stop, [`rejoin`] brings one back that lost what it had stored, and [`recover`] is for the day when the quorum is
//! gone. [`audit`] keeps the trail of all requests, and [`outbound`] asks servers of others.

pub mod audit;
pub mod cluster;
pub mod config;
mod durable;
pub mod fault;
pub mod http;
pub mod identity;
mod limit;
pub mod metrics;
pub mod node;
pub mod outbound;
pub mod raft;
pub mod recover;
pub mod rejoin;
pub mod seal;
pub mod server;
pub mod service;
pub mod task;
