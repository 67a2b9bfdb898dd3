//! What `sys/mounts`, `sys/internal/ui/mounts` and `sys/remount/status` answer.

use serde_json::{Map, Value, json};

use super::{LEASE_DEFAULT_S, Mount, MountTable, system};
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::plan::Reply;

/// What mounts say they run: there are no plugins, so it is this program.
const RUNNING_VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), "+builtin.conclave");

/// `GET sys/mounts`.
pub fn list(table: &MountTable) -> Reply {
    JsonText::of(&list_json(table, |_| true)).reply(200)
}

/// Mounts by path, those that the caller may see; also the `secret` part of `sys/internal/ui/mounts`.
pub fn list_json(table: &MountTable, visible: impl Fn(&Mount) -> bool) -> Map<String, Value> {
    table
        .iter()
        .chain([&table.system])
        .filter(|mount| visible(mount))
        .map(|mount| (mount.path().to_owned(), mount_json(mount)))
        .collect()
}

/// `GET sys/mounts/PATH`.
///
/// # Errors
/// [`Error::Invalid`]: there is no mount.
pub fn read(table: &MountTable, path: &str) -> Result<Reply, Error> {
    let Some(mount) = table.find_shown(path) else {
        return Err(Error::invalid(format!("No secret engine mount at {}", super::with_slash(path))));
    };
    Ok(JsonText::of(&mount_json(mount)).reply(200))
}

/// `GET sys/mounts/PATH/tune`.
///
/// # Errors
/// [`Error::Invalid`]: there is no mount.
pub fn read_tune(table: &MountTable, path: &str) -> Result<Reply, Error> {
    let Some(mount) = table.find_shown(path) else {
        return Err(Error::invalid(format!("cannot fetch sysview for path \"{}\"", super::with_slash(path))));
    };
    let mut tuned = config_json(mount);
    let record = &mount.record;
    let max_s = if record.max_lease_s == 0 { LEASE_DEFAULT_S } else { record.max_lease_s };
    tuned.insert("default_lease_ttl".to_owned(), mount.effective_default_lease_s().into());
    tuned.insert("max_lease_ttl".to_owned(), max_s.into());
    tuned.insert("description".to_owned(), record.description.clone().into());
    if record.external_entropy_access {
        tuned.insert("external_entropy_access".to_owned(), true.into());
    }
    if !record.options.is_empty() {
        tuned.insert("options".to_owned(), json!(record.options));
    }
    Ok(JsonText::of(&tuned).reply(200))
}

/// `GET sys/internal/ui/mounts/PATH`, where the path may go on below the mount. `None`: no mount leads there; the
/// server answers as if the caller were not allowed, so that nothing can be learnt from it.
pub fn ui_mount(table: &MountTable, path: &str, visible: impl Fn(&Mount) -> bool) -> Option<Reply> {
    let mount = table.resolve_shown(path).filter(|mount| visible(mount))?;
    let mut json = mount_json(mount);
    json["path"] = mount.path().into();
    Some(JsonText::of(&json).reply(200))
}

/// `GET sys/remount/status/ID`: the last moves are remembered.
///
/// # Errors
/// [`Error::NotFound`]: no such move is known.
pub fn remount_status(table: &MountTable, id: &str) -> Result<Reply, Error> {
    let moved = table.moves.iter().find(|moved| moved.id == id).ok_or(Error::NotFound)?;
    let json = json!({
        "migration_id": moved.id,
        "migration_info": { "source_mount": moved.source, "status": "success", "target_mount": moved.target },
    });
    Ok(JsonText::of(&json).reply(200))
}

fn mount_json(mount: &Mount) -> Value {
    let record = &mount.record;
    let mut shown = json!({
        "accessor": record.accessor,
        "config": config_json(mount),
        "description": record.description,
        "external_entropy_access": record.external_entropy_access,
        "local": record.local,
        "options": null,
        "plugin_version": "",
        "running_plugin_version": RUNNING_VERSION,
        "running_sha256": "",
        "seal_wrap": record.seal_wrap,
        "type": record.engine_type,
        "uuid": record.uuid,
    });
    // Only engines have options, and can go out of use.
    if record.engine_type != system::TYPE {
        shown["deprecation_status"] = "supported".into();
        shown["options"] = json!(record.options);
    }
    shown
}

/// What was set, with the two lease times and `force_no_cache` always.
fn config_json(mount: &Mount) -> Map<String, Value> {
    let record = &mount.record;
    let mut config = Map::new();
    config.insert("default_lease_ttl".to_owned(), record.default_lease_s.into());
    config.insert("force_no_cache".to_owned(), record.force_no_cache.into());
    config.insert("max_lease_ttl".to_owned(), record.max_lease_s.into());
    if !record.listing_visibility.is_empty() {
        config.insert("listing_visibility".to_owned(), record.listing_visibility.clone().into());
    }
    for (name, list) in [
        ("allowed_response_headers", &record.allowed_response_headers),
        ("audit_non_hmac_request_keys", &record.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &record.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &record.passthrough_request_headers),
    ] {
        if !list.is_empty() {
            config.insert(name.to_owned(), json!(list));
        }
    }
    config
}
