//! `cert`: programs and people with a key and a certificate for it, shown in the TLS handshake.
//!
//! The listener asks for a certificate and lets in whoever proves to have its key; whom a certificate makes somebody is
//! decided here, by the roles of the mount that is asked. Why so: `docs/2026-11-23-cert-login.md`.

mod config;
mod crl;
mod login;
mod parsed;
mod renewal;
mod role;
mod trial;
mod trust;

use conclave_proto::log::Precondition;

pub use self::login::login;
pub use self::renewal::may_renew;
use super::login::policies_of;
use super::method::{self, MethodRequest};
use super::named;
use super::token::{LoginOrigin, TokenEntry};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply};

/// Whether a write makes a role. Of nothing else policies tell making from changing.
///
/// # Errors
/// [`Error::View`].
pub fn creates(_ctx: &Context<'_>, _mount: &Mount, _path: &str) -> Result<bool, Error> {
    // As OpenBao: it does not look whether there is one.
    Ok(false)
}

/// What is asked of roles, lists of revoked certificates and settings.
///
/// # Errors
/// As the rules say.
pub fn handle(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Error> {
    use Operation as O;
    let path = request.path.strip_suffix('/').unwrap_or(request.path);
    match (path, request.operation) {
        ("certs", O::List) => {
            return named::list(ctx, &role::prefix(ctx.barrier, mount.uuid()), request.query);
        }
        ("crls", O::List) => return crl::list(ctx, mount, request.query),
        ("config", O::Read) => return config::read(ctx, mount),
        ("config", O::Write) => return config::write(ctx, mount, request.body),
        ("certs" | "crls" | "config", _) => return Err(Error::Unsupported),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("crls/") {
        return crl::handle(ctx, mount, &method::subject(name)?, request);
    }
    let name = method::subject(path.strip_prefix("certs/").ok_or(Error::NotFound)?)?;
    match request.operation {
        O::Read => {
            let found = role::load(ctx, mount.uuid(), &name)?.ok_or(Error::NotFound)?;
            Ok(Reply::json(&found.value.show()).into())
        }
        O::Write => role::write(ctx, mount, &name, request.body),
        O::Delete => role::delete(ctx, mount, &name),
        _ => Err(Error::Unsupported),
    }
}

/// That a token's role is there and gives the same policies.
///
/// # Errors
/// [`Error::Invalid`]: not so.
pub fn holds(ctx: &Context<'_>, origin: &LoginOrigin, entry: &TokenEntry) -> Result<Precondition, Error> {
    let role = role::load(ctx, &origin.mount_uuid, &origin.subject)?;
    let role = role.ok_or_else(|| Error::invalid("the role of this token no longer exists, cannot renew"))?;
    if policies_of(&role.value.params)? != entry.policies {
        return Err(Error::invalid("policies have changed, not renewing"));
    }
    let key = role::key(ctx.barrier, &origin.mount_uuid, &origin.subject);
    Ok(Precondition { key: key.into(), revision: role.revision })
}

#[cfg(test)]
mod tests;
