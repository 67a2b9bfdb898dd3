//! Leases of tokens that logins made, asked for as the server asks.

use serde_json::{Map, Value, json};

use super::*;
use crate::auth::testing::World;
use crate::auth::token::{self, plan_root_token, plan_wrapping_token, store, tidy};
use crate::error::Error;
use crate::plan::{Plan, Query, Reply};

const HOUR_MS: u64 = 3_600_000;
/// Leases of one piece of work, and some more.
const MANY: usize = 300;

fn world() -> World {
    let mut world = World::new();
    world
        .write(
            "approle/role/ci",
            json!({ "role_id": "r", "bind_secret_id": false, "secret_id_bound_cidrs": "0.0.0.0/0" }),
        )
        .unwrap();
    world.write("approle/role/ci", json!({ "token_ttl": "1h", "token_max_ttl": "4h" })).unwrap();
    world.from("10.0.0.1");
    world
}

fn log_in(world: &mut World) -> String {
    world.write("approle/login", json!({ "role_id": "r" })).unwrap().token().to_owned()
}

fn ask(world: &mut World, request: LeaseRequest, captured: &str, body: &Value) -> Result<Reply, Error> {
    let (table, nothing) = (world.table(), Map::new());
    let query = Query(match body["type"].as_str() {
        Some(kind) => vec![("type".to_owned(), kind.to_owned())],
        None => Vec::new(),
    });
    world.commit(|ctx| handle(ctx, request, captured, &table, &query, body.as_object().unwrap_or(&nothing)))
}

fn told(reply: Reply) -> Value {
    reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap())
}

fn listed(world: &mut World, prefix: &str) -> Vec<String> {
    match ask(world, LeaseRequest::List, prefix, &Value::Null) {
        Ok(reply) => serde_json::from_value(told(reply)["keys"].take()).unwrap(),
        Err(error) => {
            assert_eq!(error, Error::NotFound);
            Vec::new()
        }
    }
}

fn lookup(world: &mut World, id: &str) -> Result<Value, Error> {
    ask(world, LeaseRequest::Lookup, "", &json!({ "lease_id": id })).map(told)
}

fn count(world: &mut World, path: &str) -> u64 {
    world.plan(|ctx| record::count(ctx.view, ctx.barrier, path)).unwrap().unwrap()
}

/// The id of the lease of this token.
fn id_of(world: &World, token: &str) -> String {
    format!("auth/approle/login/h{}", world.barrier.token_hash(token.as_bytes()))
}

#[test]
fn a_login_is_a_lease_below_its_path_for_as_long_as_its_token_lasts() {
    let mut world = world();
    let token = log_in(&mut world);
    let id = id_of(&world, &token);
    assert_eq!(listed(&mut world, ""), ["auth/"]);
    assert_eq!(listed(&mut world, "auth/approle"), ["login/"]);
    assert_eq!(listed(&mut world, "auth/approle/login/"), [id.rsplit('/').next().unwrap()]);
    assert!(listed(&mut world, "auth/app").is_empty() && listed(&mut world, "auth/approle/logi").is_empty());
    let told = lookup(&mut world, &id).unwrap();
    assert_eq!((&told["path"], &told["ttl"]), (&json!("auth/approle/login"), &json!(3_600)));
    assert_eq!((&told["renewable"], &told["last_renewal"]), (&json!(true), &Value::Null));
    world.now_ms += 3_599_999;
    assert!(lookup(&mut world, &id).is_ok() && listed(&mut world, "auth").len() == 1);
    world.now_ms += 1;
    assert_eq!(lookup(&mut world, &id), Err(Error::invalid("invalid lease")));
    assert!(listed(&mut world, "auth/approle/login").is_empty() && listed(&mut world, "").is_empty());
}

fn renew(world: &mut World, token: &str, increment_ms: u64) -> Result<Reply, Error> {
    let hash = world.barrier.token_hash(token.as_bytes());
    world.commit(|ctx| {
        let gone = || Error::invalid("it has ended");
        let found = token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?.ok_or_else(gone)?;
        let renewed = token::plan_renew(ctx, &found, increment_ms)?;
        Ok(Plan { txn: renewed.txn, reply: Reply::no_content() })
    })
}

#[test]
fn a_token_that_is_renewed_takes_its_lease_along() {
    let mut world = world();
    let token = log_in(&mut world);
    let id = id_of(&world, &token);
    world.now_ms += HOUR_MS / 2;
    renew(&mut world, &token, 2 * HOUR_MS).unwrap();
    world.now_ms += 2 * HOUR_MS - 1;
    let told = lookup(&mut world, &id).unwrap();
    assert_eq!(told["ttl"], 0);
    assert!(told["last_renewal"].is_string());
    assert_eq!(listed(&mut world, "auth/approle/login").len(), 1);
    assert_eq!(count(&mut world, "auth/approle"), 1);
}

/// CVE-2021-32923: renewed when nearly nothing was left, a lease lasted for ever.
#[test]
fn a_lease_that_is_renewed_at_its_last_moment_still_ends() {
    for late_ms in [HOUR_MS - 1_000, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1] {
        let mut world = world();
        world.write("approle/role/ci", json!({ "token_max_ttl": "1h" })).unwrap();
        let token = log_in(&mut world);
        let id = id_of(&world, &token);
        let ends_ms = world.now_ms + HOUR_MS;
        world.now_ms += late_ms;
        assert_eq!(renew(&mut world, &token, HOUR_MS).is_ok(), late_ms < HOUR_MS, "{late_ms}");
        assert_eq!(lookup(&mut world, &id).is_ok(), late_ms < HOUR_MS, "{late_ms}");
        world.now_ms = ends_ms;
        assert!(lookup(&mut world, &id).is_err() && !world.holds(&token), "{late_ms}");
    }
}

#[test]
fn to_revoke_a_lease_is_to_revoke_its_token() {
    let mut world = world();
    let (first, second) = (log_in(&mut world), log_in(&mut world));
    let id = id_of(&world, &first);
    let reply = ask(&mut world, LeaseRequest::Revoke, "", &json!({ "lease_id": id })).unwrap();
    assert_eq!(reply.status, 204);
    assert!(!world.holds(&first) && world.holds(&second));
    assert_eq!(listed(&mut world, "auth/approle/login").len(), 1);
    let id = id_of(&world, &second);
    let reply = ask(&mut world, LeaseRequest::Revoke, &id, &json!({ "sync": false })).unwrap();
    assert_eq!((reply.status, world.holds(&second)), (202, false));
    let again = ask(&mut world, LeaseRequest::Revoke, &id, &Value::Null).unwrap();
    assert_eq!(again.status, 204, "one that is gone is no fault");
}

#[test]
fn an_id_leads_to_its_own_token_only() {
    let mut world = world();
    let token = log_in(&mut world);
    let hash = world.barrier.token_hash(token.as_bytes());
    world
        .commit(|ctx| {
            let (_, txn) = plan_root_token(ctx, Some("root"))?;
            Ok(Plan { txn, reply: Reply::no_content() })
        })
        .unwrap();
    let root = world.barrier.token_hash(b"root");
    for id in [
        format!("auth/token/create/h{hash}"),
        format!("auth/approle/h{hash}"),
        format!("auth/approle/login//h{hash}"),
        format!("/auth/approle/login/h{hash}"),
        format!("auth/approle/login/h{hash}/"),
        format!("auth/approle/login/{hash}"),
        format!("auth/approle/login/h{}", hash.to_uppercase()),
        format!("h{hash}"),
        format!("auth/token/root/h{root}"),
        token.clone(),
        "h".to_owned(),
    ] {
        assert_eq!(lookup(&mut world, &id), Err(Error::invalid("invalid lease")), "{id}");
        ask(&mut world, LeaseRequest::Revoke, &id, &Value::Null).unwrap();
    }
    assert!(world.holds(&token) && world.holds("root"));
    assert_eq!(listed(&mut world, "auth"), ["approle/"], "init's token is no lease");
}

#[test]
fn tokens_are_not_renewed_as_leases() {
    let mut world = world();
    let token = log_in(&mut world);
    let id = id_of(&world, &token);
    for (id, sentence) in [
        (id.as_str(), "tokens cannot be renewed through this endpoint"),
        ("auth/approle/login/h00", "lease not found"),
        ("", "lease_id must be specified"),
    ] {
        let refused = ask(&mut world, LeaseRequest::Renew, "", &json!({ "lease_id": id, "increment": 60 }));
        assert_eq!(refused.err(), Some(Error::invalid(sentence)));
    }
}

#[test]
fn a_prefix_is_revoked_whole_segments_at_a_time_and_in_pieces_if_it_is_large() {
    let mut world = world();
    world.enable("approle2", json!({ "type": "approle" })).unwrap();
    world
        .write(
            "approle2/role/ci",
            json!({ "role_id": "r", "bind_secret_id": false, "secret_id_bound_cidrs": "0.0.0.0/0" }),
        )
        .unwrap();
    let other = world.write("approle2/login", json!({ "role_id": "r" })).unwrap().token().to_owned();
    let tokens: Vec<String> = (0..MANY).map(|_| log_in(&mut world)).collect();
    assert_eq!(count(&mut world, "auth/approle/login"), MANY as u64);
    ask(&mut world, LeaseRequest::RevokePrefix, "auth/appr", &Value::Null).unwrap();
    assert!(tokens.iter().all(|token| world.holds(token)), "that is no whole segment");

    let first = ask(&mut world, LeaseRequest::RevokePrefix, "auth/approle", &Value::Null).unwrap();
    assert!(first.goes_on && first.status == 202 && first.warnings.len() == 1);
    let left = tokens.iter().filter(|token| world.holds(token)).count();
    assert!(left > 0 && left < MANY);
    let last = ask(&mut world, LeaseRequest::RevokePrefix, "auth/approle", &Value::Null).unwrap();
    assert!(!last.goes_on && last.status == 204);
    assert!(!tokens.iter().any(|token| world.holds(token)) && world.holds(&other));
    assert_eq!((count(&mut world, "auth/approle"), count(&mut world, "auth")), (0, 1));
    assert!(world.plan(revoke::next_batch).unwrap().is_none(), "nothing is left for the leader");
}

#[test]
fn what_a_request_has_begun_the_leader_ends_and_later_logins_live_on() {
    let mut world = world();
    let tokens: Vec<String> = (0..3 * MANY).map(|_| log_in(&mut world)).collect();
    let begun = ask(&mut world, LeaseRequest::RevokePrefix, "auth/approle/login", &json!({ "sync": false }));
    assert!(begun.is_ok_and(|reply| reply.status == 202 && !reply.goes_on && reply.warnings.is_empty()));
    world.now_ms += 2_001;
    let later: Vec<String> = (0..MANY).map(|_| log_in(&mut world)).collect();
    let mut batches = 0;
    while let Some(txn) = world.plan(revoke::next_batch).unwrap() {
        world.state.apply(&txn).unwrap();
        batches += 1;
    }
    assert!((3..10).contains(&batches), "{batches}");
    assert!(!tokens.iter().any(|token| world.holds(token)));
    assert!(later.iter().all(|token| world.holds(token)));
    assert_eq!(count(&mut world, ""), MANY as u64);
}

#[test]
fn a_prefix_that_is_a_lease_is_that_lease() {
    let mut world = world();
    let (first, second) = (log_in(&mut world), log_in(&mut world));
    let id = id_of(&world, &first);
    let reply = ask(&mut world, LeaseRequest::RevokeForce, &id, &Value::Null).unwrap();
    assert_eq!((reply.status, world.holds(&first), world.holds(&second)), (204, false, true));
}

#[test]
fn a_wrapped_answer_has_a_lease_where_it_was_asked_for() {
    let mut world = world();
    world
        .commit(|ctx| {
            let mut txn = conclave_proto::log::Txn::default();
            plan_wrapping_token(ctx, &mut txn, "secret/metadata/", 60_000)?;
            Ok(Plan { txn, reply: Reply::no_content() })
        })
        .unwrap();
    let keys = listed(&mut world, "secret/metadata");
    assert_eq!(keys.len(), 1);
    let told = lookup(&mut world, &format!("secret/metadata/{}", keys[0])).unwrap();
    assert_eq!((&told["path"], &told["renewable"]), (&json!("secret/metadata"), &json!(false)));
}

#[test]
fn paths_and_hashes_of_leases_lie_nowhere_in_clear() {
    let mut world = world();
    let token = log_in(&mut world);
    let hash = world.barrier.token_hash(token.as_bytes());
    for part in ["auth/approle", "login", hash.as_str(), token.as_str()] {
        assert!(!world.state.contains(part.as_bytes()), "{part}");
    }
}

#[test]
fn all_leases_are_counted_and_those_that_cannot_be_revoked_are_none() {
    let mut world = world();
    for _ in 0..3 {
        log_in(&mut world);
    }
    let accessor = world.table().find("auth/approle").unwrap().accessor().to_owned();
    let all = ask(&mut world, LeaseRequest::Count, "", &json!({ "type": "all" })).map(told).unwrap();
    assert_eq!(all, json!({ "lease_count": 3, "counts": { accessor: 3 } }));
    let none = ask(&mut world, LeaseRequest::Count, "", &json!({ "type": "irrevocable" })).map(told).unwrap();
    assert_eq!(none, json!({ "lease_count": 0, "counts": {} }));
    let none = ask(&mut world, LeaseRequest::Irrevocable, "", &json!({ "type": "irrevocable" })).map(told);
    assert_eq!(none.unwrap(), json!({ "lease_count": 0, "leases": [] }));
    assert_eq!(ask(&mut world, LeaseRequest::Count, "", &Value::Null).err(), Some(Error::NotFound));
}

#[test]
fn tidying_lists_tokens_from_before_there_was_an_index() {
    let mut world = world();
    let token = log_in(&mut world);
    let hash = world.barrier.token_hash(token.as_bytes());
    let key = record::key(&world.barrier, &id_of(&world, &token));
    let mut txn = conclave_proto::log::Txn::default();
    txn.delete(key);
    world.state.apply(&txn).unwrap();
    assert!(listed(&mut world, "").is_empty());
    world.commit(tidy::plan_start).unwrap();
    while let Some(txn) = world.plan(tidy::next_batch).unwrap() {
        world.state.apply(&txn).unwrap();
    }
    assert_eq!(listed(&mut world, "auth/approle/login"), [format!("h{hash}")]);
    let lease = world
        .plan(|ctx| store::load(ctx.view, ctx.barrier, &store::token_key(ctx.barrier, &hash), ctx.now_ms));
    assert!(lease.unwrap().is_some());
    world.now_ms += 3_600_000;
    assert!(listed(&mut world, "").is_empty(), "it ends with its token");
}

/// A plan to revoke a prefix, as another request is under way.
fn planned(world: &mut World, prefix: &str) -> conclave_proto::log::Txn {
    let table = world.table();
    let request = LeaseRequest::RevokePrefix;
    let plan = world.plan(|ctx| handle(ctx, request, prefix, &table, &Query(Vec::new()), &Map::new()));
    plan.unwrap().txn
}

#[test]
fn a_token_that_is_renewed_all_the_time_keeps_none_from_being_revoked() {
    let mut world = world();
    let tokens: Vec<String> = (0..3).map(|_| log_in(&mut world)).collect();
    let id = id_of(&world, &tokens[1]);
    let prefix = planned(&mut world, "auth/approle");
    renew(&mut world, &tokens[1], HOUR_MS).unwrap();
    let (hash, late) = (world.barrier.token_hash(tokens[0].as_bytes()), world.now_ms);
    let renewal = world.plan(|ctx| {
        let found = token::find(ctx.view, ctx.barrier, &hash, late).unwrap().unwrap();
        token::plan_renew(ctx, &found, HOUR_MS).unwrap().txn
    });
    world.state.apply(&prefix).unwrap();
    assert!(!tokens.iter().any(|token| world.holds(token)));
    assert!(world.state.apply(&renewal).is_err(), "what has ended is not renewed");
    assert_eq!((count(&mut world, ""), listed(&mut world, "").len()), (0, 0));

    // The same for one lease.
    let token = log_in(&mut world);
    let own = id_of(&world, &token);
    assert_ne!(own, id);
    let one = planned(&mut world, &own);
    renew(&mut world, &token, HOUR_MS).unwrap();
    world.state.apply(&one).unwrap();
    assert!(!world.holds(&token));
}

/// Makes a token with another, as whoever may do all.
fn create(world: &mut World, with: &str, body: &Value) -> String {
    let caller = world.identify(with).unwrap();
    let creation = token::Creation::of(body.as_object().unwrap()).unwrap();
    let path = "auth/token/create";
    let maker = token::Maker { caller: &caller, may_sudo: true, path, role: None };
    let made = world.plan(|ctx| token::plan_create(ctx, creation, maker)).unwrap();
    world.state.apply(&made.txn).unwrap();
    made.token.expose().to_owned()
}

#[test]
fn what_came_in_a_tokens_place_is_not_revoked_for_it() {
    let mut world = world();
    world
        .commit(|ctx| {
            let (_, txn) = plan_root_token(ctx, Some("root"))?;
            Ok(Plan { txn, reply: Reply::no_content() })
        })
        .unwrap();
    let end = |world: &mut World, token: &str, lets_go: bool| {
        let hash = world.barrier.token_hash(token.as_bytes());
        world
            .commit(|ctx| {
                let found = token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?.unwrap();
                let end = if lets_go { token::plan_revoke_orphan } else { token::plan_revoke };
                Ok(Plan { txn: end(ctx, &found)?, reply: Reply::no_content() })
            })
            .unwrap();
    };
    // It let its child go.
    let parent = log_in(&mut world);
    let child = create(&mut world, &parent, &json!({}));
    let prefix = planned(&mut world, "auth/approle");
    end(&mut world, &parent, true);
    assert!(world.state.apply(&prefix).is_err());
    assert!(world.holds(&child));
    // Another one has the same text.
    let chosen = json!({ "id": "chosen-text", "no_parent": true });
    create(&mut world, "root", &chosen);
    let prefix = planned(&mut world, "auth/token/create");
    end(&mut world, "chosen-text", false);
    create(&mut world, "root", &chosen);
    assert!(world.state.apply(&prefix).is_err());
    assert!(world.holds("chosen-text"));
}

#[test]
fn a_prefix_is_revoked_whole_though_the_clock_where_it_is_asked_is_behind() {
    let mut world = world();
    let tokens: Vec<String> = (0..2 * MANY).map(|_| log_in(&mut world)).collect();
    world.now_ms -= 1_000;
    ask(&mut world, LeaseRequest::RevokePrefix, "auth/approle", &json!({ "sync": false })).unwrap();
    while let Some(txn) = world.plan(revoke::next_batch).unwrap() {
        world.state.apply(&txn).unwrap();
    }
    assert!(!tokens.iter().any(|token| world.holds(token)));
    assert_eq!(count(&mut world, ""), 0);
}

#[test]
fn of_two_who_revoke_the_same_prefix_neither_takes_the_others_work_away() {
    let mut world = world();
    let early: Vec<String> = (0..MANY).map(|_| log_in(&mut world)).collect();
    let first = planned(&mut world, "auth/approle");
    world.now_ms += HOUR_MS / 2;
    let late: Vec<String> = (0..2 * MANY).map(|_| log_in(&mut world)).collect();
    let second = planned(&mut world, "auth/approle");
    world.state.apply(&second).unwrap();
    assert!(world.state.apply(&first).is_err(), "it knows nothing of what the second one is to revoke");

    // One whose clock is behind asks again: what the other one had promised holds.
    world.now_ms -= HOUR_MS / 2;
    let third = planned(&mut world, "auth/approle");
    world.state.apply(&third).unwrap();
    world.now_ms += HOUR_MS / 2;
    while let Some(txn) = world.plan(revoke::next_batch).unwrap() {
        world.state.apply(&txn).unwrap();
    }
    assert!(!early.iter().chain(&late).any(|token| world.holds(token)));

    // Nor is a note deleted that somebody has just left.
    (0..MANY).for_each(|_| drop(log_in(&mut world)));
    ask(&mut world, LeaseRequest::RevokePrefix, "auth/approle", &json!({ "sync": false })).unwrap();
    let last = planned(&mut world, "auth/approle");
    (0..2 * MANY).for_each(|_| drop(log_in(&mut world)));
    let again = planned(&mut world, "auth/approle");
    world.state.apply(&again).unwrap();
    assert!(world.state.apply(&last).is_err());
}

#[test]
fn an_id_in_the_path_and_another_in_the_body_end_neither() {
    let mut world = world();
    let (first, second) = (log_in(&mut world), log_in(&mut world));
    let (path, body) = (id_of(&world, &first), json!({ "lease_id": id_of(&world, &second) }));
    for request in [LeaseRequest::Revoke, LeaseRequest::Renew] {
        let refused = ask(&mut world, request, &path, &body).err();
        assert!(
            matches!(refused, Some(Error::Invalid(sentence)) if sentence.contains("leave one of them out"))
        );
    }
    assert!(world.holds(&first) && world.holds(&second));
    let twice = json!({ "lease_id": path });
    ask(&mut world, LeaseRequest::Revoke, &path, &twice).unwrap();
    assert!(!world.holds(&first) && world.holds(&second));
}

#[test]
fn all_logins_of_a_user_lie_below_one_path_however_his_name_was_typed() {
    let mut world = world();
    world.write("userpass/users/bob", json!({ "password": "x" })).unwrap();
    let tokens = ["bob", "BoB", "BOB"].map(|name| {
        let login = world.write(&format!("userpass/login/{name}"), json!({ "password": "x" }));
        login.unwrap().token().to_owned()
    });
    assert_eq!(listed(&mut world, "auth/userpass/login"), ["bob/"]);
    ask(&mut world, LeaseRequest::RevokePrefix, "auth/userpass/login/bob", &Value::Null).unwrap();
    assert!(!tokens.iter().any(|token| world.holds(token)));
}
