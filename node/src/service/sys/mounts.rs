//! `sys/internal/ui/mounts`: what callers see of the mounts before they ask for a secret.

use conclave_core::engine::mount::{self, MountTable};
use conclave_core::plan::Reply;
use conclave_core::policy::Acl;
use serde_json::{Map, Value, json};

use crate::service::failure::Failure;

/// For a caller without a token: the mounts that say so themselves, with little about them.
pub fn visible_to_all(table: &MountTable) -> Value {
    let few = |mount: Value| json!({ "description": mount["description"], "options": mount["options"], "type": mount["type"] });
    let mounts: Map<_, _> = mount::list_json(table, mount::Mount::is_listed_for_all)
        .into_iter()
        .map(|(path, mount)| (path, few(mount)))
        .collect();
    json!({ "auth": {}, "secret": mounts })
}

/// For a caller with a token: the mounts in which there may be something for him.
pub fn visible(table: &MountTable, acl: &Acl) -> Value {
    let is_seen = |mount: &mount::Mount| mount.is_listed_for_all() || acl.reaches_below(mount.path());
    json!({ "auth": {}, "secret": mount::list_json(table, is_seen) })
}

/// The mount that serves `path`, if there may be something for the caller in it; clients ask this before each secret, to
/// learn the mount's version.
pub fn serving(table: &MountTable, acl: &Acl, path: &str) -> Result<Reply, Failure> {
    let told = mount::ui_mount(table, path, |mount| acl.reaches_below(mount.path()));
    told.ok_or_else(|| Failure::NoMountToSee { path: path.to_owned() })
}
