//! Secret ids: stored only as keyed hashes, below the role that they belong to, so that no handle of one role leads to
//! those of another.

use std::collections::BTreeMap;
use std::fmt;

use conclave_proto::log::Txn;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::role::{self, Role};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
const MS_PER_S: u64 = 1_000;

/// What is known of a secret id. Not the secret id itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretId {
    pub(super) version: u32,
    /// A handle that can look it up and destroy it but not log in.
    pub accessor: String,
    /// Unix milliseconds of the cluster's time.
    pub created_ms: u64,
    pub updated_ms: u64,
    /// How often it can still be used; 0: as often as one likes.
    pub uses_left: u64,
    /// 0: for ever.
    pub ttl_s: u64,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// From where a login with it may come; empty: from everywhere.
    #[serde(default)]
    pub cidr_list: Vec<IpNet>,
    /// In place of the role's, if there are any.
    #[serde(default)]
    pub token_bound_cidrs: Vec<IpNet>,
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretId")
    }
}

/// From an accessor to its secret id.
#[derive(Serialize, Deserialize)]
struct ByAccessor {
    hash: String,
}

/// A secret id that was found.
pub struct Found {
    pub hash: String,
    pub stored: Stored<SecretId>,
}

/// What stands for a secret id, in hex.
pub fn hash(barrier: &Barrier, role: &Role, secret_id: &str) -> String {
    barrier.token_hash(format!("\0secret-id/{}/{secret_id}", role.uid).as_bytes())
}

fn key(barrier: &Barrier, mount: &Mount, role: &Role, hash: &str) -> Vec<u8> {
    barrier.key(Kind::SecretId, [mount.uuid(), &role.uid, hash])
}

fn accessor_key(barrier: &Barrier, mount: &Mount, role: &Role, accessor: &str) -> Vec<u8> {
    barrier.key(Kind::SecretIdAccessor, [mount.uuid(), &role.uid, accessor])
}

impl SecretId {
    pub fn new(ctx: &mut Context<'_>, uses: u64, ttl_s: u64) -> Self {
        Self {
            version: VERSION,
            accessor: role::uuid(ctx),
            created_ms: ctx.now_ms,
            updated_ms: ctx.now_ms,
            uses_left: uses,
            ttl_s,
            metadata: BTreeMap::new(),
            cidr_list: Vec::new(),
            token_bound_cidrs: Vec::new(),
        }
    }

    /// What a lookup answers.
    pub fn show(&self) -> Value {
        let ends_ms = self.ends_ms();
        json!({
            "cidr_list": texts(&self.cidr_list),
            "creation_time": time(self.created_ms),
            "expiration_time": if ends_ms == 0 { Value::from("0001-01-01T00:00:00Z") } else { time(ends_ms) },
            "last_updated_time": time(self.updated_ms),
            "metadata": self.metadata,
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.uses_left,
            "secret_id_ttl": self.ttl_s,
            "token_bound_cidrs": texts(&self.token_bound_cidrs),
        })
    }

    fn ends_ms(&self) -> u64 {
        if self.ttl_s == 0 { 0 } else { self.created_ms.saturating_add(self.ttl_s * MS_PER_S) }
    }
}

/// The secret id of a role with this hash, if it has not ended.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn load(ctx: &Context<'_>, mount: &Mount, role: &Role, hash: &str) -> Result<Option<Found>, Error> {
    let key = key(ctx.barrier, mount, role, hash);
    match stored::load::<SecretId>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        found => Ok(found.map(|stored| Found { hash: hash.to_owned(), stored })),
    }
}

/// The secret id of a role with this accessor, if it has not ended.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn by_accessor(
    ctx: &Context<'_>,
    mount: &Mount,
    role: &Role,
    accessor: &str,
) -> Result<Option<Found>, Error> {
    let key = accessor_key(ctx.barrier, mount, role, accessor);
    match stored::load::<ByAccessor>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(found) => load(ctx, mount, role, &found.value.hash),
        None => Ok(None),
    }
}

/// Accessors of a role's secret ids, in order.
///
/// # Errors
/// [`Error::TooLarge`]: there are more than one answer can name.
pub fn accessors(ctx: &Context<'_>, mount: &Mount, role: &Role) -> Result<Vec<String>, Error> {
    let prefix = ctx.barrier.key(Kind::SecretIdAccessor, [mount.uuid(), &role.uid]);
    stored::names_below(ctx.view, ctx.barrier, &prefix, ctx.now_ms)
}

/// Writes a new secret id, and the way to it by its accessor.
///
/// # Errors
/// [`Error::Invalid`]: the role has it already.
pub fn put_new(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    mount: &Mount,
    role: &Role,
    hash: &str,
    secret_id: &SecretId,
) -> Result<(), Error> {
    let place = key(ctx.barrier, mount, role, hash);
    let stamp = ctx.view.stamp(&place)?;
    if stamp.is_some_and(|stamp| !stored::has_expired(stamp.expires_at_ms, ctx.now_ms)) {
        return Err(Error::invalid("failed to store secret_id: SecretID is already registered"));
    }
    txn.require(place, stamp.map_or(0, |stamp| stamp.revision));
    put(ctx, txn, mount, role, hash, secret_id)?;
    let accessor = &secret_id.accessor;
    let key = accessor_key(ctx.barrier, mount, role, accessor);
    let path = format!("{}/{accessor}", role.uid);
    stored::put(ctx, txn, &key, &path, &ByAccessor { hash: hash.to_owned() }, secret_id.ends_ms())
}

fn put(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    mount: &Mount,
    role: &Role,
    hash: &str,
    secret_id: &SecretId,
) -> Result<(), Error> {
    let key = key(ctx.barrier, mount, role, hash);
    stored::put(ctx, txn, &key, &format!("{}/{hash}", role.uid), secret_id, secret_id.ends_ms())
}

/// Requires that a secret id is as it was found, and counts one use of it. The last one ends it.
///
/// # Errors
/// The active key has sealed too much.
pub fn plan_use(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    mount: &Mount,
    role: &Role,
    found: &Found,
) -> Result<(), Error> {
    let secret_id = &found.stored.value;
    match secret_id.uses_left {
        1 => delete(ctx, txn, mount, role, found),
        0 => txn.require(key(ctx.barrier, mount, role, &found.hash), found.stored.revision),
        uses_left => {
            txn.require(key(ctx.barrier, mount, role, &found.hash), found.stored.revision);
            let used = SecretId { uses_left: uses_left - 1, updated_ms: ctx.now_ms, ..secret_id.clone() };
            put(ctx, txn, mount, role, &found.hash, &used)?;
        }
    }
    Ok(())
}

/// Ends a secret id.
pub fn delete(ctx: &Context<'_>, txn: &mut Txn, mount: &Mount, role: &Role, found: &Found) {
    let key = key(ctx.barrier, mount, role, &found.hash);
    txn.require(key.clone(), found.stored.revision);
    txn.delete(key);
    txn.delete(accessor_key(ctx.barrier, mount, role, &found.stored.value.accessor));
}

fn texts(nets: &[IpNet]) -> Value {
    json!(nets.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn time(time_ms: u64) -> Value {
    let time = i64::try_from(time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}
