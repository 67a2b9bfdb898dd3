//! Scripts of requests to the engines, each line `METHOD path {body}` as a client would send it, on a state in memory.
//!
//! A request goes through the server's own parsers and route table; what is planned is checked and committed.

use std::sync::LazyLock;

use conclave_core::Error;
use conclave_core::auth::token::{self, TokenCaches};
use conclave_core::engine::{self, mount};
use conclave_core::plan::{Context, Operation, Plan, Request};
use conclave_core::policy::{Access, Permit, authorize};
use conclave_node::http::parse_head;
use conclave_node::service::{Action, Call, Failure, route};
use conclave_proto::wire::RECORD_BYTES_MAX;
use http::{HeaderMap, Method, Uri};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value};

use super::{check_refusal, object};
use crate::canary;
use crate::sealing::BARRIER;
use crate::state::State;

const LINES_MAX: usize = 24;
/// What sentences about mounts may name.
const SPARED: &[&str] = &["from", "to"];
const HOUSEKEEPING_ROUNDS_MAX: usize = 64;

/// With `v1/` and `v2/` mounted.
static MOUNTED: LazyLock<State> = LazyLock::new(|| {
    let mut script = Script { state: State::default(), rng: StdRng::seed_from_u64(1) };
    for line in [r#"POST sys/mounts/v1 {"type":"kv-v1"}"#, r#"POST sys/mounts/v2 {"type":"kv-v2"}"#] {
        script.send(line);
    }
    script.state
});

/// Requests below a mount of either version.
pub fn kv(input: &[u8]) {
    run(input, |line| !line.contains("sys/"));
}

/// Requests that change the table of mounts, with some secrets in them.
pub fn mounts(input: &[u8]) {
    let mut script = run(input, |_| true);
    for _ in 0..HOUSEKEEPING_ROUNDS_MAX {
        let table = script.table();
        let batch = mount::housekeeping::next_batch(&mut script.context(), &table);
        let Some(txn) = batch.expect("the state is whole") else { return };
        script.state.commit(txn);
    }
    panic!("housekeeping finds no end");
}

fn run(input: &[u8], is_meant: fn(&str) -> bool) -> Script {
    let mut script = Script { state: MOUNTED.clone(), rng: StdRng::seed_from_u64(2) };
    let text = String::from_utf8_lossy(input);
    for line in text.lines().filter(|line| is_meant(line)).take(LINES_MAX) {
        script.send(line);
    }
    script
}

struct Script {
    state: State,
    rng: StdRng,
}

impl Script {
    fn context(&mut self) -> Context<'_> {
        Context { view: &self.state, barrier: &BARRIER, now_ms: self.state.now_ms, rng: &mut self.rng }
    }

    fn table(&self) -> mount::MountTable {
        mount::MountTable::load(&self.state, &BARRIER).expect("the table was written by a plan")
    }

    fn send(&mut self, line: &str) {
        self.state.now_ms += 1;
        if let Some(seconds) = line.strip_prefix("wait ").and_then(|seconds| seconds.parse::<u32>().ok()) {
            self.state.now_ms += u64::from(seconds) * 1_000;
        }
        let mut words = line.splitn(3, ' ');
        let method = words.next().and_then(|word| Method::from_bytes(word.as_bytes()).ok());
        let uri = words.next().and_then(|word| Uri::try_from(format!("/v1/{word}")).ok());
        let (Some(method), Some(uri)) = (method, uri) else { return };
        let body = words.next().unwrap_or_default();
        let parsed = parse_head(&method, &uri, &HeaderMap::new(), String::new())
            .and_then(|call| Ok((call, object(body.as_bytes())?)));
        match parsed {
            Err(failure) => check_refusal(&failure),
            Ok((call, mut body)) => {
                canary::plant(&mut body, SPARED);
                self.answer(&call, &body);
            }
        }
    }

    fn answer(&mut self, call: &Call, body: &Map<String, Value>) {
        let plan = match self.plan(call, body) {
            // Nothing at a path is an answer like another.
            Err(Failure::Rule(Error::NotFound)) => return,
            Err(failure) => return check_refusal(&failure),
            Ok(plan) => plan,
        };
        plan.reply.warnings.iter().for_each(|warning| canary::assert_absent(warning));
        if let Some(data) = &plan.reply.data {
            serde_json::from_slice::<Value>(data).expect("a reply is JSON");
        }
        if plan.txn.is_empty() {
            return;
        }
        assert!(call.changes(), "a read plans a change");
        self.check_and_commit(plan);
        self.check_mounts();
        self.read_back(call, body);
    }

    fn plan(&mut self, call: &Call, body: &Map<String, Value>) -> Result<Plan, Failure> {
        let route = route::find(call.operation, &call.path)?;
        let captured = route.capture(&call.path).expect("the route was found by this path");
        let table = self.table();
        let permit = root(call.operation);
        let context = &mut self.context();
        Ok(match route.action {
            Action::Secret => {
                let (mount, path) = table.resolve(&call.path).ok_or(Error::NotFound)?;
                let request = Request { operation: call.operation, path, query: &call.query, body };
                engine::handle(context, &permit, mount, &request)?
            }
            Action::ListMounts => mount::list(&table).into(),
            Action::ReadMount => mount::read(&table, captured)?.into(),
            Action::ReadMountTune => mount::read_tune(&table, captured)?.into(),
            Action::RemountStatus => mount::remount_status(&table, captured)?.into(),
            Action::VisibleMount => mount::ui_mount(&table, captured, |_| true).ok_or(Error::Denied)?.into(),
            Action::EnableMount => mount::enable(context, &permit, &table, captured, body)?,
            Action::DisableMount => mount::disable(context, &permit, &table, captured)?,
            Action::TuneMount => mount::tune(context, &permit, &table, captured, body)?,
            Action::Remount => mount::remount(context, &permit, &table, body)?,
            _ => return Err(Failure::Unsupported),
        })
    }

    /// A change names what it was decided from (I7), and holds nothing in clear (I1).
    fn check_and_commit(&mut self, plan: Plan) {
        assert!(!plan.txn.preconditions.is_empty(), "a change that requires nothing");
        for write in &plan.txn.writes {
            let Some(sealed) = &write.value else { continue };
            assert!(sealed.len() <= RECORD_BYTES_MAX);
            canary::assert_absent_in(sealed);
            canary::assert_absent_in(&write.key);
            BARRIER.open(&write.key, sealed).expect("it is sealed for its place");
        }
        self.state.commit(plan.txn);
    }

    /// No mount lies in another, and each serves its own path.
    fn check_mounts(&self) {
        let table = self.table();
        let paths: Vec<&str> = table.iter().map(mount::Mount::path).collect();
        for path in &paths {
            assert!(paths.iter().all(|other| other == path || !other.starts_with(path)), "mounts nest");
            let below = format!("{path}x/y");
            let (served_by, rest) = table.resolve(&below).expect("a mount serves what is below it");
            assert_eq!((served_by.path(), rest), (*path, "x/y"));
        }
    }

    /// What was written is what is read next.
    fn read_back(&mut self, call: &Call, body: &Map<String, Value>) {
        let table = self.table();
        let Some((mount, path)) = table.resolve(&call.path) else { return };
        let is_secret = !mount.is_versioned() || path.starts_with("data/");
        if call.operation != Operation::Write || !is_secret || call.path.starts_with("sys/") {
            return;
        }
        let query = Default::default();
        let request = Request { operation: Operation::Read, path, query: &query, body: &Map::new() };
        let plan = engine::handle(&mut self.context(), &root(Operation::Read), mount, &request);
        let reply = plan.expect("what was just written is there").reply;
        let data: Value = serde_json::from_slice(&reply.data.expect("a read has data")).expect("it is JSON");
        if mount.is_versioned() {
            assert_eq!((reply.status, &data["data"]), (200, &body["data"]));
        } else {
            assert_eq!(data.as_object(), Some(body));
        }
    }
}

/// The permit of the root token's holder: only policy makes one, and only for who has proven a token.
pub(super) fn root(operation: Operation) -> Permit {
    const TOKEN: &str = "root";
    static HOLDS_TOKEN: LazyLock<State> = LazyLock::new(|| {
        let mut state = State::default();
        let mut rng = StdRng::seed_from_u64(3);
        let mut context = Context { view: &state, barrier: &BARRIER, now_ms: state.now_ms, rng: &mut rng };
        let (_, txn) = token::plan_root_token(&mut context, Some(TOKEN)).expect("a token may be fixed");
        state.commit(txn);
        state
    });
    let state = &*HOLDS_TOKEN;
    let identified = token::identify(state, &BARRIER, &TokenCaches::default(), state.now_ms, TOKEN, None);
    let identified = identified.expect("the token was just made");
    let access = Access {
        operation,
        path: "v1/x",
        creates: false,
        root_protected: true,
        parameters: &Map::new(),
        wrap_ttl_s: None,
        list_limit: None,
    };
    authorize(&identified.identity, &access).expect("root may do everything")
}
