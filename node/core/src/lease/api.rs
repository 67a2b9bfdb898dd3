//! `sys/leases`: what is asked of leases, and answered as OpenBao answers it.

use conclave_proto::log::Txn;
use conclave_proto::path::SecretPath;
use serde_json::{Map, Value, json};

use super::{record, revoke};
use crate::auth::token::{self, Found, plan_revoke, tidy};
use crate::crypto::Kind;
use crate::engine::listing::{Listing, Page, keys_reply};
use crate::engine::mount::MountTable;
use crate::engine::time_text;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Query, Reply};

const MS_PER_S: u64 = 1_000;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseRequest {
    Lookup,
    /// What lies below a path.
    List,
    Renew,
    Revoke,
    RevokePrefix,
    RevokeForce,
    Count,
    /// Those that cannot be revoked.
    Irrevocable,
    Tidy,
}

/// Plans what was asked of what `captured` names. The caller has been permitted to ask it.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: LeaseRequest,
    captured: &str,
    table: &MountTable,
    query: &Query,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    use LeaseRequest as R;
    match request {
        R::Lookup => lookup(ctx, body),
        R::List => list(ctx, captured, query),
        R::Renew => Err(renewal_refusal(ctx, captured, body)?),
        R::Revoke => revoke(ctx, captured, body),
        R::RevokePrefix => {
            let waits = fields::boolean(body, "sync")?.unwrap_or(true);
            revoke_prefix(ctx, captured, waits)
        }
        // What is revoked is in this cluster, so that nothing can fail that would have to be ignored.
        R::RevokeForce => revoke_prefix(ctx, captured, true),
        R::Count => count(ctx, table, query),
        R::Irrevocable => irrevocable(query),
        R::Tidy => tidy::plan_start(ctx),
    }
}

fn lookup(ctx: &Context<'_>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let id = named("", body)?;
    let found = find(ctx, &id)?.ok_or_else(|| Error::invalid("invalid lease"))?;
    let entry = &found.entry;
    let time = |ms: u64| if ms > 0 { time_text(ms).into() } else { Value::Null };
    let left_ms = found.expires_at_ms.saturating_sub(ctx.now_ms);
    let path: Vec<&str> = record::segments(&entry.path).collect();
    let data = json!({
        "id": id,
        "issue_time": time_text(entry.created_ms),
        "expire_time": time(found.expires_at_ms),
        "last_renewal": time(entry.renewed_ms),
        "path": path.join("/"),
        "renewable": entry.renewable && found.expires_at_ms > 0,
        "ttl": left_ms / MS_PER_S,
    });
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &["lease_id"]);
    Ok(Reply { warnings, ..Reply::json(&data) }.into())
}

fn list(ctx: &Context<'_>, prefix: &str, query: &Query) -> Result<Plan, Error> {
    let prefix = SecretPath::parse_prefix(prefix).map_err(|error| Error::invalid(error.to_string()))?;
    let page = Page::of(query)?;
    let names = Listing { kind: Kind::Lease, root: &[], prefix, page, with_payloads: false }.children(ctx)?;
    if names.is_empty() {
        return Err(Error::NotFound);
    }
    let warnings = fields::unknown_warning(query.names(), &Page::PARAMETERS);
    Ok(Reply { warnings, ..keys_reply(&names) }.into())
}

/// A token is renewed as a token, not as a lease: why this one is not renewed here.
fn renewal_refusal(ctx: &Context<'_>, captured: &str, body: &Map<String, Value>) -> Result<Error, Error> {
    let id = named(captured, body)?;
    fields::duration_s(body, "increment")?;
    Ok(Error::invalid(match find(ctx, &id)? {
        None => "lease not found",
        Some(found) if found.expires_at_ms == 0 || !found.entry.renewable => "lease is not renewable",
        Some(_) => "tokens cannot be renewed through this endpoint",
    }))
}

fn revoke(ctx: &mut Context<'_>, captured: &str, body: &Map<String, Value>) -> Result<Plan, Error> {
    let id = named(captured, body)?;
    let waits = fields::boolean(body, "sync")?.unwrap_or(true);
    let txn = match find(ctx, &id)? {
        Some(found) => plan_revoke(ctx, &found)?,
        None => Txn::default(),
    };
    // It is done either way: who does not wait is told so as if it were not yet.
    Ok(Plan { txn, reply: Reply::empty(if waits { 204 } else { 202 }) })
}

fn revoke_prefix(ctx: &mut Context<'_>, prefix: &str, waits: bool) -> Result<Plan, Error> {
    match find(ctx, prefix)? {
        Some(found) => {
            let txn = plan_revoke(ctx, &found)?;
            Ok(Plan { txn, reply: Reply::empty(if waits { 204 } else { 202 }) })
        }
        None => revoke::plan_below(ctx, prefix, waits),
    }
}

/// `type=irrevocable` as OpenBao has it; `type=all` counts all, by the accessors of their mounts.
fn count(ctx: &Context<'_>, table: &MountTable, query: &Query) -> Result<Plan, Error> {
    let (counts, total) = match query.first("type").map(str::to_ascii_lowercase).as_deref() {
        Some("irrevocable") => (Map::new(), 0),
        Some("all") => (counts(ctx, table)?, record::count(ctx.view, ctx.barrier, "")?.unwrap_or_default()),
        _ => return Err(Error::NotFound),
    };
    Ok(Reply::json(&json!({ "counts": counts, "lease_count": total })).into())
}

fn counts(ctx: &Context<'_>, table: &MountTable) -> Result<Map<String, Value>, Error> {
    let mut counts = Map::new();
    for mount in table.iter_shown() {
        let count = record::count(ctx.view, ctx.barrier, mount.path())?;
        if let Some(count) = count.filter(|count| *count > 0) {
            counts.insert(mount.accessor().to_owned(), count.into());
        }
    }
    Ok(counts)
}

/// Tokens can always be revoked.
fn irrevocable(query: &Query) -> Result<Plan, Error> {
    if query.first("type").is_none_or(|kind| !kind.eq_ignore_ascii_case("irrevocable")) {
        return Err(Error::NotFound);
    }
    let limit = query.first("limit").filter(|limit| !limit.is_empty() && !limit.eq_ignore_ascii_case("none"));
    if limit.is_some_and(|limit| !limit.parse().is_ok_and(|limit: u64| limit > 0)) {
        return Err(Error::invalid("limit must be 'none' or a positive integer"));
    }
    Ok(Reply::json(&json!({ "lease_count": 0, "leases": [] })).into())
}

/// The id in the body or in the path.
fn named(captured: &str, body: &Map<String, Value>) -> Result<String, Error> {
    let given = fields::text(body, "lease_id")?.filter(|id| !id.is_empty());
    match given {
        Some(given) if !captured.is_empty() && given != captured => {
            Err(Error::invalid("lease_id is one in the path and another in the body: leave one of them out"))
        }
        Some(given) => Ok(given),
        None if captured.is_empty() => Err(Error::invalid("lease_id must be specified")),
        None => Ok(captured.to_owned()),
    }
}

/// The token that the lease with this id is of, if both hold.
fn find(ctx: &Context<'_>, id: &str) -> Result<Option<Found>, Error> {
    let Some(hash) = record::hash_in(id) else { return Ok(None) };
    let found = token::find(ctx.view, ctx.barrier, hash, ctx.now_ms)?;
    Ok(found.filter(|found| found.entry.has_lease() && record::id_of(&found.entry, hash) == id))
}
