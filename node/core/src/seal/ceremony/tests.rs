use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

use super::*;
use crate::auth::token::{self, TOKEN_CHARACTERS, TokenCaches};
use crate::crypto::Barrier;
use crate::crypto::testing::seeded;
use crate::seal::testing::{CLUSTER, NOW_MS, shamir, static_key};
use crate::seal::{Initialized, Parameters, Progress, UnsealProgress, initialize, open_barrier};
use crate::view::View as _;
use crate::view::testing::MemoryView;

const ATTEMPT: Step = Step::RootAttempt;
const INIT: Step = Step::RekeyInit(Target::Unseal);
const UPDATE: Step = Step::RekeyUpdate(Target::Unseal);
const VERIFY: Step = Step::RekeyVerify(Target::Unseal);

/// A cluster whose shares are known, and what is done to it.
struct World {
    state: MemoryView,
    barrier: Barrier,
    made: Initialized,
    now_ms: u64,
    seed: u64,
    form: Form,
}

impl World {
    fn new(made: Initialized) -> Self {
        let mut state = MemoryView::default();
        state.apply(&made.txn()).unwrap();
        let barrier = open_barrier(&state, &made.config, &made.root_key).unwrap();
        Self { state, barrier, made, now_ms: NOW_MS, seed: 1, form: Form::Vault }
    }

    fn plan(&mut self, caller: Caller, operation: Operation, step: Step, body: Value) -> Result<Plan, Error> {
        self.seed += 1;
        let mut rng = seeded(self.seed);
        let root_key = &self.made.root_key;
        let ceremony = Ceremony { step, form: self.form, operation, caller, root_key };
        let mut ctx =
            Context { view: &self.state, barrier: &self.barrier, now_ms: self.now_ms, rng: &mut rng };
        handle(&mut ctx, &ceremony, body.as_object().unwrap())
    }

    fn ask_as(
        &mut self,
        caller: Caller,
        operation: Operation,
        step: Step,
        body: Value,
    ) -> Result<Value, Error> {
        let plan = self.plan(caller, operation, step, body)?;
        self.state.apply(&plan.txn).expect("nothing came in between");
        Ok(told(&plan))
    }

    fn write(&mut self, step: Step, body: Value) -> Result<Value, Error> {
        self.ask_as(owner(), Operation::Write, step, body)
    }

    fn read(&mut self, step: Step) -> Result<Value, Error> {
        self.ask_as(owner(), Operation::Read, step, json!({}))
    }

    fn share(&self, index: usize) -> String {
        self.made.shares[index].to_base64().expose().clone()
    }

    /// Whether these shares open the seal as it stands.
    fn opens(&self, shares: &[String]) -> bool {
        let (config, _) = load_config(&self.state).unwrap().unwrap();
        let mut progress = UnsealProgress::new(config);
        let mut opened = false;
        for share in shares {
            opened |= matches!(progress.submit(share, &mut seeded(1)), Ok(Progress::Unsealed(_)));
        }
        opened
    }

    fn old_shares(&self) -> Vec<String> {
        (0..self.made.shares.len()).map(|index| self.share(index)).collect()
    }
}

fn told(plan: &Plan) -> Value {
    plan.reply.data.as_ref().map_or(Value::Null, |data| serde_json::from_slice(data).unwrap())
}

fn owner() -> Caller {
    Caller::Token { hash: "owner".to_owned(), may_sudo: false }
}

fn stranger() -> Caller {
    Caller::Token { hash: "stranger".to_owned(), may_sudo: false }
}

fn sudo() -> Caller {
    Caller::Token { hash: "administrator".to_owned(), may_sudo: true }
}

#[track_caller]
fn refusal(result: Result<Value, Error>) -> String {
    match result {
        Err(Error::Invalid(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

fn decoded(encoded: &Value, otp: &str) -> String {
    let mixed = STANDARD_NO_PAD.decode(encoded.as_str().unwrap()).unwrap();
    assert_eq!(mixed.len(), otp.len());
    mixed.iter().zip(otp.bytes()).map(|(byte, otp)| char::from(byte ^ otp)).collect()
}

#[test]
fn a_quorum_of_shares_makes_a_root_token_that_only_the_password_reveals() {
    let mut world = World::new(shamir(5, 3));
    assert_eq!(world.read(ATTEMPT).unwrap()["started"], false);
    let begun = world.write(ATTEMPT, json!({})).unwrap();
    let (otp, nonce) = (begun["otp"].as_str().unwrap().to_owned(), begun["nonce"].clone());
    assert_eq!((otp.len(), &begun["otp_length"]), (TOKEN_CHARACTERS, &json!(TOKEN_CHARACTERS)));
    assert_eq!(world.read(ATTEMPT).unwrap()["otp"], "", "it is told once");
    let mut last = Value::Null;
    for (index, progress) in [(4, 1), (0, 2), (2, 3)] {
        assert!(!last["complete"].as_bool().unwrap_or_default());
        last = world.write(Step::RootUpdate, json!({"key": world.share(index), "nonce": nonce})).unwrap();
        assert_eq!(last["progress"], progress);
    }
    assert_eq!((&last["complete"], &last["required"]), (&json!(true), &json!(3)));
    let token = decoded(&last["encoded_token"], &otp);
    assert!(token.starts_with("s.") && token.len() == token::TOKEN_CHARACTERS, "{token}");
    let caches = TokenCaches::default();
    let found = token::identify(&world.state, &world.barrier, &caches, NOW_MS, &token, None).unwrap();
    assert!(found.identity.is_root() && found.is_orphan() && found.expires_at_ms == 0);
    assert_eq!(world.read(ATTEMPT).unwrap()["started"], false, "it is over");
    let again = world.write(Step::RootUpdate, json!({"key": world.share(1), "nonce": nonce}));
    assert!(refusal(again).contains("no root generation"));
}

#[test]
fn a_wrong_share_is_named_and_costs_nothing() {
    let mut world = World::new(shamir(5, 3));
    let nonce = world.write(ATTEMPT, json!({})).unwrap()["nonce"].clone();
    world.write(Step::RootUpdate, json!({"key": world.share(0), "nonce": nonce})).unwrap();
    let (elsewhere, mut mistyped) = (World::new(other_cluster()).share(1), world.share(1).into_bytes());
    mistyped[20] = if mistyped[20] == b'A' { b'B' } else { b'A' };
    for (key, word) in [
        (elsewhere, "another cluster"),
        (String::from_utf8(mistyped).unwrap(), "checksum"),
        (world.share(0), "already"),
        ("zz!!".to_owned(), "base64"),
    ] {
        let sentence = refusal(world.write(Step::RootUpdate, json!({"key": key, "nonce": nonce})));
        assert!(sentence.contains(word) && !sentence.contains(&key), "{sentence}");
    }
    let wrong_nonce = world.write(Step::RootUpdate, json!({"key": world.share(1), "nonce": "x"}));
    assert!(refusal(wrong_nonce).contains("incorrect nonce"));
    assert_eq!(world.read(ATTEMPT).unwrap()["progress"], 1);
}

fn other_cluster() -> Initialized {
    let parameters = Parameters { shares: 5, threshold: 3, static_key: None };
    initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(99)).unwrap()
}

#[test]
fn of_two_last_shares_that_come_at_once_one_makes_the_token() {
    let mut world = World::new(shamir(3, 2));
    let nonce = world.write(ATTEMPT, json!({})).unwrap()["nonce"].clone();
    world.write(Step::RootUpdate, json!({"key": world.share(0), "nonce": nonce})).unwrap();
    let body = |world: &World, index| json!({"key": world.share(index), "nonce": nonce});
    let (one, other) = (body(&world, 1), body(&world, 2));
    let one = world.plan(owner(), Operation::Write, Step::RootUpdate, one).unwrap();
    let other = world.plan(owner(), Operation::Write, Step::RootUpdate, other).unwrap();
    assert_eq!((&told(&one)["complete"], &told(&other)["complete"]), (&json!(true), &json!(true)));
    world.state.apply(&one.txn).unwrap();
    assert!(world.state.apply(&other.txn).is_err());
}

#[test]
fn nothing_of_a_share_is_kept() {
    let mut world = World::new(shamir(3, 2));
    let nonce = world.write(ATTEMPT, json!({})).unwrap()["nonce"].clone();
    world.write(Step::RootUpdate, json!({"key": world.share(0), "nonce": nonce})).unwrap();
    let key = plain_key(Kind::RootGeneration);
    let record = world.state.get(&key).unwrap().unwrap();
    let payload = world.barrier.open(&key, &record.sealed).unwrap().payload;
    let text = String::from_utf8(payload.to_vec()).unwrap();
    let hex = world.made.shares[0].to_hex();
    // Behind version, set and number comes what is secret.
    let secret = &hex.expose()[20..84];
    assert!(
        !text.contains(secret) && !text.contains(&secret[..16]) && !text.contains(&world.share(0)),
        "{text}"
    );
    assert!(
        record.expires_at_ms == NOW_MS + CEREMONY_MS
            && !world.state.contains(nonce.as_str().unwrap().as_bytes())
    );
}

#[test]
fn strangers_cannot_cancel_and_who_began_can() {
    for (step, delete) in [(ATTEMPT, ATTEMPT), (INIT, INIT), (INIT, VERIFY)] {
        let mut world = World::new(shamir(3, 2));
        let body = json!({"secret_shares": 3, "secret_threshold": 2});
        world.write(step, body.clone()).unwrap();
        let cancel = |world: &mut World, by| {
            world.ask_as(by, Operation::Delete, delete, json!({"key": world.share(0)}))
        };
        assert_eq!(cancel(&mut world, stranger()), Err(Error::Denied));
        assert_eq!(cancel(&mut world, Caller::Keeper), Err(Error::Denied), "it was not begun by a keeper");
        assert!(cancel(&mut world, owner()).is_ok());
        if delete != VERIFY {
            assert_eq!(world.read(step).unwrap()["started"], false);
            world.write(step, body).unwrap();
        }
        assert!(cancel(&mut world, sudo()).is_ok());
    }
}

#[test]
fn who_lost_every_token_shows_a_share_instead() {
    let mut world = World::new(shamir(3, 2));
    let ask = |world: &mut World, operation, step, body| world.ask_as(Caller::Keeper, operation, step, body);
    assert_eq!(ask(&mut world, Operation::Write, ATTEMPT, json!({})), Err(Error::Denied));
    assert_eq!(ask(&mut world, Operation::Read, ATTEMPT, json!({})), Err(Error::Denied));
    let foreign = json!({"key": World::new(other_cluster()).share(0)});
    assert!(refusal(ask(&mut world, Operation::Write, ATTEMPT, foreign)).contains("another cluster"));
    let key = json!({"key": world.share(0)});
    let begun = ask(&mut world, Operation::Write, ATTEMPT, key.clone()).unwrap();
    assert_eq!(begun["progress"], 0);
    ask(&mut world, Operation::Delete, ATTEMPT, key.clone()).unwrap();
    let begun = ask(&mut world, Operation::Write, ATTEMPT, key).unwrap();
    for index in [0, 1] {
        let body = json!({"key": world.share(index), "nonce": begun["nonce"]});
        let told = ask(&mut world, Operation::Write, Step::RootUpdate, body).unwrap();
        assert_eq!(told["complete"], index == 1);
    }
}

#[test]
fn strangers_without_a_share_are_told_nothing_of_a_verification() {
    let mut world = World::new(shamir(3, 2));
    let foreign = json!({"key": World::new(other_cluster()).share(0), "nonce": "x"});
    let ask = |world: &mut World, body: &Value| {
        world.ask_as(Caller::Keeper, Operation::Write, VERIFY, body.clone())
    };
    assert_eq!(ask(&mut world, &foreign), Err(Error::Denied));
    let body = json!({"secret_shares": 3, "secret_threshold": 2, "require_verification": true});
    let nonce = world.write(INIT, body).unwrap()["nonce"].clone();
    assert_eq!(ask(&mut world, &foreign), Err(Error::Denied));
    let handed_out = give_quorum(&mut world, &nonce, UPDATE);
    assert_eq!(ask(&mut world, &foreign), Err(Error::Denied));
    let new = json!({"key": keys(&handed_out)[0], "nonce": handed_out["verification_nonce"]});
    assert_eq!(ask(&mut world, &new).unwrap()["progress"], 1);
}

#[test]
fn a_ceremony_ends_in_its_time() {
    let mut world = World::new(shamir(3, 2));
    let nonce = world.write(ATTEMPT, json!({})).unwrap()["nonce"].clone();
    assert!(refusal(world.write(ATTEMPT, json!({}))).contains("already in progress"));
    world.now_ms += CEREMONY_MS - 1;
    world.write(Step::RootUpdate, json!({"key": world.share(0), "nonce": nonce})).unwrap();
    world.now_ms += 1;
    let late = world.write(Step::RootUpdate, json!({"key": world.share(1), "nonce": nonce}));
    assert!(refusal(late).contains("no root generation"), "a share does not prolong it");
    world.write(ATTEMPT, json!({})).unwrap();
}

#[test]
fn what_is_not_supported_is_refused() {
    let mut world = World::new(shamir(3, 2));
    for (step, body, word) in [
        (ATTEMPT, json!({"pgp_key": "x"}), "pgp_key"),
        (ATTEMPT, json!({"otp": "short"}), "incorrect length"),
        (INIT, json!({"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["x", "y"]}), "pgp_keys"),
        (INIT, json!({"secret_shares": 2, "secret_threshold": 2, "backup": true}), "backup"),
        (INIT, json!({"secret_shares": 2, "secret_threshold": 2, "stored_shares": 1}), "stored_shares"),
        (INIT, json!({}), "shares must be at least one"),
        (INIT, json!({"secret_shares": 2}), "threshold must be at least one"),
        (INIT, json!({"secret_shares": 2, "secret_threshold": 3}), "larger than shares"),
        (INIT, json!({"secret_shares": 2, "secret_threshold": 1}), "greater than one"),
        (INIT, json!({"secret_shares": 256, "secret_threshold": 2}), "less than 256"),
        (INIT, json!({"secret_shares": -1, "secret_threshold": -1}), "at least one"),
        (UPDATE, json!({"key": world.share(0), "nonce": "x"}), "no barrier rekey"),
        (VERIFY, json!({"key": world.share(0), "nonce": "x"}), "no barrier rekey"),
        (Step::RekeyInit(Target::Recovery), json!({}), "recovery rekeying not supported"),
    ] {
        let sentence = refusal(world.write(step, body.clone()));
        assert!(sentence.contains(word), "{body}: {sentence}");
    }
}

/// Gives the old shares for a rekey that was begun; returns what the last one was answered with.
fn give_quorum(world: &mut World, nonce: &Value, update: Step) -> Value {
    let threshold = usize::from(load_config(&world.state).unwrap().unwrap().0.threshold());
    (0..threshold)
        .map(|index| world.write(update, json!({"key": world.share(index), "nonce": nonce})).unwrap())
        .last()
        .unwrap()
}

fn keys(told: &Value) -> Vec<String> {
    told["keys_base64"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

#[test]
fn new_shares_open_the_same_cluster_and_the_old_ones_nothing() {
    let mut world = World::new(shamir(5, 3));
    let begun = world.write(INIT, json!({"secret_shares": 4, "secret_threshold": 2})).unwrap();
    assert_eq!((&begun["t"], &begun["n"], &begun["required"]), (&json!(2), &json!(4), &json!(3)));
    let done = give_quorum(&mut world, &begun["nonce"], UPDATE);
    assert_eq!((&done["complete"], keys(&done).len()), (&json!(true), 4));
    let new = keys(&done);
    assert!(world.opens(&new[1..3]) && !world.opens(&world.old_shares()));
    assert_eq!(world.read(INIT).unwrap()["started"], false);
    let (config, _) = load_config(&world.state).unwrap().unwrap();
    assert!(config.is_root_key(&world.made.root_key), "the root key is the same, so no record is touched");
}

#[test]
fn exactly_one_set_is_valid_at_every_moment_of_a_verified_rekey() {
    let mut world = World::new(shamir(3, 2));
    let old = world.old_shares();
    let body = json!({"secret_shares": 3, "secret_threshold": 2, "require_verification": true});
    let nonce = world.write(INIT, body).unwrap()["nonce"].clone();
    assert!(
        refusal(world.write(VERIFY, json!({"key": old[0], "nonce": nonce})))
            .contains("no rekey verification")
    );
    let handed_out = give_quorum(&mut world, &nonce, UPDATE);
    let new = keys(&handed_out);
    let mut nonce = handed_out["verification_nonce"].clone();
    let valid = |world: &World| (world.opens(&old), world.opens(&new));
    assert_eq!(valid(&world), (true, false), "not before they were shown");
    assert!(
        refusal(world.write(UPDATE, json!({"key": old[2], "nonce": nonce}))).contains("already finished")
    );
    assert!(refusal(world.write(VERIFY, json!({"key": old[0], "nonce": nonce}))).contains("share"));
    assert_eq!(world.write(VERIFY, json!({"key": new[0], "nonce": nonce})).unwrap()["progress"], 1);
    let restarted = world.ask_as(owner(), Operation::Delete, VERIFY, json!({})).unwrap();
    assert_eq!(restarted["progress"], 0);
    assert!(refusal(world.write(VERIFY, json!({"key": new[1], "nonce": nonce}))).contains("incorrect nonce"));
    nonce = restarted["nonce"].clone();
    world.write(VERIFY, json!({"key": new[1], "nonce": nonce})).unwrap();
    assert_eq!(valid(&world), (true, false));
    let done = world.write(VERIFY, json!({"key": new[2], "nonce": nonce})).unwrap();
    assert_eq!((done["complete"].clone(), valid(&world)), (json!(true), (false, true)));
}

#[test]
fn a_cancelled_rekey_leaves_the_old_shares_even_when_new_ones_were_handed_out() {
    let mut world = World::new(shamir(3, 2));
    let body = json!({"secret_shares": 3, "secret_threshold": 2, "require_verification": true});
    let nonce = world.write(INIT, body).unwrap()["nonce"].clone();
    let new = keys(&give_quorum(&mut world, &nonce, UPDATE));
    world.ask_as(owner(), Operation::Delete, INIT, json!({})).unwrap();
    assert!(world.opens(&world.old_shares()) && !world.opens(&new));
}

#[test]
fn replaced_shares_make_no_root_token() {
    let mut world = World::new(shamir(3, 2));
    let generation = world.write(ATTEMPT, json!({})).unwrap()["nonce"].clone();
    world.write(Step::RootUpdate, json!({"key": world.share(0), "nonce": generation})).unwrap();
    let last = json!({"key": world.share(1), "nonce": generation});
    let late = world.plan(owner(), Operation::Write, Step::RootUpdate, last.clone()).unwrap();
    let nonce =
        world.write(INIT, json!({"secret_shares": 3, "secret_threshold": 2})).unwrap()["nonce"].clone();
    give_quorum(&mut world, &nonce, UPDATE);
    assert!(world.state.apply(&late.txn).is_err(), "it was decided by a seal that is no more");
    assert!(refusal(world.write(Step::RootUpdate, last)).contains("no root generation"));
}

#[test]
fn recovery_shares_of_a_cluster_that_unseals_by_itself_are_replaced_under_their_own_name() {
    let parameters = Parameters { shares: 3, threshold: 2, static_key: Some(static_key(1)) };
    let mut world = World::new(initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(7)).unwrap());
    let body = json!({"secret_shares": 2, "secret_threshold": 2});
    assert!(refusal(world.write(INIT, body.clone())).contains("sys/rekey-recovery-key"));
    let nonce = world.write(Step::RekeyInit(Target::Recovery), body).unwrap()["nonce"].clone();
    let new = keys(&give_quorum(&mut world, &nonce, Step::RekeyUpdate(Target::Recovery)));
    let (config, _) = load_config(&world.state).unwrap().unwrap();
    assert!(world.opens(&new) && config.unseal_with(&static_key(1)).is_ok());

    let parameters = Parameters { shares: 0, threshold: 0, static_key: Some(static_key(1)) };
    let mut world = World::new(initialize(&parameters, CLUSTER, NOW_MS, &mut seeded(7)).unwrap());
    assert!(refusal(world.write(ATTEMPT, json!({}))).contains("no key shares"));
}

#[test]
fn openbao_has_the_same_in_its_own_words() {
    let mut world = World::new(shamir(3, 2));
    world.form = Form::OpenBao;
    assert_eq!(
        world.read(ATTEMPT).unwrap(),
        json!({"complete": false, "otp": "", "otp_length": TOKEN_CHARACTERS, "progress": 0, "required": 2, "started": false})
    );
    assert_eq!(world.read(INIT).unwrap(), json!({"n": 0, "required": 2, "started": false, "t": 0}));
    let begun = world.write(ATTEMPT, json!({"otp": "x".repeat(TOKEN_CHARACTERS)})).unwrap();
    assert_eq!((&begun["otp"], &begun["pgp_fingerprint"]), (&json!(""), &json!("")), "who sent it knows it");
    assert_eq!(refusal(world.write(Step::RootUpdate, json!({"key": "x"}))), "nonce is required");
    let told =
        world.write(Step::RootUpdate, json!({"key": world.share(0), "nonce": begun["nonce"]})).unwrap();
    assert_eq!((&told["encoded_token"], told.get("otp")), (&json!(""), None));
}
