use super::*;
use crate::crypto::testing::seeded;
use crate::seal::testing::{CLUSTER, NOW_MS, shamir, static_key};
use crate::seal::{SealType, load_config, open_barrier};
use crate::view::testing::MemoryView;

#[test]
fn a_new_cluster_stores_its_seal_and_keyring_once() {
    let made = shamir(5, 3);
    let mut state = MemoryView::default();
    assert!(load_config(&state).unwrap().is_none());
    state.apply(&made.txn()).unwrap();
    assert_eq!(state.len(), 2);
    let (config, revision) = load_config(&state).unwrap().unwrap();
    assert_eq!((config, revision), (made.config.clone(), 1));
    assert_eq!(state.apply(&shamir(5, 3).txn()), Err(0), "a second init conflicts");
}

#[test]
fn what_is_stored_holds_no_key() {
    let made = shamir(3, 2);
    let mut state = MemoryView::default();
    state.apply(&made.txn()).unwrap();
    for secret in [made.root_key.expose().as_slice(), hex::encode(made.root_key.expose()).as_bytes()] {
        assert!(!state.contains(secret));
    }
    let barrier = open_barrier(&state, &made.config, &made.root_key).unwrap();
    assert_eq!(barrier.keyring().active_since_ms(), NOW_MS);
}

#[test]
fn the_seal_is_what_was_asked_for() {
    let made = |shares, threshold, key: Option<StaticKey>| {
        initialize(&Parameters { shares, threshold, static_key: key }, CLUSTER, NOW_MS, &mut seeded(1))
    };
    let shamir = made(5, 3, None).unwrap();
    assert_eq!(shamir.config.seal_type(), SealType::Shamir);
    assert_eq!((shamir.config.shares(), shamir.config.threshold(), shamir.shares.len()), (5, 3, 5));
    assert_eq!(shamir.config.static_key_id(), None);

    let auto = made(0, 0, Some(static_key(1))).unwrap();
    assert_eq!(auto.config.seal_type(), SealType::Static);
    assert_eq!((auto.config.shares(), auto.config.threshold(), auto.shares.len()), (0, 0, 0));
    assert_eq!(auto.config.static_key_id(), Some("key-1"));

    let both = made(3, 2, Some(static_key(1))).unwrap();
    assert_eq!((both.config.seal_type(), both.shares.len()), (SealType::Static, 3));

    for (shares, threshold, key) in
        [(0, 0, None), (3, 0, Some(static_key(1))), (0, 3, Some(static_key(1))), (3, 1, None)]
    {
        assert!(matches!(made(shares, threshold, key), Err(Error::Invalid(_))), "{threshold} of {shares}");
    }
}

#[test]
fn two_clusters_share_no_key() {
    let made = |seed| {
        let parameters = Parameters { shares: 1, threshold: 1, static_key: None };
        initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(seed)).unwrap()
    };
    let (one, other) = (made(1), made(2));
    assert_ne!(one.root_key.expose(), other.root_key.expose());
    assert_ne!(one.shares[0].to_hex().expose(), other.shares[0].to_hex().expose());
    Keyring::unwrap(&other.root_key, &CLUSTER, &one.wrapped_keyring).unwrap_err();
}

#[test]
fn another_static_key_replaces_the_first() {
    let parameters = Parameters { shares: 0, threshold: 0, static_key: Some(static_key(1)) };
    let made = initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(1)).unwrap();
    let next = StaticKey::new("key-2", &[2; 32]).unwrap();
    let config = replace_static_key(&made.config, &made.root_key, &next, &mut seeded(2)).unwrap();
    assert_eq!(config.unseal_with(&next).unwrap().expose(), made.root_key.expose());
    config.unseal_with(&static_key(1)).unwrap_err();
}

#[test]
fn of_two_replaced_seals_only_one_is_stored() {
    let made = shamir(3, 2);
    let rng = &mut seeded(4);
    let mut state = MemoryView::default();
    state.apply(&made.txn()).unwrap();
    let (one, _) = replace_shares(&made.config, &made.root_key, 3, 2, NOW_MS, rng).unwrap();
    let (other, _) = replace_shares(&made.config, &made.root_key, 3, 2, NOW_MS, rng).unwrap();
    state.apply(&one.txn(1)).unwrap();
    assert_eq!(state.apply(&other.txn(1)), Err(0), "the shares handed out must be those of the stored seal");
    assert_eq!(load_config(&state).unwrap().unwrap(), (one, 2));
}

#[test]
fn a_wrong_root_key_is_never_wrapped() {
    let made = shamir(3, 2);
    let rng = &mut seeded(3);
    let wrong = RootKey::generate(rng);
    assert!(replace_shares(&made.config, &wrong, 3, 2, NOW_MS, rng).is_err());
    assert!(replace_static_key(&made.config, &wrong, &static_key(1), rng).is_err());
}
