//! `sys/internal/ui/mounts`: what callers see of the mounts before they ask for a secret.

use conclave_core::Error;
use conclave_core::engine::mount::{self, MountTable};
use conclave_core::plan::{Context, Plan, Reply};
use conclave_core::policy::{Acl, Permit};
use serde_json::{Map, Value, json};

use crate::service::failure::Failure;
use crate::service::route::AuthMountRequest;

/// For a caller without a token: the mounts that say so themselves, with little about them.
pub fn visible_to_all(table: &MountTable) -> Value {
    let few = |mount: Value| json!({ "description": mount["description"], "options": mount["options"], "type": mount["type"] });
    let mounts: Map<_, _> = mount::list_json(table, mount::Mount::is_listed_for_all)
        .into_iter()
        .map(|(path, mount)| (path, few(mount)))
        .collect();
    let auth_mounts: Map<_, _> = mount::list_auth(table, mount::Mount::is_listed_for_all)
        .into_iter()
        .map(|(path, mount)| (path, few(mount)))
        .collect();
    json!({ "auth": auth_mounts, "secret": mounts })
}

/// For a caller with a token: the mounts in which there may be something for him.
pub fn visible(table: &MountTable, acl: &Acl) -> Value {
    let is_seen = |mount: &mount::Mount| mount.is_listed_for_all() || acl.reaches_below(mount.path());
    json!({ "auth": mount::list_auth(table, is_seen), "secret": mount::list_json(table, is_seen) })
}

/// The mount that serves `path`, if there may be something for the caller in it; clients ask this before each secret, to
/// learn the mount's version.
pub fn serving(table: &MountTable, acl: &Acl, path: &str) -> Result<Reply, Failure> {
    let told = mount::ui_mount(table, path, |mount| acl.reaches_below(mount.path()));
    told.ok_or_else(|| Failure::NoMountToSee { path: path.to_owned() })
}

/// What is asked of auth mounts. They lie in the same table as those of engines, below `auth/`.
///
/// # Errors
/// As the table's rules say.
pub fn auth(
    ctx: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    request: AuthMountRequest,
    path: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let full_path = format!("{}{path}", mount::AUTH_PREFIX);
    match request {
        AuthMountRequest::List => Ok(Reply::json(&mount::list_auth(table, |_| true)).into()),
        AuthMountRequest::Read => mount::read_auth(table, path).map(Plan::from),
        AuthMountRequest::ReadTune => mount::read_tune(table, &full_path).map(Plan::from),
        AuthMountRequest::Enable => mount::enable_auth(ctx, permit, table, path, body),
        AuthMountRequest::Disable => mount::disable_auth(ctx, permit, table, path),
        AuthMountRequest::Tune => mount::tune(ctx, permit, table, &full_path, body),
    }
}
