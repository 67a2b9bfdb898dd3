//! `kubernetes`: service accounts of a Kubernetes cluster, by the tokens that it gives them. The cluster itself is asked
//! whether a token still holds.

mod account;
mod config;
mod login;
mod review;
mod role;

use conclave_proto::log::Precondition;

pub use self::login::login;
use self::role::Role;
use super::method::{self, MethodRequest};
use super::named;
use super::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored;

/// Whether a write makes a role.
///
/// # Errors
/// [`Error::View`].
pub fn creates(ctx: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
    let name = path.strip_prefix("role/").and_then(|name| method::subject(name).ok());
    let Some(name) = name else { return Ok(false) };
    Ok(ctx.view.stamp(&role::key(ctx.barrier, mount.uuid(), &name))?.is_none())
}

/// What is asked of the settings and of roles.
///
/// # Errors
/// As the rules say.
pub fn handle(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Error> {
    use Operation as O;
    let path = request.path.strip_suffix('/').unwrap_or(request.path);
    match (path, request.operation) {
        ("config", O::Read) => return config::read(ctx, mount),
        ("config", O::Write) => return config::write(ctx, mount, request.body),
        ("role", O::List) => {
            return named::list(ctx, &role::prefix(ctx.barrier, mount.uuid()), request.query);
        }
        ("config" | "role", _) => return Err(Error::Unsupported),
        _ => {}
    }
    let name = method::subject(path.strip_prefix("role/").ok_or(Error::NotFound)?)?;
    match request.operation {
        O::Read => {
            Ok(Reply::json(&role::load(ctx, mount, &name)?.ok_or(Error::NotFound)?.value.show()).into())
        }
        O::Write => role::write(ctx, mount, &name, request.body),
        O::Delete => role::delete(ctx, mount, &name),
        _ => Err(Error::Unsupported),
    }
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
