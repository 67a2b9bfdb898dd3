//! What the engines' tests share: one door through which a test sends requests to a state in memory.

use rand::rngs::StdRng;
use serde_json::{Map, Value};

use super::mount::{self, MountTable};
use crate::crypto::testing::seeded;
use crate::crypto::{Barrier, Keyring};
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Query, Reply, Request};
use crate::policy::testing::access;
use crate::policy::{Identity, Permit, authorize};
use crate::view::testing::MemoryView;

/// The cluster's time at which tests start, Unix milliseconds: 2023-11-14T22:13:20Z.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A cluster of one, without a log: plans are applied as they are made.
pub(crate) struct Bench {
    pub(crate) view: MemoryView,
    pub(crate) now_ms: u64,
    barrier: Barrier,
    rng: StdRng,
}

/// What a request came to: the status, and the reply if there was one.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) data: Value,
    pub(crate) data_text: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) lease_duration_s: u64,
    /// The error's sentence; empty if there was none.
    pub(crate) error: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut rng = seeded(42);
        let barrier = Barrier::new([7; 16], Keyring::generate(&mut rng, START_MS));
        Self { view: MemoryView::default(), now_ms: START_MS, barrier, rng }
    }

    /// With `v1/` and `v2/` mounted.
    pub(crate) fn with_mounts() -> Self {
        let mut bench = Self::new();
        for (path, version) in [("v1", "1"), ("v2", "2")] {
            let body = serde_json::json!({"type": "kv", "options": {"version": version}});
            assert_eq!(bench.send(&format!("POST sys/mounts/{path} {body}")).status, 204);
        }
        bench
    }

    /// Another with the same keys and the same state, to try what would happen.
    pub(crate) fn fork(&self) -> Self {
        Self { view: self.view.clone(), now_ms: self.now_ms, ..Self::new() }
    }

    pub(crate) fn table(&self) -> MountTable {
        MountTable::load(&self.view, &self.barrier).unwrap()
    }

    pub(crate) fn context(&mut self) -> Context<'_> {
        Context { view: &self.view, barrier: &self.barrier, now_ms: self.now_ms, rng: &mut self.rng }
    }

    /// Sends `METHOD path?query {body}` and applies what is planned; time moves on by a millisecond.
    pub(crate) fn send(&mut self, line: &str) -> Answer {
        self.now_ms += 1;
        match self.plan(line) {
            Ok(plan) => {
                if !plan.txn.is_empty() {
                    assert!(self.view.apply(&plan.txn).is_ok(), "{line}: conflict");
                }
                Answer::of_reply(plan.reply)
            }
            Err(error) => Answer::of_error(&error),
        }
    }

    /// Plans `METHOD path?query {body}` without applying it.
    pub(crate) fn plan(&mut self, line: &str) -> Result<Plan, Error> {
        let mut parts = line.splitn(3, ' ');
        let operation = match parts.next().unwrap() {
            "GET" => Operation::Read,
            "POST" | "PUT" => Operation::Write,
            "PATCH" => Operation::Patch,
            "DELETE" => Operation::Delete,
            "LIST" => Operation::List,
            "SCAN" => Operation::Scan,
            other => panic!("no method {other}"),
        };
        let target = parts.next().expect("a path");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        );
        let body: Map<String, Value> =
            parts.next().map_or_else(Map::new, |body| serde_json::from_str(body).unwrap());
        let table = self.table();
        let permit = authorize(&Identity::root(), &access(operation, path)).unwrap();
        if let Some(path) = path.strip_prefix("sys/") {
            return self.plan_sys(&table, &permit, operation, path, &body);
        }
        let (mount, rest) = table.resolve(path).ok_or(Error::NotFound)?;
        let request = Request { operation, path: rest, query: &query, body: &body };
        super::handle(&mut self.context(), &permit, mount, &request)
    }

    fn plan_sys(
        &mut self,
        table: &MountTable,
        permit: &Permit,
        operation: Operation,
        path: &str,
        body: &Map<String, Value>,
    ) -> Result<Plan, Error> {
        let context = &mut self.context();
        if path == "mounts" {
            return Ok(mount::list(table).into());
        }
        if path == "remount" {
            return mount::remount(context, permit, table, body);
        }
        if let Some(id) = path.strip_prefix("remount/status/") {
            return mount::remount_status(table, id).map(Plan::from);
        }
        if let Some(path) = path.strip_prefix("internal/ui/mounts/") {
            return mount::ui_mount(table, path, |_| true).map(Plan::from).ok_or(Error::Denied);
        }
        let path = path.strip_prefix("mounts/").expect("a sys path that the bench knows");
        match (operation, path.strip_suffix("/tune")) {
            (Operation::Read, Some(path)) => mount::read_tune(table, path).map(Plan::from),
            (Operation::Read, None) => mount::read(table, path).map(Plan::from),
            (Operation::Write, Some(path)) => mount::tune(context, permit, table, path, body),
            (Operation::Write, None) => mount::enable(context, permit, table, path, body),
            (Operation::Delete, None) => mount::disable(context, permit, table, path),
            _ => Err(Error::Unsupported),
        }
    }

    /// Runs housekeeping to its end and gives the number of batches.
    pub(crate) fn housekeep(&mut self) -> usize {
        let mut batches = 0;
        loop {
            let table = self.table();
            let Some(txn) = mount::housekeeping::next_batch(&mut self.context(), &table).unwrap() else {
                return batches;
            };
            self.view.apply(&txn).unwrap();
            batches += 1;
        }
    }

    /// Plays a script of `METHOD path body` lines, each followed by `-> STATUS text`. The text, if any, must be: the
    /// data as JSON (`{...}`), a warning (`! ...`), or the error's sentence.
    pub(crate) fn check(&mut self, script: &str) {
        let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
        while let Some(line) = lines.next() {
            if let Some(seconds) = line.strip_prefix("wait ") {
                self.now_ms += seconds.parse::<u64>().unwrap() * 1_000;
                continue;
            }
            let answer = self.send(line);
            let expect = lines.next().and_then(|line| line.strip_prefix("-> ")).expect("an expectation");
            let (status, text) = expect.split_once(' ').unwrap_or((expect, ""));
            assert_eq!(answer.status.to_string(), status, "{line}\n{} {}", answer.error, answer.data_text);
            if let Some(warning) = text.strip_prefix("! ") {
                assert_eq!(answer.warnings, [warning], "{line}");
            } else if text.starts_with('{') {
                let expect: Value = serde_json::from_str(text).unwrap();
                assert_eq!(answer.data, expect, "{line}");
                assert!(answer.warnings.is_empty(), "{line}: {:?}", answer.warnings);
            } else if !text.is_empty() {
                assert_eq!(answer.error, text, "{line}");
            }
        }
    }
}

impl Answer {
    fn of_reply(reply: Reply) -> Self {
        let data_text = reply.data.map(|text| String::from_utf8(text.to_vec()).unwrap()).unwrap_or_default();
        let data = if data_text.is_empty() { Value::Null } else { serde_json::from_str(&data_text).unwrap() };
        let (status, warnings) = (reply.status, reply.warnings);
        Self {
            status,
            data,
            data_text,
            warnings,
            lease_duration_s: reply.lease_duration_s,
            error: String::new(),
        }
    }

    fn of_error(error: &Error) -> Self {
        let status = match error {
            Error::Invalid(_) => 400,
            Error::Denied => 403,
            Error::NotFound => 404,
            Error::Unsupported => 405,
            Error::TooLarge(_) => 413,
            _ => 500,
        };
        Self {
            status,
            data: Value::Null,
            data_text: String::new(),
            warnings: Vec::new(),
            lease_duration_s: 0,
            error: error.to_string(),
        }
    }
}
