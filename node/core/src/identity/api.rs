//! `identity/*`: what can be asked of entities, aliases and groups.

use serde_json::{Map, Value};

use super::entity::Which;
use super::mounts::AuthMounts;
use super::{alias, entity, group, group_alias, lookup, merge};
use crate::error::Error;
use crate::plan::{Context, Plan};

/// What can be asked. What is asked by id or by name has it in its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityRequest {
    EntityCreate,
    EntityWriteById,
    EntityWriteByName,
    EntityReadById,
    EntityReadByName,
    EntityDeleteById,
    EntityDeleteByName,
    EntityListById,
    EntityListByName,
    EntityMerge,
    EntityDeleteAll,
    EntityLookup,
    EntityAliasCreate,
    EntityAliasWrite,
    EntityAliasRead,
    EntityAliasDelete,
    EntityAliasList,
    GroupCreate,
    GroupWriteById,
    GroupWriteByName,
    GroupReadById,
    GroupReadByName,
    GroupDeleteById,
    GroupDeleteByName,
    GroupListById,
    GroupListByName,
    GroupLookup,
    GroupAliasCreate,
    GroupAliasWrite,
    GroupAliasRead,
    GroupAliasDelete,
    GroupAliasList,
}

/// Plans what was asked. The caller has been permitted to ask it. `captured`: the id or the name in the path.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: IdentityRequest,
    mounts: &AuthMounts,
    captured: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    use IdentityRequest as R;
    let (by_id, by_name) = (Which::Id(captured), Which::Name(captured));
    match request {
        R::EntityCreate => entity::write(ctx, Which::Any, body),
        R::EntityWriteById => entity::write(ctx, by_id, body),
        R::EntityWriteByName => entity::write(ctx, by_name, body),
        R::EntityReadById => entity::read(ctx, mounts, by_id),
        R::EntityReadByName => entity::read(ctx, mounts, by_name),
        R::EntityDeleteById => entity::delete(ctx, by_id),
        R::EntityDeleteByName => entity::delete(ctx, by_name),
        R::EntityListById => entity::list(ctx, mounts, false),
        R::EntityListByName => entity::list(ctx, mounts, true),
        R::EntityMerge => merge::merge(ctx, body),
        R::EntityDeleteAll => entity::delete_all(ctx, body),
        R::EntityLookup => lookup::find_entity(ctx, mounts, body),
        R::EntityAliasCreate => alias::write(ctx, mounts, None, body),
        R::EntityAliasWrite => alias::write(ctx, mounts, Some(captured), body),
        R::EntityAliasRead => alias::read(ctx, mounts, captured),
        R::EntityAliasDelete => alias::delete(ctx, captured),
        R::EntityAliasList => alias::list(ctx, mounts),
        R::GroupCreate => group::write(ctx, Which::Any, body),
        R::GroupWriteById => group::write(ctx, by_id, body),
        R::GroupWriteByName => group::write(ctx, by_name, body),
        R::GroupReadById => group::read(ctx, mounts, by_id),
        R::GroupReadByName => group::read(ctx, mounts, by_name),
        R::GroupDeleteById => group::delete(ctx, by_id),
        R::GroupDeleteByName => group::delete(ctx, by_name),
        R::GroupListById => group::list(ctx, mounts, false),
        R::GroupListByName => group::list(ctx, mounts, true),
        R::GroupLookup => lookup::find_group(ctx, mounts, body),
        R::GroupAliasCreate => group_alias::write(ctx, mounts, None, body),
        R::GroupAliasWrite => group_alias::write(ctx, mounts, Some(captured), body),
        R::GroupAliasRead => group_alias::read(ctx, mounts, captured),
        R::GroupAliasDelete => group_alias::delete(ctx, captured),
        R::GroupAliasList => group_alias::list(ctx, mounts),
    }
}
