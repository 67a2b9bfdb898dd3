//! Whether a token's record may mean something else than it did.
//!
//! Where a token lies, what leads to it and what it keeps never change while it lives, so that to end it needs no revision of
//! its record: else whoever renews or uses a token without pause could keep it, and all that are ended together with it.
//! Two things only can lie where a token lay that has ended: an empty record that lets its children live on, and another
//! token for which the same text was chosen. Both need `sudo`, and both write one record, whose revision every revocation
//! requires.

use conclave_proto::log::Txn;

use crate::crypto::{Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;

/// Notes that `txn` may put something else in the place of a token.
///
/// # Errors
/// The active key has sealed too much.
pub fn note(ctx: &mut Context<'_>, txn: &mut Txn) -> Result<(), Error> {
    stored::put(ctx, txn, &plain_key(Kind::TokenReplaced), "replaced tokens", &(), 0)
}

/// Demands that nothing was put in the place of any token since this view.
///
/// # Errors
/// [`Error::View`].
pub fn require_none(ctx: &Context<'_>, txn: &mut Txn) -> Result<(), Error> {
    let key = plain_key(Kind::TokenReplaced);
    let revision = ctx.view.stamp(&key)?.map_or(0, |stamp| stamp.revision);
    txn.require(key, revision);
    Ok(())
}
