//! Tokens that hand over one wrapped answer.

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;

use super::entry::TokenEntry;
use super::{store, text};
use crate::error::Error;
use crate::plan::Context;
use crate::policy::name::RESPONSE_WRAPPING;

/// A wrapping token that was made.
pub struct Made {
    pub token: Secret<String>,
    pub hash: String,
    pub accessor: String,
    pub expires_at_ms: u64,
}

/// Makes a token with one use for what was answered at `path`.
///
/// # Errors
/// The active key has sealed too much.
pub fn plan_wrapping_token(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    path: &str,
    ttl_ms: u64,
) -> Result<Made, Error> {
    let (token, accessor) = (text::service(ctx.rng), text::accessor(ctx.rng));
    let hash = ctx.barrier.token_hash(token.expose().as_bytes());
    let entry = TokenEntry {
        ttl_ms,
        explicit_max_ttl_ms: ttl_ms,
        uses_left: 1,
        display_name: "token".to_owned(),
        ..TokenEntry::new(accessor.clone(), vec![RESPONSE_WRAPPING.to_owned()], path, ctx.now_ms)
    };
    let expires_at_ms = ctx.now_ms.saturating_add(ttl_ms);
    store::put_new(ctx, txn, &hash, &entry, expires_at_ms)?;
    Ok(Made { token, hash, accessor, expires_at_ms })
}
