//! `approle`: services with a role id and, as a rule, a secret id.

pub mod clear;
mod login;
mod role;
mod role_field;
mod secret_id;
mod secret_id_api;

use conclave_proto::log::Precondition;

pub use self::login::{login, role_of};
use self::role::Role;
pub use self::role::uuid;
use self::role_field::RoleField;
use super::method::{self, MethodRequest};
use super::named;
use super::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored;

/// OpenBao walks all secret ids then; here each is gone when it ends.
const TIDY_WARNING: &str = "Secret IDs end by themselves: there is nothing to tidy.";

/// Whether a write makes a role.
///
/// # Errors
/// [`Error::View`].
pub fn creates(ctx: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
    let name = path.strip_prefix("role/").and_then(|name| method::subject(name).ok());
    let Some(name) = name else { return Ok(false) };
    Ok(ctx.view.stamp(&role::key(ctx.barrier, mount.uuid(), &name))?.is_none())
}

/// What is asked of roles and secret ids.
///
/// # Errors
/// As the rules say.
pub fn handle(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Error> {
    use Operation as O;
    let path = request.path.strip_suffix('/').unwrap_or(request.path);
    match (path, request.operation) {
        ("role", O::List) => {
            return named::list(ctx, &role::prefix(ctx.barrier, mount.uuid()), request.query);
        }
        ("tidy/secret-id", O::Write) => {
            return Ok(Reply { warnings: vec![TIDY_WARNING.to_owned()], ..Reply::empty(202) }.into());
        }
        ("role" | "tidy/secret-id", _) => return Err(Error::Unsupported),
        _ => {}
    }
    let rest = path.strip_prefix("role/").ok_or(Error::NotFound)?;
    let (name, part) = rest.split_once('/').map_or((rest, None), |(name, part)| (name, Some(part)));
    let name = method::subject(name)?;
    let Some(part) = part else {
        return match request.operation {
            O::Read => Ok(Reply::json(&role::expect(ctx, mount, &name)?.value.show()).into()),
            O::Write => role::write(ctx, mount, &name, request.body),
            O::Delete => role::delete(ctx, mount, &name),
            _ => Err(Error::Unsupported),
        };
    };
    if let Some(field) = RoleField::named(part) {
        return role_field::handle(ctx, mount, &name, field, request);
    }
    secret_id_api::handle(ctx, mount, &name, part, request)
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
