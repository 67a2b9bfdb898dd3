//! The index of leases: one small record each, below the path that it was issued at. Its keys are tokens of the path's
//! segments, as those of all records, so that a path is listed and revoked by one range, and never stands on a disk.
//!
//! The state counts them below each prefix of up to [`counted::LEVELS_MAX`] segments.

use conclave_proto::counted;
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use crate::auth::token::TokenEntry;
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;
use crate::view::View;

/// What stands before a token's hash in the last segment of its lease's id, as in Vault.
const HASH_MARK: char = 'h';
/// Characters of a token's hash.
const HASH_CHARACTERS: usize = 64;

/// What is stored of a lease beside its id.
#[derive(Serialize, Deserialize)]
struct Lease {
    of: Of,
}

/// What was given.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Token,
}

/// The id of a token's lease.
pub fn id_of(entry: &TokenEntry, hash: &str) -> String {
    let mut id = String::with_capacity(entry.path.len() + 2 + hash.len());
    for segment in segments(&entry.path) {
        id.push_str(segment);
        id.push('/');
    }
    id.push(HASH_MARK);
    id.push_str(hash);
    id
}

/// The hash of the token that the lease with this id is of.
pub fn hash_in(id: &str) -> Option<&str> {
    let (_, name) = id.rsplit_once('/')?;
    let hash = name.strip_prefix(HASH_MARK)?;
    let is_hash =
        hash.len() == HASH_CHARACTERS && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then_some(hash)
}

/// Of a path with slashes around it, or of a list, which ends in one.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Where the leases below a path lie, or a lease by its id.
pub fn key(barrier: &Barrier, path: &str) -> Vec<u8> {
    barrier.key(Kind::Lease, segments(path))
}

/// How many leases are stored below a path; `None`: it is deeper than those that are counted.
///
/// # Errors
/// [`Error::View`].
pub fn count(view: &dyn View, barrier: &Barrier, path: &str) -> Result<Option<u64>, Error> {
    counted::count_key(&key(barrier, path)).map(|key| number_at(view, &key)).transpose()
}

/// What the count at this key says.
///
/// # Errors
/// [`Error::View`].
pub fn number_at(view: &dyn View, count_key: &[u8]) -> Result<u64, Error> {
    let record = view.get(count_key)?;
    Ok(counted::number(record.as_ref().map(|record| &record.sealed[..])))
}

/// Where the lease of a login is counted for its role; `None`: it is of no login.
pub fn role_key(barrier: &Barrier, hash: &str, entry: &TokenEntry) -> Option<Vec<u8>> {
    let origin = entry.login.as_ref()?;
    Some(barrier.key(Kind::LeaseOfRole, [&origin.mount_uuid, &origin.subject, hash]))
}

/// Whether a token's lease is in the index.
///
/// # Errors
/// [`Error::View`].
pub fn is_listed(view: &dyn View, barrier: &Barrier, hash: &str, entry: &TokenEntry) -> Result<bool, Error> {
    Ok(view.stamp(&key(barrier, &id_of(entry, hash)))?.is_some())
}

/// Writes a token's lease, or prolongs it.
///
/// # Errors
/// As `stored::put`.
pub fn put(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    entry: &TokenEntry,
    expires_at_ms: u64,
) -> Result<(), Error> {
    if !entry.has_lease() {
        return Ok(());
    }
    let id = id_of(entry, hash);
    let key = key(ctx.barrier, &id);
    stored::put(ctx, txn, &key, &id, &Lease { of: Of::Token }, expires_at_ms)?;
    match role_key(ctx.barrier, hash, entry) {
        Some(key) if ctx.view.stamp(&key)?.is_some() => put_for_role(ctx, txn, &key, expires_at_ms),
        _ => Ok(()),
    }
}

/// Counts a lease for its role until it ends.
///
/// # Errors
/// As `stored::put`.
pub fn put_for_role(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    key: &[u8],
    expires_at_ms: u64,
) -> Result<(), Error> {
    stored::put(ctx, txn, key, "", &Lease { of: Of::Token }, expires_at_ms)
}

pub fn delete(barrier: &Barrier, txn: &mut Txn, hash: &str, entry: &TokenEntry) {
    if entry.has_lease() {
        txn.delete(key(barrier, &id_of(entry, hash)));
        if let Some(key) = role_key(barrier, hash, entry) {
            txn.delete(key);
        }
    }
}
