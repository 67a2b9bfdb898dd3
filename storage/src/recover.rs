//! The last resort, offline: the directory of a member whose cluster lost its quorum for good begins a cluster of one.
//!
//! Raft cannot do that: a change of membership needs the quorum that is gone. So an entry that makes this node the
//! only voter is put behind everything the log holds, in a term that no other node has seen, and nothing is removed:
//! entries that were not known to be committed stay, since any of them may have been acknowledged. What the lost nodes
//! acknowledged and this one never heard of is gone, and nobody can say what it was.

use std::collections::BTreeMap;
use std::path::Path;

use openraft::vote::RaftLeaderId as _;

use crate::error::StorageError;
use crate::log_store::READ_BYTES_MAX;
use crate::store::{Opened, Options, Store, has_known_format};
use crate::types::{Entry, EntryPayload, LeaderId, LogId, Membership, NodeId, StoredMembership, Vote};

/// A stopped member's directory. Locked until it is dropped.
pub struct Remains {
    opened: Opened,
    membership: StoredMembership,
}

impl Remains {
    /// Opens the directory as the node itself would, with all of its checks. `None`: no node has ever used it.
    ///
    /// # Errors
    /// As [`Store::open`]: [`StorageError::InUse`] while the node runs.
    pub fn open(directory: &Path, options: &Options) -> Result<Option<Self>, StorageError> {
        if !has_known_format(directory)? {
            return Ok(None);
        }
        let opened = Store::open(directory, options)?;
        let membership = newest_membership(&opened)?;
        Ok(Some(Self { opened, membership }))
    }

    /// The members as the log knows them last, committed or not.
    pub fn membership(&self) -> &Membership {
        self.membership.membership()
    }

    /// The last entry that this node holds.
    pub fn last(&self) -> Option<LogId> {
        self.opened.log.last()
    }

    /// How far the entries are applied here, which were surely committed.
    pub fn applied_index(&self) -> u64 {
        self.opened.reader.applied_index()
    }

    /// Makes `node_id`, whose directory this is, the only voter and the only member, on disk when this returns.
    /// Gives the entry that says so.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if it was no member, or what the disk says.
    pub fn make_sole_member(&self, node_id: NodeId) -> Result<LogId, StorageError> {
        let node = self.membership().get_node(&node_id).cloned();
        let node = node.ok_or_else(|| {
            StorageError::damaged(format!("the log does not know node {node_id} as a member"))
        })?;
        let last = self.last();
        let voted = self.opened.log.vote().map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(last.map_or(0, |last| last.committed_leader_id().term)) + 1;
        let leader = LeaderId::new(term, node_id);
        let log_id = LogId::new(leader, last.map_or(0, |last| last.index() + 1));
        let alone = Membership::new(vec![[node_id].into()], BTreeMap::from([(node_id, node)]))
            .expect("the voter is among the nodes");
        let entry = Entry { log_id, payload: EntryPayload::Membership(alone) };
        self.opened.log.write_offline(&Vote { leader_id: leader, committed: false }, &entry)?;
        Ok(log_id)
    }
}

/// From the log's unapplied end, or else from the state.
fn newest_membership(opened: &Opened) -> Result<StoredMembership, StorageError> {
    let applied = opened.reader.applied_index();
    if opened.log.purged().is_some_and(|purged| purged.index() > applied) {
        let what = "a snapshot waits to be taken in: start the node once, stop it, and try again";
        return Err(StorageError::Snapshot(what.into()));
    }
    let mut newest = StoredMembership::clone(&opened.reader.membership());
    let Some(last) = opened.log.last() else { return Ok(newest) };
    let mut next = applied + 1;
    while next <= last.index() {
        let entries = opened.log.read(next, last.index() + 1, READ_BYTES_MAX)?;
        let Some(end) = entries.last().map(|entry| entry.log_id.index()) else { break };
        for entry in entries {
            if let EntryPayload::Membership(membership) = entry.payload {
                newest = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        next = end + 1;
    }
    Ok(newest)
}
