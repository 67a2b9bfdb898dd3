//! Where tokens lie: the token under its keyed hash, and beside it the ways to it by accessor, by parent, and by the path
//! where it was made (its lease).

use std::sync::Arc;

use bytes::Bytes;
use conclave_proto::log::{Precondition, Txn};
use serde::{Deserialize, Serialize};

use super::batch;
use super::entry::TokenEntry;
use super::line::{self, Member, mac_of};
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::lease::record as lease;
use crate::plan::Context;
use crate::quota;
use crate::stored::{self, Stored};
use crate::view::View;

/// A token that was found.
#[derive(Clone)]
pub struct Found {
    /// The token's keyed hash, in hex.
    pub hash: String,
    pub entry: Arc<TokenEntry>,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    /// That it and its ancestors stand as they did: the token's own first, if it is stored.
    pub preconditions: Vec<Precondition>,
    /// It was made with another token, which is no more, and was let go.
    pub is_released: bool,
}

impl Found {
    fn alone(hash: String, entry: Arc<TokenEntry>, expires_at_ms: u64) -> Self {
        Self { hash, entry, expires_at_ms, preconditions: Vec::new(), is_released: false }
    }

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

/// A token's record at `key` as a member of a line, and when it expires.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn member(
    view: &dyn View,
    barrier: &Barrier,
    key: Bytes,
    now_ms: u64,
) -> Result<Option<(Member, u64)>, Error> {
    let Some(found) = load(view, barrier, &key, now_ms)? else { return Ok(None) };
    let parent = found.value.parent.as_deref().map(mac_of).transpose()?;
    let member = Member { key, revision: found.revision, entry: Arc::new(found.value), parent };
    Ok(Some((member, found.expires_at_ms)))
}

/// A token by its text, if it holds at `now_ms`: one that is stored, or a batch token.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn find_token(
    view: &dyn View,
    barrier: &Barrier,
    token: &str,
    now_ms: u64,
) -> Result<Option<Found>, Error> {
    let hash = barrier.token_hash(token.as_bytes());
    if !batch::is_batch(token) {
        return find(view, barrier, &hash, now_ms);
    }
    let Some((entry, expires_at_ms)) = batch::open(barrier, token, now_ms)? else { return Ok(None) };
    in_line(view, barrier, now_ms, Found::alone(hash, Arc::new(entry), expires_at_ms))
}

/// The token with this hash, if it holds at `now_ms`.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn find(view: &dyn View, barrier: &Barrier, hash: &str, now_ms: u64) -> Result<Option<Found>, Error> {
    let key = token_key(barrier, hash);
    let Some((token, expires_at_ms)) = member(view, barrier, key.into(), now_ms)? else { return Ok(None) };
    if token.entry.released {
        return Ok(None);
    }
    let mut found = Found::alone(hash.to_owned(), Arc::clone(&token.entry), expires_at_ms);
    found.preconditions.push(token.precondition());
    in_line(view, barrier, now_ms, found)
}

/// A token with its ancestors, if they hold.
fn in_line(
    view: &dyn View,
    barrier: &Barrier,
    now_ms: u64,
    mut found: Found,
) -> Result<Option<Found>, Error> {
    let parent = found.entry.parent.as_deref().map(mac_of).transpose()?;
    let ancestor = |mac| {
        let key = token_key(barrier, &hex::encode(mac)).into();
        Ok(member(view, barrier, key, now_ms)?.map(|(member, _)| Arc::new(member)))
    };
    let Some(line) = line::follow(parent, ancestor)? else { return Ok(None) };
    found.is_released = line.is_released;
    found.preconditions.extend(line.preconditions);
    Ok(Some(found))
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
/// [`Error::LeaseQuota`]: there are too many already. As [`stored::put`].
pub fn put_new(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    entry: &TokenEntry,
    expires_at_ms: u64,
) -> Result<(), Error> {
    quota::leases::admit(ctx, txn, hash, entry, expires_at_ms)?;
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
    lease::put(ctx, txn, hash, entry, expires_at_ms)
}

/// Deletes a token and the ways to it; not what was made with it.
pub fn delete(barrier: &Barrier, txn: &mut Txn, hash: &str, entry: &TokenEntry) {
    txn.delete(token_key(barrier, hash));
    delete_ways(barrier, txn, hash, entry);
}

/// Deletes the ways to a token, and what it keeps for itself.
pub fn delete_ways(barrier: &Barrier, txn: &mut Txn, hash: &str, entry: &TokenEntry) {
    let kept = super::cubbyhole::key(barrier, hash);
    // What its last use wrote there goes with it.
    txn.writes.retain(|write| write.key != kept);
    txn.delete(kept);
    txn.delete(accessor_key(barrier, &entry.accessor));
    if let Some(parent) = &entry.parent {
        txn.delete(child_key(barrier, parent, hash));
    }
    lease::delete(barrier, txn, hash, entry);
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
