//! Root tokens: only `init` and the holders of key shares make them.

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;

use super::entry::TokenEntry;
use super::identify::TOKEN_BYTES_MAX;
use super::{store, text};
use crate::error::Error;
use crate::plan::Context;
use crate::policy::name;

/// Where a root token was made, as Vault spells it.
pub(super) const ROOT_PATH: &str = "auth/token/root";

/// Makes a root token, at random or with a fixed text (for development). It never expires.
///
/// # Errors
/// [`Error::Invalid`]: the fixed text is empty, longer than [`TOKEN_BYTES_MAX`] or not printable ASCII.
pub fn plan_root_token(ctx: &mut Context<'_>, fixed: Option<&str>) -> Result<(Secret<String>, Txn), Error> {
    let token = match fixed {
        Some(text) => fixed_token(text)?,
        None => text::service(ctx.rng),
    };
    let entry = TokenEntry {
        display_name: name::ROOT.to_owned(),
        ..TokenEntry::new(text::accessor(ctx.rng), vec![name::ROOT.to_owned()], ROOT_PATH, ctx.now_ms)
    };
    let hash = ctx.barrier.token_hash(token.expose().as_bytes());
    let mut txn = Txn::default();
    store::put_new(ctx, &mut txn, &hash, &entry, 0)?;
    Ok((token, txn))
}

fn fixed_token(text: &str) -> Result<Secret<String>, Error> {
    if text.is_empty() || text.len() > TOKEN_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let sentence =
            format!("a fixed root token must be 1 to {TOKEN_BYTES_MAX} printable ASCII characters");
        return Err(Error::Invalid(sentence));
    }
    Ok(Secret::new(text.to_owned()))
}
