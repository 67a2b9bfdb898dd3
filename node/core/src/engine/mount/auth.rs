//! Auth mounts: the rows of the table below `auth/`. They are kept, tuned and cleared away like those of engines; what
//! answers below them are login methods.

use serde_json::{Map, Value};

use super::change::{describe, drop_mount, expect_operation, mount_path, plan_insert};
use super::json::mount_json;
use super::record::{LockoutConfig, MountRecord};
use super::{Mount, MountTable, settings, system, with_slash};
use crate::auth::token::{TokenKind, anchor};
use crate::auth::{AskedKind, Method};
use crate::crypto::Barrier;
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::fields;
use crate::identity::mounts::token_accessor;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::policy::Permit;

/// Where all auth mounts are.
pub const AUTH_PREFIX: &str = "auth/";
/// The method that is always there.
pub(super) const TOKEN_PATH: &str = "auth/token/";
pub(super) const TOKEN_TYPE: &str = "token";
/// The tokens that a mount's logins give unless it says otherwise.
const TOKEN_TYPE_DEFAULT: &str = "default-service";
/// Longest time that a user may be locked out or counted against, in seconds: a year.
const LOCKOUT_S_MAX: i64 = 366 * 24 * 3_600;
/// Wrong passwords that a mount can allow at most.
const LOCKOUT_THRESHOLD_MAX: i64 = 1_000;

/// `auth/token/`, as [`super::system`] shows `sys/`.
pub(super) fn token_mount(barrier: &Barrier) -> Mount {
    let record = MountRecord {
        accessor: token_accessor(barrier),
        description: "token based credentials".to_owned(),
        ..system::record(barrier, TOKEN_PATH, TOKEN_TYPE)
    };
    Mount { record, table_revision: 0 }
}

impl Mount {
    pub fn is_auth(&self) -> bool {
        is_below(self.path())
    }

    /// As lists of mounts of its class name it: an auth mount without `auth/`.
    pub fn own_path(&self) -> &str {
        self.path().strip_prefix(AUTH_PREFIX).unwrap_or(self.path())
    }

    pub(super) fn token_type(&self) -> &str {
        match self.record.token_type.as_str() {
            "" => TOKEN_TYPE_DEFAULT,
            kind => kind,
        }
    }

    /// Which tokens a login gives whose user or role asks for these. The mount may leave it to them or not.
    pub fn kind_for(&self, asked: AskedKind) -> TokenKind {
        match (self.token_type(), asked) {
            ("batch", _) | ("default-batch", AskedKind::Default) => TokenKind::Batch,
            ("service", _) | (_, AskedKind::Default | AskedKind::Service) => TokenKind::Service,
            (_, AskedKind::Batch) => TokenKind::Batch,
        }
    }
}

/// `POST sys/auth/PATH`.
///
/// # Errors
/// [`Error::Invalid`]: bad fields, or the path is in use. [`Error::TooLarge`]: the table is full.
pub fn enable_auth(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    path: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    expect_operation(permit, Operation::Write)?;
    let path = mount_path(&format!("{AUTH_PREFIX}{path}"))?;
    let mut mount = MountRecord { path: path.clone(), created_ms: context.now_ms, ..MountRecord::default() };
    let method = match fields::text(body, "type")?.unwrap_or_default().as_str() {
        "" => return Err(Error::invalid("backend type must be specified as a string")),
        TOKEN_TYPE => return Err(Error::invalid("token credential backend cannot be instantiated")),
        name => Method::named(name),
    };
    let method = method.ok_or_else(|| {
        Error::invalid(format!("plugin not found in the catalog: there are {}", Method::names().join(", ")))
    })?;
    mount.engine_type = method.name().to_owned();
    mount.options = settings::options(body)?;
    describe(&mut mount, body)?;
    if let Some(config) = fields::object(body, "config")? {
        if config.contains_key("user_lockout_config") {
            return Err(Error::invalid("user_lockout_config is set by tuning the mount"));
        }
        settings::apply_to_new(&mut mount, config)?;
    }
    let conflict = if path.starts_with(TOKEN_PATH) { Some(&table.token) } else { table.conflict(&path) };
    if let Some(conflict) = conflict {
        return Err(Error::invalid(format!("path is already in use at {}", conflict.own_path())));
    }
    let (mut txn, uuid) = plan_insert(context, table, mount, &format!("auth_{}", method.name()))?;
    anchor::put(context, &mut txn, &uuid)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// `DELETE sys/auth/PATH`: all tokens of its logins end with it, at once. No mount there is no fault.
///
/// # Errors
/// [`Error::Invalid`]: it is `token/`, or too much of disabled mounts is not deleted yet.
pub fn disable_auth(
    context: &mut Context<'_>,
    permit: &Permit,
    table: &MountTable,
    path: &str,
) -> Result<Plan, Error> {
    let path = mount_path(&format!("{AUTH_PREFIX}{path}"))?;
    if path == TOKEN_PATH {
        return Err(Error::invalid("token credential backend cannot be disabled"));
    }
    drop_mount(context, permit, table, &path)
}

/// Why an auth mount is not moved.
pub(super) fn remount_refusal(table: &MountTable, from: &str, to: &str) -> Error {
    Error::invalid(if !is_below(to) {
        format!("cannot remount auth mount to non-auth mount \"{to}\"")
    } else if table.find(from).is_none() {
        format!("no matching mount at \"{from}\"")
    } else {
        "moving auth mounts is not supported".to_owned()
    })
}

/// Auth mounts by their own paths, those that the caller may see; also the `auth` part of `sys/internal/ui/mounts`.
pub fn list_auth(table: &MountTable, visible: impl Fn(&Mount) -> bool) -> Map<String, Value> {
    table
        .iter()
        .filter(|mount| mount.is_auth())
        .chain([&table.token])
        .filter(|mount| visible(mount))
        .map(|mount| (mount.own_path().to_owned(), mount_json(mount)))
        .collect()
}

/// `GET sys/auth/PATH`.
///
/// # Errors
/// [`Error::Invalid`]: there is no such mount.
pub fn read_auth(table: &MountTable, path: &str) -> Result<Reply, Error> {
    let Some(mount) = table.find_shown(&format!("{AUTH_PREFIX}{path}")) else {
        return Err(Error::invalid(format!("No auth engine at {}", with_slash(path))));
    };
    Ok(JsonText::of(&mount_json(mount)).reply(200))
}

pub(super) fn is_below(path: &str) -> bool {
    path.starts_with(AUTH_PREFIX)
}

/// Which tokens a mount's logins give.
pub(super) fn token_type(kind: &str) -> Result<String, Error> {
    match kind {
        "" | TOKEN_TYPE_DEFAULT => Ok(String::new()),
        "service" | "batch" | "default-batch" => Ok(kind.to_owned()),
        _ => Err(Error::invalid("invalid value for 'token_type'")),
    }
}

/// The settings with those that `given` names changed.
pub(super) fn lockout(mut config: LockoutConfig, given: &Map<String, Value>) -> Result<LockoutConfig, Error> {
    if let Some(threshold) = fields::integer(given, "lockout_threshold")? {
        config.threshold = bounded(threshold, LOCKOUT_THRESHOLD_MAX, "lockout_threshold")?;
    }
    if let Some(duration_s) = fields::duration_s(given, "lockout_duration")? {
        config.duration_s = bounded(duration_s, LOCKOUT_S_MAX, "lockout_duration")?;
    }
    if let Some(reset_s) = fields::duration_s(given, "lockout_counter_reset_duration")? {
        config.counter_reset_s = bounded(reset_s, LOCKOUT_S_MAX, "lockout_counter_reset_duration")?;
    }
    if let Some(disabled) = fields::boolean(given, "lockout_disable")? {
        config.disabled = disabled;
    }
    Ok(config)
}

fn bounded(value: i64, max: i64, name: &str) -> Result<u64, Error> {
    let fits = u64::try_from(value).ok().filter(|_| value <= max);
    fits.ok_or_else(|| Error::invalid(format!("{name} is between 0 and {max}")))
}
