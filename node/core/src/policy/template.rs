//! Names in a rule's path that stand for who asks, such as `{{identity.entity.id}}`.
//!
//! A value is data. It never becomes a wildcard and never leaves its segment: one that holds `*`, `+` or `/` is refused
//! (advisory GHSA-59w7-v8rr-pr4p is about values that were not).

use std::collections::BTreeMap;

/// Longest name between braces, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Signs that a value must not hold, because they mean something in a pattern.
const FORBIDDEN: [char; 3] = ['*', '+', '/'];

/// Who asks, as far as templates may name it. The identity store fills it in, from one view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    pub entity: Option<Entity>,
    /// The groups that the entity is in, inherited ones too.
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entity {
    pub id: String,
    pub name: String,
    pub metadata: BTreeMap<String, String>,
    pub aliases: Vec<Alias>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alias {
    pub mount_accessor: String,
    pub id: String,
    pub name: String,
    pub metadata: BTreeMap<String, String>,
    pub custom_metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    pub id: String,
    pub name: String,
    pub metadata: BTreeMap<String, String>,
}

/// What stands between the braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    EntityId,
    EntityName,
    EntityMetadata(String),
    Alias {
        accessor: String,
        field: Field,
    },
    GroupById {
        id: String,
        field: Field,
    },
    GroupByName {
        name: String,
        field: Field,
    },
    /// Nothing that exists, so that the rule never applies.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Id,
    Name,
    Metadata(String),
    CustomMetadata(String),
}

/// A value that a rule cannot use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The subject has nothing of this name.
    Absent,
    /// It holds a sign that means something in a pattern.
    Forbidden,
}

impl Variable {
    /// By what stands between the braces; `None` if it is too long.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        Some(Self::known(name).unwrap_or(Self::Unknown))
    }

    fn known(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("identity.entity.") {
            return match rest {
                "id" => Some(Self::EntityId),
                "name" => Some(Self::EntityName),
                _ => {
                    if let Some(key) = rest.strip_prefix("metadata.") {
                        return Some(Self::EntityMetadata(key.to_owned()));
                    }
                    let (accessor, field) = rest.strip_prefix("aliases.")?.split_once('.')?;
                    Some(Self::Alias { accessor: accessor.to_owned(), field: Field::parse(field)? })
                }
            };
        }
        let groups = name.strip_prefix("identity.groups.")?;
        let (kind, rest) = groups.split_once('.')?;
        // A group's name may not hold a dot here, as in Vault.
        let (which, field) = rest.split_once('.')?;
        let field = Field::parse(field).filter(|field| !matches!(field, Field::CustomMetadata(_)))?;
        match kind {
            "ids" => Some(Self::GroupById { id: which.to_owned(), field }),
            "names" => Some(Self::GroupByName { name: which.to_owned(), field }),
            _ => None,
        }
    }

    /// The value that it has for `subject`.
    ///
    /// # Errors
    /// [`Unusable::Absent`]. What the value holds is not looked at: see [`is_plain`].
    pub fn value<'a>(&self, subject: &'a Subject) -> Result<&'a str, Unusable> {
        let entity = subject.entity.as_ref();
        let value = match self {
            Self::EntityId => entity.map(|entity| entity.id.as_str()),
            Self::EntityName => entity.map(|entity| entity.name.as_str()),
            Self::EntityMetadata(key) => {
                entity.and_then(|entity| entity.metadata.get(key)).map(String::as_str)
            }
            Self::Alias { accessor, field } => entity
                .and_then(|entity| entity.aliases.iter().find(|alias| alias.mount_accessor == *accessor))
                .and_then(|alias| match field {
                    Field::Id => Some(&alias.id),
                    Field::Name => Some(&alias.name),
                    Field::Metadata(key) => alias.metadata.get(key),
                    Field::CustomMetadata(key) => alias.custom_metadata.get(key),
                })
                .map(String::as_str),
            Self::GroupById { id, field } => field.of(subject.groups.iter().find(|group| group.id == *id)),
            Self::GroupByName { name, field } => {
                field.of(subject.groups.iter().find(|group| group.name == *name))
            }
            Self::Unknown => None,
        };
        value.filter(|value| !value.is_empty()).ok_or(Unusable::Absent)
    }
}

/// Whether a value may stand in a path that grants something.
pub fn is_plain(value: &str) -> bool {
    !value.contains(FORBIDDEN) && !value.contains("{{") && !value.chars().any(char::is_control)
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "id" => Some(Self::Id),
            "name" => Some(Self::Name),
            _ => {
                if let Some(key) = text.strip_prefix("metadata.") {
                    return Some(Self::Metadata(key.to_owned()));
                }
                text.strip_prefix("custom_metadata.").map(|key| Self::CustomMetadata(key.to_owned()))
            }
        }
    }

    fn of<'a>(&self, group: Option<&'a Group>) -> Option<&'a str> {
        let group = group?;
        match self {
            Self::Id => Some(&group.id),
            Self::Name => Some(&group.name),
            Self::Metadata(key) => group.metadata.get(key).map(String::as_str),
            Self::CustomMetadata(_) => None,
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Alice, who logs in at two mounts and is in one group.
    pub fn alice() -> Subject {
        let alias = |accessor: &str, name: &str| Alias {
            mount_accessor: accessor.to_owned(),
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            metadata: map(&[("role", name)]),
            custom_metadata: map(&[("desk", "7")]),
        };
        Subject {
            entity: Some(Entity {
                id: "e-1".into(),
                name: "alice".into(),
                metadata: map(&[
                    ("team", "blue"),
                    ("star", "a*"),
                    ("plus", "+"),
                    ("up", "x/y"),
                    ("none", ""),
                ]),
                aliases: vec![alias("auth_userpass_1", "al"), alias("auth_jwt_2", "alice@corp")],
            }),
            groups: vec![Group { id: "g-1".into(), name: "ops".into(), metadata: map(&[("floor", "3")]) }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::alice;
    use super::*;

    fn value(name: &str) -> Result<String, Unusable> {
        Variable::parse(name).unwrap().value(&alice()).map(str::to_owned)
    }

    #[test]
    fn every_name_finds_its_value() {
        for (name, expected) in [
            ("identity.entity.id", "e-1"),
            (" identity.entity.name ", "alice"),
            ("identity.entity.metadata.team", "blue"),
            ("identity.entity.aliases.auth_userpass_1.id", "id-of-al"),
            ("identity.entity.aliases.auth_userpass_1.name", "al"),
            ("identity.entity.aliases.auth_userpass_1.metadata.role", "al"),
            ("identity.entity.aliases.auth_userpass_1.custom_metadata.desk", "7"),
            ("identity.groups.ids.g-1.name", "ops"),
            ("identity.groups.ids.g-1.id", "g-1"),
            ("identity.groups.names.ops.id", "g-1"),
            ("identity.groups.names.ops.metadata.floor", "3"),
        ] {
            assert_eq!(value(name).as_deref(), Ok(expected), "{name}");
        }
    }

    /// CVE-2021-43998: the first alias was taken for every mount.
    #[test]
    fn an_alias_is_that_of_its_own_mount() {
        assert_eq!(value("identity.entity.aliases.auth_jwt_2.name").as_deref(), Ok("alice@corp"));
        assert_eq!(value("identity.entity.aliases.auth_jwt_2.metadata.role").as_deref(), Ok("alice@corp"));
        assert_eq!(value("identity.entity.aliases.auth_ldap_3.name"), Err(Unusable::Absent));
    }

    #[test]
    fn what_the_subject_has_not_is_absent() {
        for name in [
            "identity.entity.metadata.height",
            "identity.entity.metadata.none",
            "identity.entity.metadata",
            "identity.entity.groups.names",
            "identity.groups.names.other.id",
            "identity.groups.ids.ops.name",
            "identity.groups.names.ops",
            "identity.groups.ids.g-1.custom_metadata.x",
            "identity.entity",
            "time.now",
            "",
        ] {
            assert_eq!(value(name), Err(Unusable::Absent), "{name}");
        }
        assert_eq!(Variable::EntityId.value(&Subject::default()), Err(Unusable::Absent));
    }

    #[test]
    fn only_plain_values_may_grant() {
        for name in ["star", "plus", "up"] {
            assert!(!is_plain(&value(&format!("identity.entity.metadata.{name}")).unwrap()), "{name}");
        }
        assert!(is_plain("cn=alice,dc=corp") && is_plain("Zoë") && !is_plain("{{x}}") && !is_plain("a\nb"));
    }
}
