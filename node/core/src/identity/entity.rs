//! `identity/entity`: making, changing, showing and deleting entities.

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::belonging::Belonging;
use super::mounts::AuthMounts;
use super::record::{Entity, EntityRecord};
use super::{json, member, name, policies, store};
use crate::auth::mfa;
use crate::crypto::Kind;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Entities that one request deletes at most.
pub const BATCH_MAX: usize = 1_000;
const FIELDS: [&str; 5] = ["id", "name", "metadata", "policies", "disabled"];

/// Which entity, or which group, is meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The body says so, or a new one is.
    Any,
    Id(&'a str),
    Name(&'a str),
}

/// # Errors
/// [`Error`].
pub fn find(ctx: &Context<'_>, which: Which<'_>) -> Result<Option<Stored<Entity>>, Error> {
    match which {
        Which::Any => Ok(None),
        Which::Id(id) => store::entity(ctx, id),
        Which::Name(name) => store::entity_by_name(ctx, name),
    }
}

/// Makes an entity, or changes what the body names of one.
///
/// # Errors
/// [`Error::Invalid`].
pub fn write(ctx: &mut Context<'_>, which: Which<'_>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let in_body = |field| Ok::<_, Error>(fields::text(body, field)?.filter(|text| !text.is_empty()));
    let (body_id, body_name) = (in_body("id")?, in_body("name")?);
    let (id, given_name) = match which {
        Which::Any => (body_id.as_deref(), body_name.as_deref()),
        Which::Id(id) => (Some(id), body_name.as_deref()),
        Which::Name(name) => (None, Some(name)),
    };
    if let Some(given) = given_name {
        name::checked(given)?;
    }
    let before = match (id, given_name) {
        (Some(id), _) => {
            Some(store::entity(ctx, id)?.ok_or_else(|| Error::invalid("entity not found from id"))?)
        }
        (None, Some(name)) => store::entity_by_name(ctx, name)?,
        (None, None) => None,
    };
    let mut after = match &before {
        Some(before) => Entity { updated_ms: ctx.now_ms, ..before.value.clone() },
        None => fresh(ctx, given_name)?,
    };
    if let Some(given) = given_name {
        let holder = store::entity_by_name(ctx, given)?;
        if holder.is_some_and(|holder| holder.value.id != after.id) {
            return Err(Error::invalid("entity name is already in use"));
        }
        given.clone_into(&mut after.name);
    }
    if let Some(metadata) = name::metadata(body, "metadata")? {
        after.metadata = metadata;
    }
    if let Some(policies) = policies::given(body)? {
        after.policies = policies;
    }
    if let Some(disabled) = fields::boolean(body, "disabled")? {
        after.disabled = disabled;
    }
    let mut txn = Txn::default();
    store::put_entity(ctx, &mut txn, before.as_ref(), &after)?;
    if before.is_some() {
        return Ok(Plan { txn, reply: Reply::no_content() });
    }
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &FIELDS);
    let data = json!({ "aliases": null, "id": after.id, "name": after.name });
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::json(&data) } })
}

/// An entity that is not stored yet.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn fresh(ctx: &mut Context<'_>, given_name: Option<&str>) -> Result<Entity, Error> {
    let name = given_name.map_or_else(|| name::generated(ctx, "entity"), str::to_owned);
    Ok(Entity::new(name::new_id(ctx), name, ctx.now_ms))
}

/// # Errors
/// [`Error::NotFound`].
pub fn read(ctx: &Context<'_>, mounts: &AuthMounts, which: Which<'_>) -> Result<Plan, Error> {
    let found = find(ctx, which)?.ok_or(Error::NotFound)?;
    Ok(Reply::json(&told(ctx, mounts, &found.value.id)?.ok_or(Error::NotFound)?).into())
}

/// All that is told of an entity.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn told(ctx: &Context<'_>, mounts: &AuthMounts, id: &str) -> Result<Option<Value>, Error> {
    let belonging = Belonging::load(ctx.view, ctx.barrier, id)?;
    Ok(belonging.map(|belonging| json::entity(&belonging, mounts)))
}

/// Deletes an entity; its tokens hold no more. One that there is not is no error.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn delete(ctx: &Context<'_>, which: Which<'_>) -> Result<Plan, Error> {
    let mut txn = Txn::default();
    if let Some(entity) = find(ctx, which)? {
        add_deletion(ctx, &mut txn, &entity)?;
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// # Errors
/// [`Error::Invalid`].
pub fn delete_all(ctx: &Context<'_>, body: &Map<String, Value>) -> Result<Plan, Error> {
    let mut ids = fields::texts(body, "entity_ids")?.unwrap_or_default();
    if ids.is_empty() {
        return Err(Error::invalid("missing entity ids to delete"));
    }
    if ids.len() > BATCH_MAX {
        return Err(Error::invalid(format!("at most {BATCH_MAX} entities can be deleted at once")));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut txn = Txn::default();
    for id in ids {
        if let Some(entity) = store::entity(ctx, &id)? {
            add_deletion(ctx, &mut txn, &entity)?;
        }
    }
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn add_deletion(ctx: &Context<'_>, txn: &mut Txn, entity: &Stored<Entity>) -> Result<(), Error> {
    store::delete_entity(ctx, txn, entity);
    for group in &entity.value.group_ids {
        txn.delete(member::key(ctx.barrier, group, &entity.value.id));
    }
    for id in entity.value.merged_ids.iter().chain([&entity.value.id]) {
        mfa::forget_entity(ctx, txn, id)?;
    }
    Ok(())
}

/// # Errors
/// [`Error::NotFound`]: there are none.
pub fn list(ctx: &Context<'_>, mounts: &AuthMounts, by_name: bool) -> Result<Plan, Error> {
    let mut keys = Vec::new();
    let mut info = Map::new();
    each(ctx, |entity| {
        if by_name {
            keys.push(entity.name);
        } else {
            info.insert(entity.id.clone(), json::listed_entity(&entity, mounts));
            keys.push(entity.id);
        }
        bounded(keys.len())
    })?;
    listed(keys, info, by_name)
}

/// Calls `visit` with all entities, in the order of nothing.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`], and what `visit` says.
pub fn each(ctx: &Context<'_>, mut visit: impl FnMut(Entity) -> Result<(), Error>) -> Result<(), Error> {
    stored::each::<EntityRecord>(ctx.view, ctx.barrier, Kind::Entity, 0, |record| match record {
        EntityRecord::Known(entity) => visit(entity),
        EntityRecord::Merged { .. } => Ok(()),
    })
}

/// # Errors
/// [`Error::TooLarge`]: one answer cannot name so many.
pub fn bounded(listed: usize) -> Result<(), Error> {
    if listed > store::LISTED_MAX {
        let sentence = format!("there are more than {} to list", store::LISTED_MAX);
        return Err(Error::TooLarge(sentence));
    }
    Ok(())
}

/// A list, in order; without `info` if it is one of names.
///
/// # Errors
/// [`Error::NotFound`]: it is empty.
pub fn listed(mut keys: Vec<String>, info: Map<String, Value>, by_name: bool) -> Result<Plan, Error> {
    if keys.is_empty() {
        return Err(Error::NotFound);
    }
    keys.sort_unstable();
    let data = if by_name { json!({ "keys": keys }) } else { json!({ "key_info": info, "keys": keys }) };
    Ok(Reply::json(&data).into())
}
