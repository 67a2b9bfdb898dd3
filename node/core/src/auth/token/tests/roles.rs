//! Roles: under which limits their users make tokens.

use serde_json::{Value, json};

use super::super::role;
use super::*;
use crate::identity::{IdentityRequest, handle as ask_identity, mounts::AuthMounts};

impl World {
    fn ask(&mut self, request: TokenRequest, captured: &str, body: Value) -> Result<Value, Error> {
        self.ask_as("root", request, captured, body)
    }

    pub(super) fn ask_as(
        &mut self,
        token: &str,
        request: TokenRequest,
        captured: &str,
        body: Value,
    ) -> Result<Value, Error> {
        let identified = self.identify(token)?;
        let path = match request {
            TokenRequest::CreateByRole => format!("auth/token/create/{captured}"),
            _ => "auth/token/create".to_owned(),
        };
        let body = body.as_object().cloned().unwrap_or_default();
        let plan = self.plan(|ctx| {
            let caller = Caller { identified: &identified, token, path: &path, captured, certificates: None };
            handle(ctx, request, &caller, &body)
        })?;
        self.state.apply(&plan.txn).expect("nothing came in between");
        let part = |part: Option<zeroize::Zeroizing<Vec<u8>>>| {
            part.map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap())
        };
        let (data, auth) = (part(plan.reply.data), part(plan.reply.auth));
        Ok(json!({ "data": data, "auth": auth, "warnings": plan.reply.warnings }))
    }

    fn role(&mut self, name: &str, body: Value) {
        self.ask(TokenRequest::RoleWrite, name, body).unwrap();
    }

    fn by_role(&mut self, token: &str, role: &str, body: Value) -> Result<Value, Error> {
        Ok(self.ask_as(token, TokenRequest::CreateByRole, role, body)?["auth"].clone())
    }

    pub(super) fn identity(&mut self, request: IdentityRequest, captured: &str, body: Value) -> Value {
        let body = body.as_object().cloned().unwrap_or_default();
        let plan = self.plan(|ctx| {
            let mounts = AuthMounts::new(ctx.barrier, []);
            ask_identity(ctx, request, &mounts, captured, &body)
        });
        let plan = plan.unwrap();
        self.state.apply(&plan.txn).expect("nothing came in between");
        plan.reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap())
    }
}

fn sentence(result: Result<Value, Error>) -> String {
    match result {
        Err(Error::Invalid(sentence)) => sentence,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was allowed"),
    }
}

#[test]
fn a_role_changes_by_what_is_said_and_is_listed_until_it_is_deleted() {
    let mut world = World::new();
    assert_eq!(world.ask(TokenRequest::RoleList, "", json!({})).unwrap_err(), Error::NotFound);
    let body = json!({ "allowed_policies": "b,A", "token_period": "30m", "token_bound_cidrs": "10.0.0.1" });
    world.role("ci", body);
    world.role("ci", json!({ "orphan": true, "token_num_uses": 3 }));
    world.role("Old.1", json!({ "period": 60, "explicit_max_ttl": "1h", "bound_cidrs": "10.0.0.0/8" }));
    let told = world.ask(TokenRequest::RoleRead, "ci", json!({})).unwrap()["data"].clone();
    for (field, expected) in [
        ("allowed_policies", json!(["a", "b"])),
        ("token_period", json!(1_800)),
        ("period", json!(0)),
        ("orphan", json!(true)),
        ("token_num_uses", json!(3)),
        ("token_bound_cidrs", json!(["10.0.0.1"])),
        ("token_type", json!("default-service")),
        ("allowed_entity_aliases", Value::Null),
    ] {
        assert_eq!(told[field], expected, "{field}");
    }
    let told = world.ask(TokenRequest::RoleRead, "Old.1", json!({})).unwrap()["data"].clone();
    assert_eq!(
        (&told["period"], &told["token_period"], &told["explicit_max_ttl"]),
        (&json!(60), &json!(60), &json!(3_600))
    );
    assert_eq!(told["bound_cidrs"], told["token_bound_cidrs"]);
    let keys = world.ask(TokenRequest::RoleList, "", json!({})).unwrap()["data"]["keys"].clone();
    assert_eq!(keys, json!(["Old.1", "ci"]));
    world.ask(TokenRequest::RoleDelete, "ci", json!({})).unwrap();
    world.ask(TokenRequest::RoleDelete, "ci", json!({})).unwrap();
    assert_eq!(sentence(world.by_role("root", "ci", json!({}))), "unknown role ci");
}

#[test]
fn a_role_that_could_make_no_token_is_refused() {
    let mut world = World::new();
    for (body, word) in [
        (json!({ "token_type": "batch" }), "non-orphan"),
        (json!({ "token_type": "batch", "orphan": true }), "renewable"),
        (json!({ "token_type": "default-batch", "token_period": 1 }), "periodic"),
        (json!({ "token_type": "default-batch", "token_num_uses": 1 }), "limited use"),
        (json!({ "token_type": "canary" }), "token_type"),
        (json!({ "path_suffix": "canary/../x" }), "path suffix"),
        (json!({ "path_suffix": "ab" }), "path suffix"),
        (json!({ "token_period": -1 }), "token_period"),
        (json!({ "token_num_uses": -1 }), "token_num_uses"),
        (json!({ "token_bound_cidrs": "canary" }), "token_bound_cidrs"),
        (json!({ "allowed_policies": vec!["p"; 257] }), "allowed_policies"),
    ] {
        let refusal = sentence(world.ask(TokenRequest::RoleWrite, "ci", body));
        assert!(refusal.contains(word) && !refusal.contains("canary"), "{refusal}");
    }
    assert!(role::load(&world.state, &world.barrier, "ci").unwrap().is_none());
}

#[test]
fn a_role_gives_what_it_allows_whatever_its_users_policies_are() {
    let mut world = World::new();
    world.role("ci", json!({ "allowed_policies": "a,b", "allowed_policies_glob": "dev-*", "disallowed_policies": "dev-x" }));
    let user = world.child_of("root");
    let user = {
        world
            .create("root", json!({ "policies": "other" }))
            .map(|made| made.token.expose().to_owned())
            .unwrap_or(user)
    };
    let policies = |auth: Result<Value, Error>| auth.unwrap()["policies"].clone();
    assert_eq!(policies(world.by_role(&user, "ci", json!({}))), json!(["a", "b", "default"]));
    assert_eq!(
        policies(world.by_role(&user, "ci", json!({ "policies": "dev-1" }))),
        json!(["default", "dev-1"])
    );
    let body = json!({ "policies": "a", "no_default_policy": true });
    assert_eq!(policies(world.by_role(&user, "ci", body)), json!(["a"]));
    for refused in ["other", "dev-x", "root", "a,other"] {
        sentence(world.by_role(&user, "ci", json!({ "policies": refused })));
    }
}

#[test]
fn no_role_makes_a_root_token_for_who_is_not_root() {
    let mut world = World::new();
    world.role("all", json!({ "allowed_policies_glob": "*" }));
    world.role("root", json!({ "allowed_policies": "root" }));
    world.role("most", json!({ "disallowed_policies": "x" }));
    let user = world.create("root", json!({ "policies": "p" })).unwrap().token.expose().to_owned();
    for role in ["all", "root", "most"] {
        let refusal = sentence(world.by_role(&user, role, json!({ "policies": "root" })));
        assert_eq!(refusal, "root tokens may not be created without parent token being root", "{role}");
    }
    sentence(world.by_role(&user, "root", json!({})));
    sentence(world.by_role(&user, "all", json!({ "policies": "response-wrapping" })));
}

#[test]
fn of_two_limits_the_tighter_holds() {
    let mut world = World::new();
    let limits = json!({
        "token_explicit_max_ttl": "1h", "token_num_uses": 3, "renewable": false, "orphan": true,
        "path_suffix": "suffix", "token_no_default_policy": true, "token_bound_cidrs": "10.0.0.0/8",
    });
    world.role("ci", limits);
    let body =
        json!({ "policies": "p", "explicit_max_ttl": "2h", "num_uses": 9, "ttl": "10m", "no_parent": false });
    let told = world.ask(TokenRequest::CreateByRole, "ci", body).unwrap();
    assert_eq!(
        told["warnings"][0],
        "Explicit max TTL specified both during creation call and in role; using the lesser value of 3600 seconds"
    );
    let auth = &told["auth"];
    let token = auth["client_token"].as_str().unwrap();
    let found = world.identify_from(token, Some("10.1.2.3".parse().unwrap())).unwrap();
    assert!(world.identify_from(token, Some("11.1.2.3".parse().unwrap())).is_err());
    assert_eq!(found.entry.path, "auth/token/create/ci/suffix");
    assert_eq!((found.entry.explicit_max_ttl_ms, found.entry.uses_left), (HOUR_MS, 3));
    assert!(found.is_orphan() && !found.entry.renewable && found.entry.role == "ci");
    assert_eq!(auth["policies"], json!(["p"]));
}

#[test]
fn a_role_that_changed_meanwhile_makes_no_token() {
    let mut world = World::new();
    world.role("ci", json!({ "allowed_policies": "a" }));
    let role = role::load(&world.state, &world.barrier, "ci").unwrap().unwrap();
    let caller = world.identify("root").unwrap();
    let maker = Maker { caller: &caller, may_sudo: true, path: "auth/token/create/ci", role: Some(&role) };
    let made = world.plan(|ctx| plan_create(ctx, Creation::default(), maker)).unwrap();
    world.role("ci", json!({ "allowed_policies": "b" }));
    assert!(world.state.apply(&made.txn).is_err());
}

#[test]
fn a_token_may_be_used_from_no_further_than_its_maker() {
    let mut world = World::new();
    world.role("near", json!({ "token_bound_cidrs": "10.0.0.0/8", "allowed_policies": "p" }));
    world.role("free", json!({ "allowed_policies": "p" }));
    let near: IpAddr = "10.0.0.1".parse().unwrap();
    let maker =
        world.by_role("root", "near", json!({})).unwrap()["client_token"].as_str().unwrap().to_owned();
    let caller = world.identify_from(&maker, Some(near)).unwrap();
    for (role, expected) in [(None, 1), (Some("free"), 0)] {
        let role = role.map(|role| role::load(&world.state, &world.barrier, role).unwrap().unwrap());
        let made = world.plan(|ctx| {
            let maker =
                Maker { caller: &caller, may_sudo: false, path: "auth/token/create", role: role.as_ref() };
            plan_create(ctx, Creation::default(), maker).unwrap()
        });
        assert_eq!(made.entry.bound_cidrs.len(), expected);
    }
}

#[test]
fn a_token_is_an_entitys_that_its_role_allows_to_name() {
    let mut world = World::new();
    world.role("ci", json!({ "allowed_policies": "p", "allowed_entity_aliases": "deploy,team-*" }));
    let body = json!({ "policies": "p", "entity_alias": "deploy" });
    let refusal = sentence(world.ask(TokenRequest::Create, "", body.clone()));
    assert!(refusal.contains("in combination with token role"), "{refusal}");
    assert_eq!(
        sentence(world.by_role("root", "ci", json!({ "entity_alias": "x" }))),
        "invalid 'entity_alias' value"
    );
    let first = world.by_role("root", "ci", body.clone()).unwrap();
    let again = world.by_role("root", "ci", json!({ "entity_alias": "DEPLOY" })).unwrap();
    let id = first["entity_id"].as_str().unwrap();
    assert!(!id.is_empty() && first["entity_id"] == again["entity_id"]);
    world.identity(IdentityRequest::EntityWriteById, id, json!({ "policies": "entity" }));
    let third = world.by_role("root", "ci", body).unwrap();
    assert_eq!(third["policies"], json!(["default", "entity", "p"]));
    assert_eq!(
        (&third["token_policies"], &third["identity_policies"]),
        (&json!(["default", "p"]), &json!(["entity"]))
    );
}
