//! Revoking leases by what their ids begin with: a piece at a time, since there may be a million.
//!
//! Whoever asks for it revokes the first piece in the same transaction as a note of the rest; from then on it is certain that
//! all will go, whoever dies. The leader works off the notes. A request that is to wait goes on itself until none is
//! left, or its time is up.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::record;
use crate::auth::token::{TokenEntry, end_all, store};
use crate::crypto::{Kind, plain_key};
use crate::engine::listing::right_after;
use crate::error::Error;
use crate::plan::{Context, Plan, Reply};
use crate::stored;

/// Leases that one piece looks at.
const BATCH: usize = 256;
/// How far ahead of this node's time another may have stamped a login that was answered before, in milliseconds.
const CLOCKS_APART_MS: u64 = 2_000;

/// That the leases below a path are to be revoked.
#[derive(Serialize, Deserialize)]
struct Note {
    prefix: String,
    /// Those of tokens that were made later stay; Unix milliseconds of the cluster's time.
    until_ms: u64,
    /// Where to go on, in hex.
    from: String,
}

/// Revokes all leases below a path that are there now. `waits`: the answer is not given before they are gone. That none is
/// left no transaction can prove: the view must have been proven since it was asked.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`], or the active key has sealed too much.
pub fn plan_below(ctx: &mut Context<'_>, prefix: &str, waits: bool) -> Result<Plan, Error> {
    let path: Vec<&str> = record::segments(prefix).collect();
    let path = path.join("/");
    let from = record::key(ctx.barrier, &path);
    let mut txn = Txn::default();
    // Whatever this node's clock says of when they were made.
    let next = some(ctx, &mut txn, &from, from.clone(), u64::MAX)?;
    let note_key = ctx.barrier.key(Kind::LeaseRevoking, [path.as_str()]);
    let earlier = stored::load::<Note>(ctx.view, ctx.barrier, &note_key, 0)?;
    let Some(next) = next else {
        if let Some(earlier) = earlier {
            txn.require(note_key.clone(), earlier.revision);
            txn.delete(note_key);
        }
        return Ok(Plan { txn, reply: Reply::empty(if waits { 204 } else { 202 }) });
    };
    // Who asked for it as well may have seen later logins.
    txn.require(note_key.clone(), earlier.as_ref().map_or(0, |earlier| earlier.revision));
    let until_ms = ctx.now_ms.saturating_add(CLOCKS_APART_MS);
    let until_ms = earlier.map_or(until_ms, |earlier| until_ms.max(earlier.value.until_ms));
    let note = Note { prefix: path.clone(), until_ms, from: hex::encode(next) };
    stored::put(ctx, &mut txn, &note_key, &path, &note, 0)?;
    let mut reply = Reply { goes_on: waits, ..Reply::empty(202) };
    if waits {
        let sentence =
            "There are more leases than a request has time to revoke: the leader revokes the rest.";
        reply.warnings.push(sentence.to_owned());
    }
    Ok(Plan { txn, reply })
}

/// The next piece of work, if there is any.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn next_batch(ctx: &mut Context<'_>) -> Result<Option<Txn>, Error> {
    let notes = plain_key(Kind::LeaseRevoking);
    let found = ctx.view.cursor().seek(&notes)?.filter(|(key, _)| key.starts_with(&notes));
    let Some((note_key, _)) = found else { return Ok(None) };
    let Some(found) = stored::load::<Note>(ctx.view, ctx.barrier, &note_key, 0)? else { return Ok(None) };
    let mut note = found.value;
    let mut txn = Txn::default();
    txn.require(note_key.clone(), found.revision);
    let from = hex::decode(&note.from).map_err(|_| stored::unknown())?;
    let prefix = record::key(ctx.barrier, &note.prefix);
    match some(ctx, &mut txn, &prefix, from, note.until_ms)? {
        Some(next) => {
            note.from = hex::encode(next);
            stored::put(ctx, &mut txn, &note_key, &note.prefix, &note, 0)?;
        }
        None => txn.delete(note_key),
    }
    Ok(Some(txn))
}

/// Revokes some leases below `prefix` at `from` or behind it, of tokens that were made until `until_ms`. Where to go on, if
/// there may be more.
fn some(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    prefix: &[u8],
    from: Vec<u8>,
    until_ms: u64,
) -> Result<Option<Vec<u8>>, Error> {
    let view = ctx.view;
    let mut cursor = view.cursor();
    let mut found = cursor.seek(&from)?;
    let mut tokens: Vec<(String, TokenEntry)> = Vec::new();
    for _ in 0..BATCH {
        let Some((key, lease)) = found.take().filter(|(key, _)| key.starts_with(prefix)) else { break };
        let next = right_after(&key);
        if !stored::has_expired(lease.expires_at_ms, ctx.now_ms) {
            let id = ctx.barrier.open(&key, &lease.sealed)?.path;
            let hash = record::hash_in(&id).ok_or_else(stored::unknown)?;
            let token_key = store::token_key(ctx.barrier, hash);
            match store::load(view, ctx.barrier, &token_key, ctx.now_ms)? {
                Some(token) if token.value.created_ms <= until_ms => {
                    tokens.push((hash.to_owned(), token.value));
                }
                Some(_) => {}
                None => txn.delete(key),
            }
        }
        found = cursor.seek(&next)?;
    }
    if !tokens.is_empty() {
        end_all(ctx, txn, tokens.iter().map(|(hash, entry)| (hash.as_str(), entry)))?;
    }
    Ok(found.filter(|(key, _)| key.starts_with(prefix)).map(|(key, _)| key))
}
