//! `userpass`: people and programs with a name and a password.

mod failures;
pub mod locked;
mod login;
mod user;

use conclave_proto::log::Precondition;

pub use self::login::login;
use self::user::User;
use super::login::policies_of;
use super::method::{self, MethodRequest, Step};
use super::named;
use super::token::{LoginOrigin, TokenEntry};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored;

/// Whether a write makes a user.
///
/// # Errors
/// [`Error::View`].
pub fn creates(ctx: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
    let name = path.strip_prefix("users/").and_then(|name| method::subject(name).ok());
    let Some(name) = name else { return Ok(false) };
    Ok(ctx.view.stamp(&user::key(ctx.barrier, mount.uuid(), &name))?.is_none())
}

/// What is asked of users.
///
/// # Errors
/// As the rules say.
pub fn handle(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Step, Error> {
    let path = request.path.strip_suffix('/').unwrap_or(request.path);
    if path == "users" {
        return match request.operation {
            Operation::List => {
                named::list(ctx, &user::prefix(ctx.barrier, mount.uuid()), request.query).map(Step::Done)
            }
            _ => Err(Error::Unsupported),
        };
    }
    let rest = path.strip_prefix("users/").ok_or(Error::NotFound)?;
    let (name, part) = rest.split_once('/').map_or((rest, None), |(name, part)| (name, Some(part)));
    let name = method::subject(name)?;
    match (part, request.operation) {
        (None, Operation::Read) => {
            let user = user::load(ctx, mount, &name)?.ok_or(Error::NotFound)?;
            Ok(Plan::from(Reply::json(&user.value.show())).into())
        }
        (None, Operation::Write) => user::write(ctx, mount, &name, request),
        (None, Operation::Delete) => user::delete(ctx, mount, &name).map(Step::Done),
        (Some("password"), Operation::Write) => user::write_password(ctx, mount, &name, request),
        (Some("policies"), Operation::Write) => {
            user::write_policies(ctx, mount, &name, request).map(Step::Done)
        }
        (None | Some("password" | "policies"), _) => Err(Error::Unsupported),
        _ => Err(Error::NotFound),
    }
}

/// That a token's user is there and gives the same policies.
///
/// # Errors
/// [`Error::Invalid`]: not so.
pub fn holds(ctx: &Context<'_>, origin: &LoginOrigin, entry: &TokenEntry) -> Result<Precondition, Error> {
    let key = user::key(ctx.barrier, &origin.mount_uuid, &origin.subject);
    let user = stored::load::<User>(ctx.view, ctx.barrier, &key, ctx.now_ms)?;
    let user = user.ok_or_else(|| Error::invalid("user no longer exists, cannot renew"))?;
    if policies_of(&user.value.params)? != entry.policies {
        return Err(Error::invalid("policies have changed, not renewing"));
    }
    Ok(Precondition { key: key.into(), revision: user.revision })
}

#[cfg(test)]
mod tests;
