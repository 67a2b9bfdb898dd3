//! Roles: under which limits those who may use one make tokens, beyond their own rights.

use conclave_proto::log::Txn;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::entry::TokenKind;
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};
use crate::view::View;

/// Roles of a cluster at most.
pub const ROLES_MAX: usize = 20_000;
/// Longest name of a role, in bytes.
pub const ROLE_NAME_BYTES_MAX: usize = 128;
/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;

/// Which kind of token a role makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleKind {
    Service,
    Batch,
    /// Service, unless the caller asks for batch.
    #[default]
    DefaultService,
    /// Batch, unless the caller asks for service.
    DefaultBatch,
}

/// What is stored of a role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    version: u32,
    pub name: String,
    pub allowed_policies: Vec<String>,
    pub allowed_policies_glob: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub disallowed_policies_glob: Vec<String>,
    pub allowed_entity_aliases: Vec<String>,
    pub orphan: bool,
    pub renewable: bool,
    pub path_suffix: String,
    pub bound_cidrs: Vec<IpNet>,
    pub explicit_max_ttl_ms: u64,
    pub period_ms: u64,
    pub no_default_policy: bool,
    pub num_uses: u64,
    pub kind: RoleKind,
    /// Those of the three limits that were set by their older names, to be shown by them too.
    pub old_names: OldNames,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OldNames {
    pub bound_cidrs: bool,
    pub explicit_max_ttl: bool,
    pub period: bool,
}

impl Role {
    pub fn new(name: &str) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            allowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            allowed_entity_aliases: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            bound_cidrs: Vec::new(),
            explicit_max_ttl_ms: 0,
            period_ms: 0,
            no_default_policy: false,
            num_uses: 0,
            kind: RoleKind::default(),
            old_names: OldNames::default(),
        }
    }

    /// Whether it has rules of its own about policies, in place of those that its user has.
    pub fn rules_policies(&self) -> bool {
        self.limits_policies()
            || !self.disallowed_policies.is_empty()
            || !self.disallowed_policies_glob.is_empty()
    }

    /// Whether it names what is allowed.
    pub fn limits_policies(&self) -> bool {
        !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty()
    }

    pub fn disallows(&self, policy: &str) -> bool {
        is_listed(policy, &self.disallowed_policies, &self.disallowed_policies_glob)
    }

    /// Whether its user may make tokens for the entity that is known by this name.
    pub fn allows_alias(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.allowed_entity_aliases.iter().any(|pattern| matches_glob(pattern, &name))
    }

    pub fn kind_for(&self, asked: Option<TokenKind>) -> TokenKind {
        match self.kind {
            RoleKind::Service => TokenKind::Service,
            RoleKind::Batch => TokenKind::Batch,
            RoleKind::DefaultService => asked.unwrap_or(TokenKind::Service),
            RoleKind::DefaultBatch => asked.unwrap_or(TokenKind::Batch),
        }
    }
}

impl RoleKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
        }
    }

    /// Whether it makes batch tokens unless asked otherwise.
    pub fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::DefaultBatch)
    }
}

/// Whether a policy is one of these, or matches a pattern.
pub fn is_listed(policy: &str, names: &[String], patterns: &[String]) -> bool {
    names.iter().any(|name| name == policy) || patterns.iter().any(|pattern| matches_glob(pattern, policy))
}

/// Whether `text` is what `pattern` says, where each `*` stands for anything, or for nothing.
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    let mut parts: Vec<&str> = pattern.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    let Some((first, between)) = parts.split_first() else { return last == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether a name is one that a role can have: letters, digits and `_`, and between them also `-` and `.`.
pub fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = name.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    name.len() <= ROLE_NAME_BYTES_MAX
        && ends.is_some_and(|(first, last)| is_word(*first) && is_word(*last))
        && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b'-' | b'.'))
}

pub fn key(barrier: &Barrier, name: &str) -> Vec<u8> {
    barrier.key(Kind::TokenRole, [name])
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn load(view: &dyn View, barrier: &Barrier, name: &str) -> Result<Option<Stored<Role>>, Error> {
    let found = stored::load::<Role>(view, barrier, &key(barrier, name), 0)?;
    match found {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        found => Ok(found),
    }
}

/// All names, in order.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn names(view: &dyn View, barrier: &Barrier) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    stored::each::<Role>(view, barrier, Kind::TokenRole, 0, |role| {
        names.push(role.name);
        Ok(())
    })?;
    names.sort_unstable();
    Ok(names)
}

/// Writes a role that stood at this revision (0: it is new).
///
/// # Errors
/// [`Error::Invalid`]: there are too many.
pub fn plan_put(ctx: &mut Context<'_>, role: &Role, revision: u64) -> Result<Txn, Error> {
    if revision == 0 && names(ctx.view, ctx.barrier)?.len() >= ROLES_MAX {
        return Err(Error::invalid(format!("a cluster has at most {ROLES_MAX} token roles")));
    }
    let mut txn = Txn::default();
    let key = key(ctx.barrier, &role.name);
    txn.require(key.clone(), revision);
    stored::put(ctx, &mut txn, &key, &role.name, role, 0)?;
    Ok(txn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("dev-*", "dev-1", true),
            ("dev-*", "dev-", true),
            ("dev-*", "prod", false),
            ("*-ro", "app-ro", true),
            ("*-ro", "app-rw", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn names_of_roles_fit_into_one_segment_of_a_path() {
        for name in ["a", "ci", "Team_1", "a-b.c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "..", "a/b", "a b", "a*", "\u{e9}", &"x".repeat(129)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_kind_is_the_roles_where_it_insists() {
        use TokenKind::{Batch, Service};
        for (kind, expected) in [
            (RoleKind::Service, [Service, Service, Service]),
            (RoleKind::Batch, [Batch, Batch, Batch]),
            (RoleKind::DefaultService, [Service, Service, Batch]),
            (RoleKind::DefaultBatch, [Batch, Service, Batch]),
        ] {
            let role = Role { kind, ..Role::new("r") };
            assert_eq!([None, Some(Service), Some(Batch)].map(|asked| role.kind_for(asked)), expected);
        }
    }
}
