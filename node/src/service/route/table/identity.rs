//! Entities, aliases and groups.

use conclave_core::identity::IdentityRequest as I;
use conclave_core::plan::Operation::{self, Delete, List, Read, Write};

use super::super::{Action, Place, Route};
use super::token;

const fn of(
    request: I,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Identity(request), operations, pattern, Place::State, summary)
}

pub(super) const ROUTES: &[Route] = &[
    of(I::EntityCreate, &[Write], "identity/entity", "Make or change an entity."),
    of(I::EntityMerge, &[Write], "identity/entity/merge", "Make one entity of several."),
    of(I::EntityDeleteAll, &[Write], "identity/entity/batch-delete", "Delete entities."),
    of(I::EntityListById, &[List], "identity/entity/id", "Ids of all entities."),
    of(I::EntityListByName, &[List], "identity/entity/name", "Names of all entities."),
    of(I::EntityReadById, &[Read], "identity/entity/id/:id", "An entity, by its id."),
    of(I::EntityWriteById, &[Write], "identity/entity/id/:id", "Change an entity, by its id."),
    of(I::EntityDeleteById, &[Delete], "identity/entity/id/:id", "Delete an entity, by its id."),
    of(I::EntityReadByName, &[Read], "identity/entity/name/*", "An entity, by its name."),
    of(I::EntityWriteByName, &[Write], "identity/entity/name/*", "Change an entity, by its name."),
    of(I::EntityDeleteByName, &[Delete], "identity/entity/name/*", "Delete an entity, by its name."),
    of(I::EntityLookup, &[Write], "identity/lookup/entity", "An entity by what is known of it."),
    of(I::EntityAliasCreate, &[Write], "identity/entity-alias", "Give an entity a name at a mount."),
    of(I::EntityAliasList, &[List], "identity/entity-alias/id", "Ids of all aliases of entities."),
    of(I::EntityAliasRead, &[Read], "identity/entity-alias/id/:id", "An alias of an entity."),
    of(I::EntityAliasWrite, &[Write], "identity/entity-alias/id/:id", "Change an alias of an entity."),
    of(I::EntityAliasDelete, &[Delete], "identity/entity-alias/id/:id", "Delete an alias of an entity."),
    of(I::GroupCreate, &[Write], "identity/group", "Make or change a group."),
    of(I::GroupListById, &[List], "identity/group/id", "Ids of all groups."),
    of(I::GroupListByName, &[List], "identity/group/name", "Names of all groups."),
    of(I::GroupReadById, &[Read], "identity/group/id/:id", "A group, by its id."),
    of(I::GroupWriteById, &[Write], "identity/group/id/:id", "Change a group, by its id."),
    of(I::GroupDeleteById, &[Delete], "identity/group/id/:id", "Delete a group, by its id."),
    of(I::GroupReadByName, &[Read], "identity/group/name/*", "A group, by its name."),
    of(I::GroupWriteByName, &[Write], "identity/group/name/*", "Change a group, by its name."),
    of(I::GroupDeleteByName, &[Delete], "identity/group/name/*", "Delete a group, by its name."),
    of(I::GroupLookup, &[Write], "identity/lookup/group", "A group by what is known of it."),
    of(I::GroupAliasCreate, &[Write], "identity/group-alias", "Give a group a name at a mount."),
    of(I::GroupAliasList, &[List], "identity/group-alias/id", "Ids of all aliases of groups."),
    of(I::GroupAliasRead, &[Read], "identity/group-alias/id/:id", "An alias of a group."),
    of(I::GroupAliasWrite, &[Write], "identity/group-alias/id/:id", "Change an alias of a group."),
    of(I::GroupAliasDelete, &[Delete], "identity/group-alias/id/:id", "Delete an alias of a group."),
];
