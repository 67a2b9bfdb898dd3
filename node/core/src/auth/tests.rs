use serde_json::{Value, json};

use super::Method;
use super::jose::testing::Signer;
use super::testing::{World, permit};
use super::token::clear;
use crate::engine::mount::{self, housekeeping};
use crate::error::Error;
use crate::plan::{Operation, Query};

fn bob(world: &mut World, user: Value) -> (String, Value, Vec<String>) {
    world.write("userpass/users/bob", user).unwrap();
    let answer = world.write("userpass/login/bob", json!({ "password": "x" })).unwrap();
    (answer.token().to_owned(), answer.auth.clone(), answer.warnings)
}

#[test]
fn disabling_a_mount_ends_all_tokens_of_its_logins_at_once_and_no_other() {
    let mut world = World::new();
    world.enable("other/up", json!({ "type": "userpass" })).unwrap();
    let (token, ..) = bob(&mut world, json!({ "password": "x" }));
    world.write("other/up/users/bob", json!({ "password": "x" })).unwrap();
    let other = world.write("other/up/login/bob", json!({ "password": "x" })).unwrap().token().to_owned();
    assert_eq!(world.identify(&other).unwrap().entry.display_name, "other-up-bob");
    world.disable("userpass").unwrap();
    assert!(!world.holds(&token) && world.holds(&other));
    assert_eq!(world.read("userpass/users/bob").unwrap_err(), Error::NotFound);
    world.enable("userpass", json!({ "type": "userpass" })).unwrap();
    assert!(!world.holds(&token), "another mount at the same path is another");
    assert_eq!(world.read("userpass/users/bob").unwrap_err(), Error::NotFound);
}

#[test]
fn what_a_disabled_mount_leaves_is_cleared_away() {
    let mut world = World::new();
    let before = world.state.len();
    world.enable("up", json!({ "type": "userpass" })).unwrap();
    world.enable("ap", json!({ "type": "approle" })).unwrap();
    world.enable("cloud", json!({ "type": "aws" })).unwrap();
    let arn = "arn:aws:iam::123456789012:role/web";
    for (path, body) in [
        ("cloud/role/web", json!({ "bound_iam_principal_arn": arn, "resolve_aws_unique_ids": false })),
        ("cloud/config/client", json!({ "sts_endpoint": "https://sts.example" })),
        ("cloud/config/identity", json!({ "iam_alias": "full_arn" })),
    ] {
        world.write(path, body).unwrap();
    }
    world.write("up/users/bob", json!({ "password": "x" })).unwrap();
    world.write("ap/role/app", json!({ "role_id": "r", "bind_secret_id": true })).unwrap();
    let secret_id = world.write("ap/role/app/secret-id", json!({})).unwrap().data["secret_id"].clone();
    for _ in 0..10 {
        world.write("up/login/bob", json!({ "password": "x" })).unwrap();
        world.write("ap/login", json!({ "role_id": "r", "secret_id": secret_id })).unwrap();
    }
    world.write("up/login/bob", json!({ "password": "wrong" })).unwrap_err();
    world.disable("up").unwrap();
    world.disable("ap").unwrap();
    world.disable("cloud").unwrap();
    loop {
        let table = world.table();
        let batch = world.plan(|ctx| housekeeping::next_batch(ctx, &table)).unwrap();
        let Some(txn) = batch.or_else(|| world.plan(clear::next_batch).unwrap()) else { break };
        world.state.apply(&txn).unwrap();
    }
    // Who somebody is stays, as in Vault: an entity, and the ways to it by name, by alias and by the alias's id.
    const ENTITIES: usize = 2 * 4;
    assert_eq!(world.state.len(), before + ENTITIES);
}

#[test]
fn nobody_is_a_token_by_what_tokens_hang_on() {
    let mut world = World::new();
    let uuid = world.table().find("auth/userpass").unwrap().uuid().to_owned();
    let (token, ..) = bob(&mut world, json!({ "password": "x" }));
    assert!(world.holds(&token));
    assert!(!world.holds(&format!("\0mount/{uuid}")));
}

/// CVE-2020-12757 and CVE-2021-32923: of all limits the tightest holds, and none is taken for no limit.
#[test]
fn the_tightest_limit_holds() {
    let hour = 3_600;
    for (mount, user, lasts_s, is_cut) in [
        (json!({}), json!({}), 768 * hour, false),
        (json!({}), json!({ "token_ttl": "900h" }), 768 * hour, true),
        (json!({ "default_lease_ttl": "1h" }), json!({}), hour, false),
        (json!({ "max_lease_ttl": "2h" }), json!({}), 2 * hour, false),
        (json!({ "max_lease_ttl": "2h" }), json!({ "token_ttl": "3h" }), 2 * hour, true),
        (
            json!({ "max_lease_ttl": "2h" }),
            json!({ "token_ttl": "3h", "token_max_ttl": "9h" }),
            2 * hour,
            true,
        ),
        (json!({}), json!({ "token_max_ttl": "1h" }), hour, true),
        (json!({}), json!({ "token_ttl": "5m", "token_explicit_max_ttl": "1m" }), 60, true),
        (json!({}), json!({ "token_period": "10m" }), 600, false),
        (json!({ "max_lease_ttl": "1h" }), json!({ "token_period": "2h" }), hour, true),
        (json!({}), json!({ "token_period": "2h", "token_explicit_max_ttl": "1m" }), 60, true),
    ] {
        let mut world = World::new();
        world.tune("userpass", mount.clone()).unwrap();
        let mut settings = user.clone();
        settings["password"] = "x".into();
        let (token, auth, warnings) = bob(&mut world, settings);
        assert_eq!(auth["lease_duration"], lasts_s, "{mount} {user}");
        assert_eq!(!warnings.is_empty(), is_cut, "{mount} {user}: {warnings:?}");
        world.now_ms += lasts_s * 1_000 - 1;
        assert!(world.holds(&token));
        world.now_ms += 1;
        assert!(!world.holds(&token), "{mount} {user}");
    }
}

#[test]
fn a_batch_token_of_a_login_is_nowhere_and_ends_with_its_mount() {
    let mut world = World::new();
    bob(&mut world, json!({ "password": "x" }));
    let user = json!({ "password": "x", "token_type": "batch", "token_ttl": "5m", "token_policies": "app" });
    world.write("userpass/users/bob", user).unwrap();
    assert_eq!(world.read("userpass/users/bob").unwrap()["token_type"], "batch");
    let before = world.state.len();
    let made = world.write("userpass/login/bob", json!({ "password": "x" })).unwrap();
    assert_eq!(world.state.len(), before, "nothing is written of it");
    let auth = &made.auth;
    assert!(made.token().starts_with("b."));
    assert_eq!((&auth["token_type"], &auth["renewable"]), (&json!("batch"), &json!(false)));
    assert_eq!((&auth["accessor"], &auth["lease_duration"]), (&json!(""), &json!(300)));
    let known = world.identify(made.token()).unwrap();
    assert_eq!(
        (known.entry.policies.as_slice(), known.is_orphan()),
        (&["app".to_owned(), "default".to_owned()][..], true)
    );
    assert_eq!(known.entry.entity_id, auth["entity_id"].as_str().unwrap());
    world.now_ms += 300_000 - 1;
    assert!(world.holds(made.token()));
    let again = world.write("userpass/login/bob", json!({ "password": "x" })).unwrap();
    world.now_ms += 1;
    assert!(!world.holds(made.token()) && world.holds(again.token()));
    world.disable("userpass").unwrap();
    assert!(!world.holds(again.token()), "it hangs on its mount");
}

#[test]
fn a_mount_says_which_tokens_there_are_or_leaves_it_to_its_users() {
    for (mount, user, given) in [
        ("default-service", "default", "service"),
        ("default-service", "batch", "batch"),
        ("default-batch", "default", "batch"),
        ("default-batch", "service", "service"),
        ("service", "batch", "service"),
        ("batch", "service", "batch"),
        ("batch", "default", "batch"),
    ] {
        let mut world = World::new();
        world.tune("userpass", json!({ "token_type": mount })).unwrap();
        let (_, auth, _) = bob(&mut world, json!({ "password": "x", "token_type": user }));
        assert_eq!(auth["token_type"], given, "{mount} {user}");
    }
}

#[test]
fn what_cannot_be_counted_or_renewed_is_not_promised() {
    for setting in [json!({ "token_num_uses": 3 }), json!({ "token_period": "1h" })] {
        let mut world = World::new();
        let mut user = setting.clone();
        user["password"] = "x".into();
        user["token_type"] = "batch".into();
        assert!(matches!(world.write("userpass/users/bob", user.clone()), Err(Error::Invalid(_))), "{user}");
        user["token_type"] = "default".into();
        world.tune("userpass", json!({ "token_type": "batch" })).unwrap();
        world.write("userpass/users/bob", user).unwrap();
        assert!(world.write("userpass/login/bob", json!({ "password": "x" })).is_err(), "{setting}");
    }
}

/// CVE-2025-5999 and CVE-2025-64761: over all kinds of settings that a token can come from.
#[test]
fn no_login_gives_root_however_that_is_spelled() {
    for spelling in [
        "root",
        "Root",
        "ROOT",
        " root",
        "root ",
        "root\t",
        "rooT",
        "root\u{0}",
        "r\u{f3}ot",
        "\u{ff52}oot",
        "root,",
        "a, Root",
    ] {
        let mut world = World::new();
        world.elsewhere = aws_says("arn:aws:iam::123456789012:role/web");
        let arn = "arn:aws:iam::123456789012:role/web";
        for (settings, body, login, proof) in [
            (
                "userpass/users/bob",
                json!({ "password": "x" }),
                "userpass/login/bob",
                json!({ "password": "x" }),
            ),
            (
                "approle/role/app",
                json!({ "role_id": "r", "bind_secret_id": false, "secret_id_bound_cidrs": "0.0.0.0/0" }),
                "approle/login",
                json!({ "role_id": "r" }),
            ),
            (
                "aws/role/web",
                json!({ "bound_iam_principal_arn": arn, "resolve_aws_unique_ids": false }),
                "aws/login",
                aws_login(),
            ),
        ] {
            for field in ["token_policies", "policies"] {
                for kind in ["service", "batch"] {
                    let mut body = body.clone();
                    body[field] = spelling.into();
                    body["token_type"] = kind.into();
                    // It is refused when it is written, or when somebody logs in, or gives no such token.
                    if world.write(settings, body).is_ok()
                        && let Ok(made) = world.from("10.0.0.1").write(login, proof.clone())
                    {
                        let known = world.identify(made.token()).unwrap();
                        assert!(
                            !known.entry.is_root() && !known.identity.is_root(),
                            "{settings} {field} {spelling:?}"
                        );
                    }
                }
            }
        }
    }
}

/// CVE-2022-40186.
#[test]
fn one_name_at_two_methods_is_two_people() {
    let mut world = World::new();
    world.enable("other", json!({ "type": "userpass" })).unwrap();
    let mut entities = Vec::new();
    for mount in ["userpass", "other"] {
        world.write(&format!("{mount}/users/bob"), json!({ "password": "x" })).unwrap();
        for name in ["bob", "BOB"] {
            let made = world.write(&format!("{mount}/login/{name}"), json!({ "password": "x" })).unwrap();
            entities.push(made.auth["entity_id"].as_str().unwrap().to_owned());
        }
    }
    assert!(entities[0] == entities[1] && entities[2] == entities[3], "one in each spelling");
    assert_ne!(entities[0], entities[2]);
}

/// CVE-2026-46405: of a login that is refused at whatever step, nothing that lives is there afterwards.
#[test]
fn a_login_that_is_refused_leaves_nothing_that_lives() {
    let mut world = World::new();
    let arn = "arn:aws:iam::123456789012:role/web";
    for (path, body) in [
        ("userpass/users/bob", json!({ "password": "x", "token_bound_cidrs": "10.0.0.1" })),
        ("userpass/users/root", json!({ "password": "x", "token_policies": "root" })),
        ("approle/role/app", json!({ "role_id": "r", "token_bound_cidrs": "10.0.0.1" })),
        ("approle/role/app/custom-secret-id", json!({ "secret_id": "s" })),
        (
            "aws/role/web",
            json!({ "bound_iam_principal_arn": arn, "resolve_aws_unique_ids": false, "token_bound_cidrs": "10.0.0.1" }),
        ),
    ] {
        world.write(path, body).unwrap();
    }
    world.elsewhere = aws_says(arn);
    world.from("10.0.0.2");
    let before = world.state.len();
    for (path, body) in [
        ("userpass/login/bob", json!({ "password": "x" })),
        ("userpass/login/root", json!({ "password": "x" })),
        ("userpass/login/bob", json!({})),
        ("approle/login", json!({ "role_id": "r", "secret_id": "s" })),
        ("approle/login", json!({ "role_id": "r", "secret_id": "wrong" })),
        ("aws/login", aws_login()),
        ("aws/login", json!({ "iam_request_url": "x" })),
    ] {
        assert!(world.write(path, body).is_err(), "{path}");
        assert_eq!(world.state.len(), before, "{path}");
    }
    world.from("10.0.0.1").write("approle/login", json!({ "role_id": "r", "secret_id": "s" })).unwrap();
}

fn aws_says(arn: &str) -> crate::errand::Outcome {
    super::aws::testing::answer(arn, "123456789012", "AROAEXAMPLE")
}

fn aws_login() -> Value {
    super::aws::testing::signed()
}

#[test]
fn a_limit_is_told_as_it_is_written() {
    let mut world = World::new();
    world.tune("userpass", json!({ "max_lease_ttl": "90m" })).unwrap();
    let (_, _, warnings) = bob(&mut world, json!({ "password": "x", "token_ttl": "3h" }));
    let sentence =
        "TTL of \"3h\" exceeded the effective max_ttl of \"1h30m\"; TTL value is capped accordingly";
    assert_eq!(warnings, [sentence]);
}

#[test]
fn a_token_may_be_bound_to_where_its_login_came_from() {
    let mut world = World::new();
    world.from("10.0.0.1");
    let (token, ..) = bob(&mut world, json!({ "password": "x", "token_strictly_bind_ip": true }));
    assert!(world.holds(&token) && !world.from("10.0.0.2").holds(&token));
    world.from("nowhere");
    let refusal = world.write("userpass/login/bob", json!({ "password": "x" })).unwrap_err();
    assert_eq!(refusal, Error::Denied, "there is nothing to bind it to");
}

#[test]
fn auth_mounts_are_no_engines_and_engines_no_auth_mounts() {
    let mut world = World::new();
    for (path, body, sentence) in [
        ("userpass", json!({ "type": "userpass" }), "path is already in use at userpass/"),
        ("userpass/x", json!({ "type": "userpass" }), "path is already in use at userpass/"),
        ("token", json!({ "type": "userpass" }), "path is already in use at token/"),
        ("token/x", json!({ "type": "userpass" }), "path is already in use at token/"),
        ("x", json!({ "type": "token" }), "token credential backend cannot be instantiated"),
        (
            "x",
            json!({ "type": "kv" }),
            "plugin not found in the catalog: there are approle, cert, userpass, aws, jwt, oidc, kubernetes",
        ),
        ("x", json!({}), "backend type must be specified as a string"),
        (
            "x",
            json!({ "type": "userpass", "config": { "token_type": "bogus" } }),
            "invalid value for 'token_type'",
        ),
    ] {
        assert_eq!(world.enable(path, body).err(), Some(Error::invalid(sentence)), "{path}");
    }
    let table = world.table();
    let paths = |listed: &serde_json::Map<String, Value>| listed.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        paths(&mount::list_auth(&table, |_| true)),
        ["approle/", "aws/", "cert/", "jwt/", "kubernetes/", "oidc/", "token/", "userpass/"]
    );
    assert_eq!(paths(&mount::list_json(&table, |_| true)), ["cubbyhole/", "identity/", "sys/"]);
    for path in ["auth/userpass", "auth/token"] {
        let permit = permit(Operation::Delete);
        let refusal = world.plan(|ctx| mount::disable(ctx, &permit, &table, path).map(drop)).unwrap_err();
        assert_eq!(refusal, Error::invalid(format!("cannot unmount \"{path}/\"")), "it needs no sudo there");
    }
    assert!(world.disable("token").is_err() && world.tune("token", json!({ "description": "x" })).is_err());
    world.tune("userpass", json!({ "options": { "version": "2" } })).unwrap();
    assert_eq!(world.table().versioned_paths().count(), 0, "no option makes an engine of it");
}

#[test]
fn nobody_chooses_by_which_role_he_is_limited_but_by_logging_in_with_it() {
    let mut world = World::new();
    let signer = Signer::p256();
    world.write("approle/role/Ci", json!({ "role_id": "r" })).unwrap();
    let config = json!({ "jwt_validation_pubkeys": [signer.pem()], "default_role": "Usual" });
    world.write("jwt/config", config).unwrap();
    let table = world.table();
    for (path, body, role) in [
        ("approle/login", json!({ "role_id": "r", "role": "lax" }), Some("ci")),
        ("approle/login", json!({ "role_id": "none", "role": "lax" }), None),
        ("cert/login", json!({ "name": "Web", "role": "lax" }), Some("web")),
        ("cert/login", json!({ "role": "lax" }), None),
        ("aws/login", json!({ "role": "CI", "name": "lax" }), Some("ci")),
        ("aws/login", json!({ "name": "lax" }), None),
        ("kubernetes/login", json!({ "role": "CI" }), Some("ci")),
        ("kubernetes/login", json!({ "role": "c/i" }), None),
        ("jwt/login", json!({ "role": "CI" }), Some("ci")),
        ("jwt/login", json!({ "role": "" }), Some("usual")),
        ("jwt/login", json!({}), Some("usual")),
        ("jwt/oidc/callback", json!({ "role": "lax" }), None),
        ("oidc/login", json!({}), None),
        ("userpass/login/bob", json!({ "role": "lax" }), None),
    ] {
        let full_path = format!("auth/{path}");
        let (mount, rest) = table.resolve(&full_path).unwrap();
        let method = Method::of(mount).unwrap();
        assert!(method.is_login(rest));
        let nothing = Query(Vec::new());
        let found =
            world.plan(|ctx| method.role_of(ctx, mount, rest, &nothing, body.as_object().unwrap())).unwrap();
        assert_eq!(found.as_deref(), role, "{path} {body}");
    }
}
