//! Whom a login is about: the entity that is known by this name at this mount, made if it is not there.

use std::collections::{BTreeMap, BTreeSet};

use conclave_proto::log::{Precondition, Txn};

use super::record::{Alias, Entity, Group, GroupKind};
use super::{alias, belonging, entity, member, name, store};
use crate::error::Error;
use crate::plan::Context;

/// Names of groups that a mount may tell of one login at most.
pub const LOGIN_GROUPS_MAX: usize = 1_000;

/// What a mount says of who logs in.
pub struct LoginAlias<'a> {
    pub mount_accessor: &'a str,
    /// The name that the mount knows him by: what it has proven, not what was typed.
    pub name: &'a str,
    pub metadata: BTreeMap<String, String>,
    /// Groups that the mount says he is in; `None`: the mount knows of none, and his groups stay as they are.
    pub groups: Option<Vec<String>>,
}

/// Adds to a login's transaction what it changes of the entity, and tells the entity as it is then, for the token. All in the one
/// transaction: either the token is there with its entity, or neither is. An entity that is known and of which nothing has
/// changed costs no write.
///
/// # Errors
/// [`Error::Denied`]: the entity is disabled, or known by another name. [`Error::Invalid`]: the name or what is told of it cannot be kept.
pub fn plan_login(ctx: &mut Context<'_>, txn: &mut Txn, login: &LoginAlias<'_>) -> Result<Entity, Error> {
    name::checked(login.name)?;
    name::check_metadata(&login.metadata, "metadata")?;
    let before = store::entity_by_alias(ctx, login.mount_accessor, login.name)?;
    if before.as_ref().is_some_and(|before| before.value.disabled) {
        return Err(Error::Denied);
    }
    let mut after = match &before {
        Some(before) => before.value.clone(),
        None => entity::fresh(ctx, None)?,
    };
    match after.aliases.iter_mut().find(|alias| alias.mount_accessor == login.mount_accessor) {
        // Names are found by what they are in lower case, and other signs become those of ASCII there: to be found by such
        // a name is not to be called so.
        Some(known) if !known.name.eq_ignore_ascii_case(login.name) => return Err(Error::Denied),
        Some(known) if known.metadata == login.metadata => {}
        Some(known) => {
            known.metadata.clone_from(&login.metadata);
            known.updated_ms = ctx.now_ms;
        }
        None => {
            let mut new = Alias::new(name::new_id(ctx), login.mount_accessor, login.name, ctx.now_ms);
            new.metadata.clone_from(&login.metadata);
            alias::add(&mut after, new)?;
        }
    }
    if let Some(groups) = &login.groups {
        follow_groups(ctx, txn, &mut after, login.mount_accessor, groups)?;
    }
    match &before {
        Some(before) if before.value == after => {
            // It must still be there, and be the same, when the token is made.
            let key = store::entity_key(ctx.barrier, &after.id);
            txn.preconditions.push(Precondition { key: key.into(), revision: before.revision });
        }
        before => store::put_entity(ctx, txn, before.as_ref(), &after)?,
    }
    Ok(after)
}

/// Makes the entity a member of those external groups of this mount that were told, and of no others of it.
fn follow_groups(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    entity: &mut Entity,
    accessor: &str,
    told: &[String],
) -> Result<(), Error> {
    if told.len() > LOGIN_GROUPS_MAX {
        return Err(Error::invalid(format!("a login names at most {LOGIN_GROUPS_MAX} groups")));
    }
    if !told.is_empty() || !entity.group_ids.is_empty() {
        belonging::require_epoch(ctx.view, &mut txn.preconditions)?;
    }
    let mut wanted = BTreeSet::new();
    for name in told {
        if let Some(group) = store::group_by_alias(ctx, accessor, name)? {
            wanted.insert(group.value.id);
        }
    }
    let is_of_mount = |group: &Group| {
        group.kind == GroupKind::External
            && group.alias.as_ref().is_some_and(|alias| alias.mount_accessor == accessor)
    };
    for id in entity.group_ids.clone() {
        let group = store::group(ctx.view, ctx.barrier, &id)?;
        if group.is_some_and(|group| is_of_mount(&group.value)) && !wanted.remove(&id) {
            member::remove(ctx, txn, entity, &id);
        }
    }
    // What is left of them is new.
    for id in wanted {
        member::add(ctx, txn, entity, &id)?;
    }
    Ok(())
}
