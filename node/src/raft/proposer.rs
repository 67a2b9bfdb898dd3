//! Commits transactions, whichever node planned them: those that wait together go to the leader together, and become
//! one log entry; several are under way at a time.
//!
//! ```text
//! propose -> [leads] -> append                  -> Raft ... applied here -> fate
//!         -> [else]  -> carry -> leader: accept -> append
//! ```
//!
//! What became of a transaction is told by this node's own state machine ([`Awaited`]), so that no answer can be lost with
//! a leader: it is unknown (I5) only to who does not wait until there is another. For that a transaction names the
//! leader it is for, and only that one, in that term, appends it.

use std::sync::Arc;
use std::time::Duration;

use conclave_faults::{Bug, planted};
use conclave_proto::log::{self, Txn};
use conclave_proto::peer::ProposeRequest;
use conclave_proto::txn::Outcome;
use conclave_storage::types::{Batch, ClientWriteError, LeaderId, Raft};
use conclave_storage::{Awaited, Fate, StateReader, TxnName};
use openraft::async_runtime::WatchReceiver as _;
use openraft::async_runtime::instant::Instant as _;
use openraft::impls::ProgressResponder;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::ServerMetricsWatch;
use super::clock::ClusterClock;
use super::lease::{MetricsWatch, leader_of};
use super::peers::{PeerError, Peers};

/// Transactions that may wait at one node.
const QUEUE_MAX: usize = 16_384;
/// Transactions in one log entry at most.
const BATCH_TXNS_MAX: usize = 512;
/// Bytes of transactions in one log entry, about; a larger transaction has an entry of its own.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Largest transaction, in bytes: its entry must fit into a replication message.
pub const TXN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Entries under way at a time: one is being made durable, the next is on its way. More would only make entries smaller,
/// and what an entry costs is for the most part the same for one transaction and for a hundred.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;
/// Of [`Bug::AckBeforeQuorum`]: after this a write counts as made.
const EARLY_ACK: Duration = Duration::from_millis(5);
/// How long the leader may take to take in what another node proposes.
const CARRY_TIMEOUT: Duration = Duration::from_secs(2);

/// A transaction was not applied, or it is not known whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not applied and never will be: there was no leader, it was replaced before it had committed, or the transaction still
    /// waited to be sent at the deadline.
    #[error("no leader took the change")]
    NotTaken,
    /// Not known at the deadline.
    #[error("whether the change was made is not known")]
    Unknown,
    /// Not proposed: too many wait already.
    #[error("too many changes are waiting")]
    Overloaded,
    /// Not proposed: it does not fit into a log entry.
    #[error("the change is larger than {TXN_BYTES_MAX} bytes")]
    TooLarge,
}

/// Takes transactions to the log. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    node_id: u64,
    metrics: MetricsWatch,
    reader: StateReader,
    /// To be appended by this node.
    append: mpsc::Sender<Pending>,
    /// To be taken to another.
    carry: mpsc::Sender<Pending>,
    clock: Arc<ClusterClock>,
    /// A leader whom no quorum has answered for this long appends nothing, as openraft has it.
    lease_promise: Duration,
}

struct Pending {
    txn: Txn,
    bytes: usize,
    /// Who alone may append it.
    leader: LeaderId,
}

impl Proposer {
    /// Starts the proposer on `runtime`, which must be Raft's.
    pub fn start(
        runtime: &Handle,
        node_id: u64,
        raft: Raft,
        reader: StateReader,
        peers: Peers,
        clock: Arc<ClusterClock>,
        lease_promise: Duration,
    ) -> Self {
        let (append, to_append) = mpsc::channel(QUEUE_MAX);
        let (carry, to_carry) = mpsc::channel(QUEUE_MAX);
        let (metrics, server_metrics) = (raft.metrics(), raft.server_metrics());
        let appender = Appender { node_id, raft, reader: reader.clone(), clock: clock.clone() };
        let carrier =
            Carrier { peers, metrics: server_metrics, reader: reader.clone(), clock: clock.clone() };
        runtime.spawn(append_all(appender, to_append));
        runtime.spawn(carry_all(carrier, to_carry));
        Self { node_id, metrics, reader, append, carry, clock, lease_promise }
    }

    /// Has a transaction committed by whoever leads, and waits until this node has applied it, or knows that it never
    /// will.
    ///
    /// Dropping the future takes the transaction back only if it has not been proposed yet.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, mut txn: Txn, deadline: Instant) -> Result<Outcome, ProposeError> {
        let leader = self.leader().ok_or(ProposeError::NotTaken)?;
        let ticket = self.reader.awaited().register(&mut txn, leader).ok_or(ProposeError::NotTaken)?;
        let bytes = txn.size_bytes();
        if bytes > TXN_BYTES_MAX {
            return Err(ProposeError::TooLarge);
        }
        if Instant::now() >= deadline {
            return Err(ProposeError::NotTaken);
        }
        let queue = if leader.node_id == self.node_id { &self.append } else { &self.carry };
        queue.try_send(Pending { txn, bytes, leader }).map_err(refused)?;
        let early = Instant::now() + EARLY_ACK;
        let deadline = if planted::is(Bug::AckBeforeQuorum) { early } else { deadline };
        match ticket.fate(deadline).await {
            Fate::Applied(outcome) => Ok(outcome),
            Fate::Discarded | Fate::Unknown if planted::is(Bug::AckBeforeQuorum) => {
                Ok(Outcome::Applied { revision: self.reader.applied_index() })
            }
            Fate::Unknown if planted::is(Bug::UnknownToldAsFailed) => Err(ProposeError::NotTaken),
            Fate::Discarded => Err(ProposeError::NotTaken),
            Fate::Unknown => Err(ProposeError::Unknown),
        }
    }

    /// Takes in what another node proposes for this one, as the leader of `term`.
    ///
    /// # Errors
    /// Nothing of it was or will be appended.
    pub fn accept(&self, request: ProposeRequest) -> Result<(), ProposeError> {
        let leader = self
            .leader()
            .filter(|leader| leader.node_id == self.node_id && leader.term == request.term)
            .ok_or(ProposeError::NotTaken)?;
        // The caller would wait in vain: nobody tells it that openraft refused.
        let acknowledged = self.metrics.borrow_watched().last_quorum_acked;
        if acknowledged.is_some_and(|at| at.elapsed() >= self.lease_promise) {
            return Err(ProposeError::NotTaken);
        }
        if request.txns.iter().any(|txn| txn.size_bytes() > TXN_BYTES_MAX) {
            return Err(ProposeError::TooLarge);
        }
        let places = self.append.try_reserve_many(request.txns.len());
        let places = places.map_err(|_| ProposeError::Overloaded)?;
        // A deletion that was planned at a time must not be committed before it: it would show itself late.
        if request.time_ms > 0 {
            self.clock.observe(request.time_ms);
        }
        for (place, txn) in places.zip(request.txns) {
            let bytes = txn.size_bytes();
            place.send(Pending { txn, bytes, leader });
        }
        Ok(())
    }

    /// If that belief is wrong, nobody appends what is sent to it.
    fn leader(&self) -> Option<LeaderId> {
        leader_of(&self.metrics.borrow_watched())
    }
}

fn refused<T>(error: mpsc::error::TrySendError<T>) -> ProposeError {
    match error {
        mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => ProposeError::NotTaken,
    }
}

/// All that wait for the same leader, up to a batch; the one that did not fit any more begins the next.
fn gather(first: Pending, queue: &mut mpsc::Receiver<Pending>) -> (Vec<Pending>, Option<Pending>) {
    let (mut bytes, leader) = (first.bytes, first.leader);
    let mut batch = vec![first];
    while batch.len() < BATCH_TXNS_MAX {
        let Ok(next) = queue.try_recv() else { break };
        if bytes + next.bytes > BATCH_BYTES_MAX || next.leader != leader {
            return (batch, Some(next));
        }
        bytes += next.bytes;
        batch.push(next);
    }
    (batch, None)
}

/// Takes batch after batch from `queue`, each together with a place among those under way.
struct Batches {
    queue: mpsc::Receiver<Pending>,
    carried: Option<Pending>,
    in_flight: Arc<Semaphore>,
}

impl Batches {
    fn of(queue: mpsc::Receiver<Pending>) -> Self {
        Self { queue, carried: None, in_flight: Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX)) }
    }

    async fn next(&mut self, awaited: &Awaited) -> Option<(LeaderId, Vec<Txn>, OwnedSemaphorePermit)> {
        loop {
            let first = match self.carried.take() {
                Some(pending) => pending,
                None => self.queue.recv().await?,
            };
            // First the place, then the batch: what arrives while all places are taken goes along.
            let place = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (batch, left_over) = gather(first, &mut self.queue);
            self.carried = left_over;
            let leader = batch[0].leader;
            // Without a quorum transactions pile up here; whoever gave up no longer wants to be proposed.
            let txns: Vec<Txn> =
                batch.into_iter().map(|pending| pending.txn).filter(|txn| awaited.claim(txn)).collect();
            if !txns.is_empty() {
                return Some((leader, txns, place));
            }
        }
    }
}

/// Appends to this node's log, while it leads.
struct Appender {
    node_id: u64,
    raft: Raft,
    reader: StateReader,
    clock: Arc<ClusterClock>,
}

async fn append_all(appender: Appender, queue: mpsc::Receiver<Pending>) {
    let mut batches = Batches::of(queue);
    while let Some((leader, txns, place)) = batches.next(appender.reader.awaited()).await {
        appender.append(leader, txns, place).await;
    }
}

impl Appender {
    async fn append(&self, leader: LeaderId, txns: Vec<Txn>, place: OwnedSemaphorePermit) {
        let names: Vec<TxnName> = txns.iter().map(TxnName::from).collect();
        metrics::histogram!("conclave_proposed_txns_per_entry").record(names.len() as f64);
        let state_ms = self.reader.applied_time_ms();
        // Only a leader's entry is ever applied, so only then does its time count.
        let leads = leader.node_id == self.node_id && self.raft.is_leader();
        let time_ms = if leads { self.clock.lead_ms(state_ms) } else { self.clock.now_ms(state_ms) };
        let (responder, applied) = ProgressResponder::complete_only();
        let written = self.raft.write(Batch::from(log::Batch { time_ms, txns })).with_leader(leader);
        if written.responder(responder).await.is_err() {
            // Raft has stopped; whether it had appended is not known, and those who wait run out of time.
            return;
        }
        let reader = self.reader.clone();
        tokio::spawn(async move {
            // Only a refusal is certain here. All else is told by what is applied, also if it was another leader's doing.
            if let Ok(Err(ClientWriteError::ForwardToLeader(_))) = applied.await {
                refuse_all(reader.awaited(), &names);
            }
            drop(place);
        });
    }
}

/// Takes what this node proposed to the leader it was planned for.
#[derive(Clone)]
struct Carrier {
    peers: Peers,
    metrics: ServerMetricsWatch,
    reader: StateReader,
    clock: Arc<ClusterClock>,
}

async fn carry_all(carrier: Carrier, queue: mpsc::Receiver<Pending>) {
    let mut batches = Batches::of(queue);
    while let Some((leader, txns, place)) = batches.next(carrier.reader.awaited()).await {
        let Carrier { peers, metrics, reader, clock } = carrier.clone();
        tokio::spawn(async move {
            let names: Vec<TxnName> = txns.iter().map(TxnName::from).collect();
            let time_ms = clock.led_ms().unwrap_or_default();
            let request = ProposeRequest { term: leader.term, txns, time_ms };
            let answer = tokio::select! {
                answer = peers.propose(leader.node_id, request, Instant::now() + CARRY_TIMEOUT) => answer,
                // A leader that hangs must not hold back what is for its successor.
                () = replaced(metrics, leader) => return,
            };
            match answer {
                Err(PeerError::NotSent(_) | PeerError::Refused(_)) => refuse_all(reader.awaited(), &names),
                // If it was taken, or may have been, what is applied will tell.
                Ok(_) | Err(PeerError::Unknown(_)) => {}
            }
            drop(place);
        });
    }
}

/// Returns when this node believes in another leader.
async fn replaced(mut metrics: ServerMetricsWatch, leader: LeaderId) {
    while metrics.borrow_and_update().current_leader.is_none_or(|now| now == leader.node_id) {
        if metrics.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn refuse_all(awaited: &Awaited, names: &[TxnName]) {
    for name in names {
        awaited.refuse(name);
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;

    fn pending(bytes: usize) -> Pending {
        Pending { txn: Txn::default(), bytes, leader: LeaderId::new(1, 1) }
    }

    #[test]
    fn what_waits_together_goes_together_up_to_the_bounds() {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        for _ in 0..BATCH_TXNS_MAX + 10 {
            sender.try_send(pending(1)).unwrap();
        }
        let (batch, left_over) = gather(pending(1), &mut queue);
        assert_eq!(batch.len(), BATCH_TXNS_MAX);
        assert!(left_over.is_none());
        assert_eq!(queue.len(), 11);
    }

    #[test]
    fn a_batch_ends_before_the_transaction_that_makes_it_too_large() {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        for bytes in [BATCH_BYTES_MAX / 2, BATCH_BYTES_MAX, 1] {
            sender.try_send(pending(bytes)).unwrap();
        }
        let (batch, left_over) = gather(pending(BATCH_BYTES_MAX / 2), &mut queue);
        assert_eq!(batch.len(), 2);
        assert_eq!(left_over.map(|pending| pending.bytes), Some(BATCH_BYTES_MAX));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_transaction_larger_than_a_batch_goes_alone() {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        sender.try_send(pending(1)).unwrap();
        let (batch, left_over) = gather(pending(BATCH_BYTES_MAX * 2), &mut queue);
        assert_eq!((batch.len(), left_over.is_some()), (1, true));
    }

    #[test]
    fn a_batch_is_for_one_leader() {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        sender.try_send(pending(1)).unwrap();
        sender.try_send(Pending { leader: LeaderId::new(2, 2), ..pending(1) }).unwrap();
        let (batch, left_over) = gather(pending(1), &mut queue);
        assert_eq!(batch.len(), 2);
        assert_eq!(left_over.map(|pending| pending.leader), Some(LeaderId::new(2, 2)));
    }
}
