//! `sys/locked-users`: who is locked out, and letting one in again.

use serde_json::{Value, json};

use super::failures;
use crate::auth::method::{self, Method};
use crate::engine::mount::{Mount, MountTable};
use crate::error::Error;
use crate::plan::{Context, Plan, Query, Reply};
use crate::stored;

/// Names that are locked out, by mount; of one mount if `mount_accessor` says so.
///
/// # Errors
/// [`Error::TooLarge`]: they are more than one answer can name.
pub fn locked_users(ctx: &Context<'_>, table: &MountTable, query: &Query) -> Result<Plan, Error> {
    let of = query.first("mount_accessor");
    let mut total = 0;
    let mut mounts = Vec::new();
    let is_asked = |mount: &&Mount| of.is_none_or(|accessor| mount.accessor() == accessor);
    for mount in userpass_mounts(table).filter(is_asked) {
        let prefix = failures::prefix(ctx.barrier, mount.uuid());
        let mut locked = Vec::new();
        for name in stored::names_below(ctx.view, ctx.barrier, &prefix, ctx.now_ms)? {
            if failures::load(ctx, mount, &name)?.is_locked {
                locked.push(name);
            }
        }
        total += locked.len();
        if !locked.is_empty() {
            mounts.push(shown(mount.accessor(), locked.len(), json!(locked)));
        }
    }
    if let Some(accessor) = of.filter(|_| mounts.is_empty()) {
        mounts.push(shown(accessor, 0, Value::Null));
    }
    let all = json!({
        "namespace_id": "root",
        "namespace_path": "",
        "counts": total,
        "mount_accessors": mounts,
    });
    Ok(Reply::json(&json!({ "by_namespace": [all], "total": total })).into())
}

/// Lets one in again: `path` is `ACCESSOR/unlock/NAME`. Nobody who is locked out is no fault.
///
/// # Errors
/// [`Error::NotFound`]: it is another path.
pub fn unlock_user(ctx: &mut Context<'_>, table: &MountTable, path: &str) -> Result<Plan, Error> {
    let (accessor, name) = path.split_once("/unlock/").ok_or(Error::NotFound)?;
    let mount = userpass_mounts(table).find(|mount| mount.accessor() == accessor);
    let (Some(mount), Ok(name)) = (mount, method::subject(name)) else {
        return Ok(Reply::no_content().into());
    };
    let counted = failures::load(ctx, mount, &name)?;
    let mut txn = mount.guarded_txn(ctx);
    if counted.revision > 0 {
        failures::forget(ctx, mount, &name, &counted, &mut txn);
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn userpass_mounts(table: &MountTable) -> impl Iterator<Item = &Mount> {
    table.iter().filter(|mount| Method::of(mount) == Some(Method::Userpass))
}

fn shown(accessor: &str, count: usize, names: Value) -> Value {
    json!({ "mount_accessor": accessor, "counts": count, "alias_identifiers": names })
}
