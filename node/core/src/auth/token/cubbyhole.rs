//! What a token keeps for itself, in one record below its keyed hash: it ends with the token, in the same transaction, and
//! moves with it when the token is renewed. One record also bounds it.

use std::collections::BTreeMap;

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};

/// All that a token keeps, by path.
#[derive(Default, Serialize, Deserialize)]
pub struct Kept {
    pub entries: BTreeMap<String, Map<String, Value>>,
}

pub fn key(barrier: &Barrier, hash: &str) -> Vec<u8> {
    barrier.key(Kind::Cubbyhole, [hash])
}

/// What the token with this hash keeps. Whether the token holds is not looked at.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn load(ctx: &Context<'_>, hash: &str) -> Result<Option<Stored<Kept>>, Error> {
    stored::load(ctx.view, ctx.barrier, &key(ctx.barrier, hash), ctx.now_ms)
}

/// Writes what stood at `revision` (0: there was none), to end when the token does.
///
/// # Errors
/// [`Error::TooLarge`], or the active key has sealed too much.
pub fn put(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    hash: &str,
    kept: &Kept,
    revision: u64,
    expires_at_ms: u64,
) -> Result<(), Error> {
    let key = key(ctx.barrier, hash);
    txn.require(key.clone(), revision);
    stored::put(ctx, txn, &key, hash, kept, expires_at_ms).map_err(|error| match error {
        Error::TooLarge(_) => Error::TooLarge(format!(
            "a token keeps at most {} KiB in its cubbyhole",
            conclave_proto::wire::RECORD_BYTES_MAX / 1024
        )),
        other => other,
    })
}

/// Lets what the token keeps last as long as the token does now.
///
/// # Errors
/// As [`load`] and [`put`].
pub fn prolong(ctx: &mut Context<'_>, txn: &mut Txn, hash: &str, expires_at_ms: u64) -> Result<(), Error> {
    match load(ctx, hash)? {
        Some(found) => put(ctx, txn, hash, &found.value, found.revision, expires_at_ms),
        None => Ok(()),
    }
}
