use std::net::IpAddr;

use serde_json::json;

use super::*;
use crate::crypto::testing::seeded;
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::policy::store as policies;
use crate::policy::{Access, authorize};
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::View as _;
use crate::view::testing::MemoryView;

const HOUR_MS: u64 = 3_600_000;

/// A state, and what works on it.
struct World {
    state: MemoryView,
    barrier: Barrier,
    caches: TokenCaches,
    now_ms: u64,
    seed: u64,
}

impl World {
    /// With one root token, `root`.
    fn new() -> Self {
        let (state, barrier, caches) = (MemoryView::default(), barrier(), TokenCaches::default());
        let mut world = Self { state, barrier, caches, now_ms: NOW_MS, seed: 1 };
        world.apply(|ctx| plan_root_token(ctx, Some("root")).map(|(_, txn)| txn)).unwrap();
        world
    }

    fn plan<T>(&mut self, plan: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.seed += 1;
        let mut rng = seeded(self.seed);
        plan(&mut Context { view: &self.state, barrier: &self.barrier, now_ms: self.now_ms, rng: &mut rng })
    }

    fn apply(
        &mut self,
        plan: impl FnOnce(&mut Context<'_>) -> Result<conclave_proto::log::Txn, Error>,
    ) -> Result<(), Error> {
        let txn = self.plan(plan)?;
        self.state.apply(&txn).expect("nothing came in between");
        Ok(())
    }

    fn identify(&self, token: &str) -> Result<Identified, Error> {
        self.identify_from(token, None)
    }

    fn identify_from(&self, token: &str, from: Option<IpAddr>) -> Result<Identified, Error> {
        identify(&self.state, &self.barrier, &self.caches, self.now_ms, token, from)
    }

    fn holds(&self, token: &str) -> bool {
        self.identify(token).is_ok()
    }

    fn found(&self, token: &str) -> Found {
        let hash = self.barrier.token_hash(token.as_bytes());
        find(&self.state, &self.barrier, &hash, self.now_ms).unwrap().expect("it holds")
    }

    /// Makes a token with another one, as a body asks for it.
    fn create(&mut self, with: &str, body: serde_json::Value) -> Result<Created, Error> {
        let caller = self.identify(with)?;
        let may_sudo = caller.entry.is_root();
        let creation = Creation::of(body.as_object().unwrap())?;
        let created = self.plan(|ctx| plan_create(ctx, creation, &caller, may_sudo, "auth/token/create"))?;
        self.state.apply(&created.txn).expect("nothing came in between");
        Ok(created)
    }

    fn child_of(&mut self, with: &str) -> String {
        self.create(with, json!({})).unwrap().token.expose().to_owned()
    }

    fn revoke(&mut self, token: &str) {
        let found = self.found(token);
        self.apply(|ctx| plan_revoke(ctx, &found)).unwrap();
    }

    fn clear_all(&mut self) -> usize {
        let mut batches = 0;
        while let Some(txn) = self.plan(clear::next_batch).unwrap() {
            self.state.apply(&txn).unwrap();
            batches += 1;
        }
        batches
    }

    fn may_read(&self, token: &str, path: &str) -> bool {
        let identified = self.identify(token).unwrap();
        authorize(&identified.identity, &Access::reading(path)).is_ok()
    }
}

fn refused(result: Result<Created, Error>) -> String {
    match result {
        Err(Error::Invalid(sentence)) => sentence,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was made"),
    }
}

#[test]
fn a_root_token_identifies_root_for_ever() {
    let mut world = World::new();
    world.now_ms += 1_000_000_000_000;
    let found = world.identify("root").unwrap();
    assert!(found.identity.is_root() && found.is_orphan());
    assert_eq!(found.entry.policies, ["root"]);
}

#[test]
fn the_token_is_stored_nowhere() {
    let mut world = World::new();
    let token = world.child_of("root");
    let hash = world.barrier.token_hash(token.as_bytes());
    for part in [token.as_bytes(), hash.as_bytes(), b"default"] {
        assert!(!world.state.contains(part));
    }
}

#[test]
fn an_unknown_or_endless_token_is_denied() {
    let mut world = World::new();
    let token = world.child_of("root");
    let longer = format!("{token}x");
    for wrong in ["", "s.", "ROOT", &longer, &token[..token.len() - 1], &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert_eq!(world.identify(wrong).unwrap_err(), Error::Denied);
    }
}

#[test]
fn a_token_ends_at_its_time_even_before_its_record_is_dropped() {
    let mut world = World::new();
    let token = world.create("root", json!({ "ttl": "1h" })).unwrap().token.expose().to_owned();
    world.now_ms += HOUR_MS - 1;
    assert!(world.holds(&token));
    world.now_ms += 1;
    assert!(!world.holds(&token));
}

#[test]
fn a_token_has_the_policies_it_was_made_with_and_default() {
    let mut world = World::new();
    let text = r#"path "secret/data/app" { capabilities = ["read"] }"#;
    world.apply(|ctx| policies::plan_write(ctx, "app", text).map(|(_, txn)| txn)).unwrap();
    let made = world.create("root", json!({ "policies": ["APP", "app"] })).unwrap();
    assert_eq!(made.entry.policies, ["app", "default"]);
    let token = made.token.expose();
    assert!(world.may_read(token, "secret/data/app") && !world.may_read(token, "secret/data/other"));
    assert!(world.may_read(token, "auth/token/lookup-self"));
    let bare = world.create("root", json!({ "policies": "app", "no_default_policy": true })).unwrap();
    assert!(!world.may_read(bare.token.expose(), "auth/token/lookup-self"));
}

#[test]
fn a_changed_policy_holds_at_once_and_undoes_what_was_decided_by_the_old_one() {
    let mut world = World::new();
    let text = r#"path "secret/data/app" { capabilities = ["read"] }"#;
    world.apply(|ctx| policies::plan_write(ctx, "app", text).map(|(_, txn)| txn)).unwrap();
    let token = world.create("root", json!({ "policies": "app" })).unwrap().token.expose().to_owned();
    let decided = world.identify(&token).unwrap().preconditions;
    assert!(world.may_read(&token, "secret/data/app"));
    world.apply(|ctx| policies::plan_delete(ctx, "app")).unwrap();
    assert!(!world.may_read(&token, "secret/data/app"));
    let mut effect = conclave_proto::log::Txn { preconditions: decided, ..Default::default() };
    effect.put(&b"key"[..], &b"value"[..]);
    assert!(world.state.apply(&effect).is_err());
}

#[test]
fn to_end_a_token_ends_all_that_was_made_with_it_at_once() {
    let mut world = World::new();
    let parent = world.child_of("root");
    let child = world.child_of(&parent);
    let grandchild = world.child_of(&child);
    let sibling = world.child_of("root");
    let decided = world.identify(&grandchild).unwrap().preconditions;
    world.revoke(&parent);
    for gone in [&parent, &child, &grandchild] {
        assert!(!world.holds(gone));
    }
    assert!(world.holds(&sibling));
    let mut effect = conclave_proto::log::Txn { preconditions: decided, ..Default::default() };
    effect.put(&b"key"[..], &b"value"[..]);
    assert!(world.state.apply(&effect).is_err(), "what the grandchild decided before");
}

#[test]
fn what_was_made_with_an_ended_token_is_cleared_away_piece_by_piece() {
    let mut world = World::new();
    let parent = world.child_of("root");
    for _ in 0..300 {
        world.child_of(&parent);
    }
    let child = world.child_of(&parent);
    world.child_of(&child);
    let before = accessors(&world.state, &world.barrier, world.now_ms).unwrap().len();
    assert_eq!(before, 304);
    world.revoke(&parent);
    assert!(world.clear_all() >= 3);
    assert_eq!(accessors(&world.state, &world.barrier, world.now_ms).unwrap().len(), 1);
    let prefix = crate::crypto::plain_key(Kind::TokenChild);
    assert!(world.state.cursor().seek(&prefix).unwrap().is_none_or(|(key, _)| !key.starts_with(&prefix)));
}

#[test]
fn children_of_a_token_that_lets_them_go_live_on_as_orphans() {
    let mut world = World::new();
    let parent = world.child_of("root");
    let child = world.child_of(&parent);
    let grandchild = world.child_of(&child);
    assert!(!world.identify(&child).unwrap().is_orphan());
    let found = world.found(&parent);
    world.apply(|ctx| plan_revoke_orphan(ctx, &found)).unwrap();
    assert!(!world.holds(&parent));
    assert!(world.identify(&child).unwrap().is_orphan());
    assert!(!world.identify(&grandchild).unwrap().is_orphan());
    world.revoke(&child);
    assert!(!world.holds(&grandchild));
}

#[test]
fn a_caller_gives_away_only_what_he_has() {
    let mut world = World::new();
    let app = world.create("root", json!({ "policies": "app" })).unwrap().token.expose().to_owned();
    let refusal = refused(world.create(&app, json!({ "policies": ["app", "other"] })));
    assert_eq!(refusal, "child policies must be subset of parent");
    let refusal = refused(world.create(&app, json!({ "policies": "root" })));
    assert!(refusal.contains("without parent token being root"), "{refusal}");
    for asked in [json!({ "id": "my-own-token" }), json!({ "period": "1h" }), json!({ "no_parent": true })] {
        assert!(refused(world.create(&app, asked)).contains("root or sudo privileges required"));
    }
    let child = world.create(&app, json!({})).unwrap();
    assert_eq!(child.entry.policies, ["app", "default"]);
    let bare = world.create("root", json!({ "policies": "app", "no_default_policy": true })).unwrap();
    let child = world.create(bare.token.expose(), json!({})).unwrap();
    assert_eq!(child.entry.policies, ["app"], "nobody gives default away who has not got it");
}

#[test]
fn root_is_given_on_for_ever_only_by_who_has_it_for_ever() {
    let mut world = World::new();
    let made = world.create("root", json!({ "policies": ["root", "app"] })).unwrap();
    assert_eq!((made.entry.policies.as_slice(), made.lasts_ms), (&["root".to_owned()][..], 0));
    let ending = world.create("root", json!({ "policies": "root", "ttl": 60 })).unwrap();
    let token = ending.token.expose().to_owned();
    let refusal = refused(world.create(&token, json!({ "policies": "root" })));
    assert_eq!(refusal, "expiring root tokens cannot create non-expiring root tokens");
    world.create(&token, json!({ "policies": "root", "ttl": 30 })).unwrap();
}

#[test]
fn a_token_is_renewed_within_its_limits() {
    let mut world = World::new();
    let body = json!({ "ttl": "1h", "explicit_max_ttl": "3h" });
    let token = world.create("root", body).unwrap().token.expose().to_owned();
    world.now_ms += HOUR_MS / 2;
    let found = world.found(&token);
    let renewed = world.plan(|ctx| plan_renew(ctx, &found, 2 * HOUR_MS)).unwrap();
    world.state.apply(&renewed.txn).unwrap();
    assert_eq!((renewed.lasts_ms, renewed.warnings.len()), (2 * HOUR_MS, 0));
    world.now_ms += 2 * HOUR_MS - 1;
    let found = world.found(&token);
    let renewed = world.plan(|ctx| plan_renew(ctx, &found, 0)).unwrap();
    world.state.apply(&renewed.txn).unwrap();
    assert_eq!(
        (renewed.lasts_ms, renewed.warnings.len()),
        (HOUR_MS / 2 + 1, 1),
        "three hours after it was made"
    );
    world.now_ms += HOUR_MS / 2 + 1;
    assert!(!world.holds(&token));
}

#[test]
fn a_periodic_token_lives_as_long_as_it_is_renewed() {
    let mut world = World::new();
    let token = world.create("root", json!({ "period": "1h" })).unwrap().token.expose().to_owned();
    for _ in 0..2_000 {
        world.now_ms += HOUR_MS - 1;
        let found = world.found(&token);
        let renewed = world.plan(|ctx| plan_renew(ctx, &found, 9 * HOUR_MS)).unwrap();
        assert_eq!(renewed.lasts_ms, HOUR_MS);
        world.state.apply(&renewed.txn).unwrap();
    }
}

#[test]
fn what_cannot_be_renewed_is_refused() {
    let mut world = World::new();
    let found = world.found("root");
    assert!(matches!(world.plan(|ctx| plan_renew(ctx, &found, 0)), Err(Error::Invalid(_))));
    let token = world.create("root", json!({ "ttl": 60, "renewable": false })).unwrap();
    let found = world.found(token.token.expose());
    assert!(matches!(world.plan(|ctx| plan_renew(ctx, &found, 0)), Err(Error::Invalid(_))));
}

#[test]
fn bad_fields_are_named_and_never_repeated() {
    let mut world = World::new();
    for (body, word) in [
        (json!({ "ttl": "canary" }), "ttl"),
        (json!({ "ttl": -1 }), "ttl"),
        (json!({ "num_uses": -1 }), "uses"),
        (json!({ "policies": [1] }), "policies"),
        (json!({ "policies": "response-wrapping" }), "response-wrapping"),
        (json!({ "meta": { "a": [] } }), "metadata"),
        (json!({ "id": "s.canary-canary" }), "custom token ID"),
        (json!({ "id": "canary" }), "custom token ID"),
        (json!({ "type": "canary" }), "type"),
        (json!({ "period": "9999999h999999h" }), "period"),
        (json!({ "explicit_max_ttl": 10_000_000_000_000_u64 }), "explicit_max_ttl"),
    ] {
        let refusal = refused(world.create("root", body));
        assert!(refusal.contains(word) && !refusal.contains("canary"), "{refusal}");
    }
}

#[test]
fn a_token_of_the_callers_own_choice_is_taken_once() {
    let mut world = World::new();
    let made = world.create("root", json!({ "id": "my-own-token" })).unwrap();
    assert_eq!(made.token.expose(), "my-own-token");
    let caller = world.identify("root").unwrap();
    let creation = Creation::of(json!({ "id": "my-own-token" }).as_object().unwrap()).unwrap();
    let again = world.plan(|ctx| plan_create(ctx, creation, &caller, true, "auth/token/create")).unwrap();
    assert!(world.state.apply(&again.txn).is_err());
}

#[test]
fn a_token_is_found_by_its_accessor_as_long_as_it_holds() {
    let mut world = World::new();
    let made = world.create("root", json!({ "ttl": 60, "display_name": "ci job" })).unwrap();
    let by_accessor =
        |world: &World| find_by_accessor(&world.state, &world.barrier, &made.entry.accessor, world.now_ms);
    let found = by_accessor(&world).unwrap().unwrap();
    assert_eq!(found.entry.display_name, "token-ci-job");
    let data = lookup_data(&found.entry, "", found.is_orphan(), found.expires_at_ms, world.now_ms);
    assert_eq!(
        (&data["ttl"], &data["orphan"], &data["type"]),
        (&json!(60), &json!(false), &json!("service"))
    );
    assert_eq!((&data["renewable"], &data["id"]), (&json!(true), &json!("")));
    world.revoke(made.token.expose());
    assert!(by_accessor(&world).unwrap().is_none());
}

#[test]
fn a_line_of_ancestors_has_an_end() {
    let mut world = World::new();
    let mut token = "root".to_owned();
    for _ in 0..store::ANCESTORS_MAX {
        token = world.child_of(&token);
    }
    assert!(world.holds(&token));
    assert!(refused(world.create(&token, json!({}))).contains("ancestors"));
}

#[test]
fn a_token_record_put_under_another_token_is_refused() {
    let mut world = World::new();
    let key_of =
        |token: &str| world.barrier.key(Kind::Token, [world.barrier.token_hash(token.as_bytes()).as_str()]);
    let record = world.state.get(&key_of("root")).unwrap().unwrap();
    let mut txn = conclave_proto::log::Txn::default();
    txn.put(key_of("mine"), record.sealed);
    world.state.apply(&txn).unwrap();
    assert!(matches!(world.identify("mine").unwrap_err(), Error::Corrupt(_)));
}

#[test]
fn debug_shows_no_token_and_no_accessor() {
    let mut world = World::new();
    let made = world.create("root", json!({})).unwrap();
    let found = world.identify(made.token.expose()).unwrap();
    let printed = format!("{:?} {:?} {:?}", made.token, found.entry, found);
    assert!(!printed.contains(&found.entry.accessor) && !printed.contains(made.token.expose().as_str()));
}
