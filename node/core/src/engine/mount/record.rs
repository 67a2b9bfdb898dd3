//! How the mount table is stored, inside its sealed record. Tags are for ever.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TableRecord {
    #[prost(message, repeated, tag = "1")]
    pub(super) mounts: Vec<MountRecord>,
    #[prost(string, repeated, tag = "2")]
    pub(super) dropped: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) moves: Vec<MoveRecord>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct MountRecord {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) uuid: String,
    #[prost(string, tag = "3")]
    pub(super) accessor: String,
    #[prost(string, tag = "4")]
    pub(super) engine_type: String,
    #[prost(string, tag = "5")]
    pub(super) description: String,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) options: BTreeMap<String, String>,
    /// 0: the system's default.
    #[prost(uint64, tag = "7")]
    pub(super) default_lease_s: u64,
    /// 0: the system's maximum.
    #[prost(uint64, tag = "8")]
    pub(super) max_lease_s: u64,
    #[prost(bool, tag = "9")]
    pub(super) force_no_cache: bool,
    #[prost(string, tag = "10")]
    pub(super) listing_visibility: String,
    #[prost(string, repeated, tag = "11")]
    pub(super) audit_non_hmac_request_keys: Vec<String>,
    #[prost(string, repeated, tag = "12")]
    pub(super) audit_non_hmac_response_keys: Vec<String>,
    #[prost(string, repeated, tag = "13")]
    pub(super) passthrough_request_headers: Vec<String>,
    #[prost(string, repeated, tag = "14")]
    pub(super) allowed_response_headers: Vec<String>,
    #[prost(bool, tag = "15")]
    pub(super) local: bool,
    #[prost(bool, tag = "16")]
    pub(super) seal_wrap: bool,
    #[prost(bool, tag = "17")]
    pub(super) external_entropy_access: bool,
    #[prost(uint64, tag = "18")]
    pub(super) created_ms: u64,
    /// Its KV v1 records are being turned into KV v2 ones.
    #[prost(bool, tag = "19")]
    pub(super) upgrading: bool,
    #[prost(message, required, tag = "20")]
    pub(super) kv_config: KvConfig,
    /// Of an auth mount: which tokens its logins give. Empty: those that are stored.
    #[prost(string, tag = "21")]
    pub(super) token_type: String,
    /// Of an auth mount, if it was ever set.
    #[prost(message, optional, tag = "22")]
    pub(super) lockout: Option<LockoutConfig>,
}

/// When wrong passwords lock a user out. 0: the system's default.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LockoutConfig {
    /// Wrong passwords in a row.
    #[prost(uint64, tag = "1")]
    pub threshold: u64,
    #[prost(uint64, tag = "2")]
    pub duration_s: u64,
    /// After this time without a wrong one, counting begins anew.
    #[prost(uint64, tag = "3")]
    pub counter_reset_s: u64,
    #[prost(bool, tag = "4")]
    pub disabled: bool,
}

/// The settings of a KV v2 mount.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(in super::super) struct KvConfig {
    /// 0: the default.
    #[prost(uint32, tag = "1")]
    pub(in super::super) max_versions: u32,
    #[prost(bool, tag = "2")]
    pub(in super::super) cas_required: bool,
    #[prost(bool, tag = "3")]
    pub(in super::super) metadata_cas_required: bool,
    /// 0: never; less than 0: never, whatever a secret says.
    #[prost(int64, tag = "4")]
    pub(in super::super) delete_version_after_s: i64,
}

/// A finished move, for `sys/remount/status`.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct MoveRecord {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    #[prost(string, tag = "3")]
    pub(super) target: String,
}

impl fmt::Debug for TableRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableRecord({} mounts)", self.mounts.len())
    }
}

impl fmt::Debug for MountRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MountRecord({})", self.uuid)
    }
}

impl fmt::Debug for MoveRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MoveRecord({})", self.id)
    }
}
