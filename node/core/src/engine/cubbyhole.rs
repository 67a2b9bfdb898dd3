//! `cubbyhole/`: a place that each token has for itself, and that nobody else gets to, not even root. It is at every token's
//! hand, so it is in no mount table and cannot be moved or disabled.

use std::collections::BTreeSet;

use conclave_proto::log::Txn;
use conclave_proto::path::SecretPath;
use serde_json::{Value, json};

use crate::auth::token::cubbyhole::{self, Kept};
use crate::auth::token::{Identified, TokenKind};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply, Request};
use crate::policy::Permit;

use super::text::JsonText;

/// Where it lies, with its slash.
pub const PATH: &str = "cubbyhole/";

/// The path below the cubbyhole, if `path` leads there.
pub fn below(path: &str) -> Option<&str> {
    if path == "cubbyhole" { Some("") } else { path.strip_prefix(PATH) }
}

/// Whether a write to `path` would make something that is not there yet.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn creates(ctx: &Context<'_>, owner: &Identified, path: &str) -> Result<bool, Error> {
    let found = cubbyhole::load(ctx, &owner.hash())?;
    Ok(!found.is_some_and(|found| found.value.entries.contains_key(path)))
}

/// Plans one request of `owner` to his own.
///
/// # Errors
/// [`Error::Denied`]: the permit is for another operation. [`Error::Invalid`], [`Error::NotFound`],
/// [`Error::Unsupported`], [`Error::TooLarge`]: as the rules say. [`Error::Corrupt`], [`Error::View`]: the stored state is
/// damaged or cannot be read.
pub fn handle(
    ctx: &mut Context<'_>,
    permit: &Permit,
    owner: &Identified,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    if permit.operation() != request.operation {
        return Err(Error::Denied);
    }
    if owner.entry.kind == TokenKind::Batch {
        return Err(Error::invalid("cubbyhole operations are only supported by 'service' type tokens"));
    }
    match request.operation {
        Operation::Read => read(ctx, owner, request),
        Operation::Write => write(ctx, owner, request),
        Operation::Delete => delete(ctx, owner, request),
        Operation::List => list(ctx, owner, request),
        Operation::Patch | Operation::Scan => Err(Error::Unsupported),
    }
}

fn read(ctx: &Context<'_>, owner: &Identified, request: &Request<'_>) -> Result<Plan, Error> {
    if request.path.is_empty() {
        return Err(Error::invalid("missing path"));
    }
    let found = cubbyhole::load(ctx, &owner.hash())?.ok_or(Error::NotFound)?;
    let entry = found.value.entries.get(request.path).ok_or(Error::NotFound)?;
    let mut reply = JsonText::of(entry).reply(200);
    reply.warnings = fields::unknown_warning(request.query.names(), &[]);
    Ok(reply.into())
}

fn write(ctx: &mut Context<'_>, owner: &Identified, request: &Request<'_>) -> Result<Plan, Error> {
    if request.path.is_empty() {
        return Err(Error::invalid("missing path"));
    }
    if request.path.ends_with('/') {
        return Err(Error::invalid("cannot write to a path ending in '/'"));
    }
    SecretPath::parse(request.path).map_err(|error| Error::invalid(error.to_string()))?;
    if request.body.is_empty() {
        return Err(Error::invalid("missing data fields"));
    }
    change(ctx, owner, |kept| {
        kept.entries.insert(request.path.to_owned(), request.body.clone());
    })
}

fn delete(ctx: &mut Context<'_>, owner: &Identified, request: &Request<'_>) -> Result<Plan, Error> {
    if creates(ctx, owner, request.path)? {
        return Ok(Reply::no_content().into());
    }
    change(ctx, owner, |kept| {
        kept.entries.remove(request.path);
    })
}

fn change(ctx: &mut Context<'_>, owner: &Identified, edit: impl FnOnce(&mut Kept)) -> Result<Plan, Error> {
    let hash = owner.hash();
    let found = cubbyhole::load(ctx, &hash)?;
    // One that has expired and is not dropped yet belongs to a token that has expired too.
    let (mut kept, revision) = found.map(|found| (found.value, found.revision)).unwrap_or_default();
    edit(&mut kept);
    let mut txn = Txn::default();
    if kept.entries.is_empty() {
        let key = cubbyhole::key(ctx.barrier, &hash);
        txn.require(key.clone(), revision);
        txn.delete(key);
    } else {
        cubbyhole::put(ctx, &mut txn, &hash, &kept, revision, owner.expires_at_ms)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// The names directly below a path; those with more below them end in a slash.
fn list(ctx: &Context<'_>, owner: &Identified, request: &Request<'_>) -> Result<Plan, Error> {
    let prefix = match request.path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    let found = cubbyhole::load(ctx, &owner.hash())?.ok_or(Error::NotFound)?;
    let below = found.value.entries.keys().filter_map(|path| path.strip_prefix(&prefix));
    let names: BTreeSet<&str> = below.filter_map(|rest| rest.split_inclusive('/').next()).collect();
    if names.is_empty() {
        return Err(Error::NotFound);
    }
    let names: Vec<Value> = names.into_iter().map(Value::from).collect();
    let mut reply = Reply::json(&json!({ "keys": names }));
    reply.warnings = fields::unknown_warning(request.query.names(), &[]);
    Ok(reply.into())
}

#[cfg(test)]
#[path = "cubbyhole_tests.rs"]
mod tests;
