//! What others remember of this node: asked at each start, before it takes part (I12).
//!
//! A data directory that was replaced by an older copy of itself is whole and knows nothing of it. Each node counts its
//! starts and tells them to the others, who keep the count on disk, beside what they heard of its progress; the leader
//! knows what the node acknowledged. If somebody remembers more than the node does, it has forgotten votes and entries, and
//! must not act under its id again. What this cannot see stands in `node/docs/2026-11-23-rejoining.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conclave_proto::peer::{RecallRequest, RecallResponse};
use conclave_storage::Opened;
use conclave_storage::types::Raft;
use futures::future::join_all;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::peer_book::{Heard, PeerBook};
use super::peers::Peers;

/// How long the others may take. All of a cluster may start at once, and some of it be gone.
const RECALL_WAIT: Duration = Duration::from_secs(1);
/// Pause before a member that does not answer is asked again.
const RECALL_PAUSE: Duration = Duration::from_millis(25);

/// What this node knows of itself from its own disk.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    pub starts: u64,
    pub vote_term: u64,
    pub last_index: u64,
}

impl Own {
    /// `starts` is counted later, when all else that could fail has not.
    pub fn of(storage: &Opened) -> Self {
        let last_index = storage.log.last().map_or(0, |last| last.index());
        Self {
            starts: 0,
            vote_term: storage.log.vote().map_or(0, |vote| vote.leader_id.term),
            // A snapshot may have been installed that the log has not been cut to yet.
            last_index: last_index.max(storage.reader.applied_index()),
        }
    }

    /// Why this node cannot be what `theirs` was told of.
    fn contradicted_by(&self, theirs: &RecallResponse) -> Option<String> {
        let Self { starts, vote_term, last_index } = *self;
        if theirs.starts >= starts {
            return Some(format!("this is its start {starts}, and start {} was heard of", theirs.starts));
        }
        if theirs.applied_index > last_index {
            return Some(format!(
                "its log ends with entry {last_index}, and entry {} was applied",
                theirs.applied_index
            ));
        }
        if theirs.term > vote_term {
            return Some(format!("its last vote is of term {vote_term}, and it was in term {}", theirs.term));
        }
        // A later leader may have had it replace what it acknowledged to this one.
        if theirs.leader_term >= vote_term && theirs.acknowledged_index > last_index {
            return Some(format!(
                "its log ends with entry {last_index}, and entry {} was acknowledged to the leader",
                theirs.acknowledged_index
            ));
        }
        None
    }
}

/// Asks all others at once. Returns why this node must not take part, if anybody knows.
pub async fn ask(peers: &Peers, own: Own, others: Vec<u64>) -> Option<String> {
    let deadline = Instant::now() + RECALL_WAIT;
    let request = RecallRequest { starts: own.starts, start_id: rand::random() };
    let asked = others.into_iter().map(|node_id| async move {
        loop {
            match peers.recall(node_id, request, deadline).await {
                Ok(theirs) => return own.contradicted_by(&theirs),
                Err(error) if Instant::now() + RECALL_PAUSE >= deadline => {
                    tracing::debug!(node_id, %error, "a member could not be asked what it knows of this node");
                    return None;
                }
                Err(_) => tokio::time::sleep(RECALL_PAUSE).await,
            }
        }
    });
    let reason = join_all(asked).await.into_iter().flatten().next()?;
    Some(format!("this node's data is older than the node: {reason}"))
}

/// What this node knows of `peer`, which has just started. On disk before it is told.
///
/// # Errors
/// What the disk says.
pub fn answer(
    book: &PeerBook,
    raft: &Raft,
    peer: u64,
    request: RecallRequest,
) -> std::io::Result<RecallResponse> {
    let Heard { starts, applied_index, term } = book.hear_start(peer, request.starts, request.start_id)?;
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let acknowledged = metrics.replication.as_ref().and_then(|all| all.get(&peer)).copied().flatten();
    let leads = metrics.current_leader == Some(metrics.id);
    Ok(RecallResponse {
        starts,
        applied_index,
        term,
        leader_term: if leads { metrics.current_term } else { 0 },
        acknowledged_index: acknowledged.filter(|_| leads).map_or(0, |id| id.index()),
    })
}

/// Whether this node takes part: it votes, acknowledges and answers only once the others were asked.
#[derive(Clone)]
pub struct Admittance {
    open: Arc<AtomicBool>,
    changed: watch::Sender<bool>,
}

impl Default for Admittance {
    fn default() -> Self {
        Self { open: Arc::default(), changed: watch::Sender::new(false) }
    }
}

impl Admittance {
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.changed.send_replace(true);
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub async fn opened(&self) {
        let mut changed = self.changed.subscribe();
        // An error is impossible: `self` holds the sender.
        let _opened = changed.wait_for(|open| *open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Own = Own { starts: 5, vote_term: 7, last_index: 100 };
    const SAME: RecallResponse =
        RecallResponse { starts: 4, applied_index: 100, term: 7, leader_term: 7, acknowledged_index: 100 };

    #[test]
    fn a_node_that_lost_nothing_is_not_contradicted() {
        assert_eq!(OWN.contradicted_by(&SAME), None);
        assert_eq!(OWN.contradicted_by(&RecallResponse::default()), None);
        // What it acknowledged in a term before its last vote may have been replaced.
        let deposed = RecallResponse { leader_term: 6, acknowledged_index: 120, ..SAME };
        assert_eq!(OWN.contradicted_by(&deposed), None);
    }

    #[test]
    fn each_sign_of_an_older_copy_is_noticed() {
        for theirs in [
            RecallResponse { starts: 5, ..SAME },
            RecallResponse { applied_index: 101, ..SAME },
            RecallResponse { term: 8, ..SAME },
            RecallResponse { acknowledged_index: 101, ..SAME },
            RecallResponse { leader_term: 8, acknowledged_index: 101, ..SAME },
        ] {
            assert!(OWN.contradicted_by(&theirs).is_some(), "{theirs:?}");
        }
    }
}
