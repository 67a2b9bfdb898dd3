//! A node that was removed from its cluster must not answer any more, not even with old data.
//!
//! It learns of it in one of two ways: it applies a committed membership without itself, or, because the entry that
//! removes it may never reach it, members refuse it and name a membership newer than the one it knows. The leader's
//! refusal is enough; without a leader, a quorum of the voters it last knew must say so.
//! A fenced node stays fenced across restarts, until it leaves and joins anew ([`Fence::lift`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use conclave_storage::types::StoredMembership;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::roster::log_index;
use crate::durable;

pub const FENCE_FILE: &str = "fence.json";

/// The fence file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the fence file {path}: {reason}")]
pub struct FenceError {
    pub path: PathBuf,
    pub reason: String,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The log index of the first committed membership that had this node. A node that joins replays older ones,
    /// which do not have it yet: they mean nothing.
    member_since: Option<u64>,
    fenced: bool,
}

struct State {
    record: Record,
    /// Voters that refused this node, by a membership newer than this node knows.
    refused_by: BTreeSet<u64>,
}

/// Whether this node has been removed from its cluster.
pub struct Fence {
    node_id: u64,
    path: PathBuf,
    state: Mutex<State>,
    fenced: watch::Sender<bool>,
}

impl Fence {
    /// Reads the fence of the node in `data_dir`.
    ///
    /// # Errors
    /// [`FenceError`] if the file is there but cannot be read: the node must not start then.
    pub fn open(data_dir: &Path, node_id: u64) -> Result<Self, FenceError> {
        let path = data_dir.join(FENCE_FILE);
        let error = |reason: String| FenceError { path: path.clone(), reason };
        let record = match durable::read(&path).map_err(|cause| error(cause.to_string()))? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|cause| error(cause.to_string()))?,
            None => Record::default(),
        };
        let (fenced, _) = watch::channel(record.fenced);
        Ok(Self { node_id, path, state: Mutex::new(State { record, refused_by: BTreeSet::new() }), fenced })
    }

    pub fn is_fenced(&self) -> bool {
        *self.fenced.borrow()
    }

    /// Whether this node has been a member since its data directory was made.
    pub fn was_member(&self) -> bool {
        self.state.lock().record.member_since.is_some()
    }

    /// Changes once, from false to true.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.fenced.subscribe()
    }

    /// Fences this node on purpose: it has left.
    pub fn fence(&self) {
        self.close(&mut self.state.lock(), "it left");
    }

    /// Looks at the newest membership this node knows to be committed.
    pub fn observe_membership(&self, committed: &StoredMembership) {
        let Some(index) = log_index(committed) else { return };
        let present = committed.membership().get_node(&self.node_id).is_some();
        let mut state = self.state.lock();
        match (present, state.record.member_since) {
            (true, None) => {
                state.record.member_since = Some(index);
                self.save(&state.record);
            }
            // Refusals by an older membership than this one no longer count.
            (true, Some(_)) => state.refused_by.clear(),
            (false, Some(since)) if index > since => {
                self.close(&mut state, "it applied a membership without itself")
            }
            (false, _) => {}
        }
    }

    /// Takes note that `peer` refused this node by the membership at `membership_index`.
    ///
    /// `known` is the newest committed membership this node knows, `leader` the leader it believes in.
    pub fn observe_refusal(
        &self,
        peer: u64,
        membership_index: u64,
        known: &StoredMembership,
        leader: Option<u64>,
    ) {
        let mut state = self.state.lock();
        let is_newer = log_index(known).is_some_and(|known| membership_index > known);
        // A node that has never been a member is merely not added yet.
        if !is_newer || state.record.member_since.is_none() {
            return;
        }
        state.refused_by.insert(peer);
        if leader == Some(peer) {
            self.close(&mut state, "the leader says so");
        } else if quorum_refused(self.node_id, known, &state.refused_by) {
            self.close(&mut state, "a quorum of the voters says so");
        }
    }

    /// Forgets the fence: this data directory starts anew, as another node.
    ///
    /// # Errors
    /// [`FenceError`] if the file cannot be removed.
    pub fn lift(&self) -> Result<(), FenceError> {
        let mut state = self.state.lock();
        durable::remove(&self.path)
            .map_err(|error| FenceError { path: self.path.clone(), reason: error.to_string() })?;
        *state = State { record: Record::default(), refused_by: BTreeSet::new() };
        self.fenced.send_replace(false);
        Ok(())
    }

    fn close(&self, state: &mut State, reason: &str) {
        if state.record.fenced || planted::is(Bug::RemovedNodeNotFenced) {
            return;
        }
        tracing::error!(
            node_id = self.node_id,
            reason,
            "this node was removed from its cluster and is fenced"
        );
        state.record.fenced = true;
        self.save(&state.record);
        self.fenced.send_replace(true);
    }

    /// Fencing in memory must not depend on the disk: a failure is logged, and peers refuse the node after a restart.
    fn save(&self, record: &Record) {
        hit(Point::FenceSave);
        let written = serde_json::to_vec(record)
            .map_err(std::io::Error::other)
            .and_then(|record| durable::write(&self.path, &record));
        hit(Point::FenceSaved);
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the fence file could not be written");
        }
    }
}

/// Whether those who refused could elect a leader without this node. In a cluster of two, the other one can.
fn quorum_refused(node_id: u64, known: &StoredMembership, refused_by: &BTreeSet<u64>) -> bool {
    let configs = known.membership().get_joint_config();
    !configs.is_empty()
        && configs.iter().all(|voters| {
            let others = voters.iter().filter(|voter| **voter != node_id).count();
            let quorum = (voters.len() / 2 + 1).min(others);
            let refused = voters.iter().filter(|voter| refused_by.contains(voter)).count();
            quorum > 0 && refused >= quorum
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use conclave_proto::log;
    use conclave_storage::convert::stored_membership_from_proto;

    use super::*;

    fn membership(index: u64, voters: &[u64]) -> StoredMembership {
        let nodes: BTreeMap<u64, log::Node> = voters.iter().map(|id| (*id, log::Node::default())).collect();
        let config = log::membership::Config { voters: voters.to_vec() };
        stored_membership_from_proto(log::StoredMembership {
            log_id: Some(log::LogId { term: 1, node_id: 1, index }),
            membership: Some(log::Membership { configs: vec![config], nodes }),
        })
        .unwrap()
    }

    fn fence(dir: &tempfile::TempDir) -> Fence {
        Fence::open(dir.path(), 3).unwrap()
    }

    #[test]
    fn a_committed_membership_without_the_node_fences_it_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let before = fence(&dir);
        before.observe_membership(&membership(5, &[1, 2, 3]));
        assert!(!before.is_fenced());
        before.observe_membership(&membership(9, &[1, 2]));
        assert!(before.is_fenced());
        assert!(fence(&dir).is_fenced(), "a restart lifted the fence");
    }

    #[test]
    fn a_joining_node_is_not_fenced_by_the_memberships_before_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let joining = fence(&dir);
        joining.observe_membership(&membership(1, &[1]));
        joining.observe_membership(&membership(2, &[1, 2]));
        assert!(!joining.is_fenced());
    }

    #[test]
    fn a_removal_that_was_applied_before_a_crash_fences_after_it() {
        let dir = tempfile::tempdir().unwrap();
        fence(&dir).observe_membership(&membership(5, &[1, 2, 3]));
        let restarted = fence(&dir);
        restarted.observe_membership(&membership(9, &[1, 2]));
        assert!(restarted.is_fenced());
    }

    #[test]
    fn the_leaders_refusal_fences_and_another_nodes_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let node = fence(&dir);
        let known = membership(5, &[1, 2, 3]);
        node.observe_membership(&known);
        node.observe_refusal(2, 9, &known, Some(1));
        assert!(!node.is_fenced());
        node.observe_refusal(1, 9, &known, Some(1));
        assert!(node.is_fenced());
    }

    #[test]
    fn without_a_leader_a_quorum_of_the_voters_must_refuse() {
        let dir = tempfile::tempdir().unwrap();
        let node = fence(&dir);
        let known = membership(5, &[1, 2, 3, 4, 5]);
        node.observe_membership(&known);
        node.observe_refusal(1, 9, &known, None);
        node.observe_refusal(1, 9, &known, None);
        node.observe_refusal(9, 9, &known, None);
        node.observe_refusal(2, 9, &known, None);
        assert!(!node.is_fenced());
        node.observe_refusal(4, 9, &known, None);
        assert!(node.is_fenced());
    }

    #[test]
    fn in_a_cluster_of_two_the_other_voter_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let node = fence(&dir);
        let known = membership(5, &[1, 3]);
        node.observe_membership(&known);
        node.observe_refusal(1, 9, &known, None);
        assert!(node.is_fenced());
    }

    #[test]
    fn a_refusal_by_an_old_membership_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let node = fence(&dir);
        let known = membership(5, &[1, 2, 3]);
        node.observe_membership(&known);
        for index in [0, 4, 5] {
            node.observe_refusal(1, index, &known, Some(1));
            node.observe_refusal(2, index, &known, Some(1));
        }
        assert!(!node.is_fenced());
    }

    #[test]
    fn a_fence_file_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FENCE_FILE), "{").unwrap();
        assert!(Fence::open(dir.path(), 3).is_err());
    }

    #[test]
    fn a_lifted_fence_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let node = fence(&dir);
        node.observe_membership(&membership(5, &[1, 2, 3]));
        node.observe_membership(&membership(9, &[1, 2]));
        node.lift().unwrap();
        assert!(!node.is_fenced() && !fence(&dir).is_fenced());
    }
}
