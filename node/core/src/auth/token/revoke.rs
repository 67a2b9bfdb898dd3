//! Ending tokens, and with each all that were made with it.

use conclave_proto::log::Txn;

use super::clear;
use super::entry::TokenEntry;
use super::store::{self, Found};
use crate::error::Error;
use crate::plan::Context;

/// Ends a token. What was made with it holds no more from the same moment on; it is cleared away later.
///
/// # Errors
/// The active key has sealed too much.
pub fn plan_revoke(ctx: &mut Context<'_>, token: &Found) -> Result<Txn, Error> {
    let mut txn = Txn::default();
    txn.preconditions.extend(token.preconditions.first().cloned());
    store::delete(ctx.barrier, &mut txn, &token.hash, &token.entry);
    clear::put(ctx, &mut txn, &token.hash)?;
    Ok(txn)
}

/// Ends a token, and lets those that were made with it live on as orphans.
///
/// # Errors
/// The active key has sealed too much.
pub fn plan_revoke_orphan(ctx: &mut Context<'_>, token: &Found) -> Result<Txn, Error> {
    let mut txn = Txn::default();
    txn.preconditions.extend(token.preconditions.first().cloned());
    if clear::has_children(ctx.view, ctx.barrier, &token.hash)? {
        store::delete_ways(ctx.barrier, &mut txn, &token.hash, &token.entry);
        store::put_again(ctx, &mut txn, &token.hash, &TokenEntry::released(ctx.now_ms), 0)?;
    } else {
        store::delete(ctx.barrier, &mut txn, &token.hash, &token.entry);
    }
    Ok(txn)
}
