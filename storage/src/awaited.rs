//! What became of the transactions that this node proposed, told by its own state machine.
//!
//! A proposer need not trust an answer that may get lost with a leader. Its node is a replica: what it proposed either
//! comes by among the entries it applies, or an entry of a later leader comes first. Since the log is ordered by leaders,
//! the transaction is then in no log that can still be committed: it was certainly not made.
//!
//! That holds because a transaction is only ever appended by the one leader it was registered for.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use conclave_proto::log::Txn;
use conclave_proto::txn::Outcome;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::types::{Entry, EntryPayload, LeaderId};

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was committed, and applied at this node: it had this effect.
    Applied(Outcome),
    /// It was not committed and never will be.
    Discarded,
    /// It may have been committed: this node got a snapshot instead of the entries that would have told, or nobody waited
    /// long enough.
    Unknown,
}

/// The transactions whose fate this node waits for.
pub struct Awaited {
    /// Names this run of this node among all that propose.
    proposer: u64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last_number: u64,
    tickets: HashMap<u64, Waiter>,
    /// The leader of the last entry that was applied.
    applied: Rank,
}

struct Waiter {
    /// Of the leader that the transaction is for.
    rank: Rank,
    sender: oneshot::Sender<Fate>,
    /// It is on its way: who gives up no longer takes it back.
    claimed: bool,
}

/// Leaders in the order in which their entries stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Rank {
    term: u64,
    node_id: u64,
}

impl From<LeaderId> for Rank {
    fn from(leader: LeaderId) -> Self {
        Self { term: leader.term, node_id: leader.node_id }
    }
}

/// Waits for the fate of one transaction. Dropping it gives up waiting.
pub struct Ticket<'a> {
    awaited: &'a Awaited,
    number: u64,
    fate: oneshot::Receiver<Fate>,
}

impl Ticket<'_> {
    /// Waits until `deadline` at most. A transaction that nobody has claimed by then is taken back.
    pub async fn fate(mut self, deadline: Instant) -> Fate {
        if let Ok(told) = tokio::time::timeout_at(deadline, &mut self.fate).await {
            // The sender is dropped only together with the whole node.
            return told.unwrap_or(Fate::Unknown);
        }
        match self.awaited.waiting.lock().tickets.remove(&self.number) {
            Some(Waiter { claimed: false, .. }) => Fate::Discarded,
            Some(_) => Fate::Unknown,
            // Told at the last moment.
            None => self.fate.try_recv().unwrap_or(Fate::Unknown),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.awaited.waiting.lock().tickets.remove(&self.number);
    }
}

/// The transactions of one entry that this node proposed: where they stand in it, and their numbers.
pub(crate) type Own = Vec<(usize, u64)>;

impl Awaited {
    /// # Panics
    /// Never: the proposer's name comes from the random keys of the standard library's hasher, so that no two runs of any
    /// nodes share one.
    pub(crate) fn new(applied: Option<LeaderId>) -> Self {
        let waiting = Waiting { applied: applied.map(Rank::from).unwrap_or_default(), ..Waiting::default() };
        Self { proposer: RandomState::new().hash_one(0), waiting: Mutex::new(waiting) }
    }

    /// Names `txn` and waits for its fate under `leader`, who alone may append it. `None`: an entry of a later leader has
    /// been applied already.
    pub fn register(&self, txn: &mut Txn, leader: LeaderId) -> Option<Ticket<'_>> {
        let (sender, fate) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let rank = Rank::from(leader);
        if waiting.applied > rank {
            return None;
        }
        waiting.last_number += 1;
        let number = waiting.last_number;
        waiting.tickets.insert(number, Waiter { rank, sender, claimed: false });
        (txn.proposer, txn.number) = (self.proposer, number);
        Some(Ticket { awaited: self, number, fate })
    }

    /// To be asked before a transaction is sent on its way: `false` if whoever waited for it has given up and was told
    /// that it is not made. Another node's is always sent.
    pub fn claim(&self, txn: &Txn) -> bool {
        if txn.proposer != self.proposer {
            return true;
        }
        let mut waiting = self.waiting.lock();
        let waiter = waiting.tickets.get_mut(&txn.number);
        waiter.map(|waiter| waiter.claimed = true).is_some()
    }

    /// The transaction was certainly not appended. That of another node is told by what is applied there.
    pub fn refuse(&self, txn: &TxnName) {
        if txn.proposer == self.proposer {
            self.tell(txn.number, Fate::Discarded);
        }
    }

    /// Which transactions of an entry this node waits for.
    pub(crate) fn own(&self, entry: &Entry) -> Own {
        let EntryPayload::Normal(batch) = &entry.payload else { return Own::new() };
        let is_own = |(_, txn): &(usize, &Txn)| txn.proposer == self.proposer;
        batch.txns().iter().enumerate().filter(is_own).map(|(place, txn)| (place, txn.number)).collect()
    }

    /// An entry was applied. To be called in the order of the log, once readers see its effect.
    pub(crate) fn applied(&self, leader: LeaderId, own: &Own, outcomes: &[Outcome]) {
        for (place, number) in own {
            if let Some(outcome) = outcomes.get(*place) {
                self.tell(*number, Fate::Applied(outcome.clone()));
            }
        }
        let rank = Rank::from(leader);
        let mut waiting = self.waiting.lock();
        if rank > waiting.applied {
            waiting.applied = rank;
            let passed = waiting.tickets.extract_if(|_, waiter| waiter.rank < rank);
            passed.for_each(|(_, waiter)| drop(waiter.sender.send(Fate::Discarded)));
        }
    }

    /// Entries were skipped: whoever waits cannot be told.
    pub(crate) fn skipped(&self, applied: Option<LeaderId>) {
        let mut waiting = self.waiting.lock();
        waiting.applied = waiting.applied.max(applied.map(Rank::from).unwrap_or_default());
        waiting.tickets.drain().for_each(|(_, waiter)| drop(waiter.sender.send(Fate::Unknown)));
    }

    fn tell(&self, number: u64, fate: Fate) {
        let ticket = self.waiting.lock().tickets.remove(&number);
        if let Some(Waiter { sender, .. }) = ticket {
            let _gone = sender.send(fate);
        }
    }
}

/// Names a transaction among all of the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnName {
    proposer: u64,
    number: u64,
}

impl From<&Txn> for TxnName {
    fn from(txn: &Txn) -> Self {
        Self { proposer: txn.proposer, number: txn.number }
    }
}

#[cfg(test)]
mod tests {
    use conclave_proto::log;
    use openraft::vote::RaftLeaderId as _;

    use super::*;
    use crate::types::{Batch, LogId};

    fn far() -> Instant {
        Instant::now() + std::time::Duration::from_secs(60)
    }

    fn leader(term: u64) -> LeaderId {
        LeaderId::new(term, 1)
    }

    fn entry(term: u64, txns: Vec<Txn>) -> Entry {
        let payload = EntryPayload::Normal(Batch::from(log::Batch { time_ms: 0, txns }));
        Entry { log_id: LogId::new(leader(term), 7), payload }
    }

    fn apply(awaited: &Awaited, entry: &Entry, outcomes: &[Outcome]) {
        let own = awaited.own(entry);
        awaited.applied(*entry.log_id.committed_leader_id(), &own, outcomes);
    }

    const DONE: Outcome = Outcome::Applied { revision: 7 };
    const CONFLICT: Outcome = Outcome::Conflict { precondition: 0 };

    #[tokio::test]
    async fn each_proposer_learns_its_own_outcomes() {
        let (here, there) = (Awaited::new(None), Awaited::new(None));
        let mut txns = [Txn::default(), Txn::default(), Txn::default()];
        let first = here.register(&mut txns[0], leader(1)).unwrap();
        let second = there.register(&mut txns[1], leader(1)).unwrap();
        let third = here.register(&mut txns[2], leader(1)).unwrap();
        let entry = entry(1, txns.to_vec());
        for awaited in [&here, &there] {
            apply(awaited, &entry, &[DONE, CONFLICT, CONFLICT]);
        }
        assert_eq!(first.fate(far()).await, Fate::Applied(DONE));
        assert_eq!(second.fate(far()).await, Fate::Applied(CONFLICT));
        assert_eq!(third.fate(far()).await, Fate::Applied(CONFLICT));
    }

    #[tokio::test]
    async fn what_an_earlier_leader_did_not_commit_was_never_made() {
        let awaited = Awaited::new(None);
        let (mut old, mut new) = (Txn::default(), Txn::default());
        let old_ticket = awaited.register(&mut old, leader(1)).unwrap();
        let new_ticket = awaited.register(&mut new, leader(2)).unwrap();
        apply(&awaited, &entry(2, Vec::new()), &[]);
        assert_eq!(old_ticket.fate(far()).await, Fate::Discarded);
        assert!(awaited.claim(&new), "the present leader may still append it");
        assert!(awaited.register(&mut Txn::default(), leader(1)).is_none(), "too late for the old leader");
        apply(&awaited, &entry(2, vec![new]), &[DONE]);
        assert_eq!(new_ticket.fate(far()).await, Fate::Applied(DONE));
    }

    #[tokio::test]
    async fn an_entry_that_its_leader_left_behind_and_the_next_committed_was_made() {
        let awaited = Awaited::new(None);
        let mut txn = Txn::default();
        let ticket = awaited.register(&mut txn, leader(1)).unwrap();
        // The new leader has the entry of the old one before its own first one.
        apply(&awaited, &entry(1, vec![txn]), &[DONE]);
        apply(&awaited, &entry(2, Vec::new()), &[]);
        assert_eq!(ticket.fate(far()).await, Fate::Applied(DONE));
    }

    #[tokio::test]
    async fn a_snapshot_leaves_the_fate_open() {
        let awaited = Awaited::new(None);
        let ticket = awaited.register(&mut Txn::default(), leader(1)).unwrap();
        awaited.skipped(Some(leader(3)));
        assert_eq!(ticket.fate(far()).await, Fate::Unknown);
        assert!(awaited.register(&mut Txn::default(), leader(2)).is_none());
    }

    #[tokio::test]
    async fn who_gives_up_before_it_was_sent_knows_that_it_never_will_be() {
        let awaited = Awaited::new(None);
        let (mut queued, mut sent) = (Txn::default(), Txn::default());
        let queued_ticket = awaited.register(&mut queued, leader(1)).unwrap();
        let sent_ticket = awaited.register(&mut sent, leader(1)).unwrap();
        assert!(awaited.claim(&sent));
        assert_eq!(queued_ticket.fate(Instant::now()).await, Fate::Discarded);
        assert!(!awaited.claim(&queued), "it was said not to be made");
        assert_eq!(sent_ticket.fate(Instant::now()).await, Fate::Unknown);
    }

    #[tokio::test]
    async fn whoever_gave_up_is_not_waited_for() {
        let awaited = Awaited::new(None);
        let mut txn = Txn::default();
        let ticket = awaited.register(&mut txn, leader(1)).unwrap();
        assert!(awaited.claim(&txn));
        drop(ticket);
        assert!(!awaited.claim(&txn));
        awaited.refuse(&TxnName::from(&txn));
    }
}
