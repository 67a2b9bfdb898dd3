//! What an entity brings to its tokens: its policies and those of its groups, and what templates may name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use conclave_proto::log::Precondition;
use quick_cache::sync::Cache;

use super::record::{Alias, Entity, EntityRecord, Group};
use super::store;
use crate::crypto::Barrier;
use crate::error::Error;
use crate::policy::{Subject, name, template};
use crate::view::View;

/// Entities that are kept resolved at most.
const CACHED_ENTITIES_MAX: usize = 10_000;
/// Groups of one entity at most, inherited ones too.
pub const GROUPS_MAX: usize = 1_000;

/// An entity as its tokens see it, as of some revisions.
pub struct Belonging {
    pub entity: Entity,
    /// Groups that name it.
    pub direct_group_ids: Vec<String>,
    /// Groups in which those are.
    pub inherited_group_ids: Vec<String>,
    /// Its own, then those of its groups, each once. Never `root`.
    pub policies: Vec<String>,
    pub subject: Subject,
    /// That its record and those of its groups stand as they did.
    pub preconditions: Vec<Precondition>,
}

/// Entities that were resolved lately, by the id that their tokens have.
pub struct EntityCache(Cache<String, Arc<Belonging>>);

impl Default for EntityCache {
    fn default() -> Self {
        Self(Cache::new(CACHED_ENTITIES_MAX))
    }
}

impl EntityCache {
    /// What the entity `id` brings, as of `view`; `None`: there is none. One that was merged is the one that it was
    /// merged into.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn resolve(
        &self,
        view: &dyn View,
        barrier: &Barrier,
        id: &str,
    ) -> Result<Option<Arc<Belonging>>, Error> {
        if let Some(cached) = self.0.get(id)
            && cached.still_stands(view)?
        {
            return Ok(Some(cached));
        }
        let Some(belonging) = Belonging::load(view, barrier, id)? else { return Ok(None) };
        let belonging = Arc::new(belonging);
        self.0.insert(id.to_owned(), Arc::clone(&belonging));
        Ok(Some(belonging))
    }
}

impl Belonging {
    /// As [`EntityCache::resolve`].
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn load(view: &dyn View, barrier: &Barrier, id: &str) -> Result<Option<Self>, Error> {
        let mut preconditions = Vec::with_capacity(2);
        let Some((key, mut found)) = store::entity_record(view, barrier, id)? else { return Ok(None) };
        preconditions.push(Precondition { key: key.into(), revision: found.revision });
        if let EntityRecord::Merged { into } = &found.value {
            let Some((key, target)) = store::entity_record(view, barrier, into)? else { return Ok(None) };
            preconditions.push(Precondition { key: key.into(), revision: target.revision });
            found = target;
        }
        // One step is all there is: whoever merges on rewrites what led to him.
        let EntityRecord::Known(entity) = found.value else { return Ok(None) };
        require_groups(view, &entity, &mut preconditions)?;
        let groups = groups_of(view, barrier, &entity.group_ids)?;
        Ok(Some(Self::of(entity, &groups, preconditions)))
    }

    /// What an entity brings that a login has just changed: its own record is named by the login's transaction.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn after_login(view: &dyn View, barrier: &Barrier, entity: Entity) -> Result<Self, Error> {
        let mut preconditions = Vec::new();
        require_groups(view, &entity, &mut preconditions)?;
        let groups = groups_of(view, barrier, &entity.group_ids)?;
        Ok(Self::of(entity, &groups, preconditions))
    }

    fn of(entity: Entity, groups: &BTreeMap<String, Group>, preconditions: Vec<Precondition>) -> Self {
        let is_direct = |id: &&String| entity.group_ids.contains(id);
        let direct_group_ids: Vec<String> = groups.keys().filter(is_direct).cloned().collect();
        let inherited_group_ids = groups.keys().filter(|id| !is_direct(id)).cloned().collect();
        let of_groups: BTreeSet<&String> = groups.values().flat_map(|group| &group.policies).collect();
        let further = of_groups.into_iter().filter(|policy| !entity.policies.contains(policy));
        let policies = entity.policies.iter().chain(further).filter(|policy| *policy != name::ROOT).cloned();
        Self {
            policies: policies.collect(),
            subject: subject_of(&entity, groups),
            direct_group_ids,
            inherited_group_ids,
            entity,
            preconditions,
        }
    }

    fn still_stands(&self, view: &dyn View) -> Result<bool, Error> {
        for known in &self.preconditions {
            let revision = view.stamp(&known.key)?.map_or(0, |stamp| stamp.revision);
            if revision != known.revision {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// That no group changes, of an entity that is in some. Before the groups are read: should one change meanwhile, what was
/// read of it is never taken for newer than it is.
fn require_groups(
    view: &dyn View,
    entity: &Entity,
    preconditions: &mut Vec<Precondition>,
) -> Result<(), Error> {
    if entity.group_ids.is_empty() { Ok(()) } else { require_epoch(view, preconditions) }
}

/// That no group changes, nor which is meant by a name.
///
/// # Errors
/// [`Error::View`].
pub fn require_epoch(view: &dyn View, preconditions: &mut Vec<Precondition>) -> Result<(), Error> {
    let epoch_key = store::group_epoch_key();
    let epoch = view.stamp(&epoch_key)?.map_or(0, |stamp| stamp.revision);
    preconditions.push(Precondition { key: epoch_key.into(), revision: epoch });
    Ok(())
}

/// These groups and all that they are in, by id. Those that are no more are left out.
///
/// # Errors
/// [`Error::Invalid`]: there are more than one entity can have.
fn groups_of(
    view: &dyn View,
    barrier: &Barrier,
    direct: &[String],
) -> Result<BTreeMap<String, Group>, Error> {
    let mut groups = BTreeMap::new();
    let mut open: Vec<String> = direct.to_vec();
    while let Some(id) = open.pop() {
        if groups.contains_key(&id) {
            continue;
        }
        let Some(group) = store::group(view, barrier, &id)? else { continue };
        open.extend(group.value.parent_group_ids.iter().cloned());
        groups.insert(id, group.value);
        if groups.len() > GROUPS_MAX {
            return Err(Error::invalid(format!("an entity is in at most {GROUPS_MAX} groups")));
        }
    }
    Ok(groups)
}

fn subject_of(entity: &Entity, groups: &BTreeMap<String, Group>) -> Subject {
    let alias = |alias: &Alias| template::Alias {
        mount_accessor: alias.mount_accessor.clone(),
        id: alias.id.clone(),
        name: alias.name.clone(),
        metadata: alias.metadata.clone(),
        custom_metadata: alias.custom_metadata.clone(),
    };
    let group = |group: &Group| template::Group {
        id: group.id.clone(),
        name: group.name.clone(),
        metadata: group.metadata.clone(),
    };
    Subject {
        entity: Some(template::Entity {
            id: entity.id.clone(),
            name: entity.name.clone(),
            metadata: entity.metadata.clone(),
            aliases: entity.aliases.iter().map(alias).collect(),
        }),
        groups: groups.values().map(group).collect(),
    }
}
