//! Whether a request is allowed, and if not, why: one decision, on one set of policies.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::acl::{Acl, Grant};
use super::capability::Capability;
use super::name;
use crate::plan::Operation;

/// What somebody wants to do, as far as policies look at it.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    pub operation: Operation,
    /// Canonical, without `/v1/`, from the root of the API. The same text that reaches the engine.
    pub path: &'a str,
    /// For a write: the engine knows that there is nothing yet, so that `create` is needed and not `update`. Of
    /// endpoints that do not tell the two apart, never.
    pub creates: bool,
    /// The route is one of those that need `sudo` as well.
    pub root_protected: bool,
    /// The fields of the body; of a read, the query's. Upper and lower case as they came.
    pub parameters: &'a Map<String, Value>,
    /// For how long the answer is to be wrapped, in seconds; `None`: not at all.
    pub wrap_ttl_s: Option<u64>,
    /// The query's `limit`, of a list.
    pub list_limit: Option<&'a str>,
}

impl<'a> Access<'a> {
    /// A read of `path` without parameters, on a route that needs no `sudo`.
    #[cfg(test)]
    pub fn reading(path: &'a str) -> Self {
        super::testing::access(Operation::Read, path)
    }

    pub fn needed(&self) -> Capability {
        Capability::needed(self.operation, self.creates)
    }
}

/// An allowed access, and what policies add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Names in a page of a list, in place of what the request asked for.
    pub page: Option<u64>,
}

/// A refused access. For the caller's own eyes, or those of an administrator.
#[derive(Debug, Clone, Copy)]
pub struct Denial<'a> {
    pub reason: Reason<'a>,
    /// The rules that decided; `None` if no rule matches.
    pub grant: Option<&'a Grant>,
}

/// Why not. Names parameters, and never a value of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'a> {
    NoRule,
    Denied,
    Lacks(Capability),
    MustBeWrapped,
    WrapTooLong { max_s: u64 },
    WrapTooShort { min_s: u64 },
    WrapBoundsContradict,
    ParameterMissing(&'a str),
    ParametersDenied,
    ParameterDenied(&'a str),
    ParameterNotAllowed(&'a str),
    ValueNotAllowed(&'a str),
    LimitMissing,
    LimitRefused { max: u64 },
}

impl Acl {
    /// Decides all of `access`.
    ///
    /// # Errors
    /// Why it is denied. Whatever is not plainly allowed is.
    pub fn decide<'a>(&'a self, access: &Access<'a>) -> Result<Allowed, Denial<'a>> {
        let Some(grant) = self.screen(access)? else { return Ok(Allowed { page: None }) };
        let constraints = &grant.constraints;
        let page = constraints.check(access).and_then(|()| match access.operation {
            Operation::List | Operation::Scan => constraints.page(access.list_limit),
            _ => Ok(None),
        });
        page.map(|page| Allowed { page }).map_err(|reason| Denial { reason, grant: Some(grant) })
    }

    /// The policies whose rules grant what `access` needs, by name; for root itself, `root`.
    pub fn granting(&self, access: &Access<'_>) -> Vec<Arc<str>> {
        if self.is_root() {
            return vec![name::ROOT.into()];
        }
        let sources = self.find(access.path, access.operation).map_or(&[][..], |grant| &grant.sources);
        let granting = sources.iter().filter(|source| source.capabilities.has(access.needed()));
        granting.map(|source| Arc::clone(&source.policy)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Decides as much as can be before the parameters are known: who fails here fails whatever they are. The rules that
    /// decide the rest; `None` for root, for whom there are none.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub fn screen<'a>(&'a self, access: &Access<'_>) -> Result<Option<&'a Grant>, Denial<'a>> {
        if self.is_root() {
            return Ok(None);
        }
        let grant = self.find(access.path, access.operation);
        let grant = grant.ok_or(Denial { reason: Reason::NoRule, grant: None })?;
        let deny = |reason| Err(Denial { reason, grant: Some(grant) });
        if grant.capabilities.denies() {
            return deny(Reason::Denied);
        }
        let needed = access.needed();
        if !grant.capabilities.has(needed) {
            return deny(Reason::Lacks(needed));
        }
        if access.root_protected && !grant.capabilities.has(Capability::Sudo) {
            return deny(Reason::Lacks(Capability::Sudo));
        }
        Ok(Some(grant))
    }
}
