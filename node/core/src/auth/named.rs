//! What a mount keeps under names, such as roles and users: written, deleted and listed in one way by all methods.

use conclave_proto::log::Txn;
use serde::Serialize;
use serde_json::json;

use super::method;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::{Context, Plan, Query, Reply};
use crate::stored::{self, Stored};

/// Writes the record at `key` that stood at `revision` (0: it is new).
///
/// # Errors
/// As [`stored::put`].
pub(super) fn put<T: Serialize>(
    ctx: &mut Context<'_>,
    mount: &Mount,
    key: Vec<u8>,
    name: &str,
    revision: u64,
    value: &T,
) -> Result<Txn, Error> {
    let mut txn = mount.guarded_txn(ctx);
    stored::put(ctx, &mut txn, &key, &format!("{}/{name}", mount.uuid()), value, 0)?;
    txn.require(key, revision);
    Ok(txn)
}

/// Deletes the record that was found at `key`. That there is none is no fault.
pub(super) fn delete<T>(ctx: &Context<'_>, mount: &Mount, key: Vec<u8>, found: Option<&Stored<T>>) -> Plan {
    let Some(found) = found else { return Reply::no_content().into() };
    let mut txn = mount.guarded_txn(ctx);
    txn.require(key.clone(), found.revision);
    txn.delete(key);
    Plan { txn, reply: Reply::no_content() }
}

/// The names of all records below `prefix`, or a page of them.
///
/// # Errors
/// [`Error::NotFound`]: there are none. As [`stored::names_below`].
pub(super) fn list(ctx: &Context<'_>, prefix: &[u8], query: &Query) -> Result<Plan, Error> {
    let names = stored::names_below(ctx.view, ctx.barrier, prefix, ctx.now_ms)?;
    Ok(Reply::json(&json!({ "keys": method::page(names, query)? })).into())
}
