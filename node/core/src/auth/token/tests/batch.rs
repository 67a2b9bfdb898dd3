//! Batch tokens: what holds of them without a record.

use serde_json::json;

use super::*;
use crate::identity::IdentityRequest;

fn batch(world: &mut World, with: &str) -> String {
    let made = world.create(with, json!({ "type": "batch", "policies": "app" })).unwrap();
    assert!(made.entry.kind == TokenKind::Batch && made.entry.accessor.is_empty() && !made.entry.renewable);
    made.token.expose().to_owned()
}

#[test]
fn a_batch_token_holds_and_nothing_of_it_is_stored() {
    let mut world = World::new();
    let before = world.state.len();
    let token = batch(&mut world, "root");
    assert_eq!(world.state.len(), before);
    let found = world.identify(&token).unwrap();
    assert_eq!(found.entry.policies, ["app", "default"]);
    assert!(!found.is_orphan() && found.expires_at_ms > world.now_ms);
    world.now_ms = found.expires_at_ms - 1;
    assert!(world.holds(&token));
    world.now_ms += 1;
    assert!(!world.holds(&token));
}

#[test]
fn a_batch_token_ends_with_every_one_of_its_ancestors() {
    let mut world = World::new();
    let grandparent = world.child_of("root");
    let parent = world.create(&grandparent, json!({ "policies": "app" }));
    let parent = parent.unwrap().token.expose().to_owned();
    let token = batch(&mut world, &parent);
    let other = batch(&mut world, "root");
    world.revoke(&grandparent);
    assert!(!world.holds(&token) && world.holds(&other));
    let orphan =
        world.create("root", json!({ "type": "batch", "policies": "app", "no_parent": true })).unwrap();
    assert!(world.identify(orphan.token.expose()).unwrap().is_orphan());
}

#[test]
fn what_a_batch_token_decided_falls_with_its_parent() {
    let mut world = World::new();
    let parent = world.child_of("root");
    let token = batch(&mut world, &parent);
    let found = world.identify(&token).unwrap();
    let mut txn = conclave_proto::log::Txn::default();
    txn.put(vec![0xff], vec![1]);
    txn.preconditions.extend(found.preconditions);
    world.state.clone().apply(&txn).unwrap();
    world.revoke(&parent);
    assert!(world.state.apply(&txn).is_err());
}

#[test]
fn a_batch_token_makes_renews_and_revokes_nothing() {
    let mut world = World::new();
    let token = batch(&mut world, "root");
    assert_eq!(refused(world.create(&token, json!({}))), "batch tokens cannot create more tokens");
    let found = find_token(&world.state, &world.barrier, &token, world.now_ms).unwrap().unwrap();
    for refusal in [
        world.plan(|ctx| plan_renew(ctx, &found, 0).map(drop)),
        world.plan(|ctx| plan_revoke(ctx, &found).map(drop)),
        world.plan(|ctx| plan_revoke_orphan(ctx, &found).map(drop)),
    ] {
        assert!(
            matches!(refusal, Err(Error::Invalid(sentence)) if sentence.contains("batch tokens cannot be"))
        );
    }
}

#[test]
fn what_would_have_to_be_written_down_is_refused_of_a_batch_token() {
    let mut world = World::new();
    for (body, field) in [
        (json!({ "period": "1h" }), "period"),
        (json!({ "explicit_max_ttl": "1h" }), "explicit_max_ttl"),
        (json!({ "num_uses": 1 }), "num_uses"),
        (json!({ "id": "my-own-token" }), "id"),
        (json!({ "policies": "root" }), "root"),
        (json!({ "policies": "p", "meta": { "long": "x".repeat(16_000) } }), "bytes long"),
    ] {
        let mut body = body;
        body["type"] = json!("batch");
        let refusal = refused(world.create("root", body));
        assert!(refusal.contains(field), "{refusal}");
    }
}

#[test]
fn a_batch_token_of_another_cluster_is_denied() {
    use crate::crypto::Keyring;
    let mut world = World::new();
    let token = batch(&mut world, "root");
    let stranger = Barrier::new([7; 16], Keyring::generate(&mut seeded(99), NOW_MS));
    let error = identify(&world.state, &stranger, &TokenCaches::default(), NOW_MS, &token, None).unwrap_err();
    assert_eq!(error, Error::Denied);
}

#[test]
fn a_token_is_refused_with_its_entity_and_has_what_that_has() {
    let mut world = World::new();
    let text = r#"path "secret/{{identity.entity.name}}" { capabilities = ["read"] }"#;
    world.apply(|ctx| policies::plan_write(ctx, "templated", text).map(|(_, txn)| txn)).unwrap();
    let role = json!({ "allowed_entity_aliases": "*", "allowed_policies": "p" });
    world.ask_as("root", TokenRequest::RoleWrite, "ci", role).unwrap();
    for kind in ["service", "batch"] {
        let body = json!({ "type": kind, "entity_alias": kind });
        let auth = world.ask_as("root", TokenRequest::CreateByRole, "ci", body).unwrap()["auth"].clone();
        let (token, id) = (auth["client_token"].as_str().unwrap(), auth["entity_id"].as_str().unwrap());
        let change = json!({ "name": format!("{kind}-name"), "policies": "templated" });
        assert!(!world.may_read(token, "secret/x"));
        world.identity(IdentityRequest::EntityWriteById, id, change);
        assert!(world.may_read(token, &format!("secret/{kind}-name")));
        world.identity(IdentityRequest::EntityWriteById, id, json!({ "name": format!("{kind}-new") }));
        assert!(world.may_read(token, &format!("secret/{kind}-new")));
        assert!(!world.may_read(token, &format!("secret/{kind}-name")), "what was compiled is not kept");
        let decided = world.identify(token).unwrap();
        world.identity(IdentityRequest::EntityWriteById, id, json!({ "disabled": true }));
        assert_eq!(world.identify(token).unwrap_err(), Error::Denied);
        let mut txn = conclave_proto::log::Txn::default();
        txn.put(vec![0xff], vec![1]);
        txn.preconditions.extend(decided.preconditions);
        assert!(world.state.clone().apply(&txn).is_err(), "nor what was decided before it");
        world.identity(IdentityRequest::EntityWriteById, id, json!({ "disabled": false }));
        assert!(world.holds(token));
        world.identity(IdentityRequest::EntityDeleteById, id, json!({}));
        assert_eq!(world.identify(token).unwrap_err(), Error::Denied);
    }
}

#[test]
fn tidying_takes_away_what_holds_no_more_and_nothing_else() {
    let mut world = World::new();
    let parent = world.create("root", json!({ "ttl": "1h", "policies": "p" })).unwrap();
    let parent = parent.token.expose().to_owned();
    let child = world.create(&parent, json!({ "ttl": "9h", "policies": "p" })).unwrap();
    let kept: Vec<String> = (0..300).map(|_| world.child_of("root")).collect();
    let letting_go = world.child_of("root");
    let grandchild = world.child_of(&letting_go);
    let found = world.found(&letting_go);
    world.apply(|ctx| plan_revoke_orphan(ctx, &found)).unwrap();
    world.now_ms += HOUR_MS;
    assert!(!world.holds(child.token.expose()) && world.holds(&grandchild));
    let tidy = |world: &mut World| {
        world.ask_as("root", TokenRequest::Tidy, "", json!({})).unwrap();
        let mut pieces = 0;
        while let Some(txn) = world.plan(tidy::next_batch).unwrap() {
            world.state.apply(&txn).unwrap();
            pieces += 1;
        }
        pieces
    };
    let before = world.state.len();
    assert!(tidy(&mut world) >= 2);
    assert_eq!(world.state.len(), before - 4, "the child, its accessor, its lease, and that it was one");
    assert!(kept.iter().all(|token| world.holds(token)) && world.holds(&grandchild));
    world.revoke(&grandchild);
    let before = world.state.len();
    tidy(&mut world);
    assert_eq!(world.state.len(), before - 1, "what stood in the place of one that let its children go");
}
