//! What the tokens of an auth mount hang on: a record in their line of parents that is no token itself. It is made with
//! the mount and deleted with it; from then on no token that was made by a login there holds, at any node, and the
//! leader clears them away like the children of any token that ended.

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;

use super::entry::{TokenEntry, TokenKind};
use super::{batch, clear, store, text};
use crate::crypto::Barrier;
use crate::error::Error;
use crate::plan::Context;

/// No token: no header can carry the first byte.
const PREFIX: &str = "\0mount/";

fn hash(barrier: &Barrier, mount_uuid: &str) -> String {
    barrier.token_hash(format!("{PREFIX}{mount_uuid}").as_bytes())
}

/// Lets tokens be made by logins at the mount.
///
/// # Errors
/// The active key has sealed too much.
pub fn put(ctx: &mut Context<'_>, txn: &mut Txn, mount_uuid: &str) -> Result<(), Error> {
    let hash = hash(ctx.barrier, mount_uuid);
    store::put_again(ctx, txn, &hash, &TokenEntry::released(ctx.now_ms), 0)
}

/// Ends all tokens that were made by logins at the mount.
///
/// # Errors
/// The active key has sealed too much.
pub fn delete(ctx: &mut Context<'_>, txn: &mut Txn, mount_uuid: &str) -> Result<(), Error> {
    let hash = hash(ctx.barrier, mount_uuid);
    txn.delete(store::token_key(ctx.barrier, &hash));
    clear::put_always(ctx, txn, &hash)
}

/// Makes a token that holds as long as the mount does. `entry` is told its accessor, if it has one, and what it hangs on.
///
/// # Errors
/// The active key has sealed too much. [`Error::Invalid`]: all that a batch token has to carry is too long.
pub fn issue(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    mount_uuid: &str,
    entry: &mut TokenEntry,
    ends_ms: u64,
) -> Result<Secret<String>, Error> {
    entry.parent = Some(hash(ctx.barrier, mount_uuid));
    if entry.kind == TokenKind::Batch {
        return batch::seal(ctx.barrier, entry, ctx.rng);
    }
    let token = text::service(ctx.rng);
    entry.accessor = text::accessor(ctx.rng);
    let token_hash = ctx.barrier.token_hash(token.expose().as_bytes());
    store::put_new(ctx, txn, &token_hash, entry, ends_ms)?;
    Ok(token)
}
