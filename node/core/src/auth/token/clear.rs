//! Clearing away what was made with a token that has ended: none of it holds any more, it only takes room.
//!
//! Whoever ends a token leaves a note with its hash; the leader works off the notes, a piece at a time. A token that
//! expires leaves none: what was made with it goes when it expires itself.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::store;
use crate::crypto::{Barrier, Kind, after_prefix, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;
use crate::view::View;

/// Tokens that are cleared away at a time.
const BATCH: usize = 256;

/// That what was made with a token is to be cleared away.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    hash: String,
}

/// Leaves a note.
///
/// # Errors
/// The active key has sealed too much.
pub fn put(ctx: &mut Context<'_>, txn: &mut Txn, hash: &str) -> Result<(), Error> {
    if !has_children(ctx.view, ctx.barrier, hash)? {
        return Ok(());
    }
    let key = ctx.barrier.key(Kind::TokenClearing, [hash]);
    stored::put(ctx, txn, &key, hash, &Note { hash: hash.to_owned() }, 0)
}

/// Whether any token that was made with this one is still stored.
///
/// # Errors
/// [`Error::View`].
pub fn has_children(view: &dyn View, barrier: &Barrier, hash: &str) -> Result<bool, Error> {
    let prefix = barrier.key(Kind::TokenChild, [hash]);
    let found = view.cursor().seek(&prefix)?;
    Ok(found.is_some_and(|(key, _)| key.starts_with(&prefix)))
}

/// The next piece of work, if there is any.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn next_batch(ctx: &mut Context<'_>) -> Result<Option<Txn>, Error> {
    let notes = plain_key(Kind::TokenClearing);
    let found = ctx.view.cursor().seek(&notes)?.filter(|(key, _)| key.starts_with(&notes));
    let Some((note_key, _)) = found else { return Ok(None) };
    let Some(note) = stored::load::<Note>(ctx.view, ctx.barrier, &note_key, 0)? else { return Ok(None) };
    let children = children(ctx, &note.value.hash)?;
    let mut txn = Txn::default();
    txn.require(note_key.clone(), note.revision);
    for hash in &children {
        let key = store::token_key(ctx.barrier, hash);
        match store::load(ctx.view, ctx.barrier, &key, 0)? {
            Some(child) => {
                txn.require(key, child.revision);
                store::delete(ctx.barrier, &mut txn, hash, &child.value);
                put(ctx, &mut txn, hash)?;
            }
            None => txn.delete(store::child_key(ctx.barrier, &note.value.hash, hash)),
        }
    }
    if children.len() < BATCH {
        txn.delete(note_key);
    }
    Ok(Some(txn))
}

/// Hashes of some tokens that were made with this one.
fn children(ctx: &Context<'_>, parent: &str) -> Result<Vec<String>, Error> {
    let prefix = ctx.barrier.key(Kind::TokenChild, [parent]);
    let mut hashes = Vec::new();
    let mut cursor = ctx.view.cursor();
    let mut found = cursor.seek(&prefix)?;
    while let Some((key, record)) = found.take().filter(|(key, _)| key.starts_with(&prefix)) {
        let path = ctx.barrier.open(&key, &record.sealed)?.path;
        let hash = path.rsplit('/').next().unwrap_or_default();
        hashes.push(hash.to_owned());
        if hashes.len() == BATCH {
            break;
        }
        found = match after_prefix(&key) {
            Some(next) => cursor.seek(&next)?,
            None => None,
        };
    }
    Ok(hashes)
}
