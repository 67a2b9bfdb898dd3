//! The running Raft node of a member: its replica, its peers, and how to read, propose and find the leader.

use std::sync::Arc;
use std::time::Duration;

use conclave_core::plan::Context;
use conclave_core::view::{Cursor, Record, Stamp, View, ViewError};
use conclave_faults::failpoint::{Point, hit};
use conclave_proto::log::Txn;
use conclave_proto::peer::{ProposeRequest, StatusResponse};
use conclave_proto::txn::Outcome;
use conclave_storage::types::{Node as Address, RaftMetrics};
use conclave_storage::{Opened, StateReader, StateView, StorageError};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::config::Config;
use crate::fault::Faults;
use crate::identity::{ClusterId, IdentityError, LiveTls};
use crate::node::VERSION;
use crate::raft::{
    Fence, Member, Membership, PeerBook, PeerError, Peers, ProposeError, Proposer, RaftNode, RaftNodeConfig,
    RaftOptions, ReadBarrier, Role, Surroundings, system_clock,
};
use crate::seal::{SealState, Unsealed};
use crate::service::Failure;
use crate::service::sys::membership::certificate_der;

/// Pause before a transaction is offered to the leader again.
const PROPOSE_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Raft(#[from] crate::raft::RaftError),
    #[error(transparent)]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    #[error(transparent)]
    Http(#[from] crate::http::ServeError),
    #[error("the API's certificate: {0}")]
    Certificate(String),
    #[error(
        "{0} holds the data of a cluster, but the node's identity (tls/) is missing: put it back, or empty the \
         directory to begin anew"
    )]
    Orphaned(std::path::PathBuf),
    #[error("the data of the cluster that this node left could not be removed: {0}")]
    Leaving(std::io::Error),
    #[error(
        "{0}; this node knows of no other member that could take it back: put the data directory back as it was. If it \
         has a cluster, empty the directory and join it with a token of 'conclave join-token --replace'; if it was \
         alone, empty it, begin a new cluster and restore a snapshot there"
    )]
    DamagedAlone(StorageError),
    /// The data is whole and too old: other members know more of this node than it does.
    #[error("{0}")]
    RolledBack(String),
    #[error("the loss of this node's data could not be dealt with: {0}")]
    Rejoining(std::io::Error),
    #[error(transparent)]
    Audit(#[from] crate::audit::OpenError),
    #[error("the node stopped: {0}")]
    Fault(String),
    #[error("an earlier attempt to start the node's cluster failed: restart the node")]
    Again,
}

/// A member's side of its cluster.
pub struct Cluster {
    pub cluster_id: ClusterId,
    pub node_id: u64,
    pub reader: StateReader,
    pub barrier: ReadBarrier,
    pub peers: Peers,
    pub membership: Membership,
    pub fence: Arc<Fence>,
    pub book: Arc<PeerBook>,
    pub seal: SealState,
    /// Held while this node, as leader, adds an admitted node to the membership or removes one.
    pub admitting: tokio::sync::Mutex<()>,
    faults: Faults,
    proposer: Proposer,
    raft: RaftNode,
    tls: Arc<LiveTls>,
    request_wait: Duration,
}

impl Cluster {
    /// Starts Raft on `storage`; other nodes are answered once [`Cluster::raft`] is told to serve them.
    pub async fn start(
        config: &Config,
        tls: Arc<LiveTls>,
        storage: Opened,
        surroundings: Option<Surroundings>,
        faults: Faults,
    ) -> Result<Arc<Self>, StartError> {
        let peer = tls.peer()?;
        let defaults = RaftOptions::default();
        let options = RaftOptions {
            heartbeat_ms: config.heartbeat_ms.unwrap_or(defaults.heartbeat_ms),
            election_timeout_min_ms: config
                .election_timeout_min_ms
                .unwrap_or(defaults.election_timeout_min_ms),
            election_timeout_max_ms: config
                .election_timeout_max_ms
                .unwrap_or(defaults.election_timeout_max_ms),
            snapshot_after_entries: config.snapshot_after_entries.unwrap_or(defaults.snapshot_after_entries),
            entries_kept: surroundings
                .as_ref()
                .map(|given| given.entries_kept)
                .or(config.entries_kept)
                .unwrap_or(defaults.entries_kept),
            read_proof: config.read_proof,
            ..defaults
        };
        let raft_config = RaftNodeConfig {
            data_dir: config.data_dir.clone(),
            options,
            tls: Arc::clone(&tls),
            clock: system_clock(),
            calls: Handle::current(),
            surroundings,
        };
        let raft = RaftNode::start(raft_config, storage).await?;
        tokio::spawn({
            let (failure, faults) = (raft.failure(), faults.clone());
            async move {
                if let Some(why) = failure.await {
                    faults.report(why);
                }
            }
        });
        Ok(Arc::new(Self {
            faults,
            cluster_id: peer.cluster_id,
            node_id: peer.node_id,
            reader: raft.reader().clone(),
            barrier: raft.barrier.clone(),
            peers: raft.peers.clone(),
            membership: raft.membership.clone(),
            fence: Arc::clone(&raft.fence),
            book: Arc::clone(&raft.book),
            seal: SealState::new(&config.data_dir),
            admitting: tokio::sync::Mutex::default(),
            proposer: raft.proposer.clone(),
            raft,
            tls,
            request_wait: config.request_wait,
        }))
    }

    pub fn raft(&self) -> &RaftNode {
        &self.raft
    }

    pub fn raft_metrics(&self) -> RaftMetrics {
        self.raft.metrics()
    }

    pub async fn stop(&self) {
        self.raft.stop().await;
    }

    /// A name for people, the same on all nodes.
    pub fn name(&self) -> String {
        format!("conclave-{}", &self.cluster_id.to_string()[..8])
    }

    pub fn uuid(&self) -> String {
        uuid::Uuid::from_bytes(*self.cluster_id.as_bytes()).to_string()
    }

    /// The cluster's authority, in DER.
    pub fn ca_certificate_der(&self) -> Result<Vec<u8>, IdentityError> {
        let missing = || IdentityError::Certificate("the cluster's authority cannot be read".to_owned());
        certificate_der(self.tls.identity().ca_pem()).ok_or_else(missing)
    }

    /// Runs `read` on one consistent view of this node's state.
    pub fn view<T>(&self, read: impl FnOnce(&dyn View) -> T) -> T {
        self.reader.view(|view| read(&self.replica(view)))
    }

    /// As [`Cluster::view`], with the cluster's time as a leader counts it, Unix milliseconds.
    pub fn view_now<T>(&self, read: impl FnOnce(&dyn View, u64) -> T) -> T {
        self.view_at(None, read)
    }

    /// As [`Cluster::view_now`], much cheaper for a few records; `read` may be run twice ([`StateReader::glance`]).
    pub fn glance_now<T>(&self, read: impl Fn(&dyn View, u64) -> T) -> T {
        self.glance_at(None, read)
    }

    /// As [`Cluster::view_now`], at the time of a read point.
    pub fn view_at<T>(&self, at_ms: Option<u64>, read: impl FnOnce(&dyn View, u64) -> T) -> T {
        self.reader.view(|view| read(&self.replica(view), self.time_at(at_ms, view.time_ms())))
    }

    /// As [`Cluster::glance_now`], at the time of a read point.
    pub fn glance_at<T>(&self, at_ms: Option<u64>, read: impl Fn(&dyn View, u64) -> T) -> T {
        self.reader.glance(|view| read(&self.replica(view), self.time_at(at_ms, view.time_ms())))
    }

    /// A leader that has not applied all of its log yet tells an earlier time with a read point than the state has once it is
    /// applied that far: what was deleted meanwhile would be there again.
    fn time_at(&self, at_ms: Option<u64>, state_ms: u64) -> u64 {
        at_ms.map_or_else(|| self.raft.now_ms(state_ms), |at_ms| at_ms.max(state_ms))
    }

    fn replica<'a>(&'a self, view: &'a StateView<'a>) -> Replica<'a> {
        Replica { view, faults: &self.faults }
    }

    /// Takes over the keyring of this node's state, if it is a newer one. Returns whether it was.
    ///
    /// # Errors
    /// The keyring cannot be read.
    pub fn refresh_keys(&self) -> Result<bool, conclave_core::Error> {
        if self.reader.glance(|view| self.seal.is_current(&self.replica(view)))? {
            return Ok(false);
        }
        hit(Point::RotateCommitted);
        self.view(|view| self.seal.refresh(view))
    }

    /// Plans on the current view, at the cluster's time.
    pub fn plan<T>(&self, unsealed: &Unsealed, plan: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.view_now(|view, now_ms| {
            let mut rng = rand::rng();
            plan(&mut Context { view, barrier: &unsealed.barrier, now_ms, rng: &mut rng })
        })
    }

    /// Has a transaction committed by whoever leads now.
    ///
    /// # Errors
    /// [`ProposeError`]; what is not known by the node's bound on waiting stays unknown.
    pub async fn propose(&self, txn: Txn) -> Result<Outcome, ProposeError> {
        self.propose_until(txn, Instant::now() + self.request_wait).await
    }

    /// As [`Cluster::propose`], with the caller's own bound.
    pub async fn propose_until(&self, txn: Txn, deadline: Instant) -> Result<Outcome, ProposeError> {
        self.proposer.propose(txn, deadline).await
    }

    /// Takes in what another node proposes to this one, the leader.
    ///
    /// # Errors
    /// [`ProposeError`]: nothing of it was or will be appended.
    pub fn accept(&self, request: ProposeRequest) -> Result<(), ProposeError> {
        self.proposer.accept(request)
    }

    /// As [`Cluster::propose`], waiting for a leader.
    pub async fn propose_patiently(&self, txn: Txn) -> Result<Outcome, Failure> {
        let deadline = Instant::now() + self.request_wait;
        while Instant::now() < deadline {
            match self.proposer.propose(txn.clone(), deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(ProposeError::Unknown) => return Err(Failure::Unknown),
                Err(error @ ProposeError::TooLarge) => return Err(Failure::TooLarge(error.to_string())),
                Err(ProposeError::NotTaken | ProposeError::Overloaded) => {}
            }
            self.leader_change(PROPOSE_PAUSE).await;
        }
        Err(Failure::NoLeader { waited: self.request_wait })
    }

    /// The leader this node believes in: good for choosing whom to ask, never for answering.
    pub fn leader(&self) -> Option<u64> {
        self.raft.leader()
    }

    /// Waits until the leader changes, at most this long.
    pub async fn leader_change(&self, wait: Duration) {
        self.raft.leader_change(self.leader(), wait).await;
    }

    pub fn members(&self) -> Vec<Member> {
        self.membership.members()
    }

    /// Whether this node has the cluster's time from a leader, and not from its own clock.
    pub fn knows_time(&self) -> bool {
        self.raft.knows_time()
    }

    /// Where a member is.
    pub fn node(&self, node_id: u64) -> Option<Address> {
        self.member(node_id).map(|member| member.node)
    }

    pub fn member(&self, node_id: u64) -> Option<Member> {
        self.members().into_iter().find(|member| member.node_id == node_id)
    }

    pub fn find_member(&self, name: &str) -> Option<Member> {
        self.members().into_iter().find(|member| member.node.name == name)
    }

    /// The other members that vote.
    pub fn other_voters(&self) -> Vec<Member> {
        let votes = |member: &Member| member.node_id != self.node_id && member.role != Role::Learner;
        self.members().into_iter().filter(votes).collect()
    }

    /// What this node says of itself.
    pub fn own_status(&self) -> Result<StatusResponse, StorageError> {
        let raft = self.raft_metrics();
        let hash = self.reader.state_hashes()?.pop();
        Ok(StatusResponse {
            node_id: self.node_id,
            sealed: self.seal.is_sealed(),
            term: raft.current_term,
            applied_index: self.reader.applied_index(),
            leader_id: self.leader().unwrap_or(0),
            version: VERSION.to_owned(),
            hash_index: hash.as_ref().map_or(0, |hash| hash.index),
            state_hash: hash.map_or_else(Default::default, |hash| hash.hash.to_vec().into()),
            last_log_index: raft.last_log_index.unwrap_or(0),
        })
    }

    /// What a member says of itself; `None` if it cannot be asked.
    pub async fn status_of(&self, node_id: u64, deadline: Instant) -> Option<StatusResponse> {
        if node_id == self.node_id {
            return self.own_status().ok();
        }
        let status: Result<_, PeerError> = self.peers.status(node_id, deadline).await;
        status.ok()
    }
}

/// The replicated state as rules see it.
struct Replica<'a> {
    view: &'a StateView<'a>,
    /// Told of damage, whatever becomes of the request that met it.
    faults: &'a Faults,
}

impl View for Replica<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        let found = self.view.get(key).map_err(|error| view_error(self.faults, &error))?;
        Ok(found.map(record))
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, ViewError> {
        let found = self.view.stamp(key).map_err(|error| view_error(self.faults, &error))?;
        Ok(found.map(|found| Stamp { revision: found.revision, expires_at_ms: found.expires_at_ms }))
    }

    fn cursor(&self) -> Box<dyn Cursor + '_> {
        Box::new(ReplicaCursor { cursor: self.view.cursor(), faults: self.faults })
    }
}

struct ReplicaCursor<'a> {
    cursor: conclave_storage::Cursor<'a>,
    faults: &'a Faults,
}

impl Cursor for ReplicaCursor<'_> {
    fn seek(&mut self, from: &[u8]) -> Result<Option<(Vec<u8>, Record)>, ViewError> {
        let found = self.cursor.seek(from).map_err(|error| view_error(self.faults, &error))?;
        Ok(found.map(|(key, stored)| (key, record(stored))))
    }
}

fn record(stored: conclave_storage::StoredRecord) -> Record {
    Record { revision: stored.revision, expires_at_ms: stored.expires_at_ms, sealed: stored.sealed }
}

fn view_error(faults: &Faults, error: &StorageError) -> ViewError {
    faults.report_unreadable(error);
    ViewError(error.to_string())
}
