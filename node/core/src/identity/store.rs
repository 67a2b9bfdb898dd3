//! Where entities and groups lie: each under its id, and beside it the ways to it by name and by alias.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::name::normal;
use super::record::{Alias, Entity, EntityRecord, Group};
use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};
use crate::view::View;

/// Entities or groups that one answer can name at most.
pub const LISTED_MAX: usize = 1_000_000;

/// From a name or an alias to what it stands for.
#[derive(Serialize, Deserialize)]
struct Way {
    id: String,
}

/// All that changes when a group does.
#[derive(Serialize, Deserialize)]
struct Epoch {}

/// A record that was read, and its key.
pub type Keyed<T> = (Vec<u8>, Stored<T>);

/// The record whose revision changes with every change of any group but in its members.
pub fn group_epoch_key() -> Vec<u8> {
    plain_key(Kind::GroupEpoch)
}

pub fn entity_key(barrier: &Barrier, id: &str) -> Vec<u8> {
    barrier.key(Kind::Entity, [id])
}

pub fn group_key(barrier: &Barrier, id: &str) -> Vec<u8> {
    barrier.key(Kind::Group, [id])
}

/// What lies under an entity's id, with its key.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn entity_record(
    view: &dyn View,
    barrier: &Barrier,
    id: &str,
) -> Result<Option<Keyed<EntityRecord>>, Error> {
    let key = entity_key(barrier, id);
    let found = stored::load::<EntityRecord>(view, barrier, &key, 0)?;
    match &found {
        Some(Stored { value: EntityRecord::Known(entity), .. }) if !entity.is_known_version() => {
            Err(stored::unknown())
        }
        _ => Ok(found.map(|found| (key, found))),
    }
}

/// An entity by its id; not one that was merged into another.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn entity(ctx: &Context<'_>, id: &str) -> Result<Option<Stored<Entity>>, Error> {
    Ok(entity_record(ctx.view, ctx.barrier, id)?.and_then(|(_, found)| match found.value {
        EntityRecord::Known(value) => {
            Some(Stored { revision: found.revision, expires_at_ms: found.expires_at_ms, value })
        }
        EntityRecord::Merged { .. } => None,
    }))
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn entity_by_name(ctx: &Context<'_>, name: &str) -> Result<Option<Stored<Entity>>, Error> {
    let key = name_key(ctx.barrier, Kind::EntityName, name);
    by_way(ctx, &key)?.map_or(Ok(None), |id| entity(ctx, &id))
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn entity_by_alias(
    ctx: &Context<'_>,
    accessor: &str,
    name: &str,
) -> Result<Option<Stored<Entity>>, Error> {
    let key = alias_key(ctx.barrier, Kind::EntityAlias, accessor, name);
    by_way(ctx, &key)?.map_or(Ok(None), |id| entity(ctx, &id))
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn entity_by_alias_id(ctx: &Context<'_>, alias_id: &str) -> Result<Option<Stored<Entity>>, Error> {
    let key = ctx.barrier.key(Kind::EntityAliasId, [alias_id]);
    by_way(ctx, &key)?.map_or(Ok(None), |id| entity(ctx, &id))
}

/// A group by its id.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn group(view: &dyn View, barrier: &Barrier, id: &str) -> Result<Option<Stored<Group>>, Error> {
    let found = stored::load::<Group>(view, barrier, &group_key(barrier, id), 0)?;
    match found {
        Some(found) if !found.value.is_known_version() => Err(stored::unknown()),
        found => Ok(found),
    }
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn group_by_name(ctx: &Context<'_>, name: &str) -> Result<Option<Stored<Group>>, Error> {
    let key = name_key(ctx.barrier, Kind::GroupName, name);
    by_way(ctx, &key)?.map_or(Ok(None), |id| group(ctx.view, ctx.barrier, &id))
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn group_by_alias(ctx: &Context<'_>, accessor: &str, name: &str) -> Result<Option<Stored<Group>>, Error> {
    let key = alias_key(ctx.barrier, Kind::GroupAlias, accessor, name);
    by_way(ctx, &key)?.map_or(Ok(None), |id| group(ctx.view, ctx.barrier, &id))
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn group_by_alias_id(ctx: &Context<'_>, alias_id: &str) -> Result<Option<Stored<Group>>, Error> {
    let key = ctx.barrier.key(Kind::GroupAliasId, [alias_id]);
    by_way(ctx, &key)?.map_or(Ok(None), |id| group(ctx.view, ctx.barrier, &id))
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn is_entity(ctx: &Context<'_>, id: &str) -> Result<bool, Error> {
    Ok(entity(ctx, id)?.is_some())
}

/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn is_group(ctx: &Context<'_>, id: &str) -> Result<bool, Error> {
    Ok(group(ctx.view, ctx.barrier, id)?.is_some())
}

/// Writes an entity that stood at this revision (0: it is new), and the ways to it that changed since `before`.
///
/// # Errors
/// As [`stored::put`].
pub fn put_entity(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    before: Option<&Stored<Entity>>,
    after: &Entity,
) -> Result<(), Error> {
    let key = entity_key(ctx.barrier, &after.id);
    txn.require(key.clone(), before.map_or(0, |before| before.revision));
    stored::put(ctx, txn, &key, &after.id, &EntityRecord::Known(after.clone()), 0)?;
    let old = before.map(|before| &before.value);
    let old_name = old.map(|old| old.name.as_str());
    move_name(ctx, txn, Kind::EntityName, old_name, Some(&after.name), &after.id)?;
    let old_aliases = old.map_or(&[][..], |old| &old.aliases);
    for gone in old_aliases.iter().filter(|gone| !after.aliases.iter().any(|alias| is_same_way(alias, gone)))
    {
        delete_alias_ways(ctx, txn, Kind::EntityAlias, Kind::EntityAliasId, gone);
    }
    for new in after.aliases.iter().filter(|new| !old_aliases.iter().any(|alias| is_same_way(alias, new))) {
        put_alias_ways(ctx, txn, Kind::EntityAlias, Kind::EntityAliasId, new, &after.id)?;
    }
    Ok(())
}

/// Deletes an entity and all ways to it; not what says that it is in groups.
pub fn delete_entity(ctx: &Context<'_>, txn: &mut Txn, entity: &Stored<Entity>) {
    let key = entity_key(ctx.barrier, &entity.value.id);
    txn.require(key.clone(), entity.revision);
    txn.delete(key);
    delete_entity_ways(ctx, txn, &entity.value);
    for merged in &entity.value.merged_ids {
        txn.delete(entity_key(ctx.barrier, merged));
    }
}

/// Deletes the ways to an entity.
pub fn delete_entity_ways(ctx: &Context<'_>, txn: &mut Txn, entity: &Entity) {
    txn.delete(name_key(ctx.barrier, Kind::EntityName, &entity.name));
    for alias in &entity.aliases {
        delete_alias_ways(ctx, txn, Kind::EntityAlias, Kind::EntityAliasId, alias);
    }
}

/// Says of an entity that it was merged into another one; `revision`: where its record stood.
///
/// # Errors
/// As [`stored::put`].
pub fn put_merged(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    id: &str,
    into: &str,
    revision: Option<u64>,
) -> Result<(), Error> {
    let key = entity_key(ctx.barrier, id);
    if let Some(revision) = revision {
        txn.require(key.clone(), revision);
    }
    stored::put(ctx, txn, &key, id, &EntityRecord::Merged { into: into.to_owned() }, 0)
}

/// Writes a group that stood at this revision (0: it is new), and the ways to it that changed since `before`. The caller
/// begins a new epoch.
///
/// # Errors
/// As [`stored::put`].
pub fn put_group(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    before: Option<&Stored<Group>>,
    after: &Group,
) -> Result<(), Error> {
    let key = group_key(ctx.barrier, &after.id);
    txn.require(key.clone(), before.map_or(0, |before| before.revision));
    stored::put(ctx, txn, &key, &after.id, after, 0)?;
    let old = before.map(|before| &before.value);
    move_name(ctx, txn, Kind::GroupName, old.map(|old| old.name.as_str()), Some(&after.name), &after.id)?;
    let old_alias = old.and_then(|old| old.alias.as_ref());
    let is_same = match (old_alias, &after.alias) {
        (Some(old), Some(new)) => is_same_way(old, new),
        (None, None) => true,
        _ => false,
    };
    if is_same {
        return Ok(());
    }
    if let Some(gone) = old_alias {
        delete_alias_ways(ctx, txn, Kind::GroupAlias, Kind::GroupAliasId, gone);
    }
    match &after.alias {
        Some(new) => put_alias_ways(ctx, txn, Kind::GroupAlias, Kind::GroupAliasId, new, &after.id),
        None => Ok(()),
    }
}

/// Deletes a group and all ways to it; not what says who is in it.
pub fn delete_group(ctx: &Context<'_>, txn: &mut Txn, group: &Stored<Group>) {
    let key = group_key(ctx.barrier, &group.value.id);
    txn.require(key.clone(), group.revision);
    txn.delete(key);
    txn.delete(name_key(ctx.barrier, Kind::GroupName, &group.value.name));
    if let Some(alias) = &group.value.alias {
        delete_alias_ways(ctx, txn, Kind::GroupAlias, Kind::GroupAliasId, alias);
    }
}

/// Makes all that was made of groups be made anew. Changes of groups come one after another, so that none is decided by a
/// picture that another has changed: only so can there be no circle of groups.
///
/// # Errors
/// As [`stored::put`].
pub fn begin_group_epoch(ctx: &mut Context<'_>, txn: &mut Txn) -> Result<(), Error> {
    let key = group_epoch_key();
    txn.require(key.clone(), ctx.view.stamp(&key)?.map_or(0, |stamp| stamp.revision));
    stored::put(ctx, txn, &key, "groups", &Epoch {}, 0)
}

/// Whether both are found in the same way.
fn is_same_way(one: &Alias, other: &Alias) -> bool {
    one.id == other.id
        && one.mount_accessor == other.mount_accessor
        && normal(&one.name) == normal(&other.name)
}

fn move_name(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    kind: Kind,
    from: Option<&str>,
    to: Option<&str>,
    id: &str,
) -> Result<(), Error> {
    if from.map(normal) == to.map(normal) {
        return Ok(());
    }
    if let Some(from) = from {
        txn.delete(name_key(ctx.barrier, kind, from));
    }
    match to {
        Some(to) => {
            let key = name_key(ctx.barrier, kind, to);
            put_way(ctx, txn, &key, id)
        }
        None => Ok(()),
    }
}

fn put_alias_ways(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    by_name: Kind,
    by_id: Kind,
    alias: &Alias,
    owner: &str,
) -> Result<(), Error> {
    let key = alias_key(ctx.barrier, by_name, &alias.mount_accessor, &alias.name);
    put_way(ctx, txn, &key, owner)?;
    let key = ctx.barrier.key(by_id, [alias.id.as_str()]);
    put_way(ctx, txn, &key, owner)
}

fn delete_alias_ways(ctx: &Context<'_>, txn: &mut Txn, by_name: Kind, by_id: Kind, alias: &Alias) {
    txn.delete(alias_key(ctx.barrier, by_name, &alias.mount_accessor, &alias.name));
    txn.delete(ctx.barrier.key(by_id, [alias.id.as_str()]));
}

/// What was decided is that the way led nowhere, or where it leads now.
fn put_way(ctx: &mut Context<'_>, txn: &mut Txn, key: &[u8], id: &str) -> Result<(), Error> {
    txn.require(key.to_vec(), ctx.view.stamp(key)?.map_or(0, |stamp| stamp.revision));
    // A way that is moved within this transaction is deleted and written: the later write counts.
    stored::put(ctx, txn, key, id, &Way { id: id.to_owned() }, 0)
}

fn by_way(ctx: &Context<'_>, key: &[u8]) -> Result<Option<String>, Error> {
    Ok(stored::load::<Way>(ctx.view, ctx.barrier, key, 0)?.map(|way| way.value.id))
}

fn name_key(barrier: &Barrier, kind: Kind, name: &str) -> Vec<u8> {
    barrier.key(kind, [normal(name).as_str()])
}

fn alias_key(barrier: &Barrier, kind: Kind, accessor: &str, name: &str) -> Vec<u8> {
    barrier.key(kind, [accessor, normal(name).as_str()])
}
