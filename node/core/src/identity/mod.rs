//! Who somebody is, over all the ways in which he logs in: entities, their aliases, and groups.
//!
//! An entity's record has all that its tokens need at a request: its policies, its aliases and the ids of the groups that
//! it is in. So a token with an entity costs a look at two more records: the entity's, and the one that changes with every
//! group (`store::group_epoch_key`). Whatever was made of them is kept by their revisions, and a change that was decided
//! by them requires those, so that nobody acts by a group that he has left ([`belonging`]).
//!
//! Names are found by keyed hashes of their lower case, so that two spellings of one name can never be two entities;
//! nothing stands in clear on disk.

mod alias;
mod api;
pub mod belonging;
pub mod clear;
mod entity;
mod graph;
mod group;
mod group_alias;
mod json;
pub mod login;
mod lookup;
mod member;
mod merge;
pub mod mounts;
mod name;
mod policies;
mod record;
mod store;

pub use api::{IdentityRequest, handle};
pub use belonging::{Belonging, EntityCache};
pub use login::{LoginAlias, plan_login};
pub use mounts::{AuthMount, AuthMounts};
pub(crate) use name::new_id;
pub use record::{Alias, Entity, Group, GroupKind};
pub(crate) use store::{is_entity, is_group};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
