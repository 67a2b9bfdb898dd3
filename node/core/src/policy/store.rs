//! Policies as they are kept: each under its name, and one record that changes with any of them.
//!
//! What is compiled from policies may be kept as long as [`epoch_key`] stands at its revision, and a transaction that was
//! decided by policies requires that revision, so that a change of a policy in between undoes the decision (I7).

use std::sync::Arc;

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::acl::Named;
use super::{Policy, builtin, name};
use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};
use crate::view::View;

/// Policies of a cluster at most.
pub const POLICIES_MAX: usize = 20_000;

/// What is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    text: String,
    /// How often it was written.
    version: u64,
    /// Unix milliseconds of the cluster's time.
    modified_ms: u64,
}

/// A policy as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub text: String,
    /// 0: nobody ever wrote it.
    pub version: u64,
    /// RFC 3339.
    pub modified: Option<String>,
}

/// All that changes when a policy does.
#[derive(Debug, Serialize, Deserialize)]
struct Epoch {}

/// The record whose revision changes with every change of any policy.
pub fn epoch_key() -> Vec<u8> {
    plain_key(Kind::PolicyEpoch)
}

/// A policy's text; nothing if there is none. `root` has none.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn text(view: &dyn View, barrier: &Barrier, name: &str) -> Result<Option<String>, Error> {
    Ok(told(view, barrier, name)?.map(|told| told.text))
}

/// A policy, and how often and when it was written.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn told(view: &dyn View, barrier: &Barrier, name: &str) -> Result<Option<Told>, Error> {
    let unwritten = |text: &str| Some(Told { text: text.to_owned(), version: 0, modified: None });
    match name {
        name::ROOT => return Ok(unwritten("")),
        name::RESPONSE_WRAPPING => return Ok(unwritten(builtin::RESPONSE_WRAPPING_TEXT)),
        _ => {}
    }
    Ok(match load(view, barrier, name)? {
        Some(Stored { value, .. }) => {
            let time = i64::try_from(value.modified_ms).ok();
            let modified = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let modified = modified.map(|time| time.to_string());
            Some(Told { text: value.text, version: value.version, modified })
        }
        None if name == name::DEFAULT => unwritten(builtin::DEFAULT_TEXT),
        None => None,
    })
}

/// A policy in force. One that there is not grants nothing.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn named(view: &dyn View, barrier: &Barrier, name: &str) -> Result<Option<Named>, Error> {
    match name {
        name::ROOT => return Ok(Some(builtin::root())),
        name::RESPONSE_WRAPPING => return Ok(Some(builtin::response_wrapping())),
        _ => {}
    }
    let Some(text) = text(view, barrier, name)? else { return Ok(None) };
    let policy = Policy::parse(&text)
        .map_err(|_| Error::Corrupt(format!("the policy {name} was written by a newer program")))?;
    Ok(Some(Named { name: name.into(), policy: Arc::new(policy), expires_ms: None }))
}

/// All names, in order.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn names(view: &dyn View, barrier: &Barrier) -> Result<Vec<String>, Error> {
    let mut names = vec![name::DEFAULT.to_owned(), name::RESPONSE_WRAPPING.to_owned(), name::ROOT.to_owned()];
    stored::each::<Record>(view, barrier, Kind::Policy, 0, |record| {
        names.push(record.name);
        Ok(())
    })?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Writes a policy. `name` must be [`name::normalised`].
///
/// # Errors
/// [`Error::Invalid`]: the text is none, the name cannot be written, or there are too many policies.
pub fn plan_write(ctx: &mut Context<'_>, name: &str, text: &str) -> Result<(Policy, Txn), Error> {
    if name::is_fixed(name) {
        return Err(Error::invalid(format!("cannot update {name:?} policy")));
    }
    let policy =
        Policy::parse(text).map_err(|error| Error::invalid(format!("failed to parse policy: {error}")))?;
    let mut txn = Txn::default();
    let before = load(ctx.view, ctx.barrier, name)?;
    if before.is_none() && names(ctx.view, ctx.barrier)?.len() >= POLICIES_MAX {
        return Err(Error::invalid(format!("a cluster has at most {POLICIES_MAX} policies")));
    }
    let key = key(ctx.barrier, name);
    txn.require(key.clone(), before.as_ref().map_or(0, |before| before.revision));
    let record = Record {
        name: name.to_owned(),
        text: text.to_owned(),
        version: before.map_or(1, |before| before.value.version + 1),
        modified_ms: ctx.now_ms,
    };
    stored::put(ctx, &mut txn, &key, name, &record, 0)?;
    begin_epoch(ctx, &mut txn)?;
    Ok((policy, txn))
}

/// Deletes a policy; one that there is not is no error.
///
/// # Errors
/// [`Error::Invalid`]: it must stay.
pub fn plan_delete(ctx: &mut Context<'_>, name: &str) -> Result<Txn, Error> {
    if name::is_kept(name) {
        return Err(Error::invalid(format!("cannot delete {name} policy")));
    }
    let mut txn = Txn::default();
    let key = key(ctx.barrier, name);
    if ctx.view.stamp(&key)?.is_some() {
        txn.delete(key);
        begin_epoch(ctx, &mut txn)?;
    }
    Ok(txn)
}

fn begin_epoch(ctx: &mut Context<'_>, txn: &mut Txn) -> Result<(), Error> {
    stored::put(ctx, txn, &epoch_key(), "policies", &Epoch {}, 0)
}

fn load(view: &dyn View, barrier: &Barrier, name: &str) -> Result<Option<Stored<Record>>, Error> {
    stored::load(view, barrier, &key(barrier, name), 0)
}

fn key(barrier: &Barrier, name: &str) -> Vec<u8> {
    barrier.key(Kind::Policy, [name])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::seeded;
    use crate::seal::testing::{NOW_MS, barrier};
    use crate::view::testing::MemoryView;

    const TEXT: &str = r#"path "secret/data/*" { capabilities = ["read"] }"#;

    fn change(state: &mut MemoryView, plan: impl FnOnce(&mut Context<'_>) -> Txn) {
        let (barrier, mut rng) = (barrier(), seeded(1));
        let txn = {
            let mut ctx = Context { view: &*state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
            plan(&mut ctx)
        };
        state.apply(&txn).unwrap();
    }

    #[test]
    fn a_policy_is_read_as_it_was_written_until_it_is_deleted() {
        let (mut state, barrier) = (MemoryView::default(), barrier());
        assert_eq!(text(&state, &barrier, "app").unwrap(), None);
        change(&mut state, |ctx| plan_write(ctx, "app", TEXT).unwrap().1);
        assert_eq!(text(&state, &barrier, "app").unwrap().as_deref(), Some(TEXT));
        assert_eq!(names(&state, &barrier).unwrap(), ["app", "default", "response-wrapping", "root"]);
        let epoch = state.stamp(&epoch_key()).unwrap().unwrap().revision;
        change(&mut state, |ctx| plan_delete(ctx, "app").unwrap());
        assert_eq!(text(&state, &barrier, "app").unwrap(), None);
        assert!(state.stamp(&epoch_key()).unwrap().unwrap().revision > epoch);
    }

    #[test]
    fn the_default_policy_is_there_before_anybody_wrote_it_and_can_be_changed() {
        let (mut state, barrier) = (MemoryView::default(), barrier());
        assert!(text(&state, &barrier, "default").unwrap().unwrap().contains("lookup-self"));
        change(&mut state, |ctx| plan_write(ctx, "default", TEXT).unwrap().1);
        assert_eq!(text(&state, &barrier, "default").unwrap().as_deref(), Some(TEXT));
        assert_eq!(names(&state, &barrier).unwrap(), ["default", "response-wrapping", "root"]);
    }

    #[test]
    fn what_is_no_policy_or_must_stay_is_refused() {
        let (state, barrier, mut rng) = (MemoryView::default(), barrier(), seeded(1));
        let mut ctx = Context { view: &state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
        assert!(matches!(plan_write(&mut ctx, "app", "path"), Err(Error::Invalid(_))));
        assert!(matches!(plan_write(&mut ctx, "root", TEXT), Err(Error::Invalid(_))));
        for kept in ["root", "default", "response-wrapping"] {
            assert!(matches!(plan_delete(&mut ctx, kept), Err(Error::Invalid(_))), "{kept}");
        }
        assert!(plan_delete(&mut ctx, "unknown").unwrap().is_empty());
    }
}
