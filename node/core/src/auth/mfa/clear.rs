//! Clearing away the secrets of methods that are gone. None proves anything any more; the leader works off notes, a piece
//! at a time.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::{check, secret};
use crate::crypto::{Kind, after_prefix, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;

/// Records that are cleared away at a time.
const BATCH: usize = 256;

/// That the secrets of a method are to be cleared away.
#[derive(Serialize, Deserialize)]
struct Note {
    method: String,
}

/// Leaves a note.
///
/// # Errors
/// As `stored::put`.
pub fn put(ctx: &mut Context<'_>, txn: &mut Txn, method: &str) -> Result<(), Error> {
    let key = ctx.barrier.key(Kind::TotpClearing, [method]);
    stored::put(ctx, txn, &key, method, &Note { method: method.to_owned() }, 0)
}

/// The next piece of work, if there is any.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn next_batch(ctx: &mut Context<'_>) -> Result<Option<Txn>, Error> {
    let notes = plain_key(Kind::TotpClearing);
    let found = ctx.view.cursor().seek(&notes)?.filter(|(key, _)| key.starts_with(&notes));
    let Some((note_key, _)) = found else { return Ok(None) };
    let Some(note) = stored::load::<Note>(ctx.view, ctx.barrier, &note_key, 0)? else { return Ok(None) };
    let method = note.value.method;
    let mut txn = Txn::default();
    txn.require(note_key.clone(), note.revision);
    let mut cursor = ctx.view.cursor();
    for prefix in [secret::prefix(ctx.barrier, &method), check::prefix(ctx.barrier, &method)] {
        let mut found = cursor.seek(&prefix)?;
        while let Some((key, _)) = found.take().filter(|(key, _)| key.starts_with(&prefix)) {
            if txn.writes.len() == BATCH {
                return Ok(Some(txn));
            }
            found = match after_prefix(&key) {
                Some(next) => cursor.seek(&next)?,
                None => None,
            };
            txn.delete(key);
        }
    }
    txn.delete(note_key);
    Ok(Some(txn))
}
