//! Clearing away the secret ids of roles that are gone: none leads anywhere any more, they only take room. Whoever
//! deletes a role leaves a note; the leader works off the notes, a piece at a time.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use crate::crypto::{Kind, after_prefix, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;

/// Records that are cleared away at a time.
const BATCH: usize = 256;

#[derive(Serialize, Deserialize)]
struct Note {
    mount_uuid: String,
    role_uid: String,
}

/// Leaves a note.
///
/// # Errors
/// The active key has sealed too much.
pub fn put(ctx: &mut Context<'_>, txn: &mut Txn, mount_uuid: &str, role_uid: &str) -> Result<(), Error> {
    let key = ctx.barrier.key(Kind::AppRoleClearing, [mount_uuid, role_uid]);
    let note = Note { mount_uuid: mount_uuid.to_owned(), role_uid: role_uid.to_owned() };
    stored::put(ctx, txn, &key, role_uid, &note, 0)
}

/// The next piece of work, if there is any.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn next_batch(ctx: &mut Context<'_>) -> Result<Option<Txn>, Error> {
    let notes = plain_key(Kind::AppRoleClearing);
    let found = ctx.view.cursor().seek(&notes)?.filter(|(key, _)| key.starts_with(&notes));
    let Some((note_key, _)) = found else { return Ok(None) };
    let Some(note) = stored::load::<Note>(ctx.view, ctx.barrier, &note_key, 0)? else { return Ok(None) };
    let mut txn = Txn::default();
    txn.require(note_key.clone(), note.revision);
    let mut cursor = ctx.view.cursor();
    for kind in [Kind::SecretId, Kind::SecretIdAccessor] {
        let prefix = ctx.barrier.key(kind, [note.value.mount_uuid.as_str(), &note.value.role_uid]);
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
