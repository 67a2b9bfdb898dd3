//! `aws`: programs in AWS, which prove who they are by a request that they have signed for STS. Whoever holds the request
//! may ask STS whose signature it is (`GetCallerIdentity`); nobody else can check it.
//!
//! ```text
//! login: signed (is it that request, and no other?) -> client (where STS is) -> Halt::Errand
//!        sts (is the answer STS's?) -> arn (whose is it?) -> role (may he?) -> token
//! ```
//!
//! Only the type `iam`: what needs look-ups in EC2 or IAM is refused where it is asked for.

mod arn;
mod client;
mod identity_config;
mod login;
mod role;
mod signed;
mod sts;

use conclave_proto::log::Precondition;

pub use self::login::login;
use super::method::{self, MethodRequest};
use super::named;
use super::token::{LoginOrigin, TokenEntry};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Operation, Plan};
use crate::stored;

const CLIENT_PATH: &str = "config/client";
const IDENTITY_PATH: &str = "config/identity";

/// Whether a write makes what is not there yet.
///
/// # Errors
/// [`Error::View`].
pub fn creates(ctx: &Context<'_>, mount: &Mount, path: &str) -> Result<bool, Error> {
    if path == CLIENT_PATH {
        return Ok(ctx.view.stamp(&client::key(ctx.barrier, mount.uuid()))?.is_none());
    }
    let name = path.strip_prefix("role/").and_then(|name| method::subject(name).ok());
    let Some(name) = name else { return Ok(false) };
    Ok(ctx.view.stamp(&role::key(ctx.barrier, mount.uuid(), &name))?.is_none())
}

/// What is asked of settings and roles.
///
/// # Errors
/// As the rules say.
pub fn handle(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Error> {
    use Operation as O;
    let path = request.path.strip_suffix('/').unwrap_or(request.path);
    match (path, request.operation) {
        ("role" | "roles", O::List) => {
            named::list(ctx, &role::prefix(ctx.barrier, mount.uuid()), request.query)
        }
        (CLIENT_PATH, O::Read) => client::read(ctx, mount),
        (CLIENT_PATH, O::Write) => client::write(ctx, mount, request.body),
        (CLIENT_PATH, O::Delete) => client::delete(ctx, mount),
        (IDENTITY_PATH, O::Read) => identity_config::read(ctx, mount),
        (IDENTITY_PATH, O::Write) => identity_config::write(ctx, mount, request.body),
        ("role" | "roles" | CLIENT_PATH | IDENTITY_PATH, _) => Err(Error::Unsupported),
        _ => {
            let name = method::subject(path.strip_prefix("role/").ok_or(Error::NotFound)?)?;
            match request.operation {
                O::Read => role::read(ctx, mount, &name),
                O::Write => role::write(ctx, mount, &name, request.body),
                O::Delete => role::delete(ctx, mount, &name),
                _ => Err(Error::Unsupported),
            }
        }
    }
}

/// That a token's role is there, is the same one, and is still bound to whom the token was given.
///
/// # Errors
/// [`Error::Invalid`]: not so.
pub fn holds(ctx: &Context<'_>, origin: &LoginOrigin, entry: &TokenEntry) -> Result<Precondition, Error> {
    let key = role::key(ctx.barrier, &origin.mount_uuid, &origin.subject);
    let found = stored::load::<role::Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)?;
    let found = found.filter(|found| entry.meta.get(login::ROLE_ID) == Some(&found.value.role_id));
    let found =
        found.ok_or_else(|| Error::invalid("the role of this token no longer exists, cannot renew"))?;
    if !found.value.is_bound_to(&origin.principal) {
        return Err(Error::invalid("the role is no longer bound to this IAM principal, cannot renew"));
    }
    Ok(Precondition { key: key.into(), revision: found.revision })
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
