//! Wrapped answers: who gets them, and how often.

use super::*;
use crate::auth::token::{TokenCaches, plan_root_token, plan_use};
use crate::crypto::Barrier;
use crate::crypto::testing::seeded;
use crate::policy::{Access, authorize};
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::testing::MemoryView;

struct World {
    state: MemoryView,
    barrier: Barrier,
    now_ms: u64,
    seed: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { state: MemoryView::default(), barrier: barrier(), now_ms: NOW_MS, seed: 1 };
        let txn = world.plan(|ctx| plan_root_token(ctx, Some("root-token"))).unwrap().1;
        world.state.apply(&txn).unwrap();
        world
    }

    fn plan<T>(&mut self, plan: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.seed += 1;
        let mut rng = seeded(self.seed);
        plan(&mut Context { view: &self.state, barrier: &self.barrier, now_ms: self.now_ms, rng: &mut rng })
    }

    /// Wraps an answer for a minute; what is told of it.
    fn wrapped(&mut self, reply: Reply) -> Value {
        let mut plan = Plan::from(reply);
        self.plan(|ctx| wrap(ctx, &mut plan, 60, "secret/data/x")).unwrap();
        self.state.apply(&plan.txn).unwrap();
        info(&plan)
    }

    fn token(&mut self) -> String {
        self.wrapped(Reply::json(&json!({"n": 1.50})))["token"].as_str().unwrap().to_owned()
    }

    fn plan_ask(&mut self, request: WrappingRequest, token: &str) -> Result<Plan, Error> {
        let body = json!({"token": token});
        self.plan(|ctx| handle(ctx, request, "root-token", false, body.as_object().unwrap()))
    }

    fn ask(&mut self, request: WrappingRequest, token: &str) -> Result<Plan, Error> {
        let plan = self.plan_ask(request, token)?;
        self.state.apply(&plan.txn).expect("nothing came in between");
        Ok(plan)
    }
}

fn info(plan: &Plan) -> Value {
    serde_json::from_slice(plan.reply.wrap_info.as_ref().unwrap()).unwrap()
}

fn data(plan: &Plan) -> Value {
    serde_json::from_slice(plan.reply.data.as_ref().unwrap()).unwrap()
}

#[track_caller]
fn is_not_valid(result: Result<Plan, Error>) {
    assert_eq!(result.map(|_| ()), Err(not_valid()));
}

#[test]
fn an_answer_is_handed_over_once_and_as_it_was() {
    let mut world = World::new();
    let reply = Reply {
        warnings: vec!["careful".to_owned()],
        lease_duration_s: 7,
        ..Reply::json(&serde_json::from_str::<Value>(r#"{"n":1.50}"#).unwrap())
    };
    let told = world.wrapped(reply);
    assert_eq!((&told["ttl"], &told["creation_path"]), (&json!(60), &json!("secret/data/x")));
    assert_eq!(told["creation_time"], time_text(NOW_MS));
    let token = told["token"].as_str().unwrap();
    let records = world.state.len();
    let answer = world.ask(WrappingRequest::Unwrap, token).unwrap();
    assert_eq!(data(&answer).to_string(), r#"{"n":1.50}"#);
    assert_eq!((answer.reply.warnings, answer.reply.lease_duration_s), (vec!["careful".to_owned()], 7));
    is_not_valid(world.ask(WrappingRequest::Unwrap, token));
    is_not_valid(world.ask(WrappingRequest::Lookup, token));
    assert_eq!(world.state.len(), records - 4, "token, accessor, lease and answer are gone");
}

#[test]
fn of_two_who_unwrap_at_once_one_gets_it() {
    let mut world = World::new();
    let token = world.token();
    let one = world.plan_ask(WrappingRequest::Unwrap, &token).unwrap();
    let other = world.plan_ask(WrappingRequest::Unwrap, &token).unwrap();
    let rewrap = world.plan_ask(WrappingRequest::Rewrap, &token).unwrap();
    world.state.apply(&one.txn).unwrap();
    assert!(world.state.apply(&other.txn).is_err() && world.state.apply(&rewrap.txn).is_err());
}

#[test]
fn a_wrapped_token_is_known_by_its_accessor() {
    let mut world = World::new();
    let auth = br#"{"client_token":"s.x","accessor":"abc"}"#.to_vec();
    let told = world.wrapped(Reply { auth: Some(Zeroizing::new(auth)), ..Reply::empty(200) });
    assert_eq!(told["wrapped_accessor"], "abc");
    let answer = world.ask(WrappingRequest::Unwrap, told["token"].as_str().unwrap()).unwrap();
    let auth: Value = serde_json::from_slice(answer.reply.auth.as_ref().unwrap()).unwrap();
    assert_eq!((auth["client_token"].as_str(), answer.reply.data), (Some("s.x"), None));
}

#[test]
fn nothing_is_wrapped_that_hands_nothing_out() {
    let mut world = World::new();
    for reply in [Reply::no_content(), Reply::empty(404)] {
        let mut plan = Plan::from(reply);
        world.plan(|ctx| wrap(ctx, &mut plan, 60, "secret/data/x")).unwrap();
        assert!(plan.txn.is_empty() && plan.reply.wrap_info.is_none());
    }
    let body = Map::from_iter([("a".to_owned(), json!("b"))]);
    let bare = world.plan(|ctx| handle(ctx, WrappingRequest::Wrap, "", false, &body));
    assert!(matches!(bare, Err(Error::Invalid(_))));
}

#[test]
fn looking_at_it_uses_nothing_up() {
    let mut world = World::new();
    let token = world.token();
    for _ in 0..3 {
        let told = data(&world.ask(WrappingRequest::Lookup, &token).unwrap());
        assert_eq!(told["creation_path"], "secret/data/x");
        assert_eq!(told["creation_ttl"], 60);
    }
    world.ask(WrappingRequest::Unwrap, &token).unwrap();
}

#[test]
fn wrapped_anew_it_is_under_another_token_for_as_long() {
    let mut world = World::new();
    let token = world.token();
    world.now_ms += 59_000;
    let told = info(&world.ask(WrappingRequest::Rewrap, &token).unwrap());
    assert_eq!((&told["ttl"], &told["creation_path"]), (&json!(60), &json!("secret/data/x")));
    is_not_valid(world.ask(WrappingRequest::Unwrap, &token));
    world.now_ms += 59_000;
    let answer = world.ask(WrappingRequest::Unwrap, told["token"].as_str().unwrap()).unwrap();
    assert_eq!(data(&answer), json!({"n": 1.50}));
}

#[test]
fn it_expires_and_other_tokens_wrap_nothing() {
    let mut world = World::new();
    let token = world.token();
    for request in [WrappingRequest::Unwrap, WrappingRequest::Rewrap, WrappingRequest::Lookup] {
        assert_eq!(world.ask(request, "").map(|_| ()), Err(Error::Denied));
        for other in ["root-token", "s.nonesuch", &"x".repeat(1_000)] {
            is_not_valid(world.ask(request, other));
        }
    }
    world.now_ms += 60_000;
    is_not_valid(world.ask(WrappingRequest::Unwrap, &token));
}

#[test]
fn a_wrapping_token_may_hand_over_and_nothing_else_and_only_once() {
    let mut world = World::new();
    let token = world.token();
    let caches = TokenCaches::default();
    let identified = token::identify(&world.state, &world.barrier, &caches, NOW_MS, &token, None).unwrap();
    let nothing = Map::new();
    let may = |operation, path| {
        let access = Access { operation, parameters: &nothing, ..Access::reading(path) };
        authorize(&identified.identity, &access).is_ok()
    };
    use crate::plan::Operation::{Read, Write};
    assert!(may(Write, "sys/wrapping/unwrap") && may(Read, "cubbyhole/response"));
    assert!(!may(Write, "sys/wrapping/rewrap") && !may(Read, "auth/token/lookup-self"));
    // Whatever it is used for uses it up.
    let mut txn = Txn::default();
    world.plan(|ctx| plan_use(ctx, &identified, &mut txn)).unwrap();
    world.state.apply(&txn).unwrap();
    is_not_valid(world.ask(WrappingRequest::Unwrap, &token));
}
