use std::collections::HashSet;

use super::*;
use crate::crypto::testing::seeded;
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::testing::MemoryView;

/// A state with one root token.
fn with_root_token(fixed: Option<&str>) -> (MemoryView, Barrier, Secret<String>) {
    let (mut state, barrier) = (MemoryView::default(), barrier());
    let (token, txn) = {
        let mut rng = seeded(1);
        let mut ctx = Context { view: &state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
        plan_root_token(&mut ctx, fixed).unwrap()
    };
    state.apply(&txn).unwrap();
    (state, barrier, token)
}

/// Stores `entry` under `token` as another version or another rule would have.
fn stored(entry: &TokenEntry, token: &str, expires_at_ms: u64) -> (MemoryView, Barrier) {
    let (mut state, barrier) = (MemoryView::default(), barrier());
    let hash = barrier.token_hash(token.as_bytes());
    let key = barrier.key(Kind::Token, [hash.as_str()]);
    let payload = serde_json::to_vec(entry).unwrap();
    let mut txn = Txn::default();
    txn.put_until(key.clone(), barrier.seal(&key, &hash, &payload, &mut seeded(2)).unwrap(), expires_at_ms);
    state.apply(&txn).unwrap();
    (state, barrier)
}

fn root_entry() -> TokenEntry {
    let cache = TokenCache::default();
    let (state, barrier, token) = with_root_token(None);
    let found = identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap();
    (*found.entry).clone()
}

#[test]
fn a_root_token_identifies_root() {
    let cache = TokenCache::default();
    let (state, barrier, token) = with_root_token(None);
    let found = identify(&state, &barrier, &cache, NOW_MS + 1_000_000_000_000, token.expose()).unwrap();
    assert!(found.identity.is_root());
    assert_eq!(found.precondition.revision, 1);
    assert_eq!(found.entry.policies, ["root"]);
}

#[test]
fn a_random_token_has_vaults_form_and_256_bits() {
    let (_, _, token) = with_root_token(None);
    let characters = token.expose().strip_prefix("s.").unwrap();
    assert_eq!(characters.len(), 43);
    assert!(characters.bytes().all(|byte| byte.is_ascii_alphanumeric()));

    let rng = &mut seeded(3);
    let mut counts = std::collections::BTreeMap::new();
    let mut seen = HashSet::new();
    for _ in 0..1_000 {
        let token = random_token(rng);
        token.expose().bytes().skip(2).for_each(|byte| *counts.entry(byte).or_insert(0_u32) += 1);
        assert!(seen.insert(token.expose().clone()));
    }
    assert_eq!(counts.len(), 62);
    // Each is expected 693 times; without the rejection the first eight would come 840 times.
    assert!(counts.values().all(|count| (560..=826).contains(count)), "{counts:?}");
}

#[test]
fn the_token_is_stored_nowhere() {
    let (state, barrier, token) = with_root_token(Some("canary-root-token"));
    for part in [token.expose().as_bytes(), barrier.token_hash(token.expose().as_bytes()).as_bytes(), b"root"]
    {
        assert!(!state.contains(part));
    }
}

#[test]
fn a_cached_token_ends_when_its_record_does_and_changes_with_it() {
    let (mut state, barrier, token) = with_root_token(None);
    let cache = TokenCache::default();
    let before = identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap();
    let hash = barrier.token_hash(token.expose().as_bytes());
    let changed = TokenEntry { display_name: "changed".to_owned(), ..(*before.entry).clone() };
    let payload = serde_json::to_vec(&changed).unwrap();
    let key = before.precondition.key.clone();
    let mut txn = Txn::default();
    txn.put(key.clone(), barrier.seal(&key, &hash, &payload, &mut seeded(3)).unwrap());
    state.apply(&txn).unwrap();
    let after = identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap();
    assert_eq!(after.entry.display_name, "changed");
    assert_ne!(after.precondition.revision, before.precondition.revision);
    state.apply(&plan_revoke(&after)).unwrap();
    assert_eq!(identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap_err(), Error::Denied);
}

#[test]
fn an_unknown_empty_or_endless_token_is_denied() {
    let cache = TokenCache::default();
    let (state, barrier, token) = with_root_token(None);
    let longer = format!("{}x", token.expose());
    let shorter = &token.expose()[..token.expose().len() - 1];
    for wrong in ["", "s.", "root", &longer, shorter, &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert_eq!(identify(&state, &barrier, &cache, NOW_MS, wrong).unwrap_err(), Error::Denied);
    }
}

#[test]
fn a_token_ends_at_its_time_even_before_it_is_reaped() {
    let cache = TokenCache::default();
    let (state, barrier) = stored(&root_entry(), "t", NOW_MS + 10);
    identify(&state, &barrier, &cache, NOW_MS + 9, "t").unwrap();
    assert_eq!(identify(&state, &barrier, &cache, NOW_MS + 10, "t").unwrap_err(), Error::Denied);
    assert_eq!(identify(&state, &barrier, &cache, NOW_MS + 11, "t").unwrap_err(), Error::Denied);
}

#[test]
fn a_token_without_the_root_policy_is_denied() {
    let cache = TokenCache::default();
    for policies in [vec![], vec!["default".to_owned()], vec!["ROOT".to_owned(), "rooted".to_owned()]] {
        let (state, barrier) = stored(&TokenEntry { policies, ..root_entry() }, "t", 0);
        assert_eq!(identify(&state, &barrier, &cache, NOW_MS, "t").unwrap_err(), Error::Denied);
    }
}

#[test]
fn a_record_of_a_later_version_is_not_guessed_at() {
    let cache = TokenCache::default();
    let (state, barrier) = stored(&TokenEntry { version: 2, ..root_entry() }, "t", 0);
    assert!(matches!(identify(&state, &barrier, &cache, NOW_MS, "t").unwrap_err(), Error::Corrupt(_)));
}

#[test]
fn a_token_record_put_under_another_token_is_refused() {
    let cache = TokenCache::default();
    let (mut state, barrier, token) = with_root_token(None);
    let key_of = |token: &str| barrier.key(Kind::Token, [barrier.token_hash(token.as_bytes()).as_str()]);
    let record = state.get(&key_of(token.expose())).unwrap().unwrap();
    let mut txn = Txn::default();
    txn.put(key_of("mine"), record.sealed);
    state.apply(&txn).unwrap();
    assert!(matches!(identify(&state, &barrier, &cache, NOW_MS, "mine").unwrap_err(), Error::Corrupt(_)));
}

#[test]
fn a_revoked_token_fails_what_was_decided_by_it() {
    let cache = TokenCache::default();
    let (mut state, barrier, token) = with_root_token(None);
    let decided = identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap().precondition;
    let found = identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap();
    state.apply(&plan_revoke(&found)).unwrap();
    assert_eq!(state.apply(&plan_revoke(&found)), Err(0));

    let mut effect = Txn::default();
    effect.require(decided.key, decided.revision);
    effect.put(&b"key"[..], &b"value"[..]);
    assert_eq!(state.apply(&effect), Err(0));
    assert_eq!(identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap_err(), Error::Denied);
}

#[test]
fn a_fixed_token_is_taken_once_and_as_it_is() {
    let cache = TokenCache::default();
    let (mut state, barrier, token) = with_root_token(Some("root"));
    assert_eq!(token.expose(), "root");
    assert!(identify(&state, &barrier, &cache, NOW_MS, "root").unwrap().identity.is_root());
    let mut rng = seeded(4);
    let mut ctx = Context { view: &state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
    let (_, again) = plan_root_token(&mut ctx, Some("root")).unwrap();
    for bad in ["", "has space", "tab\t", "ö", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert!(matches!(plan_root_token(&mut ctx, Some(bad)), Err(Error::Invalid(_))), "{bad:?}");
    }
    assert_eq!(state.apply(&again), Err(0));
}

#[test]
fn lookup_answers_in_vaults_shape() {
    let entry = root_entry();
    let accessor = entry.accessor.clone();
    let expected = json!({
        "accessor": accessor, "creation_time": 1_700_000_000, "creation_ttl": 0, "display_name": "root",
        "entity_id": "", "expire_time": null, "explicit_max_ttl": 0, "id": "s.x", "meta": null, "num_uses": 0,
        "orphan": true, "path": "auth/token/root", "policies": ["root"], "ttl": 0, "type": "service",
    });
    assert_eq!(lookup_data(&entry, "s.x", NOW_MS), expected);
    assert_eq!(accessor.len(), 24);

    let ending = TokenEntry { ttl_ms: 60_000, ..entry };
    let data = lookup_data(&ending, "s.x", NOW_MS + 20_000);
    assert_eq!((&data["ttl"], &data["creation_ttl"]), (&json!(40), &json!(60)));
    assert_eq!(data["expire_time"], json!("2023-11-14T22:14:20Z"));
    assert_eq!(lookup_data(&ending, "s.x", NOW_MS + 90_000)["ttl"], json!(0));
}

#[test]
fn debug_shows_no_token_and_no_accessor() {
    let cache = TokenCache::default();
    let (state, barrier, token) = with_root_token(None);
    let found = identify(&state, &barrier, &cache, NOW_MS, token.expose()).unwrap();
    let printed = format!("{token:?} {:?} {:?}", found.entry, found);
    assert!(!printed.contains(&found.entry.accessor), "{printed}");
    assert!(!printed.contains(token.expose().as_str()), "{printed}");
}
