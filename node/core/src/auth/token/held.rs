//! What a token's own policies and those of its entity allow together, compiled once and kept by the revisions of all
//! that went into it.

use std::collections::BTreeSet;
use std::sync::Arc;

use conclave_faults::{Bug, planted};
use conclave_proto::log::Precondition;
use quick_cache::sync::Cache;

use super::entry::TokenEntry;
use crate::crypto::Barrier;
use crate::error::Error;
use crate::identity::Belonging;
use crate::policy::{Acl, Named, Subject, store as policies};
use crate::view::View;

/// Sets of policies that are kept compiled at most: nearly one for each entity, since the policy `default` names it.
const CACHED_ACLS_MAX: usize = 4_000;
/// Policies that are kept parsed at most.
const CACHED_POLICIES_MAX: usize = 4_000;

/// Policies as they were used lately.
pub struct HeldCaches {
    /// By the names in order, and the entity.
    acls: Cache<(Vec<String>, String), Arc<Compiled>>,
    policies: Cache<String, Parsed>,
}

struct Compiled {
    /// Of all policies: see [`policies::epoch_key`].
    epoch: u64,
    /// What it was compiled for: another one, though of the same entity, may differ.
    belonging: Option<Arc<Belonging>>,
    acl: Arc<Acl>,
}

#[derive(Clone)]
struct Parsed {
    epoch: u64,
    named: Option<Named>,
}

impl Default for HeldCaches {
    fn default() -> Self {
        Self { acls: Cache::new(CACHED_ACLS_MAX), policies: Cache::new(CACHED_POLICIES_MAX) }
    }
}

impl HeldCaches {
    /// What the token may do, and that no policy has changed since.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn acl(
        &self,
        view: &dyn View,
        barrier: &Barrier,
        now_ms: u64,
        own: &[String],
        belonging: Option<&Arc<Belonging>>,
    ) -> Result<(Arc<Acl>, Precondition), Error> {
        let epoch_key = policies::epoch_key();
        let epoch = view.stamp(&epoch_key)?.map_or(0, |stamp| stamp.revision);
        let precondition = Precondition { key: epoch_key.into(), revision: epoch };
        let names = names(own, belonging.map(Arc::as_ref));
        let key = (names, belonging.map(|belonging| belonging.entity.id.clone()).unwrap_or_default());
        if let Some(cached) = self.acls.get(&key)
            && (cached.epoch == epoch || planted::is(Bug::PolicyRemembered))
            && is_same(cached.belonging.as_ref(), belonging)
            && cached.acl.expires_ms().is_none_or(|expires_ms| now_ms < expires_ms)
        {
            return Ok((Arc::clone(&cached.acl), precondition));
        }
        let mut held = Vec::with_capacity(key.0.len());
        for name in &key.0 {
            held.extend(self.policy(view, barrier, epoch, name)?);
        }
        let acl = Arc::new(compile(&held, belonging.map(Arc::as_ref), now_ms)?);
        let compiled = Compiled { epoch, belonging: belonging.cloned(), acl: Arc::clone(&acl) };
        self.acls.insert(key, Arc::new(compiled));
        Ok((acl, precondition))
    }

    fn policy(
        &self,
        view: &dyn View,
        barrier: &Barrier,
        epoch: u64,
        name: &str,
    ) -> Result<Option<Named>, Error> {
        if let Some(cached) = self.policies.get(name)
            && cached.epoch == epoch
        {
            return Ok(cached.named);
        }
        let named = policies::named(view, barrier, name)?;
        self.policies.insert(name.to_owned(), Parsed { epoch, named: named.clone() });
        Ok(named)
    }
}

/// What the token may do; `None`: its entity is disabled or no more.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn acl_of(
    view: &dyn View,
    barrier: &Barrier,
    now_ms: u64,
    entry: &TokenEntry,
) -> Result<Option<Arc<Acl>>, Error> {
    let belonging = match entry.entity_id.as_str() {
        "" => None,
        id => match Belonging::load(view, barrier, id)? {
            Some(belonging) if !belonging.entity.disabled => Some(belonging),
            _ => return Ok(None),
        },
    };
    if entry.is_root() {
        return Ok(Some(Arc::new(Acl::root())));
    }
    let mut held = Vec::new();
    for name in names(&entry.policies, belonging.as_ref()) {
        // One that there is not, or not any more, grants nothing.
        held.extend(policies::named(view, barrier, &name)?);
    }
    Ok(Some(Arc::new(compile(&held, belonging.as_ref(), now_ms)?)))
}

/// The token's own policies and those of its entity, in order, each once.
pub fn names(own: &[String], belonging: Option<&Belonging>) -> Vec<String> {
    let further = belonging.map_or(&[][..], |belonging| &belonging.policies);
    own.iter().chain(further).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

fn compile(held: &[Named], belonging: Option<&Belonging>, now_ms: u64) -> Result<Acl, Error> {
    let nobody = Subject::default();
    Acl::compile(held, belonging.map_or(&nobody, |belonging| &belonging.subject), now_ms)
}

fn is_same(one: Option<&Arc<Belonging>>, other: Option<&Arc<Belonging>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}
