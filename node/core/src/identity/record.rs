//! What is stored of entities, aliases and groups. None of it can be printed: names of people are not for logs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the records' form: every field that came later has a default.
const VERSION: u32 = 1;

/// What lies under the id of an entity.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EntityRecord {
    Known(Entity),
    /// It is no more; its tokens are those of another one.
    Merged {
        into: String,
    },
}

/// Somebody, or some machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    pub(super) version: u32,
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// In order, each once.
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub aliases: Vec<Alias>,
    /// Groups that name it, in order. Some may be gone already.
    #[serde(default)]
    pub group_ids: Vec<String>,
    /// Entities that were merged into this one.
    #[serde(default)]
    pub merged_ids: Vec<String>,
    /// Unix milliseconds of the cluster's time.
    pub created_ms: u64,
    pub updated_ms: u64,
}

/// A name by which an entity or a group is known to one mount.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub id: String,
    pub mount_accessor: String,
    pub name: String,
    /// What the mount says of it, anew with each login.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub custom_metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub merged_from: Vec<String>,
    /// Unix milliseconds of the cluster's time.
    pub created_ms: u64,
    pub updated_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Its members are named here.
    Internal,
    /// Its members are those of whom a mount says so when they log in.
    External,
}

/// Entities and groups with something in common.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub(super) version: u32,
    pub id: String,
    pub name: String,
    pub kind: GroupKind,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// In order, each once.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Groups that are in this one, in order.
    #[serde(default)]
    pub member_group_ids: Vec<String>,
    /// Groups that this one is in, in order.
    #[serde(default)]
    pub parent_group_ids: Vec<String>,
    /// Of external groups only.
    #[serde(default)]
    pub alias: Option<Alias>,
    /// How often it was written.
    #[serde(default)]
    pub modify_index: u64,
    /// Unix milliseconds of the cluster's time.
    pub created_ms: u64,
    pub updated_ms: u64,
}

impl Entity {
    pub fn new(id: String, name: String, now_ms: u64) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            metadata: BTreeMap::new(),
            policies: Vec::new(),
            disabled: false,
            aliases: Vec::new(),
            group_ids: Vec::new(),
            merged_ids: Vec::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }

    pub(super) fn is_known_version(&self) -> bool {
        self.version == VERSION
    }

    pub fn alias_at(&self, mount_accessor: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.mount_accessor == mount_accessor)
    }
}

impl Alias {
    pub fn new(id: String, mount_accessor: &str, name: &str, now_ms: u64) -> Self {
        Self {
            id,
            mount_accessor: mount_accessor.to_owned(),
            name: name.to_owned(),
            metadata: BTreeMap::new(),
            custom_metadata: BTreeMap::new(),
            merged_from: Vec::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }
}

impl Group {
    pub fn new(id: String, name: String, kind: GroupKind, now_ms: u64) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            kind,
            metadata: BTreeMap::new(),
            policies: Vec::new(),
            member_group_ids: Vec::new(),
            parent_group_ids: Vec::new(),
            alias: None,
            modify_index: 0,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }

    pub(super) fn is_known_version(&self) -> bool {
        self.version == VERSION
    }
}

impl GroupKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}
