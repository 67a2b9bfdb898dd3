use serde_json::{Value, json};

use super::api::{Asked, MfaRequest as R, handle};
use super::{Codes, clear, laid_aside};
use crate::auth::method::{Step, Work};
use crate::auth::testing::{Answer, World};
use crate::error::Error;
use crate::identity::{self, AuthMounts, IdentityRequest};
use crate::plan::Operation;
use crate::seal::testing::NOW_MS;

const PERIOD_MS: u64 = 30_000;
const PASSWORD: &str = "hunter2";

impl World {
    fn accessor(&self, mount: &str) -> String {
        self.table().find(&format!("auth/{mount}")).unwrap().accessor().to_owned()
    }

    fn mfa(&mut self, request: R, captured: &str, body: Value) -> Result<(Value, Vec<String>), Error> {
        self.mfa_as(request, "", captured, body)
    }

    fn mfa_as(
        &mut self,
        request: R,
        entity_id: &str,
        captured: &str,
        body: Value,
    ) -> Result<(Value, Vec<String>), Error> {
        let mounts = AuthMounts::of(&self.barrier, &self.table());
        let body = body.as_object().cloned().unwrap_or_default();
        let asked = Asked { mounts: &mounts, entity_id, captured, body: &body };
        let reply = self.commit(|ctx| handle(ctx, request, &asked))?;
        let data = reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap());
        Ok((data, reply.warnings))
    }

    fn identity(&mut self, request: IdentityRequest, captured: &str, body: Value) -> Value {
        let mounts = AuthMounts::of(&self.barrier, &self.table());
        let body = body.as_object().cloned().unwrap_or_default();
        let reply = self.commit(|ctx| identity::handle(ctx, request, &mounts, captured, &body)).unwrap();
        reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap())
    }

    fn method(&mut self, body: Value) -> String {
        self.mfa(R::TotpCreate, "", body).unwrap().0["method_id"].as_str().unwrap().to_owned()
    }

    /// Whoever logs in at userpass proves more; tells the method, and the entity and the secret of bob.
    fn with_enforcement() -> (Self, Device) {
        let mut world = Self::new();
        world.write("userpass/users/bob", json!({ "password": PASSWORD, "token_policies": "p" })).unwrap();
        let auth = world.login().unwrap().auth;
        let entity = auth["entity_id"].as_str().unwrap().to_owned();
        let method = world.method(json!({ "issuer": "Conclave", "method_name": "phone" }));
        let device = world.enrol(&method, &entity);
        world.enforce("all", json!({ "mfa_method_ids": [method], "auth_method_types": ["userpass"] }));
        (world, device)
    }

    fn enrol(&mut self, method: &str, entity: &str) -> Device {
        let body = json!({ "method_id": method, "entity_id": entity });
        let (told, warnings) = self.mfa(R::AdminGenerate, "", body).unwrap();
        assert!(warnings.is_empty());
        let url = told["url"].as_str().unwrap();
        let secret = url.rsplit("secret=").next().unwrap();
        let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        Device { method: method.to_owned(), entity: entity.to_owned(), secret }
    }

    fn enforce(&mut self, name: &str, body: Value) {
        self.mfa(R::EnforcementWrite, name, body).unwrap();
    }

    fn login(&mut self) -> Result<Answer, Error> {
        self.write("userpass/login/bob", json!({ "password": PASSWORD }))
    }

    fn login_with(&mut self, method: &str, code: &str) -> Result<Answer, Error> {
        self.codes = Codes::default();
        self.codes.add_header(&format!("{method}:{code}")).unwrap();
        let answer = self.login();
        self.codes = Codes::default();
        answer
    }

    fn validate(&mut self, id: &str, method: &str, code: &str) -> Result<Answer, Error> {
        let body = json!({ "mfa_request_id": id, "mfa_payload": { method: [code] } });
        self.ask_validate(&body)
    }

    fn ask_validate(&mut self, body: &Value) -> Result<Answer, Error> {
        let step = self.plan_validate(body)?;
        self.take(step)
    }

    fn plan_validate(&mut self, body: &Value) -> Result<Step, Error> {
        let (table, from, body) = (self.table(), self.from, body.as_object().unwrap().clone());
        self.plan(|ctx| laid_aside::validate(ctx, &table, &body, from))
    }
}

struct Device {
    method: String,
    entity: String,
    secret: Vec<u8>,
}

impl Device {
    fn code(&self, now_ms: u64) -> String {
        let scheme = super::totp::Scheme {
            algorithm: super::totp::Algorithm::Sha1,
            digits: 6,
            period_s: PERIOD_MS / 1_000,
            skew: 1,
        };
        format!("{:06}", scheme.code(&self.secret, scheme.step_at(now_ms)))
    }

    /// A code that is right at no time near.
    fn wrong(&self, now_ms: u64) -> String {
        let near: Vec<String> =
            (0..=4).map(|step| self.code(now_ms - 2 * PERIOD_MS + step * PERIOD_MS)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

fn request_id(answer: &Answer) -> String {
    assert_eq!(answer.auth["client_token"], json!(""), "no token yet");
    answer.auth["mfa_requirement"]["mfa_request_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_login_gives_its_token_when_the_other_factor_is_proven() {
    let (mut world, phone) = World::with_enforcement();
    let before = world.state.len();
    let answer = world.login().unwrap();
    assert!(answer.warnings[0].contains("mfa/validate"));
    let demanded = &answer.auth["mfa_requirement"]["mfa_constraints"]["all"]["any"];
    assert_eq!(demanded[0]["id"], json!(phone.method));
    assert_eq!((&demanded[0]["type"], &demanded[0]["uses_passcode"]), (&json!("totp"), &json!(true)));
    assert_eq!(world.state.len(), before + 1, "a login that waits, and no token");
    let id = request_id(&answer);
    let answer = world.validate(&id, &phone.method, &phone.code(NOW_MS)).unwrap();
    let holder = world.identify(answer.token()).unwrap();
    assert_eq!(
        (holder.entry.policies.clone(), holder.entry.entity_id.clone()),
        (vec!["default".into(), "p".into()], phone.entity.clone())
    );
    assert_eq!(holder.entry.created_ms, NOW_MS);
    // It is finished: neither its id nor the code can be used again.
    world.now_ms += PERIOD_MS;
    let again = world.validate(&id, &phone.method, &phone.code(world.now_ms));
    assert_eq!(again.unwrap_err(), Error::invalid("invalid request ID"));
}

#[test]
fn codes_that_come_with_the_login_are_checked_at_once() {
    let (mut world, phone) = World::with_enforcement();
    assert_eq!(world.login_with("phone", &phone.wrong(NOW_MS)).unwrap_err(), Error::Denied);
    assert_eq!(world.login_with("other", &phone.code(NOW_MS)).unwrap_err(), Error::Denied);
    let answer = world.login_with("phone", &format!("passcode={}", phone.code(NOW_MS))).unwrap();
    assert!(world.holds(answer.token()));
    world.mfa(R::EnforcementDelete, "all", json!({})).unwrap();
    let answer = world.login_with("phone", "123456").unwrap();
    assert_eq!(answer.warnings, ["Found MFA header but failed to find MFA Enforcement Config"]);
}

/// CVE-2025-55003: a code is taken once, by whichever login and with whatever around it.
#[test]
fn a_code_is_taken_once() {
    let (mut world, phone) = World::with_enforcement();
    let code = phone.code(NOW_MS);
    let ids: Vec<String> = (0..2).map(|_| request_id(&world.login().unwrap())).collect();
    world.validate(&ids[0], &phone.method, &code).unwrap();
    for code in [code.clone(), format!("passcode={code}"), phone.code(NOW_MS - PERIOD_MS)] {
        let refusal = world.validate(&ids[1], "phone", &code).unwrap_err().to_string();
        assert!(refusal.contains("already used"), "{refusal}");
        assert_eq!(world.login_with("phone", &code).unwrap_err(), Error::Denied);
    }
    world.now_ms += PERIOD_MS;
    world.validate(&ids[1], &phone.method, &phone.code(world.now_ms)).unwrap();
}

#[test]
fn of_two_who_show_one_code_at_once_one_comes_in() {
    let (mut world, phone) = World::with_enforcement();
    let ids: Vec<String> = (0..2).map(|_| request_id(&world.login().unwrap())).collect();
    let planned: Vec<Step> = ids
        .iter()
        .map(|id| {
            let body = json!({ "mfa_request_id": id, "mfa_payload": { "phone": [phone.code(NOW_MS)] } });
            world.plan_validate(&body).unwrap()
        })
        .collect();
    let applied = planned.iter().filter(|step| match step {
        Step::Done(plan) => world.state.apply(&plan.txn).is_ok(),
        _ => panic!("each was right when it was decided"),
    });
    assert_eq!(applied.count(), 1);
}

/// CVE-2025-55003: guesses are bounded, however they come, and a right one behind them does not come in.
#[test]
fn guesses_are_bounded() {
    let (mut world, phone) = World::with_enforcement();
    let id = request_id(&world.login().unwrap());
    let wrong = phone.wrong(NOW_MS);
    for guess in 0..5 {
        let refusal = match guess % 2 {
            0 => world.validate(&id, "phone", &wrong).unwrap_err(),
            _ => world.login_with(&phone.method, &wrong).unwrap_err(),
        };
        assert!(matches!(refusal, Error::Denied | Error::Refused(_)));
        assert!(!refusal.to_string().contains(&wrong));
    }
    let right = phone.code(NOW_MS);
    let refusal = world.validate(&id, "phone", &right).unwrap_err().to_string();
    assert!(refusal.contains("maximum TOTP validation attempts"), "{refusal}");
    assert_eq!(world.login_with("phone", &right).unwrap_err(), Error::Denied);
    // Each period allows so many again, and the code was not spent.
    world.now_ms += PERIOD_MS;
    world.validate(&id, "phone", &phone.code(world.now_ms)).unwrap();
}

#[test]
fn guesses_at_once_are_counted_one_by_one() {
    let (mut world, phone) = World::with_enforcement();
    let id = request_id(&world.login().unwrap());
    let body = |code: &str| json!({ "mfa_request_id": id, "mfa_payload": { "phone": [code] } });
    let wrong = world.plan_validate(&body(&phone.wrong(NOW_MS))).unwrap();
    let right = world.plan_validate(&body(&phone.code(NOW_MS))).unwrap();
    let (Step::Refused(wrong, _), Step::Done(right)) = (wrong, right) else { panic!("one of them is right") };
    world.state.apply(&wrong).unwrap();
    assert!(world.state.apply(&right.txn).is_err(), "it was decided before the other one was counted");
}

#[test]
fn logins_are_found_by_mount_type_entity_and_group() {
    let (mut world, phone) = World::with_enforcement();
    let group = json!({ "name": "ops", "member_entity_ids": [phone.entity] });
    let ops = world.identity(IdentityRequest::GroupCreate, "", group)["id"].clone();
    let all =
        world.identity(IdentityRequest::GroupCreate, "", json!({ "name": "all", "member_group_ids": [ops] }));
    let accessor = world.accessor("userpass");
    let methods = json!([phone.method]);
    for whose in [
        json!({ "auth_method_accessors": [accessor] }),
        json!({ "auth_method_types": "userpass" }),
        json!({ "identity_entity_ids": [phone.entity] }),
        json!({ "identity_group_ids": [ops] }),
        json!({ "identity_group_ids": [all["id"]] }),
    ] {
        world.mfa(R::EnforcementDelete, "all", json!({})).unwrap();
        let token = world.login().unwrap().token().to_owned();
        assert!(world.holds(&token));
        let mut body = whose.clone();
        body["mfa_method_ids"] = methods.clone();
        world.enforce("all", body);
        request_id(&world.login().unwrap());
    }
    world.mfa(R::EnforcementDelete, "all", json!({})).unwrap();
    world.enforce("all", json!({ "mfa_method_ids": methods, "auth_method_types": "approle" }));
    world.login().unwrap().token();
}

#[test]
fn whoever_comes_for_the_first_time_does_not_slip_past() {
    let (mut world, _) = World::with_enforcement();
    world.write("userpass/users/new", json!({ "password": "x" })).unwrap();
    let answer = world.write("userpass/login/new", json!({ "password": "x" })).unwrap();
    let id = request_id(&answer);
    let refusal = world.validate(&id, "phone", "000000").unwrap_err().to_string();
    assert!(refusal.contains("not present in entity"), "{refusal}");
}

#[test]
fn a_login_that_was_decided_before_an_enforcement_does_not_come_in_behind_it() {
    let (mut world, phone) = World::with_enforcement();
    world.mfa(R::EnforcementDelete, "all", json!({})).unwrap();
    let body = json!({ "password": PASSWORD });
    let Step::Work(Work::Password(work)) =
        world.decide(Operation::Write, "userpass/login/bob", &body, None).unwrap()
    else {
        panic!("the password is hashed first")
    };
    let done = work.run([7; crate::auth::password::SALT_BYTES]).unwrap();
    let Step::Done(early) = world.decide(Operation::Write, "userpass/login/bob", &body, Some(&done)).unwrap()
    else {
        panic!("it is accepted")
    };
    world.enforce("all", json!({ "mfa_method_ids": [phone.method], "auth_method_types": "userpass" }));
    assert!(world.state.apply(&early.txn).is_err());
}

#[test]
fn each_enforcement_must_be_satisfied_and_one_code_serves_all_that_ask_for_it() {
    let (mut world, phone) = World::with_enforcement();
    world.enforce("same", json!({ "mfa_method_ids": [phone.method], "identity_entity_ids": [phone.entity] }));
    let id = request_id(&world.login().unwrap());
    world.validate(&id, "phone", &phone.code(NOW_MS)).unwrap();
    let second = world.method(json!({ "issuer": "Conclave", "method_name": "token" }));
    let token = world.enrol(&second, &phone.entity);
    world.enforce("same", json!({ "mfa_method_ids": [second], "identity_entity_ids": [phone.entity] }));
    world.now_ms += PERIOD_MS;
    let id = request_id(&world.login().unwrap());
    assert!(world.validate(&id, "phone", &phone.code(world.now_ms)).is_err());
    // What was right of a refused answer is spent; with the next one both are shown.
    world.now_ms += PERIOD_MS;
    let payload = json!({ "phone": [phone.code(world.now_ms)], "token": [token.code(world.now_ms)] });
    let answer = world.ask_validate(&json!({ "mfa_request_id": id, "mfa_payload": payload })).unwrap();
    assert!(world.holds(answer.token()));
}

#[test]
fn a_login_waits_for_five_minutes_and_as_long_as_what_it_was_decided_by_stands() {
    let (mut world, phone) = World::with_enforcement();
    let five_minutes = 5 * 60 * 1_000;
    let refused = |world: &mut World, id: &str| {
        let now_ms = world.now_ms;
        world.validate(id, "phone", &phone.code(now_ms)).unwrap_err()
    };
    let id = request_id(&world.login().unwrap());
    world.now_ms += five_minutes;
    assert_eq!(refused(&mut world, &id), Error::invalid("invalid request ID"));
    let id = request_id(&world.login().unwrap());
    world.now_ms += five_minutes - 1;
    world.validate(&id, "phone", &phone.code(world.now_ms)).unwrap();

    world.now_ms += PERIOD_MS;
    let id = request_id(&world.login().unwrap());
    world.write("userpass/users/bob", json!({ "token_policies": "other" })).unwrap();
    assert!(refused(&mut world, &id).to_string().contains("log in again"));
    let id = request_id(&world.login().unwrap());
    // The same password, but it was set: who knew it before is not taken for who knows it now.
    world.write("userpass/users/bob", json!({ "password": PASSWORD })).unwrap();
    assert!(refused(&mut world, &id).to_string().contains("log in again"));
    let id = request_id(&world.login().unwrap());
    world.identity(IdentityRequest::EntityWriteById, &phone.entity, json!({ "disabled": true }));
    assert_eq!(refused(&mut world, &id), Error::Denied);
    world.identity(IdentityRequest::EntityWriteById, &phone.entity, json!({ "disabled": false }));
    let id = request_id(&world.login().unwrap());
    world.mfa(R::EnforcementDelete, "all", json!({})).unwrap();
    assert!(refused(&mut world, &id).to_string().contains("log in again"));
    world.enforce("all", json!({ "mfa_method_ids": [phone.method], "auth_method_types": "userpass" }));
    let id = request_id(&world.login().unwrap());
    world.disable("userpass").unwrap();
    assert_eq!(refused(&mut world, &id), Error::invalid("invalid request ID"));
}

#[test]
fn a_login_that_waits_falls_with_the_role_and_the_secret_id_that_it_was_accepted_by() {
    let (mut world, phone) = World::with_enforcement();
    world.enforce("all", json!({ "mfa_method_ids": [phone.method], "auth_method_types": ["approle"] }));
    world.write("approle/role/app", json!({ "token_policies": "strong" })).unwrap();
    let role_id = world.read("approle/role/app/role-id").unwrap()["role_id"].clone();
    for uses in [0, 3] {
        let make = json!({ "num_uses": uses });
        let made = world.write("approle/role/app/secret-id", make).unwrap().data;
        let login = json!({ "role_id": role_id, "secret_id": made["secret_id"] });
        let log_in = |world: &mut World| request_id(&world.write("approle/login", login.clone()).unwrap());
        let refused =
            |world: &mut World, id: &str| world.validate(id, "phone", "000000").unwrap_err().to_string();
        let id = log_in(&mut world);
        assert!(refused(&mut world, &id).contains("not present in entity"), "so far it holds");
        world.write("approle/role/app", json!({ "token_policies": "weak" })).unwrap();
        assert!(refused(&mut world, &id).contains("log in again"), "{uses}");
        let id = log_in(&mut world);
        let destroyed = json!({ "secret_id": made["secret_id"] });
        world.write("approle/role/app/secret-id/destroy", destroyed).unwrap();
        assert!(refused(&mut world, &id).contains("log in again"), "{uses}");
    }
}

#[test]
fn a_token_that_is_bound_to_networks_is_handed_out_in_them_alone() {
    let (mut world, phone) = World::with_enforcement();
    world.write("userpass/users/bob", json!({ "token_bound_cidrs": "10.0.0.0/8" })).unwrap();
    let id = request_id(&world.from("10.1.1.1").login().unwrap());
    let code = phone.code(NOW_MS);
    assert_eq!(world.from("192.168.0.1").validate(&id, "phone", &code).unwrap_err(), Error::Denied);
    world.from("10.1.1.1").validate(&id, "phone", &code).unwrap();
}

#[test]
fn a_secret_is_shown_once_and_lies_in_the_state_sealed() {
    let (mut world, phone) = World::with_enforcement();
    let body = json!({ "method_id": phone.method, "entity_id": phone.entity });
    let (data, warnings) = world.mfa(R::AdminGenerate, "", body.clone()).unwrap();
    assert_eq!(
        (data, warnings[0].as_str()),
        (Value::Null, "Entity already has a secret for MFA method \"phone\"")
    );
    assert!(!world.state.contains(&phone.secret));
    assert!(!world.state.contains(hex::encode(&phone.secret).as_bytes()));
    world.mfa(R::AdminDestroy, "", body).unwrap();
    let (told, _) =
        world.mfa_as(R::Generate, &phone.entity, "", json!({ "method_id": phone.method })).unwrap();
    let url = told["url"].as_str().unwrap();
    assert!(url.starts_with(&format!(
        "otpauth://totp/Conclave:{}?algorithm=SHA1&digits=6&issuer=Conclave&period=30&secret=",
        phone.entity
    )));
    assert!(told["barcode"].as_str().unwrap().starts_with("iVBORw0KGgo"));
    let id = request_id(&world.login().unwrap());
    assert!(world.validate(&id, "phone", &phone.code(NOW_MS)).is_err(), "the old device proves nothing");
}

#[test]
fn what_is_no_more_leaves_nothing_behind() {
    let (mut world, phone) = World::with_enforcement();
    let id = request_id(&world.login().unwrap());
    world.validate(&id, "phone", &phone.wrong(NOW_MS)).unwrap_err();
    world.identity(IdentityRequest::EntityDeleteById, &phone.entity, json!({}));
    let kinds = |world: &World| {
        let byte = |key: &Vec<u8>| key[0];
        world.state.records().map(|(key, _)| byte(key)).filter(|byte| (0x81..=0x82).contains(byte)).count()
    };
    assert_eq!(kinds(&world), 0);
    for number in 0..300 {
        let entity =
            world.identity(IdentityRequest::EntityCreate, "", json!({ "name": format!("e{number}") }));
        world.enrol(&phone.method, entity["id"].as_str().unwrap());
    }
    assert_eq!(kinds(&world), 300);
    let used = world.mfa(R::TotpDelete, &phone.method, json!({})).unwrap_err().to_string();
    assert!(used.contains("still used"), "{used}");
    world.mfa(R::EnforcementDelete, "all", json!({})).unwrap();
    world.mfa(R::TotpDelete, &phone.method, json!({})).unwrap();
    while let Some(txn) = world.plan(clear::next_batch).unwrap() {
        world.state.apply(&txn).unwrap();
    }
    assert_eq!(kinds(&world), 0);
}

#[test]
fn a_method_says_everything_anew_with_each_write() {
    let mut world = World::new();
    let id =
        world.method(json!({ "issuer": "A", "method_name": "m", "period": "1m", "digits": 8, "qr_size": 0 }));
    let (told, _) = world.mfa(R::TotpRead, &id, json!({})).unwrap();
    assert_eq!((&told["period"], &told["digits"], &told["qr_size"]), (&json!(60), &json!(8), &json!(0)));
    assert_eq!(world.method(json!({ "issuer": "B", "method_name": "m" })), id, "a name is one method's");
    world.mfa(R::TotpWrite, &id, json!({ "issuer": "C" })).unwrap();
    let (told, _) = world.mfa(R::MethodRead, &id, json!({})).unwrap();
    assert_eq!((&told["issuer"], &told["name"], &told["period"]), (&json!("C"), &json!("m"), &json!(30)));
    let (told, _) = world.mfa(R::MethodList, "", json!({})).unwrap();
    assert_eq!(told["key_info"][&id]["issuer"], json!("C"));
    for body in [
        json!({}),
        json!({ "issuer": "" }),
        json!({ "issuer": "A", "digits": 7 }),
        json!({ "issuer": "A", "skew": 2 }),
        json!({ "issuer": "A", "skew": -1 }),
        json!({ "issuer": "A", "period": 0 }),
        json!({ "issuer": "A", "period": "25h" }),
        json!({ "issuer": "A", "key_size": 0 }),
        json!({ "issuer": "A", "key_size": 100_000 }),
        json!({ "issuer": "A", "qr_size": -1 }),
        json!({ "issuer": "A", "qr_size": 1_000_000 }),
        json!({ "issuer": "A", "algorithm": "MD5" }),
        json!({ "issuer": "A", "max_validation_attempts": -1 }),
        json!({ "issuer": "a\nb" }),
        json!({ "issuer": "x".repeat(257) }),
    ] {
        let refused = world.mfa(R::TotpCreate, "", body.clone()).map(drop);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{body}");
    }
}

#[test]
fn an_enforcement_names_what_there_is() {
    let mut world = World::new();
    let id = world.method(json!({ "issuer": "A" }));
    for (body, sentence) in [
        (json!({}), "missing method ids"),
        (json!({ "mfa_method_ids": [] }), "at least one method"),
        (json!({ "mfa_method_ids": ["none"] }), "method ids doesn't exist"),
        (json!({ "mfa_method_ids": [id] }), "must be specified"),
        (
            json!({ "mfa_method_ids": [id], "auth_method_accessors": ["none"] }),
            "accessors provided is invalid",
        ),
        (json!({ "mfa_method_ids": [id], "auth_method_types": ["none"] }), "types provided is invalid"),
        (json!({ "mfa_method_ids": [id], "identity_group_ids": ["none"] }), "group ids doesn't exist"),
        (json!({ "mfa_method_ids": [id], "identity_entity_ids": ["none"] }), "entity ids doesn't exist"),
    ] {
        let refusal = world.mfa(R::EnforcementWrite, "e", body).unwrap_err().to_string();
        assert!(refusal.contains(sentence), "{refusal}");
    }
    assert_eq!(world.mfa(R::EnforcementWrite, "-e", json!({})).unwrap_err(), Error::NotFound);
    world.enforce("e", json!({ "mfa_method_ids": [id], "auth_method_types": ["token"] }));
    let (told, _) = world.mfa(R::EnforcementList, "", json!({})).unwrap();
    assert_eq!(told["keys"], json!(["e"]));
}
