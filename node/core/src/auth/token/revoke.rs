//! Ending tokens, and with each all that were made with it.

use conclave_proto::log::Txn;

use super::entry::{TokenEntry, TokenKind};
use super::store::{self, Found};
use super::{clear, replaced};
use crate::error::Error;
use crate::plan::Context;

/// Ends a token, though it be renewed or used meanwhile. What was made with it holds no more from the same moment on; it is
/// cleared away later.
///
/// # Errors
/// [`Error::Invalid`]: it is a batch token. The active key has sealed too much.
pub fn plan_revoke(ctx: &mut Context<'_>, token: &Found) -> Result<Txn, Error> {
    check_kind(token)?;
    let mut txn = Txn::default();
    end_all(ctx, &mut txn, [(token.hash.as_str(), &*token.entry)])?;
    Ok(txn)
}

/// Ends a token as it stands: of all who do so at once, one does.
///
/// # Errors
/// As [`plan_revoke`].
pub fn plan_revoke_once(ctx: &mut Context<'_>, token: &Found) -> Result<Txn, Error> {
    let mut txn = plan_revoke(ctx, token)?;
    txn.preconditions.extend(token.preconditions.first().cloned());
    Ok(txn)
}

/// Ends tokens by their hashes and what is known of them, which may be older than what is stored.
///
/// # Errors
/// [`Error::View`]. The active key has sealed too much.
pub fn end_all<'a>(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    tokens: impl IntoIterator<Item = (&'a str, &'a TokenEntry)>,
) -> Result<(), Error> {
    replaced::require_none(ctx, txn)?;
    for (hash, entry) in tokens {
        store::delete(ctx.barrier, txn, hash, entry);
        clear::put(ctx, txn, hash)?;
    }
    Ok(())
}

/// Ends a token, and lets those that were made with it live on as orphans. It must stand as it did: what would be left in the
/// place of one that was revoked meanwhile would bring its children back.
///
/// # Errors
/// [`Error::Invalid`]: it is a batch token. The active key has sealed too much.
pub fn plan_revoke_orphan(ctx: &mut Context<'_>, token: &Found) -> Result<Txn, Error> {
    check_kind(token)?;
    let mut txn = Txn::default();
    txn.preconditions.extend(token.preconditions.first().cloned());
    if clear::has_children(ctx.view, ctx.barrier, &token.hash)? {
        store::delete_ways(ctx.barrier, &mut txn, &token.hash, &token.entry);
        store::put_again(ctx, &mut txn, &token.hash, &TokenEntry::released(ctx.now_ms), 0)?;
        replaced::note(ctx, &mut txn)?;
    } else {
        store::delete(ctx.barrier, &mut txn, &token.hash, &token.entry);
    }
    Ok(txn)
}

/// There is nothing of a batch token that could be taken away.
fn check_kind(token: &Found) -> Result<(), Error> {
    match token.entry.kind {
        TokenKind::Service => Ok(()),
        TokenKind::Batch => Err(Error::invalid("batch tokens cannot be revoked")),
    }
}
