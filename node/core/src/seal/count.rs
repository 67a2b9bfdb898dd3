//! How much the active key term has sealed, cluster-wide and never too little.
//!
//! A count written at every seal would double the writes, so a leader reserves ahead: it commits "up to here", then
//! seals within that. What a dead leader had reserved counts as used. Too high only means an earlier rotation; too low
//! would mean more random nonces under one key than are safe.

use conclave_proto::log::Txn;
use rand::CryptoRng;

use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::view::View;

/// Seals to reserve at once: a hundredth of what a term may do before its rotation.
pub const SEALS_RESERVED_AT_ONCE: u64 = 1 << 24;

/// `[version: 1][term: 4, big endian][seals: 8, big endian]`, sealed like any record.
const RECORD_BYTES: usize = 1 + 4 + 8;
const VERSION: u8 = 1;

/// A stretch of seals that one leader may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Counted before it: where the barrier starts ([`Barrier::counting_from`]).
    pub from: u64,
    /// Reserve again before the barrier's count gets here.
    pub until: u64,
}

/// Reserves [`SEALS_RESERVED_AT_ONCE`] more seals under the active term. Use them only once the transaction is applied;
/// it conflicts if another leader has reserved meanwhile. A term that is new starts from zero.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`]: the count cannot be read. [`Error::Invalid`]: the term is worn out.
pub fn plan_reservation(ctx: &mut Context<'_>) -> Result<(Reservation, Txn), Error> {
    let (from, revision) = load(ctx.view, ctx.barrier)?;
    let until = from.saturating_add(SEALS_RESERVED_AT_ONCE);
    let mut txn = Txn::default();
    let key = plain_key(Kind::SealCount);
    txn.require(key.clone(), revision);
    txn.put(key.clone(), sealed(ctx.barrier, &key, until, ctx.rng)?);
    Ok((Reservation { from, until }, txn))
}

/// Seals that the active term has done at most, with the revision of their record (0: there is none).
fn load(view: &dyn View, barrier: &Barrier) -> Result<(u64, u64), Error> {
    let key = plain_key(Kind::SealCount);
    let Some(record) = view.get(&key)? else { return Ok((0, 0)) };
    let opened = barrier.open(&key, &record.sealed)?;
    let unreadable =
        || Error::Corrupt("the count of seals is not of a kind that this program knows".to_owned());
    let content = <[u8; RECORD_BYTES]>::try_from(opened.payload.as_slice()).map_err(|_| unreadable())?;
    let (&[version, ref term @ ..], seals) = content.split_first_chunk::<5>().ok_or_else(unreadable)?;
    if version != VERSION {
        return Err(unreadable());
    }
    let seals = seals.first_chunk().map(|seals| u64::from_be_bytes(*seals)).ok_or_else(unreadable)?;
    let counted = if u32::from_be_bytes(*term) == barrier.keyring().active_term() { seals } else { 0 };
    Ok((counted, record.revision))
}

fn sealed(barrier: &Barrier, key: &[u8], seals: u64, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, Error> {
    let mut content = Vec::with_capacity(RECORD_BYTES);
    content.push(VERSION);
    content.extend_from_slice(&barrier.keyring().active_term().to_be_bytes());
    content.extend_from_slice(&seals.to_be_bytes());
    barrier.seal(key, "", &content, rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::seeded;
    use crate::seal::testing::{NOW_MS, shamir};
    use crate::seal::{open_barrier, plan_rotation};
    use crate::view::testing::MemoryView;

    fn reserve(state: &MemoryView, barrier: &Barrier) -> (Reservation, Txn) {
        let mut rng = seeded(1);
        plan_reservation(&mut Context { view: state, barrier, now_ms: NOW_MS, rng: &mut rng }).unwrap()
    }

    #[test]
    fn reservations_follow_on_each_other_and_start_anew_with_a_term() {
        let made = shamir(1, 1);
        let mut state = MemoryView::default();
        state.apply(&made.txn()).unwrap();
        let barrier = open_barrier(&state, &made.config, &made.root_key).unwrap();
        for round in 0..3 {
            let (reservation, txn) = reserve(&state, &barrier);
            assert_eq!(reservation.from, round * SEALS_RESERVED_AT_ONCE);
            assert_eq!(reservation.until, (round + 1) * SEALS_RESERVED_AT_ONCE);
            state.apply(&txn).unwrap();
        }

        let rotation = plan_rotation(&state, &made.config, &made.root_key, NOW_MS, &mut seeded(2)).unwrap();
        state.apply(&rotation).unwrap();
        let rotated = open_barrier(&state, &made.config, &made.root_key).unwrap();
        assert_eq!(reserve(&state, &rotated).0.from, 0);
    }

    #[test]
    fn of_two_leaders_that_reserve_at_once_only_one_applies() {
        let made = shamir(1, 1);
        let mut state = MemoryView::default();
        state.apply(&made.txn()).unwrap();
        let barrier = open_barrier(&state, &made.config, &made.root_key).unwrap();
        for _ in 0..2 {
            let (one, other) = (reserve(&state, &barrier).1, reserve(&state, &barrier).1);
            state.apply(&one).unwrap();
            assert_eq!(state.apply(&other), Err(0));
        }
    }

    #[test]
    fn a_damaged_count_is_not_taken_for_none() {
        let made = shamir(1, 1);
        let mut state = MemoryView::default();
        state.apply(&made.txn()).unwrap();
        let barrier = open_barrier(&state, &made.config, &made.root_key).unwrap();
        let txn = reserve(&state, &barrier).1;
        state.apply(&txn).unwrap();
        state.damage(&plain_key(Kind::SealCount));
        let mut rng = seeded(1);
        let mut ctx = Context { view: &state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
        assert!(matches!(plan_reservation(&mut ctx), Err(Error::Corrupt(_))));
    }
}
