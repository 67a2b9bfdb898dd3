//! Who is in a group. Each membership stands twice: in the entity's record, for its tokens, and as a small record below
//! the group's id, to be listed. Both are written together, whoever changes it.

use std::collections::BTreeSet;

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::belonging::GROUPS_MAX;
use super::record::Entity;
use super::store;
use crate::crypto::{Barrier, Kind, after_prefix};
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};

/// Members that one request adds and removes at most.
pub const CHANGES_MAX: usize = 1_000;
/// Members of a group that are shown at most.
pub const SHOWN_MAX: usize = 100_000;

#[derive(Serialize, Deserialize)]
struct Member {}

pub fn key(barrier: &Barrier, group: &str, entity: &str) -> Vec<u8> {
    barrier.key(Kind::GroupMember, [group, entity])
}

/// Ids of the entities in a group, in order; at most `max` and one more.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn ids(ctx: &Context<'_>, group: &str, max: usize) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    let prefix = ctx.barrier.key(Kind::GroupMember, [group]);
    let mut cursor = ctx.view.cursor();
    let mut found = cursor.seek(&prefix)?;
    while let Some((key, record)) = found.take().filter(|(key, _)| key.starts_with(&prefix)) {
        let path = ctx.barrier.open(&key, &record.sealed)?.path;
        ids.push(path.rsplit('/').next().unwrap_or_default().to_owned());
        if ids.len() > max {
            break;
        }
        found = match after_prefix(&key) {
            Some(next) => cursor.seek(&next)?,
            None => None,
        };
    }
    ids.sort_unstable();
    Ok(ids)
}

/// How many entities are in a group; at most `max` and one more.
///
/// # Errors
/// [`Error::View`].
pub fn count(ctx: &Context<'_>, group: &str, max: usize) -> Result<usize, Error> {
    let prefix = ctx.barrier.key(Kind::GroupMember, [group]);
    let mut cursor = ctx.view.cursor();
    let (mut count, mut from) = (0, prefix.clone());
    while let Some((key, _)) = cursor.seek(&from)?.filter(|(key, _)| key.starts_with(&prefix)) {
        count += 1;
        match after_prefix(&key) {
            Some(next) if count <= max => from = next,
            _ => break,
        }
    }
    Ok(count)
}

/// Makes the members of an internal group those of `wanted`, from those that it has.
///
/// # Errors
/// [`Error::Invalid`]: one of them is no entity, or it is too much at once.
pub fn plan_change(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    group: &str,
    wanted: &BTreeSet<String>,
) -> Result<(), Error> {
    let present: BTreeSet<String> = ids(ctx, group, SHOWN_MAX)?.into_iter().collect();
    let changes = wanted.symmetric_difference(&present).count();
    if changes > CHANGES_MAX || present.len() > SHOWN_MAX {
        return Err(Error::invalid(format!(
            "at most {CHANGES_MAX} members of a group can be changed at once, and it has at most {SHOWN_MAX}"
        )));
    }
    for id in wanted.difference(&present) {
        let entity = store::entity(ctx, id)?.ok_or_else(|| Error::invalid("invalid entity ID"))?;
        join(ctx, txn, &entity, group)?;
    }
    for id in present.difference(wanted) {
        match store::entity(ctx, id)? {
            Some(entity) => leave(ctx, txn, &entity, group)?,
            None => txn.delete(key(ctx.barrier, group, id)),
        }
    }
    Ok(())
}

fn join(ctx: &mut Context<'_>, txn: &mut Txn, entity: &Stored<Entity>, group: &str) -> Result<(), Error> {
    let mut after = entity.value.clone();
    add(ctx, txn, &mut after, group)?;
    store::put_entity(ctx, txn, Some(entity), &after)
}

/// # Errors
/// As [`stored::put`].
pub fn leave(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    entity: &Stored<Entity>,
    group: &str,
) -> Result<(), Error> {
    let mut after = entity.value.clone();
    remove(ctx, txn, &mut after, group);
    store::put_entity(ctx, txn, Some(entity), &after)
}

/// Adds an entity, which the caller writes, to a group.
///
/// # Errors
/// [`Error::Invalid`]: it is in too many.
pub fn add(ctx: &mut Context<'_>, txn: &mut Txn, entity: &mut Entity, group: &str) -> Result<(), Error> {
    if let Err(at) = entity.group_ids.binary_search_by(|id| id.as_str().cmp(group)) {
        entity.group_ids.insert(at, group.to_owned());
    }
    if entity.group_ids.len() > GROUPS_MAX {
        return Err(Error::invalid(format!("an entity is in at most {GROUPS_MAX} groups")));
    }
    let key = key(ctx.barrier, group, &entity.id);
    stored::put(ctx, txn, &key, &format!("{group}/{}", entity.id), &Member {}, 0)
}

/// Takes an entity, which the caller writes, out of a group.
pub fn remove(ctx: &Context<'_>, txn: &mut Txn, entity: &mut Entity, group: &str) {
    entity.group_ids.retain(|id| id != group);
    txn.delete(key(ctx.barrier, group, &entity.id));
}
