//! What planted bugs do where that takes more than leaving something out. None of it runs unless one is on.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::{Entry, EntryPayload, LeaderId, Vote};

/// Of this many entries one loses its transactions.
const EMPTIED_EVERY: u64 = 8;
/// This many entries in a row share a revision.
const ROUNDED_TO: u64 = 4;

/// [`conclave_faults::Bug::ReplayedRecordEmptied`].
pub fn emptied(entry: Entry) -> Entry {
    match entry.payload {
        EntryPayload::Normal(_) if entry.log_id.index().is_multiple_of(EMPTIED_EVERY) => {
            Entry { payload: EntryPayload::Blank, ..entry }
        }
        _ => entry,
    }
}

/// [`conclave_faults::Bug::VoteInTwoWrites`]: what a crash between them leaves.
pub fn new_term_old_candidate(new: &Vote, old: Option<&Vote>) -> Vote {
    let node_id = old.map_or(new.leader_id.node_id, |old| old.leader_id.node_id);
    Vote { leader_id: LeaderId { term: new.leader_id.term, node_id }, committed: false }
}

/// [`conclave_faults::Bug::LocalClockInApply`].
pub fn local_clock_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// [`conclave_faults::Bug::RevisionsRounded`].
pub fn rounded(index: u64) -> u64 {
    index - index % ROUNDED_TO
}
