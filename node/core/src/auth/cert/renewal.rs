//! Renewing a token of a login by certificate: whoever does must show the key of the login again, and its role must still
//! take what is shown (CVE-2026-39388: any other certificate of the authority would do).

use bytes::Bytes;
use conclave_proto::log::Precondition;

use super::config;
use super::trial;
use super::trust::Shown;
use crate::auth::token::{LoginOrigin, TokenEntry};
use crate::error::Error;
use crate::plan::Context;

/// # Errors
/// [`Error::Invalid`]: the token may not be renewed by who shows this.
pub fn may_renew(
    ctx: &Context<'_>,
    origin: &LoginOrigin,
    entry: &TokenEntry,
    certificates: Option<&[Bytes]>,
) -> Result<Precondition, Error> {
    let settings = config::load(ctx, &origin.mount_uuid)?;
    if !settings.disable_binding {
        let shown = Shown::read(certificates, ctx.now_ms)?;
        trial::role(ctx, &origin.mount_uuid, &shown, &settings, Some(&origin.subject))?;
        let leaf = &shown.leaf;
        if leaf.key_fingerprint != entry.certificate_key || leaf.common_name != origin.alias {
            return Err(Error::invalid(
                "client identity during renewal not matching client identity used during login",
            ));
        }
    }
    Ok(settings.precondition(ctx, &origin.mount_uuid))
}
