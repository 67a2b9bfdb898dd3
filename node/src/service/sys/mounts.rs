//! `sys/internal/ui/mounts`: what callers see of the mounts before they ask for a secret.

use conclave_core::engine::mount::{self, MountTable};
use conclave_core::plan::Reply;
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

/// For a caller that may see everything.
pub fn visible(table: &MountTable) -> Value {
    json!({ "auth": {}, "secret": mount::list_json(table, |_| true) })
}

/// The mount that serves `path`; clients ask this before each secret, to learn the mount's version.
pub fn serving(table: &MountTable, path: &str) -> Result<Reply, Failure> {
    mount::ui_mount(table, path).ok_or_else(|| Failure::NoMountToSee { path: path.to_owned() })
}
