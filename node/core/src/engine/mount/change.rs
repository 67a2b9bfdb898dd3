//! Plans that change the mount table: enable, disable, tune and move a mount.
//!
//! Sentences name mount paths, as Vault's do: the caller sent them. They never name anything below a mount.

use conclave_proto::log::Txn;
use conclave_proto::path::SecretPath;
use serde_json::{Map, Value, json};
use uuid::Builder;

use super::record::{KvConfig, MountRecord, MoveRecord};
use super::{DROPPED_MAX, MOVES_KEPT, Mount, MountTable, auth, settings, system, with_slash};
use crate::auth::token;
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::policy::Permit;

/// Paths that belong to the server itself.
const RESERVED: [&str; 4] = ["auth/", "cubbyhole/", "identity/", "sys/"];
/// Settings that a refusal names first.
const TUNABLE: [&str; 4] = ["default_lease_ttl", "max_lease_ttl", "description", "options"];
const UPGRADE_WARNING: &str = "Upgrading mount from version 1 to version 2. This mount will be unavailable for a \
                               brief period and will resume service shortly.";
const MOVE_WARNING: &str = "Mount move is complete: it changes a path and copies no data.";

/// `POST sys/mounts/PATH`.
///
/// # Errors
/// [`Error::Invalid`]: bad fields, or the path is reserved or in use. [`Error::TooLarge`]: the table is full.
pub fn enable(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    path: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    expect_operation(permit, Operation::Write)?;
    let path = mount_path(path)?;
    let mut mount = MountRecord { path: path.clone(), created_ms: context.now_ms, ..MountRecord::default() };
    mount.engine_type = "kv".to_owned();
    mount.options = settings::options(body)?;
    set_version(&mut mount, &fields::text(body, "type")?.unwrap_or_default())?;
    describe(&mut mount, body)?;
    if let Some(config) = fields::object(body, "config")? {
        settings::apply_to_new(&mut mount, config)?;
    }
    if is_reserved(&path) {
        return Err(Error::invalid(format!("cannot mount \"{path}\"")));
    }
    if let Some(conflict) = table.conflict(&path) {
        return Err(Error::invalid(format!("path is already in use at {}", conflict.path())));
    }
    Ok(Plan { txn: plan_insert(context, table, mount, "kv")?.0, reply: Reply::no_content() })
}

/// What every new mount may be told.
pub(super) fn describe(mount: &mut MountRecord, body: &Map<String, Value>) -> Result<(), Error> {
    mount.description = fields::text(body, "description")?.unwrap_or_default();
    mount.local = fields::boolean(body, "local")?.unwrap_or(false);
    mount.seal_wrap = fields::boolean(body, "seal_wrap")?.unwrap_or(false);
    mount.external_entropy_access = fields::boolean(body, "external_entropy_access")?.unwrap_or(false);
    mount.kv_config = KvConfig::default();
    Ok(())
}

/// Puts a new mount into the table, under a uuid, which is returned, and an accessor of its own.
pub(super) fn plan_insert(
    context: &mut Context<'_>,
    table: &MountTable,
    mut mount: MountRecord,
    kind: &str,
) -> Result<(Txn, String), Error> {
    mount.uuid = new_uuid(context);
    let mut accessor = [0; 4];
    context.rng.fill_bytes(&mut accessor);
    mount.accessor = format!("{kind}_{}", hex::encode(accessor));
    let uuid = mount.uuid.clone();
    let mut table = table.clone();
    table.mounts.insert(mount.path.clone(), Mount { record: mount, table_revision: table.revision });
    Ok((table.into_txn(context)?, uuid))
}

/// The type says the version of a KV mount, or leaves it to the options.
fn set_version(mount: &mut MountRecord, engine_type: &str) -> Result<(), Error> {
    let version = match engine_type {
        "kv" => None,
        "kv-v1" => Some("1"),
        "kv-v2" => Some("2"),
        "" => return Err(Error::invalid("backend type must be specified as a string")),
        "cubbyhole" | "identity" | "system" => {
            return Err(Error::invalid(format!("mount type of \"{engine_type}\" is not mountable")));
        }
        _ => return Err(Error::invalid("plugin not found in the catalog: there are kv, kv-v1 and kv-v2")),
    };
    if let Some(version) = version {
        mount.options.insert("version".to_owned(), version.to_owned());
    }
    match mount.options.get("version").map(String::as_str) {
        None | Some("" | "1" | "2") => Ok(()),
        Some(_) => Err(Error::invalid("a kv mount has version \"1\" or \"2\"")),
    }
}

/// `DELETE sys/mounts/PATH`: everything in it is unreachable at once, and deleted later by
/// [`super::housekeeping`]. No mount there is no fault.
///
/// # Errors
/// [`Error::Invalid`]: the path is reserved, or too much of disabled mounts is not deleted yet.
pub fn disable(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    path: &str,
) -> Result<Plan, Error> {
    let path = mount_path(path)?;
    if is_reserved(&path) {
        return Err(Error::invalid(format!("cannot unmount \"{path}\"")));
    }
    drop_mount(context, permit, table, &path)
}

/// Takes a mount out of the table, with all tokens of its logins if it is one for logins.
pub(super) fn drop_mount(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    path: &str,
) -> Result<Plan, Error> {
    expect_operation(permit, Operation::Delete)?;
    let mut table = table.clone();
    let Some(mount) = table.mounts.remove(path) else { return Ok(Reply::no_content().into()) };
    if table.dropped.len() >= DROPPED_MAX {
        return Err(Error::invalid(format!(
            "the data of {DROPPED_MAX} disabled mounts is still being deleted: try again later"
        )));
    }
    let (is_auth, uuid) = (mount.is_auth(), mount.record.uuid);
    table.dropped.push(uuid.clone());
    let mut txn = table.into_txn(context)?;
    if is_auth {
        // Whoever logged in there is refused from here on.
        token::anchor::delete(context, &mut txn, &uuid)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// `POST sys/mounts/PATH/tune`. Setting option `version` to `2` starts the upgrade of a KV v1 mount.
///
/// # Errors
/// [`Error::Invalid`]: no such mount, or bad fields.
pub fn tune(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    path: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    expect_operation(permit, Operation::Write)?;
    let path = mount_path(path)?;
    if system::is_built_in(&path) {
        if body.is_empty() {
            return Ok(Reply::no_content().into());
        }
        return Err(match TUNABLE.iter().find(|name| body.contains_key(**name)) {
            Some(name) => Error::invalid(format!("cannot tune parameter {name} of {path}")),
            None => Error::invalid(format!("cannot tune {path}")),
        });
    }
    if path == auth::TOKEN_PATH {
        return Err(Error::invalid("the settings of auth/token/ cannot be changed"));
    }
    let mut table = table.clone();
    let Some(mount) = table.mounts.get_mut(&path) else {
        return Err(Error::invalid(format!("tune of path \"{path}\" failed: no mount entry found")));
    };
    let before = mount.record.clone();
    settings::apply_to_tuned(&mut mount.record, body)?;
    let is_auth = mount.is_auth();
    for (name, value) in settings::options(body)? {
        if name == "version" && !is_auth {
            tune_version(mount, &value)?;
        } else if value.is_empty() {
            mount.record.options.remove(&name);
        } else {
            mount.record.options.insert(name, value);
        }
    }
    if mount.record == before {
        return Ok(Reply::no_content().into());
    }
    let mut reply = Reply::no_content();
    if mount.record.upgrading && !before.upgrading {
        reply.status = 200;
        reply.warnings.push(UPGRADE_WARNING.to_owned());
    }
    Ok(Plan { txn: table.into_txn(context)?, reply })
}

fn tune_version(mount: &mut Mount, version: &str) -> Result<(), Error> {
    let versioned = mount.is_versioned();
    match (version, versioned) {
        ("2", true) => {}
        ("2", false) => mount.record.upgrading = true,
        ("1", false) => {}
        ("1", true) => return Err(Error::invalid("cannot downgrade mount from version 2")),
        _ => return Err(Error::invalid("invalid version provided: a kv mount has version \"1\" or \"2\"")),
    }
    mount.record.options.insert("version".to_owned(), version.to_owned());
    Ok(())
}

/// `POST sys/remount` with `from` and `to`. It is done when the plan is applied; the answer still carries a
/// `migration_id`, because clients ask [`super::remount_status`] for it.
///
/// # Errors
/// [`Error::Invalid`]: no such mount, or the new path is reserved or in use.
pub fn remount(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    expect_operation(permit, Operation::Write)?;
    let path_in = |name| fields::text(body, name).map(|path| path.filter(|path| !path.is_empty()));
    let (Some(from), Some(to)) = (path_in("from")?, path_in("to")?) else {
        return Err(Error::invalid("both 'from' and 'to' path must be specified as a string"));
    };
    let (from, to) = (mount_path(&from)?, mount_path(&to)?);
    if auth::is_below(&from) && from != auth::TOKEN_PATH {
        return Err(auth::remount_refusal(table, &from, &to));
    }
    if is_reserved(&from) {
        return Err(Error::invalid(format!("cannot remount \"{from}\"")));
    }
    if is_reserved(&to) {
        return Err(Error::invalid(format!("cannot remount to destination {to}")));
    }
    let mut table = table.clone();
    let Some(mut mount) = table.mounts.get(&from).cloned() else {
        return Err(Error::invalid(format!("no matching mount at \"{from}\"")));
    };
    if let Some(conflict) = table.conflict(&to) {
        return Err(Error::invalid(format!("path already in use at \"{}\"", conflict.path())));
    }
    table.mounts.remove(&from);
    mount.record.path.clone_from(&to);
    table.mounts.insert(to.clone(), mount);
    let id = new_uuid(context);
    let surplus = (table.moves.len() + 1).saturating_sub(MOVES_KEPT);
    table.moves.drain(..surplus);
    table.moves.push(MoveRecord { id: id.clone(), source: from, target: to });

    let mut reply = JsonText::of(&json!({ "migration_id": id })).reply(200);
    reply.warnings.push(MOVE_WARNING.to_owned());
    Ok(Plan { txn: table.into_txn(context)?, reply })
}

pub(super) fn expect_operation(permit: &Permit, operation: Operation) -> Result<(), Error> {
    if permit.operation() == operation { Ok(()) } else { Err(Error::Denied) }
}

/// A path to mount at, with its last slash.
pub(super) fn mount_path(path: &str) -> Result<String, Error> {
    let path = path.strip_suffix('/').unwrap_or(path);
    SecretPath::parse(path).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(with_slash(path))
}

fn is_reserved(path: &str) -> bool {
    RESERVED.iter().any(|reserved| path.starts_with(reserved))
}

pub(super) fn new_uuid(context: &mut Context<'_>) -> String {
    let mut bytes = [0; 16];
    context.rng.fill_bytes(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}
