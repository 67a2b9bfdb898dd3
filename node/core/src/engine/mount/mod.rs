//! The mount table: which engine answers under which path. One sealed record holds all of it.
//!
//! A mount's records lie under its uuid, never under its path, so that moving it moves nothing and disabling it makes
//! everything in it unreachable at once; a background task deletes what is left ([`housekeeping`]).
//! Every plan of an engine requires the table's revision, so a write can never land in a mount that has gone or changed.

mod auth;
mod change;
pub mod housekeeping;
mod json;
mod record;
mod settings;
mod system;

use std::collections::BTreeMap;
use std::ops::Bound;

use conclave_proto::log::Txn;
use prost::Message;
use zeroize::Zeroizing;

pub use self::auth::{AUTH_PREFIX, disable_auth, enable_auth, list_auth, read_auth};
pub use self::change::{disable, enable, remount, tune};
pub use self::json::{list, list_json, read, read_tune, remount_status, ui_mount};
pub(super) use self::record::KvConfig;
pub use self::record::LockoutConfig;
use self::record::{MountRecord, MoveRecord, TableRecord};
use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::view::View;

/// Lease duration of secrets whose mount does not say otherwise, in seconds; also the longest default.
pub const LEASE_DEFAULT_S: u64 = 2_764_800;
/// Most disabled mounts whose data is not deleted yet; more cannot be disabled until some is.
pub const DROPPED_MAX: usize = 1_024;
/// How many finished moves are remembered for `sys/remount/status`.
const MOVES_KEPT: usize = 16;
/// The path that the table is sealed with; no mount can have it, because mounts have a uuid there.
const TABLE_PATH: &str = "mounts";

/// All mounts, as of one revision.
#[derive(Clone)]
pub struct MountTable {
    /// By path, which ends in a slash. No path is a prefix of another.
    mounts: BTreeMap<String, Mount>,
    /// Uuids of disabled mounts that may still have records.
    dropped: Vec<String>,
    moves: Vec<MoveRecord>,
    /// 0: nothing was ever mounted.
    revision: u64,
    /// Shown and never stored: what the server itself answers.
    built_in: [Mount; 3],
    /// Likewise: `auth/token/`.
    token: Mount,
}

/// One mount, as of one revision of the table.
#[derive(Clone)]
pub struct Mount {
    record: MountRecord,
    table_revision: u64,
}

impl MountTable {
    /// Where the table lies; its revision changes with every change of any mount, so it can be cached by it.
    pub fn record_key(_barrier: &Barrier) -> Vec<u8> {
        plain_key(Kind::Mounts)
    }

    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`]: the stored table is damaged or cannot be read.
    pub fn load(view: &dyn View, barrier: &Barrier) -> Result<Self, Error> {
        let key = Self::record_key(barrier);
        let (built_in, token) = (system::mounts(barrier), auth::token_mount(barrier));
        let Some(stored) = view.get(&key)? else {
            let (mounts, dropped, moves) = (BTreeMap::new(), Vec::new(), Vec::new());
            return Ok(Self { mounts, dropped, moves, revision: 0, built_in, token });
        };
        let payload = barrier.open(&key, &stored.sealed)?.payload;
        let table = TableRecord::decode(payload.as_slice())
            .map_err(|_| Error::Corrupt("the mount table is malformed".to_owned()))?;
        let revision = stored.revision;
        let mounts = table
            .mounts
            .into_iter()
            .map(|record| (record.path.clone(), Mount { record, table_revision: revision }))
            .collect();
        Ok(Self { mounts, dropped: table.dropped, moves: table.moves, revision, built_in, token })
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The mount that a request's path (without `v1/`) leads to, and the path below it.
    pub fn resolve<'t, 'p>(&'t self, path: &'p str) -> Option<(&'t Mount, &'p str)> {
        let mount = self.at_or_above(path)?;
        // A path that is the mount's own, without the slash, has nothing below.
        Some((mount, path.strip_prefix(mount.path()).unwrap_or("")))
    }

    /// The mount at exactly this path, with or without its last slash; not `sys/`, which has no engine.
    pub fn find(&self, path: &str) -> Option<&Mount> {
        self.mounts.get(&with_slash(path))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.values()
    }

    /// Paths of the mounts that keep versions (KV v2).
    pub fn versioned_paths(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|mount| mount.is_versioned()).map(Mount::path)
    }

    fn at_or_above(&self, path: &str) -> Option<&Mount> {
        // Mounts never nest, so nothing sorts between a mount's path and a path below it.
        let last = self.mounts.range::<str, _>((Bound::Unbounded, Bound::Included(path))).next_back();
        let above =
            last.filter(|(mount_path, _)| path.starts_with(mount_path.as_str())).map(|(_, mount)| mount);
        above.or_else(|| self.find(path))
    }

    /// A mount at, above or below `path` (with its slash), which therefore cannot be mounted on.
    fn conflict(&self, path: &str) -> Option<&Mount> {
        let below = || {
            self.mounts
                .range::<str, _>((Bound::Included(path), Bound::Unbounded))
                .next()
                .map(|(_, mount)| mount)
        };
        self.at_or_above(path).or_else(|| below().filter(|mount| mount.path().starts_with(path)))
    }

    /// Changes the mount with this uuid.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it is gone.
    pub(super) fn change(&mut self, uuid: &str, change: impl FnOnce(&mut Mount)) -> Result<(), Error> {
        let mount = self.mounts.values_mut().find(|mount| mount.uuid() == uuid).ok_or(Error::NotFound)?;
        change(mount);
        Ok(())
    }

    /// The transaction that stores this table if nobody else changes it in between.
    pub(super) fn into_txn(self, context: &mut Context<'_>) -> Result<Txn, Error> {
        let key = Self::record_key(context.barrier);
        let record = TableRecord {
            mounts: self.mounts.into_values().map(|mount| mount.record).collect(),
            dropped: self.dropped,
            moves: self.moves,
        };
        let payload = Zeroizing::new(record.encode_to_vec());
        let sealed =
            context.barrier.seal(&key, TABLE_PATH, &payload, context.rng).map_err(|error| match error {
                Error::TooLarge(_) => {
                    Error::TooLarge("the mount table is full: disable a mount first".to_owned())
                }
                other => other,
            })?;
        let mut txn = Txn::default();
        txn.require(key.clone(), self.revision);
        txn.put(key, sealed);
        Ok(txn)
    }
}

impl Mount {
    /// With its last slash.
    pub fn path(&self) -> &str {
        &self.record.path
    }

    pub fn uuid(&self) -> &str {
        &self.record.uuid
    }

    pub fn accessor(&self) -> &str {
        &self.record.accessor
    }

    /// `kv`, of either version; `system` for what is only shown.
    pub fn engine_type(&self) -> &str {
        &self.record.engine_type
    }

    /// Whether the mount keeps versions (KV v2).
    pub fn is_versioned(&self) -> bool {
        !self.is_auth() && self.record.options.get("version").is_some_and(|version| version == "2")
    }

    /// Whether a KV v1 mount is being turned into a KV v2 one; it answers nothing meanwhile.
    pub fn is_upgrading(&self) -> bool {
        self.record.upgrading
    }

    /// `listing_visibility`: shown to callers without a token.
    pub fn is_listed_for_all(&self) -> bool {
        self.record.listing_visibility == "unauth"
    }

    /// Names of request fields that audit devices write unhashed.
    pub fn audit_plain_request_keys(&self) -> &[String] {
        &self.record.audit_non_hmac_request_keys
    }

    /// Names of response fields that audit devices write unhashed.
    pub fn audit_plain_response_keys(&self) -> &[String] {
        &self.record.audit_non_hmac_response_keys
    }

    /// Lease duration of its secrets and lifetime of its tokens, in seconds.
    pub fn effective_default_lease_s(&self) -> u64 {
        match self.record.default_lease_s {
            0 => LEASE_DEFAULT_S,
            seconds => seconds,
        }
    }

    /// The longest lifetime of a token or lease of it, in seconds.
    pub fn effective_max_lease_s(&self) -> u64 {
        match self.record.max_lease_s {
            0 => LEASE_DEFAULT_S,
            seconds => seconds,
        }
    }

    /// When wrong passwords lock a user out.
    pub fn lockout(&self) -> LockoutConfig {
        self.record.lockout.unwrap_or_default()
    }

    /// A transaction that fails if the mount is disabled, moved or set differently in between (I7).
    pub fn guarded_txn(&self, context: &Context<'_>) -> Txn {
        let mut txn = Txn::default();
        txn.require(MountTable::record_key(context.barrier), self.table_revision);
        txn
    }

    pub(super) fn table_revision(&self) -> u64 {
        self.table_revision
    }

    pub(super) fn kv_config(&self) -> &KvConfig {
        &self.record.kv_config
    }

    pub(super) fn set_kv_config(&mut self, config: KvConfig) {
        self.record.kv_config = config;
    }
}

fn with_slash(path: &str) -> String {
    if path.ends_with('/') { path.to_owned() } else { format!("{path}/") }
}

#[cfg(test)]
mod tests;
