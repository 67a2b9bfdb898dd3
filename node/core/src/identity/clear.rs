//! Letting go the members of groups that are no more. A group that is gone gives nothing to anybody; only the notes that
//! somebody was in it are left. The leader works them off, a piece at a time.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::{member, store};
use crate::crypto::{Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;

/// Members that are let go at a time.
const BATCH: usize = 256;

/// That the members of a group are to be let go.
#[derive(Serialize, Deserialize)]
struct Note {
    group: String,
}

/// Leaves a note, if the group has members.
///
/// # Errors
/// As `stored::put`.
pub fn put(ctx: &mut Context<'_>, txn: &mut Txn, group: &str) -> Result<(), Error> {
    let key = ctx.barrier.key(Kind::GroupClearing, [group]);
    stored::put(ctx, txn, &key, group, &Note { group: group.to_owned() }, 0)
}

/// The next piece of work, if there is any.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn next_batch(ctx: &mut Context<'_>) -> Result<Option<Txn>, Error> {
    let notes = plain_key(Kind::GroupClearing);
    let found = ctx.view.cursor().seek(&notes)?.filter(|(key, _)| key.starts_with(&notes));
    let Some((note_key, _)) = found else { return Ok(None) };
    let Some(note) = stored::load::<Note>(ctx.view, ctx.barrier, &note_key, 0)? else { return Ok(None) };
    let group = note.value.group;
    let members = member::ids(ctx, &group, BATCH)?;
    let mut txn = Txn::default();
    txn.require(note_key.clone(), note.revision);
    for id in members.iter().take(BATCH) {
        match store::entity(ctx, id)? {
            Some(entity) => member::leave(ctx, &mut txn, &entity, &group)?,
            None => txn.delete(member::key(ctx.barrier, &group, id)),
        }
    }
    if members.len() <= BATCH {
        txn.delete(note_key);
    }
    Ok(Some(txn))
}
