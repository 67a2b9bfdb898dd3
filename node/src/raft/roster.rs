//! Who belongs to the cluster, as far as this node knows: whom it answers (I10) and where it finds others.
//!
//! A caller is let in if it is in the membership this node works with or in the last one it knows to be committed.
//! Either alone would lock a node out for good: the one it works with may be an entry of a deposed leader that is
//! about to be replaced by the very node it leaves out; the committed one does not know who was added just now.
//!
//! A node that has just joined reads the log from its beginning, and with it memberships from before its time, which may
//! have nobody in common with today's. They decide nothing: until it has found itself among the members, it takes the
//! log from any node of its cluster, which is what a certificate proves.
//!
//! A node that was away may not know the present leader at all. It then asks the members it does know
//! ([`Roster::vouch`]); it never lets anybody in merely because the authority signed the certificate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use conclave_faults::{Bug, planted};
use conclave_storage::types::{Node, StoredMembership};
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::ServerMetricsWatch;

/// Whether a node may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Member,
    /// This node has not been in any membership that it knows of: it has just been added and waits for the entries that say
    /// so.
    NothingKnown,
    /// Not in the membership committed at this log index.
    Refused {
        membership_index: u64,
    },
}

/// The members, from Raft's own state once it runs.
pub struct Roster {
    raft: OnceLock<Followed>,
    vouched: RwLock<Option<StoredMembership>>,
    /// Addresses that Raft named before this node's own membership did.
    hints: RwLock<BTreeMap<u64, Node>>,
    stranger: Notify,
}

struct Followed {
    metrics: ServerMetricsWatch,
    /// What stood in the storage when the node started: Raft's metrics are empty until it first reports, and an
    /// empty membership would let strangers in.
    at_start: Memberships,
    /// This node's id, if it has never been a member as far as it remembers.
    newcomer: Option<u64>,
    /// It has found itself since.
    arrived: AtomicBool,
}

/// The membership Raft works with, and the last one it knows to be committed.
pub type Memberships = (Arc<StoredMembership>, Arc<StoredMembership>);

impl Roster {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            raft: OnceLock::new(),
            vouched: RwLock::new(None),
            hints: RwLock::new(BTreeMap::new()),
            stranger: Notify::new(),
        })
    }

    /// Follows Raft's membership from now on. The first call counts. `newcomer`: the id of this node, if it has never been a
    /// member before.
    pub fn follow(&self, metrics: ServerMetricsWatch, at_start: Memberships, newcomer: Option<u64>) {
        let arrived = AtomicBool::new(newcomer.is_none());
        let _already_followed = self.raft.set(Followed { metrics, at_start, newcomer, arrived });
    }

    /// Whether `node_id` may call this node, decided on the membership of this moment.
    pub fn access(&self, node_id: u64) -> Access {
        if planted::is(Bug::StrangersAdmitted) {
            return Access::Member;
        }
        let (effective, committed) = self.memberships();
        if is_empty(&effective) && is_empty(&committed) {
            return Access::NothingKnown;
        }
        let vouched = self.vouched.read();
        let known = newest(&committed, vouched.as_ref());
        if self.waits_for_its_own(known, &effective) {
            return Access::NothingKnown;
        }
        if contains(known, node_id)
            || (log_index(&effective) > log_index(known) && contains(&effective, node_id))
        {
            return Access::Member;
        }
        // A membership older than what is known to be committed decides nothing any more.
        self.stranger.notify_one();
        Access::Refused { membership_index: log_index(known).unwrap_or_default() }
    }

    /// Whether this node is new and not in these memberships either. Once it was, it stays bound by what it knows.
    fn waits_for_its_own(&self, known: &StoredMembership, effective: &StoredMembership) -> bool {
        let Some(Followed { newcomer: Some(this), arrived, .. }) = self.raft.get() else { return false };
        if !arrived.load(Ordering::Acquire) && (contains(known, *this) || contains(effective, *this)) {
            arrived.store(true, Ordering::Release);
        }
        !arrived.load(Ordering::Acquire)
    }

    /// Takes over a membership that a member of this cluster says is committed, if it is newer than what is known.
    pub fn vouch(&self, membership: StoredMembership) {
        let (_, committed) = self.memberships();
        let mut vouched = self.vouched.write();
        if log_index(&membership) > log_index(newest(&committed, vouched.as_ref())) {
            *vouched = Some(membership);
        }
    }

    /// Waits until somebody called whom this node does not know.
    pub async fn stranger_called(&self) {
        self.stranger.notified().await;
    }

    /// Remembers where Raft says a node is, until the membership says it.
    pub fn hint(&self, node_id: u64, node: &Node) {
        self.hints.write().insert(node_id, node.clone());
    }

    /// Where `node_id` is, by the newest membership that has it.
    pub fn node(&self, node_id: u64) -> Option<Node> {
        let (effective, committed) = self.memberships();
        let vouched = self.vouched.read();
        [Some(&*effective), vouched.as_ref(), Some(&*committed)]
            .into_iter()
            .flatten()
            .filter(|membership| contains(membership, node_id))
            .max_by_key(|membership| log_index(membership))
            .and_then(|membership| membership.membership().get_node(&node_id).cloned())
            .or_else(|| self.hints.read().get(&node_id).cloned())
    }

    /// The last committed membership this node knows of.
    pub fn committed(&self) -> StoredMembership {
        let (_, committed) = self.memberships();
        newest(&committed, self.vouched.read().as_ref()).clone()
    }

    /// The leader this node believes in. A belief, good for choosing whom to ask, never for answering.
    pub fn leader(&self) -> Option<u64> {
        self.raft.get().and_then(|raft| raft.metrics.borrow_watched().current_leader)
    }

    fn memberships(&self) -> Memberships {
        let Some(raft) = self.raft.get() else { return Memberships::default() };
        let metrics = raft.metrics.borrow_watched();
        if is_empty(&metrics.membership_config) && is_empty(&metrics.committed_membership_config) {
            return raft.at_start.clone();
        }
        (metrics.membership_config.clone(), metrics.committed_membership_config.clone())
    }
}

fn newest<'a>(
    committed: &'a StoredMembership,
    vouched: Option<&'a StoredMembership>,
) -> &'a StoredMembership {
    match vouched {
        Some(vouched) if log_index(vouched) > log_index(committed) => vouched,
        _ => committed,
    }
}

fn contains(membership: &StoredMembership, node_id: u64) -> bool {
    membership.membership().get_node(&node_id).is_some()
}

fn is_empty(membership: &StoredMembership) -> bool {
    membership.membership().nodes().next().is_none()
}

/// The log index that set the membership; committed memberships of all nodes are ordered by it.
pub fn log_index(membership: &StoredMembership) -> Option<u64> {
    membership.log_id().as_ref().map(|id| id.index())
}
