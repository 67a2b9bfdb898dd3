//! Who belongs to the cluster, and changing it: learner first, voter when caught up, one change at a time.
//!
//! All changes are made by the leader and are idempotent: repeating one that was made, or half made by a leader that
//! died, completes it. A node id is never given to another node: it stands for one log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use conclave_storage::types::{ChangeMembers, ClientWriteError, Node, Raft, RaftError};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::ChangeMembershipError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::lease::Lease;

/// A learner that is at most this many entries behind can become a voter.
const PROMOTION_LAG_ENTRIES_MAX: u64 = 1_000;
/// How long a change may wait for a quorum.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another node may take to become leader.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long ago a node may have answered last that a change counts on.
const PROMOTION_CONTACT_MAX: Duration = Duration::from_secs(2);

/// A membership change was not made, or not certainly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Nothing was done: only the leader changes the membership.
    #[error("this node is not the leader")]
    NotLeader,
    #[error("node {0} is not a member")]
    NotMember(u64),
    /// Not yet a voter: it would weaken the quorum.
    #[error("node {node_id} is {lag_entries} entries behind and cannot vote yet")]
    NotCaughtUp { node_id: u64, lag_entries: u64 },
    #[error("the cluster's last voter cannot be removed")]
    LastVoter,
    /// Nothing was done: without the node that is to go, the change would wait for ever and block all others.
    #[error(
        "of the {voters} voters only {answering} others answer, and {quorum} are needed to go on without node {node_id}"
    )]
    NoQuorumWithout { node_id: u64, voters: usize, answering: usize, quorum: usize },
    #[error("no other voter can take over")]
    NoSuccessor,
    /// The change may have been made: repeat it.
    #[error("the change was not confirmed in time: {0}")]
    Unknown(String),
    #[error("raft refused the change: {0}")]
    Refused(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Leader,
    Voter,
    /// Receives everything, decides nothing.
    Learner,
}

/// A member as this node sees it; progress is known to the leader only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub node_id: u64,
    pub node: Node,
    pub role: Role,
    /// The last log index that is known to be stored there.
    pub last_log_index: Option<u64>,
    /// Since it last answered the leader.
    pub last_contact: Option<Duration>,
}

/// Lists and changes the members. Cheap to clone.
#[derive(Clone)]
pub struct Membership {
    node_id: u64,
    raft: Raft,
    /// Held during a change: the next one begins when it is committed.
    changing: Arc<Mutex<()>>,
    lease: Arc<Lease>,
}

impl Membership {
    pub fn new(node_id: u64, raft: Raft, lease: Arc<Lease>) -> Self {
        Self { node_id, raft, lease, changing: Arc::new(Mutex::new(())) }
    }

    /// All members, by node id.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let member = |(node_id, node): (&u64, &Node)| {
            let is_self = *node_id == metrics.id;
            let role = if metrics.current_leader == Some(*node_id) {
                Role::Leader
            } else if voters.contains(node_id) {
                Role::Voter
            } else {
                Role::Learner
            };
            let replicated = metrics.replication.as_ref().and_then(|all| all.get(node_id)).copied().flatten();
            let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(node_id)).copied().flatten();
            Member {
                node_id: *node_id,
                node: node.clone(),
                role,
                last_log_index: if is_self {
                    metrics.last_log_index
                } else {
                    replicated.map(|log_id| log_id.index())
                },
                last_contact: if is_self {
                    Some(Duration::ZERO)
                } else {
                    heard.map(|at| at.into_inner().elapsed())
                },
            }
        };
        membership.nodes().map(member).collect()
    }

    /// The sets of voters whose majorities are needed, each of them: two while one takes the place of the other.
    pub fn quorum_sets(&self) -> Vec<BTreeSet<u64>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().clone()
    }

    /// Makes this node a new cluster of one. Does nothing if it has a log already.
    ///
    /// # Errors
    /// [`MembershipError::Refused`] if Raft has stopped.
    pub async fn initialize(&self, node: Node) -> Result<(), MembershipError> {
        let initialized = self.raft.is_initialized().await.map_err(|error| refused(&error))?;
        if initialized {
            return Ok(());
        }
        self.raft.initialize(BTreeMap::from([(self.node_id, node)])).await.map_err(|error| refused(&error))
    }

    /// Adds a node that receives everything and does not vote yet.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, node_id: u64, node: Node) -> Result<(), MembershipError> {
        let _one_at_a_time = self.begin().await?;
        match self.node(node_id) {
            Some(known) if known == node => Ok(()),
            Some(_) => self.change(ChangeMembers::SetNodes(BTreeMap::from([(node_id, node)]))).await,
            None => self.change(ChangeMembers::AddNodes(BTreeMap::from([(node_id, node)]))).await,
        }
    }

    /// Makes a learner a voter, if it has caught up.
    ///
    /// # Errors
    /// [`MembershipError::NotCaughtUp`], or as every change.
    pub async fn promote(&self, node_id: u64) -> Result<(), MembershipError> {
        let _one_at_a_time = self.begin().await?;
        let member = self.member(node_id).ok_or(MembershipError::NotMember(node_id))?;
        if member.role != Role::Learner {
            return Ok(());
        }
        let lag_entries = self.lag_entries(&member);
        // A node that was never heard of may not exist: as a voter it would take the quorum with it.
        let answers = member.last_log_index.is_some()
            && member.last_contact.is_some_and(|ago| ago < PROMOTION_CONTACT_MAX);
        if !answers || lag_entries > PROMOTION_LAG_ENTRIES_MAX {
            return Err(MembershipError::NotCaughtUp { node_id, lag_entries });
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node_id]))).await
    }

    /// Makes every learner a voter that has caught up, and says which. A change that an earlier leader left half made is
    /// completed first: until then every decision needs a majority of the members before it as well.
    ///
    /// # Errors
    /// As every change; those before it in the list stay promoted.
    pub async fn promote_ready(&self) -> Result<Vec<u64>, MembershipError> {
        self.lead()?;
        if self.is_joint() {
            drop(self.begin().await?);
        }
        let mut promoted = Vec::new();
        for member in self.members().into_iter().filter(|member| member.role == Role::Learner) {
            match self.promote(member.node_id).await {
                Ok(()) => promoted.push(member.node_id),
                Err(MembershipError::NotCaughtUp { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(promoted)
    }

    /// Removes a node: from the commit on nobody answers it.
    ///
    /// A leader that is to remove itself hands over and leaves the removal to its successor.
    ///
    /// # Errors
    /// [`MembershipError::NotLeader`] also after handing over: repeat at the new leader.
    pub async fn remove(&self, node_id: u64) -> Result<(), MembershipError> {
        let one_at_a_time = self.begin().await?;
        let Some(member) = self.member(node_id) else { return Ok(()) };
        if member.role == Role::Learner {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node_id]))).await;
        }
        if self.members().iter().filter(|member| member.role != Role::Learner).count() == 1 {
            return Err(MembershipError::LastVoter);
        }
        if node_id == self.node_id {
            drop(one_at_a_time);
            self.transfer_leadership().await?;
            return Err(MembershipError::NotLeader);
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node_id]))).await
    }

    /// Removes a node that lost its log, if it is a member and the others can commit that without it.
    ///
    /// # Errors
    /// [`MembershipError::NoQuorumWithout`], or as [`Membership::remove`].
    pub async fn remove_lost(&self, node_id: u64) -> Result<(), MembershipError> {
        self.lead()?;
        self.can_do_without(node_id)?;
        self.remove(node_id).await
    }

    /// Whether the other voters that answer can commit without `node_id`.
    ///
    /// # Errors
    /// [`MembershipError::NoQuorumWithout`].
    pub fn can_do_without(&self, node_id: u64) -> Result<(), MembershipError> {
        let answers = |voter: u64| {
            let heard = self.member(voter).and_then(|member| member.last_contact);
            voter != node_id && heard.is_some_and(|ago| ago < PROMOTION_CONTACT_MAX)
        };
        let metrics = self.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        for config in membership.membership().get_joint_config() {
            if !config.contains(&node_id) {
                continue;
            }
            let (voters, quorum) = (config.len(), config.len() / 2 + 1);
            let answering = config.iter().filter(|voter| answers(**voter)).count();
            if answering < quorum {
                return Err(MembershipError::NoQuorumWithout { node_id, voters, answering, quorum });
            }
        }
        Ok(())
    }

    /// Writes a member's new addresses into the membership.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn update_address(&self, node_id: u64, node: Node) -> Result<(), MembershipError> {
        let _one_at_a_time = self.begin().await?;
        match self.node(node_id) {
            None => Err(MembershipError::NotMember(node_id)),
            Some(known) if known == node => Ok(()),
            Some(_) => self.change(ChangeMembers::SetNodes(BTreeMap::from([(node_id, node)]))).await,
        }
    }

    /// Hands leadership to the voter that is furthest, and waits until another node leads.
    ///
    /// # Errors
    /// [`MembershipError::NoSuccessor`] if there is no other voter or none took over in time.
    pub async fn transfer_leadership(&self) -> Result<(), MembershipError> {
        let successor = self
            .members()
            .into_iter()
            .filter(|member| member.role == Role::Voter)
            .max_by_key(|member| (member.last_log_index, std::cmp::Reverse(member.last_contact)))
            .ok_or(MembershipError::NoSuccessor)?;
        self.transfer_leadership_to(successor.node_id).await
    }

    /// Hands leadership to `node_id`, and waits until this node no longer leads.
    ///
    /// # Errors
    /// As [`Membership::transfer_leadership`]; [`MembershipError::NotMember`] if it is no voter.
    pub async fn transfer_leadership_to(&self, node_id: u64) -> Result<(), MembershipError> {
        self.lead()?;
        if node_id == self.node_id {
            return Ok(());
        }
        match self.member(node_id) {
            Some(member) if member.role == Role::Voter => {}
            _ => return Err(MembershipError::NotMember(node_id)),
        }
        // Of its own: a caller that goes away half-way must not leave the lease given up for good.
        let this = self.clone();
        let handing = tokio::spawn(async move { this.hand_over(node_id).await });
        handing.await.map_err(|error| MembershipError::Unknown(error.to_string()))?
    }

    async fn hand_over(&self, node_id: u64) -> Result<(), MembershipError> {
        let _one_at_a_time = self.changing.lock().await;
        self.trigger_transfer(node_id).await?;
        let deadline = Instant::now() + TRANSFER_TIMEOUT;
        let mut metrics = self.raft.server_metrics();
        loop {
            let leader = metrics.borrow_and_update().current_leader;
            if leader.is_some_and(|leader| leader != self.node_id) {
                return Ok(());
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(MembershipError::NoSuccessor),
            }
        }
    }

    /// The successor is elected while the lease of this term runs: it must be given up before anybody hears of it.
    pub(super) async fn trigger_transfer(&self, node_id: u64) -> Result<(), MembershipError> {
        self.lease.give_up();
        self.raft.trigger().transfer_leader(node_id).await.map_err(|error| refused(&error))?;
        // Raft works through its queue in order: this answer comes after the transfer, from its term or a later one.
        let term = self.raft.with_raft_state(|state| state.vote_ref().leader_id.term).await;
        self.lease.resume_after(term.map_err(|error| refused(&error))?);
        Ok(())
    }

    fn lead(&self) -> Result<(), MembershipError> {
        if self.raft.is_leader() { Ok(()) } else { Err(MembershipError::NotLeader) }
    }

    fn is_joint(&self) -> bool {
        let metrics = self.raft.server_metrics();
        metrics.borrow_watched().membership_config.membership().get_joint_config().len() > 1
    }

    fn node(&self, node_id: u64) -> Option<Node> {
        self.member(node_id).map(|member| member.node)
    }

    fn member(&self, node_id: u64) -> Option<Member> {
        self.members().into_iter().find(|member| member.node_id == node_id)
    }

    fn lag_entries(&self, member: &Member) -> u64 {
        let last = self.raft.metrics().borrow_watched().last_log_index.map_or(0, |index| index + 1);
        last.saturating_sub(member.last_log_index.map_or(0, |index| index + 1))
    }

    /// Waits for the change before, and completes it if a leader died in its middle.
    async fn begin(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, MembershipError> {
        let guard = self.changing.lock().await;
        self.lead()?;
        if self.is_joint() {
            // Any change ends a joint configuration; this one has no other effect.
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        }
        Ok(guard)
    }

    async fn change(&self, change: ChangeMembers) -> Result<(), MembershipError> {
        let deadline = Instant::now() + CHANGE_TIMEOUT;
        // Removed voters do not stay as learners.
        match timeout_at(deadline, self.raft.change_membership(change, false)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(error))) => Err(match error {
                ClientWriteError::ForwardToLeader(_) => MembershipError::NotLeader,
                ClientWriteError::LogEntryDiscarded(_) => MembershipError::Unknown(error.to_string()),
                ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
                    MembershipError::Unknown("the change before it is not committed yet".into())
                }
                _ => MembershipError::Refused(error.to_string()),
            }),
            Ok(Err(RaftError::Fatal(error))) => Err(MembershipError::Unknown(error.to_string())),
            Err(_) => Err(MembershipError::Unknown("no quorum".into())),
        }
    }
}

fn refused(error: &impl std::fmt::Display) -> MembershipError {
    MembershipError::Refused(error.to_string())
}
