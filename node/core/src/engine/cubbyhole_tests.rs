//! Cubbyholes: whose they are, and when they end.

use serde_json::{Map, json};

use super::*;
use crate::auth::token::{
    self, Creation, Maker, TokenCaches, plan_create, plan_renew, plan_revoke, plan_root_token,
};
use crate::crypto::Barrier;
use crate::crypto::testing::seeded;
use crate::plan::Query;
use crate::policy::{Access, authorize};
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::testing::MemoryView;

/// One root token, and tokens made with it.
struct World {
    state: MemoryView,
    barrier: Barrier,
    caches: TokenCaches,
    now_ms: u64,
    seed: u64,
}

impl World {
    fn new() -> Self {
        let (state, barrier, caches) = (MemoryView::default(), barrier(), TokenCaches::default());
        let mut world = Self { state, barrier, caches, now_ms: NOW_MS, seed: 1 };
        world.apply(|ctx| plan_root_token(ctx, Some("root")).map(|(_, txn)| txn));
        world
    }

    fn plan<T>(&mut self, plan: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.seed += 1;
        let mut rng = seeded(self.seed);
        plan(&mut Context { view: &self.state, barrier: &self.barrier, now_ms: self.now_ms, rng: &mut rng })
    }

    fn apply(&mut self, plan: impl FnOnce(&mut Context<'_>) -> Result<Txn, Error>) {
        let txn = self.plan(plan).unwrap();
        self.state.apply(&txn).unwrap();
    }

    fn identify(&self, token: &str) -> Identified {
        token::identify(&self.state, &self.barrier, &self.caches, self.now_ms, token, None).unwrap()
    }

    fn token(&mut self, body: Value) -> String {
        let root = self.identify("root");
        let creation = Creation::of(body.as_object().unwrap()).unwrap();
        let maker = Maker { caller: &root, may_sudo: true, path: "auth/token/create", role: None };
        let made = self.plan(|ctx| plan_create(ctx, creation, maker)).unwrap();
        self.state.apply(&made.txn).unwrap();
        made.token.expose().clone()
    }

    fn found(&self, token: &str) -> token::Found {
        let hash = self.barrier.token_hash(token.as_bytes());
        token::find(&self.state, &self.barrier, &hash, self.now_ms).unwrap().unwrap()
    }

    fn plan_ask(
        &mut self,
        token: &str,
        operation: Operation,
        path: &str,
        body: Value,
    ) -> Result<Plan, Error> {
        let owner = self.identify(token);
        let full = format!("{PATH}{path}");
        let nothing = Map::new();
        let access = Access { operation, parameters: &nothing, ..Access::reading(&full) };
        let permit = authorize(&self.identify("root").identity, &access).unwrap();
        let body = body.as_object().cloned().unwrap_or_default();
        self.plan(|ctx| {
            let request = Request { operation, path, query: &Query::default(), body: &body };
            handle(ctx, &permit, &owner, &request)
        })
    }

    fn ask(&mut self, token: &str, operation: Operation, path: &str, body: Value) -> Result<Value, Error> {
        let plan = self.plan_ask(token, operation, path, body)?;
        self.state.apply(&plan.txn).expect("nothing came in between");
        Ok(plan.reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap()))
    }

    fn read(&mut self, token: &str, path: &str) -> Result<Value, Error> {
        self.ask(token, Operation::Read, path, Value::Null)
    }

    fn kept_records(&self) -> usize {
        let kind = crate::crypto::Kind::Cubbyhole.byte();
        self.state.records().filter(|(key, _)| key[0] == kind).count()
    }
}

#[test]
fn each_token_has_its_own_and_nobody_has_anothers() {
    let mut world = World::new();
    let (one, other) = (world.token(json!({})), world.token(json!({})));
    assert_eq!(world.read(&one, "x"), Err(Error::NotFound));
    let digits = serde_json::from_str(r#"{"n":1.50}"#).unwrap();
    world.ask(&one, Operation::Write, "x", digits).unwrap();
    world.ask(&one, Operation::Write, "y/z", json!({"b": "2"})).unwrap();
    assert_eq!(world.read(&one, "x").unwrap().to_string(), r#"{"n":1.50}"#);
    for stranger in ["root", &other] {
        assert_eq!(world.read(stranger, "x"), Err(Error::NotFound));
        assert_eq!(world.ask(stranger, Operation::List, "", Value::Null), Err(Error::NotFound));
    }
    let list = |world: &mut World, path| world.ask(&one, Operation::List, path, Value::Null);
    assert_eq!(list(&mut world, ""), Ok(json!({"keys": ["x", "y/"]})));
    assert_eq!(list(&mut world, "y/"), Ok(json!({"keys": ["z"]})));
    assert_eq!(list(&mut world, "x"), Err(Error::NotFound));
    world.ask(&one, Operation::Delete, "x", Value::Null).unwrap();
    world.ask(&one, Operation::Delete, "x", Value::Null).unwrap();
    assert_eq!(list(&mut world, ""), Ok(json!({"keys": ["y/"]})));
    world.ask(&one, Operation::Delete, "y/z", Value::Null).unwrap();
    assert_eq!(world.kept_records(), 0);
}

/// Nothing is kept of them, so there is nothing that could end with them.
#[test]
fn batch_tokens_have_none() {
    let mut world = World::new();
    let batch = world.token(json!({ "type": "batch", "ttl": "1h", "policies": ["default"] }));
    let refused = world.ask(&batch, Operation::Write, "x", json!({ "a": 1 }));
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

#[test]
fn what_is_no_path_or_no_data_is_refused() {
    let mut world = World::new();
    for (operation, path, body, sentence) in [
        (Operation::Read, "", json!({}), "missing path"),
        (Operation::Write, "", json!({"a": 1}), "missing path"),
        (Operation::Write, "x", json!({}), "missing data fields"),
        (Operation::Write, "x/", json!({"a": 1}), "cannot write to a path ending in '/'"),
    ] {
        assert_eq!(world.ask("root", operation, path, body), Err(Error::invalid(sentence)));
    }
    for operation in [Operation::Patch, Operation::Scan] {
        assert_eq!(world.ask("root", operation, "x", json!({"a": 1})), Err(Error::Unsupported));
    }
    let large = json!({"a": "x".repeat(conclave_proto::wire::RECORD_BYTES_MAX)});
    assert!(matches!(world.ask("root", Operation::Write, "x", large), Err(Error::TooLarge(_))));
}

#[test]
fn it_ends_with_the_token_however_that_ends() {
    let mut world = World::new();
    let revoked = world.token(json!({"ttl": "1h"}));
    world.ask(&revoked, Operation::Write, "x", json!({"a": 1})).unwrap();
    let found = world.found(&revoked);
    let late = world.plan_ask(&revoked, Operation::Write, "x", json!({"a": 2})).unwrap();
    let by = world.identify(&revoked).preconditions;
    world.apply(|ctx| plan_revoke(ctx, &found));
    assert_eq!(world.kept_records(), 0);
    // As the server commits it: with what the caller was known by.
    let late = Txn { preconditions: [late.txn.preconditions, by].concat(), ..late.txn };
    assert!(world.state.apply(&late).is_err(), "nothing is written behind the token's end");

    let orphaning = world.token(json!({"ttl": "1h"}));
    world.ask(&orphaning, Operation::Write, "x", json!({"a": 1})).unwrap();
    let found = world.found(&orphaning);
    world.apply(|ctx| token::plan_revoke_orphan(ctx, &found));
    assert_eq!(world.kept_records(), 0);
}

#[test]
fn it_expires_with_the_token_and_is_renewed_with_it() {
    let mut world = World::new();
    let token = world.token(json!({"ttl": "1h"}));
    world.ask(&token, Operation::Write, "x", json!({"a": 1})).unwrap();
    let ends = |world: &World| {
        let kind = crate::crypto::Kind::Cubbyhole.byte();
        let kept = world.state.records().find(|(key, _)| key[0] == kind).unwrap();
        kept.1.expires_at_ms
    };
    assert_eq!(ends(&world), world.identify(&token).expires_at_ms);
    world.now_ms += 1_800_000;
    let found = world.found(&token);
    world.apply(|ctx| plan_renew(ctx, &found, 7_200_000).map(|renewed| renewed.txn));
    assert_eq!(ends(&world), world.now_ms + 7_200_000);
    assert_eq!(world.read(&token, "x"), Ok(json!({"a": 1})));
}

#[test]
fn of_two_writes_at_once_neither_is_lost() {
    let mut world = World::new();
    let one = world.plan_ask("root", Operation::Write, "x", json!({"a": 1})).unwrap();
    let other = world.plan_ask("root", Operation::Write, "y", json!({"a": 1})).unwrap();
    world.state.apply(&one.txn).unwrap();
    assert!(world.state.apply(&other.txn).is_err(), "it has to be planned again");
}

#[test]
fn what_the_last_use_wrote_goes_with_the_token() {
    let mut world = World::new();
    let token = world.token(json!({"num_uses": 1}));
    let owner = world.identify(&token);
    let mut plan = world.plan_ask(&token, Operation::Write, "x", json!({"a": 1})).unwrap();
    world.plan(|ctx| token::plan_use(ctx, &owner, &mut plan.txn)).unwrap();
    world.state.apply(&plan.txn).unwrap();
    assert_eq!(world.kept_records(), 0);
}
