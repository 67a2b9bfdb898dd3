//! Consensus at work: Raft's threads, its network between nodes, and what the rest of the node asks of it.
//!
//! ```text
//! service pipeline -> ReadBarrier  (may I read now, and up to where?)
//!                  -> Proposer     (commit these transactions)
//!                  -> Peers        (ask another node)
//!                  -> Membership   (who belongs to the cluster)
//!                     RaftNode starts them all and serves the cluster port
//! ```
//!
//! Nothing here knows HTTP, tokens or plaintext. Nothing here believes that this node is the leader: reads are proven
//! by a quorum (I4), callers are checked against membership at every message (I10), and a write whose fate is not
//! known is reported as such (I5).

pub mod answers;
pub mod barrier;
pub mod channel;
pub mod clock;
pub mod dial;
pub mod fence;
pub mod handler;
mod handshakes;
pub mod lease;
pub mod membership;
pub mod network;
pub mod node;
pub mod options;
pub mod peer_book;
pub mod peers;
pub mod proposer;
pub mod recall;
pub mod refusal;
pub mod roster;
pub mod runtime;
pub mod server;
mod service;
mod transfer;
pub mod wire;

pub use barrier::{BarrierError, ReadBarrier, ReadPoint};
pub use channel::{Surroundings, Transport};
pub use clock::{ClusterClock, WallClock, system_clock};
pub use fence::Fence;
pub use handler::ClusterHandler;
pub use lease::Lease;
pub use membership::{Member, Membership, MembershipError, Role};
pub use node::{RaftNode, RaftNodeConfig, StartError as RaftError};
pub use options::{RaftOptions, ReadProof};
pub use peer_book::PeerBook;
pub use peers::{PeerError, Peers};
pub use proposer::{ProposeError, Proposer};
pub use roster::Roster;
pub use runtime::RaftRuntime;
pub use server::Services;

use conclave_storage::types::TypeConfig;
use openraft::type_config::alias::WatchReceiverOf;

/// Raft's state without progress: changes only with leader, role and membership.
pub(crate) type ServerMetricsWatch =
    WatchReceiverOf<TypeConfig, openraft::metrics::RaftServerMetrics<TypeConfig>>;

#[cfg(test)]
mod tests;
