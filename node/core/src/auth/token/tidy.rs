//! `auth/token/tidy`: going through all tokens for what is left of those that hold no more.
//!
//! Nothing depends on it. A token ends at its time by the index of expiry, one that was revoked leaves a note for what was
//! made with it, and what is left of either proves nothing. What only this finds: tokens whose parent has expired before
//! them, the empty records of tokens that let their children go, once the last of these has gone, and tokens that are not
//! in the index of leases, because they were made before there was one.
//!
//! One record says how far it has come; the leader goes on from there, a piece at a time, and so does the next leader.

use bytes::Bytes;
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::clear;
use super::entry::TokenEntry;
use super::store;
use crate::crypto::{Kind, after_prefix, plain_key};
use crate::error::Error;
use crate::lease::record as lease;
use crate::plan::{Context, Plan, Reply};
use crate::stored;

/// Tokens that are gone through at a time.
const BATCH: usize = 256;

/// How far it has come.
#[derive(Serialize, Deserialize)]
struct Progress {
    /// Where to go on, in hex.
    from: String,
}

/// Begins it, or begins it anew.
///
/// # Errors
/// The active key has sealed too much.
pub fn plan_start(ctx: &mut Context<'_>) -> Result<Plan, Error> {
    let mut txn = Txn::default();
    put(ctx, &mut txn, &plain_key(Kind::Token))?;
    let sentence = "Tidy operation successfully started: the leader goes through all tokens, a piece at a time. Tokens end \
                    at their time without it; it takes away what is left of those whose parents have ended.";
    Ok(Plan { txn, reply: Reply { warnings: vec![sentence.to_owned()], ..Reply::empty(202) } })
}

fn put(ctx: &mut Context<'_>, txn: &mut Txn, from: &[u8]) -> Result<(), Error> {
    let progress = Progress { from: hex::encode(from) };
    stored::put(ctx, txn, &plain_key(Kind::TokenTidying), "tidying", &progress, 0)
}

/// The next piece of work, if there is any.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn next_batch(ctx: &mut Context<'_>) -> Result<Option<Txn>, Error> {
    let progress_key = plain_key(Kind::TokenTidying);
    let Some(progress) = stored::load::<Progress>(ctx.view, ctx.barrier, &progress_key, 0)? else {
        return Ok(None);
    };
    let mut txn = Txn::default();
    txn.require(progress_key.clone(), progress.revision);
    let mut from = hex::decode(&progress.value.from).map_err(|_| stored::unknown())?;
    let tokens = plain_key(Kind::Token);
    for _ in 0..BATCH {
        let found = ctx.view.cursor().seek(&from)?.filter(|(key, _)| key.starts_with(&tokens));
        let Some((key, record)) = found else {
            txn.delete(progress_key);
            return Ok(Some(txn));
        };
        from = after_prefix(&key).unwrap_or(key.clone());
        if stored::has_expired(record.expires_at_ms, ctx.now_ms) {
            continue;
        }
        let hash = ctx.barrier.open(&key, &record.sealed)?.path;
        look_at(ctx, &mut txn, key.into(), &hash)?;
    }
    put(ctx, &mut txn, &from)?;
    Ok(Some(txn))
}

/// Deletes the token if it holds no more, and lists its lease if it does.
fn look_at(ctx: &mut Context<'_>, txn: &mut Txn, key: Bytes, hash: &str) -> Result<(), Error> {
    let Some((member, expires_at_ms)) = store::member(ctx.view, ctx.barrier, key.clone(), ctx.now_ms)? else {
        return Ok(());
    };
    let entry: &TokenEntry = &member.entry;
    let is_needed = if entry.released {
        clear::has_children(ctx.view, ctx.barrier, hash)?
    } else {
        store::find(ctx.view, ctx.barrier, hash, ctx.now_ms)?.is_some()
    };
    if !is_needed {
        txn.require(key.clone(), member.revision);
        store::delete(ctx.barrier, txn, hash, entry);
    } else if entry.has_lease() && !lease::is_listed(ctx.view, ctx.barrier, hash, entry)? {
        txn.require(key.clone(), member.revision);
        lease::put(ctx, txn, hash, entry, expires_at_ms)?;
    }
    Ok(())
}
