//! What the tests of logins share: a state in memory, and one door through which requests come to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::mfa::Codes;
use super::password::{PasswordDone, SALT_BYTES};
use super::token::{self, Identified, TokenCaches};
use super::{Method, MethodRequest, Step, Work};
use crate::crypto::Barrier;
use crate::crypto::testing::seeded;
use crate::engine::mount::{self, MountTable};
use crate::errand::{Brought, Errand, Errands, Outcome};
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Query, Reply};
use crate::policy::testing::access;
use crate::policy::{Identity, Permit, authorize};
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::testing::MemoryView;

/// A cluster of one, without a log.
pub(crate) struct World {
    pub(crate) state: MemoryView,
    pub(crate) barrier: Barrier,
    pub(crate) now_ms: u64,
    /// Passwords that were hashed.
    pub(crate) hashed: usize,
    /// What other servers answer: status and body, by URL.
    pub(crate) web: BTreeMap<String, (u16, String)>,
    /// What they answer where that does not tell.
    pub(crate) elsewhere: Outcome,
    /// What they were asked in the last request.
    pub(crate) asked: Vec<Errand>,
    errands: Errands,
    query: Vec<(String, String)>,
    pub(crate) from: Option<IpAddr>,
    /// Sent with each login.
    pub(crate) codes: Codes,
    /// Shown in the handshake.
    pub(crate) certificates: Option<Vec<Bytes>>,
    caches: TokenCaches,
    seed: u64,
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) data: Value,
    pub(crate) auth: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn token(&self) -> &str {
        self.auth["client_token"].as_str().unwrap()
    }
}

impl World {
    /// With one mount of each method, by its name.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            state: MemoryView::default(),
            barrier: barrier(),
            now_ms: NOW_MS,
            hashed: 0,
            web: BTreeMap::new(),
            elsewhere: Err("it cannot be reached".to_owned()),
            asked: Vec::new(),
            errands: Errands::default(),
            query: Vec::new(),
            from: None,
            codes: Codes::default(),
            certificates: None,
            caches: TokenCaches::default(),
            seed: 1,
        };
        for method in Method::names() {
            world.enable(method, json!({ "type": method })).unwrap();
        }
        world
    }

    pub(crate) fn from(&mut self, address: &str) -> &mut Self {
        self.from = address.parse().ok();
        self
    }

    pub(crate) fn table(&self) -> MountTable {
        MountTable::load(&self.state, &self.barrier).unwrap()
    }

    pub(crate) fn enable(&mut self, path: &str, body: Value) -> Result<Reply, Error> {
        let (table, permit) = (self.table(), permit(Operation::Write));
        self.commit(|ctx| mount::enable_auth(ctx, &permit, &table, path, body.as_object().unwrap()))
    }

    pub(crate) fn tune(&mut self, path: &str, body: Value) -> Result<Reply, Error> {
        let (table, permit) = (self.table(), permit(Operation::Write));
        let path = format!("auth/{path}");
        self.commit(|ctx| mount::tune(ctx, &permit, &table, &path, body.as_object().unwrap()))
    }

    pub(crate) fn disable(&mut self, path: &str) -> Result<Reply, Error> {
        let (table, permit) = (self.table(), permit(Operation::Delete));
        self.commit(|ctx| mount::disable_auth(ctx, &permit, &table, path))
    }

    pub(crate) fn plan<T>(&mut self, plan: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.seed += 1;
        let mut rng = seeded(self.seed);
        plan(&mut Context { view: &self.state, barrier: &self.barrier, now_ms: self.now_ms, rng: &mut rng })
    }

    pub(crate) fn commit(
        &mut self,
        plan: impl FnOnce(&mut Context<'_>) -> Result<Plan, Error>,
    ) -> Result<Reply, Error> {
        let planned = self.plan(plan)?;
        self.state.apply(&planned.txn).expect("nothing came in between");
        Ok(planned.reply)
    }

    /// One decision on `path`, which is below `auth/`; nothing is committed.
    pub(crate) fn decide(
        &mut self,
        operation: Operation,
        path: &str,
        body: &Value,
        password: Option<&PasswordDone>,
    ) -> Result<Step, Error> {
        let full_path = format!("auth/{path}");
        let (table, from, codes) = (self.table(), self.from, self.codes.clone());
        let certificates = self.certificates.clone();
        let (mount, rest) = table.resolve(&full_path).ok_or(Error::NotFound)?;
        let method = Method::of(mount).ok_or(Error::NotFound)?;
        let (query, nothing) = (Query(self.query.clone()), Map::new());
        let errands = self.errands.clone();
        let request = MethodRequest {
            operation,
            path: rest,
            full_path: &full_path,
            query: &query,
            body: body.as_object().unwrap_or(&nothing),
            from,
            password,
            errands: &errands,
            codes: &codes,
            certificates: certificates.as_deref(),
        };
        self.plan(|ctx| {
            if method.is_login(rest) {
                method.login(ctx, mount, &request)
            } else {
                method.handle(ctx, &permit(operation), mount, &request)
            }
        })
    }

    /// A request, as the server plans it: decided, hashed if need be, decided again, committed.
    pub(crate) fn ask(&mut self, operation: Operation, path: &str, body: Value) -> Result<Answer, Error> {
        let mut password = None;
        (self.errands, self.asked) = Default::default();
        loop {
            match self.decide(operation, path, &body, password.as_ref())? {
                Step::Work(Work::Errand(errand)) => {
                    assert!(self.errands.has_room(), "more errands than a request may need");
                    self.run(errand);
                }
                Step::Work(Work::Password(work)) => {
                    self.hashed += 1;
                    password = Some(work.run([7; SALT_BYTES])?);
                }
                step => return self.take(step),
            }
        }
    }

    /// Commits what a decision came to.
    pub(crate) fn take(&mut self, step: Step) -> Result<Answer, Error> {
        let (plan, refusal) = match step {
            Step::Done(plan) => (plan, None),
            Step::Refused(txn, error) => (Plan { txn, reply: Reply::no_content() }, Some(error)),
            Step::Work(_) => panic!("there is nothing to be done first"),
        };
        self.state.apply(&plan.txn).expect("nothing came in between");
        let json = |text: Option<&[u8]>| serde_json::from_slice(text.unwrap_or(b"null")).unwrap();
        let reply = plan.reply;
        refusal.map_or_else(
            || {
                Ok(Answer {
                    data: json(reply.data.as_deref().map(Vec::as_slice)),
                    auth: json(reply.auth.as_deref().map(Vec::as_slice)),
                    warnings: reply.warnings,
                })
            },
            Err,
        )
    }

    pub(crate) fn run(&mut self, errand: Errand) {
        let known = self.web.get(&errand.url).map(|(status, body)| {
            let body = body.as_bytes().to_vec().into();
            Ok(Brought { status: *status, content_type: String::new(), body })
        });
        self.asked.push(errand.clone());
        self.errands.add(errand, Arc::new(known.unwrap_or_else(|| self.elsewhere.clone())));
    }

    /// A GET with these parameters.
    pub(crate) fn visit(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        self.query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = self.ask(Operation::Read, path, Value::Null);
        self.query.clear();
        answer
    }

    pub(crate) fn write(&mut self, path: &str, body: Value) -> Result<Answer, Error> {
        self.ask(Operation::Write, path, body)
    }

    pub(crate) fn read(&mut self, path: &str) -> Result<Value, Error> {
        Ok(self.ask(Operation::Read, path, Value::Null)?.data)
    }

    pub(crate) fn list(&mut self, path: &str) -> Result<Value, Error> {
        Ok(self.ask(Operation::List, path, Value::Null)?.data["keys"].take())
    }

    pub(crate) fn delete(&mut self, path: &str) -> Result<Answer, Error> {
        self.ask(Operation::Delete, path, Value::Null)
    }

    pub(crate) fn identify(&self, token: &str) -> Result<Identified, Error> {
        token::identify(&self.state, &self.barrier, &self.caches, self.now_ms, token, self.from)
    }

    pub(crate) fn holds(&self, token: &str) -> bool {
        self.identify(token).is_ok()
    }
}

/// That a request is allowed.
pub(crate) fn permit(operation: Operation) -> Permit {
    authorize(&Identity::root(), &access(operation, "x")).unwrap()
}
