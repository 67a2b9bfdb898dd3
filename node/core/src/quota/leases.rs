//! Lease-count quotas: how many leases there may be at once below a path, or of a role's logins.
//!
//! The rules are one sealed record. How many leases there are is counted by the state itself, as records come and go
//! ([`conclave_proto::counted`]); a new lease demands that the count is below the limit at the moment when it is applied.
//! So a check costs one look-up, and of any number who ask at once, at whichever nodes, no one too many is let in.

use std::cmp::Reverse;

use conclave_proto::counted;
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use crate::auth::token::TokenEntry;
use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::lease::record;
use crate::plan::Context;
use crate::stored;
use crate::view::View;

/// Rules of a cluster at most: each new lease is held against them.
const RULES_MAX: usize = 1_000;

/// How many leases there may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRule {
    pub name: String,
    /// Empty: everywhere. Else what lies at or below this path, which ends in a slash if it is a mount's.
    pub path: String,
    /// Those of logins with this role at the mount; empty: all.
    pub role: String,
    pub max_leases: u64,
}

/// All rules, the most specific first: only the first one that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseQuotas {
    pub(super) rules: Vec<LeaseRule>,
}

impl LeaseRule {
    fn fits(&self, entry: &TokenEntry) -> bool {
        let mut path = record::segments(&entry.path);
        let is_below = record::segments(&self.path).all(|segment| path.next() == Some(segment));
        is_below && (self.role.is_empty() || self.is_for_role_of(entry))
    }

    fn is_for_role_of(&self, entry: &TokenEntry) -> bool {
        entry.login.as_ref().is_some_and(|origin| origin.subject == self.role)
    }

    fn precedence(&self) -> (bool, Reverse<usize>) {
        (self.role.is_empty(), Reverse(record::segments(&self.path).count()))
    }

    /// Where the leases that it limits are counted. `mount_uuid` is that of `path` if there is a role.
    fn count_key(&self, barrier: &Barrier, mount_uuid: &str) -> Option<Vec<u8>> {
        counted::count_key(&match self.role.as_str() {
            "" => record::key(barrier, &self.path),
            role => barrier.key(Kind::LeaseOfRole, [mount_uuid, role]),
        })
    }

    /// How many there are now.
    ///
    /// # Errors
    /// [`Error::View`].
    pub fn count(&self, view: &dyn View, barrier: &Barrier, mount_uuid: &str) -> Result<u64, Error> {
        let key = self.count_key(barrier, mount_uuid);
        key.map_or(Ok(0), |key| record::number_at(view, &key))
    }
}

impl LeaseQuotas {
    /// All rules with the revision of their record; 0 before anybody has made one.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn load(view: &dyn View, barrier: &Barrier) -> Result<(Self, u64), Error> {
        let stored = stored::load(view, barrier, &record_key(), 0)?;
        Ok(stored.map_or_else(Default::default, |stored| (stored.value, stored.revision)))
    }

    /// In the order of their precedence.
    pub fn rules(&self) -> &[LeaseRule] {
        &self.rules
    }

    pub(super) fn named(&self, name: &str) -> Option<&LeaseRule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    pub(super) fn insert(&mut self, rule: LeaseRule) -> Result<(), Error> {
        self.rules.retain(|other| other.name != rule.name);
        let is_twin = |other: &&LeaseRule| other.path == rule.path && other.role == rule.role;
        if let Some(twin) = self.rules.iter().find(is_twin) {
            let name = &twin.name;
            let sentence = format!("quota rule with similar properties exists under the name {name:?}");
            return Err(Error::invalid(sentence));
        }
        if self.rules.len() >= RULES_MAX {
            return Err(Error::invalid(format!("a cluster has at most {RULES_MAX} lease-count quotas")));
        }
        self.rules.push(rule);
        self.rules.sort_by_key(LeaseRule::precedence);
        Ok(())
    }

    pub(super) fn plan_save(&self, ctx: &mut Context<'_>, before: u64) -> Result<Txn, Error> {
        let (key, mut txn) = (record_key(), Txn::default());
        txn.require(key.clone(), before);
        stored::put(ctx, &mut txn, &key, "lease quotas", self, 0)?;
        Ok(txn)
    }
}

fn record_key() -> Vec<u8> {
    plain_key(Kind::LeaseQuotas)
}

/// Demands that there may be one more lease when this one, of a new token, is made.
///
/// # Errors
/// [`Error::LeaseQuota`]: there may not. [`Error::Corrupt`], [`Error::View`].
pub fn admit(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    entry: &TokenEntry,
    expires_at_ms: u64,
) -> Result<(), Error> {
    if !entry.has_lease() {
        return Ok(());
    }
    let (quotas, revision) = match ctx.view.stamp(&record_key())? {
        None => (LeaseQuotas::default(), 0),
        Some(_) => LeaseQuotas::load(ctx.view, ctx.barrier)?,
    };
    // A rule that is made in between holds for this lease too.
    txn.require(record_key(), revision);
    if let Some(key) = record::role_key(ctx.barrier, hash, entry)
        && quotas.rules.iter().any(|rule| !rule.role.is_empty() && rule.fits(entry))
    {
        record::put_for_role(ctx, txn, &key, expires_at_ms)?;
    }
    let Some(rule) = quotas.rules.iter().find(|rule| rule.fits(entry)) else { return Ok(()) };
    let mount_uuid = entry.login.as_ref().map(|origin| origin.mount_uuid.as_str()).unwrap_or_default();
    let Some(count_key) = rule.count_key(ctx.barrier, mount_uuid) else { return Ok(()) };
    if record::number_at(ctx.view, &count_key)? >= rule.max_leases {
        let path: Vec<&str> = record::segments(&entry.path).collect();
        return Err(Error::LeaseQuota { quota: rule.name.clone(), path: path.join("/") });
    }
    txn.limit(count_key, rule.max_leases);
    Ok(())
}
