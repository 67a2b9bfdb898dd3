//! `jwt` and `oidc`, two names of one method: whoever shows a token that a trusted signer made, or is sent to log in there
//! and comes back with a code for one.

mod claims;
mod config;
mod document;
mod exchange;
mod identity;
mod login;
mod oidc;
mod provider;
mod role;

use conclave_proto::log::Precondition;

pub use self::claims::glob;
pub use self::config::{bounded, holds_authorities, pems};
pub use self::provider::is_url;
use self::role::Role;
use super::method::{self, Method, MethodRequest, Step};
use super::named;
use super::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Operation, Query, Reply};
use crate::stored;

const LOGIN: &str = "login";
const AUTH_URL: &str = "oidc/auth_url";
const CALLBACK: &str = "oidc/callback";

/// Whether whoever has no token may ask this.
pub fn is_login(path: &str) -> bool {
    matches!(path, LOGIN | AUTH_URL | CALLBACK)
}

/// The role of a login that names `named`, or none.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn role_of(
    ctx: &Context<'_>,
    mount: &Mount,
    path: &str,
    query: &Query,
    named: Option<String>,
) -> Result<Option<String>, Error> {
    match (path, named) {
        // Whoever is back was sent for a role, whatever is named now.
        (CALLBACK, _) => Ok(oidc::role_in_state(ctx, mount, query)),
        (_, None) => Ok(config::load(ctx, mount)?.map(|config| config.value.default_role)),
        (_, named) => Ok(named),
    }
}

/// Whether a write makes a role.
///
/// # Errors
/// [`Error::View`].
pub fn creates(ctx: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
    let name = path.strip_prefix("role/").and_then(|name| method::subject(name).ok());
    let Some(name) = name else { return Ok(false) };
    Ok(ctx.view.stamp(&role::key(ctx.barrier, mount.uuid(), &name))?.is_none())
}

/// What is asked without a token.
///
/// # Errors
/// As the rules say.
pub fn login(
    ctx: &mut Context<'_>,
    mount: &Mount,
    method: Method,
    request: &MethodRequest<'_>,
) -> Result<Step, Error> {
    match (request.path, request.operation) {
        (LOGIN, Operation::Write) => Step::of(login::login(ctx, mount, method, request)),
        (AUTH_URL, Operation::Write) => Step::of(oidc::auth_url(ctx, mount, request)),
        (CALLBACK, Operation::Read) => oidc::callback(ctx, mount, method, request),
        _ => Err(Error::Unsupported),
    }
}

/// What is asked of the settings and of roles.
///
/// # Errors
/// As the rules say.
pub fn handle(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Step, Error> {
    use Operation as O;
    let path = request.path.strip_suffix('/').unwrap_or(request.path);
    match (path, request.operation) {
        ("config", O::Read) => return Step::of(config::read(ctx, mount, request)),
        ("config", O::Write) => return Step::of(config::write(ctx, mount, request)),
        ("role", O::List) => {
            return named::list(ctx, &role::prefix(ctx.barrier, mount.uuid()), request.query).map(Step::Done);
        }
        ("config" | "role", _) => return Err(Error::Unsupported),
        _ => {}
    }
    let name = method::subject(path.strip_prefix("role/").ok_or(Error::NotFound)?)?;
    let plan = match request.operation {
        O::Read => Reply::json(&role::load(ctx, mount, &name)?.ok_or(Error::NotFound)?.value.show()).into(),
        O::Write => role::write(ctx, mount, &name, request.body)?,
        O::Delete => role::delete(ctx, mount, &name)?,
        _ => return Err(Error::Unsupported),
    };
    Ok(Step::Done(plan))
}

/// That a token's role is there.
///
/// # Errors
/// [`Error::Invalid`]: not so.
pub fn holds(ctx: &Context<'_>, origin: &LoginOrigin) -> Result<Precondition, Error> {
    let key = role::key(ctx.barrier, &origin.mount_uuid, &origin.subject);
    let role = stored::load::<Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)?;
    let role = role.ok_or_else(|| Error::invalid("the role of this token no longer exists, cannot renew"))?;
    Ok(Precondition { key: key.into(), revision: role.revision })
}

#[cfg(test)]
mod tests;
