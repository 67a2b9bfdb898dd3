//! `identity/entity-alias`: by which names entities are known at mounts.
//!
//! A name at a mount belongs to one entity, and an entity has one name at a mount: whoever logs in there is always known
//! to be the same, and a template that names the mount has one value.

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::mounts::AuthMounts;
use super::record::{Alias, Entity};
use super::{entity, json as shape, name, store};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::Stored;

/// Aliases of an entity at most.
pub const ALIASES_MAX: usize = 128;
const FIELDS: [&str; 6] = ["id", "name", "mount_accessor", "canonical_id", "entity_id", "custom_metadata"];

/// What a body asks for; nothing of what it does not say.
struct Asked {
    id: Option<String>,
    name: Option<String>,
    mount_accessor: Option<String>,
    canonical_id: Option<String>,
    custom_metadata: Option<std::collections::BTreeMap<String, String>>,
}

impl Asked {
    fn of(body: &Map<String, Value>, id: Option<&str>) -> Result<Self, Error> {
        let text = |field| Ok::<_, Error>(fields::text(body, field)?.filter(|text| !text.is_empty()));
        Ok(Self {
            id: id.map(str::to_owned).or(text("id")?),
            name: text("name")?,
            mount_accessor: text("mount_accessor")?,
            // The older name of the field.
            canonical_id: text("canonical_id")?.or(text("entity_id")?),
            custom_metadata: name::metadata(body, "custom_metadata")?,
        })
    }
}

/// Makes an alias, or changes what the body names of the one with this `id`, or at this mount with this name.
///
/// # Errors
/// [`Error::Invalid`].
pub fn write(
    ctx: &mut Context<'_>,
    mounts: &AuthMounts,
    id: Option<&str>,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let asked = Asked::of(body, id)?;
    if let Some(given) = &asked.name {
        name::checked(given)?;
    }
    let owner = match (&asked.id, &asked.mount_accessor, &asked.name) {
        (Some(id), ..) => {
            let owner = store::entity_by_alias_id(ctx, id)?;
            Some(owner.ok_or_else(|| Error::invalid("invalid alias ID provided"))?)
        }
        (None, Some(accessor), Some(name)) => store::entity_by_alias(ctx, accessor, name)?,
        _ => return Err(Error::invalid("'id' or 'mount_accessor' and 'name' must be provided")),
    };
    if let Some(accessor) = &asked.mount_accessor {
        check_mount(mounts, accessor)?;
    }
    let is_meant = |alias: &&Alias| match (&asked.id, &asked.mount_accessor, &asked.name) {
        (Some(id), ..) => alias.id == *id,
        (None, Some(accessor), Some(name)) => {
            alias.mount_accessor == *accessor && name::normal(&alias.name) == name::normal(name)
        }
        _ => false,
    };
    let existing = owner.as_ref().and_then(|owner| owner.value.aliases.iter().find(is_meant)).cloned();
    let mut plan = match (owner, existing) {
        (Some(owner), Some(alias)) => change(ctx, &owner, &alias, &asked)?,
        _ => create(ctx, &asked)?,
    };
    if plan.reply.status == 200 {
        plan.reply.warnings = fields::unknown_warning(body.keys().map(String::as_str), &FIELDS);
    }
    Ok(plan)
}

/// # Errors
/// [`Error::Invalid`]: no mount has this accessor.
pub fn check_mount(mounts: &AuthMounts, accessor: &str) -> Result<(), Error> {
    match mounts.find(accessor) {
        Some(_) => Ok(()),
        None => Err(Error::invalid("invalid mount accessor")),
    }
}

fn create(ctx: &mut Context<'_>, asked: &Asked) -> Result<Plan, Error> {
    let (Some(accessor), Some(given)) = (&asked.mount_accessor, &asked.name) else {
        return Err(Error::invalid("'id' or 'mount_accessor' and 'name' must be provided"));
    };
    let before = match &asked.canonical_id {
        Some(id) => Some(store::entity(ctx, id)?.ok_or_else(|| Error::invalid("invalid canonical ID"))?),
        None => None,
    };
    let mut after = match &before {
        Some(before) => before.value.clone(),
        None => entity::fresh(ctx, None)?,
    };
    if after.alias_at(accessor).is_some() {
        return Err(Error::invalid("Alias already exists for requested entity and mount accessor"));
    }
    let mut alias = Alias::new(name::new_id(ctx), accessor, given, ctx.now_ms);
    alias.custom_metadata = asked.custom_metadata.clone().unwrap_or_default();
    let reply = told(&after.id, &alias.id);
    add(&mut after, alias)?;
    let mut txn = Txn::default();
    store::put_entity(ctx, &mut txn, before.as_ref(), &after)?;
    Ok(Plan { txn, reply })
}

fn change(
    ctx: &mut Context<'_>,
    owner: &Stored<Entity>,
    alias: &Alias,
    asked: &Asked,
) -> Result<Plan, Error> {
    let mut changed = alias.clone();
    if let Some(name) = &asked.name {
        changed.name.clone_from(name);
    }
    if let Some(accessor) = &asked.mount_accessor {
        changed.mount_accessor.clone_from(accessor);
    }
    if let Some(metadata) = &asked.custom_metadata {
        changed.custom_metadata.clone_from(metadata);
    }
    let moves_to = asked.canonical_id.as_ref().filter(|id| **id != owner.value.id);
    if changed == *alias && moves_to.is_none() {
        return Ok(Reply::no_content().into());
    }
    changed.updated_ms = ctx.now_ms;
    let holder = store::entity_by_alias(ctx, &changed.mount_accessor, &changed.name)?;
    let is_other = |held: &Alias| {
        held.id != alias.id
            && held.mount_accessor == changed.mount_accessor
            && name::normal(&held.name) == name::normal(&changed.name)
    };
    if holder.is_some_and(|holder| holder.value.aliases.iter().any(is_other)) {
        return Err(Error::invalid("another alias has this name at this mount"));
    }
    let mut before = owner.value.clone();
    before.aliases.retain(|one| one.id != alias.id);
    let target = match moves_to {
        Some(id) => Some(store::entity(ctx, id)?.ok_or_else(|| Error::invalid("invalid canonical ID"))?),
        None => None,
    };
    let mut after = target.as_ref().map_or_else(|| before.clone(), |target| target.value.clone());
    if after.alias_at(&changed.mount_accessor).is_some() {
        let sentence = "Alias cannot be updated as the given entity already has an alias for this mount ";
        return Err(Error::invalid(sentence));
    }
    let reply = told(&after.id, &changed.id);
    add(&mut after, changed)?;
    let mut txn = Txn::default();
    if target.is_some() {
        store::put_entity(ctx, &mut txn, Some(owner), &before)?;
    }
    store::put_entity(ctx, &mut txn, Some(target.as_ref().unwrap_or(owner)), &after)?;
    Ok(Plan { txn, reply })
}

/// Gives an entity a further alias.
///
/// # Errors
/// [`Error::Invalid`]: it has too many.
pub fn add(entity: &mut Entity, alias: Alias) -> Result<(), Error> {
    if entity.aliases.len() >= ALIASES_MAX {
        return Err(Error::invalid(format!("an entity has at most {ALIASES_MAX} aliases")));
    }
    entity.aliases.push(alias);
    Ok(())
}

fn told(entity_id: &str, alias_id: &str) -> Reply {
    Reply::json(&json!({ "canonical_id": entity_id, "id": alias_id }))
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, mounts: &AuthMounts, id: &str) -> Result<Plan, Error> {
    let owner = store::entity_by_alias_id(ctx, id)?.ok_or(Error::NotFound)?.value;
    let alias = owner.aliases.iter().find(|alias| alias.id == id).ok_or(Error::NotFound)?;
    Ok(Reply::json(&shape::lone_alias(alias, &owner.id, mounts)).into())
}

/// Deletes an alias; one that there is not is no error. The entity stays.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn delete(ctx: &mut Context<'_>, id: &str) -> Result<Plan, Error> {
    let mut txn = Txn::default();
    if let Some(owner) = store::entity_by_alias_id(ctx, id)? {
        let mut after = owner.value.clone();
        after.aliases.retain(|alias| alias.id != id);
        store::put_entity(ctx, &mut txn, Some(&owner), &after)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>, mounts: &AuthMounts) -> Result<Plan, Error> {
    let (mut keys, mut info) = (Vec::new(), Map::new());
    entity::each(ctx, |entity| {
        for alias in &entity.aliases {
            info.insert(alias.id.clone(), shape::listed_alias(alias, &entity.id, mounts));
            keys.push(alias.id.clone());
        }
        entity::bounded(keys.len())
    })?;
    entity::listed(keys, info, false)
}
