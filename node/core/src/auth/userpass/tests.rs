use serde_json::{Value, json};

use super::locked::{locked_users, unlock_user};
use crate::auth::method::{Step, Work};
use crate::auth::password::{PasswordDone, SALT_BYTES};
use crate::auth::testing::World;
use crate::error::Error;
use crate::plan::{Operation, Query};

const MINUTE_MS: u64 = 60_000;

fn with_bob(more: Value) -> World {
    let mut world = World::new();
    let mut user = json!({ "password": "hunter2" });
    user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.write("userpass/users/bob", user).unwrap();
    world.hashed = 0;
    world
}

fn login(world: &mut World, name: &str, password: &str) -> Result<String, Error> {
    let answer = world.write(&format!("userpass/login/{name}"), json!({ "password": password }))?;
    Ok(answer.token().to_owned())
}

fn wrong() -> Error {
    Error::invalid("invalid username or password")
}

#[test]
fn a_login_gives_a_token_by_the_users_settings() {
    let mut world = with_bob(json!({ "token_policies": "p1", "token_period": "10m" }));
    let answer = world.write("userpass/login/BOB", json!({ "password": "hunter2" })).unwrap();
    assert_eq!(answer.auth["policies"], json!(["default", "p1"]));
    assert_eq!(answer.auth["metadata"], json!({ "username": "bob" }));
    assert_eq!(answer.auth["lease_duration"], 600);
    let known = world.identify(answer.token()).unwrap();
    let origin = known.entry.login.as_ref().unwrap();
    assert_eq!((origin.alias.as_str(), known.entry.display_name.as_str()), ("bob", "userpass-bob"));
    assert_eq!((known.entry.period_ms, world.hashed), (600_000, 1));
}

#[test]
fn an_unknown_user_is_answered_as_a_wrong_password_and_costs_as_much() {
    let mut world = with_bob(json!({}));
    let mut answers = Vec::new();
    for name in ["bob", "nobody"] {
        world.hashed = 0;
        let before = world.state.len();
        answers.push((
            login(&mut world, name, "wrong").unwrap_err(),
            world.hashed,
            world.state.len() - before,
        ));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], (wrong(), 1, 1));
}

#[test]
fn five_wrong_passwords_lock_a_name_out_for_a_while_whether_anybody_has_it_or_not() {
    for name in ["bob", "nobody"] {
        let mut world = with_bob(json!({}));
        for _ in 0..5 {
            assert_eq!(login(&mut world, name, "wrong").unwrap_err(), wrong());
        }
        world.hashed = 0;
        for spelling in [name.to_owned(), name.to_uppercase()] {
            assert_eq!(login(&mut world, &spelling, "hunter2").unwrap_err(), Error::Denied, "{spelling}");
        }
        assert_eq!(world.hashed, 0, "whoever is locked out costs nothing");
        world.now_ms += 15 * MINUTE_MS - 1;
        assert_eq!(login(&mut world, name, "hunter2").unwrap_err(), Error::Denied);
        world.now_ms += 1;
        assert_eq!(login(&mut world, name, "hunter2").is_ok(), name == "bob");
    }
}

/// CVE-2025-6004: other spellings of a name were counted anew.
#[test]
fn no_other_spelling_of_a_name_is_counted_anew() {
    let mut world = with_bob(json!({}));
    for _ in 0..5 {
        login(&mut world, "bob", "wrong").unwrap_err();
    }
    for spelling in [
        "BOB",
        "Bob",
        "bob ",
        " bob",
        "bob%20",
        "bob/",
        "./bob",
        "bo\u{301}b",
        "ｂｏｂ",
        "bob\0",
        "\u{130}ob",
    ] {
        let refusal = login(&mut world, spelling, "hunter2").unwrap_err();
        assert!(matches!(refusal, Error::Denied | Error::NotFound), "{spelling:?}: {refusal}");
    }
    assert_eq!(login(&mut world, "bobby", "wrong").unwrap_err(), wrong(), "another name is another");
}

#[test]
fn a_right_password_begins_the_count_anew_and_so_does_time() {
    let mut world = with_bob(json!({}));
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(login(&mut world, "bob", "wrong").unwrap_err(), wrong());
        }
        login(&mut world, "bob", "hunter2").unwrap();
    }
    for _ in 0..20 {
        assert_eq!(login(&mut world, "bob", "wrong").unwrap_err(), wrong());
        world.now_ms += 15 * MINUTE_MS;
    }
    login(&mut world, "bob", "hunter2").unwrap();
}

#[test]
fn guesses_that_are_made_at_once_are_counted_one_by_one() {
    let mut world = with_bob(json!({}));
    let body = json!({ "password": "wrong" });
    let decide = |world: &mut World, password: Option<&PasswordDone>| {
        world.decide(Operation::Write, "userpass/login/bob", &body, password)
    };
    let Ok(Step::Work(Work::Password(work))) = decide(&mut world, None) else {
        panic!("it is to be checked")
    };
    let done = work.run([7; SALT_BYTES]).unwrap();
    let mut refused = 0;
    // All twenty were checked before the first was counted.
    for _ in 0..20 {
        match decide(&mut world, Some(&done)) {
            Ok(Step::Refused(txn, _)) => {
                world.state.apply(&txn).unwrap();
                refused += 1;
            }
            Err(error) => assert_eq!(error, Error::Denied),
            Ok(_) => panic!("it was wrong"),
        }
    }
    assert_eq!(refused, 5);
    let right = json!({ "password": "hunter2" });
    let checked = PasswordDone::Verified { against: None, matches: true };
    let late = world.decide(Operation::Write, "userpass/login/bob", &right, Some(&checked));
    assert!(matches!(late, Err(Error::Denied)), "a right one that was checked before comes too late");
}

#[test]
fn a_password_that_was_changed_meanwhile_is_checked_again() {
    let mut world = with_bob(json!({}));
    let body = json!({ "password": "hunter2" });
    let path = "userpass/login/bob";
    let Ok(Step::Work(Work::Password(work))) = world.decide(Operation::Write, path, &body, None) else {
        panic!()
    };
    let done = work.run([7; SALT_BYTES]).unwrap();
    let Ok(Step::Done(plan)) = world.decide(Operation::Write, path, &body, Some(&done)) else { panic!() };
    world.write("userpass/users/bob/password", json!({ "password": "other" })).unwrap();
    assert!(world.state.apply(&plan.txn).is_err(), "it was decided from another password");
    assert!(matches!(
        world.decide(Operation::Write, path, &body, Some(&done)),
        Ok(Step::Work(Work::Password(_)))
    ));
    assert_eq!(login(&mut world, "bob", "hunter2").unwrap_err(), wrong());
    login(&mut world, "bob", "other").unwrap();
}

#[test]
fn a_mount_says_when_it_locks_out() {
    let mut world = with_bob(json!({}));
    let config = json!({ "user_lockout_config": { "lockout_threshold": "2", "lockout_duration": "1m" } });
    world.tune("userpass", config).unwrap();
    for _ in 0..2 {
        assert_eq!(login(&mut world, "bob", "wrong").unwrap_err(), wrong());
    }
    assert_eq!(login(&mut world, "bob", "hunter2").unwrap_err(), Error::Denied);
    world.now_ms += MINUTE_MS;
    login(&mut world, "bob", "hunter2").unwrap();
    world.tune("userpass", json!({ "user_lockout_config": { "lockout_disable": true } })).unwrap();
    for _ in 0..9 {
        assert_eq!(login(&mut world, "bob", "wrong").unwrap_err(), wrong());
    }
    login(&mut world, "bob", "hunter2").unwrap();
    for bad in [json!({ "lockout_threshold": -1 }), json!({ "lockout_duration": "900000h" })] {
        assert!(world.tune("userpass", json!({ "user_lockout_config": bad })).is_err());
    }
}

#[test]
fn nothing_of_a_password_is_shown_or_stored() {
    let mut world = with_bob(json!({}));
    let shown = world.read("userpass/users/bob").unwrap().to_string();
    assert!(!shown.contains("hash") && !shown.contains("password"), "{shown}");
    assert!(!world.state.contains(b"hunter2"));
}

#[test]
fn users_are_kept_in_lower_case_and_listed_in_order() {
    let mut world = with_bob(json!({ "policies": "Old" }));
    world.write("userpass/users/Alice", json!({ "password": "x", "token_policies": "a" })).unwrap();
    assert_eq!(world.list("userpass/users").unwrap(), json!(["alice", "bob"]));
    let bob = world.read("userpass/users/BOB").unwrap();
    assert_eq!((&bob["policies"], &bob["token_policies"]), (&json!(["old"]), &json!(["old"])));
    assert!(world.read("userpass/users/alice").unwrap().get("policies").is_none());
    world.write("userpass/users/bob/policies", json!({ "token_policies": "b,a" })).unwrap();
    assert_eq!(world.read("userpass/users/bob").unwrap()["token_policies"], json!(["a", "b"]));
    world.delete("userpass/users/bob").unwrap();
    assert_eq!(world.read("userpass/users/bob").unwrap_err(), Error::NotFound);
    assert_eq!(login(&mut world, "bob", "hunter2").unwrap_err(), wrong());
}

#[test]
fn what_a_user_cannot_be_is_refused() {
    let mut world = with_bob(json!({}));
    let none = Error::invalid("must provide either password or password_hash");
    assert_eq!(world.write("userpass/users/new", json!({ "token_ttl": 5 })).unwrap_err(), none);
    assert_eq!(world.write("userpass/users/bob/password", json!({})).unwrap_err(), none);
    for bad in [
        json!({ "password": "x", "password_hash": "$2b$04$x" }),
        json!({ "password_hash": "nohash" }),
        json!({ "password": "x".repeat(2_000) }),
        json!({ "password": "x", "token_type": "batch" }),
        json!({ "password": "x", "token_bound_cidrs": "zz" }),
    ] {
        assert!(matches!(world.write("userpass/users/new", bad.clone()), Err(Error::Invalid(_))), "{bad}");
    }
    let nobody = Error::invalid("username does not exist");
    for part in ["password", "policies"] {
        let body = json!({ "password": "x" });
        assert_eq!(world.write(&format!("userpass/users/nobody/{part}"), body).unwrap_err(), nobody);
    }
    for name in ["-a", "a b", "é", "a@b"] {
        let path = format!("userpass/users/{name}");
        assert_eq!(world.write(&path, json!({ "password": "x" })).unwrap_err(), Error::NotFound, "{name}");
    }
}

#[test]
fn a_token_can_be_renewed_as_long_as_its_user_is_what_he_was() {
    let mut world = with_bob(json!({ "token_policies": "a" }));
    let token = login(&mut world, "bob", "hunter2").unwrap();
    let renew = |world: &mut World| {
        let entry = world.identify(&token).unwrap().entry;
        world.plan(|ctx| crate::auth::method::holds(ctx, &entry).map(drop))
    };
    renew(&mut world).unwrap();
    world.write("userpass/users/bob/policies", json!({ "token_policies": "b" })).unwrap();
    assert_eq!(renew(&mut world).unwrap_err(), Error::invalid("policies have changed, not renewing"));
    world.delete("userpass/users/bob").unwrap();
    assert_eq!(renew(&mut world).unwrap_err(), Error::invalid("user no longer exists, cannot renew"));
    assert!(world.holds(&token), "until then it holds");
}

#[test]
fn whoever_is_locked_out_is_listed_and_can_be_let_in_again() {
    let mut world = with_bob(json!({}));
    let table = world.table();
    let accessor = table.find("auth/userpass").unwrap().accessor().to_owned();
    let listed = |world: &mut World, query: &Query| {
        let plan = world.plan(|ctx| locked_users(ctx, &table, query)).unwrap();
        serde_json::from_slice::<Value>(&plan.reply.data.unwrap()).unwrap()
    };
    for _ in 0..5 {
        login(&mut world, "bob", "wrong").unwrap_err();
    }
    login(&mut world, "carl", "wrong").unwrap_err();
    let all = listed(&mut world, &Query::default());
    let of_mount = json!({ "mount_accessor": accessor, "counts": 1, "alias_identifiers": ["bob"] });
    assert_eq!((&all["total"], &all["by_namespace"][0]["mount_accessors"]), (&json!(1), &json!([of_mount])));
    let other = listed(&mut world, &Query(vec![("mount_accessor".to_owned(), "other".to_owned())]));
    assert_eq!(other["total"], 0);
    for (path, lets_in) in [("other/unlock/bob", false), ("ACC/unlock/carl", false), ("ACC/unlock/BOB", true)]
    {
        let path = path.replace("ACC", &accessor);
        world.commit(|ctx| unlock_user(ctx, &table, &path)).unwrap();
        assert_eq!(login(&mut world, "bob", "hunter2").is_ok(), lets_in, "{path}");
    }
}
