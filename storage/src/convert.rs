//! openraft's types to and from our protobuf, for the disk and for the network between nodes.
//!
//! Encoding cannot fail. Decoding refuses what is missing or contradicts itself, because bytes come from a disk
//! or from another node; it must never panic and never fill a gap with a default.

use std::collections::{BTreeMap, BTreeSet};

use conclave_proto::log;
use openraft::vote::RaftLeaderId as _;

use crate::types::{
    Batch, Entry, EntryPayload, LeaderId, LogId, Membership, Node, SnapshotMeta, StoredMembership, Vote,
};

/// A message that cannot be what a well-behaved node wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("a Raft message lacks its field '{0}'")]
    Missing(&'static str),
    #[error("a Raft membership contradicts itself: {0}")]
    Membership(String),
    #[error("a Raft entry's batch does not decode: {0}")]
    Batch(#[from] prost::DecodeError),
}

pub fn log_id_to_proto(id: &LogId) -> log::LogId {
    let leader = id.committed_leader_id();
    log::LogId { term: leader.term, node_id: leader.node_id, index: id.index() }
}

pub fn log_id_from_proto(id: &log::LogId) -> LogId {
    LogId::new(LeaderId::new(id.term, id.node_id), id.index)
}

pub fn vote_to_proto(vote: &Vote) -> log::Vote {
    log::Vote { term: vote.leader_id.term, node_id: vote.leader_id.node_id, committed: vote.committed }
}

pub fn vote_from_proto(vote: &log::Vote) -> Vote {
    Vote { leader_id: LeaderId::new(vote.term, vote.node_id), committed: vote.committed }
}

pub fn node_to_proto(node: &Node) -> log::Node {
    log::Node {
        name: node.name.clone(),
        api_addr: node.api_addr.clone(),
        cluster_addr: node.cluster_addr.clone(),
    }
}

pub fn node_from_proto(node: log::Node) -> Node {
    Node { name: node.name, api_addr: node.api_addr, cluster_addr: node.cluster_addr }
}

pub fn membership_to_proto(membership: &Membership) -> log::Membership {
    let config =
        |voters: &BTreeSet<u64>| log::membership::Config { voters: voters.iter().copied().collect() };
    log::Membership {
        configs: membership.get_joint_config().iter().map(config).collect(),
        nodes: membership.nodes().map(|(id, node)| (*id, node_to_proto(node))).collect(),
    }
}

pub fn membership_from_proto(membership: log::Membership) -> Result<Membership, ConvertError> {
    let configs = membership.configs.into_iter().map(|config| config.voters.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Node> =
        membership.nodes.into_iter().map(|(id, node)| (id, node_from_proto(node))).collect();
    Membership::new(configs, nodes).map_err(|error| ConvertError::Membership(error.to_string()))
}

pub fn entry_to_proto(entry: &Entry) -> log::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => log::entry::Payload::Blank(true),
        EntryPayload::Normal(batch) => log::entry::Payload::Batch(batch.encoded().clone()),
        EntryPayload::Membership(membership) => {
            log::entry::Payload::Membership(membership_to_proto(membership))
        }
    };
    log::Entry { log_id: Some(log_id_to_proto(&entry.log_id)), payload: Some(payload) }
}

pub fn entry_from_proto(entry: log::Entry) -> Result<Entry, ConvertError> {
    let log_id = log_id_from_proto(&entry.log_id.ok_or(ConvertError::Missing("entry.log_id"))?);
    let payload = match entry.payload.ok_or(ConvertError::Missing("entry.payload"))? {
        log::entry::Payload::Blank(_) => EntryPayload::Blank,
        log::entry::Payload::Batch(encoded) => EntryPayload::Normal(Batch::decode(encoded)?),
        log::entry::Payload::Membership(membership) => {
            EntryPayload::Membership(membership_from_proto(membership)?)
        }
    };
    Ok(Entry { log_id, payload })
}

pub fn stored_membership_to_proto(stored: &StoredMembership) -> log::StoredMembership {
    log::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

pub fn stored_membership_from_proto(stored: log::StoredMembership) -> Result<StoredMembership, ConvertError> {
    let membership = stored.membership.ok_or(ConvertError::Missing("stored_membership.membership"))?;
    Ok(StoredMembership::new(
        stored.log_id.as_ref().map(log_id_from_proto),
        membership_from_proto(membership)?,
    ))
}

/// openraft's metadata has no id; the snapshot itself carries one ([`crate::snapshot::SnapshotData::id`]).
pub fn snapshot_meta_to_proto(meta: &SnapshotMeta, snapshot_id: &str) -> log::SnapshotMeta {
    log::SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_to_proto),
        last_membership: Some(stored_membership_to_proto(&meta.last_membership)),
        snapshot_id: snapshot_id.to_owned(),
    }
}

/// The metadata and the id.
pub fn snapshot_meta_from_proto(meta: log::SnapshotMeta) -> Result<(SnapshotMeta, String), ConvertError> {
    let membership = meta.last_membership.ok_or(ConvertError::Missing("snapshot_meta.last_membership"))?;
    let converted = SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_from_proto),
        last_membership: stored_membership_from_proto(membership)?,
    };
    Ok((converted, meta.snapshot_id))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn log_ids() -> impl Strategy<Value = LogId> {
        any::<(u64, u64, u64)>().prop_map(|(term, node, index)| LogId::new(LeaderId::new(term, node), index))
    }

    fn memberships() -> impl Strategy<Value = Membership> {
        let node = any::<(String, String, String)>().prop_map(|(name, api_addr, cluster_addr)| Node {
            name,
            api_addr,
            cluster_addr,
        });
        let nodes = btree_map(any::<u64>(), node, 0..5);
        let configs = vec(btree_set(0..9_u64, 1..4), 0..3);
        (configs, nodes).prop_map(|(configs, mut nodes)| {
            for id in configs.iter().flatten() {
                nodes.entry(*id).or_default();
            }
            Membership::new(configs, nodes).expect("no configuration is empty and every voter has a node")
        })
    }

    fn batches() -> impl Strategy<Value = Batch> {
        let precondition = (vec(any::<u8>(), 0..40), any::<u64>())
            .prop_map(|(key, revision)| log::Precondition { key: key.into(), revision });
        let write = (vec(any::<u8>(), 0..40), any::<Option<Vec<u8>>>(), any::<u64>()).prop_map(
            |(key, value, expires_at_ms)| log::Write {
                key: key.into(),
                value: value.map(Into::into),
                expires_at_ms,
            },
        );
        let limit = (vec(any::<u8>(), 0..40), any::<u64>())
            .prop_map(|(count_key, fewer_than)| log::Limit { count_key: count_key.into(), fewer_than });
        let named = any::<(u64, u64)>();
        let txn = (vec(precondition, 0..3), vec(write, 0..3), named, vec(limit, 0..2)).prop_map(
            |(preconditions, writes, (proposer, number), limits)| log::Txn {
                preconditions,
                writes,
                proposer,
                number,
                limits,
            },
        );
        (any::<u64>(), vec(txn, 0..4)).prop_map(|(time_ms, txns)| Batch::from(log::Batch { time_ms, txns }))
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let payload = prop_oneof![
            Just(EntryPayload::Blank),
            batches().prop_map(EntryPayload::Normal),
            memberships().prop_map(EntryPayload::Membership),
        ];
        (log_ids(), payload).prop_map(|(log_id, payload)| Entry { log_id, payload })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn entries_come_back_from_their_bytes(entry in entries()) {
            let bytes = entry_to_proto(&entry).encode_to_vec();
            let back = entry_from_proto(log::Entry::decode(bytes.as_slice()).unwrap()).unwrap();
            prop_assert!(back == entry);
        }

        #[test]
        fn votes_come_back_from_their_bytes(term: u64, node_id: u64, committed: bool) {
            let vote = Vote { leader_id: LeaderId::new(term, node_id), committed };
            let bytes = vote_to_proto(&vote).encode_to_vec();
            prop_assert_eq!(vote_from_proto(&log::Vote::decode(bytes.as_slice()).unwrap()), vote);
        }

        #[test]
        fn snapshot_metadata_comes_back_from_its_bytes(
            last_log_id in proptest::option::of(log_ids()),
            stored_at in proptest::option::of(log_ids()),
            membership in memberships(),
            id: String,
        ) {
            let last_membership = StoredMembership::new(stored_at, membership);
            let meta = SnapshotMeta { last_log_id, last_membership };
            let bytes = snapshot_meta_to_proto(&meta, &id).encode_to_vec();
            let back = snapshot_meta_from_proto(log::SnapshotMeta::decode(bytes.as_slice()).unwrap()).unwrap();
            prop_assert_eq!(back, (meta, id));
        }

        #[test]
        fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(entry) = log::Entry::decode(bytes.as_slice()) {
                let _ = entry_from_proto(entry);
            }
        }
    }

    #[test]
    fn a_message_with_a_gap_is_refused() {
        let blank = Some(log::entry::Payload::Blank(true));
        let missing = |entry| entry_from_proto(entry).unwrap_err();
        assert_eq!(
            missing(log::Entry { log_id: None, payload: blank }),
            ConvertError::Missing("entry.log_id")
        );
        assert_eq!(
            missing(log::Entry { log_id: Some(log::LogId::default()), payload: None }),
            ConvertError::Missing("entry.payload")
        );
        let config = log::membership::Config { voters: vec![1] };
        let no_node = log::Membership { configs: vec![config], nodes: BTreeMap::new() };
        assert!(matches!(membership_from_proto(no_node), Err(ConvertError::Membership(_))));
        let empty = log::Membership {
            configs: vec![log::membership::Config { voters: Vec::new() }],
            nodes: BTreeMap::new(),
        };
        assert!(matches!(membership_from_proto(empty), Err(ConvertError::Membership(_))));
    }
}
