//! Commits transactions: those that wait together become one log entry, several entries are under way at a time.
//!
//! The answer to each transaction is what applying it gave, or how certain it is that it did not happen. A
//! transaction whose entry was under way when leadership was lost is *unknown* (I5), never failed.

use std::sync::Arc;

use conclave_proto::log::{self, Txn};
use conclave_proto::txn::Outcome;
use conclave_storage::StateReader;
use conclave_storage::types::{Batch, ClientWriteError, ClientWriteResponse, Raft};
use openraft::impls::ProgressResponder;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::clock::ClusterClock;

/// Transactions that may wait at one node.
const QUEUE_MAX: usize = 16_384;
/// Transactions in one log entry at most.
const BATCH_TXNS_MAX: usize = 512;
/// Bytes of transactions in one log entry, about; a larger transaction has an entry of its own.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Largest transaction, in bytes: its entry must fit into a replication message.
pub const TXN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Entries under way at a time. More would only make entries smaller: what waits meanwhile is proposed together.
const ENTRIES_IN_FLIGHT_MAX: usize = 4;

/// A transaction was not applied, or it is not known whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not applied and never will be: this node does not lead.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<u64>,
    },
    /// Leadership was lost, or Raft stopped, while the transaction was under way.
    #[error("leadership was lost on the way: whether the change was made is not known")]
    Unknown,
    /// Not proposed: too many wait already.
    #[error("too many changes are waiting")]
    Overloaded,
    /// Not proposed: it does not fit into a log entry.
    #[error("the change is larger than {TXN_BYTES_MAX} bytes")]
    TooLarge,
}

/// Takes transactions to Raft. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Pending>,
}

struct Pending {
    txn: Txn,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, ProposeError>>,
}

impl Proposer {
    /// Starts the proposer on `runtime`, which must be Raft's.
    pub fn start(runtime: &Handle, raft: Raft, reader: StateReader, clock: Arc<ClusterClock>) -> Self {
        let (queue, pending) = mpsc::channel(QUEUE_MAX);
        runtime.spawn(propose_all(raft, reader, clock, pending));
        Self { queue }
    }

    /// Proposes one transaction and waits until this node has applied it, or knows that it will not.
    ///
    /// Dropping the future takes the transaction back only if it has not been proposed yet.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, txn: Txn) -> Result<Outcome, ProposeError> {
        let bytes = txn.size_bytes();
        if bytes > TXN_BYTES_MAX {
            return Err(ProposeError::TooLarge);
        }
        let (sender, answer) = oneshot::channel();
        self.queue.try_send(Pending { txn, bytes, answer: sender }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::NotLeader { leader: None },
        })?;
        // The proposer ends only with Raft; what it had in hand then may have been proposed.
        answer.await.unwrap_or(Err(ProposeError::Unknown))
    }
}

async fn propose_all(
    raft: Raft,
    reader: StateReader,
    clock: Arc<ClusterClock>,
    mut queue: mpsc::Receiver<Pending>,
) {
    let in_flight = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX));
    let mut carried = None;
    loop {
        let Some(first) = (match carried.take() {
            Some(pending) => Some(pending),
            None => queue.recv().await,
        }) else {
            return;
        };
        // First the slot, then the batch: what arrives while all slots are taken goes along.
        let slot = in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (mut batch, left_over) = gather(first, &mut queue);
        carried = left_over;
        // Without a quorum transactions pile up here; whoever gave up no longer wants to be proposed.
        batch.retain(|pending| !pending.answer.is_closed());
        if !batch.is_empty() {
            propose(&raft, &reader, &clock, batch, slot).await;
        }
    }
}

/// All that wait, up to a batch; the one that did not fit any more begins the next.
fn gather(first: Pending, queue: &mut mpsc::Receiver<Pending>) -> (Vec<Pending>, Option<Pending>) {
    let mut bytes = first.bytes;
    let mut batch = vec![first];
    while batch.len() < BATCH_TXNS_MAX {
        let Ok(next) = queue.try_recv() else { break };
        if bytes + next.bytes > BATCH_BYTES_MAX {
            return (batch, Some(next));
        }
        bytes += next.bytes;
        batch.push(next);
    }
    (batch, None)
}

async fn propose(
    raft: &Raft,
    reader: &StateReader,
    clock: &ClusterClock,
    batch: Vec<Pending>,
    slot: OwnedSemaphorePermit,
) {
    let (txns, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|pending| (pending.txn, pending.answer)).unzip();
    let state_ms = match reader.view(|view| view.time_ms()) {
        Ok(state_ms) => state_ms,
        Err(error) => {
            // Nothing was proposed. A node that cannot read its state cannot lead.
            tracing::error!(%error, "the state cannot be read");
            return answer_all(answers, ProposeError::NotLeader { leader: None });
        }
    };
    metrics::histogram!("conclave_proposed_txns_per_entry").record(answers.len() as f64);
    // Only a leader's entry is ever applied, so only then does its time count.
    let time_ms = if raft.is_leader() { clock.lead_ms(state_ms) } else { clock.now_ms(state_ms) };
    let (responder, applied) = ProgressResponder::complete_only();
    let proposed = raft.client_write_ff(Batch(log::Batch { time_ms, txns }), Some(responder)).await;
    if proposed.is_err() {
        return answer_all(answers, ProposeError::Unknown);
    }
    tokio::spawn(async move {
        let result = applied.await;
        drop(slot);
        match result {
            Ok(Ok(response)) => distribute(answers, response),
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                answer_all(answers, ProposeError::NotLeader { leader: forward.leader_id });
            }
            // Discarded by another leader, or Raft has stopped.
            Ok(Err(_)) | Err(_) => answer_all(answers, ProposeError::Unknown),
        }
    });
}

fn distribute(answers: Vec<oneshot::Sender<Result<Outcome, ProposeError>>>, response: ClientWriteResponse) {
    let mut outcomes = response.data.outcomes.into_iter();
    for answer in answers {
        // One outcome a transaction is what applying gives; without it nothing is known.
        let outcome = outcomes.next().ok_or(ProposeError::Unknown);
        let _gone = answer.send(outcome);
    }
}

fn answer_all(answers: Vec<oneshot::Sender<Result<Outcome, ProposeError>>>, error: ProposeError) {
    for answer in answers {
        let _gone = answer.send(Err(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(bytes: usize) -> Pending {
        let (answer, _) = oneshot::channel();
        Pending { txn: Txn::default(), bytes, answer }
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
}
