//! The one place where openraft's generics are filled in.
//!
//! openraft is pinned to an alpha, so no other file names its type parameters: an upgrade that moves them is an
//! edit here and in `convert.rs`. The types below are what Raft passes around in memory; what goes to disk and
//! to other nodes is our own protobuf, never a serialisation of these.

use conclave_proto::txn::Outcome;
use openraft::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

pub use crate::batch::Batch;

openraft::declare_raft_types!(
    /// What Conclave's Raft is made of; everything not named here is openraft's default for this version.
    pub TypeConfig:
        D = Batch,
        R = Response,
        NodeId = u64,
        Node = Node,
        Term = u64,
        LeaderId = openraft::impls::leader_id_adv::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

pub type NodeId = u64;
pub type LeaderId = alias::LeaderIdOf<TypeConfig>;
pub type Vote = alias::VoteOf<TypeConfig>;
pub type LogId = alias::LogIdOf<TypeConfig>;
pub type Entry = alias::EntryOf<TypeConfig>;
pub type EntryPayload = alias::PayloadOf<TypeConfig>;
pub type Membership = openraft::Membership<NodeId, Node>;
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = alias::SnapshotOf<TypeConfig, crate::snapshot::SnapshotData>;

/// A running Raft node on this crate's storage.
pub type Raft = openraft::Raft<TypeConfig, crate::state_machine::StateMachine>;
pub type RaftMetrics = openraft::RaftMetrics<TypeConfig>;
pub type AppendEntriesRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub type AppendEntriesResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub type StreamAppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
pub type StreamAppendError = openraft::raft::StreamAppendError<TypeConfig>;
pub type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;
pub type TransferLeaderRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub type TransferLeaderResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub type TransferLeaderError = openraft::raft::TransferLeaderError<TypeConfig>;
pub type ClientWriteResponse = openraft::raft::ClientWriteResponse<TypeConfig>;
pub type ClientWriteError = openraft::errors::ClientWriteError<TypeConfig>;
pub type ForwardToLeader = openraft::errors::ForwardToLeader<TypeConfig>;
pub type LinearizableReadError = openraft::errors::LinearizableReadError<TypeConfig>;
pub type InitializeError = openraft::errors::InitializeError<TypeConfig>;
pub type RaftError<E = openraft::errors::Infallible> = openraft::errors::RaftError<TypeConfig, E>;
pub type Fatal = openraft::errors::Fatal<TypeConfig>;
pub type RpcError<E = openraft::errors::Infallible> = openraft::errors::RPCError<TypeConfig, E>;
pub type StreamingError = openraft::errors::StreamingError<TypeConfig>;
pub type Unreachable = openraft::errors::Unreachable<TypeConfig>;
pub type NetworkError = openraft::errors::NetworkError<TypeConfig>;
pub type ReplicationClosed = openraft::errors::ReplicationClosed;
pub type ChangeMembers = openraft::ChangeMembers<NodeId, Node>;

/// What applying a [`Batch`] gave; every replica computes the same, only the proposer is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Response {
    /// One outcome a transaction, in order. Empty for entries that carry none.
    #[serde(with = "outcomes")]
    pub outcomes: Vec<Outcome>,
    /// The index of the log entry, which is the revision of everything it wrote.
    pub revision: u64,
}

/// How to reach a member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// Where clients reach it, as a URL.
    pub api_addr: String,
    /// Where other nodes reach it, as `host:port`.
    pub cluster_addr: String,
}

/// Serde of outcomes, for openraft only: `None` is applied, a number is the precondition that failed.
mod outcomes {
    use super::*;

    pub fn serialize<S: Serializer>(outcomes: &[Outcome], serializer: S) -> Result<S::Ok, S::Error> {
        let plain = outcomes.iter().map(|outcome| match outcome {
            Outcome::Applied { revision } => (Some(*revision), None),
            Outcome::Conflict { precondition } => (None, Some(*precondition)),
        });
        ser::Serializer::collect_seq(serializer, plain)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Outcome>, D::Error> {
        let plain = Vec::<(Option<u64>, Option<usize>)>::deserialize(deserializer)?;
        let outcome = |parts| match parts {
            (Some(revision), None) => Ok(Outcome::Applied { revision }),
            (None, Some(precondition)) => Ok(Outcome::Conflict { precondition }),
            _ => Err(de::Error::custom("an outcome is either applied or a conflict")),
        };
        plain.into_iter().map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use conclave_proto::log;

    use super::*;

    #[test]
    fn an_entry_never_prints_what_it_carries() {
        let mut txn = log::Txn::default();
        txn.put("canary-key", "canary-value");
        txn.require("canary-key", 3);
        let batch = Batch::from(log::Batch { time_ms: 1, txns: vec![txn] });
        let payload = EntryPayload::Normal(batch);
        for text in [format!("{payload:?}"), format!("{payload}")] {
            assert!(text.contains("1 transactions"), "{text}");
            assert!(!text.contains("canary") && !text.contains("99, 97, 110"), "{text}");
        }
    }

    #[test]
    fn responses_survive_serde() {
        let response = Response {
            outcomes: vec![Outcome::Applied { revision: 7 }, Outcome::Conflict { precondition: 2 }],
            revision: 7,
        };
        let text = serde_json::to_string(&response).unwrap();
        assert_eq!(serde_json::from_str::<Response>(&text).unwrap(), response);
        assert!(serde_json::from_str::<Response>(r#"{"outcomes":[[null,null]],"revision":1}"#).is_err());
    }
}
