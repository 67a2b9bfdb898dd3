//! What the tests of identity share: a state, and what works on it.

use conclave_proto::log::Txn;
use serde_json::{Map, Value};

use super::api::{IdentityRequest, handle};
use super::belonging::{Belonging, EntityCache};
use super::clear;
use super::login::{LoginAlias, plan_login};
use super::mounts::{AuthMount, AuthMounts};
use crate::crypto::Barrier;
use crate::crypto::testing::seeded;
use crate::error::Error;
use crate::plan::{Context, Plan};
use crate::seal::testing::{NOW_MS, barrier};
use crate::view::testing::MemoryView;

/// Two mounts at which somebody can log in, beside that of tokens.
pub const UP: &str = "auth_userpass_1";
pub const JWT: &str = "auth_jwt_2";

pub struct World {
    pub state: MemoryView,
    pub barrier: Barrier,
    pub cache: EntityCache,
    seed: u64,
}

impl World {
    pub fn new() -> Self {
        Self { state: MemoryView::default(), barrier: barrier(), cache: EntityCache::default(), seed: 1 }
    }

    fn mounts(&self) -> AuthMounts {
        let mount = |accessor: &str, kind: &str| AuthMount {
            accessor: accessor.to_owned(),
            path: format!("auth/{kind}/"),
            kind: kind.to_owned(),
        };
        AuthMounts::new(&self.barrier, [mount(UP, "userpass"), mount(JWT, "jwt")])
    }

    pub fn plan<T>(&mut self, plan: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.seed += 1;
        let mut rng = seeded(self.seed);
        plan(&mut Context { view: &self.state, barrier: &self.barrier, now_ms: NOW_MS, rng: &mut rng })
    }

    /// What would be done and answered.
    pub fn ask(&mut self, request: IdentityRequest, captured: &str, body: Value) -> Result<Plan, Error> {
        let mounts = self.mounts();
        let body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
        self.plan(|ctx| handle(ctx, request, &mounts, captured, &body))
    }

    /// Does it. What there is to say about it.
    pub fn run(&mut self, request: IdentityRequest, captured: &str, body: Value) -> Result<Value, Error> {
        let Plan { txn, reply } = self.ask(request, captured, body)?;
        self.state.apply(&txn).expect("nothing came in between");
        Ok(reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap()))
    }

    /// Makes something and tells its id.
    pub fn make(&mut self, request: IdentityRequest, body: Value) -> String {
        self.run(request, "", body).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub fn refused(&mut self, request: IdentityRequest, captured: &str, body: Value) -> String {
        match self.run(request, captured, body) {
            Err(Error::Invalid(sentence)) => sentence,
            Err(error) => panic!("{error}"),
            Ok(told) => panic!("{told}"),
        }
    }

    /// What the entity brings to its tokens now.
    pub fn brings(&self, id: &str) -> Option<std::sync::Arc<Belonging>> {
        let cached = self.cache.resolve(&self.state, &self.barrier, id).unwrap();
        let anew = Belonging::load(&self.state, &self.barrier, id).unwrap();
        let told = |belonging: &Belonging| {
            (belonging.policies.clone(), belonging.subject.clone(), belonging.entity.disabled)
        };
        assert!(
            cached.as_deref().map(told) == anew.as_ref().map(told),
            "what is kept is never older than the state"
        );
        cached
    }

    pub fn policies(&self, id: &str) -> Vec<String> {
        self.brings(id).expect("there is such an entity").policies.clone()
    }

    pub fn login(&mut self, accessor: &str, name: &str, groups: Option<&[&str]>) -> Result<String, Error> {
        let (id, txn) = self.plan_login(accessor, name, groups)?;
        self.state.apply(&txn).expect("nothing came in between");
        Ok(id)
    }

    pub fn plan_login(
        &mut self,
        accessor: &str,
        name: &str,
        groups: Option<&[&str]>,
    ) -> Result<(String, Txn), Error> {
        let groups = groups.map(|groups| groups.iter().map(|group| (*group).to_owned()).collect());
        let metadata = [("login".to_owned(), name.to_owned())].into();
        let alias = LoginAlias { mount_accessor: accessor, name, metadata, groups };
        let mut txn = Txn::default();
        let id = self.plan(|ctx| plan_login(ctx, &mut txn, &alias))?.id;
        Ok((id, txn))
    }

    pub fn clear_all(&mut self) -> usize {
        let mut batches = 0;
        while let Some(txn) = self.plan(clear::next_batch).unwrap() {
            self.state.apply(&txn).unwrap();
            batches += 1;
        }
        batches
    }
}
