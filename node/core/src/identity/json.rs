//! Entities, aliases and groups as OpenBao shows them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::belonging::Belonging;
use super::mounts::AuthMounts;
use super::record::{Alias, Entity, Group};

/// There is one namespace.
const NAMESPACE: &str = "root";

pub fn entity(belonging: &Belonging, mounts: &AuthMounts) -> Value {
    let entity = &belonging.entity;
    let aliases: Vec<Value> =
        entity.aliases.iter().map(|one| entity_alias(one, &entity.id, mounts)).collect();
    let (direct, inherited) = (&belonging.direct_group_ids, &belonging.inherited_group_ids);
    let groups: Vec<&String> = direct.iter().chain(inherited).collect();
    json!({
        "aliases": aliases,
        "creation_time": rfc3339(entity.created_ms),
        "direct_group_ids": direct,
        "disabled": entity.disabled,
        "group_ids": groups,
        "id": entity.id,
        "inherited_group_ids": inherited,
        "last_update_time": rfc3339(entity.updated_ms),
        "merged_entity_ids": list_or_null(&entity.merged_ids),
        "metadata": map_or_null(&entity.metadata),
        "name": entity.name,
        "namespace_id": NAMESPACE,
        "policies": entity.policies,
    })
}

/// An alias below its entity.
pub fn entity_alias(alias: &Alias, owner: &str, mounts: &AuthMounts) -> Value {
    let mut told = group_alias(alias, owner, mounts);
    told["custom_metadata"] = map_or_null(&alias.custom_metadata);
    told["local"] = false.into();
    told
}

/// An alias below its group.
pub fn group_alias(alias: &Alias, owner: &str, mounts: &AuthMounts) -> Value {
    let (mount_path, mount_type) = mount_of(alias, mounts);
    json!({
        "canonical_id": owner,
        "creation_time": rfc3339(alias.created_ms),
        "id": alias.id,
        "last_update_time": rfc3339(alias.updated_ms),
        "merged_from_canonical_ids": list_or_null(&alias.merged_from),
        "metadata": map_or_null(&alias.metadata),
        "mount_accessor": alias.mount_accessor,
        "mount_path": mount_path,
        "mount_type": mount_type,
        "name": alias.name,
    })
}

/// An alias by itself.
pub fn lone_alias(alias: &Alias, owner: &str, mounts: &AuthMounts) -> Value {
    let mut told = entity_alias(alias, owner, mounts);
    told["namespace_id"] = NAMESPACE.into();
    told
}

/// An alias in a list of aliases.
pub fn listed_alias(alias: &Alias, owner: &str, mounts: &AuthMounts) -> Value {
    let (mount_path, mount_type) = mount_of(alias, mounts);
    json!({
        "canonical_id": owner,
        "custom_metadata": map_or_null(&alias.custom_metadata),
        "local": false,
        "metadata": map_or_null(&alias.metadata),
        "mount_accessor": alias.mount_accessor,
        "mount_path": mount_path,
        "mount_type": mount_type,
        "name": alias.name,
    })
}

/// An entity in a list of entities.
pub fn listed_entity(entity: &Entity, mounts: &AuthMounts) -> Value {
    let mut told = Map::from_iter([("name".to_owned(), json!(entity.name))]);
    if !entity.aliases.is_empty() {
        let aliases = entity.aliases.iter().map(|alias| alias_in_list(alias, mounts));
        told.insert("aliases".to_owned(), aliases.collect());
    }
    told.into()
}

/// A group in a list of groups.
pub fn listed_group(group: &Group, members: usize, mounts: &AuthMounts) -> Value {
    let mut told = json!({
        "name": group.name,
        "num_member_entities": members,
        "num_parent_groups": group.parent_group_ids.len(),
    });
    if let Some(alias) = &group.alias {
        told["alias"] = alias_in_list(alias, mounts);
    }
    told
}

fn alias_in_list(alias: &Alias, mounts: &AuthMounts) -> Value {
    let (mount_path, mount_type) = mount_of(alias, mounts);
    json!({
        "id": alias.id,
        "mount_accessor": alias.mount_accessor,
        "mount_path": mount_path,
        "mount_type": mount_type,
        "name": alias.name,
    })
}

pub fn group(group: &Group, member_entity_ids: &[String], mounts: &AuthMounts) -> Value {
    let alias = group.alias.as_ref().map_or_else(|| json!({}), |alias| group_alias(alias, &group.id, mounts));
    json!({
        "alias": alias,
        "creation_time": rfc3339(group.created_ms),
        "id": group.id,
        "last_update_time": rfc3339(group.updated_ms),
        "member_entity_ids": list_or_null(member_entity_ids),
        "member_group_ids": list_or_null(&group.member_group_ids),
        "metadata": map_or_null(&group.metadata),
        "modify_index": group.modify_index,
        "name": group.name,
        "namespace_id": NAMESPACE,
        "parent_group_ids": list_or_null(&group.parent_group_ids),
        "policies": list_or_null(&group.policies),
        "type": group.kind.name(),
    })
}

fn mount_of<'a>(alias: &Alias, mounts: &'a AuthMounts) -> (&'a str, &'a str) {
    mounts.find(&alias.mount_accessor).map_or(("", ""), |mount| (mount.path.as_str(), mount.kind.as_str()))
}

fn list_or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn map_or_null(map: &BTreeMap<String, String>) -> Value {
    if map.is_empty() { Value::Null } else { json!(map) }
}

fn rfc3339(time_ms: u64) -> Value {
    let time = i64::try_from(time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}
