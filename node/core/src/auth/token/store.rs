//! Where tokens lie: the token under its keyed hash, and beside it the ways to it by accessor and by parent.

use std::sync::Arc;

use conclave_proto::log::{Precondition, Txn};
use serde::{Deserialize, Serialize};

use super::entry::TokenEntry;
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};
use crate::view::View;

/// Ancestors of a token at most.
pub const ANCESTORS_MAX: usize = 32;

/// A token that was found.
#[derive(Clone)]
pub struct Found {
    /// The token's keyed hash, in hex.
    pub hash: String,
    pub entry: Arc<TokenEntry>,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    /// That it and its ancestors stand as they did.
    pub preconditions: Vec<Precondition>,
    /// It was made with another token, which is no more, and was let go.
    pub is_released: bool,
}

impl Found {
    pub fn is_orphan(&self) -> bool {
        self.entry.parent.is_none() || self.is_released
    }
}

/// From an accessor to its token.
#[derive(Serialize, Deserialize)]
struct ByAccessor {
    hash: String,
    accessor: String,
}

/// That a token was made with another.
#[derive(Serialize, Deserialize)]
struct Child {}

pub fn token_key(barrier: &Barrier, hash: &str) -> Vec<u8> {
    barrier.key(Kind::Token, [hash])
}

pub fn child_key(barrier: &Barrier, parent: &str, hash: &str) -> Vec<u8> {
    barrier.key(Kind::TokenChild, [parent, hash])
}

pub fn accessor_key(barrier: &Barrier, accessor: &str) -> Vec<u8> {
    barrier.key(Kind::TokenAccessor, [accessor])
}

/// A token's record as it is stored: whether its line holds is not looked at.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn load(
    view: &dyn View,
    barrier: &Barrier,
    key: &[u8],
    now_ms: u64,
) -> Result<Option<Stored<TokenEntry>>, Error> {
    let found = stored::load::<TokenEntry>(view, barrier, key, now_ms)?;
    match found {
        Some(found) if !found.value.is_known_version() => Err(stored::unknown()),
        found => Ok(found),
    }
}

/// The token with this hash, if it holds at `now_ms`.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn find(view: &dyn View, barrier: &Barrier, hash: &str, now_ms: u64) -> Result<Option<Found>, Error> {
    let key = token_key(barrier, hash);
    let Some(token) = load(view, barrier, &key, now_ms)? else { return Ok(None) };
    if token.value.released {
        return Ok(None);
    }
    let mut preconditions = vec![Precondition { key: key.into(), revision: token.revision }];
    let entry = Arc::new(token.value);
    let Some(is_released) = add_ancestors(view, barrier, &entry, now_ms, &mut preconditions)? else {
        return Ok(None);
    };
    let expires_at_ms = token.expires_at_ms;
    Ok(Some(Found { hash: hash.to_owned(), entry, expires_at_ms, preconditions, is_released }))
}

/// Whether the line of ancestors ends with one that let its children go; `None`: one of them holds no more. The
/// preconditions of all that were looked at are added.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn add_ancestors(
    view: &dyn View,
    barrier: &Barrier,
    entry: &TokenEntry,
    now_ms: u64,
    preconditions: &mut Vec<Precondition>,
) -> Result<Option<bool>, Error> {
    let mut parent = entry.parent.clone();
    let mut is_first = true;
    for _ in 0..=ANCESTORS_MAX {
        let Some(hash) = parent else { return Ok(Some(false)) };
        let key = token_key(barrier, &hash);
        let Some(found) = load(view, barrier, &key, now_ms)? else { return Ok(None) };
        preconditions.push(Precondition { key: key.into(), revision: found.revision });
        if found.value.released {
            return Ok(Some(is_first));
        }
        parent = found.value.parent;
        is_first = false;
    }
    Err(Error::Corrupt("a token has more ancestors than can be made".to_owned()))
}

/// The token with this accessor, if it holds.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn find_by_accessor(
    view: &dyn View,
    barrier: &Barrier,
    accessor: &str,
    now_ms: u64,
) -> Result<Option<Found>, Error> {
    let key = accessor_key(barrier, accessor);
    match stored::load::<ByAccessor>(view, barrier, &key, now_ms)? {
        Some(by_accessor) => find(view, barrier, &by_accessor.value.hash, now_ms),
        None => Ok(None),
    }
}

/// Writes a new token and the ways to it.
///
/// # Errors
/// As [`stored::put`].
pub fn put_new(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    entry: &TokenEntry,
    expires_at_ms: u64,
) -> Result<(), Error> {
    txn.require(token_key(ctx.barrier, hash), 0);
    put_again(ctx, txn, hash, entry, expires_at_ms)?;
    put_ways(ctx, txn, hash, entry, expires_at_ms)
}

/// Writes a token anew that stood at this revision, with its new end.
///
/// # Errors
/// As [`stored::put`].
pub fn put_again(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    entry: &TokenEntry,
    expires_at_ms: u64,
) -> Result<(), Error> {
    let key = token_key(ctx.barrier, hash);
    stored::put(ctx, txn, &key, hash, entry, expires_at_ms)
}

/// The ways to a token end when it does.
///
/// # Errors
/// As [`stored::put`].
pub fn put_ways(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    entry: &TokenEntry,
    expires_at_ms: u64,
) -> Result<(), Error> {
    let by_accessor = ByAccessor { hash: hash.to_owned(), accessor: entry.accessor.clone() };
    let key = accessor_key(ctx.barrier, &entry.accessor);
    stored::put(ctx, txn, &key, &entry.accessor, &by_accessor, expires_at_ms)?;
    if let Some(parent) = &entry.parent {
        let key = child_key(ctx.barrier, parent, hash);
        stored::put(ctx, txn, &key, &format!("{parent}/{hash}"), &Child {}, expires_at_ms)?;
    }
    Ok(())
}

/// Deletes a token and the ways to it; not what was made with it.
pub fn delete(barrier: &Barrier, txn: &mut Txn, hash: &str, entry: &TokenEntry) {
    txn.delete(token_key(barrier, hash));
    delete_ways(barrier, txn, hash, entry);
}

/// Deletes the ways to a token.
pub fn delete_ways(barrier: &Barrier, txn: &mut Txn, hash: &str, entry: &TokenEntry) {
    txn.delete(accessor_key(barrier, &entry.accessor));
    if let Some(parent) = &entry.parent {
        txn.delete(child_key(barrier, parent, hash));
    }
}

/// All accessors of tokens that are stored and have not expired, in order.
///
/// # Errors
/// [`Error::TooLarge`]: there are more than one answer can name.
pub fn accessors(view: &dyn View, barrier: &Barrier, now_ms: u64) -> Result<Vec<String>, Error> {
    let mut accessors = Vec::new();
    stored::each::<ByAccessor>(view, barrier, Kind::TokenAccessor, now_ms, |found| {
        accessors.push(found.accessor);
        if accessors.len() > ACCESSORS_MAX {
            return Err(Error::TooLarge(format!("there are more than {ACCESSORS_MAX} tokens")));
        }
        Ok(())
    })?;
    accessors.sort_unstable();
    Ok(accessors)
}

/// Names of one answer at most.
const ACCESSORS_MAX: usize = 1_000_000;
