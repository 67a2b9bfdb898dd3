//! `identity/group-alias`: by which name an external group is known at a mount.

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::alias::check_mount;
use super::entity::{bounded, listed};
use super::mounts::AuthMounts;
use super::record::{Alias, Group, GroupKind};
use super::{group, json as shape, name, store};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::Stored;

const FIELDS: [&str; 4] = ["id", "name", "mount_accessor", "canonical_id"];

/// Gives an external group its alias, or changes the one with this `id`.
///
/// # Errors
/// [`Error::Invalid`].
pub fn write(
    ctx: &mut Context<'_>,
    mounts: &AuthMounts,
    id: Option<&str>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let text = |field| Ok::<_, Error>(fields::text(body, field)?.filter(|text| !text.is_empty()));
    let id = id.map(str::to_owned).or(text("id")?);
    let held_by = match &id {
        Some(id) => {
            let found = store::group_by_alias_id(ctx, id)?;
            Some(found.ok_or_else(|| Error::invalid("invalid group alias ID"))?)
        }
        None => None,
    };
    let given = text("name")?.ok_or_else(|| Error::invalid("missing alias name"))?;
    name::checked(&given)?;
    let accessor = text("mount_accessor")?.ok_or_else(|| Error::invalid("missing mount_accessor"))?;
    check_mount(mounts, &accessor)?;
    let owner = owner(ctx, text("canonical_id")?, held_by.as_ref())?;
    let owner_id = owner.as_ref().map(|owner| owner.value.id.as_str());
    let holder = store::group_by_alias(ctx, &accessor, &given)?;
    if holder.is_some_and(|holder| Some(holder.value.id.as_str()) != owner_id) {
        return Err(Error::invalid("combination of mount and group alias name is already in use"));
    }
    let mut after = match &owner {
        Some(owner) => Group { updated_ms: ctx.now_ms, ..owner.value.clone() },
        None => group::fresh(ctx, None, GroupKind::External),
    };
    let known = held_by.as_ref().and_then(|held_by| held_by.value.alias.clone());
    let known = known.or_else(|| after.alias.clone());
    let mut alias = match known {
        Some(known) => Alias { updated_ms: ctx.now_ms, ..known },
        None => Alias::new(name::new_id(ctx), &accessor, &given, ctx.now_ms),
    };
    (alias.name, alias.mount_accessor) = (given, accessor);
    let reply = Reply::json(&json!({ "canonical_id": after.id, "id": alias.id }));
    after.alias = Some(alias);
    after.modify_index += 1;
    let mut txn = Txn::default();
    if let Some(held_by) = held_by.as_ref().filter(|held_by| held_by.value.id != after.id) {
        let mut without = held_by.value.clone();
        without.alias = None;
        without.modify_index += 1;
        store::put_group(ctx, &mut txn, Some(held_by), &without)?;
    }
    store::put_group(ctx, &mut txn, owner.as_ref(), &after)?;
    store::begin_group_epoch(ctx, &mut txn)?;
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &FIELDS);
    Ok(Plan { txn, reply: Reply { warnings, ..reply } })
}

/// The group that is to have the alias; `None`: a new one.
fn owner(
    ctx: &Context<'_>,
    canonical_id: Option<String>,
    held_by: Option<&Stored<Group>>,
) -> Result<Option<Stored<Group>>, Error> {
    let owner = match canonical_id {
        Some(id) => {
            let found = store::group(ctx.view, ctx.barrier, &id)?;
            Some(found.ok_or_else(|| Error::invalid("invalid group ID given in 'canonical_id'"))?)
        }
        None => held_by.cloned(),
    };
    match owner {
        Some(owner) if owner.value.kind == GroupKind::Internal => {
            Err(Error::invalid("alias can't be set on an internal group"))
        }
        owner => Ok(owner),
    }
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, mounts: &AuthMounts, id: &str) -> Result<Plan, Error> {
    let owner = store::group_by_alias_id(ctx, id)?.ok_or(Error::NotFound)?.value;
    let alias = owner.alias.as_ref().ok_or(Error::NotFound)?;
    Ok(Reply::json(&shape::lone_alias(alias, &owner.id, mounts)).into())
}

/// Deletes an alias; one that there is not is no error. The group stays, with its members.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn delete(ctx: &mut Context<'_>, id: &str) -> Result<Plan, Error> {
    let mut txn = Txn::default();
    if let Some(owner) = store::group_by_alias_id(ctx, id)? {
        let mut after = owner.value.clone();
        after.alias = None;
        after.modify_index += 1;
        store::put_group(ctx, &mut txn, Some(&owner), &after)?;
        store::begin_group_epoch(ctx, &mut txn)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>, mounts: &AuthMounts) -> Result<Plan, Error> {
    let (mut keys, mut info) = (Vec::new(), Map::new());
    group::each(ctx, |group| {
        if let Some(alias) = &group.alias {
            info.insert(alias.id.clone(), shape::listed_alias(alias, &group.id, mounts));
            keys.push(alias.id.clone());
        }
        bounded(keys.len())
    })?;
    listed(keys, info, false)
}
