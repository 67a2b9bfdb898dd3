//! The read barrier: no linearizable answer without a point in the log that was proven, by a lease or a quorum (I4).
//!
//! Readers that arrive while a proof is under way wait for the next one and share it: an answer may only come from a
//! proof that began after the question. So one proof at a time serves any number of readers. The leader proves
//! itself by its lease, and without one by a round of heartbeats; a follower asks the leader. Then the reader waits
//! until this node has applied that far. Nothing here trusts a belief about who leads.

use std::sync::Arc;
use std::time::Duration;

use conclave_faults::{Bug, planted};
use conclave_proto::peer::ReadIndexResponse;
use conclave_storage::StateReader;
use conclave_storage::types::{LinearizableReadError, Raft, RaftError};
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::clock::ClusterClock;
use super::fence::Fence;
use super::lease::Lease;
use super::peers::{PeerError, Peers, ReadIndexLine};

/// Readers that may wait for a proof at one node.
const READERS_MAX: usize = 65_536;
/// How often a proof lets other tasks run before it begins; measured.
const GATHERING_YIELDS: usize = 4;
/// How long one proof may take before it is begun anew.
const ROUND_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before the next try when there is no leader.
const NO_LEADER_PAUSE: Duration = Duration::from_millis(10);

/// Whoever has applied `index` may answer, comparing expiries with `time_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPoint {
    /// Log index.
    pub index: u64,
    /// The cluster's time, Unix milliseconds.
    pub time_ms: u64,
}

/// Why nothing could be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    #[error("there is no leader")]
    NoLeader,
    /// The leader had no quorum, or this node did not catch up, before the caller's deadline.
    #[error("no quorum confirmed the read in time")]
    Timeout,
    #[error("this node was removed from its cluster")]
    Fenced,
}

/// Proves read points. Cheap to clone.
#[derive(Clone)]
pub struct ReadBarrier {
    inner: Arc<Inner>,
    waiting: mpsc::Sender<oneshot::Sender<Result<Proof, BarrierError>>>,
}

struct Inner {
    grounds: Grounds,
    /// When the last proof began whose point this node has applied.
    confirmed: Mutex<Option<Instant>>,
}

/// A read point, and when the question was put to the quorum.
#[derive(Debug, Clone, Copy)]
struct Proof {
    point: ReadPoint,
    begun: Instant,
}

/// What proofs are made of.
pub struct Grounds {
    pub node_id: u64,
    pub raft: Raft,
    pub reader: StateReader,
    pub peers: Peers,
    pub fence: Arc<Fence>,
    pub clock: Arc<ClusterClock>,
    pub lease: Arc<Lease>,
}

impl ReadBarrier {
    /// Starts the barrier; its proofs run on `runtime`, which must be Raft's.
    pub fn start(runtime: &Handle, grounds: Grounds) -> Self {
        let (waiting, readers) = mpsc::channel(READERS_MAX);
        let (questions, asked) = mpsc::channel(1);
        let inner = Arc::new(Inner { grounds, confirmed: Mutex::new(None) });
        runtime.spawn(prove(inner.clone(), asked));
        // Here, where the readers are: each that Raft's threads woke would cost a thread's waking.
        tokio::spawn(ask_for_all(readers, questions));
        Self { inner, waiting }
    }

    /// Waits until this node's state is as new as the cluster's was when this was called.
    ///
    /// Tries again until `deadline` while the leader changes.
    ///
    /// # Errors
    /// [`BarrierError`]: what stood in the way at the deadline, or that this node must not answer at all.
    pub async fn read_point(&self, deadline: Instant) -> Result<ReadPoint, BarrierError> {
        if let Some(proof) = self.inner.leased() {
            if self.inner.has_applied(&proof) {
                return Ok(proof.point);
            }
            return self.apply(proof, deadline).await;
        }
        let mut reason = BarrierError::Timeout;
        loop {
            if self.inner.grounds.fence.is_fenced() {
                return Err(BarrierError::Fenced);
            }
            match timeout_at(deadline, self.share_proof()).await {
                Ok(Ok(proof)) => return self.apply(proof, deadline).await,
                Ok(Err(BarrierError::Fenced)) => return Err(BarrierError::Fenced),
                Ok(Err(error)) => reason = error,
                Err(_) => return Err(reason),
            }
            if deadline <= Instant::now() + NO_LEADER_PAUSE {
                return Err(reason);
            }
            tokio::time::sleep(NO_LEADER_PAUSE).await;
        }
    }

    /// How old this node's state may be at most: the time since a question whose answer it has applied.
    /// `None`: nothing has been proven since the node started.
    pub fn age(&self) -> Option<Duration> {
        // What is committed may not be applied yet, at the leader as anywhere, and another node may have told of it.
        let leased = self.inner.leased();
        if let Some(proof) = leased.filter(|proof| self.inner.has_applied(proof)) {
            self.inner.confirm(proof.begun);
        }
        self.inner.confirmed.lock().map(|begun| begun.elapsed())
    }

    /// Answers a follower that asks for the read index: the leader's side of the barrier.
    ///
    /// # Errors
    /// `Unavailable` if this node does not lead or has no quorum.
    pub async fn answer_read_index(&self) -> Result<ReadIndexResponse, Status> {
        let proven = match self.inner.leased() {
            Some(proof) => Ok(proof.point),
            None => self.inner.prove_leadership().await,
        };
        match proven {
            Ok(point) => Ok(ReadIndexResponse { index: point.index, time_ms: point.time_ms }),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }

    async fn share_proof(&self) -> Result<Proof, BarrierError> {
        let (sender, proof) = oneshot::channel();
        // Both fail only while the node stops.
        self.waiting.send(sender).await.map_err(|_| BarrierError::NoLeader)?;
        proof.await.map_err(|_| BarrierError::NoLeader)?
    }

    async fn apply(&self, proof: Proof, deadline: Instant) -> Result<ReadPoint, BarrierError> {
        if !self.inner.has_applied(&proof) {
            let mut applied = self.inner.grounds.reader.applied();
            let reached = applied.wait_for(|index| *index >= proof.point.index);
            match timeout_at(deadline, reached).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return Err(BarrierError::Timeout),
            }
        }
        self.inner.confirm(proof.begun);
        Ok(proof.point)
    }
}

/// One proof after the other, each for all who asked before it began.
async fn ask_for_all(
    mut readers: mpsc::Receiver<oneshot::Sender<Result<Proof, BarrierError>>>,
    questions: mpsc::Sender<oneshot::Sender<Result<Proof, BarrierError>>>,
) {
    let mut asking = Vec::new();
    while readers.recv_many(&mut asking, READERS_MAX).await > 0 {
        // Readers come in bursts, woken by the proof before: those that are on their way share this one.
        for _ in 0..GATHERING_YIELDS {
            tokio::task::yield_now().await;
        }
        for _ in 0..readers.len() {
            asking.extend(readers.try_recv());
        }
        let (question, answer) = oneshot::channel();
        // Both fail only while the node stops.
        let proof = match questions.send(question).await {
            Ok(()) => answer.await.unwrap_or(Err(BarrierError::NoLeader)),
            Err(_) => Err(BarrierError::NoLeader),
        };
        while planted::is(Bug::ProofForLatecomers)
            && let Ok(late) = readers.try_recv()
        {
            asking.push(late);
        }
        for reader in asking.drain(..) {
            // A reader that ran out of time has gone.
            let _gone = reader.send(proof);
        }
    }
}

/// Answers one question after the other, on Raft's threads.
async fn prove(
    inner: Arc<Inner>,
    mut questions: mpsc::Receiver<oneshot::Sender<Result<Proof, BarrierError>>>,
) {
    let mut line = ReadIndexLine::new(inner.grounds.peers.clone());
    while let Some(question) = questions.recv().await {
        let begun = Instant::now();
        let proof = inner.prove(&mut line, begun).await.map(|point| Proof { point, begun });
        let _gone = question.send(proof);
    }
}

impl Inner {
    /// What the leader's lease proves.
    fn leased(&self) -> Option<Proof> {
        let Grounds { lease, fence, reader, clock, .. } = &self.grounds;
        let age = lease.proven_for().filter(|_| !fence.is_fenced())?;
        let index = lease.read_index();
        let point = ReadPoint { index, time_ms: clock.lead_ms(reader.applied_time_ms()) };
        Some(Proof { point, begun: Instant::now() - age })
    }

    fn has_applied(&self, proof: &Proof) -> bool {
        self.grounds.reader.applied_index() >= proof.point.index
    }

    fn confirm(&self, begun: Instant) {
        let mut confirmed = self.confirmed.lock();
        *confirmed = (*confirmed).max(Some(begun));
    }

    async fn prove(&self, line: &mut ReadIndexLine, begun: Instant) -> Result<ReadPoint, BarrierError> {
        if self.grounds.fence.is_fenced() {
            return Err(BarrierError::Fenced);
        }
        // Wrong beliefs cost a round: the node that is asked must prove itself.
        let leader = self.grounds.raft.server_metrics().borrow_watched().current_leader;
        match leader {
            Some(leader) if leader == self.grounds.node_id => self.prove_leadership().await,
            Some(leader) => self.ask(line, leader, begun + ROUND_TIMEOUT).await,
            None => Err(BarrierError::NoLeader),
        }
    }

    async fn prove_leadership(&self) -> Result<ReadPoint, BarrierError> {
        let begun = Instant::now();
        let linearizer = self.grounds.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(
            |error| match error {
                RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => BarrierError::Timeout,
                RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) | RaftError::Fatal(_) => {
                    BarrierError::NoLeader
                }
            },
        )?;
        // Raft may have taken an answer from before for a new one.
        if !self.grounds.lease.is_followed_since(begun) {
            return Err(BarrierError::Timeout);
        }
        let time_ms = self.grounds.clock.lead_ms(self.grounds.reader.applied_time_ms());
        Ok(ReadPoint { index: linearizer.read_log_id().index(), time_ms })
    }

    async fn ask(
        &self,
        line: &mut ReadIndexLine,
        leader: u64,
        deadline: Instant,
    ) -> Result<ReadPoint, BarrierError> {
        let answer = tokio::select! {
            answer = line.ask(leader, deadline) => answer,
            // A leader that hangs would cost the whole round, though its successor is known.
            () = self.leader_changed(leader) => return Err(BarrierError::NoLeader),
        };
        match answer {
            Ok(answer) => {
                self.grounds.clock.observe(answer.time_ms);
                Ok(ReadPoint { index: answer.index, time_ms: answer.time_ms })
            }
            Err(_) if self.grounds.fence.is_fenced() => Err(BarrierError::Fenced),
            Err(PeerError::Unknown(_)) => Err(BarrierError::Timeout),
            Err(PeerError::NotSent(_) | PeerError::Refused(_)) => Err(BarrierError::NoLeader),
        }
    }

    async fn leader_changed(&self, from: u64) {
        let mut metrics = self.grounds.raft.server_metrics();
        while metrics.borrow_and_update().current_leader == Some(from) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}
