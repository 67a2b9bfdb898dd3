use serde_json::json;

use super::clear;
use crate::auth::method::Step;
use crate::auth::testing::World;
use crate::error::Error;
use crate::plan::Operation;

fn with_role(role: serde_json::Value) -> (World, String) {
    let mut world = World::new();
    world.write("approle/role/app", role).unwrap();
    let role_id = world.read("approle/role/app/role-id").unwrap()["role_id"].as_str().unwrap().to_owned();
    (world, role_id)
}

fn secret_id(world: &mut World, body: serde_json::Value) -> (String, String) {
    let made = world.write("approle/role/app/secret-id", body).unwrap().data;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("secret_id"), text("secret_id_accessor"))
}

fn invalid(sentence: &str) -> Error {
    Error::invalid(sentence)
}

#[test]
fn a_login_gives_a_token_by_the_roles_settings() {
    let (mut world, role_id) = with_role(json!({
        "token_policies": ["P2", "p1"], "token_ttl": "1h", "token_max_ttl": "4h", "token_num_uses": 7
    }));
    let (secret_id, _) = secret_id(&mut world, json!({ "metadata": "{\"a\":\"b\"}" }));
    let answer = world.write("approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).unwrap();
    let auth = &answer.auth;
    assert_eq!(auth["policies"], json!(["default", "p1", "p2"]));
    assert_eq!(auth["metadata"], json!({ "a": "b", "role_name": "app" }));
    assert_eq!((&auth["lease_duration"], &auth["renewable"]), (&json!(3_600), &json!(true)));
    assert_eq!((&auth["orphan"], &auth["num_uses"]), (&json!(true), &json!(7)));
    let known = world.identify(answer.token()).unwrap();
    let entry = &known.entry;
    assert!(known.is_orphan());
    assert_eq!((entry.path.as_str(), entry.display_name.as_str()), ("auth/approle/login", "approle"));
    let origin = entry.login.as_ref().unwrap();
    assert_eq!((&origin.alias, origin.subject.as_str()), (&role_id, "app"));
}

#[test]
fn neither_secret_ids_nor_tokens_stand_anywhere_in_the_state() {
    let (mut world, role_id) = with_role(json!({}));
    let (secret_id, accessor) = secret_id(&mut world, json!({}));
    let answer = world.write("approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).unwrap();
    for canary in [&secret_id, &accessor, &role_id, answer.token()] {
        assert!(!world.state.contains(canary.as_bytes()));
    }
}

#[test]
fn whoever_does_not_know_both_ids_learns_nothing() {
    let (mut world, role_id) = with_role(json!({}));
    let (secret_id, accessor) = secret_id(&mut world, json!({}));
    world.write("approle/role/other", json!({})).unwrap();
    let other = world.write("approle/role/other/secret-id", json!({})).unwrap().data["secret_id"].clone();
    for wrong in [
        json!({ "role_id": "nope", "secret_id": secret_id }),
        json!({ "role_id": role_id, "secret_id": "nope" }),
        json!({ "role_id": role_id, "secret_id": accessor }),
        json!({ "role_id": role_id, "secret_id": other }),
        json!({ "role_id": role_id.to_uppercase(), "secret_id": secret_id }),
        json!({ "role_id": role_id, "secret_id": format!("{secret_id} ") }),
        json!({ "role_id": "app", "secret_id": secret_id }),
    ] {
        let refusal = world.write("approle/login", wrong.clone()).unwrap_err();
        assert_eq!(refusal, invalid("invalid role or secret ID"), "{wrong}");
    }
    assert_eq!(world.write("approle/login", json!({})).unwrap_err(), invalid("missing role_id"));
    let half = world.write("approle/login", json!({ "role_id": role_id })).unwrap_err();
    assert_eq!(half, invalid("missing secret_id"));
}

#[test]
fn a_secret_id_is_used_as_often_as_it_may_be() {
    let (mut world, role_id) = with_role(json!({ "secret_id_num_uses": 2 }));
    let (secret_id, accessor) = secret_id(&mut world, json!({}));
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    world.write("approle/login", login.clone()).unwrap();
    let by_accessor = json!({ "secret_id_accessor": accessor });
    let left = world.write("approle/role/app/secret-id-accessor/lookup", by_accessor).unwrap().data;
    assert_eq!(left["secret_id_num_uses"], 1);
    world.write("approle/login", login.clone()).unwrap();
    assert_eq!(world.write("approle/login", login).unwrap_err(), invalid("invalid role or secret ID"));
    assert_eq!(
        world.list("approle/role/app/secret-id").unwrap_err(),
        Error::NotFound,
        "nothing is left of it"
    );
}

#[test]
fn of_two_logins_that_take_the_last_use_at_once_one_is_planned_again() {
    let (mut world, role_id) = with_role(json!({}));
    let (secret_id, _) = secret_id(&mut world, json!({ "num_uses": 1 }));
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    let decide = |world: &mut World| match world.decide(Operation::Write, "approle/login", &login, None) {
        Ok(Step::Done(plan)) => Ok(plan.txn),
        Ok(_) => panic!("an approle login is decided at once"),
        Err(error) => Err(error),
    };
    let (first, second) = (decide(&mut world).unwrap(), decide(&mut world).unwrap());
    world.state.apply(&first).unwrap();
    assert!(world.state.apply(&second).is_err(), "it was decided from a use that is gone");
    assert_eq!(decide(&mut world).unwrap_err(), invalid("invalid role or secret ID"));
}

#[test]
fn a_login_falls_with_what_it_was_decided_from() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 4] = [
        ("the role is gone", |world| drop(world.delete("approle/role/app").unwrap())),
        ("the role has another id", |world| {
            world.write("approle/role/app/role-id", json!({ "role_id": "other" })).unwrap();
        }),
        ("the role gives other policies", |world| {
            world.write("approle/role/app/policies", json!({ "token_policies": "less" })).unwrap();
        }),
        ("the mount is gone", |world| drop(world.disable("approle").unwrap())),
    ];
    for (what, change) in changes {
        let (mut world, role_id) = with_role(json!({ "token_policies": "more" }));
        let (secret_id, _) = secret_id(&mut world, json!({}));
        let login = json!({ "role_id": role_id, "secret_id": secret_id });
        let Ok(Step::Done(plan)) = world.decide(Operation::Write, "approle/login", &login, None) else {
            panic!("it is right");
        };
        change(&mut world);
        assert!(world.state.apply(&plan.txn).is_err(), "{what}");
    }
}

#[test]
fn a_secret_id_ends_in_its_time() {
    let (mut world, role_id) = with_role(json!({ "secret_id_ttl": "10m" }));
    let (secret_id, accessor) = secret_id(&mut world, json!({ "ttl": "1m" }));
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    world.now_ms += 59_999;
    world.write("approle/login", login.clone()).unwrap();
    world.now_ms += 1;
    assert_eq!(world.write("approle/login", login).unwrap_err(), invalid("invalid role or secret ID"));
    let by_accessor = json!({ "secret_id_accessor": accessor });
    let gone = world.write("approle/role/app/secret-id-accessor/lookup", by_accessor).unwrap().data;
    assert!(gone["error"].as_str().unwrap().contains("failed to find accessor"));
    for (body, sentence) in [
        (json!({ "ttl": "11m" }), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({ "ttl": 0 }), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({ "num_uses": -1 }), "num_uses cannot be negative"),
    ] {
        let refusal = world.write("approle/role/app/secret-id", body).unwrap_err();
        assert_eq!(refusal, invalid(sentence));
    }
}

/// CVE-2023-24999: by its accessor, a secret id of another role could be destroyed.
#[test]
fn no_handle_of_one_role_leads_to_a_secret_id_of_another() {
    let (mut world, _) = with_role(json!({}));
    let (secret_id, accessor) = secret_id(&mut world, json!({}));
    world.write("approle/role/other", json!({})).unwrap();
    let refusal = world
        .write("approle/role/other/secret-id-accessor/destroy", json!({ "secret_id_accessor": accessor }))
        .unwrap_err();
    assert!(matches!(refusal, Error::Invalid(_)));
    world.write("approle/role/other/secret-id/destroy", json!({ "secret_id": secret_id })).unwrap();
    let looked =
        world.write("approle/role/other/secret-id/lookup", json!({ "secret_id": secret_id })).unwrap();
    assert!(looked.data.is_null());
    assert_eq!(world.list("approle/role/app/secret-id").unwrap(), json!([accessor]));
}

#[test]
fn a_role_of_the_same_name_does_not_take_over_secret_ids() {
    let (mut world, _) = with_role(json!({ "role_id": "fixed" }));
    let (secret_id, _) = secret_id(&mut world, json!({}));
    let login = json!({ "role_id": "fixed", "secret_id": secret_id });
    world.write("approle/login", login.clone()).unwrap();
    world.delete("approle/role/app").unwrap();
    world.write("approle/role/app", json!({ "role_id": "fixed" })).unwrap();
    assert_eq!(world.write("approle/login", login).unwrap_err(), invalid("invalid role or secret ID"));
}

#[test]
fn secret_ids_of_a_role_that_is_gone_are_cleared_away() {
    let (mut world, _) = with_role(json!({}));
    let before = world.state.len();
    for _ in 0..300 {
        secret_id(&mut world, json!({}));
    }
    world.delete("approle/role/app").unwrap();
    let mut batches = 0;
    while let Some(txn) = world.plan(clear::next_batch).unwrap() {
        world.state.apply(&txn).unwrap();
        batches += 1;
    }
    assert!(batches > 1, "a piece at a time");
    assert_eq!(world.state.len(), before - 2, "the role and the way to it are gone too");
}

#[test]
fn logins_come_only_from_where_they_may() {
    let (mut world, role_id) = with_role(json!({ "secret_id_bound_cidrs": "10.0.0.0/8" }));
    let refused = world.write("approle/role/app/secret-id", json!({ "cidr_list": "127.0.0.1/32" }));
    assert!(refused.is_err(), "not within the role's");
    let (secret_id, _) =
        secret_id(&mut world, json!({ "cidr_list": "10.1.0.0/16", "token_bound_cidrs": "10.1.1.0/24" }));
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    for from in ["192.168.0.1", "10.2.0.1", "::1", "::ffff:10.2.0.1", "nowhere"] {
        assert!(world.from(from).write("approle/login", login.clone()).is_err(), "{from}");
    }
    let refusal = world.from("10.1.2.1").write("approle/login", login.clone()).unwrap_err();
    assert_eq!(refusal, Error::Denied, "the token could not be used from there");
    let token = world.from("10.1.1.1").write("approle/login", login).unwrap().token().to_owned();
    assert!(world.holds(&token) && !world.from("10.1.2.1").holds(&token));
    assert!(world.from("::ffff:10.1.1.1").holds(&token));
}

#[test]
fn a_role_without_secret_ids_is_bound_otherwise() {
    let mut world = World::new();
    let unbound = world.write("approle/role/app", json!({ "bind_secret_id": false })).unwrap_err();
    assert_eq!(unbound, invalid("at least one constraint should be enabled on the role"));
    let bound = json!({ "bind_secret_id": false, "secret_id_bound_cidrs": "10.0.0.1/32", "role_id": "r" });
    world.write("approle/role/app", bound).unwrap();
    assert!(world.from("10.0.0.2").write("approle/login", json!({ "role_id": "r" })).is_err());
    world.from("10.0.0.1").write("approle/login", json!({ "role_id": "r" })).unwrap();
    assert!(world.write("approle/role/app/secret-id", json!({})).is_err(), "it has none");
    let freed = world.delete("approle/role/app/secret-id-bound-cidrs").unwrap_err();
    assert_eq!(freed, invalid("at least one constraint should be enabled on the role"));
}

#[test]
fn the_old_name_of_a_roles_networks_binds_as_the_new_one() {
    let (mut world, role_id) = with_role(json!({}));
    world.write("approle/role/app/bound-cidr-list", json!({ "bound_cidr_list": "10.0.0.1/32" })).unwrap();
    let shown = world.read("approle/role/app/secret-id-bound-cidrs").unwrap();
    assert_eq!(shown, json!({ "secret_id_bound_cidrs": ["10.0.0.1/32"] }));
    let (secret_id, _) = secret_id(&mut world, json!({}));
    let ids = json!({ "role_id": role_id, "secret_id": secret_id });
    assert!(world.from("10.0.0.2").write("approle/login", ids.clone()).is_err());
    world.from("10.0.0.1").write("approle/login", ids).unwrap();
}

#[test]
fn one_id_belongs_to_one_role() {
    let mut world = World::new();
    world.write("approle/role/a", json!({ "role_id": "x" })).unwrap();
    let taken = invalid("role_id already in use");
    assert_eq!(world.write("approle/role/b", json!({ "role_id": "x" })).unwrap_err(), taken);
    world.write("approle/role/b", json!({ "role_id": "y" })).unwrap();
    assert_eq!(world.write("approle/role/b/role-id", json!({ "role_id": "x" })).unwrap_err(), taken);
    world.write("approle/role/A/role-id", json!({ "role_id": "z" })).unwrap();
    world.write("approle/role/b/role-id", json!({ "role_id": "x" })).unwrap();
    assert_eq!(world.list("approle/role").unwrap(), json!(["a", "b"]));
}

#[test]
fn each_setting_has_a_path_of_its_own() {
    let (mut world, _) = with_role(json!({}));
    for (part, name, given, shown, reset) in [
        ("policies", "token_policies", json!("B,a"), json!(["a", "b"]), json!([])),
        ("token-ttl", "token_ttl", json!("2h"), json!(7_200), json!(0)),
        ("token-max-ttl", "token_max_ttl", json!(9_000), json!(9_000), json!(0)),
        ("token-num-uses", "token_num_uses", json!("3"), json!(3), json!(0)),
        ("period", "token_period", json!("20m"), json!(1_200), json!(0)),
        ("secret-id-ttl", "secret_id_ttl", json!("7m"), json!(420), json!(0)),
        ("secret-id-num-uses", "secret_id_num_uses", json!(5), json!(5), json!(0)),
        ("token-bound-cidrs", "token_bound_cidrs", json!("127.0.0.1"), json!(["127.0.0.1"]), json!(null)),
        (
            "secret-id-bound-cidrs",
            "secret_id_bound_cidrs",
            json!(["10.0.0.0/8"]),
            json!(["10.0.0.0/8"]),
            json!(null),
        ),
        ("bound-cidr-list", "bound_cidr_list", json!("10.0.0.0/8"), json!(["10.0.0.0/8"]), json!(null)),
        ("bind-secret-id", "bind_secret_id", json!(true), json!(true), json!(true)),
    ] {
        let path = format!("approle/role/app/{part}");
        let missing = world.write(&path, json!({ "other": 1 })).unwrap_err();
        assert_eq!(missing, Error::invalid(format!("missing {name}")));
        world.write(&path, json!({ name: given })).unwrap();
        assert_eq!(world.read(&path).unwrap()[name], shown, "{part}");
        world.delete(&path).unwrap();
        assert_eq!(world.read(&path).unwrap()[name], reset, "{part}");
    }
    assert_eq!(
        world.read("approle/role/app/local-secret-ids").unwrap(),
        json!({ "local_secret_ids": false })
    );
    assert_eq!(world.read("approle/role/app/nothing").unwrap_err(), Error::NotFound);
}

#[test]
fn what_a_role_cannot_be_is_refused() {
    let mut world = World::new();
    for bad in [
        json!({ "token_ttl": "5h", "token_max_ttl": "1h" }),
        json!({ "token_type": "batch", "token_period": 60 }),
        json!({ "token_type": "batch", "token_num_uses": 1 }),
        json!({ "token_type": "bogus" }),
        json!({ "token_num_uses": -1 }),
        json!({ "token_bound_cidrs": "zz" }),
        json!({ "token_policies": "a b" }),
        json!({ "token_policies": "response-wrapping" }),
        json!({ "secret_id_num_uses": -1 }),
        json!({ "secret_id_bound_cidrs": "127.0.0.1" }),
        json!({ "local_secret_ids": true }),
        json!({ "token_ttl": -1 }),
        json!({ "role_id": "x".repeat(5_000) }),
    ] {
        assert!(matches!(world.write("approle/role/app", bad.clone()), Err(Error::Invalid(_))), "{bad}");
    }
    assert_eq!(world.read("approle/role/app").unwrap_err(), Error::NotFound, "none was made");
    world.write("approle/role/app", json!({ "token_policies": "root", "role_id": "r" })).unwrap();
    let (secret_id, _) = secret_id(&mut world, json!({}));
    let refusal =
        world.write("approle/login", json!({ "role_id": "r", "secret_id": secret_id })).unwrap_err();
    assert_eq!(refusal, invalid("auth methods cannot create root tokens"));
}
