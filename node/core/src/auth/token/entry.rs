//! What is known of a token.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::root::ROOT_PATH;
use crate::auth::Method;
use crate::policy::name;

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;

/// How a token is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// In the state, until it is revoked or expires.
    #[default]
    Service,
    /// Nowhere but in its own text, until it expires or its parent ends.
    Batch,
}

/// What is known of a token. Not the token itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEntry {
    pub(in crate::auth) version: u32,
    #[serde(default)]
    pub kind: TokenKind,
    /// A handle that can look up and revoke but not use the token. Sensitive too.
    pub accessor: String,
    /// In order, each once.
    pub policies: Vec<String>,
    /// Unix milliseconds of the cluster's time.
    pub created_ms: u64,
    /// Lifetime in milliseconds as it was granted; 0: it never ends. When it ends now is the record's own.
    pub ttl_ms: u64,
    /// Unix milliseconds; 0: never.
    #[serde(default)]
    pub renewed_ms: u64,
    /// What its last renewal was for, in milliseconds: the next one's, if it does not say; 0: it was never renewed.
    #[serde(default)]
    pub renewed_for_ms: u64,
    /// However often it is renewed, it ends so long after it was made, in milliseconds; 0: no such limit.
    #[serde(default)]
    pub explicit_max_ttl_ms: u64,
    /// Each renewal makes it last so long from then on, in milliseconds, without end; 0: it is not periodic.
    #[serde(default)]
    pub period_ms: u64,
    /// How often it can still be used; 0: as often as its holder likes.
    #[serde(default)]
    pub uses_left: u64,
    #[serde(default)]
    pub renewable: bool,
    pub display_name: String,
    /// Where it was made, as Vault spells it.
    pub path: String,
    /// The hash of the token that made it, in hex, unless it is an orphan.
    #[serde(default)]
    pub parent: Option<String>,
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// The role it was made by; empty: none.
    #[serde(default)]
    pub role: String,
    /// The entity that its holder is; empty: none is known.
    #[serde(default)]
    pub entity_id: String,
    /// From where it may be used; empty: from everywhere.
    #[serde(default)]
    pub bound_cidrs: Vec<IpNet>,
    /// However often it is renewed, it ends so long after it was made, in milliseconds, unless it is periodic; 0: the
    /// system's limit.
    #[serde(default)]
    pub max_ttl_ms: u64,
    /// Who logged in, if it was made by a login.
    #[serde(default)]
    pub login: Option<LoginOrigin>,
    /// The key that was shown at the login, if it was one by certificate: its fingerprint, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub certificate_key: String,
    /// Not a token any more, but the children of the one that it was live on as orphans.
    #[serde(default)]
    pub released: bool,
}

/// Where a token of a login comes from: the place from which an entity's alias is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginOrigin {
    pub method: Method,
    pub mount_uuid: String,
    pub mount_accessor: String,
    /// As whom the method knows the caller: the name of an alias.
    pub alias: String,
    /// The user or role by whose settings the token was made.
    pub subject: String,
    /// Who it was by another's word, where a renewal holds that against the role again; empty: that is not asked.
    #[serde(default)]
    pub principal: String,
}

/// No accessor in a log.
impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenEntry")
    }
}

impl TokenEntry {
    pub fn new(accessor: String, policies: Vec<String>, path: &str, created_ms: u64) -> Self {
        Self {
            version: VERSION,
            kind: TokenKind::Service,
            accessor,
            policies,
            created_ms,
            ttl_ms: 0,
            renewed_ms: 0,
            renewed_for_ms: 0,
            explicit_max_ttl_ms: 0,
            period_ms: 0,
            uses_left: 0,
            renewable: false,
            display_name: String::new(),
            path: path.to_owned(),
            parent: None,
            meta: BTreeMap::new(),
            role: String::new(),
            entity_id: String::new(),
            bound_cidrs: Vec::new(),
            max_ttl_ms: 0,
            login: None,
            certificate_key: String::new(),
            released: false,
        }
    }

    /// What stands in the place of a token that let its children go: it proves nothing, and ends no line.
    pub fn released(now_ms: u64) -> Self {
        Self { released: true, ..Self::new(String::new(), Vec::new(), "", now_ms) }
    }

    pub fn is_known_version(&self) -> bool {
        self.version == VERSION
    }

    /// Whether it is listed among the leases: all are that are stored, but for those of `init` and of key shares.
    pub fn has_lease(&self) -> bool {
        self.kind == TokenKind::Service && !self.released && self.path != ROOT_PATH
    }

    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == name::ROOT)
    }

    /// The latest time at which it can end, whatever it is renewed for; `None`: no limit of its own.
    pub fn ends_at_latest_ms(&self) -> Option<u64> {
        (self.explicit_max_ttl_ms > 0).then(|| self.created_ms.saturating_add(self.explicit_max_ttl_ms))
    }
}
