use super::*;
use crate::crypto::testing::seeded;
use crate::seal::testing::{NOW_MS, shamir};
use crate::view::testing::MemoryView;

#[test]
fn a_rotation_seals_with_a_new_term_and_keeps_the_old_records() {
    let made = shamir(1, 1);
    let rng = &mut seeded(1);
    let mut state = MemoryView::default();
    state.apply(&made.txn()).unwrap();
    let before = open_barrier(&state, &made.config, &made.root_key).unwrap();
    let key = before.key(Kind::KvV1, ["m", "a"]);
    let sealed = before.seal(&key, "a", b"v", rng).unwrap();

    state.apply(&plan_rotation(&state, &made.config, &made.root_key, NOW_MS + 5, rng).unwrap()).unwrap();
    let after = open_barrier(&state, &made.config, &made.root_key).unwrap();
    assert_eq!((after.keyring().active_term(), after.keyring().active_since_ms()), (2, NOW_MS + 5));
    assert_eq!(after.key(Kind::KvV1, ["m", "a"]), key);
    assert_eq!(after.open(&key, &sealed).unwrap().payload.as_slice(), b"v");
    assert_eq!(after.seals_done(), 0);
}

#[test]
fn of_two_rotations_at_once_only_one_applies() {
    let made = shamir(1, 1);
    let rng = &mut seeded(2);
    let mut state = MemoryView::default();
    state.apply(&made.txn()).unwrap();
    let one = plan_rotation(&state, &made.config, &made.root_key, NOW_MS, rng).unwrap();
    let other = plan_rotation(&state, &made.config, &made.root_key, NOW_MS, rng).unwrap();
    state.apply(&one).unwrap();
    assert_eq!(state.apply(&other), Err(0));
}

#[test]
fn a_wrong_root_key_or_a_damaged_keyring_opens_nothing() {
    let made = shamir(1, 1);
    let wrong = RootKey::generate(&mut seeded(3));
    let mut state = MemoryView::default();
    let missing = open_barrier(&state, &made.config, &made.root_key).unwrap_err();
    assert!(matches!(missing, Error::Corrupt(_)));
    state.apply(&made.txn()).unwrap();
    assert!(matches!(open_barrier(&state, &made.config, &wrong).unwrap_err(), Error::Invalid(_)));
    state.damage(&plain_key(Kind::Keyring));
    assert!(matches!(open_barrier(&state, &made.config, &made.root_key).unwrap_err(), Error::Corrupt(_)));
}
