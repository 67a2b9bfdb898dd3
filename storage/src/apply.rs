//! How a log entry changes the state: a function of both and of nothing else (design invariant I2).
//!
//! No clock, no randomness, no IO but the [`Keyspace`]: time comes with the entry, and every replica that applies
//! the same entries holds the same bytes. Decisions (who may, what it means) were taken before the entry was
//! proposed; here only revisions are compared.

use bytes::Bytes;
use conclave_faults::{Bug, planted};
use conclave_proto::counted;
use conclave_proto::log::{Precondition, Txn, Write};
use conclave_proto::txn::Outcome;

use crate::count;
use crate::faulty;
use crate::keyspace::Keyspace;
use crate::record::EncodedRecord;
use crate::types::{Batch, Response};

/// Expired records that one batch drops at most, so that no entry takes long to apply. Those left over are gone
/// for readers all the same; the next batches drop them.
pub const EXPIRED_RECORDS_PER_BATCH_MAX: usize = 256;

/// Applies the batch of the log entry at `index`, which must not be 0: that is the first membership, and the
/// revision that means "absent".
///
/// # Errors
/// Only when the key space cannot be read; then nothing of the batch may be kept.
pub fn apply<K: Keyspace>(keyspace: &mut K, index: u64, batch: &Batch) -> Result<Response, K::Error> {
    let summary = keyspace.summary();
    summary.time_ms = summary.time_ms.max(batch.time_ms());
    if planted::is(Bug::LocalClockInApply) {
        summary.time_ms = faulty::local_clock_ms();
    }
    if planted::is(Bug::TimeRunsBackwards) {
        summary.time_ms = batch.time_ms();
    }
    let time_ms = summary.time_ms;
    drop_expired(keyspace, index, time_ms)?;
    let mut outcomes = Vec::with_capacity(batch.txns().len());
    for txn in batch.txns() {
        outcomes.push(apply_txn(keyspace, index, time_ms, txn)?);
    }
    Ok(Response { outcomes, revision: index })
}

fn drop_expired<K: Keyspace>(keyspace: &mut K, index: u64, time_ms: u64) -> Result<(), K::Error> {
    for (_, key) in keyspace.due(time_ms, EXPIRED_RECORDS_PER_BATCH_MAX)? {
        if remove(keyspace, key.clone())? {
            count::note(keyspace, index, &key, false)?;
        }
    }
    Ok(())
}

fn apply_txn<K: Keyspace>(
    keyspace: &mut K,
    index: u64,
    time_ms: u64,
    txn: &Txn,
) -> Result<Outcome, K::Error> {
    for (position, precondition) in txn.preconditions.iter().enumerate() {
        if !planted::is(Bug::PreconditionsIgnored) && !holds(keyspace, time_ms, precondition)? {
            return Ok(Outcome::Conflict { precondition: position });
        }
    }
    for (position, limit) in txn.limits.iter().enumerate() {
        if !count::holds(keyspace, limit)? {
            return Ok(Outcome::Conflict { precondition: txn.preconditions.len() + position });
        }
    }
    for write in &txn.writes {
        apply_write(keyspace, index, write)?;
    }
    Ok(Outcome::Applied { revision: index })
}

fn holds<K: Keyspace>(keyspace: &mut K, time_ms: u64, precondition: &Precondition) -> Result<bool, K::Error> {
    let record = keyspace.record(&precondition.key)?.filter(|record| record.is_live_at(time_ms));
    Ok(record.map_or(0, |record| record.revision()) == precondition.revision)
}

fn apply_write<K: Keyspace>(keyspace: &mut K, index: u64, write: &Write) -> Result<(), K::Error> {
    let Write { key, value, expires_at_ms } = write;
    if counted::is_count(key) {
        // Counts follow from what is counted.
        return Ok(());
    }
    let was_there = remove(keyspace, key.clone())?;
    if was_there != value.is_some() {
        count::note(keyspace, index, key, value.is_some())?;
    }
    let Some(sealed) = value else { return Ok(()) };
    let revision = if planted::is(Bug::RevisionsRounded) { faulty::rounded(index) } else { index };
    let record = EncodedRecord::new(revision, *expires_at_ms, sealed);
    keyspace.summary().hash.add(key, record.as_stored());
    if *expires_at_ms != 0 {
        keyspace.index_expiry(*expires_at_ms, key);
    }
    keyspace.put(key.clone(), record);
    Ok(())
}

/// Whether there was one, expired or not.
fn remove<K: Keyspace>(keyspace: &mut K, key: Bytes) -> Result<bool, K::Error> {
    let Some(record) = keyspace.record(&key)? else { return Ok(false) };
    keyspace.summary().hash.remove(&key, record.as_stored());
    if record.expires_at_ms() != 0 {
        keyspace.unindex_expiry(record.expires_at_ms(), &key);
    }
    keyspace.delete(key);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use conclave_proto::log;

    use super::*;
    use crate::model::MapKeyspace;

    fn put(key: &'static str, expires_at_ms: u64) -> Txn {
        let mut txn = Txn::default();
        txn.put_until(key, key, expires_at_ms);
        txn
    }

    fn requiring(key: &'static str, revision: u64, mut txn: Txn) -> Txn {
        txn.require(key, revision);
        txn
    }

    fn run(state: &mut MapKeyspace, index: u64, time_ms: u64, txns: Vec<Txn>) -> Vec<Outcome> {
        let response = apply(state, index, &log::Batch { time_ms, txns }.into()).expect("maps can be read");
        assert_eq!(response.revision, index);
        response.outcomes
    }

    #[test]
    fn a_precondition_names_the_index_that_last_wrote_the_key() {
        let mut state = MapKeyspace::default();
        assert_eq!(run(&mut state, 1, 0, vec![put("a", 0)]), [Outcome::Applied { revision: 1 }]);
        let update = |revision| requiring("a", revision, put("a", 0));
        assert_eq!(run(&mut state, 2, 0, vec![update(0)]), [Outcome::Conflict { precondition: 0 }]);
        assert_eq!(run(&mut state, 3, 0, vec![update(1)]), [Outcome::Applied { revision: 3 }]);
        assert_eq!(run(&mut state, 4, 0, vec![update(1)]), [Outcome::Conflict { precondition: 0 }]);
    }

    #[test]
    fn a_conflict_names_the_first_precondition_that_failed_and_writes_nothing() {
        let mut state = MapKeyspace::default();
        run(&mut state, 1, 0, vec![put("a", 0)]);
        let before = state.clone();
        let txn = requiring("c", 5, requiring("b", 9, requiring("a", 1, put("d", 0))));
        assert_eq!(run(&mut state, 2, 0, vec![txn]), [Outcome::Conflict { precondition: 1 }]);
        assert!(state == before);
    }

    #[test]
    fn later_transactions_of_a_batch_see_earlier_ones() {
        let mut state = MapKeyspace::default();
        let create = || requiring("a", 0, put("a", 0));
        assert_eq!(
            run(&mut state, 1, 0, vec![create(), create()]),
            [Outcome::Applied { revision: 1 }, Outcome::Conflict { precondition: 0 }]
        );
    }

    #[test]
    fn an_expired_record_counts_as_absent_even_before_it_is_dropped() {
        let mut state = MapKeyspace::default();
        // One more than a batch drops, so that the last one is still stored when it is looked at.
        let mut fill = Txn::default();
        for number in 0..=EXPIRED_RECORDS_PER_BATCH_MAX {
            fill.put_until(format!("k{number:04}"), "x", 10);
        }
        run(&mut state, 1, 0, vec![fill]);
        let last = "k0256";
        assert_eq!(
            run(&mut state, 2, 10, vec![requiring(last, 1, Txn::default())]),
            [Outcome::Conflict { precondition: 0 }]
        );
        assert_eq!(state.records().count(), 1);
        assert_eq!(
            run(&mut state, 3, 10, vec![requiring(last, 0, put(last, 0))]),
            [Outcome::Applied { revision: 3 }]
        );
    }

    #[test]
    fn expired_records_go_oldest_first_and_boundedly() {
        let mut state = MapKeyspace::default();
        let mut fill = Txn::default();
        for number in 0..EXPIRED_RECORDS_PER_BATCH_MAX as u64 + 44 {
            // Keys ascend while times descend, so that key order and time order differ.
            fill.put_until(format!("k{number:04}"), "x", 1_000 - number);
        }
        run(&mut state, 1, 0, vec![fill]);
        run(&mut state, 2, 2_000, Vec::new());
        let left: Vec<u64> = state.records().map(|(_, record)| record.expires_at_ms).collect();
        assert_eq!(left.len(), 44);
        assert!(left.iter().all(|time| *time > 1_000 - 44), "the youngest stay: {left:?}");
        run(&mut state, 3, 2_000, Vec::new());
        assert_eq!(state.records().count(), 0);
        assert_eq!(state.hash(), crate::hash::StateHash::default());
    }

    #[test]
    fn a_rewritten_record_expires_at_its_new_time() {
        let mut state = MapKeyspace::default();
        run(&mut state, 1, 0, vec![put("a", 10)]);
        run(&mut state, 2, 5, vec![put("a", 20)]);
        run(&mut state, 3, 15, Vec::new());
        assert_eq!(state.records().count(), 1);
        run(&mut state, 4, 16, vec![put("a", 0)]);
        run(&mut state, 5, u64::MAX, Vec::new());
        assert_eq!(state.records().count(), 1);
    }

    const COUNTED: &str = "|aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb";
    const COUNT: &str = "~aaaaaaaaaaaaaaaa";

    fn counted(state: &MapKeyspace, key: &str) -> u64 {
        counted::number(state.live(key.as_bytes()).as_ref().map(|record| &record.sealed[..]))
    }

    #[test]
    fn a_count_follows_what_is_written_deleted_and_expires() {
        let mut state = MapKeyspace::default();
        let other = "|aaaaaaaaaaaaaaaacccccccccccccccc";
        run(&mut state, 1, 0, vec![put(COUNTED, 10), put(other, 0)]);
        assert_eq!((counted(&state, COUNT), counted(&state, "~")), (2, 2));
        run(&mut state, 2, 0, vec![put(COUNTED, 20)]);
        assert_eq!(counted(&state, COUNT), 2, "it was written anew");
        run(&mut state, 3, 20, Vec::new());
        assert_eq!(counted(&state, COUNT), 1);
        let mut delete = Txn::default();
        delete.delete(other);
        delete.delete(COUNTED);
        run(&mut state, 4, 20, vec![delete]);
        assert_eq!(state.records().count(), 0, "a count of nothing is not kept");
        assert_eq!(state.hash(), crate::hash::StateHash::default());
    }

    #[test]
    fn a_limit_lets_in_as_many_as_it_says_and_no_transaction_in_part() {
        let mut state = MapKeyspace::default();
        let limited = |key: &'static str| {
            let mut txn = requiring("a", 0, put(key, 10));
            txn.limit(COUNT, 1);
            txn
        };
        let second = "|aaaaaaaaaaaaaaaacccccccccccccccc";
        assert_eq!(
            run(&mut state, 1, 0, vec![limited(COUNTED), limited(second)]),
            [Outcome::Applied { revision: 1 }, Outcome::Conflict { precondition: 1 }]
        );
        assert_eq!(counted(&state, COUNT), 1);
        assert_eq!(
            run(&mut state, 2, 10, vec![limited(second)]),
            [Outcome::Applied { revision: 2 }],
            "the first has expired"
        );
    }

    #[test]
    fn nobody_writes_a_count() {
        let mut state = MapKeyspace::default();
        run(&mut state, 1, 0, vec![put(COUNTED, 0)]);
        let before = state.clone();
        let mut delete = Txn::default();
        delete.delete(COUNT);
        run(&mut state, 2, 0, vec![put(COUNT, 0), delete]);
        assert!(state == before);
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut state = MapKeyspace::default();
        run(&mut state, 1, 100, vec![put("a", 50)]);
        assert_eq!(state.summary().time_ms, 100);
        run(&mut state, 2, 10, Vec::new());
        assert_eq!(state.summary().time_ms, 100, "a slow clock is ignored");
        assert_eq!(state.records().count(), 0, "and what had expired stays expired");
    }
}
