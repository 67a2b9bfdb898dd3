//! Quotas on the number of leases, on logins as the server plans them.

use serde_json::{Value, json};

use super::*;
use crate::auth::testing::World;
use crate::auth::{Method, Step};
use crate::engine::mount::Mount;
use crate::plan::Operation;

const HOUR_MS: u64 = 3_600_000;

fn world() -> World {
    let mut world = World::new();
    for role in ["a", "b"] {
        let body = json!({ "role_id": role, "bind_secret_id": false, "secret_id_bound_cidrs": "0.0.0.0/0", "token_ttl": "1h" });
        world.write(&format!("approle/role/{role}"), body).unwrap();
    }
    world.from("10.0.0.1");
    world
}

fn ask(world: &mut World, request: LeaseQuotaRequest, name: &str, body: Value) -> Result<Value, Error> {
    let table = world.table();
    let mounted = |path: &str| {
        let of = |mount: &Mount| Mounted {
            uuid: Some(mount.uuid().to_owned()),
            is_auth: mount.is_auth(),
            has_roles: Method::of(mount).is_some_and(Method::has_roles),
        };
        table.resolve_shown(path).filter(|mount| mount.path() == path).map(of)
    };
    let reply =
        world.commit(|ctx| handle(ctx, request, name, body.as_object().unwrap_or(&Map::new()), &mounted))?;
    Ok(reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap()))
}

fn limit(world: &mut World, name: &str, body: Value) {
    ask(world, LeaseQuotaRequest::Write, name, body).unwrap();
}

fn counter(world: &mut World, name: &str) -> u64 {
    ask(world, LeaseQuotaRequest::Read, name, Value::Null).unwrap()["counter"].as_u64().unwrap()
}

fn log_in(world: &mut World, role: &str) -> Result<String, Error> {
    Ok(world.write("approle/login", json!({ "role_id": role }))?.token().to_owned())
}

fn refused(result: Result<String, Error>) -> String {
    match result {
        Err(Error::LeaseQuota { quota, path }) => {
            assert_eq!(path, "auth/approle/login");
            quota
        }
        other => panic!("{:?}", other.map(drop)),
    }
}

#[test]
fn as_many_as_are_allowed_are_let_in_and_one_that_ends_makes_room() {
    let mut world = world();
    let early = log_in(&mut world, "a").unwrap();
    limit(&mut world, "q", json!({ "path": "auth/approle", "max_leases": 3 }));
    assert_eq!(counter(&mut world, "q"), 1, "what was there counts");
    log_in(&mut world, "a").unwrap();
    world.now_ms += 1;
    log_in(&mut world, "b").unwrap();
    assert_eq!(refused(log_in(&mut world, "a")), "q");
    let hash = world.barrier.token_hash(early.as_bytes());
    world
        .commit(|ctx| {
            let found = crate::auth::token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?.unwrap();
            Ok(Plan { txn: crate::auth::token::plan_revoke(ctx, &found)?, reply: Reply::no_content() })
        })
        .unwrap();
    log_in(&mut world, "a").unwrap();
    assert_eq!((refused(log_in(&mut world, "a")).as_str(), counter(&mut world, "q")), ("q", 3));
    limit(&mut world, "q", json!({ "max_leases": 4 }));
    log_in(&mut world, "a").unwrap();
    ask(&mut world, LeaseQuotaRequest::Delete, "q", Value::Null).unwrap();
    log_in(&mut world, "a").unwrap();
}

#[test]
fn of_two_logins_that_were_decided_on_one_state_one_is_let_in() {
    let mut world = world();
    limit(&mut world, "q", json!({ "max_leases": 1 }));
    let body = json!({ "role_id": "a" });
    let mut plan = || match world.decide(Operation::Write, "approle/login", &body, None) {
        Ok(Step::Done(plan)) => plan.txn,
        _ => panic!("it is a login"),
    };
    // The first login of an alias makes its entity: not that is to come between them.
    let (first, second) = (plan(), plan());
    let limits_at = second.preconditions.len();
    assert_eq!(first.limits.len(), 1);
    world.state.apply(&first).unwrap();
    let alone = conclave_proto::log::Txn { preconditions: Vec::new(), ..second.clone() };
    assert_eq!(world.state.clone().apply(&alone), Err(0), "the limit alone refuses it");
    assert!(world.state.apply(&second).is_err_and(|failed| failed <= limits_at));
    refused(log_in(&mut world, "a"));
}

#[test]
fn a_rule_that_is_made_in_between_holds() {
    let mut world = world();
    log_in(&mut world, "a").unwrap();
    let body = json!({ "role_id": "a" });
    let Ok(Step::Done(planned)) = world.decide(Operation::Write, "approle/login", &body, None) else {
        panic!("it is a login")
    };
    limit(&mut world, "q", json!({ "max_leases": 1 }));
    assert!(world.state.apply(&planned.txn).is_err());
}

#[test]
fn a_role_has_a_count_of_its_own_from_when_it_is_limited() {
    let mut world = world();
    log_in(&mut world, "a").unwrap();
    limit(&mut world, "mount", json!({ "path": "auth/approle/", "max_leases": 3 }));
    limit(&mut world, "role", json!({ "path": "auth/approle/", "role": "a", "max_leases": 1 }));
    assert_eq!(counter(&mut world, "role"), 0);
    log_in(&mut world, "a").unwrap();
    assert_eq!(refused(log_in(&mut world, "a")), "role");
    log_in(&mut world, "b").unwrap();
    assert_eq!(refused(log_in(&mut world, "b")), "mount");
    assert_eq!((counter(&mut world, "role"), counter(&mut world, "mount")), (1, 3));
}

#[test]
fn the_most_specific_rule_counts() {
    let mut world = world();
    limit(&mut world, "all", json!({ "max_leases": 1 }));
    limit(&mut world, "login", json!({ "path": "auth/approle/login", "max_leases": 2 }));
    log_in(&mut world, "a").unwrap();
    log_in(&mut world, "a").unwrap();
    assert_eq!(refused(log_in(&mut world, "a")), "login");
    assert_eq!(counter(&mut world, "all"), 2);
}

#[test]
fn a_rule_is_told_as_vault_tells_it() {
    let mut world = world();
    assert_eq!(ask(&mut world, LeaseQuotaRequest::List, "", Value::Null), Err(Error::NotFound));
    limit(&mut world, "q", json!({ "max_leases": "100" }));
    let told = ask(&mut world, LeaseQuotaRequest::Read, "q", Value::Null).unwrap();
    let expected = json!({ "counter": 0, "inheritable": true, "max_leases": 100, "name": "q", "path": "", "role": "",
        "type": "lease-count" });
    assert_eq!(told, expected);
    assert_eq!(ask(&mut world, LeaseQuotaRequest::List, "", Value::Null).unwrap(), json!({ "keys": ["q"] }));
    assert_eq!(ask(&mut world, LeaseQuotaRequest::Read, "none", Value::Null), Err(Error::NotFound));
}

#[test]
fn what_limits_nothing_is_refused() {
    let mut world = world();
    limit(&mut world, "first", json!({ "max_leases": 1, "path": "auth/approle" }));
    for body in [
        json!({}),
        json!({ "max_leases": 0 }),
        json!({ "max_leases": -1 }),
        json!({ "max_leases": "abc" }),
        json!({ "max_leases": 1, "path": "none" }),
        json!({ "max_leases": 1, "path": "auth/approle/log*" }),
        json!({ "max_leases": 1, "path": "auth/approle/a/b/c" }),
        json!({ "max_leases": 1, "path": "auth/approle/" }),
        json!({ "max_leases": 1, "path": "auth/userpass/", "role": "x" }),
        json!({ "max_leases": 1, "path": "auth/approle/login", "role": "x" }),
        json!({ "max_leases": 1, "role": "x" }),
        json!({ "max_leases": 1, "type": "rate-limit" }),
        json!({ "max_leases": 1, "path": "auth/token", "inheritable": true }),
    ] {
        let refused = ask(&mut world, LeaseQuotaRequest::Write, "x", body.clone());
        assert!(matches!(refused, Err(Error::Invalid(_))), "{body}: {refused:?}");
    }
}

#[test]
fn a_lease_that_has_ended_makes_room_in_its_role_too() {
    let mut world = world();
    limit(&mut world, "role", json!({ "path": "auth/approle/", "role": "a", "max_leases": 1 }));
    let token = log_in(&mut world, "a").unwrap();
    world.now_ms += HOUR_MS / 2;
    let hash = world.barrier.token_hash(token.as_bytes());
    world
        .commit(|ctx| {
            let found = crate::auth::token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?.unwrap();
            Ok(Plan {
                txn: crate::auth::token::plan_renew(ctx, &found, HOUR_MS)?.txn,
                reply: Reply::no_content(),
            })
        })
        .unwrap();
    assert_eq!(counter(&mut world, "role"), 1);
    world
        .commit(|ctx| {
            let found = crate::auth::token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?.unwrap();
            Ok(Plan { txn: crate::auth::token::plan_revoke(ctx, &found)?, reply: Reply::no_content() })
        })
        .unwrap();
    assert_eq!(counter(&mut world, "role"), 0);
    log_in(&mut world, "a").unwrap();
}

#[test]
fn a_role_is_one_however_its_name_is_typed() {
    let mut world = world();
    limit(&mut world, "role", json!({ "path": "auth/approle/", "role": "A", "max_leases": 1 }));
    assert_eq!(ask(&mut world, LeaseQuotaRequest::Read, "role", Value::Null).unwrap()["role"], "a");
    log_in(&mut world, "a").unwrap();
    assert_eq!((refused(log_in(&mut world, "a")).as_str(), counter(&mut world, "role")), ("role", 1));
    // The same rule twice, and names of no role.
    for role in ["a", "A", "a/b", "-a", "a b", "\u{e4}"] {
        let body = json!({ "path": "auth/approle/", "role": role, "max_leases": 1 });
        let refused = ask(&mut world, LeaseQuotaRequest::Write, "other", body);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{role}: {refused:?}");
    }
}
